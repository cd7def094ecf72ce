// The three questions as one form: presets, names that are free, and what the API is told in the end.
import type { Schema } from '@/lib/api/client'
import { policyOf, type RetentionForm, usualRetention } from '@/lib/retention'
import { newSchedule, type ScheduleForm, scheduleOf } from '@/lib/schedule'

export const STEPS = ['what', 'where', 'when', 'summary'] as const
export type Step = (typeof STEPS)[number]

export interface WizardForm {
  server: string
  sources: string
  excludes: string
  pool: string
  repository: string
  /** Of the backup job; empty: made from the other names. */
  name: string
  scheduled: 'yes' | 'no'
  schedule: ScheduleForm
  keeping: 'some' | 'all'
  retention: RetentionForm
}

interface Preset {
  sources: string[]
  excludes: string[]
}

/** Directories that every server has, but for the web sites. */
export const PRESETS = {
  system: { sources: ['/etc', '/root', '/usr/local'], excludes: [] },
  homes: { sources: ['/home'], excludes: ['sh:/home/*/.cache'] },
  data: { sources: ['/srv', '/opt'], excludes: [] },
  web: { sources: ['/var/www'], excludes: [] },
  whole: {
    sources: ['/'],
    excludes: [
      ...['/dev', '/media', '/mnt', '/proc', '/run', '/sys', '/tmp', '/var/cache', '/var/tmp'].map(
        (path) => `pp:${path}`,
      ),
      'sh:/home/*/.cache',
    ],
  },
} as const satisfies Record<string, Preset>
export type PresetName = keyof typeof PRESETS
export const PRESET_NAMES = Object.keys(PRESETS) as PresetName[]

export const lines = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean)

export function newForm(server: string): WizardForm {
  const { sources, excludes } = {
    sources: [...PRESETS.system.sources, ...PRESETS.homes.sources],
    excludes: PRESETS.homes.excludes,
  }
  return {
    server,
    sources: sources.join('\n'),
    excludes: excludes.join('\n'),
    pool: '',
    repository: '',
    name: '',
    scheduled: 'yes',
    schedule: newSchedule(),
    keeping: 'some',
    retention: usualRetention(),
  }
}

export function hasPreset(form: WizardForm, name: PresetName): boolean {
  const sources = new Set(lines(form.sources))
  return PRESETS[name].sources.every((path) => sources.has(path))
}

/** Adds what a preset names, or takes it away again; the whole server stands for all the others. */
export function togglePreset(form: WizardForm, name: PresetName): void {
  const on = !hasPreset(form, name)
  const preset: Preset = PRESETS[name]
  const others: Preset[] = PRESET_NAMES.filter((one) => (one === 'whole') !== (name === 'whole')).map(
    (one) => PRESETS[one],
  )
  const gone = on ? others : []
  const changed = (text: string, own: string[], leaving: string[]): string => {
    const rest = lines(text).filter((line) => !own.includes(line) && !leaving.includes(line))
    return (on ? [...rest, ...own] : rest).join('\n')
  }
  form.sources = changed(
    form.sources,
    preset.sources,
    gone.flatMap((one) => one.sources),
  )
  form.excludes = changed(
    form.excludes,
    preset.excludes,
    gone.flatMap((one) => one.excludes),
  )
}

/** A name that is not taken: system, system-2, system-3. */
export function freeName(wanted: string, taken: string[]): string {
  for (let n = 1; ; n += 1) {
    const name = n === 1 ? wanted : `${wanted}-${n}`
    if (!taken.includes(name)) return name
  }
}

export function requestOf(form: WizardForm, name: string): Schema['WizardIn'] {
  return {
    server_id: form.server,
    pool_id: form.pool,
    repository: form.repository.trim(),
    job: { name, sources: lines(form.sources), excludes: lines(form.excludes) },
  }
}

/** What the wizard's request cannot say; null when there is nothing of it. */
export function restOf(form: WizardForm): Pick<Schema['BackupJobIn'], 'schedules' | 'retention'> | null {
  if (form.scheduled === 'no' && form.keeping === 'all') return null
  return {
    schedules: form.scheduled === 'yes' ? [scheduleOf(form.schedule)] : [],
    retention: form.keeping === 'some' ? policyOf(form.retention) : null,
  }
}

/** The question in which a refused field was asked. */
export function stepOf(field: string): Step | null {
  if (/^job\.(sources|excludes)|^server_id/.test(field)) return 'what'
  return /^(pool_id|repository|job\.name)/.test(field) ? 'where' : null
}

const DRAFT = 'borgfleet.wizard'

/** What was answered so far, if it was about this server. */
export function draftFor(server: string): WizardForm | null {
  try {
    const draft = JSON.parse(sessionStorage.getItem(DRAFT) ?? 'null') as WizardForm | null
    return draft && (server === '' || draft.server === server) ? draft : null
  } catch {
    return null
  }
}

export function keepDraft(form: WizardForm | null): void {
  if (form) sessionStorage.setItem(DRAFT, JSON.stringify(form))
  else sessionStorage.removeItem(DRAFT)
}
