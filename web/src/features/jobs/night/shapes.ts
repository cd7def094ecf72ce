// How a bar is drawn. A state is told by shape as well as by colour: no colour is ever alone.

export const LANE = 24
export const HIGH = 14
export const TOP = (LANE - HIGH) / 2
/** Narrower bars would not be seen. */
const NARROWEST = 3

export interface Shape {
  x: number
  width: number
  outline: string
  /** Strokes on top of it, in the colour of the ground. */
  mark: string
}

const rect = (x: number, width: number): string => `M${x} ${TOP}h${width}v${HIGH}h-${width}z`

export function shapeOf(state: string, open: boolean, vague: boolean, from: number, to: number): Shape {
  const width = Math.max(NARROWEST, to - from)
  const [x, end, bottom, middle] = [from, from + width, TOP + HIGH, LANE / 2]
  const shape = (outline: string, mark = ''): Shape => ({ x, width, outline, mark })
  if (state === 'queued') return shape(`M${end} ${middle - 4}a4 4 0 1 1 0 8a4 4 0 0 1 0 -8z`)
  if (vague) return shape(`M${end} ${TOP}H${x}V${bottom}H${end}`)
  if (open) return shape(`M${x} ${TOP}H${end}l5 ${HIGH / 2}l-5 ${HIGH / 2}H${x}z`)
  if (state === 'warning' && width >= 12) return shape(`M${x} ${TOP}h4v5h4v-5H${end}V${bottom}H${x}z`)
  // Where there is no room for the sign within it, it stands out of the bar.
  if (state === 'warning') return shape(`${rect(x, width)}M${x} ${TOP - 5}l4 4h-4z`)
  if (state === 'failed' && width >= 12) {
    const [left, right] = [x + 3, x + 9]
    return shape(
      rect(x, width),
      `M${left} ${middle - 3}L${right} ${middle + 3}M${right} ${middle - 3}L${left} ${middle + 3}`,
    )
  }
  if (state === 'failed') return shape(`${rect(x, width)}M${x - 2} ${TOP - 4}h${width + 4}v3h-${width + 4}z`)
  if (state === 'cancelled' && width >= 12) return shape(rect(x, width), `M${x} ${bottom}L${end} ${TOP}`)
  return shape(rect(x, width))
}

export const LOOKS: Record<string, string> = {
  succeeded: 'fill-ok',
  warning: 'fill-warn',
  failed: 'fill-bad',
  running: 'fill-busy',
  cancelled: 'fill-panel stroke-idle',
  queued: 'fill-panel stroke-idle',
  foreseen: 'fill-panel stroke-muted [stroke-dasharray:3_2]',
}
export const UNKNOWN_LOOK = 'fill-panel stroke-idle [stroke-dasharray:1_3]'
/** Whether words are read on it, or beside its ground. */
export const FILLED = new Set(['succeeded', 'warning', 'failed', 'running'])
