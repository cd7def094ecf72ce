import { defineConfig } from '@playwright/test'

export default defineConfig({
  testDir: 'e2e/journeys',
  reporter: 'list',
  workers: 1,
  timeout: 600_000,
  expect: { timeout: 120_000 },
  use: {
    locale: 'en',
    timezoneId: 'Europe/Paris',
    launchOptions: { executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] },
  },
})
