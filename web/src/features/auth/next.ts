/** The place to go back to after the login; only one of ours, never another site's address. */
export function nextOf(wanted: unknown): string {
  return typeof wanted === 'string' && /^\/(?![/\\])/.test(wanted) ? wanted : '/'
}
