import { describe, expect, it } from 'vitest'
import { readRestored } from './restored'

const BARE = { mode: 'merge', target: '/srv', server: 'web1' }

describe('the result of a restore', () => {
  it.each([{}, { mode: 'merge' }, { mode: 'sideways', target: '/srv' }, { target: '/srv' }])(
    '%j is none',
    (raw) => expect(readRestored(raw)).toBeNull(),
  )

  it('says nothing that it does not hold', () => {
    expect(readRestored(BARE)).toEqual({
      ...BARE,
      preview: false,
      files: null,
      size: null,
      placed: null,
      counted: null,
      hashed: null,
      missing: [],
      damaged: [],
      lost: [],
      backedUpBy: [],
      freeBytes: null,
      freeInodes: null,
      existing: { count: 0, first: [] },
      kept: { count: 0, first: [] },
      refused: { count: 0, first: [] },
      previous: [],
      previousIn: null,
      stamp: '',
      undo: null,
    })
  })

  it('is read field by field, and what makes no sense is left out', () => {
    const found = readRestored({
      ...BARE,
      files: '12',
      original_size: Number.NaN,
      missing: ['a', 3, null],
      verified: { counted: 4, hashed: 0 },
      existing: {
        count: 1200,
        first: [{ path: '/a', size: 5, mtime_ns: 1_764_000_000_000_000_000 }, { mtime_ns: 1e30 }, 'x'],
      },
      kept: ['b'],
      kept_count: 900,
      refused: [{ path: 'c', code: 'parent_symlink' }],
      previous_in: '/srv/.borgfleet-restore-1/previous',
    })
    expect(found).toMatchObject({ files: null, size: null, missing: ['a'], counted: 4, hashed: 0 })
    expect(found?.existing).toEqual({
      count: 1200,
      first: [
        { path: '/a', size: 5, at: '2025-11-24T16:00:00.000Z' },
        { path: '', size: null, at: null },
        { path: '', size: null, at: null },
      ],
    })
    expect(found?.kept).toEqual({ count: 900, first: ['b'] })
    expect(found?.refused).toEqual({ count: 1, first: [{ path: 'c', code: 'parent_symlink' }] })
  })
})
