// Which part of which night is looked at: it stands in the address.
import { computed } from 'vue'
import { useRoute, useRouter } from 'vue-router'
import { browserZone } from '@/lib/format'
import { isDay, nightAt, nightOf, type Span, shifted } from '@/lib/format/night'

export const ZOOMS = [1, 2, 4, 6, 12, 24] as const
const HOUR = 3_600_000
const WHOLE = 24

/** The part of a night of so many hours that begins so many hours after it; 24 hours are all of it. */
export function partOf(night: Span, hours: number, start: number): Span {
  if (hours >= WHOLE) return night
  const from = Math.min(Math.max(night.from, night.from + start * HOUR), night.to - hours * HOUR)
  return { from, to: from + hours * HOUR }
}

export function useNightView() {
  const route = useRoute()
  const router = useRouter()
  const zone = browserZone()
  const text = (name: string): string => {
    const found = route.query[name]
    return typeof found === 'string' ? found : ''
  }
  const today = computed(() => nightAt(Date.now(), zone))
  const date = computed(() => (isDay(text('date')) ? text('date') : today.value))
  const night = computed(() => nightOf(date.value, zone))
  const hours = computed(() => ZOOMS.find((one) => String(one) === text('hours')) ?? WHOLE)
  const start = computed(() => Number(/^\d{1,2}(\.\d{1,3})?$/.exec(text('start'))?.[0] ?? 0))
  const span = computed(() => partOf(night.value, hours.value, start.value))

  function show(change: Record<string, string | undefined>): void {
    const query = Object.entries({ ...route.query, ...change }).filter(([, value]) => value !== undefined)
    void router.replace({ query: Object.fromEntries(query) })
  }

  /** Shows so many hours around the middle of what is shown, or around now if that is in it. */
  function zoom(to: number): void {
    const { from, to: end } = span.value
    const now = Date.now()
    const middle = now > from && now < end ? now : (from + end) / 2
    const begins = partOf(night.value, to, (middle - night.value.from) / HOUR - to / 2).from
    show(to >= WHOLE ? { hours: undefined, start: undefined } : { hours: String(to), start: at(begins) })
  }
  const at = (moment: number): string => String(Math.round(((moment - night.value.from) / HOUR) * 100) / 100)

  return {
    zone,
    date,
    night,
    hours,
    span,
    isTonight: computed(() => date.value === today.value),
    go: (days: number) => show({ date: shifted(date.value, days) }),
    goTo: (day: string) => isDay(day) && show({ date: day }),
    tonight: () => show({ date: undefined }),
    zoom,
    /** To the earlier or later part of the night. */
    pan: (by: 1 | -1) => {
      const { from } = partOf(
        night.value,
        hours.value,
        Math.max(0, (span.value.from - night.value.from) / HOUR + (by * hours.value) / 2),
      )
      show({ start: at(from) })
    },
  }
}
