// Paths inside a backup are bytes: names may be no UTF-8, or hold what nobody could read. Here each character is one
// byte; what is shown is decoded, and what is asked for goes to the API as base64.

export interface Entry {
  name: string
  name_b64: string | null
}

function bytesOf(text: string): string {
  return [...new TextEncoder().encode(text)].map((byte) => String.fromCharCode(byte)).join('')
}

export function nameOf(entry: Entry): string {
  return entry.name_b64 === null ? bytesOf(entry.name) : atob(entry.name_b64)
}

/** A path or name for people; bytes that are no UTF-8 are the sign for what cannot be shown. */
export function textOf(path: string): string {
  return new TextDecoder().decode(Uint8Array.from(path, (byte) => byte.charCodeAt(0)))
}

export function below(directory: string, name: string): string {
  return directory === '/' ? `/${name}` : `${directory}/${name}`
}

/** A whole path as the API gives it. */
export function pathOf(found: { path: string; path_b64: string | null }): string {
  return found.path_b64 === null ? bytesOf(found.path) : atob(found.path_b64)
}

/** The directory that holds it. */
export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/'
}

/** The last name of a path. */
export function lastOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** The directories from the root down to this one: what can be gone back to. */
export function trail(path: string): { name: string; path: string }[] {
  const names = path.split('/').filter(Boolean)
  return names.map((name, index) => ({ name, path: `/${names.slice(0, index + 1).join('/')}` }))
}

/** A path as the address bar holds it: text where it is one, else base64. */
export function toQuery(path: string): Record<string, string> {
  const text = textOf(path)
  return bytesOf(text) === path ? { path: text } : { path_b64: btoa(path) }
}

export function fromQuery(query: Record<string, unknown>): string {
  const { path, path_b64: encoded } = query
  if (typeof encoded === 'string' && /^[A-Za-z0-9+/]+={0,2}$/.test(encoded) && encoded.length % 4 === 0)
    return atob(encoded)
  return typeof path === 'string' && path.startsWith('/') ? bytesOf(path) : '/'
}

/** A path as the API is asked for it: its bytes, whatever they are. */
export function toAsk(path: string): { path_b64?: string } {
  return path === '/' ? {} : { path_b64: btoa(path) }
}

/** What a restore is asked for: the path as the archive holds it, without the slash before it. */
export function toItem(path: string): { path_b64: string } {
  return { path_b64: btoa(path.replace(/^\//, '')) }
}

const KINDS = { directory: 'd', symlink: 'l', hardlink: 'h', fifo: 'p', device: 'c', socket: 's' } as Record<
  string,
  string
>

/** Permissions as ls shows them: "drwxr-x---". */
export function modeOf(type: string, mode: number): string {
  const bits = [...'rwxrwxrwx'].map((letter, index) => ((mode >> (8 - index)) & 1 ? letter : '-'))
  const special = [
    [0o4000, 2, 's'],
    [0o2000, 5, 's'],
    [0o1000, 8, 't'],
  ] as const
  for (const [bit, at, letter] of special)
    if (mode & bit) bits[at] = bits[at] === 'x' ? letter : letter.toUpperCase()
  return (KINDS[type] ?? '-') + bits.join('')
}
