// How the UI stays fresh: the API has no event stream yet, so what is visible is asked for again and again.
import { QueryClient } from '@tanstack/vue-query'
import { ApiError } from '../api/errors'

export const POLL = 15_000
/** For work that somebody is watching. */
export const POLL_RUNNING = 1000

export function createQueries(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: POLL,
        refetchInterval: POLL,
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
  return state === 'queued' || state === 'running' ? POLL_RUNNING : POLL
}
