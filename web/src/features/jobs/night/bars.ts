// What a night is drawn of: one bar for each job that ran or waited in it, and for each run that is foreseen.
import type { Schema } from '@/lib/api/client'
import type { Span } from '@/lib/format/night'

export type ExpectedRun = Schema['ExpectedRun']
type Job = Schema['JobOut']

export interface Bar extends Span {
  key: string
  /** Where the link leads; null: nowhere is more to be read. */
  link: string | null
  type: string
  title: string
  /** A job's state, or `foreseen`. */
  state: string
  /** Since when it waited before it began; null: it did not. */
  asked: number | null
  /** It goes on. */
  open: boolean
  /** How long it will take, nobody knows. */
  vague: boolean
  server: string | null
  pool: string | null
  node: string | null
  collides: string[]
  takesTurn: boolean
}

/** Names by id, as far as one may know them. */
export interface Names {
  servers: Map<string, string>
  repositories: Map<string, { name: string; server: string; pool: string | null }>
  turns: Set<string>
}

/** What a run is drawn as of which no length is known. */
const VAGUE = 10 * 60_000
/** Who began within a second has not waited. */
const AT_ONCE = 1000

export function barOfJob(job: Job, names: Names, now: number): Bar {
  const asked = Date.parse(job.created_at)
  const ended = job.finished_at ? Date.parse(job.finished_at) : null
  const begun = job.started_at && job.state !== 'queued' ? Date.parse(job.started_at) : null
  const to = ended ?? Math.max(now, begun ?? asked)
  const from = Math.min(begun ?? to, to)
  const repository = names.repositories.get(job.repository_id ?? '')
  return {
    key: job.id,
    link: `/jobs/${job.id}`,
    type: job.type,
    title: job.title,
    state: job.state,
    from,
    to,
    asked: from - asked > AT_ONCE ? asked : null,
    open: ended === null,
    vague: false,
    server: names.servers.get(job.server_id ?? '') ?? repository?.server ?? null,
    pool: repository?.pool ?? null,
    node: job.node,
    collides: [],
    takesTurn: names.turns.has(job.type),
  }
}

export function barOfRun(run: ExpectedRun, names: Names): Bar {
  const from = Date.parse(run.starts_at)
  const known = [...names.repositories].find(
    ([, one]) => one.name === run.repository && one.server === run.server,
  )
  const elsewhere = known ? `/repositories/${known[0]}` : null
  return {
    key: `${run.starts_at} ${run.task} ${run.name}`,
    link: run.backup_job_id ? `/backup-jobs/${run.backup_job_id}` : elsewhere,
    type: run.task,
    title: run.name,
    state: 'foreseen',
    from,
    to: from + (run.expected_seconds === null ? VAGUE : run.expected_seconds * 1000),
    asked: null,
    open: false,
    vague: run.expected_seconds === null,
    server: run.server,
    pool: known?.[1].pool ?? null,
    node: null,
    collides: run.collides_with,
    takesTurn: names.turns.has(run.task),
  }
}

/** Those that are seen in a span, waiting included, by their beginning. */
export function within(bars: Bar[], span: Span): Bar[] {
  return bars
    .filter((bar) => (bar.asked ?? bar.from) < span.to && (bar.to > span.from || bar.from >= span.from))
    .sort((a, b) => a.from - b.from || a.title.localeCompare(b.title))
}

/** The spans in which at least so many run at once; one that waits takes no slot. */
export function fullSpans(bars: Bar[], cap: number | null | undefined): Span[] {
  if (!cap) return []
  const changes = bars
    .filter((bar) => bar.takesTurn && bar.state !== 'queued' && bar.to > bar.from)
    .flatMap((bar) => [
      { at: bar.from, by: 1 },
      { at: bar.to, by: -1 },
    ])
    // Who ends makes room for who begins at the same moment.
    .sort((a, b) => a.at - b.at || a.by - b.by)
  const found: Span[] = []
  let [count, since] = [0, 0]
  for (const { at, by } of changes) {
    if (count < cap && count + by >= cap) since = at
    if (count >= cap && count + by < cap) {
      const last = found.at(-1)
      if (last && last.to === since) last.to = at
      else if (at > since) found.push({ from: since, to: at })
    }
    count += by
  }
  return found
}

/** How many run at most at once. */
export function mostAtOnce(bars: Bar[]): number {
  const changes = bars
    .filter((bar) => bar.takesTurn && bar.state !== 'queued' && bar.to > bar.from)
    .flatMap((bar) => [[bar.from, 1] as const, [bar.to, -1] as const])
    .sort((a, b) => a[0] - b[0] || a[1] - b[1])
  let [count, most] = [0, 0]
  for (const [, by] of changes) {
    count += by
    most = Math.max(most, count)
  }
  return most
}
