// Sums what the first page loads, packed by gzip, and fails when it or one chunk grew too large.
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

const LIMITS = { first: 200, chunk: 90, lazy: 40 }
const dist = new URL('../dist/', import.meta.url)
const manifest = JSON.parse(readFileSync(new URL('.vite/manifest.json', dist), 'utf8'))
const size = (file) => gzipSync(readFileSync(new URL(file, dist))).length / 1000

function loads(key, seen = new Set()) {
  const chunk = manifest[key]
  if (seen.has(chunk.file)) return seen
  for (const file of [chunk.file, ...(chunk.css ?? [])]) seen.add(file)
  for (const other of chunk.imports ?? []) loads(other, seen)
  return seen
}

const first = loads('index.html')
const total = [...first].reduce((sum, file) => sum + size(file), 0)
const problems = []
if (total > LIMITS.first)
  problems.push(`the first page loads ${total.toFixed(1)} kB, more than ${LIMITS.first}`)
for (const chunk of Object.values(manifest)) {
  const limit = first.has(chunk.file) ? LIMITS.chunk : LIMITS.lazy
  const kilobytes = size(chunk.file)
  if (kilobytes > limit) problems.push(`${chunk.file} has ${kilobytes.toFixed(1)} kB, more than ${limit}`)
}
console.log(`first page: ${total.toFixed(1)} kB packed in ${first.size} files, of ${LIMITS.first} allowed`)
for (const problem of problems) console.error(problem)
process.exit(problems.length ? 1 : 0)
