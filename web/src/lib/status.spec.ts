import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { messages } from './i18n/en'
import { phaseKey } from './progress'
import { STATUS, statusOf, toneOf, UNKNOWN } from './status'

describe('the states', () => {
  it.each([
    ['queued', 'unknown'],
    ['running', 'busy'],
    ['succeeded', 'ok'],
    ['warning', 'warn'],
    ['failed', 'bad'],
    ['cancelled', 'idle'],
  ])('a job that is %s is shown as %s', (code, tone) => {
    expect(statusOf('job', code).tone).toBe(tone)
  })

  it.each([
    ['new', 'idle'],
    ['host_key', 'warn'],
    ['ready', 'ok'],
    ['failed', 'bad'],
  ])('a server whose set-up is %s is shown as %s', (code, tone) => {
    expect(statusOf('setup', code).tone).toBe(tone)
  })

  it.each(['', 'constructor', '__proto__', 'toString', 'partial'])(
    'an unknown state (%j) is never shown as good',
    (code) => {
      expect(statusOf('job', code)).toBe(UNKNOWN)
    },
  )

  it('has a row for each state of a job that the API describes', () => {
    const api = JSON.parse(readFileSync('../docs/openapi.json', 'utf8'))
    expect(Object.keys(STATUS.job).sort()).toEqual([...api.components.schemas.JobState.enum].sort())
    expect(Object.keys(messages.status.type)).toEqual(
      expect.arrayContaining(api.components.schemas.JobType.enum),
    )
  })

  it('has a row for each state of an approval, and words for each kind of it', () => {
    const api = JSON.parse(readFileSync('../docs/openapi.json', 'utf8'))
    const { parameters } = api.paths['/api/approvals'].get
    const states: string[] = parameters.find((one: { name: string }) => one.name === 'state').schema.anyOf[0]
      .enum
    expect(Object.keys(STATUS.approval).sort()).toEqual([...states].sort())
    const code = readFileSync('../shared/domain/four_eyes.py', 'utf8')
    const guarded = code.slice(code.indexOf('class Guarded'), code.indexOf('PERMISSION_OF'))
    const kinds = [...guarded.matchAll(/^ {4}[A-Z_]+ = "(\w+)"/gm)].map((found) => found[1])
    expect(kinds.length).toBeGreaterThan(17)
    expect(Object.keys(messages.access.approvals.kind).sort()).toEqual(kinds.sort())
  })

  it('has words for each kind of alert, and for each phase of a job', () => {
    const api = JSON.parse(readFileSync('../docs/openapi.json', 'utf8'))
    const kinds: string[] = api.components.schemas.AlertKind.enum
    expect(kinds.filter((kind) => !(kind in messages.alerts.kind))).toEqual([])
    const rows = readFileSync('../docs/jobs.md', 'utf8').matchAll(/^\| `.*\| ([^|]+) \|$/gm)
    const phases = [...rows].flatMap((row) =>
      (row[1] ?? '').split(', ').map((one) => phaseKey(one.replace(/ \(.*/, ''))),
    )
    expect(phases.length).toBeGreaterThan(20)
    expect(phases.filter((key) => !(key in messages.status.phase))).toEqual([])
  })
})

describe('the figures', () => {
  it.each([
    ['cpu', 0, 'ok'],
    ['cpu', 49.9, 'ok'],
    ['cpu', 50, 'warn'],
    ['cpu', 79.9, 'warn'],
    ['cpu', 80, 'bad'],
    ['memory', 69.9, 'ok'],
    ['memory', 70, 'warn'],
    ['memory', 85, 'bad'],
    ['disk', 69.9, 'ok'],
    ['disk', 84.9, 'warn'],
    ['disk', 100, 'bad'],
    ['disk', null, 'unknown'],
  ] as const)('%s at %s is %s', (figure, percent, tone) => {
    expect(toneOf(figure, percent)).toBe(tone)
  })
})
