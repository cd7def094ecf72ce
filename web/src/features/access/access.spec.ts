import { flushPromises } from '@vue/test-utils'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { speak } from '@/lib/i18n'
import { messages } from '@/lib/i18n/en'
import { me } from '@/lib/session'
import { answering, button, contested, page, put } from '../../../tests/mounting'
import { PERMISSIONS } from '../../../tests/permissions'
import { ada } from '../../../tests/setup'
import type { Token, User } from './api'
import { byNoun, onlyReading } from './rights'
import TokensView from './TokensView.vue'
import { mayChange, stateOf } from './token'
import UsersView from './UsersView.vue'
import UserView from './UserView.vue'

const WAIT = { timeout: 120_000 }
const user = (more: Partial<User> = {}): User => ({
  id: 'u2',
  name: 'eve',
  display_name: 'Eve Martin',
  email: '',
  kind: 'person',
  state: 'active',
  grants: [{ role: 'operator', tag: 'production' }],
  second_factor: false,
  last_login_at: '2026-11-24T00:00:00Z',
  created_at: '2026-11-01T00:00:00Z',
  version: 1,
  ...more,
})
const token = (more: Partial<Token> = {}): Token => ({
  id: 't1',
  name: 'monitor',
  user: 'ada',
  prefix: 'k3q9',
  permissions: ['servers:read', 'servers:write', 'jobs:read'],
  tags: null,
  expires_at: null,
  last_used_at: null,
  last_used_from: null,
  created_at: '2026-11-01T00:00:00Z',
  ...more,
})
const LINK = { link: 'http://x/accept#s3cret', expires_at: '2026-11-27T00:00:00Z' }
const TAGS = { '/api/tags': page([{ name: 'production' }]) }
const dialog = () => document.querySelector<HTMLElement>('[role=dialog]')!
const sent = (asked: ReturnType<typeof answering>) => asked.filter((one) => one.method !== 'GET')

/** The field with this label, in the dialogue that is open. */
function field(label: string, nth = 0): HTMLInputElement {
  const labels = [...dialog().querySelectorAll('label')].filter((one) => one.textContent?.trim() === label)
  return document.getElementById(labels[nth]!.htmlFor) as HTMLInputElement
}
async function fill(input: HTMLInputElement, value: string): Promise<void> {
  input.value = value
  input.dispatchEvent(new Event(input.tagName === 'SELECT' ? 'change' : 'input'))
  await nextTick()
}
/** Opens the only menu. */
async function entriesOf(): Promise<HTMLElement[]> {
  document
    .querySelector('[aria-label^="Actions for"]')!
    .dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }))
  await vi.waitFor(() => expect(document.querySelector('[role=menuitem]')).toBeTruthy(), WAIT)
  return [...document.querySelectorAll<HTMLElement>('[role=menuitem]')]
}
async function offered(): Promise<(string | undefined)[]> {
  return (await entriesOf()).map((one) => one.textContent?.trim())
}
/** Chooses an entry of the only menu. */
async function choose(label: string): Promise<void> {
  const entry = (await entriesOf()).find((one) => one.textContent?.trim() === label)
  entry!.click()
  await flushPromises()
}

afterEach(() => vi.unstubAllGlobals())

describe('the users', () => {
  it('are loading, then listed with roles, tags and state', async () => {
    answering({ '/api/users': page([user(), user({ id: 'u3', name: 'bot', kind: 'service', grants: [] })]) })
    const part = put(UsersView)
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('eve'), WAIT)
    expect(part.text()).toContain('Operator')
    expect(part.text()).toContain('servers with the tag production')
    expect(part.text()).toContain('No role: may do nothing')
    expect(part.text()).toContain('Active')
  })

  it('are asked for by nobody who may not see them', async () => {
    me.value = ada(['servers:read'])
    const asked = answering({})
    const part = put(UsersView)
    await flushPromises()
    expect(part.text()).toContain('not for you to see')
    expect(part.text()).not.toContain('Add a user')
    expect(asked).toEqual([])
  })

  it('that may be seen and not changed have no button', async () => {
    me.value = ada(['users:read'])
    answering({ '/api/users': page([user()]) })
    const part = put(UsersView)
    await vi.waitFor(() => expect(part.text()).toContain('eve'), WAIT)
    expect(part.findAll('button')).toEqual([])
  })

  it('that cannot be had are an error, and not an empty list', async () => {
    answering({ '/api/users': 403 })
    const part = put(UsersView)
    await vi.waitFor(() => expect(part.find('[role=alert]').exists()).toBe(true), WAIT)
    expect(part.text()).not.toContain('No user yet')
  })

  it('get a new one with a role for a tag; the link is there until it was kept', async () => {
    const asked = answering({
      ...TAGS,
      '/api/users': { ...page([]), user: user({ name: 'mia' }), invitation: LINK },
    })
    const part = put(UsersView)
    await vi.waitFor(() => expect(part.text()).toContain('No user yet'), WAIT)
    button('Add a user').click()
    await flushPromises()
    expect(button('Make the invitation').disabled).toBe(true)
    await fill(field('User name'), ' mia ')
    button('Add a role').click()
    await flushPromises()
    await fill(field('Role'), 'restore_operator')
    await vi.waitFor(() => expect(field('For').textContent).toContain('production'), WAIT)
    await fill(field('For'), 'production')
    button('Make the invitation').click()
    await vi.waitFor(() => expect(part.text()).toContain('http://x/accept#s3cret'), WAIT)
    expect(JSON.parse(sent(asked)[0]!.body)).toEqual({
      name: 'mia',
      kind: 'person',
      display_name: '',
      email: '',
      grants: [{ role: 'restore_operator', tag: 'production' }],
    })
    expect(JSON.stringify([{ ...localStorage }, { ...sessionStorage }])).not.toContain('s3cret')
    button('I have kept it').click()
    await nextTick()
    expect(part.text()).not.toContain('s3cret')
  })
})

