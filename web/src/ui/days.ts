// A row of days, each in the worst state of its runs.
export type DayState = 'ok' | 'warning' | 'failed' | 'cancelled' | 'running' | 'missed' | 'idle' | 'unknown'

export interface Day {
  /** As 2026-11-24, in the zone of the schedule. */
  date: string
  state: DayState
}

export interface Run {
  at: string
  state: string
}

const WORST: DayState[] = ['failed', 'missed', 'warning', 'running', 'cancelled', 'ok']
const OF_JOB: Record<string, DayState> = {
  succeeded: 'ok',
  warning: 'warning',
  failed: 'failed',
  cancelled: 'cancelled',
  queued: 'running',
  running: 'running',
  missed: 'missed',
}

/**
 * The last days up to today, oldest first. Of days before `known` (a moment) nothing was asked or told: they are
 * unknown, and not days without a run.
 */
export function daysOf(
  runs: Run[],
  known: string | null,
  today: Date,
  length: number,
  dateOf: (at: Date) => string,
): Day[] {
  const found = new Map<string, DayState[]>()
  for (const run of runs) {
    const date = dateOf(new Date(run.at))
    found.set(date, [...(found.get(date) ?? []), OF_JOB[run.state] ?? 'unknown'])
  }
  const since = known === null ? '' : dateOf(new Date(known))
  return Array.from({ length }, (_, index) => {
    const date = dateOf(new Date(today.getTime() - (length - 1 - index) * 86_400_000))
    const states = found.get(date) ?? []
    const state =
      WORST.find((one) => states.includes(one)) ?? (states.length || date < since ? 'unknown' : 'idle')
    return { date, state }
  })
}
