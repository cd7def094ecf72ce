// What waits for a second person, in words: "Delete a backup", and where its page is.
import { useI18n } from 'vue-i18n'
import { safeName } from '@/lib/format'
import { may, me } from '@/lib/session'
import { type Approval, OPEN } from './api'

/** The pages of what an approval can be about, by the nouns of the API. */
const PAGES: Record<string, (id: string) => string> = {
  backups: (id) => `/backups/${id}`,
  'backup-jobs': (id) => `/backup-jobs/${id}`,
  jobs: (id) => `/jobs/${id}`,
  repositories: (id) => `/repositories/${id}`,
  servers: (id) => `/servers/${id}/summary`,
  users: (id) => `/access/users/${id}`,
}

/** The page of what it is about; empty where there is none, or none any more. */
export function pageOf({ noun, target_id, kind, state }: Approval): string {
  const page = Object.hasOwn(PAGES, noun) ? PAGES[noun] : undefined
  const gone = state === 'done' && kind.startsWith('delete_')
  return page && target_id && !gone ? page(encodeURIComponent(target_id)) : ''
}

export const isOpen = ({ state }: Approval): boolean => OPEN.some((one) => one === state)

/** Whether who is signed in asked for it himself, be it by a token of his. */
export const isOwn = ({ requested_by_id }: Approval): boolean =>
  requested_by_id !== null && requested_by_id === me.value?.id

export type Deed = 'agree' | 'refuse' | 'withdraw'

/** What who is signed in can say of it. Who asked has no word in it but to take it back. */
export function deedsOf(approval: Approval): Deed[] {
  if (!isOpen(approval)) return []
  if (isOwn(approval)) return ['withdraw']
  if (!may('approvals:decide')) return []
  return approval.state === 'asked' ? ['agree', 'refuse'] : ['refuse']
}

/** A value as text, whatever it holds. */
const shown = (value: unknown): string =>
  safeName(typeof value === 'string' ? value : (JSON.stringify(value) ?? ''))

/** All that the command holds, as it is kept. */
export const fieldsOf = ({ fields, noun, target_id, target_version }: Approval): [string, string][] => [
  ...(target_id ? ([[noun, target_id]] as [string, string][]) : []),
  ...(target_version === null ? [] : ([['version', String(target_version)]] as [string, string][])),
  ...Object.entries(fields).map(([name, value]): [string, string] => [safeName(name), shown(value)]),
]

export function useApprovalWords() {
  const { t, te } = useI18n()
  const kind = ({ kind }: Approval): string =>
    te(`access.approvals.kind.${kind}`) ? t(`access.approvals.kind.${kind}`) : safeName(kind)
  /** What it is about, if that has a name of its own. */
  const about = ({ noun, target_name }: Approval): string => (noun === 'settings' ? '' : target_name)
  return {
    kind,
    about,
    /** Both in one: "Delete a backup: web1-2026-11-24". */
    whole: (approval: Approval): string =>
      about(approval)
        ? t('access.approvals.whole', { what: kind(approval), name: safeName(about(approval)) })
        : kind(approval),
  }
}
