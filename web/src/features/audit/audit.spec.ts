import { readFileSync } from 'node:fs'
import { flushPromises } from '@vue/test-utils'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { messages } from '@/lib/i18n/en'
import { me } from '@/lib/session'
import { answering, button, page, put } from '../../../tests/mounting'
import { ada } from '../../../tests/setup'
import AuditView from './AuditView.vue'
import { ACTIONS } from './actions'
import type { Entry, Verified } from './api'
import EntryView from './EntryView.vue'
import { differences, pageOf } from './entry'
import { toLocal, toMoment } from './filter'

const WAIT = { timeout: 120_000 }
const entry = (more: Partial<Entry> = {}): Entry => ({
  id: 'e1',
  at: '2026-11-24T00:00:00Z',
  actor_kind: 'user',
  actor_id: 'u1',
  actor_name: 'ada',
  token_id: null,
  address: '192.0.2.7',
  request_id: 'r1',
  action: 'change_server',
  noun: 'servers',
  target_id: 's1',
  target_name: 'web1',
  server_id: 's1',
  before: null,
  after: null,
  outcome: 'done',
  code: '',
  seal: 7,
  ...more,
})
const part = (more: Partial<Verified> = {}): Verified => ({
  seals: 2,
  rows: 5,
  next: null,
  broken: null,
  ...more,
})

afterEach(() => vi.unstubAllGlobals())

describe('the operations', () => {
  it('have words, each that the API has and each of the machine’s own', () => {
    const api = JSON.parse(readFileSync('../docs/openapi.json', 'utf8'))
    const all = Object.values<Record<string, { operationId?: string }>>(api.paths).flatMap((path) =>
      ['post', 'put', 'patch', 'delete'].flatMap(
        (method) => path[method]?.operationId?.split('_api_')[0] ?? [],
      ),
    )
    const agreed = [
      'add_user',
      'change_four_eyes',
      'change_grants',
      'change_user',
      'link_user',
      'lower_job_retention',
      'lower_retention',
      'pass_deletion_limit',
      'retry_deletion',
    ]
    const own = ['recovery_kit', 'reset_factors', 'reset_password', 'setup_link']
    const wanted = [...all, ...own, ...agreed]
    expect(wanted.length).toBeGreaterThan(60)
    expect([...ACTIONS].sort()).toEqual([...new Set(wanted)].sort())
    expect(ACTIONS.filter((one) => !(one in messages.audit.action))).toEqual([])
  })

  it('lead to what they are about, if that is still there and has a page', () => {
    expect(pageOf(entry())).toBe('/servers/s1/summary')
    expect(pageOf(entry({ action: 'delete_server' }))).toBeNull()
    expect(pageOf(entry({ noun: 'limits' }))).toBeNull()
    expect(pageOf(entry({ target_id: '' }))).toBeNull()
  })
})

describe('what changed', () => {
  it('is told by row and field; what was not there before is nothing', () => {
    const found = differences(
      { 'users 1': { email: '' } },
      { 'users 1': { email: 'a@b\u202e', tags: ['x'] }, 'grants 2': { role: 'viewer' } },
    )
    expect(found).toEqual([
      {
        row: 'users 1',
        fields: [
          { field: 'email', before: '', after: 'a@b\\u{202e}' },
          { field: 'tags', before: null, after: '["x"]' },
        ],
      },
      { row: 'grants 2', fields: [{ field: 'role', before: null, after: 'viewer' }] },
    ])
    expect(differences(null, null)).toEqual([])
    expect(differences({ 'users 1': 'odd' }, null)).toEqual([{ row: 'users 1', fields: [] }])
  })
})

describe('a moment', () => {
  it('comes back from its field, and nonsense is none', () => {
    const local = toLocal('2026-11-24T12:30:00.000Z')
    expect(toMoment(local)).toBe('2026-11-24T12:30:00.000Z')
    expect(toLocal('x')).toBe('')
    expect(toMoment('')).toBe('')
  })
})

describe('the trail', () => {
  it('is loading, then says who did what, from where, and what was refused and why', async () => {
    answering({
      '/api/audit': page([
        entry(),
        entry({
          id: 'e2',
          action: 'log_in',
          actor_name: '',
          outcome: 'refused',
          code: 'wrong_credentials',
          target_name: '',
        }),
        entry({ id: 'e3', action: 'of_the_future' }),
      ]),
    })
    const view = put(AuditView)
    expect(view.findAll('[role=status]').some((one) => one.text().includes('Loading'))).toBe(true)
    await vi.waitFor(() => expect(view.text()).toContain('192.0.2.7'), WAIT)
    expect(view.find('li a').text()).toBe('Changed a server')
    expect(view.text()).toContain('somebody unknown')
    expect(view.text()).toContain('Refused')
    expect(view.text()).toContain('wrong_credentials')
    expect(view.text()).toContain('of_the_future')
  })

  it('is filtered by its address, and the fields say by what', async () => {
    const query = '?actor=ada&action=log_in&outcome=refused&since=2026-11-24T12:30:00.000Z&target_id=s1'
    const asked = answering({ '/api/audit': page([]) })
    const view = put(AuditView, {}, '', `/audit${query}`)
    await vi.waitFor(() => expect(view.text()).toContain('No entry matches'), WAIT)
    const told = new URL(asked[0]!.path, 'http://x').searchParams
    expect(Object.fromEntries(told)).toEqual({
      actor: 'ada',
      action: 'log_in',
      outcome: 'refused',
      since: '2026-11-24T12:30:00.000Z',
      target_id: 's1',
    })
    expect(view.get<HTMLSelectElement>('select').element.value).toBe('log_in')
    expect(view.text()).toContain('Only entries about one thing')
    await view.get('input').setValue(' eve ')
    await view.get('form').trigger('submit')
    await vi.waitFor(() => expect(view.vm.$router.currentRoute.value.query['actor']).toBe('eve'), WAIT)
    expect(view.vm.$router.currentRoute.value.query['target_id']).toBe('s1')
    button('Clear filters').click()
    await vi.waitFor(() => expect(view.vm.$router.currentRoute.value.query).toEqual({}), WAIT)
  })

  it('goes on where its page ended', async () => {
    const asked = answering({ '/api/audit': { items: [entry()], next: 'k1' } })
    const view = put(AuditView)
    await vi.waitFor(() => expect(view.text()).toContain('Show more'), WAIT)
    button('Show more').click()
    await vi.waitFor(() => expect(asked.some((one) => one.path.includes('after=k1'))).toBe(true), WAIT)
  })

  it('with nothing in it says so, an error is not that, and who may not read it asks nothing', async () => {
    answering({ '/api/audit': page([]) })
    const empty = put(AuditView)
    await vi.waitFor(() => expect(empty.text()).toContain('Nothing was recorded yet'), WAIT)
    empty.unmount()
    answering({ '/api/audit': 403 })
    const refused = put(AuditView)
    await vi.waitFor(() => expect(refused.find('[role=alert]').exists()).toBe(true), WAIT)
    refused.unmount()
    me.value = ada(['servers:read'])
    const asked = answering({})
    const closed = put(AuditView)
    await flushPromises()
    expect(closed.text()).toContain('not for you to see')
    expect(closed.findAll('button')).toEqual([])
    expect(asked).toEqual([])
  })
})

