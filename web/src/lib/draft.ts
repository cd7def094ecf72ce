// A form that is filled in from what was read. What another changes meanwhile replaces nothing that was typed.
import { type Ref, ref, watch } from 'vue'

/** What can be read again, and is changed only in the version that was seen. */
interface Versioned {
  version: number
}

export function useDraft<Read extends Versioned, Form>(
  found: Ref<Read | undefined>,
  formOf: (read: Read) => Form,
  empty: Form,
) {
  const form = ref(empty) as Ref<Form>
  const seen = ref(0)
  let before = ''

  /** Begins anew with what there is; what was typed is lost. */
  function fill(read: Read | undefined): void {
    if (!read) return
    form.value = formOf(read)
    before = JSON.stringify(form.value)
    seen.value = read.version
  }

  watch(
    found,
    (read) => {
      if (!seen.value || JSON.stringify(form.value) === before) fill(read)
    },
    { immediate: true },
  )
  return { form, seen, fill }
}
