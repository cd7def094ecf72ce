import { flushPromises } from '@vue/test-utils'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { useNotices } from '@/lib/notices'
import { me } from '@/lib/session'
import { answering, put } from '../../../tests/mounting'
import { PERMISSIONS } from '../../../tests/permissions'
import { ada } from '../../../tests/setup'
import DownloadMenu from './components/DownloadMenu.vue'
import { formatsOf } from './downloads'

const WAIT = { timeout: 120_000 }
const FILE = { path: '/etc/caf\xe9', size: 5, directory: false }
const DIRECTORY = { path: '/srv', size: null, directory: true }
const LINK = { url: '/api/downloads/secret', name: 'café', expires_at: '', estimated_bytes: 5 }

const menu = (items: (typeof FILE | typeof DIRECTORY)[], answer: unknown = LINK) => {
  const asked = answering({ '/api/backups/b1/downloads': answer })
  return { asked, part: put(DownloadMenu, { backup: 'b1', items }) }
}

async function choose(part: ReturnType<typeof menu>['part'], text: string): Promise<void> {
  await part.find('button').trigger('pointerdown', { button: 0 })
  await part.find('button').trigger('click', { button: 0 })
  const found = () =>
    [...document.querySelectorAll('[role=menuitem]')].find((one) => one.textContent?.trim() === text)
  await vi.waitFor(() => expect(found()).toBeTruthy(), WAIT)
  found()?.dispatchEvent(new MouseEvent('click', { bubbles: true }))
  await flushPromises()
}

afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

describe('downloads', () => {
  it('offer one file as it is, and everything else in a form that holds many', () => {
    expect(formatsOf([FILE])).toEqual(['file', 'zip', 'tar.zst', 'tar'])
    for (const items of [[], [DIRECTORY], [FILE, FILE]])
      expect(formatsOf(items as never)).toEqual(['zip', 'tar.zst', 'tar'])
  })

  it('ask for what was chosen by its bytes, and leave the link to the browser', async () => {
    const followed = vi.fn()
    vi.spyOn(HTMLAnchorElement.prototype, 'click').mockImplementation(function (this: HTMLAnchorElement) {
      followed(this.getAttribute('href'), this.download)
    })
    const { asked, part } = menu([FILE])
    await choose(part, 'The file as it is')
    await vi.waitFor(() => expect(followed).toHaveBeenCalledWith('/api/downloads/secret', 'café'), WAIT)
    expect(asked.map((one) => [one.method, one.path, JSON.parse(one.body)])).toEqual([
      ['POST', '/api/backups/b1/downloads', { items: [{ path_b64: btoa('etc/caf\xe9') }], format: 'file' }],
    ])
    expect(useNotices().items.map((one) => one.text)).toEqual(['The download of café begins.'])
  })

  it('say why there is none, and follow nothing', async () => {
    const click = vi.spyOn(HTMLAnchorElement.prototype, 'click').mockImplementation(() => undefined)
    const { part } = menu([DIRECTORY], 503)
    await choose(part, 'As zip, for any machine')
    await vi.waitFor(
      () => expect(useNotices().items.map((one) => one.problem?.code)).toEqual(['forbidden']),
      WAIT,
    )
    expect(click).not.toHaveBeenCalled()
  })

  it('are not offered to who may not', () => {
    me.value = ada(PERMISSIONS.filter((one) => one !== 'backups:download'))
    expect(menu([FILE]).part.find('button').exists()).toBe(false)
  })
})
