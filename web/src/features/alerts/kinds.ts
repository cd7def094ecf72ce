// The kinds of alerts: their names, and the units of their thresholds.
import { useI18n } from 'vue-i18n'
import type { Kind } from './api'

type Unit = 'percent' | 'seconds' | 'hours' | 'times' | 'number'

/** In the order in which they are shown: what endangers backups, the machines, Borgfleet itself. */
export const UNIT_OF: Record<Kind, Unit> = {
  backup_failed: 'number',
  backup_missed: 'number',
  backup_too_old: 'times',
  backup_doubtful: 'number',
  backup_shrunk: 'percent',
  backup_running_long: 'times',
  post_hook_owed: 'number',
  repository_frozen: 'number',
  repository_damaged: 'number',
  repository_full: 'percent',
  pool_full: 'percent',
  pool_missing: 'seconds',
  restore_unproven: 'times',
  database_older: 'number',
  server_unreachable: 'seconds',
  disk: 'percent',
  inodes: 'percent',
  disk_full_soon: 'hours',
  cpu: 'percent',
  memory: 'percent',
  swap: 'percent',
  load: 'number',
  access_refused: 'number',
  audit_broken: 'number',
  service_missing: 'seconds',
  dead_letters: 'number',
  channel_failing: 'number',
}

export const KINDS = Object.keys(UNIT_OF) as Kind[]

const ORDER = new Map(KINDS.map((kind, at) => [kind, at]))

/** Those that a newer version made come last. */
export function inOrder<T extends { kind: Kind }>(rows: T[]): T[] {
  const at = (one: T): number => ORDER.get(one.kind) ?? KINDS.length
  return [...rows].sort((a, b) => at(a) - at(b))
}

export function useKindNames() {
  const { t, te } = useI18n()
  return {
    named: (kind: string): string => (te(`watch.kind.${kind}`) ? t(`watch.kind.${kind}`) : kind),
    unit: (kind: Kind): string => t(`watch.unit.${UNIT_OF[kind] ?? 'number'}`),
  }
}
