// Signing in and out, and who one is.
import { useQuery } from '@tanstack/vue-query'
import { answered, client, type Schema } from '@/lib/api/client'
import { ApiError } from '@/lib/api/errors'
import { me, signedOut, welcome } from '@/lib/session'

/** Whether somebody is signed in; the API is asked once, its cookie tells it. */
export async function isSignedIn(): Promise<boolean> {
  if (me.value) return true
  try {
    welcome(await answered(client.GET('/api/auth/me')))
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
  }
  return me.value !== null
}

export function useMethods() {
  return useQuery({
    queryKey: ['auth', 'methods'],
    queryFn: () => answered(client.GET('/api/auth/methods')),
    refetchInterval: false,
  })
}

/** What a person gives for the second factor. */
export type Proof = Pick<Schema['SecondFactorIn'], 'code' | 'recovery_code'>

/** Welcomes who is signed in; returns what the login goes on with where it waits for a second factor, else "". */
async function entered(asked: Promise<Schema['MeOut']>): Promise<string> {
  try {
    welcome(await asked)
    return ''
  } catch (error) {
    if (error instanceof ApiError && error.problem.flow) return error.problem.flow
    throw error
  }
}

export function signIn(body: Schema['LoginIn']): Promise<string> {
  return entered(answered(client.POST('/api/auth/login', { body })))
}

/** Finishes a login that waits for the second factor. */
export async function finish(flow: string, proof: Proof): Promise<void> {
  welcome(await answered(client.POST('/api/auth/second-factor', { body: { flow, ...proof } })))
}

/** Makes the first administrator, with the link that Borgfleet printed. */
export async function setUp(body: { link: string; name: string; password: string }): Promise<void> {
  welcome(await answered(client.POST('/api/auth/setup', { body: { ...body, display_name: '' } })))
}

/** Chooses a password with the link of an invitation or of a reset. */
export function accept(body: { link: string; password: string }): Promise<string> {
  return entered(answered(client.POST('/api/auth/accept', { body })))
}

export async function signOut(): Promise<void> {
  await answered(client.POST('/api/auth/logout'))
  signedOut()
}

export async function prove(password: string, proof: Proof): Promise<void> {
  welcome(await answered(client.POST('/api/auth/step-up', { body: { password, ...proof } })))
}
