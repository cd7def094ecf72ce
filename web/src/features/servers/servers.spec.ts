import { flushPromises } from '@vue/test-utils'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { put } from '../../../tests/mounting'
import type { Job, Server } from './api'
import HostKey from './components/HostKey.vue'
import ServerTable from './components/ServerTable.vue'
import { matching } from './filter'
import ServersView from './ServersView.vue'
import { sampleOf } from './sample'
import { setupSteps, stageOf } from './setup'
import { reasonOf, stateOf, worstFirst } from './state'

const status = (up: boolean, sample: Record<string, unknown> | null = null) => ({
  up,
  code: up ? '' : 'no_route',
  reason: up ? '' : 'no route to host',
  changed_at: '2026-11-24T00:00:00Z',
  checked_at: '2026-11-24T00:00:00Z',
  failures: up ? 0 : 3,
  retry_at: null,
  sample,
})
const server = (name: string, more: Partial<Server> = {}): Server => ({
  version: 1,
  id: name,
  name,
  host: '192.0.2.1',
  port: 22,
  username: 'root',
  tags: [],
  state: 'ready',
  state_reason: '',
  facts: {},
  created_at: '2026-11-24T00:00:00Z',
  ready_at: null,
  last_seen_at: null,
  status: null,
  ...more,
})
const job = (state: string, more: Partial<Job> = {}): Job =>
  ({ state, code: null, progress: null, ...more }) as Job

afterEach(() => {
  vi.unstubAllGlobals()
})

describe('a server’s state', () => {
  it.each([
    [server('a'), 'ok', ''],
    [server('a', { status: status(true) }), 'ok', ''],
    [server('a', { status: status(false) }), 'bad', 'no route to host'],
    [
      server('a', { state: 'host_key', state_reason: 'approve it', status: status(true) }),
      'warn',
      'approve it',
    ],
    [server('a', { state: 'failed', state_reason: 'no borg', status: status(false) }), 'bad', 'no borg'],
    [server('a', { state: 'of_the_future' }), 'unknown', ''],
  ])('case %#: what keeps it from being backed up comes first', (one, tone, reason) => {
    expect(stateOf(one).tone).toBe(tone)
    expect(reasonOf(one)).toBe(reason)
  })

  it('puts the worst first', () => {
    const all = [
      server('well'),
      server('b', { state: 'failed' }),
      server('new', { state: 'new' }),
      server('a', { state: 'failed' }),
    ]
    expect(worstFirst(all).map((one) => one.name)).toEqual(['a', 'b', 'new', 'well'])
  })
})

describe('a sample', () => {
  it('keeps zero apart from unknown', () => {
    const found = sampleOf(
      server('a', {
        status: status(true, { cpu_usage_percent: 0, memory_percent: null, disk_percent: '3' }),
      }),
    )
    expect([found.cpu, found.memory, found.disk]).toEqual([0, null, null])
  })
  it('does not call a dead server as busy as it once was', () => {
    const found = sampleOf(
      server('a', { status: status(false, { cpu_usage_percent: 7, uptime_seconds: 9, cpu_cores: 4 }) }),
    )
    expect([found.cpu, found.uptime, found.cores]).toEqual([null, null, 4])
  })
  it.each([[null], [{}], [{ mounts: 'x' }], [{ mounts: [null, 3, {}] }]])('bears %j', (raw) => {
    expect(() => sampleOf(server('a', { status: status(true, raw) }))).not.toThrow()
  })
})

describe('the filter', () => {
  it('takes every word, in names, addresses and tags', () => {
    const all = [server('web1', { tags: ['paris'] }), server('web2'), server('db1', { host: '10.0.0.9' })]
    expect(matching(all, 'WEB paris').map((one) => one.name)).toEqual(['web1'])
    expect(matching(all, '10.0').map((one) => one.name)).toEqual(['db1'])
    expect(matching(all, ' ').length).toBe(3)
  })
})

