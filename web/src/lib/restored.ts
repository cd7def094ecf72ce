// What the job of a restore, or of a look at one, tells in its result: read field by field, unknown stays null.
export const MODES = ['directory', 'beside', 'swap', 'merge'] as const
export type Mode = (typeof MODES)[number]

export interface There {
  path: string
  size: number | null
  /** When it was changed, as the API writes times. */
  at: string | null
}

export interface Restored {
  mode: Mode
  /** Only looked: nothing was written. */
  preview: boolean
  server: string
  target: string
  files: number | null
  size: number | null
  placed: number | null
  counted: number | null
  hashed: number | null
  missing: string[]
  damaged: string[]
  lost: string[]
  /** Backup jobs that back the place up. */
  backedUpBy: string[]
  freeBytes: number | null
  freeInodes: number | null
  /** What is there already where it is to go. */
  existing: { count: number; first: There[] }
  kept: { count: number; first: string[] }
  refused: { count: number; first: { path: string; code: string }[] }
  /** What was there and was set aside, and where it is now. */
  previous: string[]
  previousIn: string | null
  /** The time in the new names. */
  stamp: string
  /** Of a swap alone. */
  undo: Undo | null
}

/** Whether a swap can be put back, how long what that goes by is kept, and the job that has done it. */
export interface Undo {
  possible: boolean
  until: string | null
  job: string
}

/** What the job of an undo tells. */
export interface Undone {
  restore: string
  server: string
  place: string
  putBack: number | null
  setAside: number | null
  stamp: string
  refused: { count: number; first: { path: string; code: string }[] }
}

type Raw = Record<string, unknown>
const record = (value: unknown): Raw => (typeof value === 'object' && value !== null ? (value as Raw) : {})
const text = (value: unknown): string => (typeof value === 'string' ? value : '')
const number = (value: unknown): number | null =>
  typeof value === 'number' && Number.isFinite(value) ? value : null
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : [])
const texts = (value: unknown): string[] => list(value).filter((one) => typeof one === 'string')

function momentOf(nanoseconds: unknown): string | null {
  const found = number(nanoseconds)
  const at = new Date((found ?? Number.NaN) / 1e6)
  return Number.isNaN(at.getTime()) ? null : at.toISOString()
}

function there(value: unknown): There {
  const one = record(value)
  return { path: text(one['path']), size: number(one['size']), at: momentOf(one['mtime_ns']) }
}

function refusal(value: unknown): { path: string; code: string } {
  const one = record(value)
  return { path: text(one['path']), code: text(one['code']) }
}

function undoOf(value: unknown): Undo | null {
  const one = record(value)
  if (typeof one['possible'] !== 'boolean') return null
  const until =
    typeof one['until'] === 'string' && !Number.isNaN(Date.parse(one['until'])) ? one['until'] : null
  return { possible: one['possible'], until, job: text(one['job_id']) }
}

/** Null for the result of a job that is none of an undo, or that has not ended well. */
export function readUndone(raw: Raw): Undone | null {
  if (typeof raw['restore_id'] !== 'string' || typeof raw['place'] !== 'string') return null
  const refused = list(raw['refused']).map(refusal)
  return {
    restore: raw['restore_id'],
    server: text(raw['server']),
    place: raw['place'],
    putBack: number(raw['put_back']),
    setAside: number(raw['set_aside']),
    stamp: text(raw['stamp']),
    refused: { count: number(raw['refused_count']) ?? refused.length, first: refused },
  }
}

/** Null for the result of a job that is none of a restore, or that has not ended. */
export function readRestored(raw: Raw): Restored | null {
  const mode = MODES.find((one) => one === raw['mode'])
  if (!mode || typeof raw['target'] !== 'string') return null
  const [verified, existing] = [record(raw['verified']), record(raw['existing'])]
  const kept = texts(raw['kept'])
  const refused = list(raw['refused']).map(refusal)
  return {
    mode,
    preview: raw['preview'] === true,
    server: text(raw['server']),
    target: raw['target'],
    files: number(raw['files']),
    size: number(raw['original_size']),
    placed: number(raw['placed']),
    counted: number(verified['counted']),
    hashed: number(verified['hashed']),
    missing: texts(raw['missing']),
    damaged: texts(raw['damaged']),
    lost: texts(raw['lost']),
    backedUpBy: texts(raw['inside_sources_of']),
    freeBytes: number(raw['free_bytes']),
    freeInodes: number(raw['free_inodes']),
    existing: { count: number(existing['count']) ?? 0, first: list(existing['first']).map(there) },
    kept: { count: number(raw['kept_count']) ?? kept.length, first: kept },
    refused: { count: number(raw['refused_count']) ?? refused.length, first: refused },
    previous: texts(raw['previous']),
    previousIn: typeof raw['previous_in'] === 'string' ? raw['previous_in'] : null,
    stamp: text(raw['stamp']),
    undo: undoOf(raw['undo']),
  }
}
