// After a change of page its title takes the focus, so that a screen reader begins there.

const FIELDS = 'input, textarea, select'
const FRAMES = 600
const HELD = 10

/**
 * Focuses the title as soon as it is there and no dialogue stands before it. A dialogue that closes gives the focus
 * back to where it was opened, a little later: so the title has to keep it for some frames. A key, a click or a field
 * that has the focus ends it: a password manager fills without either.
 */
export function focusTitle(): void {
  let frames = 0
  let held = 0
  const stop = (): void => {
    frames = FRAMES
  }
  addEventListener('keydown', stop, { once: true })
  addEventListener('pointerdown', stop, { once: true })
  const look = (): void => {
    if (document.activeElement?.matches(FIELDS)) stop()
    const title = document.querySelector('h1')
    if (title && !document.querySelector('[role=dialog]')) {
      held = document.activeElement === title ? held + 1 : 0
      if (held === 0 && frames < FRAMES) title.focus()
    }
    frames += 1
    if (frames < FRAMES && held < HELD) requestAnimationFrame(look)
    else {
      removeEventListener('keydown', stop)
      removeEventListener('pointerdown', stop)
    }
  }
  requestAnimationFrame(look)
}
