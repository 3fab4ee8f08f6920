import { defineConfig } from 'vite';

export default defineConfig({
  root: import.meta.dirname,
  logLevel: 'error',
  worker: { format: 'es' },
  build: { target: 'esnext', emptyOutDir: true, chunkSizeWarningLimit: 4096, assetsInlineLimit: 0 },
});
