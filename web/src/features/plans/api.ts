// Backup jobs, with how they stand against their targets, their runs, and what pauses them.
import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query'
import { computed, type Ref } from 'vue'
import { answered, client, type Schema } from '@/lib/api/client'
import { onlyIf } from '@/lib/api/versions'
import { everyPage, usePages } from '@/lib/live/pages'
import { jobInterval } from '@/lib/live/polling'
import { may } from '@/lib/session'

export type BackupJob = Schema['BackupJobOut']
export type Schedule = Schema['ScheduleOut']
export type Compliance = Schema['ComplianceOut']
export type Job = Schema['JobOut']
export type MissedRun = Schema['MissedRunOut']

export type Pausing = Schema['PauseIn'] & { server?: string }

const path = (id: string) => ({ params: { path: { backup_job_id: id } } })

export function useBackupJobs() {
  return usePages<BackupJob>(['backup-jobs', 'list'], (after) =>
    answered(client.GET('/api/backup-jobs', { params: { query: after } })),
  )
}

export function useBackupJob(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['backup-jobs', 'one', id.value]),
    queryFn: () => answered(client.GET('/api/backup-jobs/{backup_job_id}', path(id.value))),
  })
}

/** How each backup job stands, by its id; an empty map until it is known. */
export function useCompliance() {
  const query = useQuery({
    queryKey: ['compliance'],
    queryFn: async () => {
      // It can also be had as CSV, and so its description has no one type.
      const rows = (await answered(client.GET('/api/compliance'))) as Compliance[]
      return new Map(rows.map((row) => [row.backup_job_id, row]))
    },
  })
  return { ...query, of: (id: string) => query.data.value?.get(id) ?? null }
}

export function useRuns(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['jobs', 'runs-of', id.value]),
    queryFn: () => {
      const query = { backup_job_id: id.value, type: 'backup_create' as const, limit: 200 }
      return answered(client.GET('/api/jobs', { params: { query } }))
    },
    refetchInterval: (query) => {
      const works = (job: Job): boolean => job.state === 'queued' || job.state === 'running'
      return jobInterval(query.state.data?.items.find(works)?.state)
    },
  })
}

export function useMissedRuns(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['missed-runs', id.value]),
    queryFn: () => {
      const query = { backup_job_id: id.value, limit: 50 }
      return answered(client.GET('/api/missed-runs', { params: { query } }))
    },
  })
}

export function usePauses() {
  return useQuery({ queryKey: ['pauses'], queryFn: () => answered(client.GET('/api/pauses')) })
}

/** Those of one server, for choosing another one. */
export function useRepositoriesOf(server: Ref<string>) {
  return useQuery({
    queryKey: ['repositories', 'all'],
    queryFn: () => everyPage((query) => answered(client.GET('/api/repositories', { params: { query } }))),
    select: (found) => found.filter((one) => one.server_id === server.value),
    enabled: may('repositories:read'),
  })
}

export function useRepository(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['repositories', 'one', id.value]),
    queryFn: () => {
      const params = { path: { repository_id: id.value } }
      return answered(client.GET('/api/repositories/{repository_id}', { params }))
    },
    enabled: may('repositories:read'),
  })
}

export function useServerNames() {
  return useQuery({
    queryKey: ['servers', 'all'],
    queryFn: () => everyPage((query) => answered(client.GET('/api/servers', { params: { query } }))),
    select: (found) => found.map((one) => one.name),
    enabled: may('servers:read'),
  })
}

/** The next runs of a schedule that is not saved; null: there is none to ask about. */
export function useSchedulePreview(schedule: Ref<Schema['ScheduleIn'] | null>) {
  return useQuery({
    queryKey: computed(() => ['schedules', 'preview', schedule.value]),
    queryFn: () => {
      const body = schedule.value
      return body ? answered(client.POST('/api/schedules/preview', { body })) : null
    },
    enabled: computed(() => schedule.value !== null),
    refetchInterval: false,
  })
}

/** What a retention would keep of its backups, and what would go; nothing is changed by asking. */
export function useRetentionPreview(id: Ref<string>, policy: Ref<Schema['Policy'] | null>) {
  return useQuery({
    queryKey: computed(() => ['backup-jobs', 'one', id.value, 'retention', policy.value]),
    queryFn: () => {
      const body = policy.value
      const asked = { ...path(id.value), body: body ?? {} }
      return body ? answered(client.POST('/api/backup-jobs/{backup_job_id}/retention/preview', asked)) : null
    },
    enabled: computed(() => policy.value !== null),
    refetchInterval: false,
  })
}

export function usePlanActions() {
  const queries = useQueryClient()
  const refresh = () =>
    Promise.all(
      ['backup-jobs', 'jobs', 'compliance', 'pauses'].map((key) =>
        queries.invalidateQueries({ queryKey: [key] }),
      ),
    )
  const action = <T, R>(mutationFn: (given: T) => Promise<R>) =>
    useMutation({ mutationFn, onSettled: refresh })
  return {
    run: action((id: string) => answered(client.POST('/api/backup-jobs/{backup_job_id}/run', path(id)))),
    toggle: action(({ id, version }: { id: string; version: number }) =>
      answered(client.POST('/api/backup-jobs/{backup_job_id}/toggle', { ...path(id), ...onlyIf(version) })),
    ),
    change: action(({ id, version, body }: { id: string; version: number; body: Schema['BackupJobPut'] }) =>
      answered(client.PUT('/api/backup-jobs/{backup_job_id}', { ...path(id), ...onlyIf(version), body })),
    ),
    remove: action((id: string) => answered(client.DELETE('/api/backup-jobs/{backup_job_id}', path(id)))),
    pause: action(({ server, ...body }: Pausing) =>
      answered(client.PUT('/api/pauses', { params: { query: server ? { server } : {} }, body })),
    ),
    resume: action((server: string) =>
      answered(client.DELETE('/api/pauses', { params: { query: server ? { server } : {} } })),
    ),
  }
}
