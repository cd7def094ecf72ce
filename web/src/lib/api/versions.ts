// Two who edit one thing: a change is meant for the version that was read, and refused if another came first.

/** The header that says for which version of a thing a change is meant. */
export const onlyIf = (version: number) => ({ headers: { 'If-Match': `"${version}"` } })
