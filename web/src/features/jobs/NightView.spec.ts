import { afterEach, describe, expect, it, vi } from 'vitest'
import { me } from '@/lib/session'
import { answering, button, page, put } from '../../../tests/mounting'
import { ada } from '../../../tests/setup'
import NightView from './NightView.vue'

const WAIT = { timeout: 120_000 }
const HOUR = 3_600_000
const DATE = '2026-11-24'
const job = (id: string, more: object = {}) => ({
  id,
  type: 'backup_create',
  title: `${id}-system`,
  state: 'succeeded',
  node: 'node1',
  server_id: 's1',
  repository_id: null,
  created_at: '2026-11-25T01:00:00Z',
  started_at: '2026-11-25T01:10:00Z',
  finished_at: '2026-11-25T02:00:00Z',
  ...more,
})
const answers = (jobs: unknown[], more: Record<string, unknown> = {}) => ({
  '/api/jobs': page(jobs),
  '/api/forecast': [],
  '/api/pauses': [],
  '/api/maintenance-windows': [],
  '/api/limits': { fleet: 1, per_server: null, per_pool: null, servers: {}, pools: {}, version: 1 },
  '/api/job-kinds': [{ type: 'backup_create', takes_turns: true }],
  '/api/servers': page([{ id: 's1', name: 'web1', tags: [] }]),
  '/api/repositories': page([]),
  '/api/storage-pools': page([]),
  ...more,
})
const wide = (matches: boolean) =>
  vi.stubGlobal('matchMedia', (query: string) => ({
    matches: matches && query.includes('min-width'),
    addEventListener() {},
    removeEventListener() {},
  }))
const shown = (query = `?date=${DATE}`) => put(NightView, {}, '', `/activity/night${query}`)

afterEach(() => {
  vi.unstubAllGlobals()
})

