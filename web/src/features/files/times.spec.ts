import { flushPromises } from '@vue/test-utils'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { me } from '@/lib/session'
import { answering, button, page, put } from '../../../tests/mounting'
import { ada } from '../../../tests/setup'
import DiffView from './DiffView.vue'
import UsageView from './UsageView.vue'
import VersionsView from './VersionsView.vue'

const WAIT = { timeout: 120_000 }
const backup = (id: string, day: number) => ({
  id,
  title: 'web1 - system',
  server: 'web1',
  server_id: 's1',
  repository_id: 'r1',
  started_at: `2026-11-${day}T01:00:00Z`,
})
const BACKUPS = {
  '/api/backups/b1': backup('b1', 23),
  '/api/backups/b2': backup('b2', 24),
  '/api/backups': page([backup('b3', 25), backup('b2', 24), { ...backup('x', 24), repository_id: 'r2' }]),
  '/api/servers': page([]),
  '/api/repositories/r1': { server: 'web1', name: 'system' },
}

afterEach(() => vi.unstubAllGlobals())

describe('the versions of a path', () => {
  const version = (size: number, more: object = {}) => ({
    type: 'file',
    size,
    modified_at: '2026-11-20T01:00:00Z',
    backups: 1,
    first_at: '2026-11-20T02:00:00Z',
    last_at: '2026-11-20T02:00:00Z',
    backup_id: 'b1',
    ...more,
  })
  const VERSIONS = '/api/repositories/r1/files/versions'
  const view = (answer: unknown, query = `path_b64=${btoa('/srv/caf\xe9')}`) => {
    const asked = answering({ ...BACKUPS, [VERSIONS]: answer })
    return { asked, part: put(VersionsView, {}, '', `/repositories/r1?${query}`) }
  }

  it('are loading, then a row for each content, with what is different from the one before', async () => {
    const items = [
      version(3000, { backups: 14, last_at: '2026-11-24T02:00:00Z', backup_id: 'b2' }),
      version(1000),
      version(1000, { modified_at: null, backup_id: null }),
      version(0, { type: 'symlink' }),
    ]
    const { asked, part } = view({ items, more: true })
    expect(part.find('[role=status]').exists()).toBe(true)
    await vi.waitFor(() => expect(part.findAll('ol li').length).toBe(4), WAIT)
    expect(asked.find((one) => one.path.startsWith(VERSIONS))?.path).toContain(
      `path_b64=${encodeURIComponent(btoa('/srv/caf\xe9'))}`,
    )
    expect(part.get('h1').text()).toBe('caf\ufffd')
    expect(part.get('a').text()).toBe('web1/system')
    const rows = part.findAll('ol li').map((row) => row.text())
    expect(rows[0]).toContain('The same in 14 backups')
    expect(rows[0]).toContain('2\u00a0kB more')
    expect(rows[1]).toContain('same size')
    expect(rows[2]).toContain('was of another kind')
    expect(rows[2]).toContain('Time of the change unknown')
    expect(rows[2]).toContain('Its backups were deleted.')
    expect(rows[3]).toContain('the oldest known')
    expect(part.text()).toContain('There are older versions')
  })

  it('are restored each from the backup that holds it', async () => {
    const { part } = view({ items: [version(3000, { backup_id: 'b2' }), version(1000)], more: false })
    await vi.waitFor(() => expect(part.findAll('ol li').length).toBe(2), WAIT)
    await part.findAll('ol button')[1]!.trigger('click')
    await vi.waitFor(() => expect(document.querySelector('[role=dialog]')).not.toBeNull(), WAIT)
    const text = document.querySelector('[role=dialog]')!.textContent
    expect(text).toContain('Restore 1 item of web1 - system?')
    expect(text).toContain('Mon, Nov 23')
    button('Cancel').click()
    await vi.waitFor(() => expect(document.querySelector('[role=dialog]')).toBeNull(), WAIT)
  })

  it('that cannot be had are an error', async () => {
    const { part } = view(409)
    await vi.waitFor(() => expect(part.find('[role=alert]').exists()).toBe(true), WAIT)
    expect(part.find('ol').exists()).toBe(false)
  })

  it('are not restored by who may not', async () => {
    me.value = ada(['files:read', 'backups:read'])
    const { part } = view({ items: [version(1000)], more: false })
    await vi.waitFor(() => expect(part.findAll('ol li').length).toBe(1), WAIT)
    expect(part.find('ol button').exists()).toBe(false)
  })
})

