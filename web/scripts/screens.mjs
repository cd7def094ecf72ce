// Takes pictures of a running product's pages, to be looked at: one of each language and theme, on a telephone and a desk.
// URL, session cookie and directory, then the paths: node scripts/screens.mjs http://127.0.0.1:8080 borgfleet=... /tmp/x /servers
import { chromium } from '@playwright/test'

const [url, cookie, directory, ...paths] = process.argv.slice(2)
const LOOKS = [
  ['en', 'light', 1440],
  ['fr', 'dark', 1440],
  ['fr', 'light', 820],
  ['en', 'dark', 390],
  ['fr', 'light', 390],
]
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] })
for (const [locale, colorScheme, width] of LOOKS) {
  const context = await browser.newContext({
    locale,
    colorScheme,
    timezoneId: 'Europe/Paris',
    viewport: { width, height: width < 640 ? 844 : 900 },
  })
  const [name, value] = cookie.split('=')
  await context.addCookies([{ name, value, url }])
  const page = await context.newPage()
  for (const path of paths) {
    await page.goto(url + path)
    await page.getByRole('heading', { level: 1 }).waitFor()
    await page.waitForLoadState('networkidle')
    const name = path.replace(/\W+/g, '-').replace(/^-|-$/g, '') || 'overview'
    await page.screenshot({
      path: `${directory}/${name}-${locale}-${colorScheme}-${width}.png`,
      fullPage: true,
    })
  }
  await context.close()
}
await browser.close()
