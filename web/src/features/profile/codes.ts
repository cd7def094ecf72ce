/** A secret in groups of four, as it is typed into an app. */
export const grouped = (secret: string): string => secret.match(/.{1,4}/g)?.join(' ') ?? ''

/** Has the browser save the recovery codes, one a line. */
export function saveCodes(codes: string[]): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([`${codes.join('\n')}\n`], { type: 'text/plain' }))
  link.download = 'borgfleet-recovery-codes.txt'
  link.click()
  URL.revokeObjectURL(link.href)
}
