import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { me } from '@/lib/session'
import { answering, button, put } from '../../../tests/mounting'
import RestoreResult from './components/RestoreResult.vue'
import UndoResult from './components/UndoResult.vue'

const WAIT = 120_000

const shown = (result: object, finished_at: string | null = '2026-11-24T02:00:00Z') =>
  put(RestoreResult, { job: { type: 'archive_restore', finished_at, result } }).text()
const BASE = { mode: 'directory', server: 'web1', target: '/srv', verified: { counted: 1200, hashed: 0 } }

describe('the result of a restore', () => {
  it('says where it is and what was compared', () => {
    const text = shown(BASE)
    expect(text).toContain('What was restored')
    expect(text).toContain('Restored to/srv')
    expect(text).toContain('1,200')
    expect(text).toContain('Content compared by SHA-2560')
  })

  it('names what stands beside it now', () => {
    expect(shown({ ...BASE, mode: 'swap', stamp: '20261124T020000Z' })).toContain(
      '.before-restore-20261124T020000Z',
    )
    expect(shown({ ...BASE, mode: 'beside', stamp: '1' })).toContain('.restored-1')
  })

  it('lists what was kept, refused, set aside, missing, damaged and lost', () => {
    const text = shown({
      ...BASE,
      mode: 'merge',
      placed: 3,
      kept: ['a'],
      kept_count: 900,
      refused: [{ path: 'b\u202e', code: 'parent_symlink' }],
      previous: ['c'],
      previous_in: '/srv/.borgfleet-restore-1/previous',
      missing: ['d'],
      damaged: ['e'],
      lost: ['flags of 2 entries'],
      inside_sources_of: ['web1-all'],
    })
    expect(text).toContain('900 items were there, and were left as they are')
    expect(text).toContain('and 899 more')
    expect(text).toContain('b\\u{202e}parent_symlink')
    expect(text).toContain('1 item was replaced, and is set aside')
    expect(text).toContain('/srv/.borgfleet-restore-1/previous')
    expect(text).toContain('Nothing removes what is set aside there')
    expect(text).toContain('1 chosen item is not in the backup')
    expect(text).toContain('1 file is damaged in the backup')
    expect(text).toContain('flags of 2 entries')
    expect(text).toContain('backed up by web1-all')
  })

  it('of a look says that nothing was written', () => {
    const text = shown({ ...BASE, preview: true, existing: { count: 1, first: [{ path: 'x' }] } })
    expect(text).toContain('Nothing was written')
    expect(text).toContain('1 item is there already')
    expect(text).not.toContain('Restored to')
  })

  it.each([[{}], [{ error: 'x' }]])('that failed with %j is not told', (result) => {
    expect(shown(result)).toBe('')
  })

  it('that is not there yet is not told', () => expect(shown(BASE, null)).toBe(''))
})

const SWAP = { ...BASE, mode: 'swap', target: '/srv/\u202ewww', stamp: '20261124T020000Z' }
const POSSIBLE = { possible: true, until: '2027-02-22T02:00:00Z', items: [[0, '1', null]] }
const restore = (undo: unknown) => ({
  id: 'j1',
  type: 'archive_restore',
  finished_at: '2026-11-24T02:00:00Z',
  result: { ...SWAP, undo },
})

describe('the undo of a restore', () => {
  beforeEach(() => {
    me.value = { permissions: ['backups:restore'], limited: [] } as never
  })
  afterEach(() => {
    me.value = null
    vi.unstubAllGlobals()
  })

  it('is offered until a day, and asked for only after a question that names the thing', async () => {
    const asked = answering({ '/api/jobs/j1/undo': { id: 'j2' } })
    const part = put(RestoreResult, { job: restore(POSSIBLE) })
    expect(part.text()).toContain('Feb 22, 2027')
    button('Undo the restore…').click()
    await vi.waitFor(() => expect(document.body.textContent).toContain('on web1?'), WAIT)
    const dialog = document.querySelector('[role=dialog]')!
    expect(dialog.textContent).toContain('Undo the restore to /srv/\\u{202e}www on web1?')
    expect(dialog.textContent).toContain('.restored-20261124T020000Z; nothing is deleted')
    expect(asked).toEqual([])
    dialog.querySelector<HTMLButtonElement>('button[type=submit]')!.click()
    await vi.waitFor(() => expect(asked.map((one) => one.path)).toEqual(['/api/jobs/j1/undo']), WAIT)
    expect(asked[0]!.method).toBe('POST')
  })

  it.each([
    [{ possible: false, items: [] }],
    [undefined],
    [{ possible: 'yes' }],
    [{ possible: false, job_id: 'j2' }],
  ])('case %#: with %j there is no button', (undo) => {
    const text = put(RestoreResult, { job: restore(undo) }).text()
    expect(text).not.toContain('Undo the restore')
    expect(text.includes('This restore was undone')).toBe(Boolean(undo && 'job_id' in undo))
  })

  it.each([[null], ['soon']])('whose end is unknown (%s) is offered without one', (until) => {
    expect(put(RestoreResult, { job: restore({ possible: true, until }) }).text()).toContain(
      'This can be undone as long as nothing there is moved.',
    )
  })

  it('tells what was put back, what was set aside and what was not', () => {
    const result = {
      restore_id: 'j1',
      server: 'web1',
      place: '/srv',
      stamp: '1',
      put_back: 2,
      set_aside: 3,
      refused: [{ path: 'a\u202e', code: 'not_permitted' }],
      refused_count: 1,
    }
    const job = { type: 'restore_undo', finished_at: '2026-11-24T02:00:00Z', result }
    const text = put(UndoResult, { job }).text()
    expect(text).toContain('Put back2')
    expect(text).toContain('set aside3')
    expect(text).toContain('.restored-1')
    expect(text).toContain('1 item was not put back')
    expect(text).toContain('a\\u{202e}not_permitted')
    expect(put(UndoResult, { job: { ...job, result: {} } }).text()).toBe('')
    expect(put(UndoResult, { job: { ...job, finished_at: null } }).text()).toBe('')
  })
})
