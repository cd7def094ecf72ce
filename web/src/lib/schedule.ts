// A schedule as a form, and back: what a person edits, and what the API is told.
import { useI18n } from 'vue-i18n'
import type { components } from './api/schema'
import { browserZone } from './format'
import { useFormat } from './format/use'

export type ScheduleIn = components['schemas']['ScheduleIn']
type ScheduleOut = components['schemas']['ScheduleOut']
type HoursIn = components['schemas']['HoursIn']
export const KINDS = ['days', 'weekly', 'monthly', 'hours', 'cron'] as const

export interface HoursForm {
  on: boolean
  days: number[]
  begins: string
  ends: string
  zone: string
}

export interface ScheduleForm {
  kind: (typeof KINDS)[number]
  /** Days or hours between two runs. */
  every: string
  offset: string
  times: string
  days: number[]
  monthDays: string
  expression: string
  zone: string
  jitter: string
  catchUp: boolean
  overlap: 'skip' | 'queue'
  window: HoursForm
  blackout: HoursForm
  stopAtEnd: boolean
}

const WEEK = [1, 2, 3, 4, 5, 6, 7]
const minute = (time: string): string => time.slice(0, 5)
const words = (text: string): string[] => text.split(/[\s,;]+/).filter(Boolean)

function hoursForm(hours: HoursIn | null | undefined, zone: string, begins: string, ends: string): HoursForm {
  return {
    on: Boolean(hours),
    days: [...(hours?.days ?? WEEK)],
    begins: minute(hours?.begins ?? begins),
    ends: minute(hours?.ends ?? ends),
    zone: hours?.zone ?? zone,
  }
}

/** A new one: every night at one o'clock. */
export function newSchedule(zone = browserZone()): ScheduleForm {
  return {
    kind: 'days',
    every: '1',
    offset: '0',
    times: '01:00',
    days: [1],
    monthDays: '1',
    expression: '0 1 * * *',
    zone,
    jitter: '0',
    catchUp: true,
    overlap: 'skip',
    window: hoursForm(null, zone, '22:00', '06:00'),
    blackout: hoursForm(null, zone, '08:00', '18:00'),
    stopAtEnd: false,
  }
}

/** One that there is; null if this version cannot read when it is due. */
export function scheduleForm(schedule: ScheduleOut): ScheduleForm | null {
  const { when } = schedule
  if (!when) return null
  const zone = when.zone ?? 'UTC'
  const form: ScheduleForm = {
    ...newSchedule(zone),
    kind: when.kind,
    jitter: String((schedule.jitter_seconds ?? 0) / 60),
    catchUp: schedule.catch_up ?? true,
    overlap: schedule.overlap ?? 'skip',
    window: hoursForm(schedule.window, zone, '22:00', '06:00'),
    blackout: hoursForm(schedule.blackout, zone, '08:00', '18:00'),
    stopAtEnd: schedule.stop_at_end ?? false,
  }
  if ('times' in when) form.times = when.times.map(minute).join(', ')
  if (when.kind === 'days' || when.kind === 'hours') form.every = String(when.every ?? 1)
  if (when.kind === 'hours') form.offset = String(when.offset_minutes ?? 0)
  if (when.kind === 'weekly') form.days = [...when.days]
  if (when.kind === 'monthly') form.monthDays = when.days.join(', ')
  if (when.kind === 'cron') form.expression = when.expression
  return form
}

function whenOf(form: ScheduleForm): ScheduleIn['when'] {
  const { zone } = form
  const times = words(form.times)
  if (form.kind === 'cron') return { kind: 'cron', zone, expression: form.expression.trim() }
  if (form.kind === 'hours')
    return { kind: 'hours', zone, every: Number(form.every), offset_minutes: Number(form.offset) }
  if (form.kind === 'weekly') return { kind: 'weekly', zone, days: [...form.days].sort(), times }
  if (form.kind === 'monthly')
    return { kind: 'monthly', zone, days: words(form.monthDays).map(Number), times }
  return { kind: 'days', zone, every: Number(form.every), times }
}

const hoursOf = ({ on, days, begins, ends, zone }: HoursForm): HoursIn | null =>
  on ? { days: [...days].sort(), begins, ends, zone } : null

export function scheduleOf(form: ScheduleForm): ScheduleIn {
  return {
    when: whenOf(form),
    jitter_seconds: Math.round(Number(form.jitter) * 60),
    catch_up: form.catchUp,
    overlap: form.overlap,
    window: hoursOf(form.window),
    blackout: hoursOf(form.blackout),
    stop_at_end: form.stopAtEnd,
  }
}

/** A schedule in the words of the person: "every day at 01:00". */
export function useScheduleWords() {
  const { t } = useI18n()
  const format = useFormat()
  return (form: ScheduleForm): string => {
    const n = Number(form.every)
    const times = format.listed(words(form.times))
    if (form.kind === 'cron') return t('schedule.words.cron', { expression: form.expression.trim() })
    if (form.kind === 'hours') return t('schedule.words.hours', { n }, n)
    if (form.kind === 'weekly') {
      const days = format.listed([...form.days].sort().map(format.weekday))
      return t('schedule.words.weekly', { days, times })
    }
    if (form.kind === 'monthly')
      return t('schedule.words.monthly', { days: format.listed(words(form.monthDays)), times })
    return t('schedule.words.days', { n, times }, n)
  }
}
