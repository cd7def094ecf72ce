import { flushPromises } from '@vue/test-utils'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { me } from '@/lib/session'
import { answering, button, page, put } from '../../../tests/mounting'
import { ada } from '../../../tests/setup'
import FilesView from './FilesView.vue'
import { useSelection } from './selection'

const WAIT = { timeout: 120_000 }
const BACKUP = {
  id: 'b1',
  title: 'web1 - system',
  server: 'web1',
  server_id: 's1',
  repository_id: 'r1',
  started_at: '2026-11-24T01:00:00Z',
}
const LOOKED = {
  id: 'p1',
  state: 'succeeded',
  finished_at: '2026-11-24T02:00:00Z',
  result: {
    preview: true,
    mode: 'directory',
    server: 'web1',
    target: '/var/restore/x',
    files: 1,
    original_size: 5,
  },
}
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
    '/api/servers': page([]),
    '/api/backups/b1/restores/preview': { id: 'p1' },
    '/api/jobs/p1': LOOKED,
    '/api/backups/b1/restores': { id: 'j1' },
  })
  return { asked, part: put(FilesView, {}, '', `/backups/b1${query}`) }
}

afterEach(() => vi.unstubAllGlobals())

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
    expect(dialog?.textContent).toContain('nothing is written before you confirm it')
    button('Preview…').click()
    await vi.waitFor(
      () => expect(dialog?.textContent).toContain('1 file, 5\u00a0B, to /var/restore/x on web1.'),
      WAIT,
    )
    button('Restore').click()
    const posted = () => asked.filter((one) => one.method === 'POST').map((one) => JSON.parse(one.body))
    await vi.waitFor(() => expect(posted().length).toBe(2), WAIT)
    const body = {
      items: [{ path_b64: btoa('srv/caf\xe9') }],
      mode: 'directory',
      existing: 'keep',
      owner: 'numeric',
      layout: 'short',
      metadata: 'full',
      verify: 'sample',
    }
    expect(posted()).toEqual([body, body])
    await vi.waitFor(() => expect(part.vm.$router.currentRoute.value.path).toBe('/jobs/j1'), WAIT)
  })

  it('are offered for a restore only to who may', async () => {
    me.value = ada(['files:read', 'backups:read'])
    const { part } = view(page([file('b')]))
    await vi.waitFor(() => expect(part.findAll('tbody tr').length).toBe(1), WAIT)
    expect(part.text()).not.toContain('Restore')
  })
})
