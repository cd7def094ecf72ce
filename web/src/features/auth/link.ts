// The secret of a link stands after its #: it is sent to no server. It is taken once, and leaves the address bar.
export function takeLink(): string {
  const secret = decodeURIComponent(location.hash.slice(1))
  if (secret) history.replaceState(history.state, '', location.pathname)
  return secret
}
