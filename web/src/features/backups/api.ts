// Backups (borg's archives): what is asked of the API and what is told to it.
import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query'
import { computed, type Ref } from 'vue'
import { answered, client, type Schema } from '@/lib/api/client'
import { usePages } from '@/lib/live/pages'

export type Backup = Schema['BackupOut']
export type Trust = 'all' | 'good' | 'doubtful'

const path = (id: string) => ({ params: { path: { backup_id: id } } })

export function useBackups(trust: Ref<Trust>) {
  return usePages<Backup>(
    computed(() => ['backups', 'list', trust.value]),
    (after) => {
      const chosen = trust.value === 'all' ? {} : { trust: trust.value }
      return answered(client.GET('/api/backups', { params: { query: { ...chosen, ...after } } }))
    },
  )
}

export function useBackup(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['backups', 'one', id.value]),
    queryFn: () => answered(client.GET('/api/backups/{backup_id}', path(id.value))),
  })
}

/** The one before it in its repository, which it can be compared with; null for the first. */
export function useBefore(backup: Ref<Backup | undefined>) {
  return useQuery({
    queryKey: computed(() => ['backups', 'before', backup.value?.id]),
    queryFn: async () => {
      if (!backup.value) return null
      const { id, server_id, repository_id, started_at } = backup.value
      for (let after: string | null = ''; after !== null; ) {
        const page = await ofServer(server_id, after)
        const found = page.items.find(
          (one) =>
            one.repository_id === repository_id &&
            !one.missing &&
            one.id !== id &&
            Date.parse(one.started_at) < Date.parse(started_at),
        )
        if (found) return found
        after = page.next ?? null
      }
      return null
    },
    enabled: computed(() => backup.value !== undefined),
  })
}

function ofServer(id: string, after: string): Promise<Schema['Page_BackupOut_']> {
  const query = { server_id: id, limit: 500, ...(after ? { after } : {}) }
  return answered(client.GET('/api/backups', { params: { query } }))
}

export function useBackupActions() {
  const queries = useQueryClient()
  const action = <T, R>(mutationFn: (given: T) => Promise<R>) =>
    useMutation({ mutationFn, onSettled: () => queries.invalidateQueries({ queryKey: ['backups'] }) })
  const body = (reason: string) => ({ body: { reason } })
  return {
    hold: action(({ id, reason }: { id: string; reason: string }) =>
      answered(client.PUT('/api/backups/{backup_id}/hold', { ...path(id), ...body(reason) })),
    ),
    release: action((id: string) => answered(client.DELETE('/api/backups/{backup_id}/hold', path(id)))),
    accept: action(({ id, reason }: { id: string; reason: string }) =>
      answered(client.POST('/api/backups/{backup_id}/accept', { ...path(id), ...body(reason) })),
    ),
    remove: action((id: string) => answered(client.DELETE('/api/backups/{backup_id}', path(id)))),
  }
}
