// What is chosen in a view stands in its address: a link shows the same, and Back goes back.
import { computed, type WritableComputedRef } from 'vue'
import { useRoute, useRouter } from 'vue-router'

/** One of some values, the first of them when the address says nothing or something else. */
export function useChoice<T extends string>(
  name: string,
  values: readonly [T, ...T[]],
): WritableComputedRef<T> {
  const route = useRoute()
  const router = useRouter()
  return computed({
    get: () => values.find((one) => one === route.query[name]) ?? values[0],
    set: (chosen) => {
      const { [name]: _, ...rest } = route.query
      void router.replace({ query: chosen === values[0] ? rest : { ...rest, [name]: chosen } })
    },
  })
}

/** Free words, empty when there are none. */
export function useWords(name: string): WritableComputedRef<string> {
  const route = useRoute()
  const router = useRouter()
  return computed({
    get: () => (typeof route.query[name] === 'string' ? route.query[name] : ''),
    set: (words) => {
      const { [name]: _, ...rest } = route.query
      void router.replace({ query: words ? { ...rest, [name]: words } : rest })
    },
  })
}
