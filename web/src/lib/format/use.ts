// The formatters in the language and zone of the person, and one clock for all relative times.
import { type Ref, readonly, ref } from 'vue'
import { useI18n } from 'vue-i18n'
import * as format from '.'
import { isSecond } from './night'

const TICK = 30_000
const now = ref(new Date())
setInterval(() => {
  now.value = new Date()
}, TICK)

/** The clock of all relative times. */
export const useNow = (): Readonly<Ref<Date>> => readonly(now) as Readonly<Ref<Date>>

export function useFormat() {
  const { locale, t } = useI18n()
  const zone = format.browserZone()
  return {
    bytes: (value: number) => format.bytes(value, locale.value),
    count: (value: number, digits?: number) => format.count(value, locale.value, digits),
    percent: (value: number) => format.percent(value, locale.value),
    duration: (seconds: number) => format.duration(seconds, locale.value),
    moment: (at: string) => {
      const when = new Date(at)
      // The clock ticks in steps: what happened since its last step is not in the future.
      const from = when > now.value ? new Date() : now.value
      return format.moment(when, from, locale.value, zone)
    },
    /** The day and time, for sentences: "the backup of Thu 26 Nov, 01:00". */
    dayTime: (at: string) => format.zoned(new Date(at), locale.value, zone),
    fullMoment: (at: string) => format.fullMoment(new Date(at), locale.value, zone),
    listed: (items: string[]) => format.listed(items, locale.value),
    day: (at: string) => format.day(at, locale.value),
    dateOf: (at: Date, of = zone) => format.dateOf(at, of),
    weekday: (number: number) => format.weekday(number, locale.value),
    zoned: (at: string, of: string) => format.zoned(new Date(at), locale.value, of),
    time: (at: string) => format.time(new Date(at), locale.value, zone),
    /** The time of day, told apart in a night in which the clock shows it twice. */
    timeOnce: (at: number) => {
      const time = format.time(new Date(at), locale.value, zone)
      return isSecond(at, zone) ? t('ui.second_time', { time }) : time
    },
    clock: (at: string) => format.clock(new Date(at), locale.value, zone),
    tick: (at: Date, span: number) => format.tick(at, span, locale.value, zone),
  }
}
