import { ADA, accessible, expect, signedIn, test } from '../product'

test.describe.configure({ mode: 'serial' })
test.use({ house: 'servers' })

test('the printed link makes the first administrator, once, and the empty fleet greets him', async ({
  page,
  product,
}) => {
  await page.goto(`${product.url}/servers`)
  await expect(page.getByRole('heading', { name: 'No administrator yet' })).toBeVisible()
  await accessible(page)
  await page.goto(product.link)
  await expect(page.getByRole('heading', { name: 'Welcome to Borgfleet' })).toBeVisible()
  expect(page.url()).toBe(`${product.url}/setup`)
  await accessible(page)
  await page.getByLabel('User name').fill(ADA.name)
  await page.getByLabel('Password', { exact: true }).fill('short')
  await page.getByRole('button', { name: 'Make administrator' }).click()
  await expect(page.getByRole('alert')).toContainText('12')
  await accessible(page)
  await page.getByLabel('Password', { exact: true }).fill(ADA.password)
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { name: 'Three steps to the first backup' })).toBeVisible()
  await accessible(page)
  const kept = await page.evaluate(() =>
    JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]),
  )
  expect(kept).not.toContain('borgfleet=')
  expect(kept).not.toContain(ADA.password)

  await page.getByRole('button', { name: 'Your settings' }).click()
  await page.getByRole('menuitem', { name: 'Sign out' }).click()
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible()
  await page.goto(product.link)
  await page.getByLabel('User name').fill('eve')
  await page.getByLabel('Password', { exact: true }).fill(ADA.password)
  await page.keyboard.press('Enter')
  await expect(page.getByRole('alert')).toContainText('administrator already')
})

test('a wrong password is refused in words; the right one leads to where one wanted to go', async ({
  page,
  product,
}) => {
  await page.goto(`${product.url}/servers`)
  await expect(page.getByRole('heading', { name: 'Sign in' })).toBeVisible()
  await accessible(page)
  await page.getByLabel('User name').fill(ADA.name)
  await page.getByLabel('Password').fill('wrong horse battery staple')
  await page.keyboard.press('Enter')
  await expect(page.getByRole('alert')).toContainText('The name or the password is wrong')
  await accessible(page)
  await page.getByLabel('Password').fill(ADA.password)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await expect(page.getByRole('heading', { name: 'No server yet' })).toBeVisible()
})

test('a session that was ended elsewhere leads to the login, and from there back to the same place', async ({
  page,
  product,
}) => {
  await signedIn(page, product, '/alerts?state=resolved')
  await expect(page.getByRole('heading', { name: 'Alerts' })).toBeVisible()
  await page.context().clearCookies()
  await expect(page.getByText('Your session is over.')).toBeVisible()
  await page.getByLabel('User name').fill(ADA.name)
  await page.getByLabel('Password').fill(ADA.password)
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { name: 'Alerts' })).toBeVisible()
  expect(page.url()).toContain('/alerts?state=resolved')
})

test('a server is added by keyboard alone, its host key compared, and each step is seen', async ({
  page,
  product,
}) => {
  const [host] = product.servers
  await signedIn(page, product)
  await page.getByRole('button', { name: 'Add a server' }).focus()
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { name: 'Add a server' })).toBeFocused()
  await accessible(page)
  await page.getByLabel('Name').focus()
  for (const text of [host!.name, '127.0.0.1', host!.user, String(host!.port)]) {
    await page.keyboard.press('ControlOrMeta+a')
    await page.keyboard.type(text)
    await page.keyboard.press('Tab')
  }
  await page.keyboard.press('ArrowDown')
  await expect(page.getByText('ssh-ed25519')).toBeVisible()
  await accessible(page)
  await page.getByRole('button', { name: 'Connect' }).focus()
  await page.keyboard.press('Enter')

  await expect(page.getByRole('heading', { name: 'Is this your server?' })).toBeVisible()
  await expect(page.getByText(host!.fingerprint)).toBeVisible()
  await accessible(page)
  const paste = page.getByLabel('Paste what you see there')
  await paste.fill(`256 SHA256:${'A'.repeat(43)} root@alpha (ED25519)`)
  await expect(page.getByRole('button', { name: 'Approve this key' })).toBeDisabled()
  await paste.fill(`256 ${host!.fingerprint} root@alpha (ED25519)`)
  await page.getByRole('button', { name: 'Approve this key' }).focus()
  await page.keyboard.press('Enter')

  await expect(page.getByRole('heading', { name: 'The server is ready' })).toBeVisible()
  await expect(page.locator('[data-state=done]')).toHaveCount(8)
  await accessible(page)
})

