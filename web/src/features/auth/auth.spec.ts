import { flushPromises } from '@vue/test-utils'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { answerProof, askForProof } from '@/lib/api/proof'
import { me, sessionOver, signedOut } from '@/lib/session'
import { answering, button, put } from '../../../tests/mounting'
import { ada } from '../../../tests/setup'
import AcceptView from './AcceptView.vue'
import ProveDialog from './components/ProveDialog.vue'
import LoginView from './LoginView.vue'
import { nextOf } from './next'
import SetUpView from './SetUpView.vue'

const METHODS = { setup: false, encrypted: true, methods: ['password'] }
const ADA = ada([])
const asText = (page: ReturnType<typeof put>) => page.text()

async function fill(page: ReturnType<typeof put>, ...values: string[]): Promise<void> {
  const fields = page.findAll('input:not([type=checkbox])')
  for (const [index, value] of values.entries()) await fields[index]?.setValue(value)
  await page.get('form').trigger('submit')
  await flushPromises()
  await nextTick()
}

beforeEach(() => signedOut())
afterEach(() => {
  vi.unstubAllGlobals()
  location.hash = ''
})

describe('the way back after the login', () => {
  it.each([
    ['/servers/1/history?span=7d', '/servers/1/history?span=7d'],
    ['//evil.example', '/'],
    ['/\\evil.example', '/'],
    ['https://evil.example', '/'],
    ['javascript:alert(1)', '/'],
    [undefined, '/'],
    [['/a', '/b'], '/'],
  ])('%j leads to %s', (wanted, path) => expect(nextOf(wanted)).toBe(path))
})

describe('signing in', () => {
  it('asks once, and leads back to where one was; nothing of it is kept in the browser', async () => {
    const asked = answering({ '/api/auth/methods': METHODS, '/api/auth/login': ADA })
    const page = put(LoginView)
    await page.vm.$router.push({ path: '/login', query: { next: '/backups' } })
    await flushPromises()
    await fill(page, ' ada ', 'right horse battery')
    expect(asked.filter((one) => one.method === 'POST')).toEqual([
      { method: 'POST', path: '/api/auth/login', body: '{"name":"ada","password":"right horse battery"}' },
    ])
    await vi.waitFor(() => expect(page.vm.$router.currentRoute.value.path).toBe('/backups'))
    expect(me.value?.name).toBe('ada')
    expect(JSON.stringify([{ ...localStorage }, { ...sessionStorage }])).not.toContain('horse')
  })

  it('with a wrong password says so, forgets it, and keeps nobody', async () => {
    answering({ '/api/auth/methods': METHODS, '/api/auth/login': 401 })
    const page = put(LoginView)
    await flushPromises()
    await fill(page, 'ada', 'wrong')
    expect(page.find('[role=alert]').exists()).toBe(true)
    expect(page.findAll('input')[1]?.element.value).toBe('')
    expect(me.value).toBeNull()
  })

  it('says that the session is over, where one was', async () => {
    answering({ '/api/auth/methods': METHODS })
    expect(asText(put(LoginView))).not.toContain('session is over')
    me.value = ADA
    sessionOver()
    expect(asText(put(LoginView))).toContain('session is over')
  })

  it.each([
    [{ ...METHODS, setup: true }, 'borgfleet setup-link'],
    [{ ...METHODS, encrypted: false }, 'not encrypted'],
    [503, 'Try again'],
  ])('case %#: tells what stands in the way', async (methods, text) => {
    answering({ '/api/auth/methods': methods })
    const page = put(LoginView)
    await vi.waitFor(() => expect(page.text()).toContain(text), 120_000)
  })
})

