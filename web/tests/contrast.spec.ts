import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const css = readFileSync('src/styles/tokens.css', 'utf8')

function tokens(theme: string): Record<string, string> {
  const block = css.split(theme)[1]?.split('}')[0] ?? ''
  return Object.fromEntries([...block.matchAll(/--([\w-]+): (#[0-9a-f]{6})/g)].map((m) => [m[1]!, m[2]!]))
}

function luminance(hex: string): number {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!
}

function contrast(one: string, other: string): number {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a)
  return (light! + 0.05) / (dark! + 0.05)
}

const TONES = ['ok', 'warn', 'bad', 'busy', 'idle']
const GROUNDS = ['page', 'panel', 'raised']

describe.each([
  ['light', ':root {'],
  ['dark', ':root.dark {'],
])('%s: every text can be read', (_, block) => {
  const t = tokens(block)
  const pairs: [string, string, number][] = [
    ...['text', 'muted', 'accent', ...TONES].flatMap((ink) =>
      GROUNDS.map((ground): [string, string, number] => [ink, ground, 4.5]),
    ),
    ...TONES.flatMap((tone): [string, string, number][] => [
      [tone, `${tone}-soft`, 4.5],
      ['text', `${tone}-soft`, 4.5],
      ['muted', `${tone}-soft`, 4.5],
    ]),
    ['on-accent', 'accent', 4.5],
    ['on-accent', 'accent-strong', 4.5],
    ...GROUNDS.map((ground): [string, string, number] => ['field', ground, 3]),
  ]
  it.each(pairs)('%s on %s is at least %s : 1', (ink, ground, least) => {
    expect(contrast(t[ink]!, t[ground]!)).toBeGreaterThanOrEqual(least)
  })
})
