// Which field of a form the API refused, and why, in the words of the person.
import type { Problem } from './api/errors'
import { useMessages } from './messages'

/** Of this code only the API's own sentence says what is wrong. */
const OWN_WORDS = 'invalid_value'

export function useFieldErrors(problem: () => Problem | null) {
  const { told } = useMessages()
  /** The first error at this field or within it, as at `sources.2` of `sources`. */
  return (field: string): string | undefined => {
    const found = problem()?.errors.find((one) => one.field === field || one.field.startsWith(`${field}.`))
    if (!found) return undefined
    const message = found.code === OWN_WORDS ? null : { key: found.code, params: found.params }
    return told(message, found.message.replace(/^Value error, /, '')).text
  }
}
