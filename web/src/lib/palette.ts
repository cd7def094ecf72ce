// What the command palette can go to besides the places: each feature puts its things here.
import { ref } from 'vue'

export interface PaletteThing {
  label: string
  icon: string
  path: string
}

const things = ref<PaletteThing[]>([])

export function usePalette() {
  return {
    things,
    offer: (offered: PaletteThing[]): void => {
      things.value = offered
    },
  }
}
