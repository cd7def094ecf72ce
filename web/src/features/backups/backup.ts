// How a backup is shown: whether it can be relied on comes before everything else.
import { type Status, statusOf } from '@/lib/status'
import type { Backup } from './api'

export function stateOf(backup: Backup): Status {
  if (backup.missing) return statusOf('backup', 'missing')
  if (backup.damage) return statusOf('backup', 'damaged')
  if (backup.doubtful) return statusOf('backup', 'doubtful')
  if (!backup.good) return statusOf('job', backup.state)
  return statusOf('backup', backup.reasons.length ? 'noted' : 'good')
}

/** Whether nothing may delete it now. */
export function isHeld(backup: Backup, now: Date): boolean {
  if (backup.held_reason === null) return false
  return backup.held_until === null || Date.parse(backup.held_until) > now.getTime()
}

/** Backups that hold every word in their title or name. */
export function matching(backups: Backup[], words: string): Backup[] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean)
  return backups.filter((backup) => {
    const text = `${backup.title}\n${backup.name}`.toLowerCase()
    return wanted.every((word) => text.includes(word))
  })
}
