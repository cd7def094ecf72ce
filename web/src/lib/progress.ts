// How far a job is, as the API tells it: read field by field, and what is unknown stays null.
export interface Progress {
  /** The word of GET /api/job-kinds with which the phase begins, or borg's own. */
  phase: string
  files: number | null
  bytes: number | null
  estimated: number | null
  rate: number | null
  path: string | null
  step: number | null
  steps: number | null
}

export function readProgress(raw: Record<string, unknown> | null | undefined): Progress | null {
  if (typeof raw?.['phase'] !== 'string') return null
  const number = (name: string): number | null =>
    typeof raw[name] === 'number' && Number.isFinite(raw[name]) ? (raw[name] as number) : null
  return {
    phase: raw['phase'],
    files: number('files'),
    bytes: number('original_size'),
    estimated: number('estimated_size'),
    rate: number('rate'),
    path: typeof raw['path'] === 'string' ? raw['path'] : null,
    step: number('step'),
    steps: number('steps'),
  }
}

/** Percent of what the last backup held, never the whole before the end; null where nothing is foreseen. */
export function partOf(progress: Progress): number | null {
  if (progress.bytes !== null && progress.estimated) {
    return Math.min(99, (100 * progress.bytes) / progress.estimated)
  }
  if (progress.step !== null && progress.steps)
    return Math.min(99, (100 * (progress.step - 1)) / progress.steps)
  return null
}

/** The key of a phase's words, without what is counted in it: "reading archive 3 of 9" is `reading_archive`. */
export function phaseKey(phase: string): string {
  return phase
    .replace(/ \d.*$/, '')
    .toLowerCase()
    .replaceAll(/[^a-z]+/g, '_')
}
