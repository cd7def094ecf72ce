// A QR code as one path of an SVG. Made in the page: the secret in it goes nowhere.
import { encode } from 'uqr'

/** Modules of nothing around it: with fewer, some cameras find no code. */
const QUIET = 4

export interface QrCode {
  /** Modules a side, with those around it. */
  size: number
  /** One square of 1 x 1 for each dark module. */
  path: string
}

/** Medium correction: a scratched or mirroring screen is read too. Throws for text that no code is large enough for. */
export function qrOf(text: string): QrCode {
  const { size, data } = encode(text, { ecc: 'M', border: QUIET })
  const dark = data.flatMap((row, y) => row.flatMap((on, x) => (on ? [`M${x} ${y}h1v1h-1z`] : [])))
  return { size, path: dark.join('') }
}
