// Proving once more who one is, in the middle of something: the request waits for it, and then goes on.
import { ref } from 'vue'

let settle: ((proven: boolean) => void) | null = null
let waiting: Promise<boolean> | null = null

/** Whether somebody is being asked for the password. */
export const proofWanted = ref(false)

/** Has the password asked for; several requests at once ask for it once. */
export function askForProof(): Promise<boolean> {
  waiting ??= new Promise((resolve) => {
    settle = resolve
    proofWanted.value = true
  })
  return waiting
}

export function answerProof(proven: boolean): void {
  proofWanted.value = false
  settle?.(proven)
  settle = waiting = null
}