describe('a set-up', () => {
  it('shows where it is', () => {
    const states = setupSteps(job('running', { progress: { phase: 'install borg' } })).map((one) => one.state)
    expect(states).toEqual(['done', 'done', 'done', 'busy', 'todo', 'todo', 'todo', 'todo'])
  })
  it('shows where it failed, and never as done what came after', () => {
    const states = setupSteps(job('failed', { progress: { phase: 'detect system' } })).map((one) => one.state)
    expect(states.slice(0, 3)).toEqual(['done', 'failed', 'todo'])
  })
  it.each([
    [null, null, 'none'],
    [job('queued'), null, 'working'],
    [job('failed', { code: 'host_key_unknown' }), 'SHA256:x', 'host_key'],
    [job('failed', { code: 'host_key_unknown' }), null, 'failed'],
    [job('failed', { code: 'no_route' }), 'SHA256:x', 'failed'],
    [job('cancelled'), null, 'failed'],
    [job('warning'), null, 'ready'],
  ])('case %#: is at one stage', (one, offered, stage) => {
    expect(stageOf(one, offered)).toBe(stage)
  })
})

describe('the host key', () => {
  const fingerprint = `SHA256:${'A'.repeat(43)}`
  const props = { fingerprint, pinned: null, busy: false }
  const approve = (part: ReturnType<typeof put>) =>
    part.findAll('button').find((one) => one.text() === 'Approve this key')!

  it.each([
    [`256 ${fingerprint} root@web1 (ED25519)`, true],
    [fingerprint, true],
    [fingerprint.slice(0, -1), false],
    [`${fingerprint}A`, false],
    ['SHA256:', false],
  ])('of %j: only the same fingerprint can be approved', async (pasted, same) => {
    const part = put(HostKey, props)
    await part.get('input').setValue(pasted)
    expect(part.text()).toContain(same ? 'Equal: it is your server.' : 'do not approve')
    expect(approve(part).attributes('disabled') === undefined).toBe(same)
  })

  it('that changed is shown beside the one approved before', () => {
    const part = put(HostKey, { ...props, pinned: 'SHA256:old' })
    expect(part.text()).toContain('The host key has changed')
    expect(part.text()).toContain('SHA256:old')
  })
})

describe('the list', () => {
  const answer = (body: unknown, code = 200) =>
    vi.stubGlobal(
      'fetch',
      async () =>
        new Response(JSON.stringify(body), { status: code, headers: { 'Content-Type': 'application/json' } }),
    )

  it('opens a server in place, by keyboard too', async () => {
    const part = put(ServerTable, {
      servers: [server('web1', { status: status(true, { os_distribution: 'Debian' }) })],
    })
    const button = part.get('button[aria-expanded]')
    expect(button.attributes('aria-expanded')).toBe('false')
    await button.trigger('click')
    expect(button.attributes('aria-expanded')).toBe('true')
    expect(part.get(`#${button.attributes('aria-controls')}`).text()).toContain('Debian')
  })

  it('is loading, then full', async () => {
    answer({ items: [server('web1')], next: null })
    const part = put(ServersView)
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('web1'), 120_000)
  })

  it('with no server says what to do', async () => {
    answer({ items: [], next: null })
    const part = put(ServersView)
    await vi.waitFor(() => expect(part.text()).toContain('No server yet'), 120_000)
    expect(part.findAll('button').map((one) => one.text())).toEqual(['Add a server'])
  })

  it('that nothing matches is not called empty', async () => {
    answer({ items: [server('web1')], next: null })
    const part = put(ServersView)
    await vi.waitFor(() => expect(part.find('input[type=search]').exists()).toBe(true), 120_000)
    await part.get('input[type=search]').setValue('zzz')
    expect(part.text()).toContain('No server matches')
    expect(part.text()).not.toContain('No server yet')
  })

  it('that cannot be had is an error with a way on, and not an empty list', async () => {
    answer({ code: 'database_unavailable', detail: 'The database does not answer.', remedy: 'Wait.' }, 403)
    const part = put(ServersView)
    await flushPromises()
    await vi.waitFor(() => expect(part.find('[role=alert]').exists()).toBe(true), 120_000)
    expect(part.text()).toContain('The database does not answer.')
    expect(part.text()).not.toContain('No server yet')
  })
})
