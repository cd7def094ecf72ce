// The one connection to the API's live events: one window of the browser holds it and tells the others.
import type { QueryClient, QueryKey } from '@tanstack/vue-query'
import { live } from './polling'

const CHANNEL = 'borgfleet.live'
/** Many events at once are asked after once. */
const GATHERED = 1000
const AGAIN = 15_000
/** A stream ends now and then, and begins again within seconds: nobody needs to know. */
const GRACE = 10_000

/** What an event may have changed: the beginnings of the keys under which it is kept. */
export const TOUCHED: Record<string, readonly string[]> = {
  'job.changed': ['jobs'],
  'alert.changed': ['alerts', 'overview'],
  'server.status': ['servers', 'overview'],
  'backup.created': ['backups', 'backup-jobs', 'repositories', 'compliance', 'overview', 'servers'],
  'backup.deleted': ['backups', 'repositories', 'compliance', 'overview'],
}

type Told = { event: string } | { state: boolean }

/** Asks anew for what events touch, at most once a second; a reset touches everything. */
export function gatherer(queries: QueryClient): (event: string) => void {
  const touched = new Set<string>()
  let all = false
  let waiting = false
  const ask = (): void => {
    waiting = false
    const keys: QueryKey[] = all ? [[]] : [...touched].map((key) => [key])
    touched.clear()
    all = false
    for (const queryKey of keys) void queries.invalidateQueries({ queryKey })
  }
  return (event) => {
    if (event === 'reset') all = true
    for (const key of TOUCHED[event] ?? []) touched.add(key)
    if (!waiting) setTimeout(ask, GATHERED)
    waiting = true
  }
}

/** Follows the events until it is stopped; returns how to stop it. */
function connect(tell: (told: Told) => void): () => void {
  let source: EventSource | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  let lost: ReturnType<typeof setTimeout> | undefined
  const open = (): void => {
    source = new EventSource('/api/events')
    source.onopen = () => {
      clearTimeout(lost)
      lost = undefined
      tell({ state: true })
    }
    source.onerror = () => {
      lost ??= setTimeout(() => tell({ state: false }), GRACE)
      // The browser connects again by itself, unless it was refused.
      if (source?.readyState === EventSource.CLOSED) timer = setTimeout(open, AGAIN)
    }
    for (const event of ['reset', ...Object.keys(TOUCHED)])
      source.addEventListener(event, () => tell({ event }))
  }
  open()
  return () => {
    clearTimeout(timer)
    clearTimeout(lost)
    source?.close()
  }
}

/** Keeps what is shown fresh by live events, for as long as somebody is signed in; returns how to stop it. */
export function followEvents(queries: QueryClient): () => void {
  const gather = gatherer(queries)
  const others = new BroadcastChannel(CHANNEL)
  const ended = new AbortController()
  const hear = (told: Told | 'state?'): void => {
    if (told === 'state?') return
    if ('event' in told) gather(told.event)
    else live.value = told.state ? 'live' : 'off'
  }
  let disconnect: (() => void) | undefined
  const hold = (): Promise<void> => {
    others.onmessage = ({ data }) => {
      // Who is still connecting knows of no interruption.
      if (data === 'state?' && live.value !== 'none') others.postMessage({ state: live.value === 'live' })
    }
    disconnect = connect((told) => {
      hear(told)
      others.postMessage(told)
    })
    return new Promise((done) => ended.signal.addEventListener('abort', () => done()))
  }
  others.onmessage = ({ data }: MessageEvent<Told | 'state?'>) => hear(data)
  others.postMessage('state?')
  // Without a lock, as on plain http, each window has a connection of its own.
  if (navigator.locks) {
    void navigator.locks.request(CHANNEL, { signal: ended.signal }, hold).catch(() => undefined)
  } else void hold()
  return () => {
    ended.abort()
    disconnect?.()
    others.close()
    live.value = 'none'
  }
}
