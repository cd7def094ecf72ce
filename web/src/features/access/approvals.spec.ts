import { flushPromises } from '@vue/test-utils'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { speak } from '@/lib/i18n'
import { me } from '@/lib/session'
import { answering, button, page, put, waits } from '../../../tests/mounting'
import { PERMISSIONS } from '../../../tests/permissions'
import { ada } from '../../../tests/setup'
import ApprovalsView from './ApprovalsView.vue'
import type { Approval } from './api'
import { deedsOf, fieldsOf, pageOf } from './approval'
import TokensView from './TokensView.vue'
import UserView from './UserView.vue'

const WAIT = { timeout: 120_000 }
const approval = (more: Partial<Approval> = {}): Approval => ({
  id: 'a1',
  kind: 'delete_backup',
  fields: {},
  noun: 'backups',
  target_id: 'b1',
  target_name: 'web1-system-1',
  target_version: null,
  server_id: 's1',
  reason: '',
  requested_by: 'eve',
  requested_by_id: 'u2',
  requested_at: '2026-11-24T10:00:00Z',
  state: 'asked',
  decided_by: '',
  decided_at: null,
  note: '',
  run_at: '2026-12-01T10:00:00Z',
  done_at: null,
  code: '',
  message: null,
  ...more,
})
const AGREED = { decided_by: 'bob', decided_at: '2026-11-24T11:00:00Z' }
const REST = {
  '/api/servers': page([{ id: 's1', name: 'web1' }]),
  '/api/settings/four-eyes': { enabled: true, cooling_seconds: 7200, expiry_seconds: 86_400, version: 1 },
}
const LIST = '/api/approvals'
const dialog = () => document.querySelector<HTMLElement>('[role=dialog]')!
const sent = (asked: ReturnType<typeof answering>) => asked.filter((one) => one.method !== 'GET')
const lists = (asked: ReturnType<typeof answering>) =>
  asked.map((one) => one.path).filter((path) => path.startsWith(LIST))

/** Answers the lists of the API by state, as it does. */
function holding(items: Approval[], more: Record<string, unknown> = {}) {
  const asked: { method: string; path: string; body: string }[] = []
  vi.stubGlobal('fetch', async (request: Request) => {
    const { pathname, search, searchParams } = new URL(request.url, 'http://test')
    asked.push({ method: request.method, path: pathname + search, body: await request.text() })
    const state = searchParams.get('state')
    const answers: Record<string, unknown> = {
      ...REST,
      [LIST]: page(items.filter((one) => !state || one.state === state)),
      ...more,
    }
    const found = answers[pathname]
    return found instanceof Response ? found.clone() : Response.json(found)
  })
  return asked
}
const view = (path = '/access/approvals') => put(ApprovalsView, {}, '', path)
async function type(label: string, text: string): Promise<void> {
  const found = [...dialog().querySelectorAll('label')].find((one) => one.textContent?.trim() === label)!
  const input = document.getElementById(found.htmlFor) as HTMLInputElement
  input.value = text
  input.dispatchEvent(new Event('input'))
  await nextTick()
}

afterEach(() => vi.unstubAllGlobals())

