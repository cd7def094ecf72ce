// Numbers, sizes and times for people. The only place that asks Intl; every function is told its language and zone.

const cached = new Map<string, unknown>()

function once<T>(key: string, make: () => T): T {
  if (!cached.has(key)) cached.set(key, make())
  return cached.get(key) as T
}

function number(language: string, options: Intl.NumberFormatOptions): Intl.NumberFormat {
  return once(`n${language}${JSON.stringify(options)}`, () => new Intl.NumberFormat(language, options))
}

function date(language: string, zone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const hours = language === 'fr' ? { hourCycle: 'h23' as const } : {}
  return once(
    `d${language}${zone}${JSON.stringify(options)}`,
    () => new Intl.DateTimeFormat(language, { timeZone: zone, ...hours, ...options }),
  )
}

export function browserZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone
}

/** Every zone by its name, for choosing one. */
export function zones(): string[] {
  return once('zones', () => [...new Set(['UTC', ...Intl.supportedValuesOf('timeZone')])])
}

/** Several as one phrase: "a, b and c", "a, b et c". */
export function listed(items: string[], language: string): string {
  return once(`l${language}`, () => new Intl.ListFormat(language, { type: 'conjunction' })).format(items)
}

export function count(value: number, language: string, digits = 0): string {
  return number(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value)
}

/** "42 %", "< 1 %" above zero, never "100 %" before it is. */
export function percent(value: number, language: string): string {
  const rounded = Math.round(value)
  const shown = rounded >= 100 && value < 100 ? 99 : rounded
  const few = value > 0 && shown < 1
  const text = number(language, { style: 'percent' }).format((few ? 1 : shown) / 100)
  return few ? `< ${text}` : text
}

const SYMBOLS = { en: ['B', 'kB', 'MB', 'GB', 'TB', 'PB'], fr: ['o', 'ko', 'Mo', 'Go', 'To', 'Po'] }

/** Decimal sizes with three significant figures: "1.23 GB", "1,23 Go". */
export function bytes(value: number, language: string): string {
  const symbols = language === 'fr' ? SYMBOLS.fr : SYMBOLS.en
  let size = value
  let power = 0
  // What would round to 1,000 belongs to the next unit.
  while (Number(size.toPrecision(3)) >= 1000 && power < symbols.length - 1) {
    size /= 1000
    power += 1
  }
  const options = power === 0 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 }
  return `${number(language, options).format(size)}\u00a0${symbols[power]}`
}

const two = (value: number): string => String(value).padStart(2, '0')

/** "35 s", "12 min 04 s", "3 h 10", days from 48 hours on. */
export function duration(seconds: number, language: string): string {
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 60) return `${whole}\u00a0s`
  if (whole < 3600) return `${Math.floor(whole / 60)}\u00a0min\u00a0${two(whole % 60)}\u00a0s`
  if (whole < 172_800)
    return `${Math.floor(whole / 3600)}\u00a0h\u00a0${two(Math.floor((whole % 3600) / 60))}`
  return number(language, { style: 'unit', unit: 'day', unitDisplay: 'long' }).format(
    Math.floor(whole / 86_400),
  )
}

const UNITS = [
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
] as const

/** Relative up to a day, then the day and time, with the year if it is another one. */
export function moment(at: Date, now: Date, language: string, zone: string): string {
  const seconds = (at.getTime() - now.getTime()) / 1000
  if (Math.abs(seconds) < 86_400) {
    const relative = once(
      `r${language}`,
      () => new Intl.RelativeTimeFormat(language, { numeric: 'auto', style: 'short' }),
    )
    const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ['minute', 60]
    if (Math.abs(seconds) < 60) return relative.format(0, 'second')
    return relative.format(Math.trunc(seconds / size), unit)
  }
  const year = date(language, zone, { year: 'numeric' })
  const other = year.format(at) === year.format(now) ? {} : { year: 'numeric' as const }
  return date(language, zone, {
    weekday: 'short',
    day: 'numeric',
    month: 'short',
    ...other,
    hour: '2-digit',
    minute: '2-digit',
  }).format(at)
}

/** The whole moment with its zone, for a tooltip. */
export function fullMoment(at: Date, language: string, zone: string): string {
  return date(language, zone, {
    weekday: 'long',
    day: 'numeric',
    month: 'long',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    timeZoneName: 'longOffset',
  }).format(at)
}

/** The day of a moment in a zone, as 2026-11-24: for comparing, not for people. */
export function dateOf(at: Date, zone: string): string {
  return date('sv', zone, { year: 'numeric', month: '2-digit', day: '2-digit' }).format(at)
}

/** Such a day for people. */
export function day(at: string, language: string): string {
  return date(language, 'UTC', { weekday: 'short', day: 'numeric', month: 'short' }).format(
    new Date(`${at}T12:00:00Z`),
  )
}

/** A day of the week, 1 is Monday: "Mon", "lun." */
export function weekday(number: number, language: string): string {
  // The first of January 2024 was a Monday.
  return date(language, 'UTC', { weekday: 'short' }).format(new Date(Date.UTC(2024, 0, number)))
}

/** A day with its year, and the time: what a sentence tells of may be long ago. */
export function stamp(at: Date, language: string, zone: string): string {
  return date(language, zone, {
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
  }).format(at)
}

/** A moment in the zone of its schedule, which the caller names: "Thu 26 Nov, 01:00". */
export function zoned(at: Date, language: string, zone: string): string {
  return date(language, zone, {
    weekday: 'short',
    day: 'numeric',
    month: 'short',
    hour: '2-digit',
    minute: '2-digit',
  }).format(at)
}

/** The time of day alone, for what is near. */
export function time(at: Date, language: string, zone: string): string {
  return date(language, zone, { hour: '2-digit', minute: '2-digit' }).format(at)
}

/** The time of a line in a log, to the second. */
export function clock(at: Date, language: string, zone: string): string {
  return date(language, zone, { hour: '2-digit', minute: '2-digit', second: '2-digit' }).format(at)
}

/** A time on a chart's axis: hours within a day or two, days beyond. */
export function tick(at: Date, spanSeconds: number, language: string, zone: string): string {
  if (spanSeconds <= 172_800) return date(language, zone, { hour: '2-digit', minute: '2-digit' }).format(at)
  return date(language, zone, { day: 'numeric', month: 'short' }).format(at)
}

// Control characters, and those that turn the direction of what follows: a name could look like another one.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/gu

/** A name as text that cannot disguise itself: such characters are written out. */
export function safeName(name: string): string {
  return name.replace(UNSAFE, (found) => `\\u{${found.codePointAt(0)?.toString(16) ?? ''}}`)
}
