import type { Page } from '@playwright/test'
import { accessible, expect, type Product, signedIn, test } from '../product'

test.use({ house: 'live' })

const STREAM = '**/api/events'
/** Less than the shortest interval at which a page asks by itself. */
const STEPS = 12

/** Lets the page's clock go on, a second at a time and no further than a page's own asking, until something is there. */
async function soon(page: Page, there: () => Promise<void>): Promise<void> {
  for (let step = 1; step < STEPS; step += 1) {
    await page.clock.runFor(1000)
    const seen = await there().then(
      () => true,
      () => false,
    )
    if (seen) return
  }
  await page.clock.runFor(1000)
  await there()
}

/** The paths that a page asks for, as it goes on. */
function requests(page: Page): string[] {
  const paths: string[] = []
  page.on('request', (request) => paths.push(new URL(request.url()).pathname))
  return paths
}

async function setUp(product: Product, name: string): Promise<void> {
  const { port, user, fingerprint } = product.servers[0]!
  const body = { name, host: '127.0.0.1', port, username: user, approved_fingerprint: fingerprint }
  const server = (await product.call('POST', '/api/servers', body)) as { id: string }
  await product.call('POST', `/api/servers/${server.id}/setup`)
}

test('what somebody else begins is seen in each window without asking, by one connection', async ({
  page,
  context,
  product,
}) => {
  const second = await context.newPage()
  const [first, other] = [page, second].map(requests)
  for (const one of [page, second]) await one.clock.install()
  await signedIn(page, product, '/activity')
  // A stream begins with a reset, after which everything is asked for anew.
  await expect.poll(() => first!.filter((path) => path === '/api/jobs').length).toBeGreaterThan(1)
  await second.goto(`${product.url}/activity`)
  for (const one of [page, second]) {
    await expect(one.getByText('No job yet')).toBeVisible()
    await one.clock.pauseAt(await one.evaluate(() => Date.now() + 1000))
  }
  await setUp(product, 'alpha')
  for (const one of [page, second]) {
    const row = one.getByRole('listitem').filter({ hasText: 'Set-up' }).first()
    await soon(one, () => row.waitFor({ timeout: 10_000 }))
  }
  expect(first).toContain('/api/events')
  expect(other).not.toContain('/api/events')
})

for (const [language, scheme, width, said] of [
  ['en', 'light', 1440, 'Live updates are interrupted.'],
  ['fr', 'dark', 390, 'Mises à jour en direct interrompues.'],
] as const) {
  test.describe(() => {
    test.use({ locale: language, colorScheme: scheme, viewport: { width, height: 844 } })
    test(`an interruption is said, and its end is not, in ${language}, ${scheme}, at ${width} pixels`, async ({
      page,
      product,
    }) => {
      await page.route(STREAM, (route) => route.abort())
      await signedIn(page, product, '/activity')
      await expect(page.getByRole('status').filter({ hasText: said })).toBeVisible()
      await accessible(page)
      await page.unroute(STREAM)
      await expect(page.getByText(said)).toBeHidden()
    })
  })
}