describe('a user', () => {
  const view = (one: User, more: Record<string, unknown> = {}) => {
    const asked = answering({ ...TAGS, '/api/users/u2': one, '/api/users': page([one]), ...more })
    return { asked, part: put(UserView, {}, '', '/users/u2') }
  }

  it('is given other roles, those that there are being the beginning', async () => {
    const { asked, part } = view(user(), { '/api/users/u2/grants': [] })
    await vi.waitFor(() => expect(part.text()).toContain('Change roles'), WAIT)
    button('Change roles').click()
    await flushPromises()
    expect(field('Role').value).toBe('operator')
    await fill(field('For'), '')
    button('Save roles').click()
    await vi.waitFor(() => expect(sent(asked).length).toBe(1), WAIT)
    expect(sent(asked)[0]).toEqual({
      method: 'PUT',
      path: '/api/users/u2/grants',
      body: '{"grants":[{"role":"operator","tag":null}]}',
    })
  })

  it('keeps the roles and the name that another gave meanwhile, until they were looked at', async () => {
    const world = contested('/api/users/u2/grants', user({ version: 9 }), {
      '/api/users/u2': user({ version: 8 }),
    })
    const part = put(UserView, {}, '', '/users/u2')
    await vi.waitFor(() => expect(part.text()).toContain('Change roles'), WAIT)
    button('Change roles').click()
    await flushPromises()
    button('Save roles').click()
    await vi.waitFor(() => expect(document.body.textContent).toContain('Close this, look at what'), WAIT)
    expect(world.tags).toEqual(['"8"'])
  })

  it('who changes his own roles is asked for anew: he may do other things now', async () => {
    me.value = { ...ada(PERMISSIONS), id: 'u2' }
    const { part } = view(user(), { '/api/users/u2/grants': [], '/api/auth/me': ada(['users:read']) })
    await vi.waitFor(() => expect(part.text()).toContain('Change roles'), WAIT)
    button('Change roles').click()
    await flushPromises()
    button('Save roles').click()
    await vi.waitFor(() => expect(me.value?.permissions).toEqual(['users:read']), WAIT)
    expect(part.text()).not.toContain('Change roles')
  })

  it('is deleted only by his name; the last administrator stays, and the API says why', async () => {
    const { asked, part } = view(user())
    await vi.waitFor(() => expect(part.text()).toContain('Eve Martin'), WAIT)
    await choose('Delete user')
    expect(dialog().textContent).toContain('Delete eve?')
    expect(button('Delete user').disabled).toBe(true)
    await fill(dialog().querySelector('input')!, 'eve')
    vi.stubGlobal('fetch', async () => {
      const refusal = { code: 'last_admin', key: 'last_admin', params: {}, detail: 'x', remedy: 'y' }
      return new Response(JSON.stringify(refusal), {
        status: 409,
        headers: { 'Content-Type': 'application/json' },
      })
    })
    button('Delete user').click()
    await vi.waitFor(() => expect(dialog().textContent).toContain('last active administrator'), WAIT)
    expect(sent(asked)).toEqual([])
  })

  it.each([
    ['End all sessions', 'End all sessions', 'POST', '/api/users/u2/end-sessions'],
    ['Disable', 'Disable', 'PATCH', '/api/users/u2'],
    ['Reset second factors', 'Reset second factors', 'POST', '/api/users/u2/reset-factors'],
  ])('%s asks with his name, and then does it', async (entry, verb, method, path) => {
    const { asked, part } = view(user({ second_factor: true }), { [path]: user() })
    await vi.waitFor(() => expect(part.text()).toContain('Eve Martin'), WAIT)
    await choose(entry)
    expect(dialog().textContent).toContain('eve')
    expect(sent(asked)).toEqual([])
    button(verb).click()
    await vi.waitFor(() => expect(sent(asked)[0]).toMatchObject({ method, path }), WAIT)
  })

  it('who it is himself is not offered to reset his own factors: the API refuses it', async () => {
    me.value = { ...ada(PERMISSIONS), id: 'u2' }
    const { part } = view(user({ second_factor: true }))
    await vi.waitFor(() => expect(part.text()).toContain('Eve Martin'), WAIT)
    expect(await offered()).not.toContain('Reset second factors')
  })

  it('gets a new link, shown on the page', async () => {
    const { part } = view(user({ state: 'invited' }), { '/api/users/u2/invite': LINK })
    await vi.waitFor(() => expect(part.text()).toContain('Invited'), WAIT)
    await choose('Make a new link')
    button('Make a new link').click()
    await vi.waitFor(() => expect(part.text()).toContain('http://x/accept#s3cret'), WAIT)
  })

  it.each([
    [user({ state: 'disabled' }), ['Change name and e-mail', 'Enable', 'Delete user']],
    [user({ kind: 'service' }), ['Change name and e-mail', 'Disable', 'Delete user']],
    [user({ state: 'invited' }), ['Change name and e-mail', 'Make a new link', 'Disable', 'Delete user']],
  ])('case %#: is offered what the API would take', async (one, entries) => {
    const { part } = view(one)
    await vi.waitFor(() => expect(part.text()).toContain('Eve Martin'), WAIT)
    expect(await offered()).toEqual(entries)
  })

  it('who is disabled is enabled at once, and changed in name', async () => {
    const { asked, part } = view(user({ state: 'disabled' }))
    await vi.waitFor(() => expect(part.text()).toContain('Disabled'), WAIT)
    await choose('Enable')
    await vi.waitFor(() => expect(sent(asked)[0]?.body).toBe('{"state":"active"}'), WAIT)
    await choose('Change name and e-mail')
    await fill(field('E-mail'), 'eve@example.org')
    button('Save').click()
    await vi.waitFor(
      () => expect(sent(asked)[1]?.body).toBe('{"display_name":"Eve Martin","email":"eve@example.org"}'),
      WAIT,
    )
  })

  it('who may be seen and not changed has no action; one who is gone is an error', async () => {
    me.value = ada(['users:read'])
    const { part } = view(user())
    await vi.waitFor(() => expect(part.text()).toContain('Eve Martin'), WAIT)
    expect(part.findAll('button')).toEqual([])
    part.unmount()
    answering({ '/api/users/u2': 404 })
    const other = put(UserView, {}, '', '/users/u2')
    await vi.waitFor(() => expect(other.find('[role=alert]').exists()).toBe(true), WAIT)
  })
})

