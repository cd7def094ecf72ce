// Searching the names of files in all backups, and where to begin without one.
import { useQuery } from '@tanstack/vue-query'
import { computed, type Ref } from 'vue'
import { answered, client, type Schema } from '@/lib/api/client'

export type Hit = Schema['HitOut']
export type Found = Schema['SearchOut']
export type Backup = Schema['BackupOut']

const MOST = 200

/** `q` as the API reads it; nothing is asked while it is empty. */
export function useSearch(q: Ref<string>, server: Ref<string>, repository: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['find', q.value, server.value, repository.value]),
    queryFn: () => {
      const query = {
        q: q.value,
        limit: MOST,
        ...(server.value ? { server_id: server.value } : {}),
        ...(repository.value ? { repository_id: repository.value } : {}),
      }
      return answered(client.GET('/api/files/search', { params: { query } }))
    },
    enabled: computed(() => q.value !== ''),
    // A search goes through all catalogues: it is not repeated by itself.
    refetchInterval: false,
  })
}

export function useServerNames() {
  return useQuery({
    queryKey: ['servers', 'to-search'],
    queryFn: async () =>
      (await answered(client.GET('/api/servers', { params: { query: { limit: 500 } } }))).items,
  })
}

/** The newest backups of all. */
export function useNewest() {
  return useQuery({
    queryKey: ['backups', 'newest'],
    queryFn: async () =>
      (await answered(client.GET('/api/backups', { params: { query: { limit: MOST } } }))).items,
  })
}
