// The loop of examples/sync with two databases and two wires, an unreliable server, and the
// hop against what clients should not send. Prints TAP; the server is where PG* say.
import { spawnSync } from 'node:child_process';
import { webcrypto } from 'node:crypto';
import { getEventListeners } from 'node:events';
import { request as httpRequest } from 'node:http';
import { isDeepStrictEqual } from 'node:util';
import pg from 'pg';
import initSqlite from 'sql.js';
import { PGlite } from '@electric-sql/pglite';
import { listen, makeHop } from '../../examples/sync/hop.mjs';
import { delayAfter, overHttp, overSql, pglite, prepared, sqljs, startSync } from '../../examples/sync/loop.mjs';

// Node 18 does not have it as a global, and libsodium asks for it when it is loaded
globalThis.crypto ??= webcrypto;
const { Encryption } = await import('../../examples/encryption/index.mjs');
const { newDataKey, seal, toColumn, utf8, uuidOf } = await import('../../examples/encryption/envelope.mjs');

let count = 0;
let failed = 0;
function ok(good, name, detail = '') {
  count += 1;
  if (!good) failed += 1;
  console.log(`${good ? 'ok' : 'not ok'} ${count} - ${name}`);
  if (!good) console.log(`# ${detail}`);
}
const same = (actual, expected, name) => ok(isDeepStrictEqual(actual, expected), name, `${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`);

