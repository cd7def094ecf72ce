import type { Server } from './api'

/** Servers that hold every word in their name, address or tags. */
export function matching(servers: Server[], words: string): Server[] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean)
  return servers.filter((server) => {
    const text = [server.name, server.host, ...server.tags].join('\n').toLowerCase()
    return wanted.every((word) => text.includes(word))
  })
}
