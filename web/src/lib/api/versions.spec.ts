import { describe, expect, it } from 'vitest'
import openapi from '../../../../docs/openapi.json'
import { onlyIf } from './versions'

/** Changes that are meant whatever there is: one field that a person decides there and then, or a thing just made. */
const WHATEVER_THERE_IS = new Set(['PUT /api/pauses', 'PUT /api/backup-jobs/{backup_job_id} wizard'])

const sources = import.meta.glob<string>('../../features/*/api.ts', {
  query: '?raw',
  import: 'default',
  eager: true,
})
const operations = openapi.paths as Record<string, Record<string, { parameters?: { name: string }[] }>>

/** Each change that a view asks for and the API would refuse for another version, with the text of its call. */
function changes(): { name: string; call: string }[] {
  return Object.entries(sources).flatMap(([file, text]) =>
    [...text.matchAll(/client\.(PUT|PATCH|POST)\(\s*'([^']+)'[\s\S]*?\n(?= {0,6}\S)/g)]
      .filter(([, method, path]) =>
        operations[path!]?.[method!.toLowerCase()]?.parameters?.some((one) => one.name === 'If-Match'),
      )
      .map(([call, method, path]) => ({
        name: `${method} ${path}${file.includes('/wizard/') ? ' wizard' : ''}`,
        call,
      })),
  )
}

describe('a change', () => {
  it('says which version it is meant for, wherever the API can refuse it', () => {
    const found = changes()
    expect(found.length).toBeGreaterThan(9)
    const silent = found.filter(({ call }) => !call.includes('onlyIf(')).map(({ name }) => name)
    expect(new Set(silent)).toEqual(WHATEVER_THERE_IS)
  })

  it('of what is not there yet names none', () => {
    expect(onlyIf(3)).toEqual({ headers: { 'If-Match': '"3"' } })
    expect(onlyIf(0)).toEqual({})
  })
})
