// Leaving a form that was changed asks first, whether by a link, by Back, or by closing the tab.
import { onScopeDispose, type Ref, ref } from 'vue'
import { useRouter } from 'vue-router'

export function useLeaving(changed: Ref<boolean>) {
  const router = useRouter()
  const asking = ref(false)
  let settle: ((leave: boolean) => void) | null = null

  const answer = (leave: boolean): void => {
    asking.value = false
    settle?.(leave)
    settle = null
  }
  const remove = router.beforeEach((to, from) => {
    if (!changed.value || to.path === from.path) return true
    answer(false)
    asking.value = true
    return new Promise<boolean>((resolve) => {
      settle = resolve
    })
  })
  const closing = (event: BeforeUnloadEvent): void => {
    if (changed.value) event.preventDefault()
  }
  addEventListener('beforeunload', closing)
  onScopeDispose(() => {
    remove()
    removeEventListener('beforeunload', closing)
  })
  return { asking, answer }
}
