import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { messages as en } from '@/lib/i18n/en'
import { messages as fr } from '@/lib/i18n/fr'
import { sources } from './sources'

function flat(tree: object, at = ''): Record<string, string> {
  return Object.fromEntries(
    Object.entries(tree).flatMap(([key, value]) =>
      typeof value === 'string' ? [[at + key, value]] : Object.entries(flat(value, `${at}${key}.`)),
    ),
  )
}

const [english, french] = [flat(en), flat(fr)]
const parameters = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort()
// Words that are the same in both languages.
const SAME = new Set([
  'auth.second.code',
  'servers.details',
  'servers.actions_column',
  'servers.fact.architecture',
  'servers.fact.swap',
  'servers.per_second',
  'jobs.rate',
  'jobs.night.hours',
  'files.diff.from_to',
  'files.versions.title',
  'find.versions',
  'settings.services.title',
  'watch.windows.title',
])
// Keys that are put together from a code of the API or a name of ours.
const BUILT = [
  'errors.',
  'status.',
  'ui.step.',
  'ui.day.',
  'access.approvals.agree.',
  'access.approvals.kind.',
  'access.approvals.refuse.',
  'access.approvals.which.',
  'access.approvals.withdraw.',
  'access.deed.',
  'access.kind.',
  'access.noun.',
  'access.role.',
  'access.role_hint.',
  'access.token.expiry.',
  'access.token.rights.',
  'access.verb.',
  'alerts.which.',
  'alerts.none.',
  'alerts.change.',
  'alerts.kind.',
  'alerts.remedy.',
  'audit.action.',
  'audit.outcome.',
  'audit.verify.broken.',
  'backups.trust.',
  'files.ask.',
  'files.diff.kinds.',
  'files.diff.one.',
  'files.look.effect.',
  'files.look.will.',
  'find.sizes.',
  'jobs.filters.',
  'jobs.log_levels.',
  'jobs.night.by.',
  'compliance.by.',
  'compliance.which.',
  'jobs.restored.mode.',
  'jobs.restored.named.',
  'overview.state.',
  'overview.first.',
  'plans.transports.',
  'profile.method.',
  'retention.by.',
  'retention.keep.',
  'retention.rule.',
  'schedule.kind.',
  'servers.setup.stage.',
  'servers.setup.step.',
  'servers.spans.',
  'servers.tab.',
  'servers.layout_',
  'servers.add.way.',
  'shell.theme.',
  'wizard.preset.',
  'wizard.summary.',
  'wizard.what.',
  'wizard.when.',
  'wizard.where.',
  'watch.channels.kind_hint.',
  'watch.channels.kinds.',
  'watch.channels.level.',
  'watch.kind.',
  'watch.scope.',
  'watch.unit.',
]

describe('English and French', () => {
  it('have a file for the same domains, and the same keys', () => {
    expect(readdirSync('src/locales/fr')).toEqual(readdirSync('src/locales/en'))
    expect(Object.keys(french)).toEqual(Object.keys(english))
  })

  it.each(Object.keys(english))('%s has the same parameters and as many forms', (key) => {
    expect(parameters(french[key]!)).toEqual(parameters(english[key]!))
    expect(french[key]!.split(' | ').length).toBe(english[key]!.split(' | ').length)
  })

  it('differ, but for the words that are listed', () => {
    expect(Object.keys(english).filter((key) => english[key] === french[key] && !SAME.has(key))).toEqual([])
  })

  it('are used, and what is used is there', () => {
    const text = sources()
      .map((file) => readFileSync(file, 'utf8'))
      .join('\n')
    const used = new Set(
      [...text.matchAll(new RegExp(`['\`]((?:${Object.keys(en).join('|')})\\.[\\w.]+)['\`]`, 'g'))].map(
        (m) => m[1]!,
      ),
    )
    expect([...used].filter((key) => !(key in english))).toEqual([])
    const unused = Object.keys(english).filter(
      (key) => !used.has(key) && !BUILT.some((start) => key.startsWith(start)),
    )
    expect(unused).toEqual([])
  })
})

describe('French', () => {
  it('uses its own signs: narrow spaces before : ; ! ? %, and curly apostrophes', () => {
    const wrong = Object.entries(french).filter(([, text]) => /'|(?<!\u202f)[:;!?%»]/.test(text))
    expect(wrong).toEqual([])
  })

  it('keeps to the glossary', () => {
    const words = /\b(backups?|jobs?|repos?|repository|archives?|token|host|login|dashboard)\b/i
    expect(Object.entries(french).filter(([, text]) => words.test(text.replace(/\{\w+\}/g, '')))).toEqual([])
  })
})
