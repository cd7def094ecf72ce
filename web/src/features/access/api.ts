// Users, their roles, API tokens and approvals: what is asked of the API and what is told to it.
import { type QueryKey, useMutation, useQuery, useQueryClient } from '@tanstack/vue-query'
import { computed, type Ref } from 'vue'
import { answered, client, type Schema } from '@/lib/api/client'
import { onlyIf } from '@/lib/api/versions'
import { everyPage, usePages } from '@/lib/live/pages'
import { may, me, type Permission, welcome } from '@/lib/session'

export type User = Schema['UserOut']
export type UserIn = Schema['UserIn']
export type UserMade = Schema['UserMade']
export type Grant = Schema['GrantIn']
export type Link = Schema['LinkOut']
export type Token = Schema['TokenOut']
export type TokenIn = Schema['TokenIn']
export type Approval = Schema['ApprovalOut']
export type TokenMade = Schema['TokenMade']
/** As many as a page of the API can hold: for what is chosen from a list. */
const MOST = { limit: 500 }

const user = (id: string) => ({ params: { path: { user_id: id } } })
const token = (id: string) => ({ params: { path: { token_id: id } } })

export function useUsers() {
  return usePages<User>(['users', 'list'], (after) =>
    answered(client.GET('/api/users', { params: { query: after } })),
  )
}

export function useUser(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['users', 'one', id.value]),
    queryFn: () => answered(client.GET('/api/users/{user_id}', user(id.value))),
  })
}

export function useTokens() {
  return usePages<Token>(['tokens'], (after) =>
    answered(client.GET('/api/tokens', { params: { query: after } })),
  )
}

/** A choice of names, for those who may see what they are of; nobody else asks. */
function useNames(key: string, needs: Permission, ask: () => Promise<{ items: { name: string }[] }>) {
  const { data } = useQuery({
    queryKey: [key, 'names'],
    queryFn: async () => (await ask()).items.map((one) => one.name),
    enabled: may(needs),
    refetchInterval: false,
  })
  return computed(() => data.value ?? [])
}

export const useTagNames = () =>
  useNames('tags', 'tags:read', () => answered(client.GET('/api/tags', { params: { query: MOST } })))
export const useUserNames = () =>
  useNames('users', 'users:read', () => answered(client.GET('/api/users', { params: { query: MOST } })))

/** One change, after which these lists are asked for again. What it answers may be a secret: it is not kept. */
function useChange<Told, Answer>(tell: (told: Told) => Promise<Answer>, ...stale: QueryKey[]) {
  const queries = useQueryClient()
  const change = useMutation({
    mutationFn: tell,
    gcTime: 0,
    onSettled: () => Promise.all(stale.map((queryKey) => queries.invalidateQueries({ queryKey }))),
  })
  return change.mutateAsync
}

interface Granting {
  id: string
  version: number
  grants: Grant[]
}

/** Who changes his own roles may do other things from then on. */
async function grant({ id, version, grants }: Granting): Promise<void> {
  await answered(
    client.PUT('/api/users/{user_id}/grants', { ...user(id), ...onlyIf(version), body: { grants } }),
  )
  if (id === me.value?.id) welcome(await answered(client.GET('/api/auth/me')))
}

export function useUserActions() {
  const change = ({ id, version = 0, body }: { id: string; version?: number; body: Schema['UserChange'] }) =>
    answered(client.PATCH('/api/users/{user_id}', { ...user(id), ...onlyIf(version), body }))
  return {
    make: useChange((body: UserIn) => answered(client.POST('/api/users', { body })), ['users']),
    change: useChange(change, ['users']),
    grant: useChange(grant, ['users']),
    invite: useChange(
      (id: string) => answered(client.POST('/api/users/{user_id}/invite', user(id))),
      ['users'],
    ),
    end: useChange((id: string) => answered(client.POST('/api/users/{user_id}/end-sessions', user(id)))),
    reset: useChange(
      (id: string) => answered(client.POST('/api/users/{user_id}/reset-factors', user(id))),
      ['users'],
    ),
    // The user's own page is not asked for again: there is none any more.
    remove: useChange(
      (id: string) => answered(client.DELETE('/api/users/{user_id}', user(id))),
      ['users', 'list'],
      ['users', 'names'],
      ['tokens'],
    ),
  }
}

