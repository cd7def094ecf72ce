// A form that is being saved: busy, refused and why, and what is wrong with which field.
import { computed, ref } from 'vue'
import { problemOf } from '@/lib/api/errors'
import { useMessages } from '@/lib/messages'

export function useSaving(act: () => Promise<void>) {
  const { told } = useMessages()
  const busy = ref(false)
  const failed = ref<unknown>(null)
  const problem = computed(() => (failed.value ? problemOf(failed.value) : null))

  async function save(): Promise<void> {
    if (busy.value) return
    busy.value = true
    failed.value = null
    try {
      await act()
    } catch (error) {
      failed.value = error
    } finally {
      busy.value = false
    }
  }

  /** What is wrong with a field, or with a part of it. */
  function wrong(field: string): string | undefined {
    const one = problem.value?.errors.find(
      (found) => found.field === field || found.field.startsWith(`${field}.`),
    )
    return one && told({ key: one.code, params: one.params }, one.message).text
  }

  const clear = (): void => {
    failed.value = null
  }

  return { busy, problem, wrong, save, clear }
}
