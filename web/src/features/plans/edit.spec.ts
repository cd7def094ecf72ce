import { afterEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { me } from '@/lib/session'
import { answering, button, contested, page, put, waits } from '../../../tests/mounting'
import { ada } from '../../../tests/setup'
import type { BackupJob, Schedule } from './api'
import { bodyOf, changeOf, isChanged, isReadable, planForm } from './edit'
import PausesView from './PausesView.vue'
import PlanEditView from './PlanEditView.vue'
import PlanView from './PlanView.vue'

const WAIT = 120_000
const schedule = (more: Partial<Schedule> = {}): Schedule => ({
  id: 'c1',
  when: { kind: 'days', every: 1, times: ['01:00:00'], zone: 'Europe/Paris' },
  words: 'every day',
  next_run_at: null,
  next_runs: [],
  ...more,
})
const plan = (more: Partial<BackupJob> = {}): BackupJob => ({
  version: 1,
  id: 'p1',
  name: 'web1-system',
  server_id: 's1',
  server: 'web1',
  repository_id: 'r1',
  repository: 'system',
  enabled: true,
  sources: ['/etc', '/srv'],
  excludes: [],
  patterns: [],
  compression: 'zstd,3',
  one_file_system: true,
  exclude_caches: true,
  upload_limit_kib: null,
  transport: 'tunnel',
  pre_hook: null,
  post_hook: null,
  hook_seconds: 60,
  time_limit_seconds: 5400,
  rpo_seconds: 129_600,
  retention: null,
  priority: 5,
  max_failures: null,
  retry_seconds: null,
  schedules: [schedule()],
  last_good_at: '2026-11-24T01:00:00Z',
  checked_at: null,
  compacted_at: null,
  created_at: '2026-11-01T00:00:00Z',
  ...more,
})
const outcome = {
  kept: 1,
  dropped: 1,
  deletion_limit_reached: false,
  backups: [
    {
      id: 'b2',
      name: 'b2',
      backup_job_id: 'p1',
      created_at: '2026-11-24T01:00:00Z',
      original_size: 5,
      kept_by: 'daily 1',
    },
    {
      id: 'b1',
      name: 'b1',
      backup_job_id: 'p1',
      created_at: '2026-11-23T01:00:00Z',
      original_size: 5,
      kept_by: null,
    },
  ],
}
const answers = (one: BackupJob, more: Record<string, unknown> = {}) => ({
  '/api/backup-jobs/p1': one,
  '/api/repositories': page([]),
  '/api/repositories/r1': { id: 'r1', retention: null },
  '/api/compliance': [],
  '/api/jobs': page([]),
  '/api/missed-runs': page([]),
  '/api/schedules/preview': { words: '', next_runs: ['2026-11-25T00:00:00Z'] },
  '/api/backup-jobs/p1/retention/preview': outcome,
  ...more,
})
const at = (part: { vm: unknown }): string => (part.vm as { $route: { path: string } }).$route.path
const labelled = (text: string): HTMLInputElement => {
  const label = [...document.querySelectorAll('label')].find((one) => one.textContent?.trim() === text)
  return document.getElementById(label?.htmlFor ?? '') as HTMLInputElement
}
const type = async (label: string, text: string): Promise<void> => {
  labelled(label).value = text
  labelled(label).dispatchEvent(new Event('input'))
  await nextTick()
}

afterEach(() => {
  vi.unstubAllGlobals()
})

describe('the switch of a backup job', () => {
  it('turns what was seen: a second click, or another person, does not turn it back unseen', async () => {
    const tags: (string | null)[] = []
    let now = plan({ enabled: false })
    vi.stubGlobal('fetch', async (request: Request) => {
      const path = new URL(request.url, 'http://test').pathname
      if (!path.endsWith('/toggle')) return Response.json({ ...answers(now) }[path] ?? page([]))
      const tag = request.headers.get('If-Match')
      tags.push(tag)
      if (tag !== `"${now.version}"`)
        return Response.json({ code: 'changed_meanwhile', key: 'changed_meanwhile' }, { status: 412 })
      now = plan({ enabled: !now.enabled, version: now.version + 1 })
      return Response.json(now)
    })
    const part = put(PlanView, {}, '', '/backup-jobs/p1')
    await vi.waitFor(() => expect(part.text()).toContain('Switch on'), WAIT)
    button('Switch on').click()
    button('Switch on').click()
    await vi.waitFor(() => expect(tags).toEqual(['"1"', '"1"']), WAIT)
    await vi.waitFor(() => expect(part.text()).toContain('Switch off'), WAIT)
    expect(now.enabled).toBe(true)
  })
})

describe('a backup job as a form', () => {
  it('and back is what it was', () => {
    const form = planForm(plan())
    expect(form.rpoHours).toBe('36')
    expect(form.timeLimitMinutes).toBe('90')
    expect(bodyOf(form)).toMatchObject({
      sources: ['/etc', '/srv'],
      rpo_seconds: 129_600,
      time_limit_seconds: 5400,
      hook_seconds: 60,
      pre_hook: null,
      retention: null,
      priority: 5,
      schedules: [{ when: { kind: 'days', every: 1, times: ['01:00'], zone: 'Europe/Paris' } }],
    })
  })

  it('leaves schedules alone that were not changed', () => {
    const [form, before] = [planForm(plan()), planForm(plan())]
    expect(isChanged(form, before)).toBe(false)
    form.name = 'other'
    expect(changeOf(form, before)).toMatchObject({ name: 'other', schedules: null })
    form.schedules[0]!.times = '02:00'
    expect(changeOf(form, before).schedules?.[0]?.when).toMatchObject({ times: ['02:00'] })
  })

  it('is not one for a version that cannot read all of it', () => {
    expect(isReadable(plan())).toBe(true)
    expect(isReadable(plan({ schedules: [schedule({ when: null })] }))).toBe(false)
    expect(isReadable(plan({ unreadable: ['retention'] }))).toBe(false)
  })
})

describe('the page that edits it', () => {
  it('is loading, shows the next five runs, saves once, and goes back', async () => {
    const asked = answering(answers(plan()))
    const part = put(PlanEditView, {}, '', '/backup-jobs/p1/edit')
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('Next five runs'), WAIT)
    expect(button('Save backup job').disabled).toBe(true)
    await type('Name', 'web1-all')
    expect(part.text()).toContain('Not saved yet')
    button('Save backup job').click()
    const puts = () => asked.filter((one) => one.method === 'PUT')
    await vi.waitFor(() => expect(puts().length).toBe(1), WAIT)
    expect(JSON.parse(puts()[0]!.body)).toMatchObject({ name: 'web1-all', schedules: null })
    await vi.waitFor(() => expect(at(part)).toBe('/backup-jobs/p1'), WAIT)
  })

  it('shows why a field was refused at that field, and puts the focus there', async () => {
    answering(answers(plan()))
    const part = put(PlanEditView, {}, '', '/backup-jobs/p1/edit')
    await vi.waitFor(() => expect(part.text()).toContain('Next five runs'), WAIT)
    await type('Sources', 'etc')
    const problem = {
      code: 'invalid',
      errors: [
        {
          field: 'body.sources.0',
          code: 'invalid_value',
          params: {},
          message: 'Value error, an absolute path',
        },
      ],
    }
    vi.stubGlobal('fetch', async () => new Response(JSON.stringify(problem), { status: 422 }))
    button('Save backup job').click()
    await vi.waitFor(() => expect(part.text()).toContain('an absolute path'), WAIT)
    await vi.waitFor(() => expect(document.activeElement).toBe(labelled('Sources')), WAIT)
    expect(labelled('Sources').getAttribute('aria-invalid')).toBe('true')
  })

  it('is meant for the version that was read; what came first is told, read again or saved over', async () => {
    const world = contested('/api/backup-jobs/p1', plan(), answers(plan()))
    const part = put(PlanEditView, {}, '', '/backup-jobs/p1/edit')
    await vi.waitFor(() => expect(part.text()).toContain('Next five runs'), WAIT)
    world.eve({ name: 'of-eve' })
    await type('Name', 'mine')
    button('Save backup job').click()
    await vi.waitFor(() => expect(part.text()).toContain('last by eve'), WAIT)
    expect(part.text()).not.toContain('If-Match')
    button('Read again').click()
    await vi.waitFor(() => expect(labelled('Name').value).toBe('of-eve'), WAIT)
    world.eve({ name: 'of-eve-again' })
    await type('Name', 'mine')
    button('Save backup job').click()
    await vi.waitFor(() => expect(part.text()).toContain('Save mine all the same'), WAIT)
    button('Save mine all the same').click()
    await vi.waitFor(() => expect(at(part)).toBe('/backup-jobs/p1'), WAIT)
    expect(world.tags).toEqual(['"1"', '"2"', '"3"'])
    expect(world.now.name).toBe('mine')
  })

  it('asks before what was changed is left; staying keeps it', async () => {
    answering(answers(plan()))
    const part = put(PlanEditView, {}, '', '/backup-jobs/p1/edit')
    await vi.waitFor(() => expect(part.text()).toContain('Next five runs'), WAIT)
    await type('Name', 'other')
    button('Cancel').click()
    await vi.waitFor(() => expect(document.body.textContent).toContain('Leave without saving?'), WAIT)
    button('Stay').click()
    await vi.waitFor(() => expect(document.querySelector('[role=dialog]')).toBeNull(), WAIT)
    expect(at(part)).toBe('/backup-jobs/p1/edit')
    expect(labelled('Name').value).toBe('other')
    button('Cancel').click()
    await vi.waitFor(() => expect(document.body.textContent).toContain('Leave without saving?'), WAIT)
    button('Leave').click()
    await vi.waitFor(() => expect(at(part)).toBe('/backup-jobs/p1'), WAIT)
  })

  it('that waits for another person is not lost by leaving, and asks nothing then', async () => {
    const asked = answering({ ...answers(plan()), 'PUT /api/backup-jobs/p1': waits('a1') })
    const part = put(PlanEditView, {}, '', '/backup-jobs/p1/edit')
    await vi.waitFor(() => expect(part.text()).toContain('Next five runs'), WAIT)
    await type('Name', 'other')
    button('Save backup job').click()
    await vi.waitFor(() => expect(part.text()).toContain('Nothing was changed yet'), WAIT)
    expect(asked.filter((one) => one.method === 'PUT').length).toBe(1)
    expect(at(part)).toBe('/backup-jobs/p1/edit')
    button('Cancel').click()
    await vi.waitFor(() => expect(at(part)).toBe('/backup-jobs/p1'), WAIT)
  })

  it('deletes it only by its name, and says what stays', async () => {
    const asked = answering(answers(plan()))
    const part = put(PlanEditView, {}, '', '/backup-jobs/p1/edit')
    await vi.waitFor(() => expect(part.text()).toContain('leaves its backups in web1/system'), WAIT)
    button('Delete backup job').click()
    await nextTick()
    expect(document.querySelector('[role=dialog]')!.textContent).toContain('Its backups stay in web1/system')
    expect(button('Delete backup job').disabled).toBe(true)
    await type('To confirm, type web1-system', 'web1-system')
    button('Delete backup job').click()
    await vi.waitFor(() => expect(asked.some((one) => one.method === 'DELETE')).toBe(true), WAIT)
    await vi.waitFor(() => expect(at(part)).toBe('/backup-jobs'), WAIT)
  })

  it('is not for who may not, nor for what cannot be read, and a refusal is an error', async () => {
    answering(answers(plan({ unreadable: ['retention'] })))
    const part = put(PlanEditView, {}, '', '/backup-jobs/p1/edit')
    await vi.waitFor(() => expect(part.text()).toContain('cannot read all of it'), WAIT)
    part.unmount()
    answering({ ...answers(plan()), '/api/backup-jobs/p1': 403 })
    const other = put(PlanEditView, {}, '', '/backup-jobs/p1/edit')
    await vi.waitFor(() => expect(other.find('[role=alert]').exists()).toBe(true), WAIT)
    other.unmount()
    me.value = ada(['backup_jobs:read'])
    answering(answers(plan()))
    expect(put(PlanEditView, {}, '', '/backup-jobs/p1/edit').text()).toContain('backup_jobs:write')
  })
})

