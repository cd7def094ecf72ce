import { accessible, expect, type Product, signedIn, test } from '../product'

test.describe.configure({ mode: 'serial' })
test.use({ house: 'plans' })

interface Named {
  id: string
  name: string
}

const list = async (product: Product, path: string): Promise<Named[]> =>
  ((await product.call('GET', path)) as { items: Named[] }).items

/** A server that is ready, and a pool; nothing of it is backed up yet. */
async function readyServer(product: Product): Promise<Named> {
  const host = product.servers[0]!
  const at = { name: host.name, host: '127.0.0.1', port: host.port, username: host.user }
  const body = { ...at, approved_fingerprint: host.fingerprint }
  const server = (await product.call('POST', '/api/servers', body)) as Named
  const job = (await product.call('POST', `/api/servers/${server.id}/setup`)) as Named
  await expect
    .poll(async () => ((await product.call('GET', `/api/jobs/${job.id}`)) as { state: string }).state, {
      timeout: 300_000,
    })
    .toMatch(/succeeded|warning/)
  await product.call('POST', '/api/storage-pools', { name: 'main', path: product.pool })
  return server
}

test('three questions protect a server, by keyboard alone, and its first backup is made', async ({
  page,
  product,
}) => {
  const server = await readyServer(product)
  await signedIn(page, product, `/servers/${server.id}/summary`)
  await expect(page.getByText('No backup job yet')).toBeVisible()
  await accessible(page)
  await page.getByRole('button', { name: 'Protect this server' }).focus()
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { name: 'Protect a server' })).toBeFocused()
  const sources = page.getByLabel('Sources')
  await sources.focus()
  await page.keyboard.press('ControlOrMeta+a')
  await page.keyboard.type('/etc/ssh')
  await accessible(page)
  const next = page.getByRole('button', { name: 'Next' })
  await next.focus()
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { name: '2. Where to?' })).toBeFocused()
  await expect(page.getByText(`${product.pool}/alpha/system`)).toBeVisible()
  await accessible(page)
  await page.getByLabel('Repository').focus()
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { name: /^3\. When/ })).toBeFocused()
  await expect(page.getByText('Next five runs')).toBeVisible()
  await page.getByLabel('Times', { exact: true }).fill('25:00')
  await expect(page.getByLabel('Times', { exact: true })).toHaveAttribute('aria-invalid', 'true')
  await expect(next).toBeDisabled()
  await accessible(page)
  await page.getByLabel('Times', { exact: true }).fill('03:30')
  await expect(page.getByText('Times of Europe/Paris')).toBeVisible()
  await next.focus()
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { name: 'This will happen' })).toBeFocused()
  await expect(page.getByText(/backs up \/etc\/ssh of alpha .* every day at 03:30/)).toBeVisible()
  await accessible(page)
  await page.getByRole('button', { name: 'Start protection' }).focus()
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { name: 'alpha-system' })).toBeVisible()
  await expect(page.getByRole('button', { name: 'Run now' })).toBeVisible()
  await expect(page.getByText('It keeps: 7 daily, 4 weekly, 6 monthly.')).toBeVisible()
  await expect
    .poll(async () => (await list(product, '/api/backups')).length, { timeout: 300_000 })
    .toBeGreaterThan(0)
  await page.reload()
  await expect(page.getByRole('table')).toContainText('Daily 1')
  await accessible(page)
})

test('a backup job is edited: a refused field is marked, leaving asks, and saving keeps it', async ({
  page,
  product,
}) => {
  const [plan] = await list(product, '/api/backup-jobs')
  await signedIn(page, product, `/backup-jobs/${plan!.id}`)
  await page.getByRole('button', { name: 'Edit' }).click()
  await expect(page.getByText('Next five runs')).toBeVisible()
  await accessible(page)
  await page.getByLabel('Sources').fill('etc')
  await page.getByRole('button', { name: 'Save backup job' }).click()
  await expect(page.getByLabel('Sources')).toHaveAttribute('aria-invalid', 'true')
  await expect(page.getByLabel('Sources')).toBeFocused()
  await accessible(page)
  await page.getByRole('button', { name: 'Cancel' }).click()
  await expect(page.getByRole('dialog')).toContainText('Leave without saving?')
  await accessible(page)
  await page.getByRole('button', { name: 'Stay' }).click()
  await page.getByLabel('Sources').fill('/etc/ssh\n/etc/default')
  await page.getByLabel('Priority').fill('7')
  await page.getByText('Spread, catch-up, hours').click()
  await page.getByLabel('Begin only within these hours').check()
  await accessible(page)
  await page.getByRole('button', { name: 'Save backup job' }).click()
  await expect(page.getByRole('heading', { name: 'alpha-system' })).toBeVisible()
  await expect(page.getByText('/etc/default')).toBeVisible()
  const kept = await product.call('GET', `/api/backup-jobs/${plan!.id}`)
  expect(kept).toMatchObject({ priority: 7, schedules: [{ window: { begins: '22:00:00' } }] })
})

