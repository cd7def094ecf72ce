import { afterEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { me } from '@/lib/session'
import { answering, button, contested, page, put } from '../../../tests/mounting'
import { ada } from '../../../tests/setup'
import AddChannelView from './AddChannelView.vue'
import type { Channel, Delivery, MaintenanceWindow, Threshold } from './api'
import ChannelsView from './ChannelsView.vue'
import ChannelView from './ChannelView.vue'
import { emptyForm, formOf, rulesOf, statusOfChannel, statusOfDelivery } from './channel'
import { inOrder, KINDS } from './kinds'
import RulesView from './RulesView.vue'
import WindowsView from './WindowsView.vue'
import { fieldOf, soonestFirst, whenOf } from './window'

const WAIT = 120_000
const channel = (more: Partial<Channel> = {}): Channel => ({
  version: 1,
  id: 'c1',
  name: 'on-call',
  kind: 'webhook',
  label: 'https://example.org',
  enabled: true,
  least_level: 'warning',
  kinds: [],
  tags: [],
  hours: null,
  digest_seconds: 0,
  recovered: true,
  created_at: '2026-11-24T00:00:00Z',
  ...more,
})
const delivery = (more: Partial<Delivery> = {}): Delivery => ({
  id: 'n1',
  channel_id: 'c1',
  alert_id: null,
  what: 'test',
  kind: '',
  about: '',
  level: '',
  state: 'sent',
  attempts: 1,
  due_at: '2026-11-24T00:00:00Z',
  sent_at: '2026-11-24T00:00:01Z',
  error: '',
  happened_at: '2026-11-24T00:00:00Z',
  created_at: '2026-11-24T00:00:00Z',
  ...more,
})
const rule = (more: Partial<Threshold> = {}): Threshold => ({
  version: 1,
  kind: 'disk',
  server: null,
  tag: null,
  decided_by: 'built-in',
  below: false,
  warning: 80,
  critical: 90,
  for_seconds: 0,
  hysteresis: 2,
  enabled: true,
  ...more,
})
const maintenance = (more: Partial<MaintenanceWindow> = {}): MaintenanceWindow => ({
  version: 1,
  id: 'w1',
  server: '',
  tag: '',
  starts_at: '2026-11-24T00:00:00Z',
  ends_at: '2099-11-24T02:00:00Z',
  reason: 'new disks',
  ...more,
})

async function type(input: HTMLInputElement | null | undefined, text: string): Promise<void> {
  input!.value = text
  input!.dispatchEvent(new Event('input'))
  await nextTick()
}
const field = (label: string): HTMLInputElement => {
  const found = [...document.querySelectorAll('label')].find((one) => one.textContent?.trim() === label)
  return document.getElementById(found!.htmlFor) as HTMLInputElement
}

afterEach(() => {
  vi.unstubAllGlobals()
})

describe('a channel', () => {
  it.each([
    [{ enabled: false }, delivery(), 'off'],
    [{}, null, 'untried'],
    [{}, delivery(), 'working'],
    [{}, delivery({ state: 'failed' }), 'failing'],
    [{}, delivery({ state: 'waiting', attempts: 2 }), 'failing'],
    [{}, delivery({ state: 'waiting', attempts: 0 }), 'waiting'],
  ])('case %#: is as good as what it told last', (more, last, state) => {
    expect(statusOfChannel(channel(more), last).key).toBe(`status.channel.${state}`)
  })

  it('that is tried again says so; a state of the future is unknown', () => {
    expect(statusOfDelivery(delivery({ state: 'waiting', attempts: 1 })).tone).toBe('warn')
    expect(statusOfDelivery(delivery({ state: 'of_the_future' })).tone).toBe('unknown')
  })

  it('that was read and is saved unchanged stays the same, and its URL is not sent', () => {
    const hours = { zone: 'Europe/Paris', days: [1, 7], begins: '08:00:00', ends: '18:30:00' }
    const rules = rulesOf(
      formOf(channel({ kinds: ['disk'], tags: ['db', 'eu'], hours, digest_seconds: 300 })),
    )
    expect(rules).toEqual({
      enabled: true,
      least_level: 'warning',
      recovered: true,
      digest_seconds: 300,
      kinds: ['disk'],
      tags: ['db', 'eu'],
      hours: { ...hours, begins: '08:00', ends: '18:30' },
    })
    expect(rulesOf(emptyForm())).toMatchObject({ kinds: [], tags: [], hours: null })
  })
})

describe('the channels', () => {
  it('are loading, then each with its last delivery; a failed one is tried again', async () => {
    const asked = answering({
      '/api/notification-channels': page([channel()]),
      '/api/notifications': page([delivery({ state: 'failed', error: 'connection refused' })]),
      '/api/notifications/n1/retry': delivery({ state: 'waiting' }),
    })
    const part = put(ChannelsView)
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('Failing'), WAIT)
    await vi.waitFor(() => expect(part.findAll('[lang=en]').length).toBe(2), WAIT)
    button('Retry').click()
    await vi.waitFor(() => expect(asked.some((one) => one.path.endsWith('/n1/retry'))).toBe(true), WAIT)
  })

  it('are tested from their row', async () => {
    const asked = answering({
      '/api/notification-channels': page([channel()]),
      '/api/notifications': page([]),
      '/api/notification-channels/c1/test': delivery({ state: 'waiting', attempts: 0 }),
    })
    const part = put(ChannelsView)
    await vi.waitFor(() => expect(part.text()).toContain('Not tried yet'), WAIT)
    button('Send test').click()
    await vi.waitFor(() => expect(asked.some((one) => one.path.endsWith('/c1/test'))).toBe(true), WAIT)
  })

  it('with none say what one is for; who may only read sees no button; an error is no empty list', async () => {
    me.value = ada(['channels:read'])
    answering({ '/api/notification-channels': page([]) })
    const part = put(ChannelsView)
    await vi.waitFor(() => expect(part.text()).toContain('No channel yet'), WAIT)
    expect(part.findAll('button')).toEqual([])
    part.unmount()
    answering({ '/api/notification-channels': 403 })
    const other = put(ChannelsView)
    await vi.waitFor(() => expect(other.find('[role=alert]').exists()).toBe(true), WAIT)
  })

  it('a new webhook shows its key once', async () => {
    const asked = answering({
      '/api/notification-channels': { ...channel(), signing_key: 'whsec_abc' },
    })
    const part = put(AddChannelView)
    await type(field('Name'), 'on-call')
    await type(field('Address (URL)'), 'https://example.org/hook')
    await part.find('form').trigger('submit')
    await vi.waitFor(() => expect(part.text()).toContain('whsec_abc'), WAIT)
    expect(JSON.parse(asked.find((one) => one.method === 'POST')!.body)).toMatchObject({
      name: 'on-call',
      kind: 'webhook',
      url: 'https://example.org/hook',
    })
    expect(part.find('input').exists()).toBe(false)
  })

  it('one is changed without its address', async () => {
    const asked = answering({
      '/api/notification-channels/c1': channel({ tags: ['db'] }),
      '/api/notification-channels/channels': channel(),
    })
    const part = put(ChannelView, {}, '', '/alerts/c1')
    await vi.waitFor(() => expect(part.text()).toContain('on-call'), WAIT)
    expect(field('New address (URL)').value).toBe('')
    await type(field('Tags'), 'db, eu')
    await part.find('form').trigger('submit')
    await vi.waitFor(() => expect(asked.some((one) => one.method === 'PUT')).toBe(true), WAIT)
    const body = JSON.parse(asked.find((one) => one.method === 'PUT')!.body)
    expect(body.tags).toEqual(['db', 'eu'])
    expect('url' in body).toBe(false)
  })

  it('what another changed of it replaces nothing that is typed; it is read again, or saved over', async () => {
    const world = contested('/api/notification-channels/c1', channel({ tags: ['db'] }), {
      '/api/notification-channels/channels': channel(),
    })
    const part = put(ChannelView, {}, '', '/alerts/c1')
    await vi.waitFor(() => expect(part.text()).toContain('on-call'), WAIT)
    await type(field('Tags'), 'mine')
    world.eve({ tags: ['of-eve'] })
    await world.comeBack()
    await part.find('form').trigger('submit')
    await vi.waitFor(() => expect(part.text()).toContain('last by eve'), WAIT)
    expect(field('Tags').value).toBe('mine')
    button('Read again').click()
    await vi.waitFor(() => expect(field('Tags').value).toBe('of-eve'), WAIT)
    world.eve({})
    await type(field('Tags'), 'mine')
    await part.find('form').trigger('submit')
    await vi.waitFor(() => expect(part.text()).toContain('Save mine all the same'), WAIT)
    button('Save mine all the same').click()
    await vi.waitFor(() => expect(world.now.tags).toEqual(['mine']), WAIT)
    expect(world.tags).toEqual(['"1"', '"2"', '"3"'])
  })
})

