// Mounts a component as the application would: languages, stores, queries, routes.
import { QueryClient, VueQueryPlugin } from '@tanstack/vue-query'
import { mount } from '@vue/test-utils'
import { createPinia } from 'pinia'
import { vi } from 'vitest'
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

/** Has the API answer each path by its body, or refuse it by a status; returns what was asked. */
export function answering(
  answers: Record<string, unknown>,
): { method: string; path: string; body: string }[] {
  const asked: { method: string; path: string; body: string }[] = []
  vi.stubGlobal('fetch', async (request: Request) => {
    const { pathname, search } = new URL(request.url, 'http://test')
    asked.push({ method: request.method, path: pathname + search, body: await request.text() })
    const found = answers[pathname]
    const [body, status] = typeof found === 'number' ? [{ code: 'forbidden' }, found] : [found, 200]
    return new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json' } })
  })
  return asked
}

export const page = (items: unknown[]) => ({ items, next: null })

/** The button with this text, anywhere: dialogues stand outside the component. */
export function button(text: string): HTMLButtonElement {
  const found = [...document.querySelectorAll('button')].filter((one) => one.textContent?.trim() === text)
  const last = found.at(-1)
  if (!last) throw new Error(`no button "${text}" in: ${document.body.textContent}`)
  return last
}
