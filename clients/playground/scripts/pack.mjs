// Turns what Vite built into what the server serves: built/, with text compressed and a manifest.
//
//   node scripts/pack.mjs            writes built/
//   node scripts/pack.mjs --sources  prints the hash of the sources alone
//
// Text is kept as .br and .gz only: every browser takes one of them, and the server unpacks for whoever takes neither.
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const SOURCES = ['index.html', 'package-lock.json', 'scripts/pack.mjs', 'tsconfig.json', 'vite.config.ts', 'src', 'samples']
const PACKED = /\.(html|js|mjs|css|svg|wasm)$/
const SAMPLE = /\.(png|pdf|mp4|webp)$/

const sha256 = (data) => createHash('sha256').update(data).digest('hex')

function filesIn(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

/** One hash of all sources: of lines `sha256 path`, sorted by path. */
function sourcesHash() {
  const paths = SOURCES.flatMap((name) => (/\./.test(name) ? [join(ROOT, name)] : filesIn(join(ROOT, name))))
    .map((path) => relative(ROOT, path).replaceAll('\\', '/'))
    .filter((path) => !path.startsWith('samples/') || SAMPLE.test(path))
    .sort()
  return sha256(paths.map((path) => `${sha256(readFileSync(join(ROOT, path)))} ${path}\n`).join(''))
}

function pack() {
  const from = join(ROOT, '.cache/built')
  const to = join(ROOT, 'built')
  rmSync(to, { recursive: true, force: true })
  const files = {}
  for (const path of filesIn(from)) {
    const name = relative(from, path).replaceAll('\\', '/')
    const data = readFileSync(path)
    files[name] = { bytes: data.length, sha256: sha256(data) }
    mkdirSync(dirname(join(to, name)), { recursive: true })
    if (!PACKED.test(name)) {
      writeFileSync(join(to, name), data)
      continue
    }
    const brotli = brotliCompressSync(data, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: data.length } })
    const gzip = gzipSync(data, { level: 9 })
    writeFileSync(join(to, `${name}.br`), brotli)
    writeFileSync(join(to, `${name}.gz`), gzip)
    Object.assign(files[name], { br: brotli.length, gz: gzip.length })
  }
  const sorted = Object.fromEntries(Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1)))
  writeFileSync(join(to, 'manifest.json'), `${JSON.stringify({ sources: sourcesHash(), files: sorted }, null, 1)}\n`)
}

if (process.argv.includes('--sources')) console.log(sourcesHash())
else pack()
