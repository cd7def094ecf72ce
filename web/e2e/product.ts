// The real product for a file of journeys: started once, ended with them.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import AxeBuilder from '@axe-core/playwright'
import { test as base, expect, type Page } from '@playwright/test'

interface Host {
  name: string
  port: number
  user: string
  fingerprint: string
}

export interface Product {
  url: string
  token: string
  /** For the first administrator. */
  link: string
  /** A directory of the node for a storage pool. */
  pool: string
  servers: Host[]
  call(method: string, path: string, body?: unknown): Promise<unknown>
}

export const test = base.extend<{ calm: undefined }, { house: string; networks: string; product: Product }>({
  /** Each file of journeys names its own, and has a product of its own. */
  house: ['', { option: true, scope: 'worker' }],
  /** Private networks that notifications may go to. */
  networks: ['[]', { option: true, scope: 'worker' }],
  product: [
    async ({ networks }, use) => {
      const child = spawn('../.venv/bin/python', ['../scripts/product.py'], {
        env: { ...process.env, BORGFLEET_NOTIFY__ALLOWED_NETWORKS: networks },
        stdio: ['pipe', 'pipe', 'inherit'],
      })
      const ended = once(child, 'exit').then(([code]) => {
        throw new Error(`the product did not start: status ${code}`)
      })
      const line = await Promise.race([
        once(createInterface(child.stdout), 'line').then(([first]) => String(first)),
        ended,
      ])
      const known = JSON.parse(line) as Omit<Product, 'call'>
      const headers = { Authorization: `Bearer ${known.token}`, 'Content-Type': 'application/json' }
      const call = async (method: string, path: string, body?: unknown): Promise<unknown> => {
        const sent = body === undefined ? {} : { body: JSON.stringify(body) }
        let answer = await fetch(known.url + path, { method, headers, ...sent })
        // A busy machine: what only reads is asked again, as its remedy says.
        for (let tries = 0; method === 'GET' && answer.status === 503 && tries < 60; tries += 1) {
          await new Promise((done) => setTimeout(done, 1000))
          answer = await fetch(known.url + path, { method, headers, ...sent })
        }
        if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`)
        return answer.status === 204 ? null : answer.json()
      }
      await use({ ...known, call })
      child.stdin.end()
      await ended.catch(() => {})
    },
    { scope: 'worker', timeout: 300_000 },
  ],
  // No page says anything to its console, fails in a script, or asks another site for something.
  calm: [
    async ({ page, product }, use) => {
      const noise: string[] = []
      page.on('pageerror', (error) => noise.push(String(error)))
      page.on('request', (request) => {
        if (!request.url().startsWith(product.url)) noise.push(`asked ${request.url()}`)
      })
      page.on('console', (message) => {
        // The browser reports each refused request itself; the journeys refuse on purpose.
        const said = ['warning', 'error'].includes(message.type())
        if (said && !/Failed to load resource/.test(message.text()))
          noise.push(`${message.type()}: ${message.text()}`)
      })
      await use(undefined)
      expect(noise).toEqual([])
    },
    { auto: true },
  ],
})

export const ADA = { name: 'ada', password: 'right horse battery staple' }

/** Signs ada in, who is made the first administrator if nobody is one yet; what a browser would hold then. */
async function sessionOf({ url, link }: Product): Promise<{ name: string; value: string; url: string }> {
  const { setup } = (await (await fetch(`${url}/api/auth/methods`)).json()) as { setup: boolean }
  const [path, body] = setup ? ['setup', { link: link.split('#')[1], ...ADA }] : ['login', ADA]
  const answer = await fetch(`${url}/api/auth/${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })
  const [cookie] = answer.headers.getSetCookie()
  if (!cookie) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  const [name = '', value = ''] = (cookie.split(';')[0] ?? '').split('=')
  return { name, value, url }
}

export async function signedIn(page: Page, product: Product, path = '/servers'): Promise<void> {
  await page.context().addCookies([await sessionOf(product)])
  await page.goto(product.url + path)
}

/** Nothing that axe finds against WCAG 2.2 AA, and nothing wider than the window. */
export async function accessible(page: Page): Promise<void> {
  const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']
  const { violations } = await new AxeBuilder({ page }).withTags(tags).analyze()
  expect(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])).toEqual([])
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0)
}

export { expect }
