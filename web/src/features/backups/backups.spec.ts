import { afterEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { speak } from '@/lib/i18n'
import { answering, button, page, put } from '../../../tests/mounting'
import type { Backup } from './api'
import BackupsView from './BackupsView.vue'
import BackupView from './BackupView.vue'
import { isHeld, matching, stateOf } from './backup'
import BackupDoubts from './components/BackupDoubts.vue'
import BackupRow from './components/BackupRow.vue'

const WAIT = 120_000
const backup = (more: Partial<Backup> = {}): Backup => ({
  id: 'b1',
  name: 'web1-system-2026',
  title: 'web1 - system',
  server_id: 's1',
  server: 'web1',
  repository_id: 'r1',
  repository: 'system',
  backup_job_id: 'p1',
  job_id: 'j1',
  borg_id: 'abc',
  state: 'succeeded',
  started_at: '2026-11-24T01:00:00Z',
  ended_at: '2026-11-24T01:10:00Z',
  duration: 600,
  files: 1204,
  original_size: 61_000_000_000,
  compressed_size: 30_000_000_000,
  deduplicated_size: 1_200_000_000,
  good: true,
  doubtful: false,
  reasons: [],
  accepted_at: null,
  accepted_by: '',
  accepted_reason: '',
  missing: false,
  verified_at: null,
  proven_at: null,
  damage: '',
  held_reason: null,
  held_until: null,
  created_at: '2026-11-24T01:10:00Z',
  ...more,
})
const doubt = { code: 'source_empty', weight: 'doubt' as const, text: 'the source /srv is empty' }

afterEach(() => {
  vi.unstubAllGlobals()
})

describe('a backup', () => {
  it.each([
    [backup(), 'ok', 'status.backup.good'],
    [backup({ reasons: [{ ...doubt, weight: 'note' }] }), 'ok', 'status.backup.noted'],
    [backup({ good: false, doubtful: true, reasons: [doubt] }), 'warn', 'status.backup.doubtful'],
    [backup({ damage: 'chunk missing' }), 'bad', 'status.backup.damaged'],
    [backup({ missing: true, damage: 'x', good: true }), 'bad', 'status.backup.missing'],
    [backup({ good: false, state: 'of_the_future' }), 'unknown', 'status.unknown'],
  ])('case %#: is never shown as better than it is', (one, tone, key) => {
    expect(stateOf(one)).toMatchObject({ tone, key })
  })

  it.each([
    [null, null, false],
    ['audit', null, true],
    ['audit', '2026-11-25T00:00:00Z', true],
    ['audit', '2026-11-23T00:00:00Z', false],
    ['', null, true],
  ])('held for %j until %j: %s', (held_reason, held_until, held) => {
    expect(isHeld(backup({ held_reason, held_until }), new Date('2026-11-24T12:00:00Z'))).toBe(held)
  })

  it('is found by every word', () => {
    const all = [backup(), backup({ title: 'db1 - data', name: 'x' })]
    expect(matching(all, 'WEB sys').length).toBe(1)
    expect(matching(all, ' ').length).toBe(2)
  })
})

describe('the list', () => {
  it('is loading, then full, with what is held and doubtful', async () => {
    answering({
      '/api/backups': page([
        backup({ held_reason: 'audit' }),
        backup({ id: 'b2', good: false, doubtful: true, reasons: [doubt] }),
      ]),
    })
    const part = put(BackupsView)
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('the source /srv is empty'), WAIT)
    expect(part.text()).toContain('Held')
    expect(part.text()).toContain('1,204 files')
  })

  it('that is empty differs from one that nothing matches', async () => {
    answering({ '/api/backups': page([]) })
    const part = put(BackupsView)
    await vi.waitFor(() => expect(part.text()).toContain('No backup yet'), WAIT)
    await part.get('input').setValue('zzz')
    await vi.waitFor(() => expect(part.text()).toContain('No backup matches'), WAIT)
  })

  it('that cannot be had is an error', async () => {
    answering({ '/api/backups': 403 })
    const part = put(BackupsView)
    await vi.waitFor(() => expect(part.find('[role=alert]').exists()).toBe(true), WAIT)
    expect(part.text()).not.toContain('No backup yet')
  })
})

describe('the page of a backup', () => {
  const shown = async (one: Backup, more: Record<string, unknown> = {}) => {
    const asked = answering({ '/api/backups/b1': one, ...more })
    const part = put(BackupView, {}, '', '/backups/b1')
    await vi.waitFor(() => expect(part.text()).toContain('Original size'), WAIT)
    return { asked, part }
  }

  it('is deleted only after a question that names it and says what goes', async () => {
    const { asked } = await shown(backup())
    button('Delete backup').click()
    await nextTick()
    const text = document.querySelector('[role=dialog]')!.textContent!
    expect(text).toContain('web1 - system')
    expect(text).toContain('61\u00a0GB')
    expect(text).toContain('cannot be undone')
    expect(asked.some((one) => one.method === 'DELETE')).toBe(false)
    button('Delete backup').click()
    await vi.waitFor(
      () =>
        expect(asked.filter((one) => one.method === 'DELETE').map((one) => one.path)).toEqual([
          '/api/backups/b1',
        ]),
      WAIT,
    )
  })

  it('that is held has no way to be deleted', async () => {
    const { part } = await shown(backup({ held_reason: 'audit 2026' }))
    expect(part.text()).not.toContain('Delete backup')
    expect(part.text()).toContain('audit 2026')
    expect(part.text()).toContain('Release')
  })

  it('says its reasons in the language of the person, and those it does not know as they came', async () => {
    await speak('fr')
    const held = { code: 'error', key: 'part.files', params: { count: 1204 } }
    const message = {
      code: 'source_empty',
      key: 'source_empty',
      params: { path: '/srv', held },
      text: 'x',
      remedy: 'y',
    }
    const odd = { ...doubt, code: 'of_2030', text: 'The moon is full.', message: null }
    const one = backup({ good: false, doubtful: true, reasons: [{ ...doubt, message }, odd] })
    const row = put(BackupRow, { backup: one })
    expect(row.text()).toContain(
      'La source /srv est vide\u202f; elle contenait 1\u202f204 fichiers la dernière fois.',
    )
    const part = put(BackupDoubts, { backup: one })
    expect(part.findAll('li').map((line) => [line.find('span').attributes('lang'), line.text()])).toEqual([
      [
        undefined,
        'La source /srv est vide\u202f; elle contenait 1\u202f204 fichiers la dernière fois. La monter ou la remplir, ou accepter cette sauvegarde si c’est normal.',
      ],
      ['en', 'The moon is full.'],
    ])
  })

  it('is held only with a reason', async () => {
    const { asked } = await shown(backup(), { '/api/backups/b1/hold': backup() })
    button('Hold').click()
    await nextTick()
    expect(button('Hold').disabled).toBe(true)
    const input = document.querySelector<HTMLInputElement>('[role=dialog] input')!
    input.value = ' audit '
    input.dispatchEvent(new Event('input'))
    await nextTick()
    button('Hold').click()
    await vi.waitFor(
      () => expect(asked.find((one) => one.method === 'PUT')?.body).toBe('{"reason":"audit"}'),
      WAIT,
    )
  })

  it('that is good offers nothing to accept; a doubtful one says why', async () => {
    const { part } = await shown(backup({ good: false, doubtful: true, reasons: [doubt] }))
    expect(part.text()).toContain('This backup is doubtful')
    expect(part.text()).toContain('the source /srv is empty')
    expect(part.text()).toContain('Accept')
    part.unmount()
    expect((await shown(backup())).part.text()).not.toContain('Accept')
  })
})
