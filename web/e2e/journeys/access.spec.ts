import { ADA, accessible, expect, type Product, signedIn, test } from '../product'

test.describe.configure({ mode: 'serial' })
test.use({ house: 'access' })

const EVE = { name: 'eve', password: 'four other words here', next: 'five quite other words here' }

test('a person is invited for the servers of a tag, and comes in by the link to what that gives', async ({
  page,
  browser,
  product,
}) => {
  await product.call('POST', '/api/tags', { name: 'production' })
  await signedIn(page, product, '/')
  await page.getByRole('link', { name: 'Access', exact: true }).click()
  await expect(page.getByRole('list', { name: 'Users' })).toContainText(ADA.name)
  await accessible(page)
  await page.getByRole('button', { name: 'Add a user' }).click()
  await page.getByLabel('User name').fill(EVE.name)
  await page.getByRole('button', { name: 'Add a role' }).click()
  await page.getByLabel('Role', { exact: true }).selectOption('Operator')
  await page.getByLabel('For', { exact: true }).selectOption('servers with the tag production')
  await accessible(page)
  await page.getByRole('button', { name: 'Make the invitation' }).click()
  const link = page.getByRole('region', { name: 'Link for eve' })
  await expect(link).toContainText('/accept#')
  await accessible(page)
  const url = await link.getByText('/accept#').textContent()
  await link.getByRole('button', { name: 'I have kept it' }).click()
  await expect(page.getByText('/accept#')).toHaveCount(0)
  await expect(page.getByRole('listitem').filter({ hasText: EVE.name }).first()).toContainText('Invited')

  const other = await (await browser.newContext({ locale: 'en' })).newPage()
  await other.goto(url!)
  await other.getByLabel('New password').fill(EVE.password)
  await other.keyboard.press('Enter')
  await expect(other.getByRole('link', { name: 'Servers', exact: true })).toBeVisible()
  await expect(other.getByRole('link', { name: /^(Access|Audit trail)$/ })).toHaveCount(0)
  await other.goto(`${product.url}/audit`)
  await expect(other.getByRole('heading', { name: /not for you to see/ })).toBeVisible()

  await other.goto(`${product.url}/profile`)
  await expect(other.getByText('servers with the tag production')).toBeVisible()
  await other.getByLabel('Password so far').fill(EVE.password)
  await other.getByLabel('New password').fill(EVE.next)
  await other.getByRole('button', { name: 'Change password' }).click()
  await expect(other.getByText('Your password was changed.')).toBeVisible()
  await accessible(other)

  // Her sessions are ended by another: she is at the login at once.
  await page.reload()
  await page.getByRole('link', { name: EVE.name, exact: true }).click()
  await page.getByRole('button', { name: 'Actions for eve' }).click()
  await page.getByRole('menuitem', { name: 'End all sessions' }).click()
  await expect(page.getByRole('dialog')).toContainText('End all sessions of eve?')
  await accessible(page)
  await page.getByRole('dialog').getByRole('button', { name: 'End all sessions' }).click()
  await expect(page.getByText('All sessions of eve have ended.')).toBeVisible()
  await expect(other.getByRole('heading', { name: 'Sign in' })).toBeVisible()
  await other.context().close()
})

test('the last administrator stays, as the API says; another user goes by the name, once the password was given again', async ({
  page,
  product,
}) => {
  await signedIn(page, product, '/access/users')
  await page.getByRole('link', { name: ADA.name, exact: true }).click()
  await page.getByRole('button', { name: 'Change roles' }).click()
  await page.getByLabel('Role', { exact: true }).selectOption('Viewer')
  await page.getByRole('button', { name: 'Save roles' }).click()
  await expect(page.getByRole('dialog').getByRole('alert')).toContainText('last active administrator')
  await accessible(page)
  await page.getByRole('button', { name: 'Cancel' }).click()

  await page.goto(`${product.url}/access/users`)
  await page.getByRole('link', { name: EVE.name, exact: true }).click()
  // As after ten minutes: the next change asks for the password.
  const body = JSON.stringify({ code: 'reauthenticate' })
  await page.route(
    '**/api/users/*',
    (route) => route.fulfill({ status: 401, contentType: 'application/problem+json', body }),
    { times: 1 },
  )
  await page.getByRole('button', { name: 'Actions for eve' }).click()
  await page.getByRole('menuitem', { name: 'Delete user' }).click()
  const remove = page.getByRole('dialog').getByRole('button', { name: 'Delete user' })
  await expect(remove).toBeDisabled()
  await page.getByRole('dialog').getByRole('textbox').fill(EVE.name)
  await remove.click()
  await page.getByRole('dialog', { name: 'Is it you?' }).getByLabel('Password').fill(ADA.password)
  await page.keyboard.press('Enter')
  await expect(page.getByText('eve was deleted.')).toBeVisible()
  await expect(page.getByRole('list', { name: 'Users' })).toBeVisible()
  await expect(page.getByRole('link', { name: EVE.name, exact: true })).toHaveCount(0)
})

