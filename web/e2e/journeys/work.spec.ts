import { readdirSync } from 'node:fs'
import { accessible, expect, type Product, signedIn, test } from '../product'

test.describe.configure({ mode: 'serial' })
test.use({ house: 'work' })

interface Named {
  id: string
  name: string
}

/** A server that is ready, with a pool, a repository and a backup job; those that are there already stay. */
async function backupJob(product: Product): Promise<Named> {
  const list = async (path: string): Promise<Named[]> =>
    ((await product.call('GET', path)) as { items: Named[] }).items
  const host = product.servers[1]!
  const body = { name: host.name, host: '127.0.0.1', port: host.port, username: host.user }
  const server =
    (await list('/api/servers')).find((one) => one.name === host.name) ??
    ((await product.call('POST', '/api/servers', {
      ...body,
      approved_fingerprint: host.fingerprint,
    })) as Named)
  const job = (await product.call('POST', `/api/servers/${server.id}/setup`)) as { id: string }
  await expect
    .poll(async () => ((await product.call('GET', `/api/jobs/${job.id}`)) as { state: string }).state, {
      timeout: 300_000,
    })
    .toMatch(/succeeded|warning/)
  const pool = (await product.call('POST', '/api/storage-pools', {
    name: 'main',
    path: product.pool,
  })) as Named
  const at = { server_id: server.id, pool_id: pool.id }
  const repository = (await product.call('POST', '/api/repositories', { name: 'system', ...at })) as Named
  const when = { kind: 'days', every: 1, times: ['01:00'], zone: 'Europe/Paris' }
  return (await product.call('POST', '/api/backup-jobs', {
    name: 'beta-system',
    server_id: server.id,
    repository_id: repository.id,
    sources: ['/etc/ssh'],
    transport: 'tunnel',
    schedules: [{ when }],
  })) as Named
}

test('a backup job is run now, watched to its end, and its backup found', async ({ page, product }) => {
  await backupJob(product)
  await signedIn(page, product, '/backup-jobs')
  await expect(page.getByText('Never backed up')).toBeVisible()
  await expect(page.getByText('Europe/Paris')).toBeVisible()
  await accessible(page)
  await page.getByRole('button', { name: 'Run now: beta-system' }).click()
  await expect(page.getByRole('heading', { name: /Backup · beta/ })).toBeVisible()
  await accessible(page)
  await expect(page.getByRole('status').filter({ hasText: /Succeeded|With warnings/ })).toBeVisible({
    timeout: 300_000,
  })
  await expect(
    page.getByRole('list', { name: 'Log' }).or(page.getByText('Nothing has been written yet.')),
  ).toBeVisible()
  await page.getByRole('link', { name: 'Open the backup job' }).click()
  await expect(page.getByRole('img', { name: /beta-system: the last 30 days/ })).toBeVisible()
  await expect(page.getByText('Times of Europe/Paris')).toBeVisible()
  await accessible(page)
  await page.getByRole('link', { name: 'Backups', exact: true }).click()
  await page.getByRole('searchbox').fill('beta')
  await page.getByRole('link', { name: 'beta - system' }).click()
  await expect(page.getByText('Original size')).toBeVisible()
  await accessible(page)
})

test('its files are browsed, one directory is restored beside what is there, each phase seen', async ({
  page,
  product,
}) => {
  await signedIn(page, product, '/backups')
  await page.getByRole('link', { name: 'beta - system' }).click()
  await page.getByRole('button', { name: 'Browse files' }).click()
  await page.getByRole('button', { name: 'etc', exact: true }).click()
  await page.getByRole('button', { name: 'ssh', exact: true }).click()
  await expect(page.getByRole('row', { name: /sshd_config/ }).first()).toBeVisible()
  await accessible(page)
  await page.goBack()
  await page.getByLabel('Choose ssh').check()
  await page.getByRole('button', { name: 'Restore…' }).last().click()
  await expect(page.getByRole('dialog')).toContainText('Restore 1 item of beta - system?')
  await accessible(page)
  await page.getByRole('radio', { name: /of your choice/ }).check()
  await page.getByLabel('Directory on the server').fill(`${product.pool}-restored`)
  await page.getByRole('dialog').getByRole('button', { name: 'Preview…' }).click()
  await expect(page.getByRole('dialog')).toContainText('All is put into place whole', {
    timeout: 300_000,
  })
  await page.getByRole('dialog').getByRole('button', { name: 'Restore', exact: true }).click()
  await expect(page.getByRole('heading', { name: /Restore · beta/ })).toBeVisible()
  await accessible(page)
  await expect(page.getByRole('status').filter({ hasText: /Succeeded|With warnings/ })).toBeVisible({
    timeout: 300_000,
  })
  await expect(page.getByText(`${product.pool}-restored`)).toBeVisible()
  expect(readdirSync(`${product.pool}-restored/ssh`)).toContain('sshd_config')
})

