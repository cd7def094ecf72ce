// What a job is called, and what may be done with it.
import { useI18n } from 'vue-i18n'
import { safeName } from '@/lib/format'
import type { Job, LogLine } from './api'

export function useJobNames() {
  const { t, te } = useI18n()
  const kind = (job: Job): string => (te(`status.type.${job.type}`) ? t(`status.type.${job.type}`) : job.type)
  return {
    kind,
    /** "Backup · web1-system"; a kind alone where its title says no more. */
    name: (job: Job): string => [kind(job), safeName(job.title)].filter(Boolean).join(' · '),
  }
}

export const cancellable = (job: Job): boolean =>
  (job.state === 'queued' || job.state === 'running') && !job.cancel_requested
export const retryable = (job: Job): boolean => job.state === 'failed' || job.state === 'cancelled'

/** Seconds that it took, or has taken so far; null before it began. */
export function secondsOf(job: Job, now: Date): number | null {
  if (!job.started_at) return null
  const end = job.finished_at ? Date.parse(job.finished_at) : now.getTime()
  return Math.max(0, (end - Date.parse(job.started_at)) / 1000)
}

const PROBLEMS = new Set(['warning', 'error', 'critical'])
export const tellsOfProblem = (line: LogLine): boolean => PROBLEMS.has(line.level)
