// The rights of a token, as the API's `noun:verb`, in words: "Servers: see, change".
import { useI18n } from 'vue-i18n'
import { safeName } from '@/lib/format'

export interface RightsOf {
  noun: string
  rights: string[]
}

const looks = (right: string): boolean => right.endsWith(':read')

/** The rights by what they are about; in each group, to see comes first. */
export function byNoun(rights: readonly string[]): RightsOf[] {
  const groups = new Map<string, string[]>()
  for (const right of rights) {
    const noun = right.split(':')[0] ?? right
    groups.set(noun, [...(groups.get(noun) ?? []), right])
  }
  return [...groups].map(([noun, of]) => ({
    noun,
    rights: [...of.filter(looks), ...of.filter((right) => !looks(right))],
  }))
}

export const onlyReading = (rights: readonly string[]): string[] => rights.filter(looks)

export function useRights() {
  const { t, te } = useI18n()
  return {
    noun: (noun: string): string => (te(`access.noun.${noun}`) ? t(`access.noun.${noun}`) : safeName(noun)),
    verb: (right: string): string => {
      const verb = right.split(':')[1] ?? right
      return te(`access.verb.${verb}`) ? t(`access.verb.${verb}`) : safeName(verb)
    },
  }
}
