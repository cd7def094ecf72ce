// Compliance: how old the last good backups are, against how old they may be.
import { useQuery } from '@tanstack/vue-query'
import { answered, client, type Schema } from '@/lib/api/client'

export type Compliance = Schema['ComplianceOut']

/** Where the next part begins; empty after the last one. */
export function afterOf(link: string | null): string {
  const next = /<([^>]*)>;\s*rel="?next"?/.exec(link ?? '')?.[1]
  return next ? (new URL(next, 'http://api').searchParams.get('after') ?? '') : ''
}

/** A report holds every backup job: its parts are asked for one after the other. */
async function everyRow(): Promise<Compliance[]> {
  const rows: Compliance[] = []
  let after = ''
  do {
    const asked = await client.GET('/api/compliance', { params: { query: after ? { after } : {} } })
    // It can also be had as CSV, and so its description has no one type.
    rows.push(...((await answered(Promise.resolve(asked))) as Compliance[]))
    after = afterOf(asked.response.headers.get('Link'))
  } while (after)
  return rows
}

export function useCompliance() {
  return useQuery({ queryKey: ['compliance', 'report'], queryFn: everyRow })
}