describe('the rights', () => {
  it('have words for each that there is, and are grouped by what they are about', () => {
    const nouns = byNoun(PERMISSIONS)
    expect(nouns.flatMap((one) => one.rights).length).toBe(PERMISSIONS.length)
    expect(nouns.map((one) => one.noun).filter((noun) => !(noun in messages.access.noun))).toEqual([])
    const verbs = PERMISSIONS.map((one) => one.split(':')[1]!)
    expect(verbs.filter((verb) => !(verb in messages.access.verb))).toEqual([])
    expect(onlyReading(['servers:read', 'servers:write'])).toEqual(['servers:read'])
  })
})

describe('a token', () => {
  const now = new Date('2026-11-24T12:00:00Z')
  it.each([
    [null, 'status.token.valid'],
    ['2027-01-01T00:00:00Z', 'status.token.valid'],
    ['2026-11-27T00:00:00Z', 'status.token.soon'],
    ['2026-11-24T12:00:00Z', 'status.token.expired'],
  ])('that expires at %s is %s', (expires_at, key) => {
    expect(stateOf(token({ expires_at }), now).key).toBe(key)
  })

  it('is changed by its user, and by who may change all', () => {
    me.value = ada([])
    expect(mayChange(token())).toBe(true)
    expect(mayChange(token({ user: 'eve' }))).toBe(false)
    expect(mayChange(token({ user: null }))).toBe(false)
    me.value = ada(['tokens:write'])
    expect(mayChange(token({ user: null }))).toBe(true)
  })
})

