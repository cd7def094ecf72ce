// The report: which backup jobs and servers keep their target, the worst first.
import { type Status, statusOf } from '@/lib/status'
import type { Compliance } from './api'

type State = Compliance['state']
const ORDER: State[] = ['breached', 'at_risk', 'no_target', 'ok', 'off']

/** How much of the allowed age is used up; never backed up is more than any age. */
function used(row: Compliance): number {
  if (row.age_seconds === null) return Number.POSITIVE_INFINITY
  return row.target_seconds ? row.age_seconds / row.target_seconds : row.age_seconds
}

export function worstFirst(rows: Compliance[]): Compliance[] {
  const rank = (row: Compliance): number => ORDER.indexOf(row.state)
  const byUse = (a: Compliance, b: Compliance): number => (used(a) === used(b) ? 0 : used(b) - used(a))
  return [...rows].sort(
    (a, b) => rank(a) - rank(b) || byUse(a, b) || a.backup_job.localeCompare(b.backup_job),
  )
}

export interface Line {
  /** The worst of what it is about. */
  worst: Compliance
  jobs: number
}

/** A server is as its worst backup job is. */
export function byServer(rows: Compliance[]): Line[] {
  const lines = new Map<string, Line>()
  for (const row of worstFirst(rows)) {
    const line = lines.get(row.server)
    if (line) line.jobs += 1
    else lines.set(row.server, { worst: row, jobs: 1 })
  }
  return [...lines.values()]
}

export const byJob = (rows: Compliance[]): Line[] => worstFirst(rows).map((worst) => ({ worst, jobs: 1 }))

/** What is switched off, or has no target, can neither keep nor miss it; that there is none is told. */
export function totals(lines: Line[]): {
  kept: number
  of: number
  risk: number
  breached: number
  without: number
} {
  const having = (state: State): number => lines.filter((line) => line.worst.state === state).length
  const [ok, risk, breached] = [having('ok'), having('at_risk'), having('breached')]
  return { kept: ok + risk, of: ok + risk + breached, risk, breached, without: having('no_target') }
}

export const isKept = (line: Line): boolean => line.worst.state === 'ok' || line.worst.state === 'off'

export function stateOf(row: Compliance): Status {
  return statusOf('health', row.state)
}
