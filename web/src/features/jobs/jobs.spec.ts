import { afterEach, describe, expect, it, vi } from 'vitest'
import { partOf, phaseKey, readProgress } from '@/lib/progress'
import { answering as api, put } from '../../../tests/mounting'
import ActivityView from './ActivityView.vue'
import type { Job, LogLine } from './api'
import JobLog from './components/JobLog.vue'
import JobRow from './components/JobRow.vue'
import JobView from './JobView.vue'
import { cancellable, retryable, secondsOf } from './job'

const WAIT = 120_000
const job = (more: Partial<Job> = {}): Job => ({
  id: 'j1',
  type: 'backup_create',
  title: 'web1-system',
  state: 'succeeded',
  waiting_for: null,
  cancel_requested: false,
  node: 'node1',
  server_id: 's1',
  repository_id: 'r1',
  backup_job_id: null,
  archive_id: null,
  attempt: 1,
  failures: 0,
  code: null,
  reason: null,
  remedy: null,
  warnings: [],
  result: {},
  progress: null,
  not_before: null,
  created_at: '2026-11-24T00:59:00Z',
  started_at: '2026-11-24T01:00:00Z',
  finished_at: '2026-11-24T01:12:04Z',
  ...more,
})
const line = (seq: number, level: string, attempt = 1): LogLine => ({
  attempt,
  seq,
  at: '2026-11-24T01:00:00Z',
  level,
  source: 'borg',
  code: '',
  message: `line ${attempt}.${seq}`,
})

afterEach(() => {
  vi.unstubAllGlobals()
})

describe('progress', () => {
  it.each([
    [null, null],
    [{}, null],
    [{ phase: 3 }, null],
    [
      { phase: 'reading', files: 0, original_size: null, rate: 'fast' },
      { files: 0, bytes: null, rate: null },
    ],
  ])('case %#: of %j what is unknown stays unknown, and 0 is 0', (raw, wanted) => {
    const found = readProgress(raw)
    if (wanted === null) expect(found).toBeNull()
    else expect(found).toMatchObject(wanted)
  })

  it.each([
    [{ phase: 'reading', original_size: 50, estimated_size: 200 }, 25],
    [{ phase: 'reading', original_size: 500, estimated_size: 200 }, 99],
    [{ phase: 'reading', original_size: 500 }, null],
    [{ phase: 'reading', original_size: 500, estimated_size: 0 }, null],
    [{ phase: 'looking', step: 1, steps: 4 }, 0],
    [{ phase: 'measuring', step: 4, steps: 4 }, 75],
    [{ phase: 'looking', step: 0, steps: 0 }, null],
  ])('case %#: %j is never whole before the end', (raw, part) => {
    expect(partOf(readProgress(raw)!)).toBe(part)
  })

  it.each([
    ['reading archive 3 of 9', 'reading_archive'],
    ['pre-hook', 'pre_hook'],
    ['deleting 1 of 2', 'deleting'],
  ])('%s is said by the key %s', (phase, key) => expect(phaseKey(phase)).toBe(key))
})

describe('a job', () => {
  it.each([
    ['queued', false, true, false],
    ['running', false, true, false],
    ['running', true, false, false],
    ['failed', false, false, true],
    ['cancelled', false, false, true],
    ['succeeded', false, false, false],
    ['of_the_future', false, false, false],
  ])('%s, asked to stop %s: can be cancelled %s, retried %s', (state, cancel_requested, stop, again) => {
    const one = job({ state, cancel_requested })
    expect([cancellable(one), retryable(one)]).toEqual([stop, again])
  })

  it('takes no time before it began', () => {
    expect(secondsOf(job({ started_at: null }), new Date())).toBeNull()
    expect(secondsOf(job(), new Date())).toBe(724)
  })

  it('whose whole is unknown shows no percentage', () => {
    const running = {
      state: 'running',
      finished_at: null,
      progress: { phase: 'reading', files: 3, original_size: 10 },
    }
    const bar = put(JobRow, { job: job(running) }).get('[role=progressbar]')
    expect(bar.attributes('aria-valuenow')).toBeUndefined()
    expect(bar.attributes('aria-valuetext')).toBe('unknown')
  })

  it('that waits says for what, and a hostile name stays text', () => {
    const part = put(JobRow, {
      job: job({
        state: 'queued',
        started_at: null,
        finished_at: null,
        waiting_for: 'virus/system',
        title: '<img src=x>\u202e',
      }),
    })
    expect(part.text()).toContain('Waits for virus/system')
    expect(part.text()).toContain('<img src=x>\\u{202e}')
    expect(part.find('img').exists()).toBe(false)
  })
})

