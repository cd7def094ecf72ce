import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { sources } from './sources'

const read = (path: string): string => readFileSync(path, 'utf8')
const code = sources('.ts', '.vue')
const having = (pattern: RegExp, files = code): string[] => files.filter((path) => pattern.test(read(path)))
const except = (files: string[], ...allowed: string[]): string[] =>
  files.filter((path) => !allowed.some((one) => path.startsWith(one)))

describe('the layers', () => {
  it('features know nothing of one another', () => {
    const wrong = code.filter((path) => {
      const own = /^src\/features\/(\w[\w-]*)\//.exec(path)?.[1]
      return own && [...read(path).matchAll(/@\/features\/([\w-]+)/g)].some((found) => found[1] !== own)
    })
    expect(wrong).toEqual([])
  })

  it('the parts know no feature, no page and no way to the API', () => {
    const parts = code.filter((path) => path.startsWith('src/ui/'))
    expect(parts.length).toBeGreaterThan(10)
    expect(having(/@\/(features|app|router)|api\/client|vue-query/, parts)).toEqual([])
  })

  it('only a feature’s api.ts calls the API', () => {
    expect(
      having(/\bclient\.(GET|POST|PUT|PATCH|DELETE)\(/).filter(
        (path) => !/^src\/features\/[\w-]+\/api\.ts$/.test(path),
      ),
    ).toEqual([])
    expect(except(having(/\bfetch\(/), 'src/lib/api/client.ts')).toEqual([])
  })

  it('only lib/format asks Intl, and only lib/live opens a stream', () => {
    expect(except(having(/\bIntl\.|toLocale(Date|Time)?String/), 'src/lib/format/')).toEqual([])
    expect(except(having(/EventSource/), 'src/lib/live/')).toEqual([])
  })
})

describe('the house', () => {
  it('colours are in the tokens alone', () => {
    expect(
      except(
        having(/#[0-9a-f]{3,8}\b(?=["';\s)])|\brgba?\(/i, sources('.ts', '.vue', '.css')),
        'src/styles/tokens.css',
      ),
    ).toEqual([])
  })

  it('nothing is written as HTML, and nothing escapes the types', () => {
    expect(having(/v-html|innerHTML|outerHTML|insertAdjacentHTML|\beval\(|new Function/)).toEqual([])
    expect(having(/:\s*any\b|as any\b|@ts-ignore|@ts-nocheck/)).toEqual([])
  })

  it('all text of the templates is translated', () => {
    const texts = code
      .filter((path) => path.endsWith('.vue'))
      .flatMap((path) => {
        const template = read(path).match(/<template>([\s\S]*)<\/template>/)?.[1] ?? ''
        const bare = template
          .replace(/<!--[\s\S]*?-->/g, '')
          .replace(/\{\{[\s\S]*?\}\}/g, '')
          .replace(/<(?:"[^"]*"|'[^']*'|[^>"'])*>/g, '\n')
        return bare
          .split('\n')
          .map((line) => line.trim())
          .filter((line) => /\p{L}/u.test(line))
          .map((line) => `${path}: ${line}`)
      })
    // The product's name, and a key as it stands on keyboards.
    expect(texts.filter((one) => !/: (Borgfleet|Ctrl K)$/.test(one))).toEqual([])
  })

  it('components stay small', () => {
    const sizes = code
      .filter((path) => path.endsWith('.vue'))
      .map((path) => [path, read(path).split('\n').length] as const)
    expect(sizes.filter(([, lines]) => lines > 200)).toEqual([])
    const [median] = sizes
      .map(([, lines]) => lines)
      .sort((a, b) => a - b)
      .slice(Math.floor(sizes.length / 2))
    expect(median).toBeLessThanOrEqual(60)
  })
})
