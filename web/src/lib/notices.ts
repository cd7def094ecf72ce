// Short words about what was just done: a success goes by itself, a failure stays until it is read.
import { defineStore } from 'pinia'
import { ref } from 'vue'
import type { Problem } from './api/errors'

export interface Notice {
  id: number
  text?: string
  problem?: Problem
}

const SHOWN = 5000
let last = 0

export const useNotices = defineStore('notices', () => {
  const items = ref<Notice[]>([])

  function dismiss(id: number): void {
    items.value = items.value.filter((one) => one.id !== id)
  }

  function say(text: string): void {
    const id = ++last
    items.value.push({ id, text })
    setTimeout(() => dismiss(id), SHOWN)
  }

  function fail(problem: Problem): void {
    // The same failure twice is said once; two that wait for another person are two.
    const same = ({ problem: other }: Notice) =>
      other?.code === problem.code && other.asked?.id === problem.asked?.id
    if (items.value.some(same)) return
    items.value.push({ id: ++last, problem })
  }

  return { items, say, fail, dismiss }
})
