import { flushPromises } from '@vue/test-utils'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { answering, button, page, put } from '../../../tests/mounting'
import type { Backup, Hit } from './api'
import FindView from './FindView.vue'
import { grouped, lineOf, newestOfEach, type Wanted } from './search'

const WAIT = { timeout: 120_000 }
const hit = (path: string, more: object = {}): Hit => ({
  server_id: 's1',
  server: 'web1',
  repository_id: 'r1',
  repository: 'system',
  path,
  path_b64: null,
  type: 'file',
  size: 1234,
  modified_at: '2026-11-24T01:00:00Z',
  backup_id: 'b1',
  first_at: '2026-11-20T01:00:00Z',
  last_at: '2026-11-24T01:00:00Z',
  gone_since: null,
  ...more,
})
const answer = (items: Hit[], more: object = {}) => ({
  items,
  more: false,
  incomplete: [],
  not_indexed: [],
  ...more,
})
const backup = (id: string, repository_id: string, more: object = {}) => ({
  id,
  repository_id,
  server_id: repository_id === 'r1' ? 's1' : 's2',
  title: `${repository_id} - system`,
  started_at: '2026-11-24T01:00:00Z',
  missing: false,
  ...more,
})

function view(found: unknown, query = '?q=invoice', backups: unknown = page([])) {
  const asked = answering({
    '/api/files/search': found,
    '/api/backups': backups,
    '/api/servers': page([{ id: 's1', name: 'web1' }]),
  })
  const searched = () => asked.map((one) => one.path).filter((path) => path.startsWith('/api/files'))
  return { searched, part: put(FindView, {}, '', `/find${query}`) }
}

afterEach(() => vi.unstubAllGlobals())

describe('a search', () => {
  const none: Wanted = { words: '', ending: '', within: '', least: 'any', gone: false }

  it.each([
    [{}, ''],
    [{ words: '  ' }, ''],
    [{ gone: true, least: '1M' as const, within: '/srv' }, ''],
    [{ words: ' annual report ' }, 'annual report'],
    [{ ending: '.pdf' }, 'ext:pdf'],
    [
      { words: 'report', ending: 'pdf', within: ' /srv ', least: '1G' as const, gone: true },
      'report ext:pdf in:/srv size>1G deleted:yes',
    ],
  ])('%j is asked for as "%s"', (more, line) => expect(lineOf({ ...none, ...more })).toBe(line))

  it('shows hits of one repository together, the best of all first', () => {
    const groups = grouped([hit('/a'), hit('/b', { repository_id: 'r2' }), hit('/c')])
    expect(groups.map((group) => [group.id, group.hits.map((one) => one.path)])).toEqual([
      ['r1', ['/a', '/c']],
      ['r2', ['/b']],
    ])
  })

  it('without a name begins with the newest backup of each repository that is there', () => {
    const all = [
      backup('1', 'r1', { missing: true }),
      backup('2', 'r1'),
      backup('3', 'r2'),
      backup('4', 'r1'),
    ]
    expect(newestOfEach(all as Backup[]).map((one) => one.id)).toEqual(['2', '3'])
  })
})