describe('the approvals', () => {
  it('are loading, then those that are open, newest first', async () => {
    const asked = holding([
      approval({ requested_at: '2026-11-23T10:00:00Z', target_name: 'older', reason: 'disk is full' }),
      approval({ id: 'a2', state: 'approved', target_name: 'newer', ...AGREED, note: 'by phone' }),
      approval({ id: 'a3', state: 'done', target_name: 'over' }),
    ])
    const part = view()
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('older'), WAIT)
    await vi.waitFor(() => expect(part.text()).toContain('web1'), WAIT)
    expect(part.findAll('li h2').map((one) => one.text())).toEqual([
      'Delete a backup · newer',
      'Delete a backup · older',
    ])
    expect(lists(asked).sort()).toEqual([`${LIST}?state=approved`, `${LIST}?state=asked`])
    expect(part.text()).toContain('Asked for by eve')
    expect(part.text()).toContain('“disk is full”')
    expect(part.text()).toContain('Waits for a person')
    expect(part.text()).toContain('Will be done at')
    expect(part.text()).toContain('Agreed to by bob')
    expect(part.text()).toContain('“by phone”')
    const named = part.findAll('li button').map((one) => one.attributes('aria-label'))
    expect(named).toContain('Agree: Delete a backup: older')
    expect(part.find('a[href="/backups/b1"]').exists()).toBe(true)
    expect(part.find('a[href="/servers/s1/summary"]').text()).toBe('web1')
  })

  it('one that is decided between two questions is one', async () => {
    holding([approval({ target_name: 'twice' }), approval({ state: 'approved', target_name: 'twice' })])
    const part = view()
    await vi.waitFor(() => expect(part.text()).toContain('twice'), WAIT)
    expect(part.findAll('li').length).toBe(1)
    expect(part.text()).toContain('Agreed to')
  })

  it('go on in each of both lists, and only there where there is more', async () => {
    const asked: string[] = []
    vi.stubGlobal('fetch', async (request: Request) => {
      const { pathname, search, searchParams } = new URL(request.url, 'http://test')
      if (pathname !== LIST) return Response.json(REST[pathname as keyof typeof REST])
      asked.push(search)
      const [state, after] = [searchParams.get('state') ?? '', searchParams.get('after')]
      const id = `${state}${after ?? ''}`
      const next = state === 'asked' && !after ? 'm2' : null
      return Response.json({ items: [approval({ id, state, target_name: id })], next })
    })
    const part = view()
    await vi.waitFor(() => expect(part.text()).toContain('Show more'), WAIT)
    button('Show more').click()
    await vi.waitFor(() => expect(part.text()).toContain('askedm2'), WAIT)
    expect(part.findAll('li').length).toBe(3)
    expect(asked.slice(2)).toEqual(['?state=asked&after=m2'])
    expect(part.text()).not.toContain('Show more')
  })

  it.each([
    ['all', ''],
    ['failed', '?state=failed'],
  ])('of the filter %s are asked for as the API has them', async (state, query) => {
    const key = 'approval_asker_gone'
    const message = { code: key, key, params: { name: 'eve' }, text: '', remedy: '' }
    const asked = holding([
      approval({
        state: 'failed',
        code: 'approval_asker_gone',
        message,
        done_at: '2026-11-24T12:00:00Z',
        ...AGREED,
      }),
    ])
    const part = view(`/access/approvals?state=${state}`)
    await vi.waitFor(() => expect(part.text()).toContain('eve, who asked for this'), WAIT)
    expect(part.text()).toContain('Failed')
    expect(lists(asked)).toEqual([LIST + query])
    expect(part.findAll('li button')).toEqual([])
  })

  it('without any say what stands here; of another filter, that there may be others', async () => {
    holding([])
    const part = view()
    await vi.waitFor(() => expect(part.text()).toContain('Nothing waits for a second person'), WAIT)
    part.unmount()
    const other = view('/access/approvals?state=expired')
    await vi.waitFor(() => expect(other.text()).toContain('Show the open ones'), WAIT)
    expect(other.text()).not.toContain('Nothing waits')
  })

  it('that cannot be had are an error, and not an empty list', async () => {
    answering({ [LIST]: 403 })
    const part = view()
    await vi.waitFor(() => expect(part.find('[role=alert]').exists()).toBe(true), WAIT)
    expect(part.text()).not.toContain('Nothing waits')
  })

  it('are for everybody with an account, who sees at least his own; nothing else is asked for', async () => {
    me.value = ada([])
    const asked = holding([approval({ requested_by: 'ada', requested_by_id: 'u1' })])
    const part = view()
    await vi.waitFor(() => expect(part.text()).toContain('Withdraw'), WAIT)
    expect(part.find('a[href="/access/approvals"]').exists()).toBe(true)
    expect(lists(asked).length).toBe(asked.length)
  })

  it('one is shown alone by its address, with all that it holds, and what it holds is text', async () => {
    const evil = '<img src=x onerror=alert(1)>\u202e'
    const fields = { policy: { daily: 1, names: [evil] }, [evil]: evil, version: 9 }
    const asked = holding([], {
      [`${LIST}/a1`]: approval({
        fields,
        target_name: evil,
        reason: evil,
        requested_by: evil,
        target_version: 3,
      }),
    })
    const part = view('/access/approvals?id=a1')
    await vi.waitFor(() => expect(part.text()).toContain('onerror'), WAIT)
    expect(lists(asked)).toEqual([`${LIST}/a1`])
    expect(part.find('details').attributes('open')).toBeDefined()
    expect(part.text()).toContain('{"daily":1')
    expect(part.find('img').exists()).toBe(false)
    expect(part.text()).not.toContain('\u202e')
    part.unmount()
    answering({ [`${LIST}/a1`]: 404 })
    const gone = view('/access/approvals?id=a1')
    await vi.waitFor(() => expect(gone.find('[role=alert]').exists()).toBe(true), WAIT)
  })

  it('hold in French', async () => {
    await speak('fr')
    holding([approval({ reason: 'plein' })])
    const part = view()
    await vi.waitFor(() => expect(part.text()).toContain('Supprimer une sauvegarde'), WAIT)
    expect(part.text()).toContain('«\u202fplein\u202f»')
  })
})

