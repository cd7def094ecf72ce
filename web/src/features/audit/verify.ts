// Verifying the whole audit trail, part by part, as long as its page is there.
import { onScopeDispose, ref, shallowRef } from 'vue'
import { type Verified, verifyFrom } from './api'

export function useVerification() {
  const busy = ref(false)
  const failed = shallowRef<unknown>(null)
  /** What was verified so far, or in the end. */
  const found = shallowRef<Verified | null>(null)
  let left = false
  onScopeDispose(() => {
    left = true
  })

  async function parts(): Promise<void> {
    let [seals, rows] = [0, 0]
    for (let after: number | null = 0; after !== null && !left; ) {
      const part = await verifyFrom(after)
      seals += part.seals
      rows += part.rows
      found.value = { ...part, seals, rows }
      after = part.broken ? null : part.next
    }
  }

  async function verify(): Promise<void> {
    if (busy.value) return
    busy.value = true
    failed.value = found.value = null
    try {
      await parts()
    } catch (error) {
      failed.value = error
      found.value = null
    } finally {
      busy.value = false
    }
  }

  return { busy, failed, found, verify }
}
