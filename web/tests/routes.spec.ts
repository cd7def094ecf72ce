import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { createMemoryHistory, createRouter } from 'vue-router'
import { isHere, PLACES } from '@/app/shell/places'
import { routes } from '@/router'
import { sources } from './sources'

const router = createRouter({ history: createMemoryHistory(), routes })
const title = (path: string): unknown =>
  router.resolve(path).meta['title'] ?? router.resolve(path).matched[0]?.redirect

describe('the routes', () => {
  it.each(PLACES.map((place) => place.path))('%s is a page, and its place alone is marked', (path) => {
    expect(title(path)).not.toBe('shell.not_found.title')
    expect(PLACES.filter((place) => isHere(place.path, path)).map((place) => place.path)).toEqual([path])
  })

  it.each([
    ['/access/tokens', '/access/users'],
    ['/audit/1', '/audit'],
    ['/jobs/1', '/activity'],
    ['/repositories/1', '/storage'],
    ['/wizard', '/backup-jobs'],
    ['/servers/1/summary', '/servers'],
    ['/backups/1', '/backups'],
    ['/nowhere', undefined],
  ])('%s belongs to %s', (path, place) => {
    expect(PLACES.find((one) => isHere(one.path, path))?.path).toBe(place)
  })

  it('every link leads to a page', () => {
    const links = sources('.vue', '.ts').flatMap((file) =>
      [...readFileSync(file, 'utf8').matchAll(/(?:\bto="|:to="`|push\([`'])(\/[^"'`]*)/g)].map((found) =>
        (found[1] ?? '').replaceAll(/\$\{[^}]*\}/g, 'summary'),
      ),
    )
    expect(links.length).toBeGreaterThan(20)
    expect(links.filter((link) => title(link) === 'shell.not_found.title')).toEqual([])
  })
})
