import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { Page } from '@playwright/test'
import { accessible, expect, type Product, signedIn, test } from '../product'

test.describe.configure({ mode: 'serial' })
test.use({ house: 'files' })

interface Named {
  id: string
  name: string
}
interface Made extends Named {
  repository_id: string
}

const LONG = `${'long-'.repeat(50)}12345`
const HOSTILE = ['<img src=x onerror=alert(1)>', 'right\u202eto-left', 'two\nlines', LONG]
const NOT_UTF8 = Buffer.from('caf\xe9.txt', 'latin1')
const data = (product: Product): string => `${product.pool}-data`
const items = async <T = Named>(product: Product, path: string): Promise<T[]> =>
  ((await product.call('GET', path)) as { items: T[] }).items

/** Waits for a job of the API to end well. */
async function ended(product: Product, job: unknown): Promise<void> {
  const { id } = job as Named
  const state = async () => ((await product.call('GET', `/api/jobs/${id}`)) as { state: string }).state
  await expect.poll(state, { timeout: 300_000 }).toMatch(/succeeded|warning/)
}

/** A server with a backup job over a directory of ours, in which names are as nobody should give them. */
async function prepare(product: Product): Promise<Named> {
  const top = data(product)
  mkdirSync(`${top}/books`, { recursive: true })
  writeFileSync(`${top}/books/report.txt`, 'the first report\n')
  writeFileSync(`${top}/books/gone.txt`, 'it is removed before the second backup\n')
  writeFileSync(`${top}/large.bin`, Buffer.alloc(300_000, 'x'))
  for (const name of HOSTILE) writeFileSync(`${top}/${name}`, 'hostile\n')
  writeFileSync(Buffer.concat([Buffer.from(`${top}/`), NOT_UTF8]), 'latin\n')
  const host = product.servers[0]!
  const server = (await product.call('POST', '/api/servers', {
    name: host.name,
    host: '127.0.0.1',
    port: host.port,
    username: host.user,
    approved_fingerprint: host.fingerprint,
  })) as Named
  await ended(product, await product.call('POST', `/api/servers/${server.id}/setup`))
  const pool = (await product.call('POST', '/api/storage-pools', {
    name: 'main',
    path: product.pool,
  })) as Named
  const at = { server_id: server.id, pool_id: pool.id }
  const repository = (await product.call('POST', '/api/repositories', { name: 'books', ...at })) as Named
  return (await product.call('POST', '/api/backup-jobs', {
    name: 'books',
    server_id: server.id,
    repository_id: repository.id,
    sources: [top],
    transport: 'tunnel',
  })) as Named
}

const run = async (product: Product, job: Named): Promise<void> =>
  ended(product, await product.call('POST', `/api/backup-jobs/${job.id}/run`))

/** The backups, the newest first. */
const backups = (product: Product): Promise<Made[]> => items<Made>(product, '/api/backups')

/** Two backups that are in the catalogue; between them one file was changed, one added and one removed. */
async function twoBackups(product: Product): Promise<void> {
  const job = await prepare(product)
  await run(product, job)
  writeFileSync(`${data(product)}/books/report.txt`, 'the second report, which is longer\n')
  writeFileSync(`${data(product)}/books/added.txt`, 'new\n')
  rmSync(`${data(product)}/books/gone.txt`)
  await run(product, job)
  const [newer, older] = await backups(product)
  const compared = async () =>
    product.call('GET', `/api/backups/${older!.id}/diff/${newer!.id}`).then(
      () => 'compared',
      () => 'not indexed',
    )
  await expect.poll(compared, { timeout: 300_000 }).toBe('compared')
}

const done = (page: Page) => page.getByRole('status').filter({ hasText: /Succeeded|With warnings/ })

