import { flushPromises } from '@vue/test-utils'
import { createPinia, setActivePinia } from 'pinia'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { ApiError, unreachable } from '@/lib/api/errors'
import { speak } from '@/lib/i18n'
import { useNotices } from '@/lib/notices'
import { STATUS } from '@/lib/status'
import { put } from '../../tests/mounting'
import Badge from './Badge.vue'
import Button from './Button.vue'
import ConfirmDialog from './ConfirmDialog.vue'
import Copy from './Copy.vue'
import ErrorPanel from './ErrorPanel.vue'
import Meter from './Meter.vue'
import Name from './Name.vue'
import Steps from './Steps.vue'
import { columns, spoken } from './series'
import TextField from './TextField.vue'

afterEach(() => {
  vi.unstubAllGlobals()
})

describe('Button', () => {
  it('cannot be pressed twice while it works', async () => {
    const part = put(Button, { busy: true }, 'Save')
    await part.trigger('click')
    expect(part.emitted('click')).toBeUndefined()
    expect(part.attributes('aria-busy')).toBe('true')
  })
  it('submits nothing unless it is told to', () => {
    expect(put(Button, {}, 'x').attributes('type')).toBe('button')
    expect(put(Button, { type: 'submit' }, 'x').attributes('type')).toBe('submit')
  })
})

describe('Badge', () => {
  it('says its state in a word, never by colour alone', () => {
    const part = put(Badge, { status: STATUS.job.failed })
    expect(part.text()).toBe('Failed')
    expect(part.find('svg').attributes('aria-hidden')).toBe('true')
  })
})

describe('Meter', () => {
  it('shows zero as zero', () => {
    const meter = put(Meter, { label: 'CPU', figure: 'cpu', value: 0 }).get('[role=meter]')
    expect(meter.attributes()).toMatchObject({
      'aria-valuenow': '0',
      'aria-label': 'CPU',
      'aria-valuetext': '0%',
    })
  })
  it('shows unknown as a word on a hatch, and not as an empty bar', () => {
    const part = put(Meter, { label: 'CPU', figure: 'cpu', value: null })
    expect(part.text()).toContain('unknown')
    expect(part.find('[role=meter]').exists()).toBe(false)
    expect(part.find('.hatch').exists()).toBe(true)
  })
  it.each([
    [10, 'ok'],
    [50, 'warn'],
    [95, 'bad'],
  ])('at %s % is %s', (value, tone) => {
    expect(put(Meter, { label: 'CPU', figure: 'cpu', value }).attributes('data-tone')).toBe(tone)
  })
})

describe('TextField', () => {
  it('names its error to those who do not see it', () => {
    const part = put(TextField, { label: 'Address', modelValue: '', error: 'is missing', hint: 'a host' })
    const input = part.get('input')
    expect(input.attributes('aria-invalid')).toBe('true')
    expect(part.get(`#${input.attributes('aria-describedby')}`).text()).toBe('is missing')
    expect(part.get('label').attributes('for')).toBe(input.attributes('id'))
  })
})

describe('ErrorPanel', () => {
  const problem = {
    ...unreachable,
    status: 409,
    code: 'something_new',
    detail: 'It is frozen.',
    remedy: 'Thaw it.',
  }
  it('says what is known of an error in the person’s language', async () => {
    await speak('fr')
    const part = put(ErrorPanel, { problem: { ...problem, code: 'no_connection' } })
    expect(part.text()).toContain('Borgfleet ne répond pas.')
    expect(part.text()).not.toContain('en anglais')
  })
  it('marks what the API says in English as English', async () => {
    await speak('fr')
    const part = put(ErrorPanel, { problem })
    expect(part.text()).toContain('en anglais')
    expect(part.findAll('[lang=en]').map((one) => one.text())).toEqual(['It is frozen.', 'Thaw it.'])
  })
  it('is read out, and can be tried again', async () => {
    const retry = vi.fn()
    const part = put(ErrorPanel, { problem, retry })
    expect(part.attributes('role')).toBe('alert')
    await part.get('button').trigger('click')
    expect(retry).toHaveBeenCalledOnce()
  })

  const waiting = { ...unreachable, status: 202, code: 'approval_asked', asked: { id: 'a/1', secret: '' } }
  it('is calm about what waits for another person, and leads to it', async () => {
    const part = put(ErrorPanel, { problem: waiting, retry: vi.fn() })
    expect(part.attributes('role')).toBe('status')
    expect(part.find('[role=alert]').exists()).toBe(false)
    expect(part.text()).toContain('Nothing was changed yet: another person has to agree.')
    expect(part.get('a').attributes('href')).toBe('/access/approvals?id=a%2F1')
    expect(part.find('button').exists()).toBe(false)
  })
  it('shows a secret of it as text, and keeps this page when one goes on', async () => {
    const secret = '<img src=x onerror=alert(1)>'
    const part = put(ErrorPanel, { problem: { ...waiting, asked: { id: 'a1', secret } } })
    expect(part.text()).toContain(secret)
    expect(part.text()).toContain('shown only now')
    expect(part.find('img').exists()).toBe(false)
    expect(part.get('a').attributes('target')).toBe('_blank')
  })
})

describe('a notice', () => {
  it('is there for each that waits for another person; the same failure is said once', () => {
    setActivePinia(createPinia())
    const notices = useNotices()
    const asked = (id: string) => ({ ...unreachable, code: 'approval_asked', asked: { id, secret: '' } })
    for (const id of ['a1', 'a2', 'a1']) notices.fail(asked(id))
    for (const _ of [1, 2]) notices.fail(unreachable)
    expect(notices.items.map((one) => one.problem?.asked?.id ?? '')).toEqual(['a1', 'a2', ''])
  })
})

