import { afterEach, describe, expect, it, vi } from 'vitest'
import { nextTick } from 'vue'
import { alertStatus, subjectOf, worstFirst } from '@/lib/alerts'
import { answering, button, page, put } from '../../../tests/mounting'
import AlertsView from './AlertsView.vue'
import AlertView from './AlertView.vue'
import type { Alert } from './api'

const WAIT = 120_000
const alert = (more: Partial<Alert> = {}): Alert => ({
  id: 'a1',
  kind: 'disk',
  subject: 'server:web1:/srv',
  server: 'web1',
  state: 'firing',
  level: 'warning',
  value: 86.4,
  threshold: 80,
  began_at: '2026-11-24T00:00:00Z',
  raised_at: null,
  acknowledged_until: null,
  acknowledged_by: '',
  acknowledged_note: '',
  resolved_at: null,
  ...more,
})

afterEach(() => {
  vi.unstubAllGlobals()
})

describe('an alert', () => {
  it('is shown by its level while it fires, and named without its kind of subject', () => {
    expect(alertStatus(alert({ level: 'critical' })).tone).toBe('bad')
    expect(alertStatus(alert({ state: 'acknowledged', level: 'critical' })).tone).toBe('idle')
    expect(alertStatus(alert({ state: 'of_the_future' })).tone).toBe('unknown')
    expect(subjectOf(alert())).toBe('web1:/srv')
    expect(subjectOf(alert({ subject: 'dead_letters' }))).toBe('dead_letters')
  })

  it('that endangers a backup comes first, one that somebody knows of last', () => {
    const all = [
      alert({ id: 'known', state: 'acknowledged', level: 'critical' }),
      alert({ id: 'warning' }),
      alert({ id: 'critical', level: 'critical' }),
      alert({ id: 'backup', kind: 'backup_failed' }),
    ]
    expect(worstFirst(all).map((one) => one.id)).toEqual(['backup', 'critical', 'warning', 'known'])
  })
})

describe('the list', () => {
  it('says each in words with its value; of a kind of the future the name', async () => {
    answering({
      '/api/alerts': page([
        alert(),
        alert({ id: 'a2', kind: 'of_the_future' }),
        alert({ id: 'a3', kind: 'backup_failed', value: 1 }),
      ]),
    })
    const part = put(AlertsView)
    expect(part.find('[role=status]').text()).toContain('Loading')
    await vi.waitFor(() => expect(part.text()).toContain('The file system is 86% full.'), WAIT)
    expect(part.text()).toContain('of_the_future')
    expect(part.text()).toContain('The last run failed.')
  })

  it('with none is calm, and an error is not', async () => {
    answering({ '/api/alerts': page([]) })
    const part = put(AlertsView)
    await vi.waitFor(() => expect(part.text()).toContain('No open alert'), WAIT)
    part.unmount()
    answering({ '/api/alerts': 403 })
    const other = put(AlertsView)
    await vi.waitFor(() => expect(other.find('[role=alert]').exists()).toBe(true), WAIT)
    expect(other.text()).not.toContain('No open alert')
  })
})

describe('its page', () => {
  it('is acknowledged with a note', async () => {
    const detail = {
      ...alert(),
      history: [
        { at: '2026-11-24T00:00:00Z', what: 'raise', level: 'warning', value: 86, who: '', note: '' },
      ],
    }
    const asked = answering({ '/api/alerts/a1': detail, '/api/alerts/a1/acknowledge': alert() })
    const part = put(AlertView, {}, '', '/alerts/a1')
    await vi.waitFor(() => expect(part.text()).toContain('Raised'), WAIT)
    expect(part.text()).toContain('Free space on it')
    button('Acknowledge').click()
    await nextTick()
    const input = document.querySelector<HTMLInputElement>('[role=dialog] input')!
    input.value = 'ordered a disk'
    input.dispatchEvent(new Event('input'))
    await nextTick()
    button('Acknowledge').click()
    await vi.waitFor(
      () => expect(asked.find((one) => one.method === 'POST')?.body).toBe('{"note":"ordered a disk"}'),
      WAIT,
    )
  })

  it('of what is resolved cannot be acknowledged', async () => {
    answering({
      '/api/alerts/a1': { ...alert({ state: 'resolved', resolved_at: '2026-11-24T02:00:00Z' }), history: [] },
    })
    const part = put(AlertView, {}, '', '/alerts/a1')
    await vi.waitFor(() => expect(part.text()).toContain('Resolved'), WAIT)
    expect(part.text()).not.toContain('Acknowledge')
  })
})
