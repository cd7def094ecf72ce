// How a backup job is shown: its state, its next run, its last days.
import { type Status, statusOf, UNKNOWN } from '@/lib/status'
import { type Day, daysOf, type Run } from '@/ui/days'
import type { BackupJob, Compliance, Job, MissedRun } from './api'

export const DAYS = 30

/** What the API says of its target; one that never had a good backup is not merely without a target. */
export function healthOf(plan: BackupJob, compliance: Compliance | null): Status {
  if (!plan.enabled) return statusOf('health', 'off')
  if (compliance === null) return UNKNOWN
  const never = plan.last_good_at === null && compliance.state !== 'breached'
  return statusOf('health', never ? 'never' : compliance.state)
}

export interface NextRun {
  at: string
  zone: string
}

/** The zone in which a schedule thinks; UTC for one that a newer version made. */
export function zoneOf(schedule: BackupJob['schedules'][number]): string {
  const when = schedule.when as { zone?: unknown } | null
  return typeof when?.zone === 'string' ? when.zone : 'UTC'
}

/** The next runs of all its schedules in their order; none of one that is off. */
export function nextRuns(plan: BackupJob): NextRun[] {
  if (!plan.enabled) return []
  const runs = plan.schedules.flatMap((one) => one.next_runs.map((at) => ({ at, zone: zoneOf(one) })))
  return runs.sort((a, b) => Date.parse(a.at) - Date.parse(b.at))
}

/** Its last days. When not all of its runs were loaded, the days before the oldest one are unknown. */
export function stripOf(
  runs: Job[],
  whole: boolean,
  missed: MissedRun[],
  today: Date,
  dateOf: (at: Date) => string,
): Day[] {
  const all: Run[] = [
    ...runs.map((run) => ({ at: run.started_at ?? run.created_at, state: run.state })),
    ...missed.map((run) => ({ at: run.due_at, state: 'missed' })),
  ]
  return daysOf(all, whole ? null : (runs.at(-1)?.created_at ?? null), today, DAYS, dateOf)
}
