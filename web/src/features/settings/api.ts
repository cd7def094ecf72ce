// Settings: what is asked of the API and what is told to it.
import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query'
import { computed, type MaybeRefOrGetter, toValue } from 'vue'
import { answered, client, type Schema } from '@/lib/api/client'
import { problemOf } from '@/lib/api/errors'
import { CHANGED, onlyIf } from '@/lib/api/versions'
import { usePages } from '@/lib/live/pages'

export type Limits = Schema['LimitsPut']
export type FourEyes = Schema['FourEyesOut']
export type Tag = Schema['TagOut']
export type Group = Schema['GroupOut']
export type Member = Schema['MemberOut']
export type Service = Schema['ServiceOut']
export type DeadLetter = Schema['DeadLetterOut']

/** Servers are had by a tag that they have, or by a group that they are of. */
export type Of = { tag: Tag } | { group: Group }

const ofTag = (id: string) => ({ path: { tag_id: id } })
const ofGroup = (id: string) => ({ params: { path: { group_id: id } } })
/** As many as the API gives at once. */
const MOST = 500

export function useLimits() {
  return useQuery({
    queryKey: ['limits'],
    queryFn: () => answered(client.GET('/api/limits')),
  })
}

export function useSetLimits() {
  const queries = useQueryClient()
  return useMutation({
    mutationFn: ({ version, ...body }: Limits & { version: number }) =>
      answered(client.PUT('/api/limits', { ...onlyIf(version), body })),
    onSuccess: (now) => queries.setQueryData(['limits'], now),
  })
}

export function useFourEyes(enabled: boolean) {
  return useQuery({
    queryKey: ['four-eyes'],
    queryFn: () => answered(client.GET('/api/settings/four-eyes')),
    enabled,
  })
}

export function useSetFourEyes() {
  const queries = useQueryClient()
  return useMutation({
    mutationFn: ({ version, ...body }: FourEyes) =>
      answered(client.PUT('/api/settings/four-eyes', { ...onlyIf(version), body })),
    onSuccess: (now) => queries.setQueryData(['four-eyes'], now),
  })
}

const asked = {
  servers: (query: { limit: number }) => answered(client.GET('/api/servers', { params: { query } })),
  pools: (query: { limit: number }) => answered(client.GET('/api/storage-pools', { params: { query } })),
}

/** Names to choose from; those beyond can be typed. */
export function useNames(of: keyof typeof asked, enabled: boolean) {
  return useQuery({
    queryKey: ['names', 'settings', of],
    queryFn: async () => (await asked[of]({ limit: MOST })).items.map((one) => one.name),
    enabled,
    refetchInterval: false,
  })
}

export function useTags() {
  return usePages<Tag>(['tags', 'list'], (after) =>
    answered(client.GET('/api/tags', { params: { query: after } })),
  )
}

export function useTagActions() {
  const queries = useQueryClient()
  const action = <T, R>(mutationFn: (given: T) => Promise<R>) =>
    useMutation({
      mutationFn,
      onSettled: () =>
        Promise.all(
          ['tags', 'groups', 'members', 'names'].map((key) => queries.invalidateQueries({ queryKey: [key] })),
        ),
    })
  return {
    add: action((body: Schema['TagIn']) => answered(client.POST('/api/tags', { body }))),
    change: action(({ id, version, body }: { id: string; version: number; body: Schema['TagPatch'] }) =>
      answered(client.PATCH('/api/tags/{tag_id}', { params: ofTag(id), ...onlyIf(version), body })),
    ),
    remove: action(({ id, fromServers }: { id: string; fromServers: boolean }) =>
      answered(
        client.DELETE('/api/tags/{tag_id}', {
          params: { ...ofTag(id), query: { from_servers: fromServers } },
        }),
      ),
    ),
  }
}

export function useGroups() {
  return usePages<Group>(['groups', 'list'], (after) =>
    answered(client.GET('/api/groups', { params: { query: after } })),
  )
}

export function useGroupActions() {
  const queries = useQueryClient()
  const action = <T, R>(mutationFn: (given: T) => Promise<R>) =>
    useMutation({
      mutationFn,
      onSettled: () =>
        Promise.all(
          ['groups', 'members', 'tags'].map((key) => queries.invalidateQueries({ queryKey: [key] })),
        ),
    })
  return {
    add: action((body: Schema['GroupIn']) => answered(client.POST('/api/groups', { body }))),
    change: action(({ id, version, body }: { id: string; version: number; body: Schema['GroupPatch'] }) =>
      answered(client.PATCH('/api/groups/{group_id}', { ...ofGroup(id), ...onlyIf(version), body })),
    ),
    remove: action((id: string) => answered(client.DELETE('/api/groups/{group_id}', ofGroup(id)))),
  }
}

export function useMembers(of: Of) {
  const id = 'tag' in of ? of.tag.id : of.group.id
  return usePages<Member>(['members', id], async (after) => {
    if ('group' in of) {
      const { params } = ofGroup(of.group.id)
      return answered(client.GET('/api/groups/{group_id}/servers', { params: { ...params, query: after } }))
    }
    return answered(client.GET('/api/servers', { params: { query: { tag: [of.tag.name], ...after } } }))
  })
}

/** The server of a name, from as many pages as it takes. */
async function serverNamed(name: string): Promise<string | null> {
  let after = ''
  do {
    const query = { limit: MOST, ...(after ? { after } : {}) }
    const page = await answered(client.GET('/api/servers', { params: { query } }))
    const found = page.items.find((one) => one.name === name)
    if (found) return found.id
    after = page.next ?? ''
  } while (after)
  return null
}

/** Gives servers a tag, and takes it from them; the rest of a server stays as it is. */
export function useTagging(tag: string) {
  const queries = useQueryClient()
  /** Where another changes the server between reading and writing it, it is read again. */
  const retag = async (id: string, change: (tags: string[]) => string[], tries = 3): Promise<void> => {
    const at = { params: { path: { server_id: id } } }
    const { host, port, username, tags, version } = await answered(client.GET('/api/servers/{server_id}', at))
    const body = { host, port, username, tags: change(tags) }
    try {
      await answered(client.PUT('/api/servers/{server_id}', { ...at, ...onlyIf(version), body }))
    } catch (error) {
      if (tries === 1 || problemOf(error).code !== CHANGED) throw error
      await retag(id, change, tries - 1)
    }
  }
  const onSettled = () =>
    Promise.all(['members', 'tags', 'servers'].map((key) => queries.invalidateQueries({ queryKey: [key] })))
  return {
    give: useMutation({
      mutationFn: async (name: string) => {
        const id = await serverNamed(name)
        if (id) await retag(id, (tags) => [...tags.filter((one) => one !== tag), tag])
        return id !== null
      },
      onSettled,
    }),
    take: useMutation({
      mutationFn: (id: string) => retag(id, (tags) => tags.filter((one) => one !== tag)),
      onSettled,
    }),
  }
}

export function useServices(enabled: MaybeRefOrGetter<boolean> = true) {
  return useQuery({
    queryKey: ['services'],
    queryFn: () => answered(client.GET('/api/services')),
    enabled: computed(() => toValue(enabled)),
  })
}

export function useDeadLetters() {
  return usePages<DeadLetter>(['dead-letters'], (after) =>
    answered(client.GET('/api/dead-letters', { params: { query: after } })),
  )
}
