import { afterEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { PLACES, placesInSight } from '@/app/shell/places'
import { me } from '@/lib/session'
import { answering, button, contested, page, put } from '../../../tests/mounting'
import { ada } from '../../../tests/setup'
import AboutView from './AboutView.vue'
import type { DeadLetter, Group, Service, Tag } from './api'
import LimitsView from './LimitsView.vue'
import { formOf, limitsOf } from './limits'
import ServicesView from './ServicesView.vue'
import { shownServices, versionsOf } from './services'
import TagsView from './TagsView.vue'
import { firstSetting, tabsOfMine } from './tabs'

const WAIT = 120_000
const service = (more: Partial<Service> = {}): Service => ({
  id: 's1',
  service: 'backup',
  node: 'node1',
  version: '0.1.0',
  started_at: '2026-11-24T00:00:00Z',
  seen_at: '2026-11-24T12:00:00Z',
  ...more,
})
const tag = (more: Partial<Tag> = {}): Tag => ({
  id: 't1',
  name: 'production',
  colour: '',
  description: 'what earns money',
  version: 1,
  created_at: '2026-11-24T00:00:00Z',
  servers: 1,
  ...more,
})
const group = (more: Partial<Group> = {}): Group => ({
  id: 'g1',
  name: 'databases-eu',
  description: '',
  version: 1,
  created_at: '2026-11-24T00:00:00Z',
  all: ['db'],
  any: ['eu-west', 'eu-north'],
  none: [],
  ...more,
})
const letter: DeadLetter = {
  id: 'd1',
  subject: 'backup.requested',
  code: 'contract',
  reason: 'no field server',
  remedy: 'send it again with one',
  deliveries: 3,
  at: '2026-11-24T00:00:00Z',
}
const server = {
  id: 'v1',
  name: 'web1',
  host: '192.0.2.1',
  port: 22,
  username: 'root',
  state: 'ready',
  tags: ['a', 'production'],
}

const dialog = (): HTMLElement => document.querySelector<HTMLElement>('[role=dialog]')!
const field = (label: string, within: ParentNode = document): HTMLInputElement => {
  const found = [...within.querySelectorAll('label')].find((one) => one.textContent?.trim() === label)
  return document.getElementById(found!.htmlFor) as HTMLInputElement
}
async function type(input: HTMLInputElement, text: string): Promise<void> {
  input.value = text
  input.dispatchEvent(new Event('input'))
  await nextTick()
}
const sent = (asked: { method: string; body: string }[], method: string): unknown =>
  JSON.parse(asked.find((one) => one.method === method)!.body)

afterEach(() => {
  vi.unstubAllGlobals()
})

describe('the parts of the settings', () => {
  it('are those that one may see; about is for everybody', () => {
    expect(firstSetting()).toBe('/settings/limits')
    me.value = ada(['system:read'])
    expect(tabsOfMine().map((tab) => tab.to)).toEqual(['/settings/services', '/settings/about'])
    me.value = ada([])
    expect(firstSetting()).toBe('/settings/about')
  })

  it('nor is a place shown that one may not see', () => {
    expect(placesInSight()).toEqual(PLACES)
    me.value = ada([])
    expect(placesInSight().map((place) => place.path)).not.toContain('/compliance')
  })
})

describe('the limits', () => {
  it('stay the same when nothing is typed; an empty field is no limit', () => {
    const limits = { fleet: 50, per_server: null, per_pool: 20, servers: { web1: 1 }, pools: {} }
    expect(limitsOf(formOf(limits))).toEqual(limits)
    const form = formOf(limits)
    form.servers.push({ name: ' ', most: '1' }, { name: 'db1', most: '' })
    expect(limitsOf(form)).toEqual(limits)
  })

  it('are loading, changed and saved, with those of single servers', async () => {
    const limits = { fleet: 50, per_server: 2, per_pool: 20, servers: {}, pools: {} }
    const asked = answering({
      '/api/limits': limits,
      '/api/servers': page([server]),
      '/api/storage-pools': page([]),
    })
    const part = put(LimitsView)
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('Under way at once'), WAIT)
    await type(field('In the fleet'), '')
    await part
      .findAll('button')
      .find((one) => one.text() === 'Add limit')!
      .trigger('click')
    await type(field('Name'), 'web1')
    await part.find('form').trigger('submit')
    await vi.waitFor(() => expect(asked.some((one) => one.method === 'PUT')).toBe(true), WAIT)
    expect(sent(asked, 'PUT')).toEqual({ ...limits, fleet: null, servers: { web1: 1 } })
  })

  it('that another changed replace nothing that is typed; it is told, read again or saved over', async () => {
    const first = { fleet: 50, per_server: 2, per_pool: 20, servers: {}, pools: {}, version: 4 }
    const world = contested('/api/limits', first)
    const part = put(LimitsView)
    await vi.waitFor(() => expect(part.text()).toContain('Under way at once'), WAIT)
    world.eve({ fleet: 10 })
    await world.comeBack()
    await vi.waitFor(() => expect(field('In the fleet').value).toBe('10'), WAIT)
    await type(field('In the fleet'), '77')
    world.eve({ per_pool: 3 })
    await world.comeBack()
    await part.find('form').trigger('submit')
    await vi.waitFor(() => expect(part.text()).toContain('last by eve'), WAIT)
    expect(field('In the fleet').value).toBe('77')
    button('Read again').click()
    await vi.waitFor(() => expect(field('In the fleet').value).toBe('10'), WAIT)
    expect(field('In each storage pool').value).toBe('3')
    expect(part.find('[role=alert]').exists()).toBe(false)
    await type(field('In the fleet'), '77')
    world.eve({ per_pool: 4 })
    await part.find('form').trigger('submit')
    await vi.waitFor(() => expect(part.text()).toContain('Save mine all the same'), WAIT)
    button('Save mine all the same').click()
    await vi.waitFor(() => expect(world.now).toMatchObject({ fleet: 77, per_pool: 3 }), WAIT)
    await type(field('In the fleet'), '78')
    await part.find('form').trigger('submit')
    await vi.waitFor(() => expect(world.now.fleet).toBe(78), WAIT)
    expect(world.tags).toEqual(['"5"', '"6"', '"7"', '"8"'])
  })

  it('are only read by who may not change them; an error', async () => {
    me.value = ada(['limits:read'])
    answering({ '/api/limits': { fleet: 50 } })
    const part = put(LimitsView)
    await vi.waitFor(() => expect(part.text()).toContain('Under way at once'), WAIT)
    expect(part.find('fieldset').attributes('disabled')).toBeDefined()
    expect(part.findAll('button')).toEqual([])
    part.unmount()
    answering({ '/api/limits': 403 })
    const refused = put(LimitsView)
    await vi.waitFor(() => expect(refused.find('[role=alert]').exists()).toBe(true), WAIT)
  })
})