test('a lost file is found by a part of its name, and its older version restored in its place', async ({
  page,
  product,
}) => {
  await twoBackups(product)
  await signedIn(page, product, '/')
  await page.getByRole('link', { name: 'Restore', exact: true }).click()
  await expect(page.getByRole('link', { name: /- books/ })).toBeVisible()
  await accessible(page)
  await page.getByLabel('Name of the file').fill('report')
  await page.getByRole('button', { name: 'Search', exact: true }).click()
  await expect(page.getByText('1 hit', { exact: true })).toBeVisible()
  await accessible(page)
  await page.getByRole('link', { name: 'Versions of report.txt' }).click()
  await expect(page.getByRole('heading', { name: 'report.txt' })).toBeVisible()
  const versions = page.getByRole('list', { name: 'Versions' }).getByRole('listitem')
  await expect(versions).toHaveCount(2)
  await expect(versions.first()).toContainText('more')
  await accessible(page)

  await versions.last().getByRole('button', { name: 'Restore…' }).click()
  const dialog = page.getByRole('dialog')
  await expect(dialog).toContainText('Restore 1 item of')
  await dialog.getByRole('radio', { name: /in place of what is there/ }).check()
  await accessible(page)
  await dialog.getByRole('button', { name: 'Preview…' }).click()
  await expect(dialog).toContainText('1 item is there now', { timeout: 300_000 })
  await expect(dialog).toContainText('in place of what is in')
  await expect(dialog.getByRole('button', { name: 'Restore', exact: true })).toBeDisabled()
  await accessible(page)
  await dialog.getByLabel(/To confirm, type/).fill(product.servers[0]!.name)
  await dialog.getByRole('button', { name: 'Restore', exact: true }).click()
  await expect(page.getByRole('heading', { name: 'What was restored' })).toBeVisible({ timeout: 300_000 })
  await expect(done(page)).toBeVisible()
  await expect(page.getByText(/\.before-restore-\d/)).toBeVisible()
  await accessible(page)
  expect(readFileSync(`${data(product)}/books/report.txt`, 'utf8')).toBe('the first report\n')
  const kept = readdirSync(`${data(product)}/books`).find((name) => name.includes('.before-restore-'))
  expect(readFileSync(`${data(product)}/books/${kept}`, 'utf8')).toContain('the second report')

  await page.getByRole('button', { name: 'Undo the restore…' }).click()
  await expect(page.getByRole('dialog')).toContainText(`on ${product.servers[0]!.name}?`)
  await accessible(page)
  await page.getByRole('dialog').getByRole('button', { name: 'Undo the restore', exact: true }).click()
  await expect(page.getByRole('heading', { name: 'What was put back' })).toBeVisible({ timeout: 300_000 })
  await accessible(page)
  expect(readFileSync(`${data(product)}/books/report.txt`, 'utf8')).toContain('the second report')
  await page.getByRole('link', { name: 'Open the restore' }).click()
  await expect(page.getByText('This restore was undone')).toBeVisible()
})

test('what is gone is searched for, and merged back without touching what is there', async ({
  page,
  product,
}) => {
  await signedIn(page, product, '/')
  await page.getByRole('button', { name: /Go to/ }).click()
  await page.getByRole('combobox').fill('gone.txt')
  await page.getByRole('option', { name: 'Find files named “gone.txt”' }).click()
  await page.getByLabel('Only what is gone from the newest backup').check()
  await expect(page.getByText(/gone since/)).toBeVisible()
  await page.getByRole('link', { name: 'Open directory: gone.txt' }).click()
  await page.getByLabel('Choose gone.txt').check()
  await page.getByLabel('Choose report.txt').check()
  await page.getByRole('button', { name: 'Restore…' }).last().click()
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('radio', { name: /into what is there/ }).check()
  await dialog.getByRole('button', { name: 'Preview…' }).click()
  await expect(dialog).toContainText('1 item is there now', { timeout: 300_000 })
  await dialog.getByLabel(/To confirm, type/).fill(product.servers[0]!.name)
  await dialog.getByRole('button', { name: 'Restore', exact: true }).click()
  await expect(done(page)).toBeVisible({ timeout: 300_000 })
  await expect(page.getByText('1 item was there, and was left as it is')).toBeVisible()
  expect(readdirSync(`${data(product)}/books`)).toContain('gone.txt')
})

test('two backups are compared, and what takes the space is looked into', async ({ page, product }) => {
  const [newer] = await backups(product)
  await signedIn(page, product, `/backups/${newer!.id}`)
  await page.getByRole('link', { name: /Compare with/ }).click()
  const changes = page.getByRole('list', { name: 'What changed' })
  await expect(changes).toContainText('books/added.txt')
  await expect(changes).toContainText('books/gone.txt')
  await accessible(page)
  await page.getByRole('button', { name: 'Removed' }).click()
  await expect(changes.getByRole('listitem')).toHaveCount(1)
  await page.getByRole('link', { name: 'Backup', exact: true }).click()
  await page.getByRole('link', { name: 'What takes the space' }).click()
  for (const name of data(product).split('/').filter(Boolean))
    await page.getByRole('button', { name, exact: true }).click()
  await expect(page.getByRole('list', { name: 'What takes the space' })).toContainText('large.bin')
  await accessible(page)
  await page.getByRole('button', { name: 'large.bin' }).click()
  await expect(page.getByRole('heading', { name: 'This is a file' })).toBeVisible()
})

