import { flushPromises } from '@vue/test-utils'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { me } from '@/lib/session'
import { answering, button, page, put } from '../../../tests/mounting'
import { ada } from '../../../tests/setup'
import FilesView from './FilesView.vue'
import { below, fromQuery, modeOf, nameOf, textOf, toItem, toQuery, trail } from './path'
import { useSelection } from './selection'

const WAIT = { timeout: 120_000 }
const BACKUP = { id: 'b1', title: 'web1 - system', server: 'web1', started_at: '2026-11-24T01:00:00Z' }
const file = (name: string, over: object = {}) => ({
  name,
  name_b64: null,
  type: 'file',
  mode: 0o640,
  uid: 0,
  gid: 33,
  user: 'root',
  group: '',
  size: 1234,
  modified_at: '2026-11-24T01:00:00Z',
  target: '',
  ...over,
})
const directory = (name: string, over: object = {}) => file(name, { type: 'directory', size: 0, ...over })

const view = (items: unknown, query = '') => {
  const asked = answering({
    '/api/backups/b1': BACKUP,
    '/api/backups/b1/files': items,
    '/api/backups/b1/restores': { id: 'j1' },
  })
  return { asked, part: put(FilesView, {}, '', `/backups/b1${query}`) }
}

afterEach(() => vi.unstubAllGlobals())

describe('a path', () => {
  // The second name is no UTF-8, the third holds what nobody sees, the fourth is beyond ASCII.
  it.each([
    [{ name: 'www', name_b64: null }, { path: '/srv/www' }],
    [{ name: 'caf\ufffd', name_b64: btoa('caf\xe9') }, { path_b64: btoa('/srv/caf\xe9') }],
    [{ name: 'a\n\u202eb', name_b64: null }, { path: '/srv/a\n\u202eb' }],
    [{ name: 'été 🦀', name_b64: null }, { path: '/srv/été 🦀' }],
    [{ name: '\ufffd', name_b64: null }, { path: '/srv/\ufffd' }],
  ])('case %#: comes back from the address bar byte for byte', (entry, query) => {
    const path = below('/srv', nameOf(entry))
    expect(toQuery(path)).toEqual(query)
    expect(fromQuery(toQuery(path))).toBe(path)
    expect(textOf(path)).toBe(`/srv/${entry.name}`)
    expect(atob(toItem(path).path_b64)).toBe(path.slice(1))
  })

  it.each([
    [{}, '/'],
    [{ path: 'relative' }, '/'],
    [{ path: ['/a', '/b'] }, '/'],
    [{ path_b64: 'no base64!' }, '/'],
    [{ path_b64: 'abc' }, '/'],
  ])('%j that nobody made leads to the top', (query, path) => expect(fromQuery(query)).toBe(path))

  it('leads back through each directory above it', () => {
    expect(trail('/')).toEqual([])
    expect(trail('/srv/www')).toEqual([
      { name: 'srv', path: '/srv' },
      { name: 'www', path: '/srv/www' },
    ])
  })

  it.each([
    ['file', 0o640, '-rw-r-----'],
    ['directory', 0o1777, 'drwxrwxrwt'],
    ['file', 0o4755, '-rwsr-xr-x'],
    ['file', 0o6644, '-rwSr-Sr--'],
    ['symlink', 0o777, 'lrwxrwxrwx'],
    ['other', 0, '----------'],
  ])('%s %o is %s, as ls says', (type, mode, shown) => expect(modeOf(type, mode)).toBe(shown))
})

