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
