import { onScopeDispose, type Ref, ref } from 'vue'

/** Follows a media query for as long as its component lives. */
export function useMediaQuery(query: string): Ref<boolean> {
  const list = matchMedia(query)
  const matches = ref(list.matches)
  const follow = (): void => {
    matches.value = list.matches
  }
  list.addEventListener('change', follow)
  onScopeDispose(() => list.removeEventListener('change', follow))
  return matches
}
