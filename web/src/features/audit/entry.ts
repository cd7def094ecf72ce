// How an entry of the audit trail is told: the operation in words, who did it, and what it was about.
import { computed } from 'vue'
import { useI18n } from 'vue-i18n'
import { safeName } from '@/lib/format'
import { catalogue } from '@/lib/i18n/catalogue'
import { useMessages } from '@/lib/messages'
import { ACTIONS } from './actions'
import type { Entry } from './api'

export function useEntryWords() {
  const { t, te, locale } = useI18n()
  const { told } = useMessages()
  const action = (code: string): string =>
    te(`audit.action.${code}`) ? t(`audit.action.${code}`) : safeName(code)
  return {
    action,
    who: (entry: Entry): string => safeName(entry.actor_name) || t('audit.by.outside'),
    /** Why it was refused, where the sentence of the code says it without what was filled in then. */
    reason: (code: string): string => {
      const text = catalogue.value[code]?.text ?? ''
      return text && !text.includes('{') ? told({ key: code, params: {} }, '').text : ''
    },
    /** Every operation that can be found here, by its words. */
    actions: computed(() =>
      ACTIONS.map((value) => ({ value, label: action(value) })).sort((a, b) =>
        a.label.localeCompare(b.label, locale.value),
      ),
    ),
  }
}

const PAGES: Record<string, (id: string) => string> = {
  alerts: (id) => `/alerts/${id}`,
  'backup-jobs': (id) => `/backup-jobs/${id}`,
  backups: (id) => `/backups/${id}`,
  jobs: (id) => `/jobs/${id}`,
  repositories: (id) => `/repositories/${id}`,
  servers: (id) => `/servers/${id}/summary`,
  users: (id) => `/access/users/${id}`,
}

/** The page of what an entry is about; none of what it took away, and of what has no page. */
export function pageOf(entry: Entry): string | null {
  if (!entry.target_id || /^(delete|remove|revoke)_/.test(entry.action)) return null
  return PAGES[entry.noun]?.(entry.target_id) ?? null
}

export interface Difference {
  field: string
  before: string | null
  after: string | null
}
export interface RowDifferences {
  row: string
  fields: Difference[]
}

const record = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {}
const shown = (fields: Record<string, unknown>, name: string): string | null => {
  const value = fields[name]
  if (value === undefined || value === null) return null
  return safeName(typeof value === 'string' ? value : JSON.stringify(value))
}

/** What was recorded, or a text that is no record: then somebody may have written over it. */
export const isUnreadable = (kept: Entry['before']): boolean => typeof kept?.['unreadable'] === 'string'

/** The fields of each row before and after. */
export function differences(before: Entry['before'], after: Entry['after']): RowDifferences[] {
  const [old, now] = [record(before), record(after)]
  const rows = [...new Set([...Object.keys(old), ...Object.keys(now)])]
  return rows.map((row) => {
    const [was, is] = [record(old[row]), record(now[row])]
    const names = [...new Set([...Object.keys(was), ...Object.keys(is)])]
    const fields = names.map((field) => ({
      field: safeName(field),
      before: shown(was, field),
      after: shown(is, field),
    }))
    return { row: safeName(row), fields }
  })
}
