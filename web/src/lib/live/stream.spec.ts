import { QueryClient } from '@tanstack/vue-query'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { jobInterval, live, POLL, POLL_LIVE, POLL_RUNNING, pollInterval } from './polling'
import { followEvents, gatherer } from './stream'

class Source extends EventTarget {
  static readonly CLOSED = 2
  static made: Source[] = []
  readyState = 1
  onopen?: () => void
  onerror?: () => void
  close = vi.fn()
  constructor(readonly url: string) {
    super()
    Source.made.push(this)
  }
}

class Channel {
  onmessage = null
  postMessage = vi.fn()
  close = vi.fn()
}

beforeEach(() => {
  vi.useFakeTimers()
  Source.made = []
  vi.stubGlobal('EventSource', Source)
  vi.stubGlobal('BroadcastChannel', Channel)
  vi.stubGlobal('navigator', {})
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
  live.value = 'none'
})

function watched() {
  const queries = new QueryClient()
  return { queries, asked: vi.spyOn(queries, 'invalidateQueries') }
}

/** Of what events tell all of, of what they do not, of a job that waits and of one that works. */
function intervals(): number[] {
  const polled = ['jobs', 'plans'].map((key) => pollInterval({ queryKey: [key, 'list'] }))
  return [...polled, jobInterval('queued'), jobInterval('running')]
}

describe('live events', () => {
  it('are gathered: what several touch is asked for once', () => {
    const { queries, asked } = watched()
    const gather = gatherer(queries)
    for (const event of ['job.changed', 'job.changed', 'alert.changed', 'unknown']) gather(event)
    vi.runAllTimers()
    expect(asked.mock.calls).toEqual(['jobs', 'alerts', 'overview'].map((key) => [{ queryKey: [key] }]))
  })

  it('ask for everything after a reset', () => {
    const { queries, asked } = watched()
    const gather = gatherer(queries)
    gather('job.changed')
    gather('reset')
    vi.runAllTimers()
    expect(asked.mock.calls).toEqual([[{ queryKey: [] }]])
  })

  it('slow down the polling of what they tell all of, for as long as they come', () => {
    const stop = followEvents(watched().queries)
    const [source] = Source.made
    expect([source?.url, ...intervals()]).toEqual(['/api/events', POLL, POLL, POLL_RUNNING, POLL_RUNNING])
    source?.onopen?.()
    expect([live.value, ...intervals()]).toEqual(['live', POLL_LIVE, POLL, POLL, POLL_RUNNING])
    source?.onerror?.()
    source?.onopen?.()
    vi.runAllTimers()
    expect(live.value).toBe('live')
    source?.onerror?.()
    vi.runAllTimers()
    expect([live.value, ...intervals()]).toEqual(['off', POLL, POLL, POLL_RUNNING, POLL_RUNNING])
    stop()
    expect(source?.close).toHaveBeenCalled()
    expect(live.value).toBe('none')
  })

  it('are asked for again after they were refused', () => {
    const stop = followEvents(watched().queries)
    const [source] = Source.made
    if (source) source.readyState = Source.CLOSED
    source?.onerror?.()
    vi.runAllTimers()
    expect(Source.made).toHaveLength(2)
    stop()
  })
})
