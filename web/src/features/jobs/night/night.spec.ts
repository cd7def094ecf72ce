import { describe, expect, it } from 'vitest'
import { type Bar, barOfJob, barOfRun, fullSpans, mostAtOnce, type Names, within } from './bars'
import { towards } from './keys'
import { capsOf, FOR_EVER, firstRows, hatchesOf, heldIn, laned, rowsOf } from './rows'
import { shapeOf } from './shapes'
import { partOf } from './view'

const HOUR = 3_600_000
const NIGHT = { from: 0, to: 24 * HOUR }
const at = (hours: number): string => new Date(hours * HOUR).toISOString()
const names: Names = {
  servers: new Map([['s1', 'web1']]),
  repositories: new Map([['r1', { name: 'system', server: 'web1', pool: 'main' }]]),
  turns: new Set(['backup_create']),
}
const job = (more: object) =>
  ({
    id: 'j1',
    type: 'backup_create',
    title: 'web1-system',
    state: 'succeeded',
    node: 'node1',
    server_id: 's1',
    repository_id: 'r1',
    created_at: at(1),
    started_at: at(2),
    finished_at: at(3),
    ...more,
  }) as Parameters<typeof barOfJob>[0]
const bar = (key: string, from: number, to: number, more: Partial<Bar> = {}): Bar => ({
  key,
  link: `/jobs/${key}`,
  type: 'backup_create',
  title: key,
  state: 'succeeded',
  from: from * HOUR,
  to: to * HOUR,
  asked: null,
  open: false,
  vague: false,
  server: 'web1',
  pool: 'main',
  node: 'node1',
  collides: [],
  takesTurn: true,
  ...more,
})

describe('a job as a bar', () => {
  it.each([
    ['that ended', {}, { asked: 1, from: 2, to: 3, open: false }],
    ['that began at once', { created_at: at(2) }, { asked: null, from: 2, to: 3, open: false }],
    ['that runs', { state: 'running', finished_at: null }, { asked: 1, from: 2, to: 10, open: true }],
    [
      'that waits',
      { state: 'queued', started_at: null, finished_at: null },
      { asked: 1, from: 10, to: 10, open: true },
    ],
    // It ran before, and was sent back: it waits again.
    ['that waits again', { state: 'queued', finished_at: null }, { asked: 1, from: 10, to: 10, open: true }],
    [
      'that was cancelled before it began',
      { state: 'cancelled', started_at: null },
      { asked: 1, from: 3, to: 3, open: false },
    ],
    [
      'that is ahead of this clock',
      { state: 'running', created_at: at(11), started_at: at(11), finished_at: null },
      { asked: null, from: 11, to: 11, open: true },
    ],
  ])('%s', (_, more, expected) => {
    const { asked, from, to, open } = barOfJob(job(more), names, 10 * HOUR)
    const hours = (value: number | null) => (value === null ? null : value / HOUR)
    expect({ asked: hours(asked), from: hours(from), to: hours(to), open }).toEqual(expected)
  })

  it('belongs to its server, pool and node; unknown ones are unknown', () => {
    const known = barOfJob(job({}), names, 0)
    expect([known.server, known.pool, known.node, known.takesTurn]).toEqual(['web1', 'main', 'node1', true])
    const gone = barOfJob(
      job({ server_id: 'gone', repository_id: null, node: null, type: 'server_setup' }),
      names,
      0,
    )
    expect([gone.server, gone.pool, gone.node, gone.takesTurn]).toEqual([null, null, null, false])
  })

  it('that is foreseen has its typical length, or a vague one, and leads to what plans it', () => {
    const run = {
      task: 'backup_create',
      name: 'web1-system',
      backup_job_id: 'b1',
      server: 'web1',
      repository: 'system',
      starts_at: at(5),
      expected_seconds: 3600,
      collides_with: ['web1-data'],
    }
    const foreseen = barOfRun(run, names)
    expect([foreseen.link, foreseen.to / HOUR, foreseen.vague, foreseen.pool]).toEqual([
      '/backup-jobs/b1',
      6,
      false,
      'main',
    ])
    const vague = barOfRun({ ...run, backup_job_id: null, expected_seconds: null }, names)
    expect([vague.link, vague.vague, vague.to > vague.from]).toEqual(['/repositories/r1', true, true])
    expect(barOfRun({ ...run, backup_job_id: null, repository: 'other' }, names).link).toBeNull()
  })
})

