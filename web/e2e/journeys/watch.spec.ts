import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Page } from '@playwright/test'
import { accessible, expect, type Product, signedIn, test } from '../product'

test.describe.configure({ mode: 'serial' })
// What a webhook is sent to listens on this machine.
test.use({ house: 'watch', networks: '["127.0.0.0/8"]' })

/** What a webhook is sent to: it takes everything, and counts it. */
let receiver: Server
let received = 0

test.beforeAll(async () => {
  receiver = createServer((_request, response) => {
    received += 1
    response.end()
  })
  await new Promise<void>((done) => receiver.listen(0, '127.0.0.1', done))
})
test.afterAll(() => void receiver.close())

const dialogOf = (page: Page) => page.getByRole('dialog')

test('a signed webhook is added, tested with its result, and one that nobody answers is seen to fail', async ({
  page,
  product,
}) => {
  const { port } = receiver.address() as AddressInfo
  await signedIn(page, product, '/alerts')
  await page.getByRole('link', { name: 'Channels' }).click()
  await expect(page.getByRole('heading', { name: 'No channel yet' })).toBeVisible()
  await page.getByRole('button', { name: 'Add channel' }).click()
  await page.getByLabel('Name').fill('on-call')
  await page.getByLabel('Address (URL)').fill(`http://127.0.0.1:${port}/hook`)
  await page.getByLabel('Only in certain hours').check()
  await accessible(page)
  await page.getByLabel('Only in certain hours').uncheck()
  await page.getByRole('button', { name: 'Add channel' }).click()
  await expect(page.getByText(/^whsec_/)).toBeVisible()
  await accessible(page)
  await page.getByRole('button', { name: 'I have kept it' }).click()
  await page.getByRole('button', { name: 'Send test: on-call' }).click()
  await expect(page.getByText(/^Test: Sent/)).toBeVisible()
  await expect.poll(() => received).toBeGreaterThan(0)
  await accessible(page)
  await page.getByRole('link', { name: 'on-call' }).click()
  await page.getByLabel('New address (URL)').fill('http://127.0.0.1:9/nobody')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByRole('button', { name: 'Send test: on-call' }).click()
  await expect(page.getByText('Failing')).toBeVisible()
  await page.getByRole('button', { name: 'Actions for on-call' }).click()
  await page.getByRole('menuitem', { name: 'Delete channel' }).click()
  await dialogOf(page).getByRole('button', { name: 'Delete channel' }).click()
  await expect(page.getByRole('heading', { name: 'No channel yet' })).toBeVisible()
})

test('a threshold is changed and reset; a maintenance window is announced and ended', async ({
  page,
  product,
}) => {
  await signedIn(page, product, '/alerts/rules')
  await page.getByRole('button', { name: 'Actions for File system full' }).click()
  await page.getByRole('menuitem', { name: 'Change…' }).click()
  await page.getByLabel('Warning from (percent)').fill('70')
  await accessible(page)
  await page.getByRole('button', { name: 'Save' }).click()
  await expect(page.getByText('Set for the fleet')).toBeVisible()
  await expect(page.getByText('from 70%')).toBeVisible()
  await page.getByRole('button', { name: 'Actions for File system full' }).click()
  await page.getByRole('menuitem', { name: 'Reset to default' }).click()
  await expect(page.getByText('Set for the fleet')).toHaveCount(0)
  await page.getByRole('link', { name: 'Maintenance' }).click()
  await page.getByRole('button', { name: 'Add window' }).click()
  await page.getByLabel('From').fill('2026-01-01T00:00')
  await page.getByLabel('To', { exact: true }).fill('2090-01-01T00:00')
  await page.getByLabel('Why').fill('new disks')
  await accessible(page)
  await dialogOf(page).getByRole('button', { name: 'Add window' }).click()
  await expect(page.getByText('Under way')).toBeVisible()
  await accessible(page)
  await page.getByRole('button', { name: /^End now/ }).click()
  await dialogOf(page).getByRole('button', { name: 'End now' }).click()
  await expect(page.getByRole('heading', { name: 'No maintenance window' })).toBeVisible()
})

interface Named {
  id: string
}

/** Two backup jobs: one that has no backup and had to have one, and one without a target. */
async function backupJobs(product: Product): Promise<void> {
  const host = product.servers[0]!
  const post = (path: string, body: unknown) => product.call('POST', path, body) as Promise<Named>
  const at = { host: '127.0.0.1', port: host.port, username: host.user }
  const server = await post('/api/servers', {
    name: host.name,
    ...at,
    approved_fingerprint: host.fingerprint,
  })
  const pool = await post('/api/storage-pools', { name: 'main', path: product.pool })
  const when = { kind: 'days', every: 1, times: ['01:00'], zone: 'Europe/Paris' }
  for (const [name, schedules] of [
    ['system', [{ when }]],
    ['spare', []],
  ] as const) {
    const repository = await post('/api/repositories', {
      name,
      server_id: server.id,
      pool_id: pool.id,
    })
    await post('/api/backup-jobs', {
      name: `${host.name}-${name}`,
      server_id: server.id,
      repository_id: repository.id,
      sources: ['/etc/ssh'],
      transport: 'tunnel',
      schedules,
    })
  }
}

