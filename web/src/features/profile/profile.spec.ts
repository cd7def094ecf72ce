import { flushPromises } from '@vue/test-utils'
import jsQR from 'jsqr'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { me } from '@/lib/session'
import { answering, button, put } from '../../../tests/mounting'
import { ada } from '../../../tests/setup'
import { browserOf } from './agent'
import type { Session } from './api'
import FactorCode from './components/FactorCode.vue'
import ProfileView from './ProfileView.vue'
import { qrOf } from './qr'

const WAIT = { timeout: 120_000 }
const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0'
const session = (more: Partial<Session> = {}): Session => ({
  id: 's1',
  created_at: '2026-11-24T00:00:00Z',
  seen_at: '2026-11-24T01:00:00Z',
  expires_at: '2026-12-08T00:00:00Z',
  address: '192.0.2.7',
  agent: FIREFOX,
  methods: 'password',
  current: true,
  ...more,
})

afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

describe('a browser', () => {
  it.each([
    [FIREFOX, 'Firefox', 'Linux'],
    [
      'Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/142.0 Safari/537.36 Edg/142.0',
      'Edge',
      'Windows',
    ],
    [
      'Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 Chrome/142.0 Mobile Safari/537.36',
      'Chrome',
      'Android',
    ],
    [
      'Mozilla/5.0 (iPhone; CPU iPhone OS 26 like Mac OS X) Version/26.0 Mobile Safari/604.1',
      'Safari',
      'iOS',
    ],
    ['curl/8.0', null, null],
    ['', null, null],
  ])('%j is %s on %s', (agent, browser, system) => {
    expect(browserOf(agent)).toEqual({ browser, system })
  })
})

/** What a camera reads of such a picture: each module as 3 x 3 points, dark on light. */
function scanned(size: number, path: string): string | undefined {
  const side = size * 3
  const points = new Uint8ClampedArray(side * side * 4).fill(255)
  for (const [, x, y] of path.matchAll(/M(\d+) (\d+)h1v1h-1z/g))
    for (let point = 0; point < 9; point++) {
      const at = (Number(y) * 3 + Math.floor(point / 3)) * side + Number(x) * 3 + (point % 3)
      points.fill(0, at * 4, at * 4 + 3)
    }
  return jsQR(points, side, side, { inversionAttempts: 'dontInvert' })?.data
}

describe('the code to scan', () => {
  it.each([
    ['an address', 'otpauth://totp/Borgfleet:ada?secret=ABCDEFGHABCDEFGHABCDEFGHABCDEFGH&issuer=Borgfleet'],
    ['a short one', 'otpauth://totp/x'],
    [
      'one of a long name',
      `otpauth://totp/Borgfleet:${'%C3%A9'.repeat(60)}?secret=ABCDEFGH&issuer=Borgfleet`,
    ],
    ['other letters', 'otpauth://totp/Borgfleet:zoë?secret=ABCDEFGH'],
  ])('is read as it was meant: %s', (_, uri) => {
    const { size, path } = qrOf(uri)
    expect(scanned(size, path)).toBe(uri)
    // Nothing is dark in the four modules around it.
    const places = [...path.matchAll(/M(\d+) (\d+)/g)].flatMap(([, x, y]) => [Number(x), Number(y)])
    expect([Math.min(...places), Math.max(...places)]).toEqual([4, size - 5])
  })

  it('where there can be none, one is told to enter the secret', async () => {
    const part = put(FactorCode, { uri: 'x'.repeat(5000) })
    await vi.waitFor(() => expect(part.text()).toContain('Enter the secret by hand'), WAIT)
    expect(part.find('[data-qr]').exists()).toBe(false)
  })
})

