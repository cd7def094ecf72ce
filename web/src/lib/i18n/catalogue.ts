// The API's messages in the language that is spoken.
import { shallowRef } from 'vue'

export type Catalogue = Record<string, { text: string; remedy?: string }>

export const catalogue = shallowRef<Catalogue>({})
