import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

// the service worker keeps all files of this build; their names and the page are its version
const serviceWorker = {
  name: 'service-worker',
  writeBundle({ dir }) {
    const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(dir.length + 1)).filter((file) => file !== 'sw.js').sort();
    const paths = JSON.stringify(['/', ...files.filter((file) => file !== 'index.html').map((file) => `/${file}`)]);
    const version = createHash('sha256').update(paths).update(readFileSync(join(dir, 'index.html'))).digest('hex').slice(0, 16);
    const source = readFileSync(new URL('./src/sw.js', import.meta.url), 'utf8');
    writeFileSync(join(dir, 'sw.js'), `const VERSION = '${version}';\nconst FILES = ${paths};\n${source}`);
  },
};

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  logLevel: 'error',
  plugins: [serviceWorker],
  worker: { format: 'es' },
  build: { target: 'esnext', emptyOutDir: true, chunkSizeWarningLimit: 4096, assetsInlineLimit: 0 },
});
