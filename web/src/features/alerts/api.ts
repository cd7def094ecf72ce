// Alerts: what is asked of the API and what is told to it.
import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query'
import { computed, type Ref } from 'vue'
import { answered, client, type Schema } from '@/lib/api/client'
import { onlyIf } from '@/lib/api/versions'
import { usePages } from '@/lib/live/pages'
import { POLL, POLL_RUNNING } from '@/lib/live/polling'

export type Alert = Schema['AlertOut']
export type AlertDetail = Schema['AlertDetail']
export type Which = 'open' | 'resolved'

const path = (id: string) => ({ params: { path: { alert_id: id } } })

export function useAlerts(which: Ref<Which>) {
  return usePages<Alert>(
    computed(() => ['alerts', 'list', which.value]),
    (after) => answered(client.GET('/api/alerts', { params: { query: { state: which.value, ...after } } })),
  )
}

export function useAlert(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['alerts', 'one', id.value]),
    queryFn: () => answered(client.GET('/api/alerts/{alert_id}', path(id.value))),
  })
}

export function useAcknowledge() {
  const queries = useQueryClient()
  return useMutation({
    mutationFn: ({ id, note }: { id: string; note: string }) =>
      answered(client.POST('/api/alerts/{alert_id}/acknowledge', { ...path(id), body: { note } })),
    onSettled: () => queries.invalidateQueries({ queryKey: ['alerts'] }),
  })
}

export type Channel = Schema['ChannelOut']
export type ChannelMade = Schema['ChannelMade']
export type ChannelRules = Schema['ChannelChange']
export type Delivery = Schema['NotificationOut']
export type Kind = Schema['AlertKind']
export type Threshold = Schema['ThresholdOut']
export type ThresholdValues = Schema['ThresholdIn']
export type MaintenanceWindow = Schema['WindowOut']

/** For whom something holds: neither is the whole fleet. */
export interface Scope {
  server?: string
  tag?: string
}

const ofChannel = (id: string) => ({ params: { path: { channel_id: id } } })
/** So many of the newest are looked at for the last one that was really to be told. */
const LATEST = 5
/** As many as the API gives at once. */
const MOST = 500

export function useChannels() {
  return usePages<Channel>(['channels', 'list'], (after) =>
    answered(client.GET('/api/notification-channels', { params: { query: after } })),
  )
}

export function useChannel(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['channels', 'one', id.value]),
    queryFn: () => answered(client.GET('/api/notification-channels/{channel_id}', ofChannel(id.value))),
  })
}

/** What was told through a channel last; a test that is on its way is followed closely. */
export function useLastDelivery(channelId: string) {
  return useQuery({
    queryKey: ['deliveries', 'last', channelId],
    queryFn: async () => {
      const query = { channel_id: channelId, limit: LATEST }
      const { items } = await answered(client.GET('/api/notifications', { params: { query } }))
      return items.find((one) => one.state !== 'needless') ?? null
    },
    refetchInterval: ({ state: { data } }) =>
      data?.what === 'test' && data.state === 'waiting' && data.attempts === 0 ? POLL_RUNNING : POLL,
  })
}

export function useDeliveries() {
  return usePages<Delivery>(['deliveries', 'list'], (after) =>
    answered(client.GET('/api/notifications', { params: { query: after } })),
  )
}

export function useChannelActions() {
  const queries = useQueryClient()
  const action = <T, R>(mutationFn: (given: T) => Promise<R>) =>
    useMutation({
      mutationFn,
      onSettled: () =>
        Promise.all([
          queries.invalidateQueries({ queryKey: ['channels'] }),
          queries.invalidateQueries({ queryKey: ['deliveries'] }),
        ]),
    })
  return {
    add: action((body: Schema['ChannelIn']) => answered(client.POST('/api/notification-channels', { body }))),
    change: action(({ id, version, body }: { id: string; version: number; body: ChannelRules }) =>
      answered(
        client.PUT('/api/notification-channels/{channel_id}', { ...ofChannel(id), ...onlyIf(version), body }),
      ),
    ),
    remove: action((id: string) =>
      answered(client.DELETE('/api/notification-channels/{channel_id}', ofChannel(id))),
    ),
    test: action((id: string) =>
      answered(client.POST('/api/notification-channels/{channel_id}/test', ofChannel(id))),
    ),
    retry: action((id: string) =>
      answered(
        client.POST('/api/notifications/{notification_id}/retry', {
          params: { path: { notification_id: id } },
        }),
      ),
    ),
  }
}

export function useThresholds(scope: Ref<Scope>, ready: Ref<boolean>) {
  return useQuery({
    queryKey: computed(() => ['thresholds', scope.value]),
    queryFn: () => answered(client.GET('/api/thresholds', { params: { query: scope.value } })),
    enabled: ready,
  })
}

interface RuleChange {
  kind: Kind
  scope: Scope
  version: number
  body: ThresholdValues
}

export function useThresholdActions() {
  const queries = useQueryClient()
  const at = (kind: Kind, query: Scope) => ({ params: { path: { kind }, query } })
  const onSettled = () => queries.invalidateQueries({ queryKey: ['thresholds'] })
  return {
    set: useMutation({
      mutationFn: ({ kind, scope, version, body }: RuleChange) =>
        answered(client.PUT('/api/thresholds/{kind}', { ...at(kind, scope), ...onlyIf(version), body })),
      onSettled,
    }),
    reset: useMutation({
      mutationFn: ({ kind, scope }: { kind: Kind; scope: Scope }) =>
        answered(client.DELETE('/api/thresholds/{kind}', at(kind, scope))),
      onSettled,
    }),
  }
}

export function useWindows() {
  return useQuery({
    queryKey: ['windows'],
    queryFn: () => answered(client.GET('/api/maintenance-windows')),
  })
}

export function useWindowActions() {
  const queries = useQueryClient()
  const onSettled = () => queries.invalidateQueries({ queryKey: ['windows'] })
  return {
    add: useMutation({
      mutationFn: (body: Schema['WindowIn']) => answered(client.POST('/api/maintenance-windows', { body })),
      onSettled,
    }),
    remove: useMutation({
      mutationFn: (id: string) =>
        answered(
          client.DELETE('/api/maintenance-windows/{window_id}', { params: { path: { window_id: id } } }),
        ),
      onSettled,
    }),
  }
}

/** The names that a scope can be chosen from; those beyond can be typed. */
export function useNames(of: Ref<'tag' | 'server' | 'fleet'>) {
  const query = { limit: MOST }
  return useQuery({
    queryKey: computed(() => ['names', of.value]),
    queryFn: async () => {
      const { items } =
        of.value === 'tag'
          ? await answered(client.GET('/api/tags', { params: { query } }))
          : await answered(client.GET('/api/servers', { params: { query } }))
      return items.map((one) => one.name)
    },
    enabled: computed(() => of.value !== 'fleet'),
    refetchInterval: false,
  })
}