test('a retention of a repository is tried out, then saved', async ({ page, product }) => {
  const [repository] = await list(product, '/api/repositories')
  await signedIn(page, product, `/repositories/${repository!.id}`)
  await expect(page.getByText(/No retention: everything is kept/)).toBeVisible()
  await page.getByRole('button', { name: 'Change…' }).click()
  await expect(page.getByRole('table')).toContainText('Daily 1')
  await accessible(page)
  await page.getByLabel('Years').fill('2')
  await page.getByRole('button', { name: 'Save retention' }).click()
  await expect(page.getByText('It keeps: 7 daily, 4 weekly, 6 monthly, 2 yearly.')).toBeVisible()
})

test('one server is paused until somebody takes it back', async ({ page, product }) => {
  await signedIn(page, product, '/backup-jobs')
  await page.getByRole('button', { name: 'Pauses' }).click()
  await expect(page.getByRole('heading', { name: 'Nothing is paused' })).toBeVisible()
  await accessible(page)
  await page.getByRole('button', { name: 'Pause…' }).click()
  await page.getByLabel('Of', { exact: true }).selectOption('alpha')
  await page.getByLabel('Why').fill('move')
  await accessible(page)
  await page.getByRole('dialog').getByRole('button', { name: 'Pause', exact: true }).click()
  await expect(
    page.getByRole('listitem').filter({ hasText: 'The schedules of alpha are paused' }),
  ).toBeVisible()
  await accessible(page)
  await page.getByRole('button', { name: 'Resume' }).click()
  await expect(page.getByRole('heading', { name: 'Nothing is paused' })).toBeVisible()
})

for (const [language, scheme, width] of [
  ['fr', 'dark', 1440],
  ['fr', 'light', 390],
  ['en', 'dark', 390],
] as const) {
  test.describe(() => {
    test.use({ locale: language, colorScheme: scheme, viewport: { width, height: 844 } })
    test(`these pages hold in ${language}, ${scheme}, at ${width} pixels`, async ({ page, product }) => {
      const [plan] = await list(product, '/api/backup-jobs')
      const [repository] = await list(product, '/api/repositories')
      const paths = [
        '/wizard',
        `/backup-jobs/${plan!.id}`,
        `/backup-jobs/${plan!.id}/edit`,
        `/repositories/${repository!.id}`,
        '/pauses',
      ]
      await signedIn(page, product, '/')
      for (const path of paths) {
        await page.goto(product.url + path)
        await expect(page.getByRole('heading', { level: 1 })).toBeVisible()
        await page.waitForLoadState('networkidle')
        await accessible(page)
      }
    })
  })
}

test('a backup job is deleted by its name, and its backups stay', async ({ page, product }) => {
  const [plan] = await list(product, '/api/backup-jobs')
  await signedIn(page, product, `/backup-jobs/${plan!.id}/edit`)
  await page.getByRole('button', { name: 'Delete backup job' }).click()
  const dialog = page.getByRole('dialog')
  await expect(dialog).toContainText('Its backups stay in alpha/system')
  await accessible(page)
  await dialog.getByRole('textbox').fill('alpha-system')
  await dialog.getByRole('button', { name: 'Delete backup job' }).click()
  await expect(page.getByRole('heading', { name: 'No backup job yet' })).toBeVisible()
  await accessible(page)
  expect((await list(product, '/api/backups')).length).toBeGreaterThan(0)
})
