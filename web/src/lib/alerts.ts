// What an alert says: its sentence by its kind, what it is about, and its value in the unit of its kind.
import { useI18n } from 'vue-i18n'
import { safeName } from './format'
import { useFormat } from './format/use'
import { type Status, statusOf } from './status'

export interface AlertLike {
  kind: string
  subject: string
  server: string | null
  state: string
  level: string
  value: number
}

/** What a restore would miss comes before a machine that is merely busy. */
const OF_BACKUPS =
  /^(backup_|repository_|pool_|post_hook_|restore_unproven|database_older|server_unreachable)/

/** The worst first: what endangers backups, then the rest, each by its level; what somebody knows of last. */
export function worstFirst<T extends AlertLike>(alerts: T[]): T[] {
  const rank = (one: AlertLike): number => {
    if (one.state === 'acknowledged') return 4
    return (OF_BACKUPS.test(one.kind) ? 0 : 2) + (one.level === 'critical' ? 0 : 1)
  }
  return [...alerts].sort((a, b) => rank(a) - rank(b))
}

export function alertStatus(alert: AlertLike): Status {
  return statusOf('alert', alert.state === 'firing' ? alert.level : alert.state)
}

/** "web1:/srv" of "server:web1:/srv". */
export function subjectOf(alert: AlertLike): string {
  return safeName(alert.subject.replace(/^(server|pool|repository|backup_job|service|channel):/, ''))
}

const DAYS_FROM = 172_800

export function useAlertWords() {
  const { t, te } = useI18n()
  const format = useFormat()
  const hours = (value: number): string =>
    value * 3600 >= DAYS_FROM ? format.duration(value * 3600) : `${format.count(value)}\u00a0h`
  const UNITS: Record<string, (value: number) => string> = {
    cpu: format.percent,
    memory: format.percent,
    swap: format.percent,
    disk: format.percent,
    inodes: format.percent,
    pool_full: format.percent,
    repository_full: format.percent,
    backup_shrunk: format.percent,
    disk_full_soon: hours,
    server_unreachable: format.duration,
    pool_missing: format.duration,
    service_missing: format.duration,
    load: (value) => format.count(value, 1),
    backup_too_old: (value) => format.count(value, 1),
    backup_running_long: (value) => format.count(value, 1),
  }
  const shown = (kind: string, value: number): string => (UNITS[kind] ?? format.count)(value)
  return {
    /** A value in the unit of its kind. */
    shown,
    /** Its sentence; a kind that a newer version made is named as the API names it. */
    words: (alert: AlertLike): string => {
      const key = `alerts.kind.${alert.kind}`
      return te(key) ? t(key, { value: shown(alert.kind, alert.value) }, alert.value) : alert.kind
    },
    remedy: (alert: AlertLike): string =>
      te(`alerts.remedy.${alert.kind}`) ? t(`alerts.remedy.${alert.kind}`) : '',
  }
}
