// What the API tells comes as an entry of its catalogue with parameters: said here in the language of the person.
// Its own English sentences stand in for an entry that this version does not know, marked as English.
import { useI18n } from 'vue-i18n'
import { browserZone, count, safeName, stamp } from './format'
import { type Catalogue, catalogue } from './i18n/catalogue'

export interface Message {
  key: string
  params: Record<string, unknown>
}

export interface Told {
  text: string
  remedy: string
  /** It is in English, and the person reads another language. */
  foreign: boolean
}

const PARAMETER = /\{\{|\}\}|\[\[|\]\]|\{(\w+)(?::([^{}[\]]*))?\}/g
/** A part that is left out when none of its parameters has a value. */
const OPTIONAL = /\[\[|\]\]|\[([^[\]]*)\]/g

const isMessage = (value: unknown): value is Message =>
  typeof value === 'object' && value !== null && 'key' in value && 'params' in value
const isEmpty = (value: unknown): boolean =>
  value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0)

interface Tongue {
  language: string
  entries: Catalogue
  unknown: string
  /** In which times are told. */
  zone: string
}

/** A time as it was kept, without a zone in UTC; what is none, as an older version made it, stays as it is. */
function moment(kept: string, { language, zone }: Tongue): string {
  const at = new Date(/(Z|[+-]\d\d:?\d\d)$/.test(kept) ? kept : `${kept}Z`)
  return Number.isNaN(at.getTime()) ? safeName(kept) : stamp(at, language, zone)
}

/** `first`: it begins the sentence. Our own words then have a capital; a name stays as it is written. */
function shown(value: unknown, format: string | undefined, tongue: Tongue, first: boolean): string {
  if (isMessage(value)) return text(value, tongue, first)
  if (isEmpty(value)) return tongue.unknown
  if (Array.isArray(value)) return value.map((one) => safeName(String(one))).join(', ')
  if (format === 'moment' && typeof value === 'string') return moment(value, tongue)
  const digits = /^,?(?:\.(\d)f)?$/.exec(format ?? '')
  if (typeof value === 'number' && format && digits)
    return count(value, tongue.language, Number(digits[1] ?? 0))
  return safeName(String(value))
}

const capital = (words: string): string => words.replace(/^\p{Ll}/u, (letter) => letter.toUpperCase())

function filled(template: string, params: Message['params'], tongue: Tongue, first: boolean): string {
  const kept = template.replace(OPTIONAL, (whole, part: string | undefined) => {
    if (part === undefined) return whole
    return [...part.matchAll(PARAMETER)].some(([, name]) => name && !isEmpty(params[name])) ? part : ''
  })
  const begun = first ? capital(kept) : kept
  return begun.replace(PARAMETER, (sign, name: string | undefined, format: string | undefined, at: number) =>
    name === undefined ? sign.charAt(0) : shown(params[name], format, tongue, first && at === 0),
  )
}

function text({ key, params }: Message, tongue: Tongue, first: boolean): string {
  const entry = tongue.entries[key]
  // Words that were made elsewhere are a message without an entry.
  return entry ? filled(entry.text, params, tongue, first) : shown(params['text'], undefined, tongue, first)
}

function remedy({ key, params }: Message, tongue: Tongue): string {
  const own = tongue.entries[key]?.remedy
  if (own) return filled(own, params, tongue, true)
  const cause = Object.values(params).find(isMessage)
  return cause ? remedy(cause, tongue) : ''
}

const ended = (words: string): string => (words === '' || /[.!?…]$/.test(words) ? words : `${words}.`)

export function tell(message: Message, tongue: Tongue): Told | null {
  if (!tongue.entries[message.key]) return null
  return { text: ended(text(message, tongue, true)), remedy: ended(remedy(message, tongue)), foreign: false }
}

export function useMessages() {
  const { t, locale } = useI18n()
  return {
    /** A message in the language of the person; else the English sentences that came with it. */
    told: (message: Message | null | undefined, english: string, remedy = ''): Told => {
      const tongue = {
        language: locale.value,
        entries: catalogue.value,
        unknown: t('ui.unknown'),
        zone: browserZone(),
      }
      const foreign = locale.value !== 'en' && english !== ''
      const own = message ? tell(message, tongue) : null
      return own ?? { text: english, remedy, foreign }
    },
  }
}
