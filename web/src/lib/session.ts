// Who is signed in, as the API says. The session itself is a cookie that no script can read: nothing is kept here.
import { computed, ref } from 'vue'
import type { components } from './api/schema'

export type Me = components['schemas']['MeOut']
export type Permission = Me['permissions'][number]

export const me = ref<Me | null>(null)
/** Why the login page is shown: a session that was there is over. */
export const wasEnded = ref(false)

export function welcome(who: Me): void {
  me.value = who
  wasEnded.value = false
}

/** The API knows this session no more; it may have been ended elsewhere, or its time is over. */
export function sessionOver(): void {
  // Several requests find that out, one after the other.
  if (me.value) wasEnded.value = true
  me.value = null
}

export function signedOut(): void {
  me.value = null
  wasEnded.value = false
}

const permitted = computed(() => new Set<string>(me.value?.permissions ?? []))

/** Whether who is signed in may do this, be it for some servers only: what he may not is not shown. */
export function may(permission: Permission): boolean {
  return permitted.value.has(permission)
}

/** Whether who is signed in may do this for all servers, not for some only. */
export function mayEverywhere(permission: Permission): boolean {
  return may(permission) && !me.value?.limited.includes(permission)
}