describe('a night', () => {
  it('asks for its span alone, and draws each run as a link with a spoken name', async () => {
    wide(true)
    const asked = answering(
      answers([
        job('a'),
        job('b', { state: 'failed', server_id: 'gone', title: 'evil\u202e' }),
        job('c', { state: 'cancelled', started_at: null }),
        job('d', { state: 'of_the_future', type: 'what_is_new' }),
      ]),
    )
    const part = shown()
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.findAll('a[data-bar]').length).toBe(4), WAIT)
    const query = new URL(asked.find((one) => one.path.startsWith('/api/jobs?'))!.path, 'http://x')
      .searchParams
    const [from = '', to = ''] = (query.get('overlaps') ?? '').split('/')
    expect(Date.parse(to) - Date.parse(from)).toBe(24 * HOUR)
    expect(part.get('h1').text()).toBe('Night of Tue, Nov 24 to Wed, Nov 25')
    const names = part.findAll('a[data-bar]').map((one) => one.attributes('aria-label') ?? '')
    expect(names.find((one) => one.startsWith('Backup · a-system'))).toMatch(
      /^Backup · a-system, Succeeded, .* to .*, 50.min.00.s, waited 10.min.00.s before, on web1$/,
    )
    expect(names.some((one) => one.startsWith('Backup · evil\\u{202e}, Failed'))).toBe(true)
    expect(names.some((one) => one.startsWith('what_is_new · d-system, Unknown'))).toBe(true)
    expect(part.get('[data-bar=a]').attributes('href')).toBe('/jobs/a')
    // What belongs to no server that one knows is shown all the same, and last.
    expect(part.findAll('[data-row]').map((one) => one.find('span').text())).toEqual(['web1', 'Not known'])
    expect(part.text()).toContain('all 1 slots taken')
    // A night that is over has nothing to come.
    expect(asked.some((one) => one.path.startsWith('/api/forecast'))).toBe(false)
  })

  it('has one stop for Tab, and arrows from bar to bar', async () => {
    wide(true)
    const later = { created_at: '2026-11-25T05:00:00Z', started_at: '2026-11-25T05:00:00Z' }
    answering(answers([job('a'), job('b', { ...later, finished_at: '2026-11-25T06:00:00Z' })]))
    const part = shown()
    await vi.waitFor(() => expect(part.findAll('[data-bar]').length).toBe(2), WAIT)
    const stops = () => part.findAll('[data-bar][tabindex="0"]').map((one) => one.attributes('data-bar'))
    expect(stops()).toEqual(['a'])
    await part.get('[data-bar=a]').trigger('keydown', { key: 'ArrowRight' })
    await vi.waitFor(() => expect(document.activeElement?.getAttribute('data-bar')).toBe('b'), WAIT)
    expect(stops()).toEqual(['b'])
  })

  it('on a telephone is a list by time, with the same words', async () => {
    wide(false)
    answering(answers(Array.from({ length: 130 }, (_, n) => job(`j${n}`))))
    const part = shown()
    await vi.waitFor(() => expect(part.findAll('ol li').length).toBe(100), WAIT)
    expect(part.find('[data-bar]').exists()).toBe(false)
    expect(part.text()).toContain('30 more runs')
    expect(part.get('ol li').text()).toContain('waited 10')
    button('Show more').click()
    await vi.waitFor(() => expect(part.findAll('ol li').length).toBe(130), WAIT)
  })

  it('shows at most what can be drawn, and says how much is left', async () => {
    wide(true)
    const many = Array.from({ length: 700 }, (_, n) => job(`j${n}`, { server_id: `s${n}` }))
    const servers = many.map((one, n) => ({ id: one.server_id, name: `web${n}`, tags: [] }))
    answering(answers(many, { '/api/servers': page(servers) }))
    const part = shown()
    await vi.waitFor(() => expect(part.findAll('[data-row]').length).toBe(500), WAIT)
    expect(part.text()).toContain('Not shown: 200 runs, 200 whole rows.')
    button('Show more').click()
    await vi.waitFor(() => expect(part.findAll('[data-row]').length).toBe(700), WAIT)
  })

  it('that is to come shows what is foreseen and what holds it back', async () => {
    wide(true)
    const begins = new Date(Date.now() + HOUR).toISOString()
    const run = {
      task: 'backup_create',
      name: 'db1-system',
      backup_job_id: 'b1',
      server: 'db1',
      repository: 'r',
      starts_at: begins,
      expected_seconds: null,
      collides_with: ['db1-data'],
    }
    const pause = { server: '', until: null, reason: 'new rack', who: 'ada', version: 1, created_at: begins }
    answering(answers([], { '/api/forecast': [run], '/api/pauses': [pause] }))
    const part = shown('')
    await vi.waitFor(() => expect(part.findAll('[data-bar]').length).toBe(1), WAIT)
    const bar = part.get('[data-bar]')
    expect(bar.attributes('href')).toBe('/backup-jobs/b1')
    expect(bar.attributes('aria-label')).toMatch(
      /^Backup · db1-system, Foreseen, from .*, length not known, collides with db1-data, on db1$/,
    )
    expect(part.text()).toMatch(/Pause of scheduled runs: all servers · since .* · new rack/)
  })

  it('in which nothing was says so; one that cannot be had is no empty one', async () => {
    wide(true)
    answering(answers([]))
    const part = shown()
    await vi.waitFor(() => expect(part.text()).toContain('Nothing ran, and nothing is foreseen'), WAIT)
    part.unmount()
    answering({ ...answers([]), '/api/jobs': 403 })
    const refused = shown()
    await vi.waitFor(() => expect(refused.find('[role=alert]').exists()).toBe(true), WAIT)
    expect(refused.text()).not.toContain('Nothing ran')
  })

  it('asks for nothing that one may not know', async () => {
    wide(true)
    me.value = ada(['jobs:read'])
    const asked = answering(answers([job('a')]))
    const part = shown('?date=not-a-day&hours=7&start=x&by=nothing')
    await vi.waitFor(
      () => expect(part.findAll('[data-axis]').length + part.findAll('h2').length).toBe(1),
      WAIT,
    )
    expect(new Set(asked.map((one) => one.path.split('?')[0]))).toEqual(
      new Set(['/api/jobs', '/api/job-kinds']),
    )
  })

  it('that holds more than is asked for says that a part is missing', async () => {
    wide(true)
    const asked = answering(answers([job('a')], { '/api/jobs': { items: [job('a')], next: 'more' } }))
    const part = shown()
    await vi.waitFor(() => expect(part.text()).toContain('There is more than can be shown'), WAIT)
    expect(asked.filter((one) => one.path.startsWith('/api/jobs?')).length).toBe(4)
  })
})
