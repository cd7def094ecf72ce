// A backup job as a form, and back as the API takes it. Times are in units that people think in.
import type { Schema } from '@/lib/api/client'
import { policyOf, type RetentionForm, retentionForm, usualRetention } from '@/lib/retention'
import { type ScheduleForm, scheduleForm, scheduleOf } from '@/lib/schedule'
import type { BackupJob } from './api'

export interface PlanForm {
  name: string
  server: string
  repository: string
  /** One a line, as the other two. */
  sources: string
  excludes: string
  patterns: string
  excludeCaches: boolean
  oneFileSystem: boolean
  schedules: ScheduleForm[]
  enabled: boolean
  rpoHours: string
  priority: string
  keeping: 'own' | 'repository'
  retention: RetentionForm
  transport: 'tunnel' | 'direct'
  compression: string
  uploadLimit: string
  timeLimitMinutes: string
  maxFailures: string
  retrySeconds: string
  preHook: string
  postHook: string
  hookSeconds: string
}

const HOUR = 3600
const text = (value: number | null, unit = 1): string => (value === null ? '' : String(value / unit))
const number = (value: string, unit = 1): number | null =>
  value.trim() === '' ? null : Math.round(Number(value) * unit)
const lines = (value: string): string[] =>
  value
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean)

/** Whether this version can read all of it: saving would lose the rest. */
export const isReadable = (plan: BackupJob): boolean =>
  !plan.unreadable?.length && plan.schedules.every((one) => Boolean(one.when) && !one.unreadable?.length)

export function planForm(plan: BackupJob): PlanForm {
  return {
    name: plan.name,
    server: plan.server_id,
    repository: plan.repository_id,
    sources: plan.sources.join('\n'),
    excludes: plan.excludes.join('\n'),
    patterns: plan.patterns.join('\n'),
    excludeCaches: plan.exclude_caches,
    oneFileSystem: plan.one_file_system,
    schedules: plan.schedules.map(scheduleForm).filter((one) => one !== null),
    enabled: plan.enabled,
    rpoHours: text(plan.rpo_seconds, HOUR),
    priority: String(plan.priority),
    keeping: plan.retention ? 'own' : 'repository',
    retention: plan.retention ? retentionForm(plan.retention) : usualRetention(),
    transport: plan.transport === 'direct' ? 'direct' : 'tunnel',
    compression: plan.compression,
    uploadLimit: text(plan.upload_limit_kib),
    timeLimitMinutes: text(plan.time_limit_seconds, 60),
    maxFailures: text(plan.max_failures),
    retrySeconds: text(plan.retry_seconds),
    preHook: plan.pre_hook ?? '',
    postHook: plan.post_hook ?? '',
    hookSeconds: String(plan.hook_seconds),
  }
}

export function bodyOf(form: PlanForm): Schema['BackupJobIn'] {
  return {
    name: form.name.trim(),
    server_id: form.server,
    repository_id: form.repository,
    sources: lines(form.sources),
    excludes: lines(form.excludes),
    patterns: lines(form.patterns),
    exclude_caches: form.excludeCaches,
    one_file_system: form.oneFileSystem,
    schedules: form.schedules.map(scheduleOf),
    enabled: form.enabled,
    rpo_seconds: number(form.rpoHours, HOUR),
    priority: number(form.priority) ?? 0,
    retention: form.keeping === 'own' ? policyOf(form.retention) : null,
    transport: form.transport,
    compression: form.compression.trim(),
    upload_limit_kib: number(form.uploadLimit),
    time_limit_seconds: number(form.timeLimitMinutes, 60),
    max_failures: number(form.maxFailures),
    retry_seconds: number(form.retrySeconds),
    pre_hook: form.preHook.trim() || null,
    post_hook: form.postHook.trim() || null,
    hook_seconds: number(form.hookSeconds) ?? 300,
  }
}

/** What is sent when a form is saved: schedules that stayed as they were are left alone. */
export function changeOf(form: PlanForm, before: PlanForm): Schema['BackupJobIn'] {
  const [now, then] = [bodyOf(form), bodyOf(before)]
  const same = JSON.stringify(now.schedules) === JSON.stringify(then.schedules)
  return same ? { ...now, schedules: null } : now
}

export const isChanged = (form: PlanForm, before: PlanForm): boolean =>
  JSON.stringify(bodyOf(form)) !== JSON.stringify(bodyOf(before))
