// What the first page asks: few questions, so that it is there at once, and each of them small.
import { useQuery } from '@tanstack/vue-query'
import { computed, type Ref } from 'vue'
import { answered, client, type Schema } from '@/lib/api/client'
import { jobInterval, POLL } from '@/lib/live/polling'
import { may, me } from '@/lib/session'

export type Alert = Schema['AlertOut']
export type BackupJob = Schema['BackupJobOut']
export type Compliance = Schema['ComplianceOut']
export type ExpectedRun = Schema['ExpectedRun']
export type Job = Schema['JobOut']
export type MissedRun = Schema['MissedRunOut']
export type Pool = Schema['PoolOut']

const MOST = 500
const SLOW = 60_000

/** What the sentence is made of: without any part of it nothing is called well. */
export function useStanding() {
  return useQuery({
    queryKey: ['overview', 'standing'],
    queryFn: async () => {
      const [compliance, alerts] = await Promise.all([
        // It can also be had as CSV, and so its description has no one type.
        answered(client.GET('/api/compliance')) as Promise<Compliance[]>,
        answered(client.GET('/api/alerts', { params: { query: { state: 'open', limit: MOST } } })),
      ])
      return { compliance, alerts: alerts.items }
    },
  })
}

/** The last runs of all backup jobs, as far back as one page reaches, and what was missed. */
export function useRecentRuns() {
  return useQuery({
    queryKey: ['jobs', 'recent-runs'],
    queryFn: async () => {
      const query = { type: 'backup_create' as const, limit: MOST }
      const [runs, missed] = await Promise.all([
        answered(client.GET('/api/jobs', { params: { query } })),
        answered(client.GET('/api/missed-runs', { params: { query: { limit: MOST } } })),
      ])
      return { runs: runs.items, missed: missed.items, whole: !runs.next && !missed.next }
    },
    refetchInterval: SLOW,
  })
}

export function useRunning() {
  return useQuery({
    queryKey: ['jobs', 'running'],
    queryFn: () => answered(client.GET('/api/jobs', { params: { query: { state: 'running', limit: 5 } } })),
    refetchInterval: (query) => jobInterval(query.state.data?.items[0]?.state),
  })
}

export function useTonight() {
  return useQuery({
    queryKey: ['tonight'],
    queryFn: () => answered(client.GET('/api/forecast')),
    refetchInterval: SLOW,
  })
}

export function usePools() {
  return useQuery({
    queryKey: ['overview', 'pools'],
    queryFn: () => answered(client.GET('/api/storage-pools', { params: { query: {} } })),
    refetchInterval: SLOW,
  })
}

/** Whether there is any server: asked only where there is no backup job. */
export function useAnyServer(wanted: Ref<boolean>) {
  return useQuery({
    queryKey: ['overview', 'any-server'],
    queryFn: async () => {
      const page = await answered(client.GET('/api/servers', { params: { query: { limit: 1 } } }))
      return page.items.length > 0
    },
    enabled: computed(() => wanted.value),
    refetchInterval: POLL,
  })
}

/** How many requests of others wait for the word of a second person; asked only by who may say it. */
export function useWaiting() {
  const { data } = useQuery({
    queryKey: ['approvals', 'waiting'],
    queryFn: async () => {
      const query = { state: 'asked' as const, limit: MOST }
      const { items } = await answered(client.GET('/api/approvals', { params: { query } }))
      return items.filter((one) => one.requested_by_id === null || one.requested_by_id !== me.value?.id)
        .length
    },
    enabled: may('approvals:decide'),
    refetchInterval: SLOW,
  })
  return computed(() => data.value ?? 0)
}
