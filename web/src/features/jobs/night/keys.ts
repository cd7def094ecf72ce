// The arrow keys go from bar to bar: along a row by time, to the next row to what is nearest in time.
import { nextTick, type Ref, ref } from 'vue'
import type { Row } from './rows'

const nearest = (row: Row, at: number): string | undefined =>
  [...row.bars].sort((a, b) => Math.abs(a.from - at) - Math.abs(b.from - at))[0]?.key

/** Which bar a key leads to from another; undefined: none, the key is not for the chart. */
export function towards(all: Row[], current: string, key: string): string | undefined {
  const rows = all.filter((row) => row.bars.length)
  const index = rows.findIndex((row) => row.bars.some((bar) => bar.key === current))
  const row = rows[index]
  if (!row) return undefined
  const bars = [...row.bars].sort((a, b) => a.from - b.from)
  const place = bars.findIndex((bar) => bar.key === current)
  const at = bars[place]?.from ?? 0
  const other = (next: Row | undefined) => next && nearest(next, at)
  switch (key) {
    case 'ArrowRight':
      return bars[place + 1]?.key
    case 'ArrowLeft':
      return bars[place - 1]?.key
    case 'ArrowDown':
      return other(rows[index + 1])
    case 'ArrowUp':
      return other(rows[index - 1])
    case 'Home':
      return bars[0]?.key
    case 'End':
      return bars.at(-1)?.key
    default:
      return undefined
  }
}

export function useArrows(rows: Ref<Row[]>, host: Ref<HTMLElement | null>) {
  const chosen = ref('')
  async function onKey(event: KeyboardEvent): Promise<void> {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const current = (event.target as Element).closest<SVGElement>('[data-bar]')?.dataset['bar']
    if (current === undefined) return
    const next = towards(rows.value, current, event.key)
    if (next === undefined) return
    event.preventDefault()
    chosen.value = next
    await nextTick()
    const found = [...(host.value?.querySelectorAll<SVGElement>('[data-bar]') ?? [])]
    found.find((one) => one.dataset['bar'] === next)?.focus()
  }
  return { chosen, onKey }
}
