// Keeps the page and all it is made of, so that it opens without a server. VERSION and FILES are
// put above by vite.config.mjs. A new version takes over when all tabs of the old one are closed.
const CACHE = `tracker-${VERSION}`;
const SCRIPT = '/client.json'; // the script of the database: the newest there is, for it upgrades what is there
const PATIENCE = 5_000;

self.addEventListener('install', (event) => event.waitUntil((async () => {
  const cache = await caches.open(CACHE);
  await cache.addAll([...FILES, SCRIPT].map((path) => new Request(path, { cache: 'no-cache' })));
})()));

self.addEventListener('activate', (event) => event.waitUntil((async () => {
  for (const name of await caches.keys()) if (name !== CACHE) await caches.delete(name);
  await self.clients.claim();
})()));

async function newest(path) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(path, { cache: 'no-cache', signal: AbortSignal.timeout(PATIENCE) });
    if (response.ok) {
      await cache.put(path, response.clone());
      return response;
    }
  } catch {
    // no line, or no answer
  }
  return await cache.match(path) ?? Response.error();
}
const kept = async (path) => await (await caches.open(CACHE)).match(path) ?? fetch(path);

// requests of sync and of the login are none of its business
self.addEventListener('fetch', (event) => {
  const { origin, pathname } = new URL(event.request.url);
  if (event.request.method !== 'GET' || origin !== location.origin) return;
  if (pathname === SCRIPT) event.respondWith(newest(pathname));
  else if (FILES.includes(pathname)) event.respondWith(kept(pathname));
});
