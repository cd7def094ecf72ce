// What of the audit trail is shown, as it stands in the address. Moments there are UTC; a field shows them in local time.
import { computed, type Ref } from 'vue'
import { useRoute, useRouter } from 'vue-router'
import type { Filter } from './api'

const NAMES = ['actor', 'action', 'target_id', 'server_id', 'since', 'until'] as const
type Name = (typeof NAMES)[number]
export const OUTCOMES = ['all', 'done', 'refused', 'asked'] as const

export interface Fields {
  actor: string
  action: string
  since: string
  until: string
  outcome: (typeof OUTCOMES)[number]
}

const two = (value: number): string => String(value).padStart(2, '0')

/** A moment as a field for day and time shows it; empty for none, and for what is no moment. */
export function toLocal(moment: string | undefined): string {
  const at = new Date(moment ?? '')
  if (Number.isNaN(at.getTime())) return ''
  const day = [String(at.getFullYear()).padStart(4, '0'), two(at.getMonth() + 1), two(at.getDate())].join('-')
  return `${day}T${two(at.getHours())}:${two(at.getMinutes())}`
}

export function toMoment(local: string): string {
  const at = new Date(local)
  return Number.isNaN(at.getTime()) ? '' : at.toISOString()
}

export function useFilter(): {
  filter: Ref<Filter>
  fields: Ref<Fields>
  about: Ref<boolean>
  filtered: Ref<boolean>
  apply: (fields: Fields) => void
  clear: () => void
} {
  const route = useRoute()
  const router = useRouter()
  const text = (name: Name | 'outcome'): string => {
    const value = route.query[name]
    return typeof value === 'string' ? value : ''
  }
  const outcome = computed(() => OUTCOMES.find((one) => one === text('outcome')) ?? 'all')
  const filter = computed<Filter>(() => {
    const words = Object.fromEntries(NAMES.map((name) => [name, text(name)]).filter(([, value]) => value))
    return outcome.value === 'all' ? words : { ...words, outcome: outcome.value }
  })
  const fields = computed<Fields>(() => ({
    actor: text('actor'),
    action: text('action'),
    since: toLocal(text('since')),
    until: toLocal(text('until')),
    outcome: outcome.value,
  }))

  function apply(wanted: Fields): void {
    const told = {
      ...filter.value,
      actor: wanted.actor.trim(),
      action: wanted.action,
      since: toMoment(wanted.since),
      until: toMoment(wanted.until),
      outcome: wanted.outcome === 'all' ? '' : wanted.outcome,
    }
    void router.push({ query: Object.fromEntries(Object.entries(told).filter(([, value]) => value)) })
  }

  return {
    filter,
    fields,
    /** Only one thing's entries are shown. */
    about: computed(() => Boolean(filter.value.target_id ?? filter.value.server_id)),
    filtered: computed(() => Object.keys(filter.value).length > 0),
    apply,
    clear: () => void router.push({ query: {} }),
  }
}