test('a file is downloaded as it is, and several as a zip, whatever their names', async ({
  page,
  product,
}) => {
  const [newer] = await backups(product)
  const top = data(product)
  await signedIn(page, product, `/backups/${newer!.id}/files?path=${encodeURIComponent(top)}`)
  const downloaded = async (label: string, format: string): Promise<[string, Buffer]> => {
    const begun = page.waitForEvent('download', { timeout: 300_000 })
    await page.getByRole('button', { name: label }).click()
    await page.getByRole('menuitem', { name: format }).click()
    const download = await begun
    expect(await download.failure()).toBeNull()
    return [download.suggestedFilename(), readFileSync(await download.path())]
  }
  await page.getByLabel('Choose caf\ufffd.txt').check()
  const [name, bytes] = await downloaded('Download…', 'The file as it is')
  expect([name, bytes.toString()]).toEqual(['caf%E9.txt', 'latin\n'])
  await expect(page.getByText('The download of caf%E9.txt begins.')).toBeVisible()
  await accessible(page)
  await page.getByLabel('Choose large.bin').check()
  const [zip, packed] = await downloaded('Download…', 'As zip, for any machine')
  expect(zip).toMatch(/\.zip$/)
  expect(packed.subarray(0, 4).toString('latin1')).toBe('PK\u0003\u0004')
  for (const held of ['caf%E9.txt', 'large.bin']) expect(packed.includes(held)).toBe(true)
  expect(packed.includes('report.txt')).toBe(false)
})

test('hostile names stay text everywhere, and lead to what they name', async ({ page, product }) => {
  const [newer] = await backups(product)
  const top = encodeURIComponent(data(product))
  await signedIn(page, product, `/backups/${newer!.id}/files?path=${top}`)
  for (const name of ['<img src=x', 'right\\u{202e}to-left', 'two\\u{a}lines', LONG, 'caf\ufffd.txt'])
    await expect(page.getByRole('row').filter({ hasText: name })).toHaveCount(1)
  await expect(page.locator('main img')).toHaveCount(0)
  await accessible(page)
  await page.getByRole('link', { name: 'Versions of caf\ufffd.txt' }).click()
  await expect(page.getByRole('list', { name: 'Versions' }).getByRole('listitem')).toHaveCount(1)
  await page.goto(`${product.url}/find?q=${encodeURIComponent('<img')}`)
  await page.getByRole('link', { name: /Versions of <img/ }).click()
  await expect(page.getByRole('heading', { name: '<img src=x onerror=alert(1)>' })).toBeVisible()
  await page.goto(`${product.url}/find?q=lines`)
  await page.getByRole('link', { name: /Versions of two/ }).click()
  await expect(page.getByRole('heading', { name: 'two\\u{a}lines' })).toBeVisible()
})

for (const [language, scheme, width] of [
  ['fr', 'dark', 1440],
  ['fr', 'light', 390],
  ['en', 'dark', 320],
] as const) {
  test.describe(() => {
    test.use({ locale: language, colorScheme: scheme, viewport: { width, height: 844 } })
    test(`every page of files holds in ${language}, ${scheme}, at ${width} pixels`, async ({
      page,
      product,
    }) => {
      const [newer, older] = await backups(product)
      const [restore] = await items(product, '/api/jobs?type=archive_restore')
      const top = encodeURIComponent(data(product))
      await signedIn(page, product, '/find')
      for (const path of [
        '/find',
        '/find?q=txt&ext=txt',
        `/backups/${newer!.id}/files?path=${top}`,
        `/backups/${newer!.id}/usage?path=${top}`,
        `/backups/${older!.id}/diff/${newer!.id}`,
        `/repositories/${newer!.repository_id}/versions?path=${top}/books/report.txt`,
        `/jobs/${restore!.id}`,
      ]) {
        await page.goto(product.url + path)
        await expect(page.getByRole('heading', { level: 1 })).toBeAttached()
        await page.waitForLoadState('networkidle')
        await accessible(page)
      }
    })
  })
}
