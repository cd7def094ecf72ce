// How the UI stays fresh without live events, and, far less often, beside them: what is visible is asked for again.
import { QueryClient, type QueryKey } from '@tanstack/vue-query'
import { ref } from 'vue'
import { ApiError } from '../api/errors'

export const POLL = 15_000
/** While live events tell of every change. */
export const POLL_LIVE = 60_000
/** What they tell of every change of, by the first word of its key; what a page shows beside it has no events of its own. */
const TOLD = new Set<unknown>(['jobs', 'alerts'])
/** For work that somebody is watching. */
export const POLL_RUNNING = 1000

/** Whether live events come; none: nobody has asked for them. */
export const live = ref<'none' | 'live' | 'off'>('none')

/** The interval at which what is visible is asked for. */
export function pollInterval(query: { queryKey: QueryKey }): number {
  return live.value === 'live' && TOLD.has(query.queryKey[0]) ? POLL_LIVE : POLL
}

export function createQueries(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: POLL,
        refetchInterval: pollInterval,
        // A request that was refused is refused again; one that found nobody may find somebody.
        retry: (failures, error) =>
          failures < 2 &&
          !(error instanceof ApiError && error.problem.status < 500 && error.problem.status > 0),
      },
    },
  })
}

/** The interval at which a job is asked for: often while it works. */
export function jobInterval(state: string | undefined): number {
  if (state === 'running') return POLL_RUNNING // its progress is no event
  if (state === 'queued') return live.value === 'live' ? POLL : POLL_RUNNING
  return pollInterval({ queryKey: ['jobs'] })
}
