import { afterEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { me } from '@/lib/session'
import { answering, button, page, put } from '../../../tests/mounting'
import { PERMISSIONS } from '../../../tests/permissions'
import { ada } from '../../../tests/setup'
import RestoreDialog from './components/RestoreDialog.vue'
import { bodyOf, type Choices, firstChoices, isComplete, isDangerous } from './restoring'

const WAIT = { timeout: 120_000 }
const BACKUP = {
  id: 'b1',
  title: 'web1 - system',
  server: 'web1',
  server_id: 's1',
  started_at: '2026-11-24T01:00:00Z',
}
const ITEM = { path: '/srv/www', size: 5, directory: true }
const found = (more: object = {}) => ({
  preview: true,
  mode: 'swap',
  server: 'web1',
  target: '/srv',
  files: 812,
  original_size: 1_200_000,
  free_bytes: 210_000_000,
  free_inodes: null,
  existing: { count: 1, first: [{ path: 'www', size: 4096, mtime_ns: 1_764_000_000_000_000_000 }] },
  ...more,
})
const ended = (result: object, more: object = {}) => ({
  id: 'p1',
  state: 'succeeded',
  waiting_for: null,
  progress: null,
  finished_at: '2026-11-24T02:00:00Z',
  message: null,
  code: null,
  reason: null,
  remedy: null,
  result,
  ...more,
})
const SERVERS = page([
  { id: 's1', name: 'web1', state: 'ready' },
  { id: 's2', name: 'db1', state: 'ready' },
  { id: 's3', name: 'raw', state: 'new' },
])

async function opened(job: unknown, items: unknown[] = [ITEM], more: Record<string, unknown> = {}) {
  const asked = answering({
    '/api/servers': SERVERS,
    '/api/backups/b1/restores/preview': { id: 'p1' },
    '/api/jobs/p1': job,
    '/api/backups/b1/restores': { id: 'j1' },
    ...more,
  })
  const part = put(RestoreDialog, { open: true, backup: BACKUP, items })
  const posted = () => asked.filter((one) => one.method === 'POST').map((one) => JSON.parse(one.body))
  await vi.waitFor(() => expect(dialog()).not.toBeNull(), WAIT)
  return { asked, part, posted }
}
const dialog = (): HTMLElement => document.querySelector('[role=dialog]')!
const said = (): string => dialog().textContent ?? ''
async function choose(value: string): Promise<void> {
  const radio = dialog().querySelector<HTMLInputElement>(`input[type=radio][value=${value}]`)!
  radio.click()
  await nextTick()
}
async function type(text: string): Promise<void> {
  const field = dialog().querySelector<HTMLInputElement>('input[type=text]')!
  field.value = text
  field.dispatchEvent(new Event('input'))
  await nextTick()
}

afterEach(() => vi.unstubAllGlobals())

describe('what is chosen of a restore', () => {
  const with_ = (more: Partial<Choices>): Choices => ({ ...firstChoices(), ...more })

  it.each([
    [{}, { mode: 'directory', layout: 'short', existing: 'keep' }],
    [
      { where: 'own', target: ' /x ', layout: 'full' },
      { mode: 'directory', target_path: '/x', layout: 'full' },
    ],
    // What belongs to another way is not sent along.
    [
      { where: 'swap', target: '/x', layout: 'full', existing: 'replace' },
      { mode: 'swap', layout: 'short', existing: 'keep' },
    ],
    [
      { where: 'merge', existing: 'replace', server: 's2' },
      { mode: 'merge', existing: 'replace', target_server_id: 's2' },
    ],
    [{ where: 'beside' }, { mode: 'beside', existing: 'keep' }],
  ] as const)('%j is asked for as %j', (chosen, body) => {
    const asked = bodyOf(with_(chosen), [ITEM])
    expect(asked).toMatchObject({ ...body, items: [{ path_b64: btoa('srv/www') }] })
    expect('target_path' in asked).toBe('target_path' in body)
    expect('target_server_id' in asked).toBe('target_server_id' in body)
  })

  it.each([
    [{}, true, false],
    [{ where: 'own' }, false, false],
    [{ where: 'own', target: 'x' }, false, false],
    [{ where: 'own', target: '/x' }, true, false],
    [{ where: 'beside' }, true, false],
    [{ where: 'swap' }, true, true],
    [{ where: 'merge' }, true, true],
  ] as const)('%j is complete: %s, and moves what is there: %s', (chosen, complete, dangerous) => {
    expect(isComplete(with_(chosen))).toBe(complete)
    expect(isDangerous(with_(chosen))).toBe(dangerous)
  })
})

describe('a restore', () => {
  it('in place of what is there shows it, and asks for the server’s name', async () => {
    const { part, posted } = await opened(ended(found()))
    await choose('swap')
    button('Preview…').click()
    await vi.waitFor(() => expect(said()).toContain('1 item is there now'), WAIT)
    expect(said()).toContain('812 files, 1.2\u00a0MB, in place of what is in /srv on web1.')
    expect(said()).toContain('.before-restore-')
    expect(said()).toContain('4.1\u00a0kB')
    expect(said()).toContain('Free inodes thereunknown')
    expect(button('Restore').disabled).toBe(true)
    await type('db1')
    expect(button('Restore').disabled).toBe(true)
    await type('web1')
    button('Restore').click()
    await vi.waitFor(() => expect(posted().length).toBe(2), WAIT)
    expect(posted()[1]).toEqual({ ...posted()[0], confirm: 'p1' })
    await vi.waitFor(() => expect(part.vm.$router.currentRoute.value.path).toBe('/jobs/j1'), WAIT)
  })

  it.each([
    ['keep', 'stays as it is, and is not restored'],
    ['replace', 'The old files are set aside'],
  ])('into what is there says what happens to files there: %s', async (existing, words) => {
    const { posted } = await opened(ended(found({ mode: 'merge', existing: { count: 0, first: [] } })))
    await choose('merge')
    await choose(existing)
    button('Preview…').click()
    await vi.waitFor(() => expect(said()).toContain(words), WAIT)
    expect(said()).toContain('None of it is there now')
    expect(posted()[0]).toMatchObject({ mode: 'merge', existing })
  })

  it('that would not work says why, and leads back to the choice', async () => {
    const reason = 'web1 has 0.10 GiB free at /var, and 2.00 GiB are needed'
    await opened(ended({}, { state: 'failed', code: 'target_full', reason, remedy: 'make room' }))
    button('Preview…').click()
    await vi.waitFor(() => expect(said()).toContain('would not work'), WAIT)
    expect(said()).toContain(reason)
    expect(said()).toContain('make room')
    expect(button('Restore').disabled).toBe(true)
    button('Back').click()
    await nextTick()
    expect(said()).toContain('A new directory')
  })

  it('is looked at for as long as it takes, and says in which phase', async () => {
    const working = { state: 'running', finished_at: null, progress: { phase: 'making the view' } }
    await opened(ended({}, working))
    button('Preview…').click()
    await vi.waitFor(() => expect(said()).toContain('Making a view of the repository'), WAIT)
    expect(button('Restore').disabled).toBe(true)
  })

  it('tells what is missing, damaged, lost, and backed up again', async () => {
    const more = {
      missing: ['a\u202e'],
      damaged: ['b'],
      lost: ['flags of 2 entries'],
      inside_sources_of: ['web1-all'],
    }
    await opened(ended(found({ mode: 'directory', existing: {}, ...more })))
    button('Preview…').click()
    await vi.waitFor(() => expect(said()).toContain('1 chosen item is not in this backup'), WAIT)
    expect(said()).toContain('a\\u{202e}')
    expect(said()).toContain('1 file is damaged')
    expect(said()).toContain('flags of 2 entries')
    expect(said()).toContain('backed up by web1-all')
  })

  it('of all goes only into a new directory', async () => {
    await opened(ended(found()), [])
    expect(said()).toContain('Restore all of web1 - system?')
    expect(said()).toContain('choose files or directories first')
    expect(dialog().querySelector('input[value=swap]')).toBeNull()
  })

  it('to another server is offered with servers that are ready, and only to who may', async () => {
    const { posted } = await opened(ended(found()))
    await vi.waitFor(() => expect(dialog().querySelector('select')).not.toBeNull(), WAIT)
    const select = dialog().querySelector('select')!
    expect([...select.options].map((one) => one.text)).toEqual(['web1, where it was backed up', 'db1'])
    select.value = 's2'
    select.dispatchEvent(new Event('change'))
    button('Preview…').click()
    await vi.waitFor(() => expect(posted()[0]).toMatchObject({ target_server_id: 's2' }), WAIT)
  })

  it('to another server is not offered to who may not', async () => {
    me.value = ada(PERMISSIONS.filter((one) => one !== 'backups:restore_elsewhere'))
    const { asked } = await opened(ended(found()))
    expect(dialog().querySelector('select')).toBeNull()
    expect(asked).toEqual([])
  })

  it('that the API refuses says so, and stays open', async () => {
    await opened(ended(found()), [ITEM], { '/api/backups/b1/restores/preview': 403 })
    button('Preview…').click()
    await vi.waitFor(() => expect(dialog().querySelector('[role=alert]')).not.toBeNull(), WAIT)
    expect(said()).toContain('A new directory')
  })
})
