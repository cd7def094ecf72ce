import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { me, wasEnded } from '../session'
import { answered, client, offlineSince } from './client'
import { APPROVAL_ASKED, ApiError, problemOf } from './errors'
import { answerProof, proofWanted } from './proof'

const asked = () => answered(client.GET('/api/servers'))
const change = () => answered(client.POST('/api/tags', { body: { name: 'eve' } as never }))
const failing = () =>
  asked().then(
    () => expect.fail('it was no failure'),
    (error: unknown) => problemOf(error),
  )
const answer = (body: string, status: number, headers: Record<string, string> = {}) =>
  vi.stubGlobal(
    'fetch',
    async () => new Response(body, { status, headers: { 'Content-Type': 'application/json', ...headers } }),
  )

beforeEach(() => {
  globalThis.location.href = 'http://localhost/'
})
afterEach(() => {
  vi.unstubAllGlobals()
  offlineSince.value = null
})

describe('the API client', () => {
  it('reads a problem with the fields it names', async () => {
    answer(
      '{"code": "invalid", "detail": "d", "remedy": "r", "errors": [{"field": "body.host", "message": "m"}]}',
      422,
    )
    expect(await failing()).toMatchObject({
      status: 422,
      code: 'invalid',
      errors: [{ field: 'host', message: 'm' }],
    })
  })

  it.each(['unauthenticated', 'session_over'])('knows by %s that the session is over', async (code) => {
    answer(JSON.stringify({ code }), 401)
    await Promise.all([failing(), failing()])
    expect(me.value).toBeNull()
    expect(wasEnded.value).toBe(true)
  })

  it.each([
    ['wrong_credentials', 401],
    ['forbidden', 403],
  ])('%s ends no session', async (code, status) => {
    answer(JSON.stringify({ code }), status)
    await failing()
    expect(me.value).not.toBeNull()
  })

  it('asks for the password where a change wants it, once for all that wait, and then sends them again', async () => {
    const sent: string[] = []
    vi.stubGlobal('fetch', async (request: Request) => {
      sent.push(await request.text())
      const [body, status] = sent.length <= 2 ? ['{"code": "reauthenticate"}', 401] : ['{}', 200]
      return new Response(body as string, {
        status: status as number,
        headers: { 'Content-Type': 'application/json' },
      })
    })
    const both = [change(), change()]
    await vi.waitFor(() => expect(proofWanted.value).toBe(true))
    await vi.waitFor(() => expect(sent.length).toBe(2))
    answerProof(true)
    await Promise.all(both)
    expect(sent).toEqual(Array(4).fill('{"name":"eve"}'))
    expect(proofWanted.value).toBe(false)
  })

  it('says what was refused when nobody gives the password', async () => {
    answer('{"code": "reauthenticate"}', 401)
    const waiting = change().catch((error: unknown) => problemOf(error))
    await vi.waitFor(() => expect(proofWanted.value).toBe(true))
    answerProof(false)
    expect(await waiting).toMatchObject({ code: 'reauthenticate' })
    expect(me.value).not.toBeNull()
  })

  it.each([
    ['{"id": "a1", "secret": "bf_s3cret"}', { id: 'a1', secret: 'bf_s3cret' }],
    ['{"id": "a1", "secret": null}', { id: 'a1', secret: '' }],
    ['{}', { id: 'a1', secret: '' }],
  ])('takes what waits for another person for no success: %s', async (body, waiting) => {
    answer(body, 202, { Location: '/api/approvals/a1' })
    expect(await failing()).toMatchObject({ status: 202, code: APPROVAL_ASKED, asked: waiting })
  })

  it.each([
    [202, '/api/jobs/j1'],
    [202, ''],
    [202, 'https://elsewhere/api/approvals/a1'],
    [200, '/api/approvals/a1'],
  ])('takes %i with the place %j for the success that it is', async (status, place) => {
    answer('{"id": "j1"}', status, place ? { Location: place } : {})
    expect(await asked()).toEqual({ id: 'j1' })
  })

  it('says what a proxy’s page of HTML is: no answer of Borgfleet', async () => {
    answer('<html>Bad gateway</html>', 502, { 'Content-Type': 'text/html', 'Retry-After': '7' })
    expect(await failing()).toMatchObject({ status: 502, code: 'bad_answer', retryAfter: 7 })
  })

  it('notes since when nothing answers, and that it answers again', async () => {
    vi.stubGlobal('fetch', async () => {
      throw new TypeError('Failed to fetch')
    })
    expect(await failing()).toMatchObject({ code: 'no_connection' })
    const since = offlineSince.value
    await failing()
    expect(offlineSince.value).toBe(since)
    answer('{"items": []}', 200)
    await asked()
    expect(offlineSince.value).toBeNull()
  })

  it('keeps its head with an error of the page itself', () => {
    expect(problemOf(new Error('x'))).toMatchObject({ code: 'unexpected', detail: 'x' })
    expect(problemOf('x')).toMatchObject({ code: 'unexpected', detail: 'x' })
    expect(new ApiError(problemOf('x')).name).toBe('ApiError')
  })
})
