// What is chosen of a backup, over its directories: a directory stands for all that is below it.
import { computed, ref } from 'vue'

export interface Chosen {
  path: string
  size: number | null
  directory: boolean
}

export function useSelection() {
  const chosen = ref(new Map<string, Chosen>())

  /** The chosen directory that this lies in; it is chosen with it. */
  function within(path: string): boolean {
    return [...chosen.value.keys()].some((one) => path.startsWith(`${one}/`))
  }

  function toggle(one: Chosen): void {
    const next = new Map(chosen.value)
    if (!next.delete(one.path)) {
      // What lies in it goes with it from now on.
      for (const path of next.keys()) if (path.startsWith(`${one.path}/`)) next.delete(path)
      next.set(one.path, one)
    }
    chosen.value = next
  }

  const list = computed(() => [...chosen.value.values()])
  return {
    list,
    within,
    toggle,
    has: (path: string): boolean => chosen.value.has(path),
    clear: (): void => {
      chosen.value = new Map()
    },
    /** Bytes of all that is chosen; null with a directory, whose size nobody counted. */
    size: computed(() =>
      list.value.some((one) => one.size === null || one.directory)
        ? null
        : list.value.reduce((sum, one) => sum + (one.size ?? 0), 0),
    ),
  }
}