describe('verifying', () => {
  function view(...parts: (Verified | number)[]) {
    const afters: string[] = []
    vi.stubGlobal('fetch', async (request: Request) => {
      const { pathname, searchParams } = new URL(request.url, 'http://test')
      const headers = { 'Content-Type': 'application/json' }
      if (pathname !== '/api/audit/verify') return new Response(JSON.stringify(page([])), { headers })
      afters.push(searchParams.get('after') ?? '')
      const found = parts.shift() ?? 500
      const status = typeof found === 'number' ? found : 200
      return new Response(JSON.stringify(found), { status, headers })
    })
    return { afters, shown: put(AuditView) }
  }

  it('goes through all parts, and says that all is as it was written', async () => {
    const { afters, shown } = view(part({ next: 2 }), part({ next: 4 }), part({ seals: 1, rows: 1 }))
    await vi.waitFor(() => expect(shown.text()).toContain('Verify'), WAIT)
    button('Verify').click()
    await vi.waitFor(() => expect(shown.text()).toContain('is as it was written'), WAIT)
    expect(shown.text()).toContain('11 entries under 5 seals')
    expect(afters).toEqual(['0', '2', '4'])
  })

  it.each([
    ['row_changed', 'An entry was changed'],
    ['rows_differ', 'added or taken away'],
    ['seal_changed', 'A seal was changed'],
    ['seal_missing', 'A seal was taken away'],
    ['key_missing', 'cannot be verified'],
    ['of_the_future', 'cannot name'],
  ])('stops at %s, and says what is wrong, never that all is well', async (what, text) => {
    const broken = { what, seal: 3, entry: what === 'row_changed' ? 'e9' : null } as Verified['broken']
    const { afters, shown } = view(part({ next: 2 }), part({ broken, next: 9 }))
    await vi.waitFor(() => expect(shown.text()).toContain('Verify'), WAIT)
    button('Verify').click()
    await vi.waitFor(() => expect(shown.find('[role=alert]').text()).toContain(text), WAIT)
    expect(shown.text()).toContain('At seal 3')
    expect(shown.text()).not.toContain('trail is as it was written')
    expect(shown.find('a[href="/audit/e9"]').exists()).toBe(what === 'row_changed')
    expect(afters).toEqual(['0', '2'])
  })

  it('that failed in the middle says nothing of the trail', async () => {
    const { shown } = view(part({ next: 2 }), 500)
    await vi.waitFor(() => expect(shown.text()).toContain('Verify'), WAIT)
    button('Verify').click()
    await vi.waitFor(() => expect(shown.find('[role=alert]').exists()).toBe(true), WAIT)
    expect(shown.text()).not.toContain('as it was written')
  })
})

describe('an entry', () => {
  it('says all that is known of it, with the fields before and after', async () => {
    const change = { before: { 'servers s1': { host: 'a' } }, after: { 'servers s1': { host: 'b' } } }
    answering({ '/api/audit/e1': entry({ ...change, outcome: 'refused', code: 'csrf' }) })
    const view = put(EntryView, {}, '', '/audit/e1')
    await vi.waitFor(() => expect(view.text()).toContain('Changed a server'), WAIT)
    expect(view.get('table').text()).toBe('FieldBeforeAfterhostab')
    expect(view.text()).toContain('page of another site')
    expect(view.find('a[href="/servers/s1/summary"]').exists()).toBe(true)
    expect(view.find('a[href="/audit?target_id=s1"]').exists()).toBe(true)
  })

  it('whose record cannot be read says so; one that is not there is an error', async () => {
    answering({ '/api/audit/e1': entry({ before: { unreadable: '{' }, seal: null, address: '' }) })
    const view = put(EntryView, {}, '', '/audit/e1')
    await vi.waitFor(() => expect(view.text()).toContain('cannot be read'), WAIT)
    expect(view.text()).toContain('not yet')
    view.unmount()
    answering({ '/api/audit/e1': 404 })
    const other = put(EntryView, {}, '', '/audit/e1')
    await vi.waitFor(() => expect(other.find('[role=alert]').exists()).toBe(true), WAIT)
  })
})