test('compliance says who keeps the target, for the screen, a spreadsheet and paper', async ({
  page,
  product,
}) => {
  await backupJobs(product)
  await signedIn(page, product, '/compliance')
  await expect(page.getByText(/Backup jobs that keep their target/)).toBeVisible()
  await expect(page.getByRole('row')).toHaveCount(3)
  await accessible(page)
  const [file] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Download CSV' }).click(),
  ])
  expect(file.suggestedFilename()).toMatch(/^compliance-\d{4}-\d\d-\d\d\.csv$/)
  await page.emulateMedia({ media: 'print' })
  await expect(page.getByRole('navigation')).toHaveCount(0)
  await expect(page.getByRole('button')).toHaveCount(0)
  await expect(page.getByText(/^As of/)).toBeVisible()
})

test('limits, tags, groups and services are where the settings are', async ({ page, product }) => {
  const server = product.servers[0]!.name
  await signedIn(page, product, '/')
  await page.getByRole('link', { name: 'Settings' }).click()
  await page.getByLabel('In the fleet').fill('12')
  await page.getByRole('button', { name: 'Add limit' }).first().click()
  await page.getByLabel('Name').fill(server)
  await accessible(page)
  await page.getByRole('button', { name: 'Save' }).click()
  await expect(page.getByText('The limits were saved.')).toBeVisible()
  expect(await product.call('GET', '/api/limits')).toMatchObject({ fleet: 12, servers: { [server]: 1 } })
  await page.getByRole('link', { name: 'Tags and groups' }).click()
  await page.getByRole('button', { name: 'Add tag' }).click()
  await page.getByLabel('Name').fill('production')
  await page.getByLabel('With a colour').check()
  await accessible(page)
  await dialogOf(page).getByRole('button', { name: 'Add tag' }).click()
  await page.getByRole('button', { name: 'servers of production' }).click()
  await page.getByLabel('Give it to the server').fill(server)
  await page.getByRole('button', { name: 'Give it' }).click()
  await expect(page.getByRole('button', { name: `Take away: ${server}` })).toBeVisible()
  await page.getByRole('button', { name: 'Add group' }).click()
  await page.getByLabel('Name').fill('web')
  await page.getByLabel('Servers with all of these tags').fill('production')
  await dialogOf(page).getByRole('button', { name: 'Add group' }).click()
  await page.getByRole('button', { name: 'Servers of web' }).click()
  await expect(page.getByRole('link', { name: server })).toHaveCount(2)
  await accessible(page)
  await page.getByRole('link', { name: 'Services' }).click()
  await expect(page.getByText('Running').first()).toBeVisible()
  await accessible(page)
  await page.getByRole('link', { name: 'About' }).click()
  await expect(page.getByText('Apache License 2.0')).toBeVisible()
})

test('what another changed meanwhile is told, and what was typed is still there', async ({
  page,
  product,
}) => {
  await signedIn(page, product, '/settings/limits')
  const fleet = page.getByLabel('In the fleet')
  await fleet.fill('77')
  await product.call('PATCH', '/api/limits', { per_pool: 9 })
  await page.getByRole('button', { name: 'Save' }).click()
  await expect(page.getByRole('alert')).toContainText(
    'It was changed after you read it, last by admin at Nov',
  )
  await expect(fleet).toHaveValue('77')
  await accessible(page)
  await page.getByRole('button', { name: 'Read again' }).click()
  await expect(page.getByLabel('In each storage pool')).toHaveValue('9')
  await fleet.fill('78')
  await product.call('PATCH', '/api/limits', { per_pool: 10 })
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  await page.getByRole('button', { name: 'Save mine all the same' }).click()
  await expect(page.getByText('The limits were saved.')).toBeVisible()
  expect(await product.call('GET', '/api/limits')).toMatchObject({ fleet: 78, per_pool: 9 })
})

for (const [language, scheme, width] of [
  ['fr', 'dark', 1440],
  ['fr', 'light', 390],
  ['en', 'dark', 320],
] as const) {
  test.describe(() => {
    test.use({ locale: language, colorScheme: scheme, viewport: { width, height: 844 } })
    test(`every page of it holds in ${language}, ${scheme}, at ${width} pixels`, async ({
      page,
      product,
    }) => {
      await signedIn(page, product, '/')
      for (const path of [
        '/alerts/rules',
        '/alerts/channels',
        '/alerts/channels/new',
        '/alerts/windows',
        '/compliance',
        '/settings/limits',
        '/settings/tags',
        '/settings/four-eyes',
        '/settings/services',
        '/settings/about',
      ]) {
        await page.goto(product.url + path)
        await expect(page.getByRole('heading', { level: 1 })).toBeAttached()
        await page.waitForLoadState('networkidle')
        await accessible(page)
      }
    })
  })
}
