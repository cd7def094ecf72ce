// How a token is shown, and whose it is.
import { may, me } from '@/lib/session'
import { type Status, statusOf } from '@/lib/status'
import type { Token } from './api'

const SOON = 7 * 86_400_000

export function stateOf(token: Token, now: Date): Status {
  if (token.expires_at === null) return statusOf('token', 'valid')
  const left = Date.parse(token.expires_at) - now.getTime()
  if (left <= 0) return statusOf('token', 'expired')
  return statusOf('token', left < SOON ? 'soon' : 'valid')
}

/** One's own needs no right. */
export const mayChange = (token: Token): boolean =>
  (token.user !== null && token.user === me.value?.name) || may('tokens:write')