describe('the thresholds', () => {
  it('name every kind, those that endanger backups first', () => {
    expect(inOrder([rule(), rule({ kind: 'backup_failed' })]).map((one) => one.kind)).toEqual([
      'backup_failed',
      'disk',
    ])
    expect(KINDS.length).toBe(27)
  })

  it('are shown with who decided them, and changed', async () => {
    const asked = answering({
      '/api/thresholds': [rule(), rule({ kind: 'cpu', decided_by: 'fleet' })],
      '/api/thresholds/disk': rule(),
    })
    const part = put(RulesView)
    await vi.waitFor(() => expect(part.text()).toContain('File system full'), WAIT)
    expect(part.text()).toContain('from 80%')
    expect(part.text()).toContain('Built in')
    expect(part.text()).toContain('Set for the fleet')
    part.findAllComponents({ name: 'RuleRow' })[0]!.vm.$emit('change')
    await nextTick()
    await nextTick()
    await type(field('Warning from (percent)'), '85')
    await type(field('Critical from (percent)'), '')
    document.querySelector('[role=dialog] form')!.dispatchEvent(new Event('submit'))
    await vi.waitFor(() => expect(asked.some((one) => one.method === 'PUT')).toBe(true), WAIT)
    expect(JSON.parse(asked.find((one) => one.method === 'PUT')!.body)).toEqual({
      warning: 85,
      critical: null,
      for_seconds: 0,
      hysteresis: 2,
      enabled: true,
    })
  })

  it('are changed only as they were seen; of one that holds nothing of its own, no version is meant', async () => {
    const rules = [rule({ version: 7 }), rule({ kind: 'cpu', version: 0 })]
    const world = contested('/api/thresholds/disk', rule({ version: 8 }), { '/api/thresholds': rules })
    const part = put(RulesView)
    await vi.waitFor(() => expect(part.text()).toContain('File system full'), WAIT)
    for (const [row, tags] of [['"7"'], ['"7"', null]].entries()) {
      part.findAllComponents({ name: 'RuleRow' })[row]!.vm.$emit('change')
      await vi.waitFor(() => expect(document.querySelector('[role=dialog] form')).not.toBeNull(), WAIT)
      document.querySelector('[role=dialog] form')!.dispatchEvent(new Event('submit'))
      await vi.waitFor(() => expect(world.tags).toEqual(tags), WAIT)
      await vi.waitFor(() => expect(document.body.textContent).toContain('Close this, look at what'), WAIT)
      button('Cancel').click()
      await nextTick()
    }
  })

  it('of a tag are asked for when it is named; who may only read changes none', async () => {
    me.value = ada(['thresholds:read', 'tags:read'])
    const asked = answering({ '/api/thresholds': [rule({ enabled: false })], '/api/tags': page([]) })
    const part = put(RulesView, {}, '', '/alerts/rules?of=tag')
    expect(part.text()).toContain('Name a tag')
    expect(asked.some((one) => one.path.startsWith('/api/thresholds'))).toBe(false)
    part.unmount()
    const named = put(RulesView, {}, '', '/alerts/rules?of=tag&name=db')
    await vi.waitFor(() => expect(named.text()).toContain('Not watched'), WAIT)
    expect(asked.some((one) => one.path === '/api/thresholds?tag=db')).toBe(true)
    expect(named.find('[aria-label^="Actions for"]').exists()).toBe(false)
  })

  it('that are refused are an error', async () => {
    answering({ '/api/thresholds': 403 })
    const part = put(RulesView)
    await vi.waitFor(() => expect(part.find('[role=alert]').exists()).toBe(true), WAIT)
  })
})

