// The rows of a night: its bars by server, pool or node, each beside the others that it overlaps with.
import type { Schema } from '@/lib/api/client'
import type { Span } from '@/lib/format/night'
import { type Bar, fullSpans } from './bars'

export const GROUPS = ['server', 'pool', 'node'] as const
export type Group = (typeof GROUPS)[number]

export interface Hatch extends Span {
  kind: 'pause' | 'window'
  /** Whose it is; empty: of all. */
  server: string
  reason: string
}

export interface Row {
  key: string
  /** Null: of no server, pool or node that one knows. */
  name: string | null
  bars: (Bar & { lane: number })[]
  lanes: number
  hatches: Hatch[]
  /** Where all of its own slots are taken. */
  full: Span[]
  cap: number | null
}

export interface Caps {
  fleet: number | null
  of(group: Group, name: string): number | null
}

/** The end of what is taken back by hand. */
export const FOR_EVER = Number.MAX_SAFE_INTEGER

export function capsOf(limits: Schema['LimitsOut'] | undefined): Caps {
  return {
    fleet: limits?.fleet ?? null,
    of: (group, name) => {
      if (group === 'server') return limits?.servers?.[name] ?? limits?.per_server ?? null
      return group === 'pool' ? (limits?.pools?.[name] ?? limits?.per_pool ?? null) : null
    },
  }
}

export function hatchesOf(
  pauses: Schema['PauseOut'][],
  windows: Schema['WindowOut'][],
  tagged: (tag: string) => string[],
): Hatch[] {
  const paused = pauses.map(({ server, reason, created_at, until }) => ({
    kind: 'pause' as const,
    server,
    reason,
    from: Date.parse(created_at),
    to: until ? Date.parse(until) : FOR_EVER,
  }))
  const quiet = windows.flatMap(({ server, tag, reason, starts_at, ends_at }) =>
    (tag ? tagged(tag) : [server]).map((one) => ({
      kind: 'window' as const,
      server: one,
      reason,
      from: Date.parse(starts_at),
      to: Date.parse(ends_at),
    })),
  )
  return [...paused, ...quiet]
}

/** What holds runs or alerts back at some time of a span. */
export const heldIn = (hatches: Hatch[], span: Span): Hatch[] =>
  hatches.filter((one) => one.from < span.to && one.to > span.from)

/** Puts each bar into the first lane that is free; no bar takes less than `least`, so that it can be pointed at. */
export function laned(bars: Bar[], least: number): { bars: (Bar & { lane: number })[]; lanes: number } {
  const ends: number[] = []
  const placed = [...bars]
    .sort((a, b) => (a.asked ?? a.from) - (b.asked ?? b.from))
    .map((bar) => {
      const begins = bar.asked ?? bar.from
      const free = ends.findIndex((end) => end <= begins)
      const lane = free < 0 ? ends.length : free
      ends[lane] = Math.max(bar.to, bar.from + least)
      return { ...bar, lane }
    })
  return { bars: placed, lanes: Math.max(1, ends.length) }
}

const RANK: Record<string, number> = { failed: 0, warning: 1, cancelled: 2 }
const worst = (bars: Bar[]): number =>
  Math.min(3, ...bars.map((bar) => (bar.collides.length ? 1 : (RANK[bar.state] ?? 3))))

/** The rows, worst first, then by name; what belongs to none comes last. */
export function rowsOf(
  bars: Bar[],
  group: Group,
  hatches: Hatch[],
  caps: Caps,
  span: Span,
  least: number,
): Row[] {
  const groups = new Map<string | null, Bar[]>()
  for (const bar of bars) groups.set(bar[group], [...(groups.get(bar[group]) ?? []), bar])
  const seen = heldIn(hatches, span)
  // A server that is held back has nothing to show: that is why it is shown.
  if (group === 'server')
    for (const { server } of seen) if (server && !groups.has(server)) groups.set(server, [])
  return [...groups]
    .map(([name, own]) => {
      const cap = name === null ? null : caps.of(group, name)
      return {
        key: name ?? '',
        name,
        ...laned(own, least),
        hatches: seen.filter((one) => !one.server || (group === 'server' && one.server === name)),
        full: fullSpans(own, cap).filter((one) => one.from < span.to && one.to > span.from),
        cap,
      }
    })
    .sort(
      (a, b) =>
        Number(a.name === null) - Number(b.name === null) ||
        worst(a.bars) - worst(b.bars) ||
        a.key.localeCompare(b.key),
    )
}

/** So many rows as have no more than so many bars together; of the first, where it alone has more, so many bars. */
export function firstRows(rows: Row[], most: number): Row[] {
  const [first] = rows
  if (first && first.bars.length > most) {
    const bars = first.bars.slice(0, most)
    return [{ ...first, bars, lanes: Math.max(1, ...bars.map((bar) => bar.lane + 1)) }]
  }
  let bars = 0
  const found: Row[] = []
  for (const row of rows) {
    bars += row.bars.length
    if (bars > most) break
    found.push(row)
  }
  return found
}
