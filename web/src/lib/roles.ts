// The roles of users in words: what each is called, and for which servers it holds.
import { useI18n } from 'vue-i18n'
import type { components } from './api/schema'
import { safeName } from './format'

export type Role = components['schemas']['Role']
export const ROLES: readonly [Role, ...Role[]] = [
  'viewer',
  'auditor',
  'restore_operator',
  'operator',
  'admin',
]

/** A role as the API tells it; a newer version may know others. */
export interface Granted {
  role: string
  tag?: string | null
}

export function useRoles() {
  const { t, te } = useI18n()
  return {
    name: (role: string): string => (te(`access.role.${role}`) ? t(`access.role.${role}`) : safeName(role)),
    scope: (tag: string | null | undefined): string =>
      tag ? t('access.scope.tag', { tag: safeName(tag) }) : t('access.scope.fleet'),
  }
}
