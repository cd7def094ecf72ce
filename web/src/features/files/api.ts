// Files inside a backup, and restoring what is chosen of them.
import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query'
import { computed, type Ref } from 'vue'
import { answered, client, type Schema } from '@/lib/api/client'
import { usePages } from '@/lib/live/pages'

export type FileRow = Schema['FileOut']
export type Backup = Schema['BackupOut']
export type RestoreBody = Schema['RestoreIn']

export function useBackup(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['backups', 'one', id.value]),
    queryFn: () =>
      answered(client.GET('/api/backups/{backup_id}', { params: { path: { backup_id: id.value } } })),
  })
}

/** A directory, page by page. A backup never changes: what was listed is not asked for again. */
export function useDirectory(id: Ref<string>, path: Ref<string>) {
  return usePages<FileRow>(
    computed(() => ['files', id.value, path.value]),
    (after) => {
      const where = path.value === '/' ? {} : { path_b64: btoa(path.value) }
      const params = { path: { backup_id: id.value }, query: { ...where, ...after } }
      return answered(client.GET('/api/backups/{backup_id}/files', { params }))
    },
    () => false,
    Number.POSITIVE_INFINITY,
  )
}

export function useRestore(id: Ref<string>) {
  const queries = useQueryClient()
  return useMutation({
    mutationFn: (body: RestoreBody) =>
      answered(
        client.POST('/api/backups/{backup_id}/restores', { params: { path: { backup_id: id.value } }, body }),
      ),
    onSettled: () => queries.invalidateQueries({ queryKey: ['jobs'] }),
  })
}