describe('the page that finds files', () => {
  it('begins with a question and the newest backups, and asks nothing yet', async () => {
    const { searched, part } = view(answer([]), '', page([backup('b1', 'r1'), backup('b2', 'r2')]))
    await vi.waitFor(() => expect(part.findAll('li a').length).toBe(2), WAIT)
    expect(part.get('li a').attributes('href')).toBe('/backups/b1/files')
    expect(searched()).toEqual([])
    await vi.waitFor(() => expect(part.findAll('select option').length).toBeGreaterThan(1), WAIT)
    await part.get('select').setValue('s1')
    await vi.waitFor(() => expect(part.findAll('li a').length).toBe(1), WAIT)
  })

  it('says where there is no backup yet', async () => {
    const { part } = view(answer([]), '')
    await vi.waitFor(() => expect(part.text()).toContain('No backup yet'), WAIT)
  })

  it('is loading, then shows hits that lead to their directory and their versions', async () => {
    const items = [
      hit('/srv/caf\ufffd', { path_b64: btoa('/srv/caf\xe9') }),
      hit('/<img src=x>\u202e', { gone_since: '2026-11-23T01:00:00Z' }),
      hit('/srv/www', { type: 'directory' }),
      hit('/deleted', { backup_id: null }),
    ]
    const { part } = view(answer(items, { more: true }))
    expect(part.find('[role=status]').exists()).toBe(true)
    await vi.waitFor(() => expect(part.findAll('section li').length).toBe(4), WAIT)
    expect(part.text()).toContain('The first 4 hits; there are more')
    const links = part.findAll('section li').map((row) => row.findAll('a').map((a) => a.attributes('href')))
    expect(links[0]).toEqual([
      '/backups/b1/files?path=/srv',
      `/repositories/r1/versions?path_b64=${btoa('/srv/caf\xe9')}`,
    ])
    expect(part.text()).toContain('<img src=x>\\u{202e}')
    expect(part.find('img').exists()).toBe(false)
    expect(part.text()).toContain('gone since')
    expect(links[1]?.[0]).toBe('/backups/b1/files')
    expect(links[2]?.[0]).toBe('/backups/b1/files?path=/srv/www')
    expect(links[3]?.length).toBe(1)
  })

  it('names who gave no answer, and what is not indexed', async () => {
    const gaps = { incomplete: [{ node: 'node2', code: 'node_away' }], not_indexed: ['r8', 'r9'] }
    const { part } = view(answer([], gaps))
    await vi.waitFor(() => expect(part.text()).toContain('node2 (node_away)'), WAIT)
    expect(part.text()).toContain('The files of 2 repositories are not indexed yet')
    expect(part.text()).toContain('No file has this name')
  })

  it('that is refused is an error, and not "nothing found"', async () => {
    const { part } = view(422)
    await vi.waitFor(() => expect(part.find('[role=alert]').exists()).toBe(true), WAIT)
    expect(part.text()).not.toContain('No file has this name')
  })

  it('searches when it is sent off, with what is in its address', async () => {
    const { searched, part } = view(answer([hit('/a')]), '?q=old&server=s1')
    await vi.waitFor(() => expect(searched().length).toBe(1), WAIT)
    const fields = part.findAll('form input')
    await fields[0]!.setValue('new name')
    await fields[1]!.setValue('/srv/my files')
    await part.get('form').trigger('submit')
    await flushPromises()
    expect(part.text()).toContain('A directory with spaces')
    expect(searched().length).toBe(1)
    await fields[1]!.setValue('/srv')
    await part.get('form').trigger('submit')
    await vi.waitFor(() => expect(searched().length).toBe(2), WAIT)
    const asked = new URL(searched()[1]!, 'http://test').searchParams
    expect(asked.get('q')).toBe('new name in:/srv')
    expect(asked.get('server_id')).toBe('s1')
    expect(part.vm.$router.currentRoute.value.query).toEqual({ q: 'new name', in: '/srv', server: 's1' })
  })

  it('keeps what was typed when a filter is chosen', async () => {
    const { searched, part } = view(answer([]), '')
    await vi.waitFor(() => expect(part.findAll('select')[0]!.findAll('option').length).toBe(2), WAIT)
    await part.get('form input').setValue('report')
    await part.get('select').setValue('s1')
    await vi.waitFor(() => expect(searched().at(-1)).toContain('q=report'), WAIT)
    await part.findAll('select')[1]!.setValue('1G')
    await part.get('input[type=checkbox]').setValue(true)
    const query = { q: 'report', server: 's1', size: '1G', deleted: 'yes' }
    await vi.waitFor(() => expect(part.vm.$router.currentRoute.value.query).toEqual(query), WAIT)
    await part.findAll('select')[1]!.setValue('any')
    await part.get('input[type=checkbox]').setValue(false)
    await vi.waitFor(
      () => expect(part.vm.$router.currentRoute.value.query).toEqual({ q: 'report', server: 's1' }),
      WAIT,
    )
  })

  it('is narrowed to one repository, and opened again', async () => {
    const { searched, part } = view(answer([hit('/a'), hit('/b', { repository_id: 'r2' })]))
    await vi.waitFor(() => expect(part.findAll('section').length).toBe(2), WAIT)
    await part.get('section button').trigger('click')
    await vi.waitFor(() => expect(searched().at(-1)).toContain('repository_id=r1'), WAIT)
    await vi.waitFor(() => button('Search everywhere'), WAIT)
    button('Search everywhere').click()
    await vi.waitFor(() => expect(part.vm.$router.currentRoute.value.query).toEqual({ q: 'invoice' }), WAIT)
  })
})
