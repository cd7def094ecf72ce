// What a person chose in this browser: theme and the look of lists.
import { defineStore } from 'pinia'
import { ref, watch } from 'vue'

export type Theme = 'system' | 'light' | 'dark'

const THEME = 'borgfleet.theme'
const LAYOUT = 'borgfleet.servers.layout'

function storedTheme(): Theme {
  const stored = localStorage.getItem(THEME)
  return stored === 'light' || stored === 'dark' ? stored : 'system'
}

export const usePreferences = defineStore('preferences', () => {
  const theme = ref<Theme>(storedTheme())
  const layout = ref<'cards' | 'table'>(localStorage.getItem(LAYOUT) === 'cards' ? 'cards' : 'table')
  const system = matchMedia('(prefers-color-scheme: dark)')

  function apply(): void {
    const dark = theme.value === 'dark' || (theme.value === 'system' && system.matches)
    document.documentElement.classList.toggle('dark', dark)
  }

  system.addEventListener('change', apply)
  watch(
    theme,
    (chosen) => {
      localStorage.setItem(THEME, chosen)
      apply()
    },
    { immediate: true },
  )
  watch(layout, (chosen) => localStorage.setItem(LAYOUT, chosen))
  return { theme, layout }
})
