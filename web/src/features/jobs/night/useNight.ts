// A night as it is drawn: its bars, what holds runs back, and how much of all that is known.
import { computed, type Ref } from 'vue'
import type { Span } from '@/lib/format/night'
import { useNow } from '@/lib/format/use'
import { useNightForecast, useNightJobs, useNightNames, useNightRules } from '../api'
import { type Bar, barOfJob, barOfRun, type Names, within } from './bars'
import { capsOf, hatchesOf } from './rows'

/** So many runs are foreseen at most in one answer. */
const FORESEEN = 500

export function useNight(span: Ref<Span>) {
  const now = useNow()
  const jobs = useNightJobs(span)
  const forecast = useNightForecast(span)
  const rules = useNightRules()
  const known = useNightNames()

  const names = computed<Names>(() => {
    const { kinds = [], servers = [], repositories = [], pools = [] } = known.data.value ?? {}
    const poolOf = new Map(pools.map((pool) => [pool.id, pool.name]))
    return {
      servers: new Map(servers.map((server) => [server.id, server.name])),
      repositories: new Map(
        repositories.map(({ id, name, server, pool_id }) => [
          id,
          { name, server, pool: poolOf.get(pool_id) ?? null },
        ]),
      ),
      turns: new Set(kinds.filter((kind) => kind.takes_turns).map((kind) => kind.type)),
    }
  })
  const foreseen = computed(() => (span.value.to > now.value.getTime() ? (forecast.data.value ?? []) : []))
  const bars = computed<Bar[]>(() => {
    // A job that began since the clock's last step is not in the future.
    const at = Math.max(now.value.getTime(), jobs.dataUpdatedAt.value)
    const made = (jobs.data.value?.jobs ?? []).map((job) => barOfJob(job, names.value, at))
    const coming = foreseen.value.map((run) => barOfRun(run, names.value)).filter((bar) => bar.from >= at)
    return within([...made, ...coming], span.value)
  })
  const hatches = computed(() => {
    const { pauses = [], windows = [] } = rules.data.value ?? {}
    const tagged = (tag: string): string[] =>
      (known.data.value?.servers ?? []).filter((one) => one.tags.includes(tag)).map((one) => one.name)
    return hatchesOf(pauses, windows, tagged)
  })

  return {
    now,
    bars,
    hatches,
    caps: computed(() => capsOf(rules.data.value?.limits)),
    /** Nothing is left out of it; else the earliest jobs are, or the last foreseen runs. */
    whole: computed(() => jobs.data.value?.whole !== false && foreseen.value.length < FORESEEN),
    // Of another part than the one before nothing is known yet: that is not an empty night.
    isPending: computed(
      () =>
        jobs.isPending.value ||
        known.isPending.value ||
        (jobs.isPlaceholderData.value && bars.value.length === 0),
    ),
    error: computed(() => jobs.error.value ?? forecast.error.value ?? rules.error.value ?? known.error.value),
    refetch: () => {
      for (const one of [jobs, forecast, rules, known]) if (one.error.value) void one.refetch()
    },
  }
}