function psql(text) {
  const run = spawnSync('psql', ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1'], { input: text, encoding: 'utf8' });
  if (run.status !== 0) throw new Error(run.stderr);
  return run.stdout.trim();
}
async function until(name, condition, seconds = 30) {
  const started = Date.now();
  for (;;) {
    if (await condition()) return ok(true, name);
    if (Date.now() - started > seconds * 1000) return ok(false, name, `not within ${seconds} s`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}
const later = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

// node:sqlite where Node has it (22.5 or later), else sql.js behind the face that node:sqlite and better-sqlite3 have
const native = await import('node:sqlite').catch(() => null);
class Driver {
  constructor(db) { this.db = db; }
  prepare(text) {
    const { db } = this;
    return {
      get(...values) {
        const statement = db.prepare(text);
        try { statement.bind(values); return statement.step() ? statement.getAsObject() : undefined; } finally { statement.free(); }
      },
      run(...values) { db.run(text, values); return { changes: db.getRowsModified() }; },
    };
  }
}

const { Database } = await initSqlite();
const schemas = Object.fromEntries(['postgres', 'sqlite'].map((d) => [d, psql(`SELECT tide.client_schema('{items}', '${d}')`)]));
psql(`INSERT INTO items VALUES (1, 9007199254740993, 'one')`);

const hop = makeHop({ prefix: '/tide', connection: { user: 'hop' } });
let isUp = true;
const server = await listen((request, response) => (isUp ? hop.handle(request, response) : request.socket.destroy()));
const base = `http://127.0.0.1:${server.address().port}/tide`;
const pool = new pg.Pool({ user: 'hop', max: 4 });
let trips = 0;
const counting = (wire) => ({ ...wire, pull: (...args) => { trips += 1; return wire.pull(...args); } });

// ---- three clients ----
const databases = [await PGlite.create(), new Database(), new Database()];
await databases[0].exec(schemas.postgres);
for (const db of databases.slice(1)) db.exec(schemas.sqlite);
if (native !== null) {
  databases[2] = new native.DatabaseSync(':memory:');
  databases[2].exec(schemas.sqlite);
}
ok(true, `prepared() is over ${native === null ? 'a shim' : 'node:sqlite'}`);
const clients = [pglite(databases[0]), sqljs(databases[1]), prepared(native === null ? new Driver(databases[2]) : databases[2])];
const wires = [overSql((text, values) => pool.query(text, values)), counting(overHttp(base)), overHttp(base)];
const stop = new AbortController();
const states = clients.map(() => []);
const loops = [];
for (const [i, client] of clients.entries()) {
  await client.run(`INSERT INTO tide_subscription (shape) VALUES ('items')`);
  // what the callback throws is not the loop's matter
  const onState = (state) => { states[i].push(state); if (i === 2) throw new Error(`no ${state} here`); };
  loops.push(startSync(client, wires[i], { signal: stop.signal, onState }));
}
const rows = (client) => client.run(client.push.startsWith('SELECT request')
  ? `SELECT group_concat(id || ' ' || n || ' ' || name, ', ') FROM (SELECT * FROM items ORDER BY id) AS i`
  : `SELECT string_agg(id || ' ' || n || ' ' || name, ', ' ORDER BY id) FROM items`);
const all = async (expected) => (await Promise.all(clients.map(rows))).every((text) => text === expected);
const settled = async (client) => (await client.run(`SELECT state || ' ' || pending FROM tide_status`)) === 'synced 0';

await until('every client gets the rows, 64 bits whole', () => all('1 9007199254740993 one'));
psql(`UPDATE items SET n = n + 1`);
await until('news of the server come through the wait', () => all('1 9007199254740994 one'), 10);
for (const [i, client] of clients.entries()) {
  await client.run(`INSERT INTO items (id, n, name) VALUES (${10 + i}, ${i}, 'by ${i}')`);
  loops[i].wake();
}
await until('what clients write reaches the others', () => all('1 9007199254740994 one, 10 0 by 0, 11 1 by 1, 12 2 by 2'), 10);
await until('and is confirmed', async () => (await Promise.all(clients.map(settled))).every(Boolean), 10);
await clients[1].run(`UPDATE items SET name = 'no' WHERE id = 1`);
loops[1].wake();
await until('a refused write is undone and told', async () => (await settled(clients[1]))
  && (await clients[1].run('SELECT code FROM tide_rejected')) === '23514' && all('1 9007199254740994 one, 10 0 by 0, 11 1 by 1, 12 2 by 2'), 10);
trips = 0;
await later(1500);
ok(trips <= 2, 'who waits does not ask', `${trips} pulls in 1.5 s of quiet`);

// ---- a server that is away ----
isUp = false;
server.closeAllConnections();
await until('a lost server is an error in tide_status', async () => (await clients[1].run('SELECT state FROM tide_status')) === 'error', 10);
ok(states[1].includes('failing'), 'and told to the app');
await clients[1].run(`UPDATE items SET name = 'meanwhile' WHERE id = 11`);
loops[1].wake();
trips = 0;
await later(2500);
ok(trips <= 4, 'the loop backs off', `${trips} trips in 2.5 s`);
isUp = true;
await until('and comes back', async () => (await settled(clients[1])) && (await settled(clients[2])));
await until('with what was written meanwhile', () => all('1 9007199254740994 one, 10 0 by 0, 11 1 meanwhile, 12 2 by 2'));
const delays = [1, 2, 3, 5, 6, 60].map((n) => [delayAfter(n, () => 0), delayAfter(n, () => 1)]);
same(delays, [[500, 1000], [1000, 2000], [2000, 4000], [8000, 16000], [15000, 30000], [15000, 30000]], 'delays grow from 1 s to 30 s, by chance half as long');

// ---- the app's own switch ----
loops[0].setOnline(false);
await until('switched off', () => states[0].at(-1) === 'offline', 5);
const state = (client) => client.run('SELECT state FROM tide_status');
await until('and told in tide_status', async () => (await state(clients[0])) === 'offline', 5);
psql(`DELETE FROM items WHERE id = 12`);
await clients[0].run(`DELETE FROM items WHERE id = 10`);
loops[0].wake();
await until('the others go on', async () => (await rows(clients[2])) === '1 9007199254740994 one, 10 0 by 0, 11 1 meanwhile');
same(await rows(clients[0]), '1 9007199254740994 one, 11 1 meanwhile, 12 2 by 2', 'who is off keeps what he has, and his own writes');
loops[0].setOnline(true);
await until('switched on', () => all('1 9007199254740994 one, 11 1 meanwhile'), 10);
await until('and told', async () => (await state(clients[0])) === 'synced', 10);

// ---- pages, and what may be in them ----
const paged = new Database();
paged.exec(schemas.sqlite);
let pages = 0;
const ofPages = {
  pull: async () => {
    pages += 1;
    const change = `{"bucket":1,"table":"public.items","op":"put","op_id":${pages},"key":{"id":${pages}},"row":{"id":${pages},"n":1,"name":{"changes":[]}},"hash":1}`;
    return `{"cookie":{},"checkpoint":{"op_id":${pages}},"complete":${pages === 6},"remaining":${6 - pages},"changes":[${change}],"buckets":[],"drop":[]}`;
  },
  wait: () => new Promise(() => {}),
};
const enough = new AbortController();
const paging = startSync(sqljs(paged), ofPages, { signal: enough.signal });
await until('pages come one after the other, whatever they have', () => pages === 6, 2);
enough.abort();
await paging.ended;

// ---- in between requests and the wire ----
const seen = [];
const gate = new AbortController();
const reader = new Database();
reader.exec(schemas.sqlite);
await sqljs(reader).run(`INSERT INTO tide_subscription (shape) VALUES ('items')`);
await sqljs(reader).run(`INSERT INTO items VALUES (20, 1, 'coded')`);
const tokens = { push: async (t) => { seen.push(JSON.parse(t)); return `{"last_mutation_id": 1, "results": [{"id": 1, "status": "applied"}]}`; },
  pull: async (t) => { seen.push(JSON.parse(t)); return new Promise(() => {}); }, wait: async () => '0' };
const gated = startSync(sqljs(reader), tokens, { signal: gate.signal, token: async () => 'to"ken', encryption: {
  encryptPush: async (t) => t.replace('coded', 'encoded'), preparePull: async (t) => t, decryptAnswer: async (t) => t } });
await until('requests were made', () => seen.length === 2, 5);
same([seen[0]?.token, seen[0]?.mutations[0].values.name, seen[1]?.token], ['to"ken', 'encoded', 'to"ken'], 'tokens and encryption go with every request');
gate.abort();
ok(await Promise.race([gated.ended.then(() => true), later(2000).then(() => false)]), 'a loop can be ended while the server does not answer');

// ---- what may go wrong ----
const quiet = (more) => ({ push: () => new Promise(() => {}), pull: () => new Promise(() => {}), wait: () => new Promise(() => {}), ...more });
function fresh() {
  const db = new Database();
  db.exec(schemas.sqlite);
  return sqljs(db);
}
async function writer() {
  const client = fresh();
  await client.run(`INSERT INTO tide_subscription (shape) VALUES ('items')`);
  await client.run(`INSERT INTO items VALUES (30, 1, 'written')`);
  return client;
}
const answer = JSON.parse(await overHttp(base).pull('{"client": "00000000-0000-4000-8000-00000000000a", "shapes": {"items": [{}]}, "cookie": null}', new AbortController().signal));
const page = JSON.stringify({ ...answer, last_mutation_id: 0, cookie: { ...answer.cookie, client: undefined } });
{
  const end = new AbortController();
  let pushes = 0;
  let told = '';
  startSync(await writer(), quiet({ push: async () => { pushes += 1; return '{"last_mutation_id": 0, "results": []}'; } }),
    { signal: end.signal, onState: (name, problem) => { told = problem?.message ?? told; } });
  await until('an answer that settles nothing is an error', () => told === 'the server says nothing of what it was sent', 5);
  await later(300);
  ok(pushes <= 4, 'and not asked for again at once', `${pushes} pushes`);
  end.abort();
}
{
  const end = new AbortController();
  const client = await writer();
  let isLocked = true;
  const locked = { ...client, run: async (...args) => { if (isLocked) throw new Error('database is locked'); return client.run(...args); } };
  const told = [];
  const loop = startSync(locked, quiet({ push: async () => '{"last_mutation_id": 1, "results": [{"id": 1, "status": "applied"}]}' }),
    { signal: end.signal, onState: (name) => told.push(name) });
  await until('a database that is locked fails', () => told.includes('failing'), 5);
  isLocked = false;
  await until('and is tried again', async () => (await client.run('SELECT state FROM tide_outbox')) === 'acked', 10);
  end.abort();
  await loop.ended;
  same(getEventListeners(end.signal, 'abort').length, 0, 'an ended loop leaves nothing behind');
}
{
  const end = new AbortController();
  const client = await writer();
  const told = [];
  startSync(client, quiet({ pull: async () => page }), { signal: end.signal, onState: (name, problem) => told.push(problem?.message ?? name),
    encryption: { encryptPush: async () => { throw new Error('there is no key'); }, preparePull: async (t) => t, decryptAnswer: async (t) => t } });
  await until('what cannot be encrypted is an error', () => told.includes('there is no key'), 5);
  same(await client.run('SELECT count(*) > 1 FROM items'), 1, 'but news arrive');
  end.abort();
}
{
  const end = new AbortController();
  const told = [];
  const loop = startSync(await writer(), quiet(), { signal: end.signal, token: () => new Promise(() => {}), onState: (name) => told.push(name) });
  await until('a token is waited for', () => told.includes('syncing'), 5);
  loop.setOnline(false);
  await until('but not when the line goes', () => told.at(-1) === 'offline', 5);
  end.abort();
}
{
  const end = new AbortController();
  const asked = [];
  const client = await writer();
  let release;
  const loop = startSync(client, quiet({ push: async (t) => { asked.push(t); const { mutations } = JSON.parse(t); return JSON.stringify({ last_mutation_id: mutations.at(-1).id, results: mutations.map(({ id }) => ({ id, status: 'applied' })) }); },
    pull: () => new Promise((resolve) => { release = () => resolve(page); }) }), { signal: end.signal, before: (call) => call('push', '{"mutations": [{"id": 0}]}') });
  await until('what comes before a trip is sent by the same line', () => asked.length === 2 && release !== undefined, 5);
  same([asked[0], JSON.parse(asked[1]).mutations[0].id], ['{"mutations": [{"id": 0}]}', 1], 'and without a token, requests stay as they are');
  await client.run(`INSERT INTO items VALUES (31, 1, 'meanwhile')`);
  loop.wake();
  release();
  await until('what is written while an answer is awaited is sent next', () => asked.some((t) => t.includes('meanwhile')), 5);
  end.abort();
}
const slow = await listen(async (request, response) => {
  response.writeHead(200, { 'content-type': 'application/json' });
  for (let i = 0; i < 6 && !request.url.endsWith('wait'); i += 1) {
    response.write('[');
    await later(500);
  }
  if (!request.url.endsWith('wait')) response.end(']');
});
const impatient = overHttp(`http://127.0.0.1:${slow.address().port}`, fetch, 2_000);
const never = new AbortController().signal;
same(await impatient.pull('{}', never), '[[[[[[]', 'a slow line is waited for');
ok(await Promise.race([impatient.wait('1', never).then(() => false, () => true), later(15_000).then(() => false)]), 'a server that falls silent is not');
slow.closeAllConnections();
slow.close();

// ---- encrypted columns: two devices with one key, and one without ----
const dataKey = newDataKey();
const letters = psql(`SELECT tide.client_schema('{letters}', 'sqlite')`);
const ends = new AbortController();
const people = [];
for (const hasKey of [true, true, false]) {
  const db = new Database();
  db.exec(letters);
  const client = sqljs(db);
  await client.run(`INSERT INTO tide_subscription (shape) VALUES ('letters')`);
  const keyring = { keyOf: () => (hasKey ? dataKey : undefined), key: (id) => (hasKey && id === uuidOf(dataKey) ? dataKey : undefined) };
  const tables = { 'public.letters': { columns: { text: 'text' }, scope: 'all' } };
  people.push({ client, loop: startSync(client, overHttp(base), { signal: ends.signal, encryption: new Encryption({ keyring, tables }) }) });
}
await people[0].client.run(`INSERT INTO letters (id, n, text) VALUES (1, 9007199254740993, 'hélas')`);
await people[0].client.run(`UPDATE letters SET text = 'enfin' WHERE id = 1`);
people[0].loop.wake();
const letter = ({ client }) => client.run(`SELECT id || ' ' || n || ' ' || coalesce(text, 'nothing') FROM letters`);
await until('who has the key reads what another has written', async () => (await letter(people[1])) === '1 9007199254740993 enfin', 10);
await until('who has none does not', async () => (await letter(people[2])) === '1 9007199254740993 nothing', 10);
await until('the writer is in sync, and nothing was refused', async () => (await people[0].client.run(`SELECT state || pending || rejected FROM tide_status`)) === 'synced00', 10);
same(psql(`SELECT tide.is_envelope(text), n FROM letters`), 't|9007199254740993', 'the server has an envelope');
ends.abort();
{
  const known = new Map();
  const encryption = new Encryption({ keyring: { key: (id) => known.get(id), keyOf: () => undefined }, tables: { 'public.letters': { columns: { text: 'text' }, scope: 'all' } } });
  const text = toColumn(seal(utf8('late'), dataKey, 'public.letters', 'text', { id: 1 }), 'text');
  const late = JSON.stringify({ changes: [{ bucket: 7, table: 'public.letters', op: 'put', key: { id: 1 }, row: { id: 1, text } }] });
  const asks = () => JSON.parse(encryption.preparePull('{"shapes": {}}')).resync;
  encryption.decryptAnswer(late);
  const before = asks();
  known.set(uuidOf(dataKey), dataKey);
  const once = asks();
  const again = asks(); // the answer was lost
  const value = JSON.parse(encryption.decryptAnswer(late)).changes[0].row.text;
  same([before, once, again, value, asks()], [undefined, [7], [7], 'late', undefined], 'a bucket whose key came late is asked for until an answer is here');
}

// what is offline from the start sends nothing, nor what is cut before it has sent
const sent = [];
const silent = { push: async () => { sent.push('push'); }, pull: async () => { sent.push('pull'); }, wait: async () => { sent.push('wait'); } };
const offline = [{ online: false }, {}].map((options) => startSync(sqljs(reader), silent, options));
offline[1].setOnline(false);
const cut = new AbortController();
cut.abort();
const refused = await overHttp(base).pull('{"shapes": {}}', cut.signal).then(() => 'answered', () => 'cut');
await later(500);
same([sent, refused], [[], 'cut'], 'nothing is sent once the line is cut');

// ---- the hop ----
async function post(path, body, headers = {}) {
  const response = await fetch(`${base}${path}`, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });
  const text = await response.text();
  return [response.status, text === '' ? null : JSON.parse(text)];
}
const [status, error] = await post('/pull', '{"shapes": {"nothing": [{}]}}');
same([status, error.code, typeof error.message], [400, '42704', 'string'], 'errors are JSON with code and message');
same((await post('/pull', 'no JSON'))[1].code, '22P02', 'what is no JSON is refused by the server');
same((await post('/pull', '\u0000'))[0] >= 400, true, 'and so are zero bytes');
same((await post('/wait', '1; DROP TABLE items'))[1].code, '22P02', 'values are only values');
same((await post('/drop', '{}'))[0], 404, 'there is nothing else');
same((await post('/toString', '{}'))[0], 404, 'of whatever name');
same((await post('/pull', '{}', { 'content-type': 'text/plain' }))[0], 415, 'pages of other sites cannot send');
same((await fetch(`${base}/pull`)).status, 405, 'GET is nothing');
const big = await post('/push', ' '.repeat(17 * 2 ** 20)).catch((e) => [413, e.message]);
same(big[0], 413, 'a request has a limit');
const foreign = await new Promise((resolve, reject) => {
  httpRequest(`${base}/pull`, { method: 'POST', headers: { host: 'elsewhere.example' } }, (r) => { r.resume(); resolve(r.statusCode); }).on('error', reject).end('{}');
});
same(foreign, 403, 'a foreign name that leads here is refused');
same(server.address().address, '127.0.0.1', 'it listens on loopback');
const closed = makeHop({ prefix: '/tide', connection: { port: 1 } });
const noDatabase = await listen(closed.handle);
const away = await fetch(`http://127.0.0.1:${noDatabase.address().port}/tide/pull`, { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } });
same([away.status, await away.json()], [503, { code: '08006', message: 'the database cannot be reached' }], 'a database that is away is told, its place is not');

stop.abort();
ok(await Promise.race([Promise.all(loops.map((l) => l.ended)).then(() => true), later(3000).then(() => false)]), 'all loops end');
noDatabase.close();
server.closeAllConnections();
server.close();
console.log(`1..${count}`);
process.exit(failed === 0 ? 0 : 1);
