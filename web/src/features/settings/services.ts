// Which of Borgfleet's processes are there.
import { type Status, statusOf } from '@/lib/status'
import type { Service } from './api'

/** As long as an alert waits for it. */
const MISSING_AFTER = 90_000

export interface Shown {
  service: Service
  status: Status
}

/**
 * The missing first, those that were replaced last. What was seen last is taken for now: one clock wrote them all,
 * and the API itself, which answers, is among them.
 */
export function shownServices(services: Service[]): Shown[] {
  const now = Math.max(...services.map((one) => Date.parse(one.seen_at)))
  const isHere = (one: Service): boolean => now - Date.parse(one.seen_at) < MISSING_AFTER
  const place = (one: Service): string => `${one.service}@${one.node}`
  const held = new Set(services.filter(isHere).map(place))
  const codeOf = (one: Service): string => {
    if (isHere(one)) return 'here'
    return held.has(place(one)) ? 'ended' : 'missing'
  }
  const ORDER = ['missing', 'here', 'ended']
  return services
    .map((service) => ({ service, code: codeOf(service) }))
    .sort(
      (a, b) =>
        ORDER.indexOf(a.code) - ORDER.indexOf(b.code) ||
        a.service.service.localeCompare(b.service.service) ||
        b.service.seen_at.localeCompare(a.service.seen_at),
    )
    .map(({ service, code }) => ({ service, status: statusOf('process', code) }))
}

/** The versions that are running, the newest of each process first told. */
export function versionsOf(shown: Shown[]): string[] {
  const running = shown.filter((one) => one.status.tone === 'ok').map((one) => one.service.version)
  return [...new Set(running)].sort()
}
