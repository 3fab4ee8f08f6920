// An HTTP hop to pg_tide: POST /push, /pull and /wait, with the request as the body and the
// answer as the response. It verifies nothing: pg_tide checks tokens itself, and the role of the
// connection may do no more than pull, push and wait. A proxy in front of it brings TLS.
// Statements are prepared, which saves a third of what a small pull costs the server; PREPARE=no (or prepare: false) is
// for connections through a pooler that forgets them: pgbouncer before 1.21 in transaction mode.
//
//   PGHOST=… PGUSER=hop node hop.mjs 8080
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';
import pg from 'pg';

const MAX_BYTES = 16 * 2 ** 20;
const statements = {
  push: 'SELECT tide.push($1::jsonb)::text AS answer',
  pull: 'SELECT tide.pull($1::jsonb)::text AS answer',
  wait: 'SELECT tide.wait($1::bigint)::text AS answer',
};

const refusal = (status, code, message) => Object.assign(new Error(message), { status, code });

export async function readBody(request) {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > MAX_BYTES) throw refusal(413, '54000', 'request is too large');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

// what clients may be told: errors of the database, not those of this machine
function toRefusal(error) {
  if (error.status) return error;
  if (typeof error.severity !== 'string') return refusal(503, '08006', 'the database cannot be reached');
  const group = error.code.slice(0, 2);
  if (group === 'XX' || group === '58') return refusal(500, error.code, 'internal error');
  const status = error.code === '28000' ? 401 : ['08', '40', '53', '55', '57'].includes(group) ? 503 : 400;
  return refusal(status, error.code, error.message);
}

// Gives { handle(request, response), close() }. handle answers true if the path was its own.
export function makeHop({ prefix = '', connection = {}, prepare = true } = {}) {
  const options = { application_name: 'hop', connectionTimeoutMillis: 10_000, statement_timeout: 30_000, ...connection };
  const pool = new pg.Pool({ max: 10, ...options });
  const waiters = new pg.Pool({ max: 10, ...options });
  for (const each of [pool, waiters]) each.on('error', () => {}); // an idle connection was lost: the next one is new
  const waits = new Map(); // clients that wait for the same op_id share one connection

  const query = (kind, body) => ({ text: statements[kind], values: [body], ...(prepare && { name: `tide_${kind}` }) });
  async function ask(kind, body) {
    if (kind !== 'wait') return (await pool.query(query(kind, body))).rows[0].answer;
    if (!waits.has(body)) {
      waits.set(body, waiters.query(query('wait', body)).finally(() => waits.delete(body)));
    }
    return (await waits.get(body)).rows[0].answer;
  }

  async function answer(request) {
    const kind = request.url.slice(prefix.length + 1);
    if (!Object.hasOwn(statements, kind)) throw refusal(404, '42883', 'push, pull and wait are all there is');
    if (request.method !== 'POST') throw refusal(405, '0A000', 'use POST');
    // pages of other sites cannot send this type without asking, and are not answered when they ask
    if (!/^application\/json\b/.test(request.headers['content-type'] ?? '')) throw refusal(415, '0A000', 'content-type must be application/json');
    return ask(kind, await readBody(request));
  }

  async function handle(request, response) {
    if (!request.url.startsWith(`${prefix}/`)) return false;
    let [status, text] = [200, ''];
    try {
      text = await answer(request);
    } catch (error) {
      const { status: number, code, message } = toRefusal(error);
      [status, text] = [number, JSON.stringify({ code, message })];
    }
    response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store', ...(status === 413 && { connection: 'close' }) });
    response.end(text);
    return true;
  }

  return { handle, close: () => Promise.all([pool.end(), waiters.end()]) };
}

// on loopback only, and for names of loopback only: a name of another site that leads here is refused
export function listen(handle, port = 0) {
  const server = createServer((request, response) => {
    if (/^(127\.0\.0\.1|localhost)(:\d+)?$/.test(request.headers.host ?? '')) return handle(request, response);
    response.writeHead(403).end();
  });
  return new Promise((resolve, reject) => {
    server.on('error', reject).listen(port, '127.0.0.1', () => resolve(server));
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const hop = makeHop({ prepare: process.env.PREPARE !== 'no' });
  const server = await listen(hop.handle, Number(process.argv[2] ?? 8080));
  console.log(`http://127.0.0.1:${server.address().port}`);
}