describe('what is seen of a span', () => {
  it('has what waited or ran in it', () => {
    const all = [
      bar('before', -3, -1),
      bar('to its beginning', -1, 0),
      bar('into it', -1, 1),
      bar('around it', -5, 30),
      bar('waited into it', 25, 26, { asked: 23 * HOUR }),
      bar('after', 24, 25),
      bar('no length', 3, 3),
    ]
    expect(within(all, NIGHT).map((one) => one.key)).toEqual([
      'around it',
      'into it',
      'no length',
      'waited into it',
    ])
  })

  it.each([
    [24, 5, [0, 24]],
    [6, 3, [3, 9]],
    [6, -3, [0, 6]],
    [6, 30, [18, 24]],
  ])('%i hours from hour %i of a night', (hours, start, expected) => {
    const { from, to } = partOf(NIGHT, hours, start)
    expect([from / HOUR, to / HOUR]).toEqual(expected)
  })

  it('is all of a night, also where it has 25 hours', () => {
    expect(partOf({ from: 0, to: 25 * HOUR }, 24, 3)).toEqual({ from: 0, to: 25 * HOUR })
    expect(partOf({ from: 0, to: 25 * HOUR }, 12, 99).to).toBe(25 * HOUR)
  })
})

describe('the ceiling', () => {
  const three = [bar('a', 1, 4), bar('b', 2, 3), bar('c', 3, 5)]
  it.each([
    [null, []],
    [0, []],
    [1, [[1, 5]]],
    // Who ends makes room for who begins at the same moment: it is full all along, and never above.
    [2, [[2, 4]]],
    [3, []],
  ])('of %s', (cap, expected) => {
    expect(fullSpans(three, cap).map(({ from, to }) => [from / HOUR, to / HOUR])).toEqual(expected)
  })

  it('counts what takes a slot alone', () => {
    const free = [bar('setup', 1, 4, { takesTurn: false }), bar('waits', 2, 3, { state: 'queued' })]
    expect(fullSpans([...free, bar('a', 2, 3)], 2)).toEqual([])
    expect(mostAtOnce([...free, ...three])).toBe(2)
    expect(mostAtOnce([])).toBe(0)
  })
})

