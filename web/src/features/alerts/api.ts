// Alerts: what is asked of the API and what is told to it.
import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query'
import { computed, type Ref } from 'vue'
import { answered, client, type Schema } from '@/lib/api/client'
import { usePages } from '@/lib/live/pages'

export type Alert = Schema['AlertOut']
export type AlertDetail = Schema['AlertDetail']
export type Which = 'open' | 'resolved'

const path = (id: string) => ({ params: { path: { alert_id: id } } })

export function useAlerts(which: Ref<Which>) {
  return usePages<Alert>(
    computed(() => ['alerts', 'list', which.value]),
    (after) => answered(client.GET('/api/alerts', { params: { query: { state: which.value, ...after } } })),
  )
}

export function useAlert(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['alerts', 'one', id.value]),
    queryFn: () => answered(client.GET('/api/alerts/{alert_id}', path(id.value))),
  })
}

export function useAcknowledge() {
  const queries = useQueryClient()
  return useMutation({
    mutationFn: ({ id, note }: { id: string; note: string }) =>
      answered(client.POST('/api/alerts/{alert_id}/acknowledge', { ...path(id), body: { note } })),
    onSettled: () => queries.invalidateQueries({ queryKey: ['alerts'] }),
  })
}
