import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

export default defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  logLevel: 'error',
  worker: { format: 'es' },
  build: { target: 'esnext', emptyOutDir: true, chunkSizeWarningLimit: 4096, assetsInlineLimit: 0 },
});
