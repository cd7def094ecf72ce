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

/** Asks anew who one is: the second factor is part of it. */
async function refresh(): Promise<void> {
  welcome(await answered(client.GET('/api/auth/me')))
}

export const beginFactor = () => answered(client.POST('/api/auth/totp'))

/** Confirms an app by its first code; returns the recovery codes. */
export async function confirmFactor(code: string): Promise<string[]> {
  const { recovery_codes } = await answered(client.POST('/api/auth/totp/confirm', { body: { code } }))
  await refresh()
  return recovery_codes
}

export async function renewCodes(): Promise<string[]> {
  const { recovery_codes } = await answered(client.POST('/api/auth/recovery-codes'))
  await refresh()
  return recovery_codes
}

export async function removeFactor(): Promise<void> {
  await answered(client.DELETE('/api/auth/totp'))
  await refresh()
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
