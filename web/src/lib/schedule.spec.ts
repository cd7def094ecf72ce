import { describe, expect, it } from 'vitest'
import { keepsSomething, policyOf, retentionForm, usualRetention } from './retention'
import { newSchedule, scheduleForm, scheduleOf } from './schedule'

const out = (when: object, more: object = {}) =>
  ({ id: 'c', words: '', next_run_at: null, next_runs: [], when, ...more }) as Parameters<
    typeof scheduleForm
  >[0]

describe('a schedule', () => {
  it.each([
    { kind: 'days', every: 2, times: ['01:00', '13:30'], zone: 'Europe/Paris' },
    { kind: 'weekly', days: [1, 5], times: ['02:00'], zone: 'Asia/Tokyo' },
    { kind: 'monthly', days: [1, 15], times: ['02:00'], zone: 'UTC' },
    { kind: 'hours', every: 6, offset_minutes: 30, zone: 'UTC' },
    { kind: 'cron', expression: '30 2 * * 1-5', zone: 'UTC' },
  ])('$kind is as a form and back what it was', (when) => {
    const more = {
      jitter_seconds: 90,
      catch_up: false,
      overlap: 'queue',
      window: { days: [6, 7], begins: '22:00:00', ends: '06:00:00', zone: 'Europe/Paris' },
      blackout: null,
      stop_at_end: true,
    }
    const form = scheduleForm(out(when, more))
    expect(scheduleOf(form!)).toEqual({
      ...more,
      when,
      window: { ...more.window, begins: '22:00', ends: '06:00' },
    })
  })

  it('that a newer version made is none', () => {
    expect(scheduleForm(out(null as never))).toBeNull()
    expect(scheduleOf(newSchedule('UTC')).when).toEqual({
      kind: 'days',
      zone: 'UTC',
      every: 1,
      times: ['01:00'],
    })
  })
})

describe('a retention', () => {
  it('is as a form and back what it was', () => {
    const policy = policyOf(usualRetention())
    expect(policy).toMatchObject({ keep_daily: 7, keep_weekly: 4, keep_monthly: 6, keep_yearly: 0 })
    expect(policyOf(retentionForm({ ...policy, zone: 'Asia/Tokyo', keep_last: 3 }))).toEqual({
      ...policy,
      zone: 'Asia/Tokyo',
      keep_last: 3,
    })
    expect(keepsSomething(retentionForm(null))).toBe(false)
  })
})
