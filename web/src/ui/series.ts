// A time series as uPlot draws it, and as it is said in words.

export interface SeriesPoint {
  at: string
  min: number | null
  mean: number | null
  max: number | null
}

type Column = (number | null)[]

/** Columns of time, least, most, mean. Where steps are missing a point of nothing is put, so that a gap stays one. */
export function columns(points: SeriesPoint[], step: number): [number[], Column, Column, Column] {
  const made: [number[], Column, Column, Column] = [[], [], [], []]
  let before: number | null = null
  for (const point of points) {
    const at = Date.parse(point.at) / 1000
    // A look that comes a little late is no gap.
    if (before !== null && at - before > Math.max(2.5 * step, 900)) add(made, before + step, null, null, null)
    add(made, at, point.min, point.max, point.mean)
    before = at
  }
  return made
}

function add(
  [times, least, most, means]: [number[], Column, Column, Column],
  at: number,
  min: number | null,
  max: number | null,
  mean: number | null,
): void {
  times.push(at)
  least.push(min)
  most.push(max)
  means.push(mean)
}

export function spoken(points: SeriesPoint[]): { least: number; most: number; last: number } | null {
  const known = points.filter((point) => point.mean !== null)
  const last = known.at(-1)?.mean
  if (last === undefined || last === null) return null
  return {
    least: Math.min(...known.map((point) => point.min ?? last)),
    most: Math.max(...known.map((point) => point.max ?? last)),
    last,
  }
}
