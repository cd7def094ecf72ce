import { describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { me } from '@/lib/session'
import { put } from '../../../tests/mounting'
import { PERMISSIONS } from '../../../tests/permissions'
import { ada } from '../../../tests/setup'
import CommandPalette from './CommandPalette.vue'
import TopBar from './TopBar.vue'

const without = (permission: string) => PERMISSIONS.filter((one) => one !== permission)
const restore = () => put(TopBar).find('a[href="/find"]')

async function palette(words: string) {
  const part = put(CommandPalette, { open: true })
  await vi.waitFor(() => expect(document.querySelector('[role=combobox]')).not.toBeNull())
  const field = document.querySelector<HTMLInputElement>('[role=combobox]')!
  field.value = words
  field.dispatchEvent(new Event('input'))
  await nextTick()
  const options = [...document.querySelectorAll<HTMLElement>('[role=option]')]
  return { part, options, texts: options.map((one) => one.textContent?.trim()) }
}

describe('the way to a file', () => {
  it('is in the top bar', () => expect(restore().text()).toBe('Restore'))

  it.each(['files:read', 'backups:restore'])('is not there for who lacks %s', (permission) => {
    me.value = ada(without(permission))
    expect(restore().exists()).toBe(false)
  })

  it('is in the palette: what is no place’s name may be a file’s', async () => {
    const { part, options, texts } = await palette(' 100% <b> ')
    expect(texts).toEqual(['Find files named “100% <b>”'])
    options[0]!.click()
    await vi.waitFor(() => expect(part.vm.$router.currentRoute.value.query).toEqual({ q: '100% <b>' }))
    expect(part.vm.$router.currentRoute.value.path).toBe('/find')
  })

  it('comes last in the palette, and not without words', async () => {
    expect((await palette('alerts')).texts).toEqual(['Alerts', 'Find files named “alerts”'])
  })

  it('is not in the palette for who may not see files', async () => {
    me.value = ada(without('files:read'))
    expect((await palette('alerts')).texts).toEqual(['Alerts'])
  })
})