describe('the log', () => {
  it('keeps attempts apart, and shows the problems alone when asked to', async () => {
    api({
      '/api/jobs/j1/log': { items: [line(1, 'info'), line(2, 'error'), line(1, 'warning', 2)], next: null },
    })
    const part = put(JobLog, { id: 'j1', state: 'failed' })
    await vi.waitFor(() => expect(part.text()).toContain('line 1.1'), WAIT)
    expect(part.text()).toContain('Attempt 2')
    await part
      .findAll('button')
      .find((one) => one.text() === 'Problems only')!
      .trigger('click')
    expect(part.text()).not.toContain('line 1.1')
    expect(part.text()).toContain('line 1.2')
  })
})

describe('the activity', () => {
  const list = (items: Job[]) => ({ '/api/jobs': { items, next: null } })

  it('is loading, then full', async () => {
    api(list([job(), job({ id: 'j2', state: 'failed', reason: 'no route to host' })]))
    const part = put(ActivityView)
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('no route to host'), WAIT)
    expect(part.findAll('li').length).toBe(2)
  })

  it('that holds nothing says what will come, and under a filter that nothing matches', async () => {
    const asked = api(list([]))
    const part = put(ActivityView)
    await vi.waitFor(() => expect(part.text()).toContain('No job yet'), WAIT)
    await part
      .findAll('button')
      .find((one) => one.text() === 'Failed')!
      .trigger('click')
    await vi.waitFor(() => expect(part.text()).toContain('No job in this state'), WAIT)
    expect(asked.at(-1)?.path).toContain('state=failed')
  })

  it('that cannot be had is an error, and not an empty list', async () => {
    api({ '/api/jobs': 403 })
    const part = put(ActivityView)
    await vi.waitFor(() => expect(part.find('[role=alert]').exists()).toBe(true), WAIT)
    expect(part.text()).not.toContain('No job yet')
  })
})

describe('the page of a job', () => {
  it('is cancelled only after a question, by one request', async () => {
    const running = job({ state: 'running', finished_at: null })
    const asked = api({
      '/api/jobs/j1': running,
      '/api/jobs/j1/log': { items: [], next: null },
      '/api/jobs/j1/cancel': running,
    })
    const part = put(JobView, {}, '', '/jobs/j1')
    await vi.waitFor(() => expect(part.text()).toContain('Cancel job'), WAIT)
    await part
      .findAll('button')
      .find((one) => one.text() === 'Cancel job')!
      .trigger('click')
    expect(asked.some((one) => one.method === 'POST')).toBe(false)
    const dialog = document.querySelector('[role=dialog]')!
    expect(dialog.textContent).toContain('Let it run')
    dialog.querySelector<HTMLButtonElement>('button[type=submit]')!.click()
    await vi.waitFor(() => expect(asked.filter((one) => one.method === 'POST').length).toBe(1), WAIT)
  })

  it('that failed tells why, what to do, and can be tried again', async () => {
    const failed = job({
      state: 'failed',
      code: 'no_route',
      reason: 'no route to host',
      remedy: 'check its network',
    })
    const asked = api({
      '/api/jobs/j1': failed,
      '/api/jobs/j1/log': { items: [], next: null },
      '/api/jobs/j1/retry': failed,
    })
    const part = put(JobView, {}, '', '/jobs/j1')
    await vi.waitFor(() => expect(part.text()).toContain('check its network'), WAIT)
    await part
      .findAll('button')
      .find((one) => one.text() === 'Try again')!
      .trigger('click')
    await vi.waitFor(() => expect(asked.some((one) => one.path === '/api/jobs/j1/retry')).toBe(true), WAIT)
  })
})
