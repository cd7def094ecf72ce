// Files inside backups and over time, and restoring what is chosen of them.
import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query'
import { computed, type Ref } from 'vue'
import { answered, client, type Schema } from '@/lib/api/client'
import { usePages } from '@/lib/live/pages'
import { jobInterval } from '@/lib/live/polling'
import { toAsk } from '@/lib/path'

export type FileRow = Schema['FileOut']
export type Backup = Schema['BackupOut']
export type Job = Schema['JobOut']
export type Version = Schema['VersionOut']
export type Difference = Schema['DifferenceOut']
export type Differences = Schema['DiffOut']
export type UsageRow = Schema['UsageRow']
export type RestoreBody = Schema['RestoreIn']
export type DownloadBody = Schema['DownloadIn']

// A backup never changes: what was read of it is not asked for again.
const FOR_EVER = { staleTime: Number.POSITIVE_INFINITY, refetchInterval: false } as const
const MOST = 500

/** `id` may be empty for as long as none is chosen. */
export function useBackup(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['backups', 'one', id.value]),
    queryFn: () =>
      answered(client.GET('/api/backups/{backup_id}', { params: { path: { backup_id: id.value } } })),
    enabled: computed(() => id.value !== ''),
  })
}

/** The newest backups of one repository, which it can be compared with. */
export function useSiblings(backup: Ref<Backup | undefined>) {
  return useQuery({
    queryKey: computed(() => ['backups', 'beside', backup.value?.repository_id]),
    queryFn: async () => {
      const query = { server_id: backup.value?.server_id ?? null, limit: MOST }
      const { items } = await answered(client.GET('/api/backups', { params: { query } }))
      return items.filter((one) => one.repository_id === backup.value?.repository_id)
    },
    enabled: computed(() => backup.value !== undefined),
  })
}

/** A directory, page by page. */
export function useDirectory(id: Ref<string>, path: Ref<string>) {
  return usePages<FileRow>(
    computed(() => ['files', id.value, path.value]),
    (after) => {
      const params = { path: { backup_id: id.value }, query: { ...toAsk(path.value), ...after } }
      return answered(client.GET('/api/backups/{backup_id}/files', { params }))
    },
    () => false,
    Number.POSITIVE_INFINITY,
  )
}

/** What stands below each name of a directory, the largest first. */
export function useUsage(id: Ref<string>, path: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['usage', id.value, path.value]),
    queryFn: () => {
      const params = { path: { backup_id: id.value }, query: { ...toAsk(path.value), limit: MOST } }
      return answered(client.GET('/api/backups/{backup_id}/usage', { params }))
    },
    ...FOR_EVER,
  })
}

export function useDifferences(before: Ref<string>, after: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['diff', before.value, after.value]),
    queryFn: () => {
      const path = { backup_id: before.value, other_id: after.value }
      const params = { path, query: { limit: MOST } }
      return answered(client.GET('/api/backups/{backup_id}/diff/{other_id}', { params }))
    },
    ...FOR_EVER,
  })
}

export function useRepository(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['repositories', 'one', id.value]),
    queryFn: () => {
      const params = { path: { repository_id: id.value } }
      return answered(client.GET('/api/repositories/{repository_id}', { params }))
    },
  })
}

export function useVersions(repository: Ref<string>, path: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['versions', repository.value, path.value]),
    queryFn: () => {
      const params = {
        path: { repository_id: repository.value },
        query: { ...toAsk(path.value), limit: MOST },
      }
      return answered(client.GET('/api/repositories/{repository_id}/files/versions', { params }))
    },
  })
}

function serversAfter(after: string): Promise<Schema['Page_ServerOut_']> {
  const query = { limit: MOST, ...(after ? { after } : {}) }
  return answered(client.GET('/api/servers', { params: { query } }))
}

/** All servers, to choose one to restore to; not asked for by who may not. */
export function useServers(wanted: Ref<boolean>) {
  return useQuery({
    queryKey: ['servers', 'to-restore-to'],
    queryFn: async () => {
      const servers: Schema['ServerOut'][] = []
      for (let after: string | null = ''; after !== null; ) {
        const page = await serversAfter(after)
        servers.push(...page.items)
        after = page.next ?? null
      }
      return servers
    },
    enabled: wanted,
  })
}

export function useJob(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['jobs', 'one', id.value]),
    queryFn: () => answered(client.GET('/api/jobs/{job_id}', { params: { path: { job_id: id.value } } })),
    refetchInterval: (query) => jobInterval(query.state.data?.state),
  })
}

/** Looking at what a restore would do, and doing it: each answers with its job. */
export function useRestore(id: Ref<string>) {
  const queries = useQueryClient()
  const action = (mutationFn: (body: RestoreBody) => Promise<Job>) =>
    useMutation({ mutationFn, onSettled: () => queries.invalidateQueries({ queryKey: ['jobs', 'list'] }) })
  const at = (body: RestoreBody) => ({ params: { path: { backup_id: id.value } }, body })
  return {
    look: action((body) => answered(client.POST('/api/backups/{backup_id}/restores/preview', at(body)))),
    restore: action((body) => answered(client.POST('/api/backups/{backup_id}/restores', at(body)))),
  }
}

/** A link to what is chosen; it works once, within a minute. */
export const askForDownload = (id: string, body: DownloadBody) =>
  answered(client.POST('/api/backups/{backup_id}/downloads', { params: { path: { backup_id: id } }, body }))