describe('what is chosen', () => {
  const one = (path: string, directory = false, size: number | null = 5) => ({ path, directory, size })

  it('of a directory is all that lies in it, once, and not what begins alike', () => {
    const selection = useSelection()
    selection.toggle(one('/srv/www/a'))
    selection.toggle(one('/srv/www2'))
    selection.toggle(one('/srv/www', true))
    expect(selection.list.value.map((chosen) => chosen.path)).toEqual(['/srv/www2', '/srv/www'])
    expect(selection.within('/srv/www/deep/file')).toBe(true)
    expect(selection.within('/srv/www2')).toBe(false)
    selection.toggle(one('/srv/www', true))
    expect(selection.list.value.length).toBe(1)
    selection.clear()
    expect(selection.list.value).toEqual([])
  })

  it.each([
    [[one('/a'), one('/b')], 10],
    [[one('/a'), one('/b', true)], null],
    [[one('/a', false, null)], null],
    [[one('/a', false, 0)], 0],
  ])('case %#: has a size only where all of it is known', (all, size) => {
    const selection = useSelection()
    all.forEach(selection.toggle)
    expect(selection.size.value).toBe(size)
  })
})

describe('the files of a backup', () => {
  it('are loading, then listed with directories first; one is opened by its address', async () => {
    const { asked, part } = view(page([file('b.txt'), directory('www')]))
    expect(part.find('[role=status]').text()).toContain('Reading the backup')
    await vi.waitFor(() => expect(part.findAll('tbody tr').length).toBe(2), WAIT)
    expect(part.findAll('tbody tr').map((row) => row.text())[0]).toContain('www')
    expect(part.text()).toContain('-rw-r-----')
    expect(part.text()).toContain('root:33')
    await part.get('tbody button').trigger('click')
    await flushPromises()
    await vi.waitFor(
      () => expect(asked.at(-1)?.path).toContain(`path_b64=${encodeURIComponent(btoa('/www'))}`),
      WAIT,
    )
    expect(part.vm.$router.currentRoute.value.query).toEqual({ path: '/www' })
  })

  it('that are hostile stay text', async () => {
    const { part } = view(page([file('<img src=x>\u202e\n', { target: '\u001b[31m' })]))
    await vi.waitFor(() => expect(part.text()).toContain('<img src=x>\\u{202e}\\u{a}'), WAIT)
    expect(part.find('img').exists()).toBe(false)
    expect(part.text()).toContain('→ \\u{1b}[31m')
  })

  it('that cannot be had are an error, and not an empty directory', async () => {
    const { part } = view(503, '?path=/gone')
    await vi.waitFor(() => expect(part.find('[role=alert]').exists()).toBe(true), WAIT)
    expect(part.text()).not.toContain('is empty')
  })

  it('of an empty directory are none, in words', async () => {
    const { part } = view(page([]))
    await vi.waitFor(() => expect(part.text()).toContain('This directory is empty.'), WAIT)
  })

  it('are restored as they were chosen, byte for byte, to a new directory unless another is given', async () => {
    const { asked, part } = view(
      page([file('caf\ufffd', { name_b64: btoa('caf\xe9') }), file('b')]),
      '?path=/srv',
    )
    await vi.waitFor(() => expect(part.findAll('tbody tr').length).toBe(2), WAIT)
    await part.get('tbody input').setValue(true)
    expect(part.text()).toContain('1 item chosen · 1.23\u00a0kB')
    button('Restore…').click()
    await nextTick()
    const dialog = document.querySelector('[role=dialog]')
    expect(dialog?.textContent).toContain('Restore 1 item of web1 - system?')
    expect(dialog?.textContent).toContain('Nothing that is there is overwritten')
    const posted = () => asked.find((one) => one.method === 'POST')
    button('Restore').click()
    await vi.waitFor(() => expect(posted()).toBeDefined(), WAIT)
    expect(JSON.parse(posted()?.body ?? '')).toEqual({
      items: [{ path_b64: btoa('srv/caf\xe9') }],
      owner: 'numeric',
      layout: 'short',
      metadata: 'full',
      verify: 'sample',
    })
    await vi.waitFor(() => expect(part.vm.$router.currentRoute.value.path).toBe('/jobs/j1'), WAIT)
  })

  it('are offered for a restore only to who may', async () => {
    me.value = ada(['files:read', 'backups:read'])
    const { part } = view(page([file('b')]))
    await vi.waitFor(() => expect(part.findAll('tbody tr').length).toBe(1), WAIT)
    expect(part.text()).not.toContain('Restore')
  })
})
