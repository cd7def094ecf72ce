// How pools and repositories are shown.
import { type Status, statusOf } from '@/lib/status'
import type { Pool, Repository } from './api'

export function stateOfPool(pool: Pool): Status {
  if (pool.problem) return statusOf('pool', 'problem')
  return statusOf('pool', pool.measured_at === null ? 'unmeasured' : 'ok')
}

/** Percent in use; null before its node measured it, and while it cannot be reached. */
export function usedPercent(pool: Pool): number | null {
  if (pool.problem || pool.size_bytes === null || pool.free_bytes === null || pool.size_bytes <= 0)
    return null
  return (100 * (pool.size_bytes - pool.free_bytes)) / pool.size_bytes
}

export function stateOf(repository: Repository): Status {
  if (repository.damage) return statusOf('repository', 'damaged')
  if (repository.frozen_reason) return statusOf('repository', 'frozen')
  return statusOf('repository', repository.refreshed_at === null ? 'unused' : 'sound')
}

const ORDER = ['bad', 'warn', 'busy', 'unknown', 'idle', 'ok']

/** The worst first, and by server and name among equals. */
export function worstFirst(repositories: Repository[]): Repository[] {
  const rank = (one: Repository): number => ORDER.indexOf(stateOf(one).tone)
  const name = (one: Repository): string => `${one.server}/${one.name}`
  return [...repositories].sort((a, b) => rank(a) - rank(b) || name(a).localeCompare(name(b)))
}