describe('the tokens', () => {
  const answers = (items: Token[]) => ({
    ...TAGS,
    '/api/tokens': { ...page(items), ...token({ name: 'fresh' }), secret: 'bf_k3q9_s3cret' },
    '/api/users': page([user()]),
  })

  it('are loading, then listed: whose, what they may, when they were used', async () => {
    answering(
      answers([token({ tags: ['paris'] }), token({ id: 't2', name: 'old', user: null, permissions: null })]),
    )
    const part = put(TokensView)
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('3 rights'), WAIT)
    expect(part.text()).toContain('Servers · see, change')
    expect(part.text()).toContain('servers with the tag paris')
    expect(part.text()).toContain('bf_k3q9…')
    expect(part.text()).toContain('May do everything')
    expect(part.text()).toContain('Never used')
  })

  it('without any say what they are for; an error is not that', async () => {
    answering(answers([]))
    const part = put(TokensView)
    await vi.waitFor(() => expect(part.text()).toContain('No API token yet'), WAIT)
    part.unmount()
    answering({ '/api/tokens': 403 })
    const other = put(TokensView)
    await vi.waitFor(() => expect(other.find('[role=alert]').exists()).toBe(true), WAIT)
    expect(other.text()).not.toContain('No API token yet')
  })

  it.each([
    ['Read only', { permissions: ['servers:read'] }],
    ['All rights of its user', { permissions: null }],
  ])('%s is made with that, and its secret is shown once', async (choice, body) => {
    me.value = ada(['servers:read', 'servers:write'])
    const asked = answering(answers([]))
    const part = put(TokensView)
    await vi.waitFor(() => expect(part.text()).toContain('No API token yet'), WAIT)
    button('Make a token').click()
    await flushPromises()
    await fill(field('Name'), 'fresh')
    const radio = [...dialog().querySelectorAll('label')].find((one) => one.textContent?.includes(choice))!
    radio.querySelector('input')!.click()
    await nextTick()
    button('Make the token').click()
    await vi.waitFor(() => expect(part.text()).toContain('bf_k3q9_s3cret'), WAIT)
    expect(JSON.parse(sent(asked)[0]!.body)).toEqual({
      name: 'fresh',
      user: null,
      tags: null,
      expires_in_days: 90,
      ...body,
    })
    // Neither users nor tags are asked for by who may not see them.
    expect(asked.map((one) => one.path.split('?')[0])).not.toContain('/api/users')
    expect(asked.map((one) => one.path.split('?')[0])).not.toContain('/api/tags')
  })

  it('are made with chosen rights, for a service, some servers and a time', async () => {
    const asked = answering(answers([]))
    const part = put(TokensView)
    await vi.waitFor(() => expect(part.text()).toContain('No API token yet'), WAIT)
    button('Make a token').click()
    await vi.waitFor(() => expect(field('Whose')).toBeTruthy(), WAIT)
    await fill(field('Name'), 'fresh')
    await fill(field('Whose'), 'eve')
    await fill(field('Expires'), 'never')
    const tick = async (text: string): Promise<void> => {
      const label = [...dialog().querySelectorAll('label')].find((one) =>
        one.textContent?.trim().startsWith(text),
      )!
      label.querySelector('input')!.click()
      await nextTick()
    }
    await tick('production')
    await tick('Chosen ones')
    expect(button('Make the token').disabled).toBe(true)
    await tick('acknowledge')
    button('Make the token').click()
    await vi.waitFor(() => expect(sent(asked).length).toBe(1), WAIT)
    expect(JSON.parse(sent(asked)[0]!.body)).toEqual({
      name: 'fresh',
      user: 'eve',
      permissions: ['alerts:acknowledge'],
      tags: ['production'],
      expires_in_days: null,
    })
  })

  it('are renamed, and revoked after a question that names them', async () => {
    const asked = answering({ ...answers([token()]), '/api/tokens/t1': token() })
    const part = put(TokensView)
    await vi.waitFor(() => expect(part.text()).toContain('monitor'), WAIT)
    await choose('Rename')
    await fill(field('Name'), 'watcher')
    button('Rename').click()
    await vi.waitFor(
      () => expect(sent(asked)[0]).toMatchObject({ method: 'PATCH', body: '{"name":"watcher"}' }),
      WAIT,
    )
    await vi.waitFor(() => expect(dialog()).toBeNull(), WAIT)
    await choose('Revoke')
    expect(dialog().textContent).toContain('Revoke monitor?')
    button('Revoke').click()
    await vi.waitFor(
      () => expect(sent(asked)[1]).toMatchObject({ method: 'DELETE', path: '/api/tokens/t1' }),
      WAIT,
    )
  })

  it('hold in French', async () => {
    await speak('fr')
    answering(answers([token()]))
    const part = put(TokensView)
    await vi.waitFor(() => expect(part.text()).toContain('3 droits'), WAIT)
    expect(part.text()).toContain('Jetons d’accès')
  })
})
