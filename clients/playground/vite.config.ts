import { defineConfig } from 'vite'

// Everything ends in built/assets under the hash of its content, so that a browser keeps it for good.
export default defineConfig({
  base: './',
  publicDir: false,
  build: {
    outDir: '.cache/built', // scripts/pack.mjs compresses it into built/
    emptyOutDir: true,
    assetsInlineLimit: 0, // no data: URIs, which the page's policy forbids
    modulePreload: false,
    reportCompressedSize: false,
    target: ['chrome123', 'firefox121', 'safari17.5'],
    chunkSizeWarningLimit: 2000,
  },
  server: {
    // npm run dev: the sources, in front of a server that runs already
    proxy: Object.fromEntries(['/v1', '/healthz', '/readyz'].map((path) => [path, 'http://127.0.0.1:8000'])),
  },
})
