import { afterEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { speak } from '@/lib/i18n'
import { me } from '@/lib/session'
import { answering, button, page, put } from '../../../tests/mounting'
import { ada } from '../../../tests/setup'
import type { Pool, Server } from './api'
import WizardView from './WizardView.vue'
import { draftFor, freeName, hasPreset, newForm, requestOf, restOf, stepOf, togglePreset } from './wizard'

const WAIT = 120_000
const server = (more: Partial<Server> = {}): Server =>
  ({ id: 's1', name: 'web1', state: 'ready', ...more }) as Server
const pool = (more: Partial<Pool> = {}): Pool =>
  ({ id: 'o1', name: 'main', path: '/opt/backups', problem: '', free_bytes: 2_000_000_000, ...more }) as Pool
const preview = { words: 'every day', next_runs: ['2026-11-25T00:00:00Z', '2026-11-26T00:00:00Z'] }
const answers = (more: Record<string, unknown> = {}) => ({
  '/api/servers': page([server()]),
  '/api/storage-pools': page([pool()]),
  '/api/repositories': page([{ id: 'r1', server_id: 's1', name: 'system' }]),
  '/api/schedules/preview': preview,
  '/api/backup-wizard': { id: 'j1', backup_job_id: 'p1', repository_id: 'r2' },
  '/api/backup-jobs/p1': {},
  ...more,
})
const at = (part: { vm: unknown }): string => (part.vm as { $route: { path: string } }).$route.path
const press = async (text: string): Promise<void> => {
  await vi.waitFor(() => expect(button(text).disabled).toBe(false), WAIT)
  button(text).click()
  await nextTick()
}

afterEach(() => {
  vi.unstubAllGlobals()
})

describe('the answers', () => {
  it('presets add what they name and take it away; the whole server stands for all the others', () => {
    const form = newForm('s1')
    expect(hasPreset(form, 'system')).toBe(true)
    togglePreset(form, 'web')
    expect(form.sources).toContain('/var/www')
    togglePreset(form, 'whole')
    expect(form.sources).toBe('/')
    expect(form.excludes).toContain('pp:/proc')
    togglePreset(form, 'system')
    expect(form.sources).toBe('/etc\n/root\n/usr/local')
    expect(form.excludes).not.toContain('pp:/proc')
    togglePreset(form, 'system')
    expect(form.sources).toBe('')
  })

  it('what a person wrote stays when a preset comes and goes', () => {
    const form = newForm('s1')
    form.sources += '\n/data'
    togglePreset(form, 'homes')
    togglePreset(form, 'homes')
    expect(form.sources.split('\n')).toContain('/data')
  })

  it('a name that is taken gets a number', () => {
    expect(freeName('system', [])).toBe('system')
    expect(freeName('system', ['system', 'system-2'])).toBe('system-3')
  })

  it('become one request, and what that cannot say a second one', () => {
    const form = { ...newForm('s1'), pool: 'o1', repository: ' system ', sources: '/etc\n\n /srv ' }
    expect(requestOf(form, 'web1-system')).toEqual({
      server_id: 's1',
      pool_id: 'o1',
      repository: 'system',
      job: { name: 'web1-system', sources: ['/etc', '/srv'], excludes: ['sh:/home/*/.cache'] },
    })
    expect(restOf(form)?.retention).toMatchObject({ keep_daily: 7, keep_weekly: 4, keep_monthly: 6 })
    expect(restOf(form)?.schedules?.[0]?.when).toMatchObject({ kind: 'days', times: ['01:00'] })
    expect(restOf({ ...form, scheduled: 'no', keeping: 'all' })).toBeNull()
  })

  it('a refused field leads to its question', () => {
    expect(stepOf('job.sources.1')).toBe('what')
    expect(stepOf('job.name')).toBe('where')
    expect(stepOf('elsewhere')).toBeNull()
  })

  it('a draft that is broken, or about another server, is none', () => {
    sessionStorage.setItem('borgfleet.wizard', '{')
    expect(draftFor('s1')).toBeNull()
    sessionStorage.setItem('borgfleet.wizard', JSON.stringify(newForm('s2')))
    expect(draftFor('s1')).toBeNull()
    expect(draftFor('')?.server).toBe('s2')
  })
})

describe('the wizard', () => {
  it('asks three questions, says what will happen, and makes it', async () => {
    const asked = answering(answers())
    const part = put(WizardView, {}, '', '/wizard?server=s1')
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('What is backed up?'), WAIT)
    await press('Next')
    expect(part.text()).toContain('/opt/backups/web1/system-2')
    await press('Next')
    await vi.waitFor(() => expect(part.text()).toContain('Next five runs'), WAIT)
    await press('Next')
    expect(part.text()).toContain('/etc, /root, /usr/local, and /home of web1')
    expect(part.text()).toContain('every day at 01:00')
    expect(part.text()).toContain('7 daily, 4 weekly, 6 monthly')
    await press('Start protection')
    const sent = () => asked.filter((one) => one.method !== 'GET' && !one.path.endsWith('preview'))
    await vi.waitFor(() => expect(sent().length).toBe(2), WAIT)
    expect(sent().map((one) => `${one.method} ${one.path}`)).toEqual([
      'POST /api/backup-wizard',
      'PUT /api/backup-jobs/p1',
    ])
    expect(JSON.parse(sent()[1]!.body)).toMatchObject({ name: 'web1-system-2', repository_id: 'r2' })
    await vi.waitFor(() => expect(at(part)).toBe('/backup-jobs/p1'), WAIT)
    expect(sessionStorage.getItem('borgfleet.wizard')).toBeNull()
  })

  it('that made the job but could not say when leads to where that is mended', async () => {
    const asked = answering(answers({ '/api/backup-jobs/p1': 503 }))
    const part = put(WizardView, {}, '', '/wizard?server=s1')
    await vi.waitFor(() => expect(part.text()).toContain('What is backed up?'), WAIT)
    await press('Next')
    await press('Next')
    await press('Next')
    await press('Start protection')
    await vi.waitFor(() => expect(at(part)).toBe('/backup-jobs/p1/edit'), WAIT)
    expect(asked.filter((one) => one.path === '/api/backup-wizard').length).toBe(1)
  })

  it('goes no further without a source, and not with a name that is taken', async () => {
    answering(answers())
    const part = put(WizardView, {}, '', '/wizard?server=s1')
    await vi.waitFor(() => expect(part.text()).toContain('What is backed up?'), WAIT)
    const [sources] = part.findAll('textarea')
    await sources!.setValue('')
    expect(button('Next').disabled).toBe(true)
    await sources!.setValue('/etc')
    await press('Next')
    await part.findAll('input')[0]!.setValue('system')
    expect(part.text()).toContain('has a repository of this name already')
    expect(button('Next').disabled).toBe(true)
  })

  it.each([
    [{ '/api/servers': page([]) }, 'No server is ready'],
    [{ '/api/servers': page([server({ state: 'failed' })]) }, 'web1 is not ready yet'],
    [{ '/api/storage-pools': page([]) }, 'No storage pool yet'],
  ])('case %#: without what it needs, it says so', async (more, said) => {
    answering(answers(more))
    const part = put(WizardView, {}, '', '/wizard?server=s1')
    await vi.waitFor(() => expect(part.text()).toContain(said), WAIT)
  })

  it('that is refused is an error, and who may not is told which right is missing', async () => {
    answering(answers({ '/api/storage-pools': 403 }))
    const part = put(WizardView, {}, '', '/wizard')
    await vi.waitFor(() => expect(part.find('[role=alert]').exists()).toBe(true), WAIT)
    part.unmount()
    me.value = ada(['backup_jobs:read'])
    expect(put(WizardView, {}, '', '/wizard').text()).toContain('backup_jobs:write')
  })

  it('speaks French', async () => {
    await speak('fr')
    answering(answers())
    const part = put(WizardView, {}, '', '/wizard?server=s1')
    await vi.waitFor(() => expect(part.text()).toContain('Que faut-il sauvegarder'), WAIT)
    expect(part.text()).toContain('Répertoires personnels')
  })
})