export function useTokenActions() {
  const rename = ({ id, name }: { id: string; name: string }) =>
    answered(client.PATCH('/api/tokens/{token_id}', { ...token(id), body: { name } }))
  return {
    make: useChange((body: TokenIn) => answered(client.POST('/api/tokens', { body })), ['tokens']),
    rename: useChange(rename, ['tokens']),
    revoke: useChange(
      (id: string) => answered(client.DELETE('/api/tokens/{token_id}', token(id))),
      ['tokens'],
    ),
  }
}

const approval = (id: string) => ({ params: { path: { approval_id: id } } })

/** The states of an approval, as the API has them. */
export const STATES = [
  'asked',
  'approved',
  'rejected',
  'withdrawn',
  'expired',
  'done',
  'stale',
  'failed',
] as const
export type State = (typeof STATES)[number]
export const OPEN: readonly State[] = ['asked', 'approved']
/** Every state: what the API lists when it is asked for none. */
export const ANY = ''
type Listed = State | typeof ANY

/** Those of some states. The API has a list for each: where each of them goes on stands in one mark for all. */
export function useApprovals(states: Ref<readonly Listed[]>) {
  const query = usePages<Approval>(
    () => ['approvals', 'list', ...states.value],
    async ({ after }) => {
      const from: Partial<Record<Listed, string>> | null = after ? JSON.parse(after) : null
      const next: Partial<Record<Listed, string>> = {}
      const pages = await Promise.all(
        states.value
          .filter((state) => !from || from[state])
          .map(async (state) => {
            const at = from?.[state]
            const query = { ...(state ? { state } : {}), ...(at ? { after: at } : {}) }
            const page = await answered(client.GET('/api/approvals', { params: { query } }))
            if (page.next) next[state] = page.next
            return page.items
          }),
      )
      return { items: pages.flat(), next: Object.keys(next).length > 0 ? JSON.stringify(next) : null }
    },
  )
  // One that is decided between two of these requests is in both answers.
  const items = computed(() =>
    [...new Map(query.items.value.map((one) => [one.id, one])).values()].sort((a, b) =>
      b.requested_at.localeCompare(a.requested_at),
    ),
  )
  return { ...query, items }
}

export function useApproval(id: Ref<string>) {
  return useQuery({
    queryKey: computed(() => ['approvals', 'one', id.value]),
    queryFn: () => answered(client.GET('/api/approvals/{approval_id}', approval(id.value))),
  })
}

export function useApprovalActions() {
  const decision = (id: string, note: string) => ({ ...approval(id), body: { note } })
  type Deciding = { id: string; note: string }
  return {
    agree: useChange(
      ({ id, note }: Deciding) =>
        answered(client.POST('/api/approvals/{approval_id}/approve', decision(id, note))),
      ['approvals'],
    ),
    refuse: useChange(
      ({ id, note }: Deciding) =>
        answered(client.POST('/api/approvals/{approval_id}/reject', decision(id, note))),
      ['approvals'],
    ),
    withdraw: useChange(
      ({ id }: Deciding) => answered(client.POST('/api/approvals/{approval_id}/withdraw', approval(id))),
      ['approvals'],
    ),
  }
}

/** How long after the second person's word it is done, in seconds; null for who may not see the settings. */
export function useCooling() {
  const { data } = useQuery({
    queryKey: ['four-eyes'],
    queryFn: () => answered(client.GET('/api/settings/four-eyes')),
    enabled: may('settings:read'),
    refetchInterval: false,
  })
  return computed(() => data.value?.cooling_seconds ?? null)
}

/** The names of servers by their ids. */
export function useServerNames() {
  const { data } = useQuery({
    queryKey: ['names', 'access', 'servers'],
    queryFn: async () => {
      const all = await everyPage((query) => answered(client.GET('/api/servers', { params: { query } })))
      return Object.fromEntries(all.map((one) => [one.id, one.name]))
    },
    enabled: may('servers:read'),
    refetchInterval: false,
  })
  return computed(() => data.value ?? {})
}