test('its figures are collected, shown in the list, and kept as a history', async ({ page, product }) => {
  await signedIn(page, product)
  const row = page.getByRole('row', { name: /alpha/ }).first()
  await expect(row).toContainText('Ready')
  await page.getByRole('button', { name: 'Collect all' }).click()
  await expect(page.getByText('Statistics of all servers are being collected.')).toBeVisible()
  await expect(row.getByRole('meter', { name: 'Memory' })).toBeVisible()
  await page.getByRole('button', { name: 'Details of alpha' }).click()
  await expect(page.getByText('Debian')).toBeVisible()
  await accessible(page)

  await page.getByRole('link', { name: 'alpha', exact: true }).click()
  await expect(page.getByRole('heading', { name: 'alpha' })).toBeVisible()
  await accessible(page)
  await page.getByRole('link', { name: 'History' }).click()
  await expect(page.getByRole('img', { name: /^Memory: / })).toBeVisible()
  await accessible(page)
  await page.getByRole('button', { name: 'Show as table' }).first().click()
  await expect(page.getByRole('table')).toBeVisible()
  await page.getByRole('link', { name: 'Jobs', exact: true }).click()
  await expect(page.getByRole('listitem').filter({ hasText: 'Set-up' }).first()).toBeVisible()
  await accessible(page)
})

test('the palette goes to a server by its name, and Escape gives the focus back', async ({
  page,
  product,
}) => {
  await signedIn(page, product)
  await expect(page.getByRole('link', { name: 'alpha', exact: true })).toBeVisible()
  await page.keyboard.press('Control+k')
  await expect(page.getByRole('combobox')).toBeFocused()
  await accessible(page)
  await page.keyboard.press('Escape')
  await expect(page.getByRole('combobox')).toBeHidden()
  await page.keyboard.press('Control+k')
  await page.keyboard.type('alph')
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { name: 'alpha' })).toBeFocused()
})

test('a server that does not answer is bad, in words, and its old figures are not shown as now', async ({
  page,
  product,
}) => {
  const body = { name: 'gone', host: '127.0.0.1', port: 9, tags: ['paris'] }
  const { id } = (await product.call('POST', '/api/servers', body)) as { id: string }
  await signedIn(page, product, `/servers/${id}/setup`)
  await page.getByRole('button', { name: 'Run set-up' }).click()
  await expect(page.getByRole('heading', { name: 'The set-up failed' })).toBeVisible()
  await accessible(page)
  await page.goto(`${product.url}/servers`)
  const row = page.getByRole('row', { name: /gone/ })
  await expect(row).toContainText('Set-up failed')
  await expect(row.getByRole('meter')).toHaveCount(0)
  await expect(row).toContainText('unknown')
})

test('removing a server asks for its name, and nothing less will do', async ({ page, product }) => {
  await signedIn(page, product)
  await page.getByRole('button', { name: /Actions for gone/ }).click()
  await page.getByRole('menuitem', { name: 'Remove server' }).click()
  await accessible(page)
  const confirm = page.getByRole('dialog').getByRole('button', { name: 'Remove server' })
  await expect(confirm).toBeDisabled()
  await page.getByRole('dialog').getByRole('textbox').fill('gone')
  await confirm.click()
  await expect(page.getByText('gone was removed.')).toBeVisible()
  await expect(page.getByRole('row', { name: /gone/ })).toHaveCount(0)
})

for (const [language, scheme, width] of [
  ['fr', 'dark', 1440],
  ['fr', 'light', 820],
  ['fr', 'dark', 390],
  ['en', 'light', 320],
] as const) {
  test.describe(() => {
    test.use({ locale: language, colorScheme: scheme, viewport: { width, height: 844 } })
    test(`every page holds in ${language}, ${scheme}, at ${width} pixels`, async ({ page, product }) => {
      const { items } = (await product.call('GET', '/api/servers')) as { items: { id: string }[] }
      const of = `/servers/${items[0]!.id}`
      await signedIn(page, product)
      for (const path of [
        '/servers',
        '/servers/new',
        `${of}/setup`,
        `${of}/summary`,
        `${of}/history`,
        `${of}/jobs`,
        '/nowhere',
      ]) {
        await page.goto(product.url + path)
        await expect(page.getByRole('heading', { level: 1 })).toBeVisible()
        await page.waitForLoadState('networkidle')
        await expect(page.locator('html')).toHaveAttribute('lang', language)
        await accessible(page)
      }
    })
  })
}
