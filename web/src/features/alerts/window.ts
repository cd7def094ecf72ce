// Maintenance windows: which are under way, and what a browser's field of a date says.
import type { MaintenanceWindow } from './api'

export type When = 'now' | 'coming' | 'over'

export function whenOf(window: MaintenanceWindow, now: Date): When {
  if (new Date(window.ends_at) <= now) return 'over'
  return new Date(window.starts_at) <= now ? 'now' : 'coming'
}

/** Under way, then to come by their beginning, then those that are over, the last one first. */
export function soonestFirst(windows: MaintenanceWindow[], now: Date): MaintenanceWindow[] {
  const order: When[] = ['now', 'coming', 'over']
  const rank = (one: MaintenanceWindow): number => order.indexOf(whenOf(one, now))
  const at = (one: MaintenanceWindow): number =>
    whenOf(one, now) === 'over' ? -Date.parse(one.ends_at) : Date.parse(one.starts_at)
  return [...windows].sort((a, b) => rank(a) - rank(b) || at(a) - at(b))
}

const HOUR = 3_600_000
const MINUTE = 60_000

/** A moment as `datetime-local` writes it: in the zone of the browser, to the minute. */
export function fieldOf(at: Date): string {
  return new Date(at.getTime() - at.getTimezoneOffset() * MINUTE).toISOString().slice(0, 16)
}

/** From the next full hour, for two hours. */
export function proposal(now: Date): { starts: string; ends: string } {
  const next = new Date(Math.ceil(now.getTime() / HOUR) * HOUR)
  return { starts: fieldOf(next), ends: fieldOf(new Date(next.getTime() + 2 * HOUR)) }
}
