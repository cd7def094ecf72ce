// A channel as a form: what is typed, and what of it the API is told.
import { browserZone } from '@/lib/format'
import { type Status, statusOf } from '@/lib/status'
import { listed } from '@/lib/words'
import type { Channel, ChannelRules, Delivery, Kind } from './api'

export interface ChannelForm {
  name: string
  kind: 'webhook' | 'apprise'
  url: string
  enabled: boolean
  least_level: 'warning' | 'critical'
  recovered: boolean
  /** Minutes. */
  digest: string
  someKinds: boolean
  kinds: Kind[]
  someTags: boolean
  /** Separated by commas. */
  tags: string
  someHours: boolean
  zone: string
  days: number[]
  begins: string
  ends: string
}

export const DAYS = [1, 2, 3, 4, 5, 6, 7] as const
const WORKDAYS = 5
const MINUTE = 60

export function emptyForm(): ChannelForm {
  return {
    name: '',
    kind: 'webhook',
    url: '',
    enabled: true,
    least_level: 'warning',
    recovered: true,
    digest: '0',
    someKinds: false,
    kinds: [],
    someTags: false,
    tags: '',
    someHours: false,
    zone: browserZone(),
    days: DAYS.slice(0, WORKDAYS),
    begins: '08:00',
    ends: '18:00',
  }
}

export function formOf(channel: Channel): ChannelForm {
  const empty = emptyForm()
  const { hours } = channel
  return {
    ...empty,
    name: channel.name,
    kind: channel.kind === 'apprise' ? 'apprise' : 'webhook',
    enabled: channel.enabled,
    least_level: channel.least_level === 'critical' ? 'critical' : 'warning',
    recovered: channel.recovered,
    digest: String(Math.round(channel.digest_seconds / MINUTE)),
    someKinds: channel.kinds.length > 0,
    kinds: channel.kinds as Kind[],
    someTags: channel.tags.length > 0,
    tags: channel.tags.join(', '),
    someHours: hours !== null,
    zone: hours?.zone ?? empty.zone,
    days: hours?.days ?? empty.days,
    begins: (hours?.begins ?? empty.begins).slice(0, 5),
    ends: (hours?.ends ?? empty.ends).slice(0, 5),
  }
}

export function rulesOf(form: ChannelForm): ChannelRules {
  const { zone, days, begins, ends } = form
  return {
    enabled: form.enabled,
    least_level: form.least_level,
    recovered: form.recovered,
    digest_seconds: Number(form.digest) * MINUTE,
    kinds: form.someKinds ? form.kinds : [],
    tags: form.someTags ? listed(form.tags) : [],
    hours: form.someHours ? { zone: zone.trim(), days: [...days].sort(), begins, ends } : null,
    ...(form.url ? { url: form.url } : {}),
  }
}

/** One that waits after a try that failed is tried again by itself. */
export function statusOfDelivery(delivery: Delivery): Status {
  const again = delivery.state === 'waiting' && delivery.attempts > 0
  return statusOf('delivery', again ? 'retrying' : delivery.state)
}

/** A channel is as good as what it was to tell last. */
export function statusOfChannel(channel: Channel, last: Delivery | null | undefined): Status {
  if (!channel.enabled) return statusOf('channel', 'off')
  if (!last) return statusOf('channel', 'untried')
  if (last.state === 'sent') return statusOf('channel', 'working')
  return statusOf('channel', last.state === 'waiting' && last.attempts === 0 ? 'waiting' : 'failing')
}