describe('the profile', () => {
  it('shows one’s roles and sessions; another one is ended, this one is not offered', async () => {
    me.value = { ...ada([]), grants: [{ role: 'of_the_future', tag: null }] }
    const asked = answering({
      '/api/auth/sessions': [
        session(),
        session({ id: 's2', agent: 'curl/8.0\u202e', current: false, methods: 'link' }),
      ],
      '/api/auth/sessions/s2': null,
    })
    const part = put(ProfileView)
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('Firefox on Linux'), WAIT)
    expect(part.text()).toContain('of_the_future')
    expect(part.text()).toContain('curl/8.0\\u{202e}')
    expect(part.text()).toContain('by link')
    const ends = part.findAll('button').filter((one) => one.text() === 'End')
    expect(ends.map((one) => one.attributes('aria-label'))).toEqual(['End the session of curl/8.0\\u{202e}'])
    await ends[0]!.trigger('click')
    await vi.waitFor(
      () => expect(asked.find((one) => one.method === 'DELETE')?.path).toBe('/api/auth/sessions/s2'),
      WAIT,
    )
  })

  it('whose sessions cannot be had says so', async () => {
    answering({ '/api/auth/sessions': 403 })
    const part = put(ProfileView)
    await vi.waitFor(() => expect(part.find('[role=alert]').exists()).toBe(true), WAIT)
  })

  it('sets a second factor up: secret, first code, recovery codes that are shown once; and takes it away', async () => {
    const codes = ['k3fm-9xqa-2hdp-w7cz', 'aaaa-bbbb-cccc-dddd']
    const uri = 'otpauth://totp/Borgfleet:ada?secret=ABCDEFGH&issuer=Borgfleet'
    const answers: Record<string, unknown> = {
      '/api/auth/sessions': [session()],
      '/api/auth/totp': { secret: 'ABCDEFGH', uri },
      '/api/auth/totp/confirm': { recovery_codes: codes },
      '/api/auth/me': { ...ada([]), second_factor: true, recovery_codes: 10 },
    }
    me.value = { ...ada([]), second_factor_required: true }
    const asked = answering(answers)
    const part = put(ProfileView)
    expect(part.text()).toContain('You have to set up a second factor')
    button('Set up').click()
    await vi.waitFor(() => expect(part.text()).toContain('ABCD EFGH'), WAIT)
    expect(part.get('a[href^=otpauth]').attributes('href')).toBe(uri)
    await vi.waitFor(() => expect(part.find('[data-qr]').exists()).toBe(true), WAIT)
    const picture = part.get('[data-qr]')
    expect([picture.attributes('role'), picture.attributes('aria-label')]).toEqual([
      'img',
      'QR code for your app. The secret below says the same.',
    ])
    const size = Number(picture.attributes('viewBox')?.split(' ')[2])
    expect(scanned(size, picture.get('path').attributes('d') ?? '')).toBe(uri)
    await part.get('input[autocomplete=one-time-code]').setValue(' 123456 ')
    await part.findAll('form')[0]!.trigger('submit')
    await vi.waitFor(() => expect(part.text()).toContain(codes[1]), WAIT)
    expect(asked.find((one) => one.path === '/api/auth/totp/confirm')?.body).toBe('{"code":"123456"}')
    expect(part.text()).not.toContain('ABCD EFGH')
    vi.spyOn(HTMLAnchorElement.prototype, 'click').mockReturnValue()
    const saved = vi.spyOn(URL, 'createObjectURL').mockReturnValue('blob:x')
    button('Save as a file').click()
    expect(await (saved.mock.calls[0]![0] as Blob).text()).toBe(`${codes.join('\n')}\n`)
    button('I have kept them').click()
    await flushPromises()
    expect(part.text()).not.toContain(codes[1])
    expect(part.text()).toContain('10 recovery codes are left')
    answers['/api/auth/me'] = ada([])
    button('Turn off').click()
    await flushPromises()
    button('Turn off').click()
    await vi.waitFor(() => expect(me.value?.second_factor).toBe(false), WAIT)
    expect(asked.some((one) => one.method === 'DELETE' && one.path === '/api/auth/totp')).toBe(true)
  })

  it('says that a first code is wrong, and that new recovery codes cannot be had', async () => {
    const answers: Record<string, unknown> = {
      '/api/auth/sessions': [session()],
      '/api/auth/totp': { secret: 'ABCDEFGH', uri: 'otpauth://totp/x' },
      '/api/auth/totp/confirm': 422,
      '/api/auth/recovery-codes': 403,
    }
    answering(answers)
    const part = put(ProfileView)
    button('Set up').click()
    await vi.waitFor(() => expect(part.text()).toContain('ABCD EFGH'), WAIT)
    await part.get('input[autocomplete=one-time-code]').setValue('000000')
    await part.findAll('form')[0]!.trigger('submit')
    await vi.waitFor(() => expect(part.find('form [role=alert]').exists()).toBe(true), WAIT)
    button('Cancel').click()
    me.value = { ...ada([]), second_factor: true, recovery_codes: 0 }
    await flushPromises()
    expect(part.text()).toContain('No recovery code is left')
    button('Make new recovery codes').click()
    await vi.waitFor(() => expect(button('Make new recovery codes').disabled).toBe(false), WAIT)
    expect(part.text()).not.toContain('Your recovery codes')
  })

  it('changes the password, and forgets both; a wrong one is refused in words', async () => {
    const asked = answering({
      '/api/auth/sessions': [session()],
      '/api/auth/password': ada(['servers:read']),
    })
    const part = put(ProfileView)
    const fields = () => part.findAll<HTMLInputElement>('input[type=password]')
    await fields()[0]!.setValue('right horse battery')
    await fields()[1]!.setValue('four other words here')
    await part.get('form').trigger('submit')
    await vi.waitFor(() => expect(me.value?.permissions).toEqual(['servers:read']), WAIT)
    expect(asked.find((one) => one.method === 'PUT')?.body).toBe(
      '{"old":"right horse battery","new":"four other words here"}',
    )
    await vi.waitFor(() => expect(fields().map((one) => one.element.value)).toEqual(['', '']), WAIT)
    answering({ '/api/auth/sessions': [session()], '/api/auth/password': 401 })
    await fields()[0]!.setValue('wrong')
    await part.get('form').trigger('submit')
    await flushPromises()
    await vi.waitFor(() => expect(part.find('form [role=alert]').exists()).toBe(true), WAIT)
  })
})
