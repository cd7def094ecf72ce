// Two who edit one thing: a change is meant for the version that was read, and refused if another came first.
import type { Problem } from './errors'

/** The header that says for which version of a thing a change is meant; 0: of something that is not there yet. */
export const onlyIf = (version: number) => (version ? { headers: { 'If-Match': `"${version}"` } } : {})

/** The code of that refusal. */
export const CHANGED = 'changed_meanwhile'

/** The version that is there now, as the refusal tells it: who saves over it has been told of it. */
export const versionIn = (problem: Problem | null): number => Number(problem?.params['version']) || 0