describe('what one can say', () => {
  const own = { requested_by_id: 'u1' }
  it.each([
    [{}, PERMISSIONS, ['agree', 'refuse']],
    [{ state: 'approved' }, PERMISSIONS, ['refuse']],
    [{}, PERMISSIONS.filter((one) => one !== 'approvals:decide'), []],
    [own, PERMISSIONS, ['withdraw']],
    [{ ...own, state: 'approved' }, [], ['withdraw']],
    [{ ...own, state: 'done' }, PERMISSIONS, []],
    [{ requested_by_id: null }, PERMISSIONS, ['agree', 'refuse']],
    [{ state: 'expired' }, PERMISSIONS, []],
    [{ state: 'of_tomorrow' }, PERMISSIONS, []],
  ] as const)('case %#', (more, permissions, deeds) => {
    me.value = ada([...permissions])
    expect(deedsOf(approval(more))).toEqual(deeds)
  })

  it.each([
    [{}, '/backups/b1'],
    [{ state: 'done' }, ''],
    [{ noun: 'servers', target_id: 'x/../y' }, '/servers/x%2F..%2Fy/summary'],
    [{ noun: 'users', target_id: '' }, ''],
    [{ noun: 'constructor' }, ''],
    [{ noun: 'settings' }, ''],
  ])('case %#: what it is about is at %j', (more, at) => {
    expect(pageOf(approval(more))).toBe(at)
  })

  it('the command is shown whole, a value of a newer version too', () => {
    const fields = { name: 'x', none: null, deep: { a: [1] } }
    expect(fieldsOf(approval({ target_version: 2, fields }))).toEqual([
      ['backups', 'b1'],
      ['version', '2'],
      ['name', 'x'],
      ['none', 'null'],
      ['deep', '{"a":[1]}'],
    ])
  })

  it.each([
    ['Agree', 'approve', 'It will be done in 2\u00a0h\u00a000.'],
    ['Refuse', 'reject', 'It will not be done'],
  ])('%s: it names the thing, and tells the API what was said', async (verb, path, text) => {
    const asked = holding([approval()], {
      [`${LIST}/a1/${path}`]: approval({ state: path === 'approve' ? 'approved' : 'rejected' }),
    })
    const part = view()
    await vi.waitFor(() => expect(part.text()).toContain('web1-system-1'), WAIT)
    button(verb).click()
    await vi.waitFor(() => expect(dialog().textContent).toContain(text), WAIT)
    expect(dialog().textContent).toContain(`${verb}: Delete a backup: web1-system-1`)
    expect(sent(asked)).toEqual([])
    await type('Note', ' seen by phone ')
    button(verb).click()
    await vi.waitFor(() => expect(sent(asked).length).toBe(1), WAIT)
    expect(sent(asked)[0]).toEqual({
      method: 'POST',
      path: `${LIST}/a1/${path}`,
      body: '{"note":"seen by phone"}',
    })
    await vi.waitFor(() => expect(dialog()).toBeNull(), WAIT)
    // What is shown was asked for again.
    await vi.waitFor(() => expect(lists(asked).length).toBeGreaterThan(4), WAIT)
  })

  it('one’s own is withdrawn; to agree is not offered, and it is said why', async () => {
    const asked = holding([approval({ requested_by: 'ada', requested_by_id: 'u1' })], {
      [`${LIST}/a1/withdraw`]: approval({ state: 'withdrawn' }),
    })
    const part = view()
    await vi.waitFor(() => expect(part.text()).toContain('another person has to decide'), WAIT)
    expect(part.findAll('li button').map((one) => one.text())).toEqual(['Withdraw'])
    button('Withdraw').click()
    await flushPromises()
    expect(dialog().querySelector('input')).toBeNull()
    button('Withdraw').click()
    await vi.waitFor(
      () => expect(sent(asked)[0]).toMatchObject({ path: `${LIST}/a1/withdraw`, body: '' }),
      WAIT,
    )
  })

  it('what was decided meanwhile is said in the dialogue', async () => {
    const refusal = { code: 'approval_decided', key: 'approval_decided', params: { state: 'withdrawn' } }
    holding([approval()], { [`${LIST}/a1/approve`]: Response.json(refusal, { status: 409 }) })
    const part = view()
    await vi.waitFor(() => expect(part.text()).toContain('web1-system-1'), WAIT)
    button('Agree').click()
    await flushPromises()
    button('Agree').click()
    await vi.waitFor(
      () => expect(dialog().querySelector('[role=alert]')?.textContent).toContain('withdrawn'),
      WAIT,
    )
  })
})

