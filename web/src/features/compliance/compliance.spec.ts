import { afterEach, describe, expect, it, vi } from 'vitest'
import { answering, put } from '../../../tests/mounting'
import { afterOf, type Compliance } from './api'
import ComplianceView from './ComplianceView.vue'
import { cell, csvOf } from './csv'
import { byServer, isKept, totals, worstFirst } from './report'

const WAIT = 120_000
const HOUR = 3600
const row = (more: Partial<Compliance> = {}): Compliance => ({
  backup_job_id: 'b1',
  backup_job: 'web1-system',
  server: 'web1',
  state: 'ok',
  target_seconds: 48 * HOUR,
  last_good_at: '2026-11-24T00:00:00Z',
  age_seconds: 9 * HOUR,
  breaks_at: '2026-11-26T00:00:00Z',
  ...more,
})
const late = row({
  backup_job_id: 'b2',
  backup_job: 'db1-data',
  server: 'db1',
  state: 'breached',
  age_seconds: 60 * HOUR,
})
const never = row({
  backup_job_id: 'b3',
  backup_job: 'db1-logs',
  server: 'db1',
  state: 'breached',
  last_good_at: null,
  age_seconds: null,
})
const off = row({ backup_job_id: 'b4', backup_job: 'old', server: 'old', state: 'off', target_seconds: null })

afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

describe('the report', () => {
  it('has the worst first: never backed up, then what is furthest over its target', () => {
    const worse = { ...late, backup_job_id: 'b5', target_seconds: 12 * HOUR }
    const risk = row({ backup_job_id: 'b6', state: 'at_risk' })
    expect(worstFirst([off, row(), risk, late, worse, never]).map((one) => one.backup_job_id)).toEqual([
      'b3',
      'b5',
      'b2',
      'b6',
      'b1',
      'b4',
    ])
  })

  it('a server is as its worst backup job is', () => {
    const lines = byServer([row(), late, never])
    expect(lines.map((line) => [line.worst.backup_job, line.jobs])).toEqual([
      ['db1-logs', 2],
      ['web1-system', 1],
    ])
    expect(totals(lines)).toEqual({ kept: 1, of: 2, risk: 0, breached: 1, without: 0 })
  })

  it('what is off neither keeps a target nor misses one', () => {
    expect(totals([{ worst: off, jobs: 1 }])).toEqual({ kept: 0, of: 0, risk: 0, breached: 0, without: 0 })
    expect(totals([{ worst: row({ state: 'no_target' }), jobs: 1 }]).without).toBe(1)
    expect(isKept({ worst: off, jobs: 1 })).toBe(true)
    expect(isKept({ worst: row({ state: 'no_target' }), jobs: 1 })).toBe(false)
  })

  it.each([
    ['</api/compliance?limit=2000&after=web1%3A2>; rel="next"', 'web1:2'],
    ['</api/compliance?after=x>; rel="prev"', ''],
    [null, ''],
  ])('goes on where %j says', (link, after) => {
    expect(afterOf(link)).toBe(after)
  })
})

describe('the table for other programs', () => {
  it.each([
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@sum', "'@sum"],
    ['\t=1', "'\t=1"],
    ['\r=1', '"\'\r=1"'],
    ['=cmd,"x"', '"\'=cmd,""x"""'],
    ['web1', 'web1'],
    ['a"b', '"a""b"'],
    ['a\nb', '"a\nb"'],
    ['', ''],
    [null, ''],
    [-1.5, '-1.5'],
  ])('%j becomes %j', (value, text) => {
    expect(cell(value)).toBe(text)
  })

  it('has a head, and a line for each backup job', () => {
    expect(csvOf([never])).toBe(
      'server,backup_job,state,target_seconds,last_good_at,age_seconds,breaks_at\r\n' +
        'db1,db1-logs,breached,172800,,,2026-11-26T00:00:00Z\r\n',
    )
  })
})

describe('the page', () => {
  it('is loading, then says how many keep their target', async () => {
    answering({ '/api/compliance': [row(), late, never, off] })
    const part = put(ComplianceView)
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('Backup jobs that keep their target: 1 of 3.'), WAIT)
    expect(part.text()).toContain('2 are overdue.')
    expect(part.findAll('tbody tr').length).toBe(4)
    expect(part.find('tbody tr').text()).toContain('never')
  })

  it('shows those that do not, by server', async () => {
    answering({ '/api/compliance': [row(), late, never] })
    const part = put(ComplianceView, {}, '', '/compliance?by=server&which=missed')
    await vi.waitFor(() => expect(part.text()).toContain('Servers that keep their target: 1 of 2.'), WAIT)
    expect(part.findAll('tbody tr').length).toBe(1)
    expect(part.text()).toContain('2 backup jobs')
  })

  it('saves what it shows as a file', async () => {
    answering({ '/api/compliance': [row()] })
    vi.spyOn(HTMLAnchorElement.prototype, 'click').mockReturnValue()
    const made = vi.spyOn(URL, 'createObjectURL').mockReturnValue('blob:x')
    const part = put(ComplianceView)
    await vi.waitFor(() => expect(part.text()).toContain('Download CSV'), WAIT)
    await part
      .findAll('button')
      .find((one) => one.text() === 'Download CSV')!
      .trigger('click')
    expect(await (made.mock.calls[0]![0] as Blob).text()).toContain('web1,web1-system,ok,172800')
  })

  it('that all keep says so; without a backup job, and with an error', async () => {
    answering({ '/api/compliance': [row()] })
    const all = put(ComplianceView, {}, '', '/compliance?which=missed')
    await vi.waitFor(() => expect(all.text()).toContain('Everything keeps its target.'), WAIT)
    all.unmount()
    answering({ '/api/compliance': [] })
    const none = put(ComplianceView)
    await vi.waitFor(() => expect(none.text()).toContain('No backup job yet'), WAIT)
    expect(none.findAll('button')).toEqual([])
    none.unmount()
    answering({ '/api/compliance': 403 })
    const refused = put(ComplianceView)
    await vi.waitFor(() => expect(refused.find('[role=alert]').exists()).toBe(true), WAIT)
  })
})
