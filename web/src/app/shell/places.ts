// The places of the side bar, the tabs and the palette; only those that exist.
import { may, type Permission } from '@/lib/session'

export interface Place {
  path: string
  key: string
  /** For the narrow tabs of a telephone. */
  short?: string
  icon: string
  /** What one has to be permitted; who is not does not see the place. */
  needs?: Permission
  /** It stands below the line of the side bar. */
  rule?: boolean
}

export const PLACES: Place[] = [
  { path: '/', key: 'overview.title', short: 'shell.home', icon: 'overview' },
  { path: '/servers', key: 'servers.title', icon: 'server' },
  { path: '/backups', key: 'backups.title', icon: 'archive' },
  { path: '/backup-jobs', key: 'plans.title', icon: 'plan' },
  { path: '/activity', key: 'jobs.title', icon: 'activity' },
  { path: '/storage', key: 'storage.title', icon: 'storage' },
  { path: '/alerts', key: 'alerts.title', icon: 'bell' },
  { path: '/compliance', key: 'compliance.title', icon: 'compliance', needs: 'schedules:read', rule: true },
  { path: '/access/users', key: 'access.title', icon: 'person', needs: 'users:read', rule: true },
  { path: '/audit', key: 'audit.title', icon: 'list', needs: 'audit:read', rule: true },
  { path: '/settings', key: 'settings.title', icon: 'settings', rule: true },
]

/** Those that who is signed in may see. */
export const placesInSight = (): Place[] => PLACES.filter((place) => !place.needs || may(place.needs))

/** The pages of single things belong to the place whose list they are from. */
const WITHIN: Record<string, string> = {
  access: '/access/users',
  jobs: '/activity',
  pauses: '/backup-jobs',
  repositories: '/storage',
  wizard: '/backup-jobs',
}

export function isHere(place: string, path: string): boolean {
  const first = path.split('/')[1] ?? ''
  return (WITHIN[first] ?? `/${first}`) === place
}