test('a held backup cannot be deleted; once released it goes after one question', async ({
  page,
  product,
}) => {
  await signedIn(page, product, '/backups')
  await page.getByRole('link', { name: 'beta - system' }).click()
  await page.getByRole('button', { name: 'Hold' }).click()
  await page.getByLabel('Reason, kept with the backup').fill('audit 2026')
  await accessible(page)
  await page.getByRole('dialog').getByRole('button', { name: 'Hold' }).click()
  await expect(page.getByText('audit 2026')).toBeVisible()
  await expect(page.getByRole('button', { name: 'Delete backup' })).toHaveCount(0)
  await page.getByRole('button', { name: 'Release' }).click()
  await page.getByRole('button', { name: 'Delete backup' }).click()
  await expect(page.getByRole('dialog')).toContainText('cannot be undone')
  await page.getByRole('dialog').getByRole('button', { name: 'Delete backup' }).click()
  await expect(page.getByRole('heading', { name: /Deletion of a backup/ })).toBeVisible()
  await expect(page.getByRole('status').filter({ hasText: /Succeeded|With warnings/ })).toBeVisible({
    timeout: 300_000,
  })
  await page.goto(`${product.url}/backups`)
  await expect(page.getByRole('heading', { name: 'No backup yet' })).toBeVisible()
})

test('everything is paused with a reason, said on the page, and goes on again', async ({ page, product }) => {
  await signedIn(page, product, '/backup-jobs')
  await page.getByRole('button', { name: 'Pause all' }).click()
  await page.getByLabel('Why').fill('migration')
  await page.getByRole('dialog').getByRole('button', { name: 'Pause all' }).click()
  await expect(page.getByText('All schedules are paused', { exact: true })).toBeVisible()
  await accessible(page)
  await page.getByRole('button', { name: 'Resume' }).click()
  await expect(page.getByText('All schedules are paused', { exact: true })).toHaveCount(0)
})

test('a check of a repository is asked for and followed', async ({ page, product }) => {
  await signedIn(page, product, '/storage')
  await expect(page.getByRole('meter')).toHaveCount(1)
  await accessible(page)
  await page.getByRole('link', { name: 'beta/system' }).click()
  await expect(page.getByRole('heading', { name: 'beta/system' })).toBeVisible()
  await accessible(page)
  await page.getByRole('button', { name: 'Check' }).click()
  await expect(page.getByRole('heading', { name: /Check/ })).toBeVisible()
  await expect(page.getByRole('status').filter({ hasText: /Succeeded/ })).toBeVisible({ timeout: 300_000 })
})

for (const [language, scheme, width] of [
  ['fr', 'dark', 1440],
  ['en', 'light', 820],
  ['fr', 'light', 390],
  ['fr', 'dark', 320],
] as const) {
  test.describe(() => {
    test.use({ locale: language, colorScheme: scheme, viewport: { width, height: 844 } })
    test(`every page of the work holds in ${language}, ${scheme}, at ${width} pixels`, async ({
      page,
      product,
    }) => {
      const first = async (path: string): Promise<string> =>
        ((await product.call('GET', path)) as { items: Named[] }).items[0]!.id
      await signedIn(page, product, '/')
      for (const path of [
        '/',
        '/activity',
        `/jobs/${await first('/api/jobs')}`,
        '/backup-jobs',
        `/backup-jobs/${await first('/api/backup-jobs')}`,
        '/backups',
        '/storage',
        `/repositories/${await first('/api/repositories')}`,
        '/alerts',
        '/alerts?state=resolved',
      ]) {
        await page.goto(product.url + path)
        await expect(page.getByRole('heading', { level: 1 })).toBeAttached()
        await page.waitForLoadState('networkidle')
        await accessible(page)
      }
    })
  })
}