describe('what needs a second person', () => {
  const eve = {
    id: 'u2',
    name: 'eve',
    display_name: '',
    email: '',
    kind: 'person',
    state: 'active',
    grants: [],
    second_factor: false,
    last_login_at: null,
    created_at: '2026-11-01T00:00:00Z',
    version: 1,
  }

  it('is not deleted by the dialogue: it says that another has to agree, and where', async () => {
    answering({ '/api/users/u2': eve, '/api/tags': page([]), 'DELETE /api/users/u2': waits('a7') })
    const part = put(UserView, {}, '', '/users/u2')
    await vi.waitFor(() => expect(part.text()).toContain('eve'), WAIT)
    const menu = document.querySelector('[aria-label^="Actions for"]')!
    menu.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }))
    await vi.waitFor(
      () => expect(document.querySelectorAll('[role=menuitem]').length).toBeGreaterThan(1),
      WAIT,
    )
    const entries = [...document.querySelectorAll<HTMLElement>('[role=menuitem]')]
    entries.find((one) => one.textContent?.trim() === 'Delete user')!.click()
    await flushPromises()
    const input = dialog().querySelector('input')!
    input.value = 'eve'
    input.dispatchEvent(new Event('input'))
    await nextTick()
    button('Delete user').click()
    await vi.waitFor(() => expect(dialog().querySelector('[role=status]')).toBeTruthy(), WAIT)
    expect(dialog().textContent).toContain('Nothing was changed yet: another person has to agree.')
    expect(dialog().querySelector('a')?.getAttribute('href')).toBe('/access/approvals?id=a7')
    expect(dialog().querySelector('[role=alert]')).toBeNull()
    expect(part.text()).toContain('eve')
  })

  it('gives the secret of a token that does not work yet, this once', async () => {
    answering({
      '/api/tokens': page([]),
      '/api/tags': page([]),
      '/api/users': page([]),
      'POST /api/tokens': waits('a8', 'bf_k_s3cret'),
    })
    const part = put(TokensView)
    await vi.waitFor(() => expect(part.text()).toContain('No API token yet'), WAIT)
    button('Make a token').click()
    await flushPromises()
    await type('Name', 'fresh')
    button('Make the token').click()
    await vi.waitFor(() => expect(dialog().textContent).toContain('bf_k_s3cret'), WAIT)
    expect(dialog().textContent).toContain('It works once the other person has agreed.')
    expect(JSON.stringify([{ ...localStorage }, { ...sessionStorage }, location.href])).not.toContain(
      's3cret',
    )
    button('I have kept it').click()
    await vi.waitFor(() => expect(dialog()).toBeNull(), WAIT)
    expect(document.body.textContent).not.toContain('s3cret')
  })
})
