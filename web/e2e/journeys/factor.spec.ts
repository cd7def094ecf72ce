import { createHmac } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Page } from '@playwright/test'
import { ADA, accessible, expect, signedIn, test } from '../product'

test.describe.configure({ mode: 'serial' })
test.use({ house: 'factor' })

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
let secret = ''
let codes: string[] = []

/** What an app shows so many steps of 30 seconds from now (RFC 6238). */
function appShows(steps = 0): string {
  const bits = [...secret].map((one) => LETTERS.indexOf(one).toString(2).padStart(5, '0')).join('')
  const key = Buffer.from((bits.match(/.{8}/g) ?? []).map((one) => Number.parseInt(one, 2)))
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps))
  const mac = createHmac('sha1', key).update(counter).digest()
  const number = mac.readUInt32BE(mac[19]! & 15) & 0x7fffffff
  return String(number % 1_000_000).padStart(6, '0')
}

async function givePassword(page: Page): Promise<void> {
  await page.getByLabel('User name').fill(ADA.name)
  await page.getByLabel('Password').fill(ADA.password)
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { name: 'Second factor' })).toBeVisible()
}

test('an app is added by its secret, confirmed, and the recovery codes are shown once', async ({
  page,
  product,
}) => {
  await signedIn(page, product, '/profile')
  const panel = page.getByRole('region', { name: 'Second factor' })
  await panel.getByRole('button', { name: 'Set up' }).press('Enter')
  await expect(page.getByRole('heading', { name: /Add Borgfleet to your app/ })).toBeFocused()
  await expect(panel.getByRole('img', { name: /QR code/ })).toBeVisible()
  await accessible(page)
  secret = ((await panel.locator('[data-secret]').textContent()) ?? '').replaceAll(' ', '')
  expect(await panel.getByRole('link', { name: /Open in an app/ }).getAttribute('href')).toContain(secret)

  await panel.getByLabel('Code of the app').fill('000')
  await page.keyboard.press('Enter')
  await expect(panel.getByRole('alert')).toContainText('not the one of this secret')
  await accessible(page)
  await panel.getByLabel('Code of the app').fill(appShows())
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { name: 'Your recovery codes' })).toBeFocused()
  codes = await panel
    .getByRole('list', { name: 'Your recovery codes' })
    .getByRole('listitem')
    .allTextContents()
  expect(codes.length).toBe(10)
  await accessible(page)
  const saving = page.waitForEvent('download')
  await panel.getByRole('button', { name: 'Save as a file' }).click()
  expect(await readFile(await (await saving).path(), 'utf8')).toBe(`${codes.join('\n')}\n`)
  await panel.getByRole('button', { name: 'I have kept them' }).click()
  await expect(page.getByText(codes[0]!)).toHaveCount(0)
  await expect(panel).toContainText('10 recovery codes are left')
  await accessible(page)
})

test('a login asks for the code, takes a recovery code in its place, and each once', async ({
  page,
  product,
}) => {
  await page.goto(`${product.url}/login?next=/profile`)
  await givePassword(page)
  await expect(page.getByLabel('Code', { exact: true })).toBeFocused()
  await accessible(page)
  await page.keyboard.type('000000')
  await page.keyboard.press('Enter')
  await expect(page.getByRole('alert')).toContainText('The code is wrong, or was used before')
  await expect(page.getByLabel('Code', { exact: true })).toBeFocused()
  await page.getByRole('button', { name: 'Use a recovery code' }).click()
  await page.getByLabel('Recovery code').fill(codes[0]!.toUpperCase().replaceAll('-', ' '))
  await accessible(page)
  await page.keyboard.press('Enter')
  await expect(page.getByRole('region', { name: 'Second factor' })).toContainText('9 recovery codes are left')
  await expect(page.getByRole('listitem').filter({ hasText: 'this browser' })).toContainText(
    'by password, recovery code',
  )

  await page.context().clearCookies()
  await page.goto(`${product.url}/login?next=/profile`)
  await givePassword(page)
  await page.getByRole('button', { name: 'Use a recovery code' }).click()
  await page.getByLabel('Recovery code').fill(codes[0]!)
  await page.keyboard.press('Enter')
  await expect(page.getByRole('alert')).toBeVisible()
  // Of the next step: the one that confirmed the app may be of this one, and works no more.
  await page.getByLabel('Code', { exact: true }).fill(appShows(1))
  await page.keyboard.press('Enter')
  const here = page.getByRole('listitem').filter({ hasText: 'this browser' })
  await expect(here).toContainText('by password, second factor')
})

test('it is switched off, once both were given again', async ({ page, product }) => {
  await page.goto(`${product.url}/login?next=/profile`)
  await givePassword(page)
  await page.getByRole('button', { name: 'Use a recovery code' }).click()
  await page.getByLabel('Recovery code').fill(codes[1]!)
  await page.keyboard.press('Enter')
  const panel = page.getByRole('region', { name: 'Second factor' })
  // As after ten minutes.
  const body = JSON.stringify({ code: 'reauthenticate', methods: ['password', 'totp', 'recovery_code'] })
  await page.route(
    '**/api/auth/totp',
    (route) => route.fulfill({ status: 401, contentType: 'application/problem+json', body }),
    { times: 1 },
  )
  await panel.getByRole('button', { name: 'Turn off' }).click()
  await accessible(page)
  await page.getByRole('dialog').getByRole('button', { name: 'Turn off' }).click()
  const proof = page.getByRole('dialog', { name: 'Is it you?' })
  await proof.getByLabel('Password').click() // it lies above the dialogue that waits for it
  await page.keyboard.type(ADA.password)
  await proof.getByRole('button', { name: 'Use a recovery code' }).click()
  await proof.getByLabel('Recovery code').fill(codes[2]!)
  await accessible(page)
  await page.keyboard.press('Enter')
  await expect(page.getByText('The second factor is off.')).toBeVisible()
  await expect(panel.getByRole('button', { name: 'Set up' })).toBeVisible()
})

for (const [language, scheme, width, begin] of [
  ['fr', 'dark', 1440, 'Configurer'],
  ['en', 'light', 320, 'Set up'],
] as const) {
  test.describe(() => {
    test.use({ locale: language, colorScheme: scheme, viewport: { width, height: 900 } })
    test(`setting it up holds in ${language}, ${scheme}, at ${width} pixels`, async ({ page, product }) => {
      await signedIn(page, product, '/profile')
      await page.getByRole('button', { name: begin, exact: true }).click()
      await expect(page.locator('[data-secret]')).toBeVisible()
      await accessible(page)
    })
  })
}
