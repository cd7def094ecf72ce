// Servers: what is asked of the API and what is told to it. Nothing here is optimistic: a row changes when the API says so.
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/vue-query'
import { computed, type Ref } from 'vue'
import { answered, client, type Schema } from '@/lib/api/client'
import { everyPage } from '@/lib/live/pages'
import { jobInterval, POLL_RUNNING } from '@/lib/live/polling'
import { may } from '@/lib/session'

export type Server = Schema['ServerOut']
export type Job = Schema['JobOut']
export type History = Schema['HistoryOut']

const keys = {
  all: ['servers'] as const,
  one: (id: string) => ['servers', id] as const,
  jobs: (id: string) => ['jobs', 'of-server', id] as const,
  setup: (id: string) => ['jobs', 'setup-of', id] as const,
  history: (id: string, span: number) => ['servers', id, 'history', span] as const,
}

const path = (id: string) => ({ params: { path: { server_id: id } } })

export function useServers() {
  const query = useInfiniteQuery({
    queryKey: [...keys.all, 'list'],
    queryFn: ({ pageParam }) =>
      answered(client.GET('/api/servers', { params: { query: pageParam ? { after: pageParam } : {} } })),
    initialPageParam: '',
    getNextPageParam: (last) => last.next ?? null,
  })
  return { ...query, servers: computed(() => query.data.value?.pages.flatMap((page) => page.items) ?? []) }
}

export function useServer(id: Ref<string>, watched = false) {
  return useQuery({
    queryKey: computed(() => keys.one(id.value)),
    queryFn: () => answered(client.GET('/api/servers/{server_id}', path(id.value))),
    ...(watched ? { refetchInterval: POLL_RUNNING } : {}),
  })
}

export function useServerJobs(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => keys.jobs(id.value)),
    queryFn: () =>
      answered(client.GET('/api/jobs', { params: { query: { server_id: id.value, limit: 50 } } })),
    refetchInterval: (query) =>
      jobInterval(query.state.data?.items.find((job) => job.state === 'running')?.state),
  })
}

/** The latest set-up, with its live progress; null when there was none. */
export function useSetupJob(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => keys.setup(id.value)),
    queryFn: async () => {
      const query = { server_id: id.value, type: 'server_setup' as const, limit: 1 }
      const [latest] = (await answered(client.GET('/api/jobs', { params: { query } }))).items
      if (latest?.state !== 'running') return latest ?? null
      return answered(client.GET('/api/jobs/{job_id}', { params: { path: { job_id: latest.id } } }))
    },
    refetchInterval: (query) => jobInterval(query.state.data?.state),
  })
}

export function useHistory(id: Ref<string>, span: Ref<number>) {
  return useQuery({
    queryKey: computed(() => keys.history(id.value, span.value)),
    queryFn: async () => {
      const to = new Date()
      const from = new Date(to.getTime() - span.value * 1000)
      // Up to a day, from the samples themselves: the sums of five minutes come later.
      const fresh = span.value <= 86_400 ? { step: Math.max(60, span.value / 720) } : {}
      const query = { from: from.toISOString(), to: to.toISOString(), ...fresh }
      const found = await answered(
        client.GET('/api/servers/{server_id}/stats', { params: { ...path(id.value).params, query } }),
      )
      return { ...found, from: from.getTime() / 1000, to: to.getTime() / 1000 }
    },
    refetchInterval: 60_000,
  })
}

/** Whether anything of it is backed up; unknown for who may not see backup jobs. */
export function useHasBackupJob(id: Ref<string>) {
  return useQuery({
    queryKey: ['backup-jobs', 'all'],
    queryFn: () => everyPage((query) => answered(client.GET('/api/backup-jobs', { params: { query } }))),
    select: (all) => all.some((one) => one.server_id === id.value),
    enabled: may('backup_jobs:read'),
  })
}

export function useFleetKey() {
  return useQuery({
    queryKey: ['fleet-key'],
    queryFn: () => answered(client.GET('/api/fleet-key')),
    refetchInterval: false,
  })
}

export function useServerActions() {
  const queries = useQueryClient()
  const refresh = () =>
    Promise.all([
      queries.invalidateQueries({ queryKey: keys.all }),
      queries.invalidateQueries({ queryKey: ['jobs'] }),
    ])
  const action = <T, R>(mutationFn: (given: T) => Promise<R>) =>
    useMutation({ mutationFn, onSettled: refresh })

  return {
    refresh,
    add: action((body: Schema['ServerIn']) => answered(client.POST('/api/servers', { body }))),
    setUp: action((id: string) => answered(client.POST('/api/servers/{server_id}/setup', path(id)))),
    approve: action(({ id, fingerprint }: { id: string; fingerprint: string }) =>
      answered(client.POST('/api/servers/{server_id}/host-key', { ...path(id), body: { fingerprint } })),
    ),
    collect: action((id: string) =>
      answered(client.POST('/api/servers/{server_id}/collect-stats', path(id))),
    ),
    collectAll: action((_: undefined) => answered(client.POST('/api/collect-stats', { body: {} }))),
    remove: action((id: string) => answered(client.DELETE('/api/servers/{server_id}', path(id)))),
  }
}
