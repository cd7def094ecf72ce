// What is typed, once the typing rests: so that not every letter asks the API.
import { onScopeDispose, type Ref, ref, watch } from 'vue'

const REST = 300

export function useSettled<T>(source: () => T): Ref<T> {
  const settled = ref(source()) as Ref<T>
  let timer: ReturnType<typeof setTimeout> | undefined
  watch(source, (now) => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      settled.value = now
    }, REST)
  })
  onScopeDispose(() => clearTimeout(timer))
  return settled
}
