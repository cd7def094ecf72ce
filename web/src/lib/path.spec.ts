import { describe, expect, it } from 'vitest'
import {
  below,
  fromQuery,
  lastOf,
  modeOf,
  nameOf,
  parentOf,
  pathOf,
  textOf,
  toAsk,
  toItem,
  toQuery,
  trail,
} from './path'

describe('a path', () => {
  // The second name is no UTF-8, the third holds what nobody sees, the fourth is beyond ASCII.
  it.each([
    [{ name: 'www', name_b64: null }, { path: '/srv/www' }],
    [{ name: 'caf\ufffd', name_b64: btoa('caf\xe9') }, { path_b64: btoa('/srv/caf\xe9') }],
    [{ name: 'a\n\u202eb', name_b64: null }, { path: '/srv/a\n\u202eb' }],
    [{ name: 'été 🦀', name_b64: null }, { path: '/srv/été 🦀' }],
    [{ name: '\ufffd', name_b64: null }, { path: '/srv/\ufffd' }],
  ])('case %#: comes back from the address bar byte for byte', (entry, query) => {
    const path = below('/srv', nameOf(entry))
    expect(toQuery(path)).toEqual(query)
    expect(fromQuery(toQuery(path))).toBe(path)
    expect(textOf(path)).toBe(`/srv/${entry.name}`)
    expect(atob(toItem(path).path_b64)).toBe(path.slice(1))
  })

  it.each([
    [{}, '/'],
    [{ path: 'relative' }, '/'],
    [{ path: ['/a', '/b'] }, '/'],
    [{ path_b64: 'no base64!' }, '/'],
    [{ path_b64: 'abc' }, '/'],
  ])('%j that nobody made leads to the top', (query, path) => expect(fromQuery(query)).toBe(path))

  it('leads back through each directory above it', () => {
    expect(trail('/')).toEqual([])
    expect(trail('/srv/www')).toEqual([
      { name: 'srv', path: '/srv' },
      { name: 'www', path: '/srv/www' },
    ])
  })

  it.each([
    ['file', 0o640, '-rw-r-----'],
    ['directory', 0o1777, 'drwxrwxrwt'],
    ['file', 0o4755, '-rwsr-xr-x'],
    ['file', 0o6644, '-rwSr-Sr--'],
    ['symlink', 0o777, 'lrwxrwxrwx'],
    ['other', 0, '----------'],
  ])('%s %o is %s, as ls says', (type, mode, shown) => expect(modeOf(type, mode)).toBe(shown))

  it.each([
    ['/srv/www', '/srv', 'www'],
    ['/srv', '/', 'srv'],
    ['/', '/', ''],
  ])('%s stands in %s, as %s', (path, parent, last) => {
    expect(parentOf(path)).toBe(parent)
    expect(lastOf(path)).toBe(last)
  })

  it('is asked for by its bytes, and the root by nothing', () => {
    expect(toAsk('/')).toEqual({})
    expect(toAsk(pathOf({ path: '/caf\ufffd', path_b64: btoa('/caf\xe9') }))).toEqual({
      path_b64: btoa('/caf\xe9'),
    })
    expect(textOf(pathOf({ path: '/été', path_b64: null }))).toBe('/été')
  })
})
