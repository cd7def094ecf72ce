import { afterEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { answering, button, page, put } from '../../../tests/mounting'
import type { BackupJob, Compliance, Job, Schedule } from './api'
import PlansView from './PlansView.vue'
import PlanView from './PlanView.vue'
import { healthOf, nextRuns, stripOf, zoneOf } from './plan'

const WAIT = 120_000
const schedule = (zone: string | null, ...next_runs: string[]): Schedule =>
  ({
    id: 'c1',
    when: zone === null ? null : { kind: 'days', zone },
    words: 'every day',
    next_runs,
  }) as unknown as Schedule
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
  time_limit_seconds: null,
  rpo_seconds: null,
  retention: null,
  priority: 0,
  max_failures: null,
  retry_seconds: null,
  schedules: [],
  last_good_at: '2026-11-24T01:00:00Z',
  checked_at: null,
  compacted_at: null,
  created_at: '2026-11-01T00:00:00Z',
  ...more,
})
const standing = (state: Compliance['state']): Compliance => ({
  backup_job_id: 'p1',
  backup_job: 'web1-system',
  server: 'web1',
  state,
  target_seconds: 86_400,
  last_good_at: null,
  age_seconds: null,
  breaks_at: null,
})
const run = (state: string, at: string): Job => ({ id: at, state, created_at: at, started_at: at }) as Job

afterEach(() => {
  vi.unstubAllGlobals()
})

describe('a backup job', () => {
  it.each([
    [plan(), standing('ok'), 'status.health.ok'],
    [plan(), standing('breached'), 'status.health.breached'],
    [plan({ last_good_at: null }), standing('breached'), 'status.health.breached'],
    [plan({ last_good_at: null }), standing('no_target'), 'status.health.never'],
    [plan({ enabled: false }), standing('breached'), 'status.health.off'],
    [plan(), null, 'status.unknown'],
  ])('case %#: is not called well before that is known', (one, compliance, key) => {
    expect(healthOf(one, compliance).key).toBe(key)
  })

  it('runs next at the earliest of all its schedules, in the zone of that one', () => {
    const both = [
      schedule('Europe/Paris', '2026-11-25T01:00:00Z'),
      schedule('Asia/Tokyo', '2026-11-24T20:00:00Z'),
    ]
    expect(nextRuns(plan({ schedules: both }))[0]).toEqual({ at: '2026-11-24T20:00:00Z', zone: 'Asia/Tokyo' })
    expect(nextRuns(plan({ schedules: both, enabled: false }))).toEqual([])
    expect(zoneOf(schedule(null))).toBe('UTC')
  })

  it('whose runs were loaded in part has unknown days before them', () => {
    const dateOf = (at: Date): string => at.toISOString().slice(0, 10)
    const days = stripOf(
      [run('failed', '2026-11-23T01:00:00Z')],
      false,
      [],
      new Date('2026-11-24T12:00:00Z'),
      dateOf,
    )
    expect(days.slice(-3).map((day) => day.state)).toEqual(['unknown', 'failed', 'idle'])
  })
})

describe('the list', () => {
  const answers = (plans: BackupJob[]) => ({
    '/api/backup-jobs': page(plans),
    '/api/compliance': [standing('at_risk')],
    '/api/pauses': [],
  })

  it('is loading, then full; Run now asks once', async () => {
    const asked = answering({ ...answers([plan()]), '/api/backup-jobs/p1/run': { id: 'j9' } })
    const part = put(PlansView)
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('At risk'), WAIT)
    expect(part.text()).toContain('on demand')
    button('Run now').click()
    await vi.waitFor(
      () =>
        expect(asked.filter((one) => one.method === 'POST').map((one) => one.path)).toEqual([
          '/api/backup-jobs/p1/run',
        ]),
      WAIT,
    )
  })

  it('with no backup job leads to the wizard', async () => {
    answering(answers([]))
    const part = put(PlansView)
    await vi.waitFor(() => expect(part.text()).toContain('No backup job yet'), WAIT)
    button('New backup job').click()
    await vi.waitFor(
      () => expect((part.vm as unknown as { $route: { path: string } }).$route.path).toBe('/wizard'),
      WAIT,
    )
  })

  it('that is refused is an error, and not an empty list', async () => {
    answering({ ...answers([]), '/api/backup-jobs': 403 })
    const part = put(PlansView)
    await vi.waitFor(() => expect(part.find('[role=alert]').exists()).toBe(true), WAIT)
    expect(part.text()).not.toContain('No backup job yet')
  })

  it('says that all is paused and why, and a pause needs a reason', async () => {
    const paused = {
      server: '',
      until: null,
      reason: 'migration',
      who: 'admin',
      created_at: '2026-11-24T00:00:00Z',
    }
    answering({ ...answers([plan()]), '/api/pauses': [paused] })
    const part = put(PlansView)
    await vi.waitFor(() => expect(part.text()).toContain('All schedules are paused'), WAIT)
    expect(part.text()).toContain('migration')
    part.unmount()
    answering(answers([plan()]))
    put(PlansView)
    await vi.waitFor(() => expect(button('Pause all')).toBeTruthy(), WAIT)
    button('Pause all').click()
    await nextTick()
    expect(button('Pause all').disabled).toBe(true)
  })
})

describe('its page', () => {
  it('says what it backs up, its runs, and the next ones in the zone of the schedule', async () => {
    answering({
      '/api/backup-jobs/p1': plan({
        schedules: [schedule('Europe/Paris', '2026-11-25T00:00:00Z')],
        retention: { keep_daily: 7, keep_weekly: 1 } as never,
      }),
      '/api/compliance': [standing('ok')],
      '/api/jobs': page([
        { ...run('failed', '2026-11-24T01:00:00Z'), reason: 'no route to host', warnings: [] },
      ]),
      '/api/missed-runs': page([]),
      '/api/backup-jobs/p1/retention/preview': {
        kept: 0,
        dropped: 0,
        deletion_limit_reached: false,
        backups: [],
      },
      '/api/repositories/r1': { retention: null },
    })
    const part = put(PlanView, {}, '', '/backup-jobs/p1')
    await vi.waitFor(() => expect(part.text()).toContain('no route to host'), WAIT)
    expect(part.text()).toContain('/srv')
    expect(part.text()).toContain('Times of Europe/Paris')
    expect(part.text()).toContain('01:00')
    expect(part.text()).toContain('7 daily, 1 weekly')
  })
})
