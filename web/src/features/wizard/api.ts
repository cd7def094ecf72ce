// What the wizard chooses from, and the one request that makes all of it.
import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query'
import { computed, type Ref } from 'vue'
import { answered, client, type Schema } from '@/lib/api/client'
import { everyPage } from '@/lib/live/pages'

export type Server = Schema['ServerOut']
export type Pool = Schema['PoolOut']
type Job = Schema['JobOut']
type Rest = Pick<Schema['BackupJobIn'], 'schedules' | 'retention'>

export function useChoices() {
  const servers = useQuery({
    queryKey: ['servers', 'all'],
    queryFn: () => everyPage((query) => answered(client.GET('/api/servers', { params: { query } }))),
  })
  const pools = useQuery({
    queryKey: ['storage-pools', 'all'],
    queryFn: () => everyPage((query) => answered(client.GET('/api/storage-pools', { params: { query } }))),
  })
  const repositories = useQuery({
    queryKey: ['repositories', 'all'],
    queryFn: () => everyPage((query) => answered(client.GET('/api/repositories', { params: { query } }))),
  })
  return { servers, pools, repositories }
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

export function useWizard() {
  const queries = useQueryClient()
  const refresh = () =>
    Promise.all(
      ['backup-jobs', 'jobs', 'repositories', 'compliance'].map((key) =>
        queries.invalidateQueries({ queryKey: [key] }),
      ),
    )
  return {
    /** Makes a repository, a backup job in it, and queues its first run: all or nothing. */
    make: useMutation({
      mutationFn: (body: Schema['WizardIn']) => answered(client.POST('/api/backup-wizard', { body })),
      onSettled: refresh,
    }),
    /** The wizard's request knows neither when nor how long: the new backup job is told after it. */
    complete: useMutation({
      mutationFn: ({ job, made, rest }: { job: Job; made: Schema['WizardIn']; rest: Rest }) =>
        answered(
          client.PUT('/api/backup-jobs/{backup_job_id}', {
            params: { path: { backup_job_id: job.backup_job_id ?? '' } },
            body: { ...made.job, ...rest, server_id: made.server_id, repository_id: job.repository_id ?? '' },
          }),
        ),
      onSettled: refresh,
    }),
  }
}
