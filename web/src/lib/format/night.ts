// Nights and hours on the wall clock of a zone, right where the clock changes in them.

export interface Span {
  from: number
  to: number
}

export interface Mark {
  at: number
  /** The clock was put back: it showed this time before. */
  second: boolean
}

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
/** All clocks of our time differ from UTC by quarters of an hour. */
const QUARTER = 15 * MINUTE
const NOON = 12
const clocks = new Map<string, Intl.DateTimeFormat>()

function clock(zone: string): Intl.DateTimeFormat {
  const there = clocks.get(zone)
  if (there) return there
  const two = '2-digit' as const
  const made = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: two,
    day: two,
    hour: two,
    minute: two,
    second: two,
  })
  clocks.set(zone, made)
  return made
}

const known = new Map<string, number>()
/** Quarters of an hour that are remembered: two months of one zone. */
const MOST_KNOWN = 5000

/** How far a zone's clock is ahead of UTC at a moment, in milliseconds. */
export function offset(at: number, zone: string): number {
  // Clocks are changed at a quarter at the earliest, and asking Intl is slow: a night asks thousands of times.
  const key = `${Math.floor(at / QUARTER)} ${zone}`
  const found = known.get(key)
  if (found !== undefined) return found
  if (known.size >= MOST_KNOWN) known.clear()
  const ahead = askedOffset(at, zone)
  known.set(key, ahead)
  return ahead
}

function askedOffset(at: number, zone: string): number {
  const of: Record<string, number> = {}
  for (const { type, value } of clock(zone).formatToParts(at)) of[type] = Number(value)
  const [year = 0, month = 1, day = 1] = [of['year'], of['month'], of['day']]
  const shown = Date.UTC(year, month - 1, day, of['hour'], of['minute'], of['second'])
  return shown - Math.floor(at / 1000) * 1000
}

const dayOf = (date: string): number => Date.parse(`${date}T00:00:00Z`)

/** The day so many days after another, both as 2026-11-24. */
export function shifted(date: string, days: number): string {
  return new Date(dayOf(date) + days * DAY).toISOString().slice(0, 10)
}

/** Whether this is a day as 2026-11-24 that there is in the calendar. */
export function isDay(text: string): boolean {
  return /^(19|20|21)\d\d-\d\d-\d\d$/.test(text) && !Number.isNaN(dayOf(text)) && shifted(text, 0) === text
}

/** The first moment at which the clock shows an hour of a day; where the clock leaps over it, as much after the leap. */
export function wall(date: string, hour: number, zone: string): number {
  const shown = dayOf(date) + hour * HOUR
  const tries = [offset(shown - DAY, zone), offset(shown + DAY, zone)].map((ahead) => shown - ahead)
  const found = [...tries].sort((a, b) => a - b).find((at) => at + offset(at, zone) === shown)
  return found ?? Math.max(...tries)
}

/** The night that begins on a day: from its noon to the next, 23 to 25 hours where the clock changes. */
export function nightOf(date: string, zone: string): Span {
  const from = wall(date, NOON, zone)
  let days = 1
  // A zone that moved over the date line left a day out.
  while (wall(shifted(date, days), NOON, zone) <= from) days += 1
  return { from, to: wall(shifted(date, days), NOON, zone) }
}

/** The day on which the night of a moment began. */
export function nightAt(at: number, zone: string): string {
  const shown = new Date(at + offset(at, zone))
  const day = shown.toISOString().slice(0, 10)
  return shown.getUTCHours() < NOON ? shifted(day, -1) : day
}

/** Whether the clock shows this time for the second time. */
export function isSecond(at: number, zone: string): boolean {
  const back = offset(at - 3 * HOUR, zone) - offset(at, zone)
  // More than that is no clock that was put back, but a zone that moved over the date line.
  return back > 0 && back <= 3 * HOUR && offset(at - back, zone) === offset(at, zone) + back
}

/** Every so many minutes of the wall clock within a span; these have to divide a day. */
export function marks({ from, to }: Span, minutes: number, zone: string): Mark[] {
  const found: Mark[] = []
  for (let at = Math.ceil(from / QUARTER) * QUARTER; at <= to; at += QUARTER) {
    if (((at + offset(at, zone)) / MINUTE) % minutes === 0) found.push({ at, second: isSecond(at, zone) })
  }
  return found
}
