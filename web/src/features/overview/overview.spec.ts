import { afterEach, describe, expect, it, vi } from 'vitest'
import { me } from '@/lib/session'
import { daysOf } from '@/ui/days'
import { answering, page, put } from '../../../tests/mounting'
import { PERMISSIONS } from '../../../tests/permissions'
import { ada } from '../../../tests/setup'
import type { Alert, Compliance } from './api'
import OverviewView from './OverviewView.vue'
import { concernsOf, oldestGood, sentenceOf, stripsOf } from './standing'

const WAIT = 120_000
const row = (
  state: Compliance['state'],
  name = 'web1-system',
  last: string | null = '2026-11-24T01:00:00Z',
): Compliance => ({
  backup_job_id: name,
  backup_job: name,
  server: 'web1',
  state,
  target_seconds: 86_400,
  last_good_at: last,
  age_seconds: null,
  breaks_at: null,
})
const alert = (kind: string, more: Partial<Alert> = {}): Alert => ({
  id: kind,
  kind,
  subject: 'backup_job:web1-system',
  server: 'web1',
  state: 'firing',
  level: 'warning',
  value: 1,
  threshold: 1,
  began_at: '2026-11-24T00:00:00Z',
  raised_at: null,
  acknowledged_until: null,
  acknowledged_by: '',
  acknowledged_note: '',
  resolved_at: null,
  ...more,
})

afterEach(() => {
  vi.unstubAllGlobals()
})

describe('the sentence', () => {
  it.each([
    [[row('ok')], [], 'well', 'ok'],
    [[row('ok'), row('off', 'b')], [], 'well', 'ok'],
    [[row('ok'), row('no_target', 'b')], [], 'made', 'ok'],
    [[row('off')], [], 'nothing', 'warn'],
    [[], [], 'nothing', 'warn'],
    [[row('ok'), row('breached', 'b')], [], 'overdue', 'bad'],
    [[row('breached')], [alert('repository_damaged')], 'repository', 'bad'],
    [[row('ok')], [alert('backup_failed')], 'failing', 'bad'],
    [[row('at_risk')], [alert('server_unreachable')], 'at_risk', 'warn'],
    [[row('no_target', 'a', null)], [], 'never', 'warn'],
    [[row('ok', 'a', null)], [], 'never', 'warn'],
    [[row('ok')], [alert('server_unreachable')], 'unreachable', 'warn'],
    [[row('ok')], [alert('backup_doubtful'), alert('pool_full')], 'doubtful', 'warn'],
    [[row('ok')], [alert('cpu')], 'alerts', 'warn'],
    [[row('ok')], [alert('of_the_future')], 'alerts', 'warn'],
  ] as [Compliance[], Alert[], string, string][])(
    'case %#: is made by the worst thing',
    (compliance, alerts, state, tone) => {
      expect(sentenceOf(compliance, alerts)).toMatchObject({ key: `overview.state.${state}`, tone })
    },
  )

  it('takes the oldest from what is switched on', () => {
    const all = [
      row('off', 'a', '2020-01-01T00:00:00Z'),
      row('ok', 'b', '2026-11-20T00:00:00Z'),
      row('ok', 'c'),
    ]
    expect(oldestGood(all)).toBe('2026-11-20T00:00:00Z')
    expect(oldestGood([row('ok', 'a', null)])).toBeNull()
  })
})

describe('what needs a person', () => {
  it('names an overdue backup job once, alert or not, and the worst first', () => {
    const all = concernsOf(
      [row('breached'), row('breached', 'db1')],
      [
        alert('cpu'),
        alert('backup_too_old', { level: 'critical' }),
        alert('disk', { state: 'acknowledged', level: 'critical' }),
      ],
    )
    expect(all.map((one) => one.id)).toEqual(['db1', 'backup_too_old', 'cpu', 'disk'])
  })
})

