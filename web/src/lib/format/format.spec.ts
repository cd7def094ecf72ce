import { describe, expect, it } from 'vitest'
import { bytes, count, duration, fullMoment, moment, percent, safeName, tick } from '.'

const plain = (text: string): string => text.replace(/[\u00a0\u202f]/g, ' ')

describe('sizes', () => {
  it.each([
    [0, '0 B', '0 o'],
    [999, '999 B', '999 o'],
    [1000, '1 kB', '1 ko'],
    [1234, '1.23 kB', '1,23 ko'],
    [999_499, '999 kB', '999 ko'],
    [999_600, '1 MB', '1 Mo'],
    [61_000_000_000, '61 GB', '61 Go'],
    [1.5e18, '1,500 PB', '1 500 Po'],
  ])('%s bytes', (value, english, french) => {
    expect(plain(bytes(value, 'en'))).toBe(english)
    expect(plain(bytes(value, 'fr'))).toBe(french)
  })
})

describe('percentages', () => {
  it.each([
    [0, '0%', '0 %'],
    [0.2, '< 1%', '< 1 %'],
    [42.4, '42%', '42 %'],
    [99.7, '99%', '99 %'],
    [100, '100%', '100 %'],
  ])('%s', (value, english, french) => {
    expect(plain(percent(value, 'en'))).toBe(english)
    expect(plain(percent(value, 'fr'))).toBe(french)
  })
})

describe('durations', () => {
  it.each([
    [-5, '0 s'],
    [35, '35 s'],
    [59.6, '1 min 00 s'],
    [724, '12 min 04 s'],
    [11_400, '3 h 10'],
    [172_800, '2 days'],
  ])('%s seconds', (seconds, text) => {
    expect(plain(duration(seconds, 'en'))).toBe(text)
  })
  it('in French', () => {
    expect(plain(duration(41 * 86_400, 'fr'))).toBe('41 jours')
  })
})

describe('moments', () => {
  const now = new Date('2026-11-24T12:00:00Z')
  const at = (text: string): Date => new Date(text)

  it('are relative within a day', () => {
    expect(plain(moment(at('2026-11-24T03:00:00Z'), now, 'en', 'UTC'))).toBe('9 hr. ago')
    expect(plain(moment(at('2026-11-24T03:00:00Z'), now, 'fr', 'UTC'))).toBe('il y a 9 h')
    expect(plain(moment(at('2026-11-24T11:59:30Z'), now, 'en', 'UTC'))).toBe('now')
  })

  it.each([
    ['UTC', 'dim. 22 nov., 23:30'],
    ['Europe/Paris', 'lun. 23 nov., 00:30'],
    ['America/New_York', 'dim. 22 nov., 18:30'],
    ['Asia/Kolkata', 'lun. 23 nov., 05:00'],
    ['Pacific/Kiritimati', 'lun. 23 nov., 13:30'],
    ['Australia/Lord_Howe', 'lun. 23 nov., 10:30'],
  ])('are days and times in %s after that', (zone, text) => {
    expect(plain(moment(at('2026-11-22T23:30:00Z'), now, 'fr', zone))).toBe(text)
  })

  it('name the year if it is another', () => {
    expect(moment(at('2025-02-01T00:00:00Z'), now, 'en', 'UTC')).toContain('2025')
  })

  it('are whole in the tooltip, with the zone', () => {
    expect(plain(fullMoment(at('2026-11-24T03:00:00Z'), 'fr', 'Europe/Paris'))).toContain('UTC+01:00')
  })

  it('are hours or days on an axis', () => {
    expect(tick(at('2026-11-24T03:00:00Z'), 86_400, 'fr', 'Europe/Paris')).toBe('04:00')
    expect(tick(at('2026-11-24T03:00:00Z'), 30 * 86_400, 'en', 'UTC')).toBe('Nov 24')
  })
})

describe('names', () => {
  it.each([
    ['web1', 'web1'],
    ['<img src=x onerror=alert(1)>', '<img src=x onerror=alert(1)>'],
    ['exe\u202ecod.pdf', 'exe\\u{202e}cod.pdf'],
    ['a\u0000b\nc\u001b[31m', 'a\\u{0}b\\u{a}c\\u{1b}[31m'],
    ['pay\u200bpal', 'pay\\u{200b}pal'],
    ['é日本ع', 'é日本ع'],
  ])('%j cannot look like another', (name, shown) => {
    expect(safeName(name)).toBe(shown)
  })
})

it('counts are grouped by language', () => {
  expect(count(1204, 'en')).toBe('1,204')
  expect(plain(count(1204.567, 'fr', 2))).toBe('1 204,57')
})
