// How the UI stays fresh without live events, and, far less often, beside them: what is visible is asked for again.
import { QueryClient } from '@tanstack/vue-query'
import { ref } from 'vue'
import { ApiError } from '../api/errors'

export const POLL = 15_000
/** While live events tell what changes. */
export const POLL_LIVE = 60_000
/** For work that somebody is watching. */
export const POLL_RUNNING = 1000

/** Whether live events come; none: nobody has asked for them. */
export const live = ref<'none' | 'live' | 'off'>('none')

/** The interval at which what is visible is asked for. */
export function pollInterval(): number {
  return live.value === 'live' ? POLL_LIVE : POLL
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
  return state === 'queued' && live.value !== 'live' ? POLL_RUNNING : pollInterval()
}