describe('the tags and groups', () => {
  const all = {
    '/api/tags': page([tag()]),
    '/api/tags/t1': tag(),
    '/api/groups': page([group()]),
    '/api/groups/g1/servers': page([server]),
    '/api/servers': page([server]),
    '/api/servers/v1': server,
  }

  it('are shown with what they are for, and their servers', async () => {
    answering(all)
    const part = put(TagsView)
    await vi.waitFor(() => expect(part.text()).toContain('databases-eu'), WAIT)
    expect(part.text()).toContain('all of: db · one of: eu-west, eu-north')
    await part
      .findAll('button')
      .find((one) => one.text() === 'Servers of databases-eu')!
      .trigger('click')
    await vi.waitFor(() => expect(part.text()).toContain('web1'), WAIT)
    expect(part.text()).not.toContain('Take away')
  })

  it('a tag is given to a server and taken away; the rest of the server stays', async () => {
    const asked = answering(all)
    const part = put(TagsView)
    await vi.waitFor(() => expect(part.text()).toContain('production'), WAIT)
    await part
      .findAll('button')
      .find((one) => one.text() === '1 server of production')!
      .trigger('click')
    await vi.waitFor(() => expect(part.text()).toContain('Take away'), WAIT)
    button('Take away').click()
    await vi.waitFor(() => expect(asked.some((one) => one.method === 'PUT')).toBe(true), WAIT)
    expect(sent(asked, 'PUT')).toEqual({ host: '192.0.2.1', port: 22, username: 'root', tags: ['a'] })
    await type(field('Give it to the server'), 'nobody')
    await part.find('form').trigger('submit')
    await vi.waitFor(() => expect(part.text()).toContain('No server has this name.'), WAIT)
  })

  it('a tag is made, with a description and without a colour', async () => {
    const asked = answering(all)
    const part = put(TagsView)
    await vi.waitFor(() => expect(part.text()).toContain('production'), WAIT)
    button('Add tag').click()
    await nextTick()
    await nextTick()
    await type(field('Name', dialog()), 'staging')
    dialog().querySelector('form')!.dispatchEvent(new Event('submit'))
    await vi.waitFor(() => expect(asked.some((one) => one.method === 'POST')).toBe(true), WAIT)
    expect(sent(asked, 'POST')).toEqual({ name: 'staging', description: '', colour: '' })
  })

  it('a tag that another changed is not changed over', async () => {
    const world = contested('/api/tags/t1', tag({ version: 2 }), { ...all, '/api/tags': page([tag()]) })
    const part = put(TagsView)
    await vi.waitFor(() => expect(part.text()).toContain('what earns money'), WAIT)
    part.findAllComponents({ name: 'TagRow' })[0]!.vm.$emit('change')
    await vi.waitFor(() => expect(dialog()).not.toBeNull(), WAIT)
    button('Save').click()
    await vi.waitFor(() => expect(dialog().textContent).toContain('Close this, look at what changed'), WAIT)
    expect(dialog().textContent).toContain('last by eve')
    expect(world.tags).toEqual(['"1"'])
  })

  it('a group needs a tag', async () => {
    const asked = answering(all)
    const part = put(TagsView)
    await vi.waitFor(() => expect(part.text()).toContain('databases-eu'), WAIT)
    button('Add group').click()
    await nextTick()
    await nextTick()
    await type(field('Name', dialog()), 'web')
    expect(button('Add group').disabled).toBe(true)
    await type(field('and one of these', dialog()), 'web, proxy')
    dialog().querySelector('form')!.dispatchEvent(new Event('submit'))
    await vi.waitFor(() => expect(asked.some((one) => one.method === 'POST')).toBe(true), WAIT)
    expect(sent(asked, 'POST')).toEqual({
      name: 'web',
      description: '',
      all: [],
      any: ['web', 'proxy'],
      none: [],
    })
  })

  it('with none, with an error, and for who may only read', async () => {
    me.value = ada(['tags:read'])
    answering({ '/api/tags': page([]) })
    const part = put(TagsView)
    await vi.waitFor(() => expect(part.text()).toContain('No tag yet'), WAIT)
    expect(part.findAll('button')).toEqual([])
    expect(part.text()).not.toContain('No group yet')
    part.unmount()
    answering({ '/api/tags': 403 })
    const refused = put(TagsView)
    await vi.waitFor(() => expect(refused.find('[role=alert]').exists()).toBe(true), WAIT)
  })
})