describe('the second factor', () => {
  const NEEDED = { code: 'second_factor_needed', flow: 'fl0w', methods: ['totp', 'recovery_code'] }

  /** Has the API ask for a second factor, and refuse the first code. */
  function asking(): { path: string; body: string }[] {
    const asked: { path: string; body: string }[] = []
    vi.stubGlobal('fetch', async (request: Request) => {
      const path = new URL(request.url, 'http://test').pathname
      const body = await request.text()
      asked.push({ path, body })
      const right = path.endsWith('methods') || body.includes('k3fm')
      const answer = path.endsWith('methods')
        ? METHODS
        : right
          ? ADA
          : body.includes('fl0w')
            ? { code: 'wrong_code' }
            : NEEDED
      return new Response(JSON.stringify(answer), { status: right ? 200 : 401 })
    })
    return asked
  }

  it('is asked for after the password; a wrong code stays there, and a recovery code goes on to where one was', async () => {
    const asked = asking()
    const page = put(LoginView)
    await page.vm.$router.push({ path: '/login', query: { next: '/backups' } })
    await flushPromises()
    await fill(page, 'ada', 'right horse battery')
    expect(page.text()).toContain('Now the code of your app')
    expect(me.value).toBeNull()
    expect(document.activeElement?.getAttribute('autocomplete')).toBe('one-time-code')
    await fill(page, '000 000')
    expect(page.find('[role=alert]').exists()).toBe(true)
    expect(page.get('input').element.value).toBe('')
    button('Use a recovery code').click()
    await nextTick()
    await fill(page, 'k3fm-9xqa-2hdp-w7cz')
    expect(asked.filter((one) => one.path === '/api/auth/second-factor').map((one) => one.body)).toEqual([
      '{"flow":"fl0w","code":"000 000"}',
      '{"flow":"fl0w","recovery_code":"k3fm-9xqa-2hdp-w7cz"}',
    ])
    await vi.waitFor(() => expect(page.vm.$router.currentRoute.value.path).toBe('/backups'))
    expect(me.value?.name).toBe('ada')
  })

  it('is asked for after a link for a new password too; one can begin anew', async () => {
    location.hash = '#s3cret'
    asking()
    const page = put(AcceptView)
    await fill(page, 'right horse battery')
    expect(page.text()).toContain('Now the code of your app')
    button('Sign in as somebody else').click()
    await vi.waitFor(() => expect(page.vm.$router.currentRoute.value.path).toBe('/login'))
  })
})

describe('a link', () => {
  it('makes the first administrator, and leaves the address bar at once', async () => {
    location.hash = '#s3cret'
    const asked = answering({ '/api/auth/setup': ADA })
    const page = put(SetUpView)
    expect(location.href).not.toContain('s3cret')
    await fill(page, 'ada', 'right horse battery')
    expect(JSON.parse(asked[0]?.body ?? '')).toEqual({
      link: 's3cret',
      name: 'ada',
      display_name: '',
      password: 'right horse battery',
    })
    expect(me.value?.name).toBe('ada')
  })

  it('without its secret says what to do, and asks for nothing', () => {
    expect(asText(put(SetUpView))).toContain('borgfleet setup-link')
    expect(put(SetUpView).find('form').exists()).toBe(false)
    expect(put(AcceptView).find('form').exists()).toBe(false)
  })

  it('of an invitation chooses a password, which can be looked at', async () => {
    location.hash = '#s3cret'
    const asked = answering({ '/api/auth/accept': ADA })
    const page = put(AcceptView)
    const field = page.get<HTMLInputElement>('input:not([type=checkbox])')
    expect(field.element.type).toBe('password')
    await page.get('[type=checkbox]').setValue(true)
    expect(field.element.type).toBe('text')
    await fill(page, 'right horse battery')
    expect(JSON.parse(asked[0]?.body ?? '')).toEqual({ link: 's3cret', password: 'right horse battery' })
  })

  it('that was used is refused in words', async () => {
    location.hash = '#s3cret'
    answering({ '/api/auth/accept': 410 })
    const page = put(AcceptView)
    await fill(page, 'right horse battery')
    expect(page.find('[role=alert]').exists()).toBe(true)
    expect(me.value).toBeNull()
  })
})

describe('the password once more', () => {
  it('is asked for by who needs it, and lets it go on', async () => {
    me.value = ADA
    answering({ '/api/auth/step-up': ADA })
    put(ProveDialog)
    const proof = askForProof()
    await flushPromises()
    const dialog = document.querySelector('[role=dialog]')
    expect(dialog?.textContent).toContain('password of ada')
    const field = dialog?.querySelector('input')
    if (field) {
      field.value = 'right horse battery'
      field.dispatchEvent(new Event('input'))
    }
    await nextTick()
    button('Go on').click()
    expect(await proof).toBe(true)
  })

  it('goes with a code for who has a second factor', async () => {
    me.value = { ...ADA, second_factor: true }
    const asked = answering({ '/api/auth/step-up': ADA })
    put(ProveDialog)
    const proof = askForProof()
    await flushPromises()
    const go = () => button('Go on')
    for (const [index, value] of ['right horse battery', '123456'].entries()) {
      expect(go().disabled).toBe(true)
      const field = document.querySelectorAll<HTMLInputElement>('[role=dialog] input')[index]!
      field.value = value
      field.dispatchEvent(new Event('input'))
      await nextTick()
    }
    go().click()
    expect(await proof).toBe(true)
    expect(asked[0]?.body).toBe('{"password":"right horse battery","code":"123456"}')
  })

  it('that nobody gives is a no', async () => {
    me.value = ADA
    put(ProveDialog)
    const proof = askForProof()
    await flushPromises()
    button('Cancel').click()
    expect(await proof).toBe(false)
    answerProof(false)
  })
})
