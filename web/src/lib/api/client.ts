// The one door to the API: turns every failure into an ApiError, notes when nothing answers, when the session is over,
// and when a change waits for the password.
import createClient from 'openapi-fetch'
import { ref } from 'vue'
import { sessionOver } from '../session'
import { ApiError, readAsked, readProblem, unreachable } from './errors'
import { askForProof } from './proof'
import type { components, paths } from './schema'

export type Schema = components['schemas']

/** Since when no request reached the server; null while they do. */
export const offlineSince = ref<Date | null>(null)

const OVER = new Set(['unauthenticated', 'session_over'])

async function refusal(response: Response): Promise<string> {
  if (response.status !== 401) return ''
  return readProblem(
    response,
    await response
      .clone()
      .json()
      .catch(() => null),
  ).code
}

async function send(request: Request): Promise<Response> {
  const again = request.clone()
  const response = await globalThis.fetch(request)
  const code = await refusal(response)
  if (code === 'reauthenticate' && (await askForProof())) return globalThis.fetch(again)
  if (OVER.has(code)) sessionOver()
  return response
}

export const client = createClient<paths>({ baseUrl: '', fetch: send })

client.use({
  onResponse() {
    offlineSince.value = null
  },
  onError() {
    offlineSince.value ??= new Date()
    return new ApiError(unreachable)
  },
})

interface Answer<T> {
  data?: T
  error?: unknown
  response: Response
}

/** Returns what the API answered, or throws an ApiError. It throws too where another person has to agree first:
 * nothing was done then, and nobody may take it for done. */
export async function answered<T>(asked: Promise<Answer<T>>): Promise<T> {
  const { data, error, response } = await asked
  if (!response.ok) throw new ApiError(readProblem(response, error))
  const waits = readAsked(response, data)
  if (waits) throw new ApiError(waits)
  return data as T
}