describe('the services', () => {
  const ended = service({ id: 's2', seen_at: '2026-11-24T11:00:00Z', version: '0.0.9' })
  const missing = service({ id: 's3', service: 'stats', node: '', seen_at: '2026-11-24T11:00:00Z' })

  it('that are missing come first, one that was replaced last', () => {
    const shown = shownServices([ended, service(), missing])
    expect(shown.map((one) => [one.service.id, one.status.key])).toEqual([
      ['s3', 'status.process.missing'],
      ['s1', 'status.process.here'],
      ['s2', 'status.process.ended'],
    ])
    expect(versionsOf(shown)).toEqual(['0.1.0'])
    expect(shownServices([])).toEqual([])
  })

  it('are shown with the messages that were given up, and why', async () => {
    answering({ '/api/services': [service(), missing], '/api/dead-letters': page([letter]) })
    const part = put(ServicesView)
    await vi.waitFor(() => expect(part.text()).toContain('no field server'), WAIT)
    await vi.waitFor(() => expect(part.text()).toContain('Not seen'), WAIT)
    expect(part.text()).toContain('tried 3 times')
  })

  it('without any, and with an error', async () => {
    answering({ '/api/services': [], '/api/dead-letters': page([]) })
    const part = put(ServicesView)
    await vi.waitFor(() => expect(part.text()).toContain('None was given up'), WAIT)
    part.unmount()
    answering({ '/api/services': 403, '/api/dead-letters': 403 })
    const refused = put(ServicesView)
    await vi.waitFor(() => expect(refused.findAll('[role=alert]').length).toBe(2), WAIT)
  })
})

describe('about', () => {
  it('says the version that runs, and that an update is not finished', async () => {
    answering({ '/api/services': [service(), service({ id: 's4', service: 'api', version: '0.2.0' })] })
    const part = put(AboutView)
    await vi.waitFor(() => expect(part.text()).toContain('0.1.0, 0.2.0'), WAIT)
    expect(part.text()).toContain('an update is not finished')
  })

  it('says the licence to everybody', async () => {
    me.value = ada([])
    const asked = answering({})
    const part = put(AboutView)
    expect(part.text()).toContain('Apache License 2.0')
    expect(part.text()).not.toContain('Version')
    expect(asked).toEqual([])
  })
})
