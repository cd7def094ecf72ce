// The four eyes as a form: hours and days as they are typed.
import type { FourEyes } from './api'

export interface FourEyesForm {
  enabled: boolean
  cooling: string
  expiry: string
}

const HOUR = 3600
const DAY = 86_400
/** What the API takes. */
export const MOST_HOURS = 72
export const MOST_DAYS = 90

/** At most two digits behind the point: nobody types more. */
const shown = (seconds: number, unit: number): string => String(Math.round((seconds / unit) * 100) / 100)

/** A comma is a point, as in French; what is no number is none. */
const number = (typed: string): number =>
  /^\d+([.,]\d+)?$/.test(typed.trim()) ? Number(typed.trim().replace(',', '.')) : Number.NaN

/** What was not touched stays to the second, though it was shown rounded. */
function seconds(typed: string, unit: number, before: number): number {
  return typed.trim() === shown(before, unit) ? before : Math.round(number(typed) * unit)
}

export const fourEyesForm = (read: FourEyes): FourEyesForm => ({
  enabled: read.enabled,
  cooling: shown(read.cooling_seconds ?? HOUR, HOUR),
  expiry: shown(read.expiry_seconds ?? 7 * DAY, DAY),
})

export const fourEyesOf = (form: FourEyesForm, read: FourEyes): FourEyes => ({
  enabled: form.enabled,
  cooling_seconds: seconds(form.cooling, HOUR, read.cooling_seconds ?? HOUR),
  expiry_seconds: seconds(form.expiry, DAY, read.expiry_seconds ?? 7 * DAY),
  version: read.version,
})

/** Which fields the API would not take. */
export function wrongIn({ cooling_seconds = HOUR, expiry_seconds = HOUR }: FourEyes): {
  cooling: boolean
  expiry: boolean
} {
  return {
    cooling: !(cooling_seconds >= 0 && cooling_seconds <= MOST_HOURS * HOUR),
    expiry: !(expiry_seconds >= HOUR && expiry_seconds <= MOST_DAYS * DAY),
  }
}
