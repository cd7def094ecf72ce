// The limits as a form: an empty field is no limit.
import type { Limits } from './api'

export interface OwnLimit {
  name: string
  most: string
}

export interface LimitsForm {
  fleet: string
  perServer: string
  perPool: string
  servers: OwnLimit[]
  pools: OwnLimit[]
}

const text = (limit: number | null | undefined): string => (limit == null ? '' : String(limit))
const number = (typed: string): number | null => (typed.trim() === '' ? null : Number(typed))

const rows = (own: Record<string, number> | undefined): OwnLimit[] =>
  Object.entries(own ?? {})
    .map(([name, most]) => ({ name, most: String(most) }))
    .sort((a, b) => a.name.localeCompare(b.name))

/** A row without a name, or without a limit, is none. */
const own = (typed: OwnLimit[]): Record<string, number> =>
  Object.fromEntries(
    typed
      .filter((one) => one.name.trim() !== '' && one.most.trim() !== '')
      .map((one) => [one.name.trim(), Number(one.most)]),
  )

export function formOf(limits: Limits): LimitsForm {
  return {
    fleet: text(limits.fleet),
    perServer: text(limits.per_server),
    perPool: text(limits.per_pool),
    servers: rows(limits.servers),
    pools: rows(limits.pools),
  }
}

export function limitsOf(form: LimitsForm): Limits {
  return {
    fleet: number(form.fleet),
    per_server: number(form.perServer),
    per_pool: number(form.perPool),
    servers: own(form.servers),
    pools: own(form.pools),
  }
}
