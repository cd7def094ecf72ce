// Storage pools and repositories: what is asked of the API and what is told to it.
import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query'
import { computed, type Ref } from 'vue'
import { answered, client, type Schema } from '@/lib/api/client'
import { onlyIf } from '@/lib/api/versions'
import { usePages } from '@/lib/live/pages'

export type Pool = Schema['PoolOut']
export type Repository = Schema['RepositoryOut']

const path = (id: string) => ({ params: { path: { repository_id: id } } })

export function usePools() {
  return usePages<Pool>(['storage-pools'], (after) =>
    answered(client.GET('/api/storage-pools', { params: { query: after } })),
  )
}

export function useRepositories() {
  return usePages<Repository>(['repositories', 'list'], (after) =>
    answered(client.GET('/api/repositories', { params: { query: after } })),
  )
}

export function useRepository(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['repositories', 'one', id.value]),
    queryFn: () => answered(client.GET('/api/repositories/{repository_id}', path(id.value))),
  })
}

/** What a retention would keep of its backups, and what would go; nothing is changed by asking. */
export function useRetentionPreview(id: Ref<string>, policy: Ref<Schema['Policy'] | null>) {
  return useQuery({
    queryKey: computed(() => ['repositories', 'one', id.value, 'retention', policy.value]),
    queryFn: () => {
      const body = policy.value
      const asked = { ...path(id.value), body: body ?? {} }
      return body ? answered(client.POST('/api/repositories/{repository_id}/retention/preview', asked)) : null
    },
    enabled: computed(() => policy.value !== null),
    refetchInterval: false,
  })
}

export function useRepositoryActions() {
  const queries = useQueryClient()
  const action = <T, R>(mutationFn: (given: T) => Promise<R>) =>
    useMutation({ mutationFn, onSettled: () => queries.invalidateQueries({ queryKey: ['repositories'] }) })
  return {
    check: action((id: string) =>
      answered(client.POST('/api/repositories/{repository_id}/check', { ...path(id), body: {} })),
    ),
    compact: action((id: string) =>
      answered(client.POST('/api/repositories/{repository_id}/compact', path(id))),
    ),
    prune: action((id: string) =>
      answered(client.POST('/api/repositories/{repository_id}/prune', { ...path(id), body: {} })),
    ),
    change: action(
      ({ id, version, body }: { id: string; version: number; body: Schema['RepositoryChange'] }) =>
        answered(client.PUT('/api/repositories/{repository_id}', { ...path(id), ...onlyIf(version), body })),
    ),
    unfreeze: action(({ id, reason }: { id: string; reason: string }) =>
      answered(client.POST('/api/repositories/{repository_id}/unfreeze', { ...path(id), body: { reason } })),
    ),
  }
}