describe('its retention', () => {
  it('shows what stays by which rule and what would go; fewer are kept only after a question', async () => {
    const asked = answering(answers(plan({ retention: { keep_daily: 7 } })))
    const part = put(PlanView, {}, '', '/backup-jobs/p1')
    await vi.waitFor(() => expect(part.text()).toContain('Daily 1'), WAIT)
    expect(part.text()).toContain('It keeps: 7 daily.')
    expect(part.text()).toContain('1 would be pruned')
    expect(part.findAll('tr[data-kept=false]').length).toBe(1)
    button('Change…').click()
    await nextTick()
    await type('Days', '1')
    await vi.waitFor(() => expect(button('Save retention').disabled).toBe(false), WAIT)
    button('Save retention').click()
    await vi.waitFor(() => expect(document.querySelector('[role=dialog]')).toBeTruthy(), WAIT)
    expect(document.querySelector('[role=dialog]')!.textContent).toContain(
      'Keep fewer backups of web1-system?',
    )
    expect(asked.some((one) => one.method === 'PUT')).toBe(false)
    button('Save retention').click()
    await vi.waitFor(() => expect(asked.some((one) => one.method === 'PUT')).toBe(true), WAIT)
    const sent = JSON.parse(asked.find((one) => one.method === 'PUT')!.body)
    expect(sent).toMatchObject({ schedules: null, retention: { keep_daily: 1 }, sources: ['/etc', '/srv'] })
  })

  it('that nobody set keeps everything, in words, and is not changed by who may only look', async () => {
    me.value = ada(['backup_jobs:read', 'repositories:read', 'schedules:read'])
    answering(answers(plan()))
    const part = put(PlanView, {}, '', '/backup-jobs/p1')
    await vi.waitFor(() => expect(part.text()).toContain('everything is kept'), WAIT)
    expect(part.text()).not.toContain('Change…')
  })
})