describe('the maintenance windows', () => {
  it('stand in order: under way, to come, over', () => {
    const now = new Date('2026-11-25T00:00:00Z')
    const all = [
      maintenance({ id: 'over', ends_at: '2026-11-24T01:00:00Z' }),
      maintenance({ id: 'late', starts_at: '2026-12-24T00:00:00Z' }),
      maintenance({ id: 'soon', starts_at: '2026-11-26T00:00:00Z' }),
      maintenance({ id: 'now' }),
    ]
    expect(soonestFirst(all, now).map((one) => one.id)).toEqual(['now', 'soon', 'late', 'over'])
    expect(whenOf(all[0]!, now)).toBe('over')
    expect(new Date(fieldOf(now)).getTime()).toBe(now.getTime())
  })

  it('are added, and one under way is ended after a question', async () => {
    const asked = answering({ '/api/maintenance-windows': [maintenance()] })
    const part = put(WindowsView)
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('new disks'), WAIT)
    button('Add window').click()
    await nextTick()
    await type(field('From'), '2026-12-01T22:00')
    await type(field('To'), '2026-12-02T04:00')
    document.querySelector('[role=dialog] form')!.dispatchEvent(new Event('submit'))
    await vi.waitFor(() => expect(asked.some((one) => one.method === 'POST')).toBe(true), WAIT)
    expect(JSON.parse(asked.find((one) => one.method === 'POST')!.body)).toEqual({
      starts_at: new Date('2026-12-01T22:00').toISOString(),
      ends_at: new Date('2026-12-02T04:00').toISOString(),
      reason: '',
    })
    await vi.waitFor(() => expect(document.querySelector('[role=dialog]')).toBe(null), WAIT)
    button('End now').click()
    await nextTick()
    expect(document.querySelector('[role=dialog]')!.textContent).toContain('All servers')
    expect(asked.some((one) => one.method === 'DELETE')).toBe(false)
  })

  it('of all servers are not for who may for some only; none, and an error', async () => {
    me.value = { ...ada(['windows:read', 'windows:write']), limited: ['windows:read', 'windows:write'] }
    answering({ '/api/maintenance-windows': [maintenance()] })
    const part = put(WindowsView)
    await vi.waitFor(() => expect(part.text()).toContain('new disks'), WAIT)
    expect(part.text()).not.toContain('End now')
    part.unmount()
    answering({ '/api/maintenance-windows': [] })
    const none = put(WindowsView)
    await vi.waitFor(() => expect(none.text()).toContain('No maintenance window'), WAIT)
    none.unmount()
    answering({ '/api/maintenance-windows': 403 })
    const refused = put(WindowsView)
    await vi.waitFor(() => expect(refused.find('[role=alert]').exists()).toBe(true), WAIT)
  })
})
