import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Catalogue } from '@/lib/i18n/catalogue'

// The first is generated from the code (scripts/generate.py), the second is written by people.
const read = (language: string): Catalogue =>
  JSON.parse(readFileSync(`src/locales/messages.${language}.json`, 'utf8'))
const [english, french] = [read('en'), read('fr')]
const words = (one: { text: string; remedy?: string } | undefined) => `${one?.text}\n${one?.remedy ?? ''}`
const parameters = (text: string) => [...text.matchAll(/(?<!\{)\{(\w+)/g)].map((found) => found[1]).sort()
const optional = (text: string) =>
  [...text.matchAll(/(?<!\[)\[(?!\[)([^[\]]*)\]/g)].flatMap((found) => parameters(found[1] ?? '')).sort()

describe('the messages of the API', () => {
  it('are said in French, and no others', () => {
    expect(Object.keys(french).filter((key) => !(key in english))).toEqual([])
    // A new one is shown in English, marked as such, until it is translated; that must stay the exception.
    const missing = Object.keys(english).filter((key) => !(key in french))
    expect(missing.length, missing.join(', ')).toBeLessThanOrEqual(Object.keys(english).length / 20)
    expect(Object.keys(english).length).toBeGreaterThan(250)
  })

  it.each(Object.keys(french))('%s has the same parameters in French, and advises as much', (key) => {
    const [en, fr] = [words(english[key]), words(french[key])]
    expect(parameters(fr)).toEqual(parameters(en))
    expect(optional(fr)).toEqual(optional(en))
    expect(Boolean(french[key]?.remedy)).toBe(Boolean(english[key]?.remedy))
  })

  it('keep to French signs and to the glossary', () => {
    // What is typed, what is filled in and addresses stay as they are.
    const prose = (text: string) =>
      text
        .replace(/`[^`]*`/g, '')
        .replace(/\{+[^{}]*\}+/g, '')
        .replace(/https?:\/\/\S+|GET \S+|docs\/\S+/g, '')
    const wrong = Object.entries(french).filter(([, one]) => {
      const text = prose(words(one))
      return (
        /'| [:;!?%»]/.test(text) || /\b(backups?|jobs?|repos?|archives?|token|login|dashboard)\b/i.test(text)
      )
    })
    expect(wrong).toEqual([])
  })
})
