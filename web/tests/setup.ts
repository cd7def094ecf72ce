// What happy-dom has not, and the language that specs speak.
import { enableAutoUnmount } from '@vue/test-utils'
import { afterEach, beforeEach } from 'vitest'
import { speak } from '@/lib/i18n'
import { type Me, me } from '@/lib/session'
import { PERMISSIONS } from './permissions'

globalThis.matchMedia ??= (query: string) =>
  ({ matches: false, media: query, addEventListener() {}, removeEventListener() {} }) as never

/** Who is signed in: an administrator, unless a spec says otherwise. */
export function ada(permissions: Me['permissions']): Me {
  const user = { kind: 'user' as const, id: 'u1', name: 'ada', display_name: '', user: null, grants: [] }
  return { ...user, permissions, limited: [], session_id: 's1', strong_until: null, second_factor: false }
}

beforeEach(async () => {
  localStorage.clear()
  sessionStorage.clear()
  await speak('en')
  me.value = ada(PERMISSIONS)
})

// What is left mounted would go on asking.
enableAutoUnmount(afterEach)
