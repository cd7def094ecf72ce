import type { AriaAttributes } from 'vue'

declare module 'vue' {
  // Reka's parts pass these on to their element; strict templates would refuse them otherwise.
  interface ComponentCustomProps extends AriaAttributes {
    id?: string
    role?: string
    tabindex?: string | number
    title?: string
  }
}
