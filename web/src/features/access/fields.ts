// A form in a dialogue: what the API says is wrong stands at its field.
import { ref } from 'vue'
import { type FieldError, problemOf } from '@/lib/api/errors'

export function useFields() {
  const wrong = ref<FieldError[]>([])
  return {
    wrong: (field: string): string | undefined => wrong.value.find((one) => one.field === field)?.message,
    clear: (): void => {
      wrong.value = []
    },
    /** Sends the form; a refusal goes on to the dialogue, which says it as a whole. */
    send: async <T>(act: () => Promise<T>): Promise<T> => {
      wrong.value = []
      try {
        return await act()
      } catch (error) {
        wrong.value = problemOf(error).errors
        throw error
      }
    },
  }
}