describe('ConfirmDialog', () => {
  const props = { open: true, title: 'Remove web1?', description: 'It goes.', verb: 'Remove', name: 'web1' }
  const inPage = (selector: string) => document.querySelector<HTMLInputElement>(selector)!
  async function type(text: string): Promise<void> {
    inPage('[role=dialog] input').value = text
    inPage('[role=dialog] input').dispatchEvent(new Event('input'))
    await nextTick()
  }

  it('does nothing until the name was typed', async () => {
    const act = vi.fn(async () => {})
    put(ConfirmDialog, { ...props, act })
    await flushPromises()
    await type('web')
    inPage('form').dispatchEvent(new Event('submit'))
    await flushPromises()
    expect(act).not.toHaveBeenCalled()
    await type('web1')
    inPage('form').dispatchEvent(new Event('submit'))
    await flushPromises()
    expect(act).toHaveBeenCalledOnce()
  })

  const answering = (secret: string) => async () =>
    Promise.reject(new ApiError({ ...unreachable, code: 'approval_asked', asked: { id: 'a1', secret } }))
  const buttons = () =>
    [...document.querySelectorAll('[role=dialog] button')].map((one) => one.textContent?.trim())
  const press = async () => {
    inPage('[role=dialog]').dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true }))
    await flushPromises()
  }

  it('has nothing more to ask about what waits for another person', async () => {
    const part = put(ConfirmDialog, { ...props, act: answering('') })
    await flushPromises()
    await type('web1')
    inPage('form').dispatchEvent(new Event('submit'))
    await flushPromises()
    expect(inPage('[role=dialog] [role=status]').textContent).toContain('another person has to agree')
    expect(inPage('[role=dialog] input')).toBeNull()
    expect(buttons()).toEqual(['Close'])
    await press()
    expect(part.emitted('update:open')).toEqual([[false]])
  })

  it('keeps a secret of it until it was kept', async () => {
    const part = put(ConfirmDialog, { ...props, act: answering('bf_s3cret') })
    await flushPromises()
    await type('web1')
    inPage('form').dispatchEvent(new Event('submit'))
    await flushPromises()
    expect(buttons()).toEqual(['Copy the secret', 'I have kept it'])
    await press()
    expect(part.emitted('update:open')).toBeUndefined()
    expect(inPage('[role=dialog]').textContent).toContain('bf_s3cret')
    const kept = [...document.querySelectorAll<HTMLElement>('[role=dialog] button')].at(-1)!
    kept.click()
    await flushPromises()
    expect(part.emitted('update:open')).toEqual([[false]])
  })

  it('stays open and says why when it was refused', async () => {
    put(ConfirmDialog, { ...props, act: async () => Promise.reject(new Error('it is in use')) })
    await flushPromises()
    await type('web1')
    inPage('form').dispatchEvent(new Event('submit'))
    await flushPromises()
    expect(inPage('[role=dialog]').textContent).toContain('Something went wrong')
  })
})

describe('Copy', () => {
  it('says that it copied', async () => {
    const written = vi.fn(async () => {})
    vi.stubGlobal('navigator', { ...navigator, clipboard: { writeText: written } })
    const part = put(Copy, { text: 'ssh-ed25519 AAAA', label: 'Copy the key' })
    await part.trigger('click')
    await flushPromises()
    expect(written).toHaveBeenCalledWith('ssh-ed25519 AAAA')
    expect(part.text()).toBe('Copied')
  })
  it('says that it could not, as over plain http', async () => {
    vi.stubGlobal('navigator', { ...navigator, clipboard: undefined })
    const part = put(Copy, { text: 'x', label: 'Copy' })
    await part.trigger('click')
    await flushPromises()
    expect(part.text()).toContain('by hand')
  })
})

describe('Name', () => {
  it('is text, whatever it holds', () => {
    const part = put(Name, { name: '<img src=x onerror=alert(1)>\u202e' })
    expect(part.find('img').exists()).toBe(false)
    expect(part.text()).toBe('<img src=x onerror=alert(1)>\\u{202e}')
  })
})

describe('Steps', () => {
  it('says the state of each in words too', () => {
    const part = put(Steps, {
      steps: [
        { label: 'Connect', state: 'done' },
        { label: 'Install', state: 'busy' },
      ],
    })
    expect(part.findAll('li').map((one) => one.text())).toEqual(['Connectdone', 'Installat work'])
    expect(part.findAll('li')[1]!.attributes('aria-current')).toBe('step')
  })
})

describe('a time series', () => {
  const point = (at: string, mean: number | null) => ({
    at: `2026-11-24T${at}:00Z`,
    min: mean,
    mean,
    max: mean,
  })
  it('keeps its gaps: nothing is drawn where nothing is known', () => {
    const [times, , , means] = columns([point('10:00', 1), point('10:05', 2), point('12:00', 3)], 300)
    expect(means).toEqual([1, 2, null, 3])
    expect(times[2]! - times[1]!).toBe(300)
  })
  it('is said in words', () => {
    expect(spoken([point('10:00', 5), point('10:05', null), point('10:10', 0)])).toEqual({
      least: 0,
      most: 5,
      last: 0,
    })
    expect(spoken([point('10:00', null)])).toBeNull()
  })
})
