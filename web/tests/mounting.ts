// Mounts a component as the application would: languages, stores, queries, routes.
import { QueryClient, VueQueryPlugin } from '@tanstack/vue-query'
import { flushPromises, mount } from '@vue/test-utils'
import { createPinia } from 'pinia'
import { expect, vi } from 'vitest'
import { type Component, h } from 'vue'
import { createMemoryHistory, createRouter } from 'vue-router'
import { i18n } from '@/lib/i18n'

export function put(component: Component, props: Record<string, unknown> = {}, slot = '', path = '/') {
  const router = createRouter({
    history: createMemoryHistory(),
    routes: ['/:noun/:id', '/:noun/:id/:part', '/:noun/:id/:part/:other', '/:all(.*)*'].map((at) => ({
      path: at,
      component: { render: () => h('i') },
    })),
  })
  // Resolved at once: what a view reads of its address is there when it is mounted.
  router.currentRoute.value = router.resolve(path) as never
  const queryClient = new QueryClient({ defaultOptions: { queries: { retry: false } } })
  return mount(component, {
    props,
    slots: slot ? { default: slot } : {},
    attachTo: document.body,
    global: { plugins: [i18n, createPinia(), router, [VueQueryPlugin, { queryClient }]] },
  })
}

/** The answer to what needs a second person: nothing was done, and it waits. */
export function waits(id: string, secret: string | null = null): Response {
  const headers = { Location: `/api/approvals/${id}` }
  return Response.json({ id, state: 'asked', kind: 'delete_user', secret }, { status: 202, headers })
}

/** Has the API answer each path (or `DELETE /path`) by its body, or refuse it by a status; returns what was asked. */
export function answering(
  answers: Record<string, unknown>,
): { method: string; path: string; body: string }[] {
  const asked: { method: string; path: string; body: string }[] = []
  vi.stubGlobal('fetch', async (request: Request) => {
    const { pathname, search } = new URL(request.url, 'http://test')
    asked.push({ method: request.method, path: pathname + search, body: await request.text() })
    const found = answers[`${request.method} ${pathname}`] ?? answers[pathname]
    if (found instanceof Response) return found.clone()
    const [body, status] = typeof found === 'number' ? [{ code: 'forbidden' }, found] : [found, 200]
    return new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json' } })
  })
  return asked
}

/** One thing that two people change, as the API has it: a change is meant for the version that is there, or refused. */
export function contested<T extends { version: number }>(
  path: string,
  first: T,
  others: Record<string, unknown> = {},
) {
  const world = {
    now: first,
    tags: [] as (string | null)[],
    bodies: [] as Record<string, unknown>[],
    reads: 0,
    /** What another makes of it meanwhile. */
    eve(more: Partial<T>): void {
      world.now = { ...world.now, ...more, version: world.now.version + 1 }
    },
    /** A person comes back to this window, and what is shown has been asked for again. */
    async comeBack(): Promise<void> {
      const before = world.reads
      window.dispatchEvent(new Event('visibilitychange'))
      await vi.waitFor(() => expect(world.reads).toBeGreaterThan(before), 120_000)
      await flushPromises()
    },
  }
  vi.stubGlobal('fetch', async (request: Request) => {
    const at = new URL(request.url, 'http://test').pathname
    if (!['PUT', 'PATCH'].includes(request.method)) {
      world.reads += Number(at === path)
      return Response.json({ ...others, [path]: world.now }[at] ?? page([]))
    }
    const [tag, body] = [request.headers.get('If-Match'), await request.json()]
    world.tags.push(tag)
    world.bodies.push(body)
    const { version } = world.now
    const params = { changed_by: 'eve', changed_at: null, fields: ['name'], version }
    if (tag !== `"${version}"`)
      return Response.json({ code: 'changed_meanwhile', key: 'changed_meanwhile', params }, { status: 412 })
    // Where a change leaves something out, it stays.
    const said = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null))
    world.now = { ...world.now, ...said, version: version + 1 }
    return Response.json(world.now)
  })
  return world
}

export const page = (items: unknown[]) => ({ items, next: null })

/** The button with this text, anywhere: dialogues stand outside the component. */
export function button(text: string): HTMLButtonElement {
  const found = [...document.querySelectorAll('button')].filter((one) => one.textContent?.trim() === text)
  const last = found.at(-1)
  if (!last) throw new Error(`no button "${text}" in: ${document.body.textContent}`)
  return last
}
