// The audit trail: its entries, and whether it is as it was written.
import { useQuery } from '@tanstack/vue-query'
import { computed, type Ref } from 'vue'
import { answered, client, type Schema } from '@/lib/api/client'
import type { paths } from '@/lib/api/schema'
import { usePages } from '@/lib/live/pages'
import { POLL } from '@/lib/live/polling'

export type Entry = Schema['AuditOut']
export type Verified = Schema['VerifiedOut']
export type Filter = Omit<
  NonNullable<paths['/api/audit']['get']['parameters']['query']>,
  'after' | 'limit' | 'count'
>
const PAGE = 100

export function useEntries(filter: Ref<Filter>) {
  return usePages<Entry>(
    computed(() => ['audit', 'list', filter.value]),
    (after) => answered(client.GET('/api/audit', { params: { query: { ...filter.value, ...after } } })),
    // Who went back to older pages reads: they do not change, and are not asked for again.
    (items) => (items.length > PAGE ? false : POLL),
  )
}

/** One entry. Nothing but its seal comes later. */
export function useEntry(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['audit', 'one', id.value]),
    queryFn: () =>
      answered(client.GET('/api/audit/{entry_id}', { params: { path: { entry_id: id.value } } })),
  })
}

/** Verifies a part of the trail, from a seal on. */
export const verifyFrom = (after: number): Promise<Verified> =>
  answered(client.GET('/api/audit/verify', { params: { query: { after } } }))
