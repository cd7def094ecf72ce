import { afterEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { speak } from '@/lib/i18n'
import { me } from '@/lib/session'
import { answering, button, contested, put, waits } from '../../../tests/mounting'
import { ada } from '../../../tests/setup'
import type { FourEyes } from './api'
import FourEyesView from './FourEyesView.vue'
import { fourEyesForm, fourEyesOf, wrongIn } from './four-eyes'
import { tabsOfMine } from './tabs'

const WAIT = 120_000
const PATH = '/api/settings/four-eyes'
const eyes = (more: Partial<FourEyes> = {}): FourEyes => ({
  enabled: false,
  cooling_seconds: 3600,
  expiry_seconds: 604_800,
  version: 4,
  ...more,
})
const field = (label: string): HTMLInputElement => {
  const found = [...document.querySelectorAll('label')].find((one) => one.textContent?.trim() === label)
  return document.getElementById(found!.htmlFor) as HTMLInputElement
}
async function type(label: string, text: string): Promise<void> {
  field(label).value = text
  field(label).dispatchEvent(new Event('input'))
  await nextTick()
}
const COOLING = 'Cooling time in hours'
const EXPIRY = 'Days until a request expires'
const box = () => document.querySelector<HTMLInputElement>('input[type=checkbox]')!

afterEach(() => vi.unstubAllGlobals())

describe('four eyes as a form', () => {
  it.each([
    [3600, '1'],
    [0, '0'],
    [5400, '1.5'],
    [100, '0.03'],
  ])('%i seconds are shown as %s hours, and stay what they are unless they are changed', (seconds, shown) => {
    const read = eyes({ cooling_seconds: seconds })
    expect(fourEyesForm(read).cooling).toBe(shown)
    expect(fourEyesOf(fourEyesForm(read), read)).toEqual(read)
  })

  it.each([
    ['2', '3', 7200, 259_200],
    [' 1,5 ', '0.5', 5400, 43_200],
  ])('%j hours and %j days are meant so', (cooling, expiry, seconds, more) => {
    expect(fourEyesOf({ enabled: true, cooling, expiry }, eyes())).toEqual({
      enabled: true,
      cooling_seconds: seconds,
      expiry_seconds: more,
      version: 4,
    })
  })

  it.each([
    ['0', '1', false, false],
    ['72', '90', false, false],
    ['72.1', '90.1', true, true],
    ['', '', true, true],
    ['-1', '0', true, true],
    ['1e1', 'x', true, true],
  ])('%j hours, %j days: wrong %s, %s', (cooling, expiry, hours, days) => {
    const typed = fourEyesOf({ enabled: true, cooling, expiry }, eyes())
    expect(wrongIn(typed)).toEqual({ cooling: hours, expiry: days })
  })
})

describe('the four-eyes settings', () => {
  it('are for who may see settings: nobody else asks', async () => {
    expect(tabsOfMine().map((tab) => tab.to)).toContain('/settings/four-eyes')
    me.value = ada(['limits:read'])
    expect(tabsOfMine().map((tab) => tab.to)).not.toContain('/settings/four-eyes')
    const asked = answering({ [PATH]: eyes() })
    const part = put(FourEyesView)
    await nextTick()
    expect(part.text()).toContain('not for you to see')
    expect(asked).toEqual([])
  })

  it('are only read by who may not change them; an error is one', async () => {
    me.value = ada(['settings:read'])
    answering({ [PATH]: eyes() })
    const part = put(FourEyesView)
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('two administrators'), WAIT)
    expect(part.find('fieldset').attributes('disabled')).toBeDefined()
    expect(part.findAll('button')).toEqual([])
    part.unmount()
    answering({ [PATH]: 403 })
    const refused = put(FourEyesView)
    await vi.waitFor(() => expect(refused.find('[role=alert]').exists()).toBe(true), WAIT)
  })

  it('are switched on, with the version that was read; another’s change is told first', async () => {
    const world = contested(PATH, eyes())
    const part = put(FourEyesView)
    await vi.waitFor(() => expect(part.text()).toContain('two administrators'), WAIT)
    box().click()
    await type(COOLING, '2')
    await part.find('form').trigger('submit')
    await vi.waitFor(() => expect(world.now).toMatchObject({ enabled: true, cooling_seconds: 7200 }), WAIT)
    expect(world.bodies[0]).toEqual({ enabled: true, cooling_seconds: 7200, expiry_seconds: 604_800 })
    world.eve({ expiry_seconds: 86_400 })
    await type(EXPIRY, '3')
    await part.find('form').trigger('submit')
    await vi.waitFor(() => expect(part.text()).toContain('last by eve'), WAIT)
    expect(field(EXPIRY).value).toBe('3')
    button('Save mine all the same').click()
    await vi.waitFor(() => expect(world.now.expiry_seconds).toBe(259_200), WAIT)
    expect(world.tags).toEqual(['"4"', '"5"', '"6"'])
  })

  it('need two administrators, and say how many there are', async () => {
    const refusal = { code: 'four_eyes_needs_two', key: 'four_eyes_needs_two', params: { count: 1 } }
    const asked = answering({ [PATH]: eyes(), [`PUT ${PATH}`]: Response.json(refusal, { status: 409 }) })
    const part = put(FourEyesView)
    await vi.waitFor(() => expect(part.text()).toContain('two administrators'), WAIT)
    box().click()
    await part.find('form').trigger('submit')
    await vi.waitFor(() => expect(part.find('[role=alert]').text()).toContain('there are 1'), WAIT)
    expect(box().checked).toBe(true)
    expect(asked.filter((one) => one.method === 'PUT').length).toBe(1)
  })

  it('that are on are changed by two: the form says what holds until then', async () => {
    answering({ [PATH]: eyes({ enabled: true }), [`PUT ${PATH}`]: waits('a1') })
    const part = put(FourEyesView)
    await vi.waitFor(() => expect(part.text()).toContain('waits for another person as well'), WAIT)
    box().click()
    await type(COOLING, '0')
    await part.find('form').trigger('submit')
    await vi.waitFor(
      () => expect(part.find('form [role=status]').text()).toContain('Nothing was changed'),
      WAIT,
    )
    expect(part.find('a[href="/access/approvals?id=a1"]').exists()).toBe(true)
    expect([box().checked, field(COOLING).value]).toEqual([true, '1'])
    expect(part.text()).not.toContain('were saved')
  })

  it('send nothing that the API would not take', async () => {
    const asked = answering({ [PATH]: eyes() })
    const part = put(FourEyesView)
    await vi.waitFor(() => expect(part.text()).toContain('two administrators'), WAIT)
    await type(COOLING, '73')
    expect(part.text()).toContain('A number from 0 to 72.')
    expect(button('Save').disabled).toBe(true)
    await part.find('form').trigger('submit')
    expect(asked.filter((one) => one.method === 'PUT')).toEqual([])
  })

  it('hold in French', async () => {
    await speak('fr')
    answering({ [PATH]: eyes() })
    const part = put(FourEyesView)
    await vi.waitFor(() => expect(part.text()).toContain('deux administrateurs'), WAIT)
  })
})
