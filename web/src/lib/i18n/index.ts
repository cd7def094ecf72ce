// Languages: one is loaded; the other when it is chosen.
import { createI18n } from 'vue-i18n'
import { type Catalogue, catalogue } from './catalogue'

export const LANGUAGES = ['en', 'fr'] as const
export type Language = (typeof LANGUAGES)[number]

const KEY = 'borgfleet.language'
const LOADERS = { en: () => import('./en'), fr: () => import('./fr') }
const CATALOGUES: Record<Language, () => Promise<{ default: Catalogue }>> = {
  en: () => import('@/locales/messages.en.json'),
  fr: () => import('@/locales/messages.fr.json'),
}

export const i18n = createI18n({
  legacy: false,
  locale: 'en',
  missingWarn: false,
  fallbackWarn: false,
  // French counts zero as one: "0 serveur", "1 serveur", "2 serveurs".
  pluralRules: { fr: (count: number) => (count > 1 ? 1 : 0) },
  messages: {},
})

export function preferredLanguage(): Language {
  const wanted = [localStorage.getItem(KEY), ...navigator.languages].map((one) => one?.slice(0, 2))
  return wanted.find((one): one is Language => LANGUAGES.some((known) => known === one)) ?? 'en'
}

/** Loads and shows a language. */
export async function speak(language: Language): Promise<void> {
  const [{ messages }, entries] = await Promise.all([LOADERS[language](), CATALOGUES[language]()])
  i18n.global.setLocaleMessage(language, messages)
  catalogue.value = entries.default
  i18n.global.locale.value = language
  document.documentElement.lang = language
}

export async function choose(language: Language): Promise<void> {
  await speak(language)
  localStorage.setItem(KEY, language)
}
