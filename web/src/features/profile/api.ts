// One's own password and sessions.
import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query'
import { answered, client, type Schema } from '@/lib/api/client'
import { welcome } from '@/lib/session'

export type Session = Schema['SessionOut']
const KEY = ['sessions']

export function useSessions() {
  return useQuery({ queryKey: KEY, queryFn: () => answered(client.GET('/api/auth/sessions')) })
}

export function useEndSession() {
  const queries = useQueryClient()
  return useMutation({
    mutationFn: (session_id: string) =>
      answered(client.DELETE('/api/auth/sessions/{session_id}', { params: { path: { session_id } } })),
    onSettled: () => queries.invalidateQueries({ queryKey: KEY }),
  })
}

export function usePasswordChange() {
  const queries = useQueryClient()
  return useMutation({
    mutationFn: async (body: Schema['PasswordIn']) =>
      welcome(await answered(client.PUT('/api/auth/password', { body }))),
    gcTime: 0,
    onSettled: () => queries.invalidateQueries({ queryKey: KEY }),
  })
}
