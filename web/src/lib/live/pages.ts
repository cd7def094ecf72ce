// A list of the API, page by page: what is loaded stays, the next page is asked for when somebody wants it.
import { type QueryKey, useInfiniteQuery } from '@tanstack/vue-query'
import { computed, type MaybeRefOrGetter, toValue } from 'vue'
import { POLL, pollInterval } from './polling'

export interface Page<T> {
  items: T[]
  next?: string | null
}

export function usePages<T>(
  key: MaybeRefOrGetter<QueryKey>,
  ask: (after: { after?: string }) => Promise<Page<T>>,
  interval?: (items: T[]) => number | false,
  staleTime = POLL,
) {
  const query = useInfiniteQuery({
    queryKey: computed(() => toValue(key)),
    queryFn: ({ pageParam }) => ask(pageParam ? { after: pageParam } : {}),
    initialPageParam: '',
    getNextPageParam: (last) => last.next ?? null,
    refetchInterval: (asked) =>
      interval ? interval(asked.state.data?.pages.flatMap((page) => page.items) ?? []) : pollInterval(asked),
    staleTime,
    // While another filter is being asked for, the rows of the one before stay.
    placeholderData: (before) => before,
  })
  const items = computed(() => query.data.value?.pages.flatMap((page) => page.items) ?? [])
  return { ...query, items }
}

/** Everything of a list, page by page, where one chooses from all of it. */
export async function everyPage<T>(
  ask: (query: { limit: number; after?: string }) => Promise<Page<T>>,
): Promise<T[]> {
  const found: T[] = []
  let after: string | null | undefined
  do {
    const page = await ask(after ? { limit: 500, after } : { limit: 500 })
    found.push(...page.items)
    after = page.next
  } while (after)
  return found
}