describe('the pauses', () => {
  const pause = {
    server: 'web1',
    until: null,
    reason: 'move',
    who: 'ada',
    created_at: '2026-11-24T00:00:00Z',
  }

  it('are listed and lifted', async () => {
    const asked = answering({ '/api/pauses': [pause], '/api/servers': page([]) })
    const part = put(PausesView)
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('The schedules of web1 are paused'), WAIT)
    expect(part.text()).toContain('move')
    expect(part.text()).toContain('Until somebody takes it back')
    button('Resume').click()
    await vi.waitFor(
      () => expect(asked.find((one) => one.method === 'DELETE')?.path).toBe('/api/pauses?server=web1'),
      WAIT,
    )
  })

  it('are set for one server, with a reason and an end', async () => {
    const asked = answering({ '/api/pauses': [], '/api/servers': page([{ id: 's1', name: 'web1' }]) })
    const part = put(PausesView)
    await vi.waitFor(() => expect(part.text()).toContain('Nothing is paused'), WAIT)
    button('Pause…').click()
    await vi.waitFor(() => expect(labelled('Of')?.textContent).toContain('web1'), WAIT)
    expect(button('Pause').disabled).toBe(true)
    labelled('Of').value = 'web1'
    labelled('Of').dispatchEvent(new Event('change'))
    await type('Until', '2026-12-01T08:00')
    await type('Why', 'move')
    button('Pause').click()
    await vi.waitFor(() => expect(asked.some((one) => one.method === 'PUT')).toBe(true), WAIT)
    const sent = asked.find((one) => one.method === 'PUT')!
    expect(sent.path).toBe('/api/pauses?server=web1')
    expect(JSON.parse(sent.body)).toMatchObject({ reason: 'move', until: expect.stringContaining('2026-1') })
  })

  it('of everything are not offered to who may pause some servers only', async () => {
    me.value = { ...ada(['schedules:read', 'schedules:write', 'servers:read']), limited: ['schedules:write'] }
    answering({ '/api/pauses': [], '/api/servers': page([{ id: 's1', name: 'web1' }]) })
    const part = put(PausesView)
    await vi.waitFor(() => expect(part.text()).toContain('Nothing is paused'), WAIT)
    button('Pause…').click()
    await vi.waitFor(() => expect(labelled('Of')?.textContent).toContain('web1'), WAIT)
    expect(labelled('Of').textContent).not.toContain('All servers')
  })

  it('that are refused are an error, and no empty list', async () => {
    answering({ '/api/pauses': 403, '/api/servers': page([]) })
    const part = put(PausesView)
    await vi.waitFor(() => expect(part.find('[role=alert]').exists()).toBe(true), WAIT)
    expect(part.text()).not.toContain('Nothing is paused')
  })
})
