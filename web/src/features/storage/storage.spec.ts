import { afterEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { answering, button, contested, page, put } from '../../../tests/mounting'
import type { Pool, Repository } from './api'
import RepositoryView from './RepositoryView.vue'
import StorageView from './StorageView.vue'
import { stateOf, stateOfPool, usedPercent, worstFirst } from './storage'

const WAIT = 120_000
const pool = (more: Partial<Pool> = {}): Pool => ({
  version: 1,
  id: 'o1',
  name: 'main',
  node: 'node1',
  path: '/opt/backups',
  size_bytes: 10_000,
  free_bytes: 2500,
  problem: '',
  problem_code: '',
  marked_at: null,
  measured_at: '2026-11-24T00:00:00Z',
  restored_at: null,
  created_at: '2026-11-01T00:00:00Z',
  ...more,
})
const repository = (more: Partial<Repository> = {}): Repository =>
  ({
    version: 1,
    id: 'r1',
    name: 'system',
    server_id: 's1',
    server: 'web1',
    pool_id: 'o1',
    path: '/opt/backups/web1/system',
    encryption: 'repokey-blake2',
    quota_bytes: null,
    retention: null,
    frozen_reason: '',
    frozen_for: [],
    frozen_at: null,
    damage: '',
    pruned_at: null,
    compacted_at: null,
    checked_at: null,
    archive_count: 3,
    original_size: 1000,
    deduplicated_size: null,
    refreshed_at: '2026-11-24T00:00:00Z',
    ...more,
  }) as Repository
const frozen = {
  frozen_reason: '2 backups are missing',
  frozen_for: [{ code: 'archives_missing', reason: '2 backups are missing' }],
}

afterEach(() => {
  vi.unstubAllGlobals()
})

describe('storage', () => {
  it.each([
    [pool(), 75],
    [pool({ free_bytes: 10_000 }), 0],
    [pool({ free_bytes: null }), null],
    [pool({ size_bytes: 0 }), null],
    [pool({ problem: 'not mounted' }), null],
  ])('case %#: what is not known of a pool is unknown, and empty is 0', (one, used) => {
    expect(usedPercent(one)).toBe(used)
  })

  it('shows the worst state of each', () => {
    expect(stateOfPool(pool({ problem: 'not mounted' })).tone).toBe('bad')
    expect(stateOfPool(pool({ measured_at: null })).tone).toBe('unknown')
    expect(stateOf(repository({ damage: 'x', ...frozen })).key).toBe('status.repository.damaged')
    expect(stateOf(repository(frozen)).tone).toBe('bad')
    expect(stateOf(repository({ refreshed_at: null })).tone).toBe('idle')
    expect(worstFirst([repository(), repository({ id: 'r2', ...frozen })])[0]?.id).toBe('r2')
  })
})

describe('the page', () => {
  it('is loading, then shows pools and repositories; an unknown size is a word', async () => {
    answering({ '/api/storage-pools': page([pool()]), '/api/repositories': page([repository()]) })
    const part = put(StorageView)
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('web1/system'), WAIT)
    expect(part.text()).toContain('75')
    expect(part.text()).toContain('unknown')
  })

  it('with no pool says how one is added, and an error is no empty storage', async () => {
    answering({ '/api/storage-pools': page([]), '/api/repositories': page([]) })
    const part = put(StorageView)
    await vi.waitFor(() => expect(part.text()).toContain('No storage pool yet'), WAIT)
    part.unmount()
    answering({ '/api/storage-pools': page([]), '/api/repositories': 403 })
    const other = put(StorageView)
    await vi.waitFor(() => expect(other.find('[role=alert]').exists()).toBe(true), WAIT)
    expect(other.text()).not.toContain('No storage pool yet')
  })
})

