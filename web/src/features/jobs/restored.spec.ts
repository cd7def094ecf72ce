import { describe, expect, it } from 'vitest'
import { put } from '../../../tests/mounting'
import RestoreResult from './components/RestoreResult.vue'

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
