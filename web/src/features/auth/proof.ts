import type { Proof } from './api'

/** Whether something was given for the second factor. */
export const isGiven = (proof: Proof): boolean => Boolean(proof.code || proof.recovery_code)
