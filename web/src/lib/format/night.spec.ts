import { describe, expect, it } from 'vitest'
import { time } from '.'
import { isDay, isSecond, marks, nightAt, nightOf, offset, shifted, wall } from './night'

const HOUR = 3_600_000
const iso = (at: number): string => new Date(at).toISOString().slice(0, 16)
const utc = (text: string): number => Date.parse(`${text}Z`)

describe('a night', () => {
  it.each([
    // zone, the day on which it begins, its noon, the next noon, its hours
    ['Europe/Paris', '2026-11-24', '2026-11-24T11:00', '2026-11-25T11:00', 24],
    ['Europe/Paris', '2026-03-28', '2026-03-28T11:00', '2026-03-29T10:00', 23],
    ['Europe/Paris', '2026-10-24', '2026-10-24T10:00', '2026-10-25T11:00', 25],
    ['America/New_York', '2026-03-07', '2026-03-07T17:00', '2026-03-08T16:00', 23],
    ['America/New_York', '2026-10-31', '2026-10-31T16:00', '2026-11-01T17:00', 25],
    ['America/Havana', '2026-03-07', '2026-03-07T17:00', '2026-03-08T16:00', 23],
    ['Australia/Lord_Howe', '2026-04-04', '2026-04-04T01:00', '2026-04-05T01:30', 24.5],
    ['Australia/Lord_Howe', '2026-10-03', '2026-10-03T01:30', '2026-10-04T01:00', 23.5],
    ['Asia/Kolkata', '2026-03-28', '2026-03-28T06:30', '2026-03-29T06:30', 24],
    ['Asia/Kathmandu', '2026-03-28', '2026-03-28T06:15', '2026-03-29T06:15', 24],
    ['Pacific/Kiritimati', '2026-01-01', '2025-12-31T22:00', '2026-01-01T22:00', 24],
    ['UTC', '2028-02-28', '2028-02-28T12:00', '2028-02-29T12:00', 24],
  ])('in %s on %s', (zone, date, from, to, hours) => {
    const night = nightOf(date, zone)
    expect([iso(night.from), iso(night.to), (night.to - night.from) / HOUR]).toEqual([from, to, hours])
    for (const at of [night.from, (night.from + night.to) / 2, night.to - 1])
      expect(nightAt(at, zone)).toBe(date)
  })

  it('is never empty, also of a day that a zone left out', () => {
    const night = nightOf('2011-12-30', 'Pacific/Apia')
    expect(night.to - night.from).toBe(24 * HOUR)
  })

  it('of a moment before noon began the day before', () => {
    expect(nightAt(utc('2026-11-24T10:59'), 'Europe/Paris')).toBe('2026-11-23')
    expect(nightAt(utc('2026-11-24T11:00'), 'Europe/Paris')).toBe('2026-11-24')
    expect(nightAt(utc('2026-11-24T03:00'), 'America/New_York')).toBe('2026-11-23')
  })
})

describe('the hours of a night', () => {
  const shown = (date: string, zone: string, minutes = 60): string[] => {
    const night = nightOf(date, zone)
    return marks(night, minutes, zone).map(
      ({ at, second }) => time(new Date(at), 'fr', zone) + (second ? ' again' : ''),
    )
  }

  it.each([
    ['Europe/Paris', '2026-03-28', ['01:00', '03:00'], []],
    ['Europe/Paris', '2026-10-24', ['01:00', '02:00', '02:00 again', '03:00'], ['02:00 again']],
    ['America/New_York', '2026-10-31', ['00:00', '01:00', '01:00 again', '02:00'], ['01:00 again']],
    ['America/Havana', '2026-10-31', ['23:00', '00:00', '00:00 again', '01:00'], ['00:00 again']],
    ['Australia/Lord_Howe', '2026-04-04', ['00:00', '01:00', '02:00', '03:00'], []],
    ['Asia/Kathmandu', '2026-03-28', ['23:00', '00:00', '01:00'], []],
  ])('in %s on %s', (zone, date, part, again) => {
    const all = shown(date, zone)
    const first = all.indexOf(part[0]!)
    expect(all.slice(first, first + part.length)).toEqual(part)
    expect(all.filter((one) => one.endsWith('again'))).toEqual(again)
    expect([all[0], all.at(-1)]).toEqual(['12:00', '12:00'])
  })

  it('are as many as the night has, and every third of them begins at midnight', () => {
    expect(shown('2026-03-28', 'Europe/Paris').length).toBe(24)
    expect(shown('2026-10-24', 'Europe/Paris').length).toBe(26)
    expect(shown('2026-03-28', 'Europe/Paris', 180)).toEqual([
      '12:00',
      '15:00',
      '18:00',
      '21:00',
      '00:00',
      '03:00',
      '06:00',
      '09:00',
      '12:00',
    ])
  })

  it('know which half hour comes again', () => {
    const lordHowe = utc('2026-04-04T15:00')
    expect(isSecond(lordHowe, 'Australia/Lord_Howe')).toBe(true)
    expect(isSecond(lordHowe + HOUR / 2, 'Australia/Lord_Howe')).toBe(false)
    expect(isSecond(lordHowe - HOUR / 2, 'Australia/Lord_Howe')).toBe(false)
    expect(isSecond(utc('2026-10-25T01:59'), 'Europe/Paris')).toBe(true)
    expect(isSecond(utc('2026-10-25T02:00'), 'Europe/Paris')).toBe(false)
    expect(isSecond(utc('2026-10-25T00:59'), 'Europe/Paris')).toBe(false)
  })
})

describe('a time on the wall', () => {
  it('that the clock leaps over is as much after the leap; one that comes twice is its first', () => {
    expect(iso(wall('2026-03-29', 2, 'Europe/Paris'))).toBe('2026-03-29T01:00')
    expect(iso(wall('2026-10-25', 2, 'Europe/Paris'))).toBe('2026-10-25T00:00')
    expect(offset(utc('1900-01-01T00:00'), 'Europe/Paris')).toBe(561_000)
  })
})

describe('a day', () => {
  it.each([
    ['2026-11-24', true],
    ['2028-02-29', true],
    ['2026-02-29', false],
    ['2026-13-01', false],
    ['2026-11-31', false],
    ['2026-1-1', false],
    ['0000-01-01', false],
    ['9999-12-31', false],
    ['tonight', false],
    ['', false],
  ])('%s: %s', (text, is) => expect(isDay(text)).toBe(is))

  it('is counted over the ends of months and years', () => {
    expect(shifted('2026-12-31', 1)).toBe('2027-01-01')
    expect(shifted('2028-03-01', -1)).toBe('2028-02-29')
  })
})
