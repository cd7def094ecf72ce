// What a person chooses of a restore, and how the API is asked for it.
import { toItem } from '@/lib/path'
import type { RestoreBody } from './api'
import type { Chosen } from './selection'

/** Two of them are new directories; the others bring everything back to where it was. */
export const PLACES = ['new', 'own', 'beside', 'swap', 'merge'] as const
export const EXISTING = ['keep', 'replace'] as const
export const OWNERS = ['numeric', 'names', 'root'] as const
export const LAYOUTS = ['short', 'full'] as const
export const METADATA = ['full', 'basic'] as const
export const DEPTHS = ['sample', 'all', 'count'] as const

export interface Choices {
  where: (typeof PLACES)[number]
  /** The directory, for `own`. */
  target: string
  /** Empty: the server that the backup was made of. */
  server: string
  existing: (typeof EXISTING)[number]
  owner: (typeof OWNERS)[number]
  layout: (typeof LAYOUTS)[number]
  metadata: (typeof METADATA)[number]
  verify: (typeof DEPTHS)[number]
}

export const firstChoices = (): Choices => ({
  where: 'new',
  target: '',
  server: '',
  existing: 'keep',
  owner: 'numeric',
  layout: 'short',
  metadata: 'full',
  verify: 'sample',
})

export const isNewDirectory = (choices: Choices): boolean =>
  choices.where === 'new' || choices.where === 'own'

/** Whether what is there is moved: the person has to name the server then. */
export const isDangerous = (choices: Choices): boolean =>
  choices.where === 'swap' || choices.where === 'merge'

export const isComplete = (choices: Choices): boolean =>
  choices.where !== 'own' || choices.target.trim().startsWith('/')

export function bodyOf(choices: Choices, items: Chosen[]): RestoreBody {
  const { where, target, server, existing, owner, layout, metadata, verify } = choices
  const fresh = where === 'new' || where === 'own'
  return {
    items: items.map((one) => toItem(one.path)),
    mode: fresh ? 'directory' : where,
    owner,
    metadata,
    verify,
    layout: fresh ? layout : 'short',
    existing: where === 'merge' ? existing : 'keep',
    ...(where === 'own' ? { target_path: target.trim() } : {}),
    ...(server ? { target_server_id: server } : {}),
  }
}
