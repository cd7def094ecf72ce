// The places of the side bar, the tabs and the palette; only those that exist.
export interface Place {
  path: string
  key: string
  /** For the narrow tabs of a telephone. */
  short?: string
  icon: string
}

export const PLACES: Place[] = [
  { path: '/', key: 'overview.title', short: 'shell.home', icon: 'overview' },
  { path: '/servers', key: 'servers.title', icon: 'server' },
  { path: '/backups', key: 'backups.title', icon: 'archive' },
  { path: '/backup-jobs', key: 'plans.title', icon: 'plan' },
  { path: '/activity', key: 'jobs.title', icon: 'activity' },
  { path: '/storage', key: 'storage.title', icon: 'storage' },
  { path: '/alerts', key: 'alerts.title', icon: 'bell' },
]

/** The pages of single things belong to the place whose list they are from. */
const WITHIN: Record<string, string> = { jobs: '/activity', repositories: '/storage' }

export function isHere(place: string, path: string): boolean {
  const first = path.split('/')[1] ?? ''
  return (WITHIN[first] ?? `/${first}`) === place
}
