// Jobs: what is asked of the API and what is told to it.
import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query'
import { computed, type Ref } from 'vue'
import { answered, client, type Schema } from '@/lib/api/client'
import { usePages } from '@/lib/live/pages'
import { jobInterval } from '@/lib/live/polling'

export type Job = Schema['JobOut']
export type LogLine = Schema['LogLineOut']
export type JobFilter = 'all' | Schema['JobState']

const path = (id: string) => ({ params: { path: { job_id: id } } })
const works = (job: Job): boolean => job.state === 'queued' || job.state === 'running'

export function useJobs(filter: Ref<JobFilter>) {
  return usePages<Job>(
    computed(() => ['jobs', 'list', filter.value]),
    (after) => {
      const state = filter.value === 'all' ? {} : { state: filter.value }
      return answered(client.GET('/api/jobs', { params: { query: { ...state, ...after, limit: 50 } } }))
    },
    (items) => jobInterval(items.find(works)?.state),
  )
}

/** One job with its live progress. */
export function useJob(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['jobs', 'one', id.value]),
    queryFn: () => answered(client.GET('/api/jobs/{job_id}', path(id.value))),
    refetchInterval: (query) => jobInterval(query.state.data?.state),
  })
}

/** The job's log: only the lines that came since are asked for. */
export function useJobLog(id: Ref<string>, state: Ref<string | undefined>) {
  const queries = useQueryClient()
  const key = computed(() => ['jobs', 'log', id.value])
  return useQuery({
    queryKey: key,
    queryFn: async () => {
      const lines = [...(queries.getQueryData<LogLine[]>(key.value) ?? [])]
      for (;;) {
        const last = lines.at(-1)
        const query = { limit: 2000, ...(last ? { after: `${last.attempt}.${last.seq}` } : {}) }
        const page = await answered(
          client.GET('/api/jobs/{job_id}/log', { params: { path: { job_id: id.value }, query } }),
        )
        lines.push(...page.items)
        if (!page.next) return lines
      }
    },
    refetchInterval: () => jobInterval(state.value),
  })
}

export function useJobActions() {
  const queries = useQueryClient()
  const action = <T>(mutationFn: (id: string) => Promise<T>) =>
    useMutation({ mutationFn, onSettled: () => queries.invalidateQueries({ queryKey: ['jobs'] }) })
  return {
    cancel: action((id) => answered(client.POST('/api/jobs/{job_id}/cancel', path(id)))),
    retry: action((id) => answered(client.POST('/api/jobs/{job_id}/retry', path(id)))),
    undo: action((id) => answered(client.POST('/api/jobs/{job_id}/undo', path(id)))),
  }
}