describe('a repository', () => {
  it('that is frozen says why, cannot be pruned, and is let go only by its name and a reason', async () => {
    const asked = answering({
      '/api/repositories/r1': repository({ ...frozen, retention: {} as never }),
      '/api/repositories/r1/unfreeze': repository(),
    })
    const part = put(RepositoryView, {}, '', '/repositories/r1')
    await vi.waitFor(() => expect(part.text()).toContain('archives_missing'), WAIT)
    expect(part.findAll('button').map((one) => one.text())).toEqual(['Check', 'Unfreeze…', 'Change…'])
    button('Unfreeze…').click()
    await nextTick()
    const inputs = [...document.querySelectorAll<HTMLInputElement>('[role=dialog] input')]
    const type = async (input: HTMLInputElement | undefined, text: string): Promise<void> => {
      input!.value = text
      input!.dispatchEvent(new Event('input'))
      await nextTick()
    }
    await type(inputs[0], 'moved by hand')
    expect(button('Unfreeze…').disabled).toBe(true)
    await type(inputs[1], 'web1/system')
    button('Unfreeze…').click()
    await vi.waitFor(
      () =>
        expect(asked.find((one) => one.path.endsWith('/unfreeze'))?.body).toBe('{"reason":"moved by hand"}'),
      WAIT,
    )
  })

  it('that is sound is pruned only where it has a retention, and after a question', async () => {
    const asked = answering({ '/api/repositories/r1': repository({ retention: {} as never }) })
    const part = put(RepositoryView, {}, '', '/repositories/r1')
    await vi.waitFor(() => expect(part.text()).toContain('Sound'), WAIT)
    button('Prune').click()
    await nextTick()
    expect(document.querySelector('[role=dialog]')!.textContent).toContain('cannot be undone')
    expect(asked.some((one) => one.path.endsWith('/prune'))).toBe(false)
  })

  it('its rules are changed as they were seen; what came first is read again or saved over', async () => {
    const kept = { kept: 3, dropped: 1, deletion_limit_reached: false, backups: [] }
    const first = { ...repository({ retention: { keep_weekly: 4 } }), version: 3 }
    const world = contested('/api/repositories/r1', first, {
      '/api/repositories/r1/retention/preview': kept,
    })
    const part = put(RepositoryView, {}, '', '/repositories/r1')
    await vi.waitFor(() => expect(part.text()).toContain('It keeps: 4 weekly.'), WAIT)
    const save = async (): Promise<void> => {
      await vi.waitFor(() => expect(button('Save retention').disabled).toBe(false), WAIT)
      button('Save retention').click()
      await vi.waitFor(() => expect(document.querySelector('[role=dialog] form')).not.toBeNull(), WAIT)
      document.querySelector('[role=dialog] form')!.dispatchEvent(new Event('submit'))
    }
    button('Change…').click()
    await nextTick()
    world.eve({ retention: { keep_weekly: 9 }, quota_bytes: 5 })
    await save()
    await vi.waitFor(() => expect(part.text()).toContain('last by eve'), WAIT)
    button('Save mine all the same').click()
    await vi.waitFor(() => expect(world.tags).toEqual(['"3"', '"4"']), WAIT)
    expect(world.bodies[1]).toMatchObject({ retention: { keep_weekly: 4 }, quota_bytes: 5 })
  })

  it('saves over another change what was refused, and nothing that was entered since', async () => {
    const kept = { kept: 3, dropped: 1, deletion_limit_reached: false, backups: [] }
    const first = { ...repository({ retention: { keep_daily: 7 } }), version: 3 }
    const world = contested('/api/repositories/r1', first, {
      '/api/repositories/r1/retention/preview': kept,
    })
    const part = put(RepositoryView, {}, '', '/repositories/r1')
    await vi.waitFor(() => expect(part.text()).toContain('It keeps: 7 daily.'), WAIT)
    button('Change…').click()
    await nextTick()
    world.eve({ quota_bytes: 5 })
    button('Keep everything').click()
    await vi.waitFor(() => expect(part.text()).toContain('last by eve'), WAIT)
    button('Save mine all the same').click()
    await vi.waitFor(() => expect(world.bodies.length).toBe(2), WAIT)
    expect(world.bodies[1]).toMatchObject({ retention: null, quota_bytes: 5 })
  })

  it('says what its retention keeps; a change leaves quota and pruning as they are', async () => {
    const preview = {
      kept: 3,
      dropped: 0,
      deletion_limit_reached: false,
      backups: [
        {
          id: 'b1',
          name: 'b1',
          backup_job_id: null,
          created_at: '2026-11-24T00:00:00Z',
          original_size: 9,
          kept_by: 'weekly 1, oldest',
        },
      ],
    }
    const asked = answering({
      '/api/repositories/r1': repository({
        retention: { keep_weekly: 4 },
        quota_bytes: 5,
        prune_after_backup: false,
        compact_threshold_percent: 20,
      }),
      '/api/repositories/r1/retention/preview': preview,
    })
    const part = put(RepositoryView, {}, '', '/repositories/r1')
    await vi.waitFor(() => expect(part.text()).toContain('Weekly 1, the oldest'), WAIT)
    expect(part.text()).toContain('It keeps: 4 weekly.')
    button('Change…').click()
    await nextTick()
    await vi.waitFor(() => expect(button('Save retention').disabled).toBe(false), WAIT)
    button('Save retention').click()
    await vi.waitFor(() => expect(asked.some((one) => one.method === 'PUT')).toBe(true), WAIT)
    const sent = JSON.parse(asked.find((one) => one.method === 'PUT')!.body)
    expect(sent).toMatchObject({
      quota_bytes: 5,
      prune_after_backup: false,
      compact_threshold_percent: 20,
      schedules: null,
      retention: { keep_weekly: 4 },
    })
  })
})
