// How the fleet stands, in one sentence: the worst thing makes it. Pure.
import { worstFirst } from '@/lib/alerts'
import type { Tone } from '@/lib/status'
import { type Day, daysOf } from '@/ui/days'
import type { Alert, Compliance, Job, MissedRun } from './api'

export interface Sentence {
  tone: Tone
  key: string
  n: number
}

const OF_KINDS: [key: string, tone: Tone, kinds: string[]][] = [
  ['overview.state.repository', 'bad', ['repository_damaged', 'repository_frozen', 'database_older']],
]
const AFTER_BACKUPS: [key: string, tone: Tone, kinds: string[]][] = [
  [
    'overview.state.doubtful',
    'warn',
    ['backup_doubtful', 'backup_shrunk', 'post_hook_owed', 'backup_missed'],
  ],
  ['overview.state.unreachable', 'warn', ['server_unreachable']],
  ['overview.state.storage', 'warn', ['pool_full', 'pool_missing', 'repository_full', 'disk_full_soon']],
]

/** Returns the sentence; of what is switched off or has no target nobody promised anything. */
export function sentenceOf(compliance: Compliance[], alerts: Alert[]): Sentence {
  const counted = (kinds: string[]): number => alerts.filter((one) => kinds.includes(one.kind)).length
  const of = (state: Compliance['state']): number => compliance.filter((one) => one.state === state).length
  const failing = counted(['backup_failed'])
  const never = compliance.filter((one) => one.last_good_at === null && one.state !== 'off').length
  const choices: Sentence[] = [
    ...OF_KINDS.map(([key, tone, kinds]): Sentence => ({ key, tone, n: counted(kinds) })),
    { key: 'overview.state.overdue', tone: 'bad', n: of('breached') },
    { key: 'overview.state.failing', tone: 'bad', n: failing },
    { key: 'overview.state.at_risk', tone: 'warn', n: of('at_risk') },
    { key: 'overview.state.never', tone: 'warn', n: never },
    ...AFTER_BACKUPS.map(([key, tone, kinds]): Sentence => ({ key, tone, n: counted(kinds) })),
    { key: 'overview.state.alerts', tone: 'warn', n: alerts.length },
  ]
  const on = compliance.length - of('off')
  if (on === 0) return { key: 'overview.state.nothing', tone: 'warn', n: 0 }
  // Of what has no target nothing can be late: it is said that there is a good backup, and no more.
  const last = of('no_target') > 0 ? 'overview.state.made' : 'overview.state.well'
  return choices.find((one) => one.n > 0) ?? { key: last, tone: 'ok', n: on }
}

/** The oldest of the last good backups of what is switched on. */
export function oldestGood(compliance: Compliance[]): string | null {
  const moments = compliance.flatMap((one) =>
    one.state !== 'off' && one.last_good_at ? [one.last_good_at] : [],
  )
  return moments.sort((a, b) => Date.parse(a) - Date.parse(b))[0] ?? null
}

export interface Concern {
  id: string
  path: string
  since: string | null
  alert: Alert | null
  late: Compliance | null
}

/** What needs a person: the alerts, and overdue backup jobs of which no alert tells yet. The worst first. */
export function concernsOf(compliance: Compliance[], alerts: Alert[]): Concern[] {
  const told = new Set(alerts.filter((one) => one.kind === 'backup_too_old').map((one) => one.subject))
  const late = compliance.filter(
    (one) => one.state === 'breached' && !told.has(`backup_job:${one.backup_job}`),
  )
  return [
    ...late.map(
      (one): Concern => ({
        id: one.backup_job_id,
        path: `/backup-jobs/${one.backup_job_id}`,
        since: one.breaks_at,
        alert: null,
        late: one,
      }),
    ),
    ...worstFirst(alerts).map(
      (one): Concern => ({
        id: one.id,
        path: `/alerts/${one.id}`,
        since: one.began_at,
        alert: one,
        late: null,
      }),
    ),
  ]
}

const RANK: Compliance['state'][] = ['breached', 'at_risk', 'no_target', 'ok', 'off']

export interface Strip {
  row: Compliance
  days: Day[]
}

/** The backup jobs with their last days, the worst first. */
export function stripsOf(
  compliance: Compliance[],
  recent: { runs: Job[]; missed: MissedRun[]; whole: boolean },
  today: Date,
  dateOf: (at: Date) => string,
): Strip[] {
  const known = recent.whole ? null : (recent.runs.at(-1)?.created_at ?? null)
  const ordered = [...compliance].sort(
    (a, b) => RANK.indexOf(a.state) - RANK.indexOf(b.state) || a.backup_job.localeCompare(b.backup_job),
  )
  return ordered.map((row) => {
    const runs = [
      ...recent.runs
        .filter((run) => run.backup_job_id === row.backup_job_id)
        .map((run) => ({ at: run.started_at ?? run.created_at, state: run.state })),
      ...recent.missed
        .filter((run) => run.backup_job_id === row.backup_job_id)
        .map((run) => ({ at: run.due_at, state: 'missed' })),
    ]
    return { row, days: daysOf(runs, known, today, 30, dateOf) }
  })
}
