// A bar in words: what readers hear of it, and what stands in its tooltip.
import { useI18n } from 'vue-i18n'
import { safeName } from '@/lib/format'
import { useFormat } from '@/lib/format/use'
import { type Status, statusOf } from '@/lib/status'
import type { Bar } from './bars'
import { FOR_EVER, type Hatch } from './rows'

export function useBarWords() {
  const { t, te } = useI18n()
  const format = useFormat()
  const kind = (bar: Bar): string => {
    const key = `status.type.${bar.type}`
    return te(key) ? t(key) : safeName(bar.type)
  }
  const status = (bar: Bar): Status => statusOf(bar.state === 'foreseen' ? 'run' : 'job', bar.state)

  function times(bar: Bar): string {
    const from = format.timeOnce(bar.from)
    if (bar.state === 'queued') return t('jobs.night.asked', { at: format.timeOnce(bar.asked ?? bar.from) })
    if (bar.vague) return t('jobs.night.vague', { from })
    if (bar.open) return t('jobs.night.since', { from })
    return t('jobs.night.from_to', {
      from,
      to: format.timeOnce(bar.to),
      time: format.duration((bar.to - bar.from) / 1000),
    })
  }

  function waited(bar: Bar): string | null {
    if (bar.asked === null || bar.state === 'queued') return null
    return t('jobs.night.waited', { time: format.duration((bar.from - bar.asked) / 1000) })
  }

  const name = (bar: Bar): string => [kind(bar), safeName(bar.title)].filter(Boolean).join(' · ')
  const collides = (bar: Bar): string | null =>
    bar.collides.length
      ? t('jobs.night.collides', { names: format.listed(bar.collides.map(safeName)) })
      : null

  return {
    name,
    status,
    times,
    waited,
    collides,
    /** What stands in the bar itself, as far as there is room. */
    short: (bar: Bar): string =>
      bar.type === 'backup_create' && bar.title ? safeName(bar.title) : kind(bar),
    whole: (bar: Bar): string =>
      [
        name(bar),
        t(status(bar).key),
        times(bar),
        waited(bar),
        collides(bar),
        bar.server && t('jobs.night.on', { server: safeName(bar.server) }),
      ]
        .filter(Boolean)
        .join(', '),
  }
}

/** What holds runs or alerts back, in words. */
export function useHeldWords() {
  const { t } = useI18n()
  const format = useFormat()
  const stamp = (at: number): string => format.dayTime(new Date(at).toISOString())
  function words({ kind, server, reason, from, to }: Hatch): string {
    const where = server ? safeName(server) : t('jobs.night.everywhere')
    const what = kind === 'pause' ? t('jobs.night.paused', { where }) : t('jobs.night.window', { where })
    const when =
      to === FOR_EVER
        ? t('jobs.night.held_since', { from: stamp(from) })
        : t('jobs.night.held_from_to', { from: stamp(from), to: stamp(to) })
    return [what, when, safeName(reason)].filter(Boolean).join(' · ')
  }
  return { words }
}
