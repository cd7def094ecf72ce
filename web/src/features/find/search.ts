// What is searched for, as the address holds it and as the API reads it; and how the hits are shown.
import { computed } from 'vue'
import { useChoice, useWords } from '@/lib/route'
import type { Backup, Hit } from './api'

export const LEAST = ['any', '1M', '100M', '1G'] as const

export interface Wanted {
  words: string
  ending: string
  within: string
  least: (typeof LEAST)[number]
  gone: boolean
}

/** The API reads one line: words, and what narrows them down. Words narrow too, where a person typed it that way. */
export function lineOf({ words, ending, within, least, gone }: Wanted): string {
  const named = [words.trim(), ending.trim() && `ext:${ending.trim().replace(/^\.+/, '')}`]
  // All else narrows down what is named; alone it names nothing.
  if (!named.some(Boolean)) return ''
  const narrowed = [
    within.trim() && `in:${within.trim()}`,
    least === 'any' ? '' : `size>${least}`,
    gone ? 'deleted:yes' : '',
  ]
  return [...named, ...narrowed].filter(Boolean).join(' ')
}

/** What is searched for, in the address: a link shows the same, and Back goes back. */
export function useWanted() {
  const words = useWords('q')
  const ending = useWords('ext')
  const within = useWords('in')
  const server = useWords('server')
  const repository = useWords('repository')
  const least = useChoice('size', LEAST)
  const gone = useChoice('deleted', ['no', 'yes'])
  const line = computed(() =>
    lineOf({
      words: words.value,
      ending: ending.value,
      within: within.value,
      least: least.value,
      gone: gone.value === 'yes',
    }),
  )
  return { words, ending, within, server, repository, least, gone, line }
}

export interface Group {
  id: string
  server: string
  repository: string
  hits: Hit[]
}

/** Hits of one repository together, those with the best hit first. */
export function grouped(hits: Hit[]): Group[] {
  const groups = new Map<string, Group>()
  for (const hit of hits) {
    const { repository_id: id, server, repository } = hit
    const group = groups.get(id) ?? { id, server, repository, hits: [] }
    group.hits.push(hit)
    groups.set(id, group)
  }
  return [...groups.values()]
}

/** The newest backup of each repository, of those that can be read. */
export function newestOfEach(backups: Backup[]): Backup[] {
  const found = new Map<string, Backup>()
  for (const one of backups)
    if (!one.missing && !found.has(one.repository_id)) found.set(one.repository_id, one)
  return [...found.values()]
}
