import { afterEach, describe, expect, it, vi } from 'vitest'
import { focusTitle } from './focus'

const frames = async (count: number): Promise<void> => {
  for (let at = 0; at < count; at += 1) await new Promise((done) => requestAnimationFrame(done))
}

afterEach(() => {
  document.body.innerHTML = ''
  vi.restoreAllMocks()
})

function page(): { title: HTMLElement; button: HTMLElement; field: HTMLElement } {
  document.body.innerHTML = '<h1 tabindex="-1">Sign in</h1><button type="button">Open</button><input>'
  const found = (name: string): HTMLElement => document.querySelector(name) as HTMLElement
  return { title: found('h1'), button: found('button'), field: found('input') }
}

describe('the title of a new page', () => {
  it('takes the focus, and again from where a dialogue gave it back', async () => {
    const { title, button } = page()
    focusTitle()
    await frames(3)
    expect(document.activeElement).toBe(title)
    button.focus()
    await frames(3)
    expect(document.activeElement).toBe(title)
  })

  it('leaves it to a field that somebody, or a password manager, is about to fill', async () => {
    const { field } = page()
    focusTitle()
    await frames(2)
    field.focus()
    await frames(15)
    expect(document.activeElement).toBe(field)
  })

  it('leaves it where a key was pressed', async () => {
    const { button } = page()
    focusTitle()
    await frames(2)
    dispatchEvent(new KeyboardEvent('keydown', { key: 'Tab' }))
    button.focus()
    await frames(15)
    expect(document.activeElement).toBe(button)
  })
})
