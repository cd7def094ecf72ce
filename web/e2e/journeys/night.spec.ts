import { accessible, expect, signedIn, test } from '../product'

// Where it is six in the evening now: the next hour is of the same night, whenever this runs.
const ahead = ((18 - new Date().getUTCHours() + 36) % 24) - 12
test.use({ house: 'night', timezoneId: `Etc/GMT${ahead > 0 ? '-' : '+'}${Math.abs(ahead)}` })

test('the night shows what ran and what is to come, by keyboard, and as a list on a telephone', async ({
  page,
  product,
}) => {
  test.setTimeout(600_000)
  const call = product.call
  const host = { host: '127.0.0.1', port: 1, username: 'nobody' }
  const server = (await call('POST', '/api/servers', { name: 'night1', ...host })) as { id: string }
  const pool = (await call('POST', '/api/storage-pools', { name: 'main', path: product.pool })) as {
    id: string
  }
  const at = { server_id: server.id, pool_id: pool.id }
  const repository = (await call('POST', '/api/repositories', { name: 'system', ...at })) as { id: string }
  await call('POST', '/api/backup-jobs', {
    name: 'night1-system',
    server_id: server.id,
    repository_id: repository.id,
    sources: ['/etc'],
    schedules: [{ when: { kind: 'hours', every: 1 } }],
  })
  // Nobody listens there: it ends at once, or waits for its next attempt. Either is of this night.
  await call('POST', `/api/servers/${server.id}/setup`)

  await signedIn(page, product, '/')
  await page.getByRole('link', { name: 'The night' }).press('Enter')
  await expect(page.getByRole('heading', { level: 1, name: /^Night of/ })).toBeFocused()
  const chart = page.getByRole('list', { name: 'Runs of this night' })
  const setUp = chart.getByRole('link', { name: /^Set-up/ }).first()
  await expect(setUp).toBeVisible()
  await expect(chart.getByRole('link', { name: /^Backup · night1-system, Foreseen/ }).first()).toBeVisible()
  await accessible(page)

  await setUp.focus()
  await page.keyboard.press('Home')
  await page.keyboard.press('ArrowRight')
  await expect(chart.locator('a:focus')).toHaveAttribute('aria-label', /on night1$/)
  await page.keyboard.press('Home')
  await expect(chart.locator('[tabindex="0"]')).toHaveCount(1)
  await page.getByRole('button', { name: 'Closer' }).press('Enter')
  await expect(page).toHaveURL(/hours=12/)
  await expect(chart).toBeVisible()
  await page.getByRole('button', { name: 'By pool' }).press('Enter')
  await expect(chart.getByRole('group', { name: 'main' })).toBeVisible()
  await accessible(page)
  await chart
    .getByRole('link', { name: /Foreseen/ })
    .first()
    .focus()
  await page.keyboard.press('Enter')
  await expect(page).toHaveURL(/\/backup-jobs\//)

  await page.setViewportSize({ width: 390, height: 844 })
  await page.goto(`${product.url}/activity/night`)
  await expect(chart.getByRole('link', { name: /night1-system/ }).first()).toBeVisible()
  await expect(page.locator('[data-bar]')).toHaveCount(0)
  await accessible(page)
})
