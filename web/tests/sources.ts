import { readdirSync } from 'node:fs'
import { join } from 'node:path'

/** Every file of the application but its specs and what is generated. */
export function sources(...suffixes: string[]): string[] {
  return readdirSync('src', { recursive: true, withFileTypes: true })
    .filter((one) => one.isFile() && !/\.spec\.ts$|schema\.d\.ts$/.test(one.name))
    .map((one) => join(one.parentPath, one.name))
    .filter((path) => suffixes.length === 0 || suffixes.some((suffix) => path.endsWith(suffix)))
}