describe('the rows', () => {
  it('put what overlaps into lanes of its own, and give the narrow room to be pointed at', () => {
    const of = (bars: Bar[], least = 0) => {
      const { bars: placed, lanes } = laned(bars, least)
      return [placed.map((one) => one.lane), lanes]
    }
    expect(of([bar('a', 1, 3), bar('b', 2, 4), bar('c', 3, 5)])).toEqual([[0, 1, 0], 2])
    expect(of([bar('a', 1, 1.1), bar('b', 1.2, 1.3)])).toEqual([[0, 0], 1])
    expect(of([bar('a', 1, 1.1), bar('b', 1.2, 1.3)], HOUR)).toEqual([[0, 1], 2])
    expect(of([bar('a', 3, 4, { asked: HOUR }), bar('b', 2, 2.5)])).toEqual([[0, 1], 2])
    expect(of([])).toEqual([[], 1])
  })

  it('show the worst first, then by name; what belongs to none comes last', () => {
    const bars = [
      bar('1', 1, 2, { server: 'ok' }),
      bar('2', 1, 2, { server: null, state: 'failed' }),
      bar('3', 1, 2, { server: 'collides', collides: ['x'] }),
      bar('4', 1, 2, { server: 'failed', state: 'failed' }),
      bar('5', 1, 2, { server: 'also ok' }),
      bar('6', 1, 2, { server: 'warned', state: 'warning' }),
    ]
    const held = hatchesOf(
      [{ server: 'held', reason: 'why', created_at: at(1), until: null } as never],
      [{ server: '', tag: 'eu', reason: '', starts_at: at(2), ends_at: at(3) } as never],
      () => ['ok', 'not here'],
    )
    const rows = rowsOf(bars, 'server', held, capsOf(undefined), NIGHT, 0)
    expect(rows.map((row) => row.name)).toEqual([
      'failed',
      'collides',
      'warned',
      'also ok',
      'held',
      'not here',
      'ok',
      null,
    ])
    expect(rows.find((row) => row.name === 'held')?.hatches[0]).toMatchObject({ kind: 'pause', to: FOR_EVER })
    expect(rows.find((row) => row.name === 'ok')?.hatches.map((one) => one.kind)).toEqual(['window'])
    expect(rowsOf(bars, 'pool', held, capsOf(undefined), NIGHT, 0).map((row) => row.hatches)).toEqual([[]])
    expect(heldIn(held, { from: 4 * HOUR, to: 5 * HOUR }).map((one) => one.server)).toEqual(['held'])
  })

  it('know whose limit is reached', () => {
    const caps = capsOf({ fleet: 9, per_server: 2, per_pool: null, servers: { web1: 1 }, version: 1 })
    expect([caps.of('server', 'web1'), caps.of('server', 'db1'), caps.of('pool', 'main')]).toEqual([
      1,
      2,
      null,
    ])
    expect([caps.of('node', 'n'), caps.fleet]).toEqual([null, 9])
    const [row] = rowsOf([bar('a', 1, 4)], 'server', [], caps, NIGHT, 0)
    expect(row?.full).toEqual([{ from: HOUR, to: 4 * HOUR }])
  })

  it('are cut where they would be too many; the first is always there', () => {
    const rows = rowsOf(
      Array.from({ length: 9 }, (_, n) => bar(String(n), 1, 2, { server: `s${n % 3}` })),
      'server',
      [],
      capsOf(undefined),
      NIGHT,
      0,
    )
    expect(firstRows(rows, 7).length).toBe(2)
    expect(firstRows(rows, 1).map((row) => [row.bars.length, row.lanes])).toEqual([[1, 1]])
    expect(firstRows([], 5)).toEqual([])
    expect(firstRows(rows, 9).length).toBe(3)
  })
})

describe('the arrow keys', () => {
  const row = (server: string, ...bars: Bar[]) =>
    rowsOf(
      bars.map((one) => ({ ...one, server })),
      'server',
      [],
      capsOf(undefined),
      NIGHT,
      0,
    )
  const empty = { ...row('x', bar('x', 1, 2))[0]!, bars: [] }
  const rows = [
    ...row('one', bar('a', 1, 2), bar('b', 5, 6), bar('c', 9, 10)),
    empty,
    ...row('two', bar('d', 4, 5), bar('e', 9, 9)),
  ]
  it.each([
    ['a', 'ArrowRight', 'b'],
    ['b', 'ArrowLeft', 'a'],
    ['a', 'ArrowLeft', undefined],
    ['c', 'ArrowRight', undefined],
    ['b', 'ArrowDown', 'd'],
    ['c', 'ArrowDown', 'e'],
    ['e', 'ArrowUp', 'c'],
    ['d', 'ArrowDown', undefined],
    ['b', 'Home', 'a'],
    ['b', 'End', 'c'],
    ['b', 'Enter', undefined],
    ['gone', 'ArrowRight', undefined],
  ])('from %s by %s', (from, key, to) => expect(towards(rows, from, key)).toBe(to))
})

describe('the shapes', () => {
  it('differ by state, wide and narrow, without any colour', () => {
    for (const width of [4, 40]) {
      const drawn = (['succeeded', 'warning', 'failed', 'running', 'queued'] as const).map((state) => {
        const { outline, mark } = shapeOf(state, state === 'running', false, 0, width)
        return outline + mark
      })
      expect(new Set(drawn).size).toBe(drawn.length)
    }
    expect(shapeOf('foreseen', false, true, 0, 40).outline).not.toMatch(/z$/)
    expect(shapeOf('succeeded', false, false, 5, 5).width).toBeGreaterThan(0)
  })
})
