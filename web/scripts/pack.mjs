// Packs what is served: `.br` and `.gz` beside each file that gets smaller by it, and build.json with the sources' digest.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, gzipSync } from 'node:zlib'

const [directory, digest] = process.argv.slice(2)
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))

for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !/\.(js|css|html|svg|json|webmanifest)$/.test(entry.name)) continue
  const path = join(entry.parentPath, entry.name)
  const data = readFileSync(path)
  for (const [suffix, packed] of [
    ['.br', brotliCompressSync(data)],
    ['.gz', gzipSync(data, { level: 9 })],
  ]) {
    if (packed.length < data.length) writeFileSync(path + suffix, packed)
  }
}
writeFileSync(join(directory, 'build.json'), `${JSON.stringify({ digest, version })}\n`)