describe('the strips', () => {
  const dateOf = (at: Date): string => at.toISOString().slice(0, 10)
  const today = new Date('2026-11-24T12:00:00Z')

  it('take the worst run of a day, and call no day well of which nothing was loaded', () => {
    const runs = [
      { at: '2026-11-24T01:00:00Z', state: 'succeeded' },
      { at: '2026-11-24T02:00:00Z', state: 'failed' },
      { at: '2026-11-23T01:00:00Z', state: 'warning' },
      { at: '2026-11-21T01:00:00Z', state: 'missed' },
    ]
    const states = daysOf(runs, '2026-11-21T00:00:00Z', today, 5, dateOf).map((day) => day.state)
    expect(states).toEqual(['unknown', 'missed', 'idle', 'warning', 'failed'])
    expect(daysOf([], null, today, 2, dateOf).map((day) => day.state)).toEqual(['idle', 'idle'])
    expect(
      daysOf([{ at: '2026-11-24T01:00:00Z', state: 'of_the_future' }], null, today, 1, dateOf)[0]?.state,
    ).toBe('unknown')
  })

  it('show the worst backup job first', () => {
    const recent = { runs: [], missed: [], whole: true }
    const all = stripsOf([row('ok', 'a'), row('off', 'b'), row('breached', 'z')], recent, today, dateOf)
    expect(all.map((one) => one.row.backup_job)).toEqual(['z', 'a', 'b'])
    expect(all[0]?.days.length).toBe(30)
  })
})

describe('the page', () => {
  const well = {
    '/api/compliance': [row('ok')],
    '/api/alerts': page([]),
    '/api/jobs': page([]),
    '/api/missed-runs': page([]),
    '/api/forecast': [],
    '/api/storage-pools': page([]),
  }

  it('is loading, then says that all is well', async () => {
    answering({ ...well, '/api/approvals': page([]) })
    const part = put(OverviewView)
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('The backup job is up to date.'), WAIT)
    expect(part.text()).not.toContain('Needs attention')
    expect(part.text()).not.toContain('your decision')
    await vi.waitFor(() => expect(part.text()).toContain('Nothing is running.'), WAIT)
  })

  it('never says that all is well when the alerts cannot be had', async () => {
    answering({ ...well, '/api/alerts': 403 })
    const part = put(OverviewView)
    await vi.waitFor(() => expect(part.find('[role=alert]').exists()).toBe(true), WAIT)
    expect(part.text()).not.toContain('up to date')
  })

  it('shows cause and remedy above everything else', async () => {
    answering({ ...well, '/api/alerts': page([alert('backup_failed', { value: 3, level: 'critical' })]) })
    const part = put(OverviewView)
    await vi.waitFor(() => expect(part.text()).toContain('The last 3 runs failed.'), WAIT)
    expect(part.text()).toContain('A backup job fails.')
    expect(part.text()).toContain('its job says why and what to do')
  })

  it('tells who decides how many requests of others wait, and nobody else', async () => {
    const of = (requested_by_id: string | null) => ({ requested_by_id })
    const waiting = { ...well, '/api/approvals': page([of('u2'), of(null), of('u1')]) }
    const asked = answering(waiting)
    const part = put(OverviewView)
    await vi.waitFor(() => expect(part.text()).toContain('2 requests wait for your decision.'), WAIT)
    expect(part.find('a[href="/access/approvals"]').exists()).toBe(true)
    expect(asked.map((one) => one.path)).toContain('/api/approvals?state=asked&limit=500')
    part.unmount()
    me.value = ada(PERMISSIONS.filter((one) => one !== 'approvals:decide'))
    const others = answering(waiting)
    const other = put(OverviewView)
    await vi.waitFor(() => expect(other.text()).toContain('up to date'), WAIT)
    expect(others.map((one) => one.path.split('?')[0])).not.toContain('/api/approvals')
  })

  it('with nothing yet leads to the first step', async () => {
    answering({ ...well, '/api/compliance': [], '/api/servers': page([]) })
    const part = put(OverviewView)
    await vi.waitFor(
      () => expect(part.findAll('button').map((one) => one.text())).toContain('Add a server'),
      WAIT,
    )
  })
})
