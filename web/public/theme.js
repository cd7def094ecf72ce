// Before the first paint, so that a dark page never flashes white. A file of its own: no inline script is allowed.
;(() => {
  let chosen = null
  try {
    chosen = localStorage.getItem('borgfleet.theme')
  } catch {
    // Storage may be closed to this page: then the system decides.
  }
  const dark = chosen === 'dark' || (chosen !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches)
  document.documentElement.classList.toggle('dark', dark)
})()
