// The parts of the settings, and who sees which.
import { may, type Permission } from '@/lib/session'

interface Tab {
  to: string
  key: string
  needs?: Permission
}

const ABOUT: Tab = { to: '/settings/about', key: 'settings.about.title' }
const TABS: Tab[] = [
  { to: '/settings/limits', key: 'settings.limits.title', needs: 'limits:read' },
  { to: '/settings/tags', key: 'settings.tags.title', needs: 'tags:read' },
  { to: '/settings/four-eyes', key: 'settings.four_eyes.title', needs: 'settings:read' },
  { to: '/settings/services', key: 'settings.services.title', needs: 'system:read' },
  ABOUT,
]

export const tabsOfMine = (): Tab[] => TABS.filter((tab) => !tab.needs || may(tab.needs))

export const firstSetting = (): string => (tabsOfMine()[0] ?? ABOUT).to