async function maySee(product: Product, secret: string): Promise<number> {
  const headers = { Authorization: `Bearer ${secret}` }
  return (await fetch(`${product.url}/api/servers`, { headers })).status
}

test('a token is made to read, works, and works no longer once it is revoked', async ({ page, product }) => {
  await signedIn(page, product, '/profile')
  await page.getByRole('link', { name: 'Your API tokens' }).click()
  await page.getByRole('button', { name: 'Make a token' }).click()
  await page.getByLabel('Name', { exact: true }).fill('monitor')
  await page.getByRole('radio', { name: /Chosen ones/ }).check()
  await page.getByRole('group', { name: 'Servers', exact: true }).getByLabel('see').check()
  await page.getByLabel('Expires').selectOption('in 30 days')
  await accessible(page)
  await page.getByRole('button', { name: 'Make the token' }).click()
  const shown = page.getByRole('region', { name: 'Secret of monitor' })
  const secret = (await shown.getByText(/^bf_/).textContent()) ?? ''
  expect(await maySee(product, secret)).toBe(200)
  await shown.getByRole('button', { name: 'I have kept it' }).click()
  const row = page.getByRole('listitem').filter({ has: page.getByRole('heading', { name: 'monitor' }) })
  await expect(row).toContainText('1 right')
  await accessible(page)
  await page.getByRole('button', { name: 'Actions for monitor' }).click()
  await page.getByRole('menuitem', { name: 'Revoke' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click()
  await expect(page.getByText('monitor was revoked.')).toBeVisible()
  await expect(row).toHaveCount(0)
  expect(await maySee(product, secret)).toBe(401)
})

test('the audit trail tells of all that, is filtered by its address, and is verified', async ({
  page,
  product,
}) => {
  await signedIn(page, product, '/audit')
  const trail = page.getByRole('list', { name: 'Audit trail' })
  await expect(trail).toContainText('Revoked an API token')
  await accessible(page)
  await page.getByRole('button', { name: 'Verify' }).click()
  await expect(page.getByText('The audit trail is as it was written.')).toBeVisible()
  await accessible(page)
  await page.getByLabel('What').selectOption('Changed the roles of a user')
  await page.getByLabel('Outcome').selectOption('Refused')
  await page.getByRole('button', { name: 'Filter', exact: true }).click()
  await expect(page).toHaveURL(/action=put_grants&outcome=refused/)
  await expect(trail.getByRole('listitem')).toHaveCount(1)
  await trail.getByRole('link', { name: 'Changed the roles of a user' }).click()
  await expect(page.getByText('This is the last active administrator of the fleet.')).toBeVisible()
  await accessible(page)
  await page.goBack()
  await expect(page.getByLabel('Outcome')).toHaveValue('refused')
  await page.getByRole('button', { name: 'Clear filters' }).click()
  await trail.getByRole('link', { name: 'Deleted a user' }).click()
  await expect(page.getByRole('row', { name: /display_name|name eve/ }).first()).toBeVisible()
  await accessible(page)
})

for (const [language, scheme, width] of [
  ['fr', 'dark', 1440],
  ['en', 'light', 820],
  ['fr', 'light', 320],
] as const) {
  test.describe(() => {
    test.use({ locale: language, colorScheme: scheme, viewport: { width, height: 844 } })
    test(`every page of access holds in ${language}, ${scheme}, at ${width} pixels`, async ({
      page,
      product,
    }) => {
      const first = async (path: string): Promise<string> =>
        ((await product.call('GET', path)) as { items: { id: string }[] }).items[0]!.id
      await signedIn(page, product, '/')
      for (const path of [
        '/access/users',
        `/access/users/${await first('/api/users')}`,
        '/access/tokens',
        '/access/approvals',
        '/profile',
        '/audit',
        `/audit/${await first('/api/audit')}`,
      ]) {
        await page.goto(product.url + path)
        await expect(page.getByRole('heading', { level: 1 })).toBeVisible()
        await page.waitForLoadState('networkidle')
        await accessible(page)
      }
    })
  })
}
