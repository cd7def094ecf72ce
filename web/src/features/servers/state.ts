// The one state a server is shown with: what keeps it from being backed up comes first.
import type { Message } from '@/lib/messages'
import { STATUS, type Status, statusOf } from '@/lib/status'
import type { Server } from './api'

export function stateOf(server: Server): Status {
  if (server.state !== 'ready') return statusOf('setup', server.state)
  if (server.status && !server.status.up) return STATUS.reach.down
  return STATUS.setup.ready
}

/** Why it is not well, in the API's words; empty when there is nothing to say. */
export function reasonOf(server: Server): string {
  if (server.state !== 'ready') return server.state_reason
  return server.status && !server.status.up ? server.status.reason : ''
}

/** The same as an entry of the catalogue, where the API has it so. */
export function messageOf(server: Server): Message | null {
  if (server.state !== 'ready') return server.state_message ?? null
  return server.status && !server.status.up ? (server.status.message ?? null) : null
}

const ORDER = ['bad', 'warn', 'busy', 'unknown', 'idle', 'ok']

/** The worst first, and by name among equals. */
export function worstFirst(servers: Server[]): Server[] {
  const rank = (server: Server): number => ORDER.indexOf(stateOf(server).tone)
  return [...servers].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name))
}
