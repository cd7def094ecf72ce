// What went wrong, as one kind of error: an answer of the API (problem+json), or no answer at all.

export interface FieldError {
  field: string
  code: string
  params: Record<string, unknown>
  message: string
}

/** What waits for a second person, and a new secret that is shown this once. */
export interface Asked {
  id: string
  secret: string
}

export interface Problem {
  status: number
  code: string
  /** The name of this very sentence in the catalogue of messages; empty if it has none. */
  key: string
  params: Record<string, unknown>
  requestId: string
  detail: string
  remedy: string
  errors: FieldError[]
  retryAfter: number | null
  /** What a login goes on with that waits for the second factor; empty otherwise. */
  flow: string
  /** It was no failure: what was asked for waits for another person. */
  asked: Asked | null
}

export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail)
    this.name = 'ApiError'
  }
}

const record = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
const text = (value: unknown): string => (typeof value === 'string' ? value : '')

function fieldErrors(value: unknown): FieldError[] {
  if (!Array.isArray(value)) return []
  // The API names a field as `body.host`; a form knows it as `host`.
  return value.map((one) => ({
    field: text(one?.field).replace(/^(body|query|path)\./, ''),
    code: text(one?.code),
    params: record(one?.params),
    message: text(one?.message),
  }))
}

/** Reads an answer that is no success; a proxy's page of HTML becomes `bad_answer`. */
export function readProblem(response: Response, body: unknown): Problem {
  const known = record(body)
  const wait = Number(response.headers.get('Retry-After'))
  return {
    status: response.status,
    code: text(known['code']) || 'bad_answer',
    key: text(known['key']),
    params: record(known['params']),
    requestId: text(known['request_id']),
    detail: text(known['detail']),
    remedy: text(known['remedy']),
    errors: fieldErrors(known['errors']),
    retryAfter: wait > 0 ? wait : null,
    flow: text(known['flow']),
    asked: null,
  }
}

export const unreachable: Problem = {
  status: 0,
  code: 'no_connection',
  key: '',
  params: {},
  requestId: '',
  detail: '',
  remedy: '',
  errors: [],
  retryAfter: null,
  flow: '',
  asked: null,
}

/** The code of an answer that is ours: nothing was done yet, another person has to agree. */
export const APPROVAL_ASKED = 'approval_asked'
const APPROVALS = '/api/approvals/'

/** Reads an answer that is a success, and yet not what was asked for; null: it is what was asked for. */
export function readAsked(response: Response, body: unknown): Problem | null {
  const location = response.headers.get('Location') ?? ''
  if (response.status !== 202 || !location.startsWith(APPROVALS)) return null
  const known = record(body)
  const id = text(known['id']) || location.slice(APPROVALS.length)
  return { ...unreachable, status: 202, code: APPROVAL_ASKED, asked: { id, secret: text(known['secret']) } }
}

export function problemOf(error: unknown): Problem {
  if (error instanceof ApiError) return error.problem
  return {
    ...unreachable,
    code: 'unexpected',
    detail: error instanceof Error ? error.message : String(error),
  }
}