describe('what differs between two backups', () => {
  const one = (path: string, change: string, before: number | null, after: number | null) => ({
    path,
    path_b64: null,
    type: 'file',
    change,
    size_before: before,
    size_after: after,
  })
  const sums = { added: 1, added_bytes: 5, removed: 1, removed_bytes: 7, changed: 1200, changed_bytes: 9 }
  const view = (answer: unknown) => {
    answering({ ...BACKUPS, '/api/backups/b1/diff/b2': answer })
    return put(DiffView, {}, '', '/backups/b1/diff/b2')
  }

  it('is loading, then summed up and listed, each leading to the backup that holds it', async () => {
    const items = [
      one('/a', 'changed', 1000, 3000),
      one('/b\n', 'added', null, 5),
      one('/c', 'removed', 7, null),
      one('/d', 'changed', 9, 9),
    ]
    const part = view({ items, more: true, ...sums })
    expect(part.find('[role=status]').exists()).toBe(true)
    await vi.waitFor(() => expect(part.findAll('ul li').length).toBe(4), WAIT)
    const rows = part.findAll('ul li')
    expect(rows[0]!.text()).toContain('1\u00a0kB → 3\u00a0kB')
    expect(rows[1]!.text()).toContain('/b\\u{a}')
    expect(rows[1]!.get('a').attributes('href')).toContain('/backups/b2/files')
    expect(rows[2]!.get('a').attributes('href')).toContain('/backups/b1/files')
    expect(part.get('dl').text()).toContain('1,200')
    expect(part.text()).toContain('Shown are the 4 largest')
    await part.findAll('[role=group] button')[3]!.trigger('click')
    await flushPromises()
    expect(part.findAll('ul li').length).toBe(1)
  })

  it('is compared with another of the same repository when that is chosen', async () => {
    const part = view({ items: [], more: false, ...sums })
    await vi.waitFor(() => expect(part.findAll('select option').length).toBe(2), WAIT)
    await part.get('select').setValue('b3')
    await vi.waitFor(() => expect(part.vm.$router.currentRoute.value.path).toBe('/backups/b3/diff/b2'), WAIT)
  })

  it('may be nothing, in words', async () => {
    const part = view({ items: [], more: false, ...sums })
    await vi.waitFor(() => expect(part.text()).toContain('Nothing differs'), WAIT)
  })

  it('that cannot be told is an error', async () => {
    const part = view(409)
    await vi.waitFor(() => expect(part.find('[role=alert]').exists()).toBe(true), WAIT)
  })
})

describe('what takes the space', () => {
  const row = (name: string, size: number, files = 1) => ({ name, name_b64: null, files, size })
  const view = (answer: unknown, query = '') => {
    const asked = answering({ ...BACKUPS, '/api/backups/b1/usage': answer })
    return { asked, part: put(UsageView, {}, '', `/backups/b1${query}`) }
  }
  const sums = { files: 3, size: 4000, more: false, partial: false }

  it('is loading, then listed with its share; a name is opened by its address', async () => {
    const items = [row('www', 3000, 2), row('<b>', 1000)]
    const { asked, part } = view({ items, ...sums, more: true, partial: true }, '?path=/srv')
    expect(part.find('[role=status]').exists()).toBe(true)
    await vi.waitFor(() => expect(part.findAll('ul li').length).toBe(2), WAIT)
    expect(part.text()).toContain('3 files, 4\u00a0kB')
    expect(part.findAll('ul li')[0]!.text()).toContain('75%')
    expect(part.findAll('ul li')[1]!.text()).toContain('<b>')
    expect(part.text()).toContain('There was no time to add up all')
    expect(part.text()).toContain('There are more names')
    await part.get('ul button').trigger('click')
    await vi.waitFor(() => expect(asked.at(-1)?.path).toContain(encodeURIComponent(btoa('/srv/www'))), WAIT)
  })

  it('of an empty directory is nothing, in words', async () => {
    const { part } = view({ items: [], ...sums })
    await vi.waitFor(() => expect(part.text()).toContain('This directory is empty.'), WAIT)
  })

  it('of a file leads to its directory', async () => {
    vi.stubGlobal('fetch', async (request: Request) => {
      const usage = request.url.includes('/usage')
      const body = usage ? { code: 'path_no_directory' } : backup('b1', 23)
      return new Response(JSON.stringify(body), {
        status: usage ? 422 : 200,
        headers: { 'Content-Type': 'application/json' },
      })
    })
    const part = put(UsageView, {}, '', '/backups/b1?path=/srv/file')
    await vi.waitFor(() => expect(part.text()).toContain('This is a file'), WAIT)
    expect(part.find('[role=alert]').exists()).toBe(false)
    button('Show in its directory').click()
    await vi.waitFor(
      () => expect(part.vm.$router.currentRoute.value.fullPath).toBe('/backups/b1/files?path=/srv'),
      WAIT,
    )
  })

  it('that cannot be told is an error', async () => {
    const { part } = view(503)
    await vi.waitFor(() => expect(part.find('[role=alert]').exists()).toBe(true), WAIT)
  })
})
