// Jobs: what is asked of the API and what is told to it.
import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query'
import { computed, type Ref } from 'vue'
import { answered, client, type Schema } from '@/lib/api/client'
import type { Span } from '@/lib/format/night'
import { everyPage, usePages } from '@/lib/live/pages'
import { jobInterval, POLL } from '@/lib/live/polling'
import { may } from '@/lib/session'

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

/** Pages of a night: more runs than these hold nobody sees at once. */
const MOST_PAGES = 4
const PAGE = 500
const HOUR = 3_600_000
/** What changes rarely: names, limits, kinds. */
const RARELY = 300_000

const utc = (at: number): string => new Date(at).toISOString()

/** What ran or waited in a span; the latest of it, where there is more than is asked for. */
export function useNightJobs(span: Ref<Span>) {
  return useQuery({
    queryKey: computed(() => ['night', 'jobs', span.value.from, span.value.to]),
    queryFn: async () => {
      const overlaps = `${utc(span.value.from)}/${utc(span.value.to)}`
      const jobs: Job[] = []
      let after: string | null | undefined
      for (let page = 0; page < MOST_PAGES; page += 1) {
        const query = { overlaps, limit: PAGE, ...(after ? { after } : {}) }
        const found = await answered(client.GET('/api/jobs', { params: { query } }))
        jobs.push(...found.items)
        after = found.next
        if (!after) break
      }
      return { jobs, whole: !after }
    },
    placeholderData: (before) => before,
    // What is over for an hour does not change any more.
    refetchInterval: () => (span.value.to < Date.now() - HOUR ? false : POLL),
  })
}

/** What is foreseen from now to the end of a span, if that is to come and one may know it. */
export function useNightForecast(span: Ref<Span>) {
  const hours = computed(() => Math.min(168, Math.ceil((span.value.to - Date.now()) / HOUR)))
  return useQuery({
    queryKey: computed(() => ['night', 'forecast', span.value.to]),
    queryFn: () =>
      answered(client.GET('/api/forecast', { params: { query: { hours: Math.max(1, hours.value) } } })),
    enabled: computed(() => hours.value > 0 && may('schedules:read')),
    placeholderData: (before) => before,
    refetchInterval: POLL,
  })
}

/** Pauses, maintenance windows and limits, as far as one may know them. */
export function useNightRules() {
  return useQuery({
    queryKey: ['night', 'rules'],
    queryFn: async () => {
      const [pauses, windows, limits] = await Promise.all([
        may('schedules:read') ? answered(client.GET('/api/pauses')) : [],
        may('windows:read') ? answered(client.GET('/api/maintenance-windows')) : [],
        may('limits:read') ? answered(client.GET('/api/limits')) : undefined,
      ])
      return { pauses, windows, limits }
    },
  })
}

/** What the servers, repositories and pools of jobs are called, and which kinds of jobs take a slot. */
export function useNightNames() {
  return useQuery({
    queryKey: ['night', 'names'],
    queryFn: async () => {
      const [kinds, servers, repositories, pools] = await Promise.all([
        answered(client.GET('/api/job-kinds')),
        may('servers:read')
          ? everyPage((query) => answered(client.GET('/api/servers', { params: { query } })))
          : [],
        may('repositories:read')
          ? everyPage((query) => answered(client.GET('/api/repositories', { params: { query } })))
          : [],
        may('pools:read')
          ? everyPage((query) => answered(client.GET('/api/storage-pools', { params: { query } })))
          : [],
      ])
      return { kinds, servers, repositories, pools }
    },
    staleTime: RARELY,
    refetchInterval: RARELY,
  })
}
