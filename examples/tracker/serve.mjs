// Serves the built page, the script of the client database, a login, and the hop, on loopback.
// usage: PGHOST=… PGUSER=hop TRACKER_SECRET=hexadecimal node serve.mjs folder client.json [port]
import { createHmac } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { listen, makeHop, readBody } from '../sync/hop.mjs';

const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm', '.json': 'application/json' };
const policy = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; img-src 'self' data:; frame-ancestors 'none'";

// A token for whoever somebody says he is, which will do on loopback: an app has its identity provider here.
// The database knows the secret as key 'tracker'.
const LIFE = 600;
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
function makeToken(sub, secret) {
  const signed = `${encode({ alg: 'HS256', kid: 'tracker' })}.${encode({ sub, exp: Math.floor(Date.now() / 1000) + LIFE })}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}
async function login(request, response, secret) {
  const name = await readBody(request).catch(() => '');
  const isName = request.method === 'POST' && /^[\p{L}\p{N}_-]{1,40}$/u.test(name);
  response.writeHead(isName ? 200 : 400, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' });
  response.end(isName ? makeToken(name, secret) : '');
}

export async function serve({ folder, client, secret, port = 0, connection }) {
  // the files there are, by their addresses: nothing else can be asked for
  const files = new Map(readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name)).map((file) => [`/${file.slice(folder.length + 1)}`, file]));
  files.set('/', join(folder, 'index.html'));
  files.set('/client.json', client);
  const hop = makeHop({ prefix: '/tide', connection });
  const server = await listen(async (request, response) => {
    if (await hop.handle(request, response)) return;
    if (request.url === '/login') return login(request, response, secret);
    const file = files.get(request.url.replace(/\?.*/, ''));
    if (file === undefined) return response.writeHead(404).end();
    response.writeHead(200, { 'content-type': types[extname(file)] ?? 'application/octet-stream', 'cache-control': 'no-cache', 'content-security-policy': policy });
    response.end(readFileSync(file));
  }, port);
  return { server, hop, address: `http://127.0.0.1:${server.address().port}` };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [folder, client, port] = process.argv.slice(2);
  const { address } = await serve({ folder, client, secret: Buffer.from(process.env.TRACKER_SECRET, 'hex'), port: Number(port ?? 0) });
  console.log(`Tracker: ${address}  (two windows, or a private one, are two devices; Ctrl-C ends it)`);
}
