// What is kept: the rules as a form and back, and in the words of the person.
import { useI18n } from 'vue-i18n'
import type { components } from './api/schema'
import { browserZone } from './format'
import { useFormat } from './format/use'

export type Policy = components['schemas']['Policy']
export const MAIN_RULES = ['daily', 'weekly', 'monthly', 'yearly'] as const
export const MORE_RULES = [
  'last',
  'hourly',
  'within_hours',
  'quarterly_13weekly',
  'quarterly_3monthly',
] as const
const RULES = [...MAIN_RULES, ...MORE_RULES]
export type Rule = (typeof RULES)[number]

export interface RetentionForm {
  counts: Record<Rule, string>
  zone: string
  /** Percent of the good backups: if more would go at once, none goes. */
  limit: string
}

export function retentionForm(policy: Policy | null): RetentionForm {
  const counts = Object.fromEntries(RULES.map((rule) => [rule, String(policy?.[`keep_${rule}`] ?? 0)]))
  return {
    counts: counts as RetentionForm['counts'],
    zone: policy ? (policy.zone ?? 'UTC') : browserZone(),
    limit: String(policy?.deletion_limit_percent ?? 50),
  }
}

/** A good beginning: a week of days, a month of weeks, half a year of months. */
export function usualRetention(): RetentionForm {
  const form = retentionForm(null)
  return { ...form, counts: { ...form.counts, daily: '7', weekly: '4', monthly: '6' } }
}

export function policyOf(form: RetentionForm): Policy {
  const kept = Object.fromEntries(RULES.map((rule) => [`keep_${rule}`, Number(form.counts[rule])]))
  return { ...kept, zone: form.zone, deletion_limit_percent: Number(form.limit) }
}

/** The API refuses rules that keep nothing. */
export const keepsSomething = (form: RetentionForm): boolean =>
  RULES.some((rule) => Number(form.counts[rule]) > 0)

const ORDER: Rule[] = [
  'within_hours',
  'last',
  'hourly',
  'daily',
  'weekly',
  'monthly',
  'quarterly_13weekly',
  'quarterly_3monthly',
  'yearly',
]

/** "7 daily, 4 weekly". */
export function useKeptWords() {
  const { t } = useI18n()
  const format = useFormat()
  return (policy: Policy): string =>
    ORDER.flatMap((rule) => {
      const n = policy[`keep_${rule}`] ?? 0
      return n > 0 ? [t(`retention.keep.${rule}`, { n: format.count(n) }, n)] : []
    }).join(', ')
}

const WHOLE: Record<string, string> = {
  'last good': 'last_good',
  held: 'held',
  'from the future': 'future',
  newest: 'newest',
  'first since the last good one': 'first_since',
  'weekly, while newer ones are not good': 'while_bad',
}

/** The rule that keeps a backup, as the API names it: "daily 3", "weekly 2, oldest", "doubtful, newest". */
export function useRuleWords() {
  const { t, te } = useI18n()
  const plain = (rule: string): string => {
    const whole = WHOLE[rule]
    if (whole) return t(`retention.by.${whole}`)
    const [, name = '', n = '', oldest] = /^(\w+) (\d+)(, oldest)?$/.exec(rule) ?? []
    const key = `retention.by.${name}`
    // A rule of a newer version, as the API says it.
    if (!te(key)) return rule
    return oldest ? t('retention.by.oldest', { rule: t(key, { n }) }) : t(key, { n })
  }
  return (rule: string): string => {
    const [, doubt, rest] = /^(doubtful|unusable), (.*)$/.exec(rule) ?? []
    return doubt && rest ? t(`retention.by.${doubt}`, { rule: plain(rest) }) : plain(rule)
  }
}
