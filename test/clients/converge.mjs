// What converge.pl says: 20 clients, a line that cannot be relied on, a server that dies. Prints TAP; "crash worker"
// (backend, postmaster) on a line of its own asks for just that. The server is where PG* say.
// usage: node converge.mjs scratch-folder seed mutations crashes
import { mkdirSync, writeFileSync } from 'node:fs';
import pg from 'pg';
import { PgliteClient, SqliteProcess } from './clients.mjs';
import { Client, copy, effect, keyOf, plainName, same, sorted, statement, tables } from './converge.client.mjs';
import { answerProblems, lawProblems, sumProblems } from './converge.laws.mjs';
import { faults } from './converge.faults.mjs';

const [scratch, seedText, mutationsText, crashesText] = process.argv.slice(2);
let seed = Number(seedText) >>> 0;
const wanted = Number(mutationsText);
const crashes = Number(crashesText);
const size = Number(process.env.TIDE_CLIENTS ?? 20);
const fault = faults(process.env.TIDE_CLIENT_FAULT);

// mulberry32: the same numbers for the same seed
function random(n) {
  seed = (seed + 0x6d2b79f5) >>> 0;
  let t = seed;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) % n;
}
const pick = (list) => list[random(list.length)];
const chance = (percent) => random(1000) < percent * 10;
const later = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });
const hex = (digits) => Array.from({ length: digits }, () => random(16).toString(16)).join('');

let tests = 0;
let failed = 0;
function ok(problems, name) {
  tests += 1;
  if (problems.length > 0) failed += 1;
  console.log(`${problems.length === 0 ? 'ok' : 'not ok'} ${tests} - ${name}`);
  for (const text of problems.slice(0, 12)) console.log(`# ${text}`);
  if (problems.length > 12) console.log(`# … ${problems.length} in all`);
}

// ---- the server ----
const pools = Object.fromEntries([['app', 8], ['postgres', 2]].map(([user, max]) => {
  const pool = new pg.Pool({ user: user === 'app' ? 'app' : undefined, max });
  pool.on('error', () => {});
  return [user, pool];
}));
const passing = /^(40001|40P01|57P0[1-3]|25006|53300|08...)$|^ECONN|^ENOENT|^EPIPE/;
const isPassing = (error) => passing.test(error.code ?? '') || /terminated|Connection|timeout/i.test(error.message);
const count = {};
const tally = (what) => { count[what] = (count[what] ?? 0) + 1; };
const problems = [];

async function server(text) {
  for (let tries = 0; ; tries++) {
    try {
      return Object.values((await pools.postgres.query(text)).rows[0] ?? {})[0];
    } catch (error) {
      if (!isPassing(error) || tries > 300) throw error;
      await later(200);
    }
  }
}

// what was sent under each id, and what the server said of it, whether the client was told or not
const bodies = new Map();
const results = new Map();
function noteSent(request) {
  const { client, mutations } = JSON.parse(request);
  for (const mutation of mutations) {
    if (mutation.op) mutation.table = plainName(mutation.table);
    const id = `${client} ${mutation.id}`;
    const isNothing = mutation.op === 'update' && same(mutation.values, {});
    const entry = bodies.get(id) ?? { real: [], nothing: false };
    bodies.set(id, entry);
    if (isNothing) entry.nothing = true;
    else if (!entry.real.some((m) => same(m, mutation))) entry.real.push(mutation);
  }
}
function noteResults(request, answer) {
  const { client } = JSON.parse(request);
  const answered = JSON.parse(answer);
  for (const { id, status, code, columns, message } of answered.results) {
    if (code === '22023') problems.push(`${client} ${id} was refused: ${message}`);
    const result = { status, code, columns };
    const known = results.get(`${client} ${id}`);
    if (known && !same(known, result)) problems.push(`${client} ${id}: answered ${JSON.stringify(known)}, then ${JSON.stringify(result)}`);
    results.set(`${client} ${id}`, result);
  }
}

const flying = new Set();
// a request on its way; its answer waits at the client, to be taken or lost
function send(client, kind, request) {
  if (kind === 'push') noteSent(request);
  const claimed = fault.request(kind, request.replace('{', `{"claims": ${JSON.stringify(client.claims)}, `));
  const trip = pools.app.query(`SELECT tide.${kind}($1::jsonb)::text AS answer`, [claimed]).then(({ rows }) => {
    const answer = fault.answer(kind, rows[0].answer);
    if (kind === 'push') noteResults(request, rows[0].answer);
    client.arrived.push({ kind, answer, request });
  }, (error) => {
    tally(`error ${error.code ?? 'connection'}`);
    if (!isPassing(error)) problems.push(`${client.name}: ${kind} failed with ${error.code} ${error.message}: ${request.slice(0, 1500)}`);
  }).finally(() => flying.delete(trip));
  flying.add(trip);
  return trip;
}

// ---- clients ----
async function makeClients() {
  const scripts = {};
  for (const dialect of ['sqlite', 'postgres']) {
    scripts[dialect] = `${scratch}/converge_${dialect}.sql`;
    writeFileSync(scripts[dialect], fault.script(dialect, await server(`SELECT tide.client_schema('{tree,shelf,marks,accounts}', '${dialect}')`)));
  }
  const first = await PgliteClient.create(scripts.postgres);
  await first.sql(`SET timezone = 'UTC'`);
  const dump = await first.db.dumpDataDir('none');
  const clients = [];
  for (let i = 0; i < size; i++) {
    let db;
    if (i % 2 === 1) {
      db = await SqliteProcess.create(scripts.sqlite, `${scratch}/client${i}.db`);
    } else if (i === 0) {
      db = first;
    } else {
      const folder = i <= 4 ? `${scratch}/client${i}` : undefined;
      if (folder) mkdirSync(folder);
      db = await PgliteClient.copy(dump, folder);
    }
    const client = new Client(`${'abcdefghijklmnopqrst'[i]}`, db, { team: 1 + Math.floor(i / 2) % 2 });
    client.uuid = `${hex(8)}-0000-4000-8000-${hex(12)}`;
    // some clocks are ahead
    await db.sql(`UPDATE tide_client SET client = '${client.uuid}', clock = ${chance(30) ? (Date.now() + random(3000)) * 65536 : 0}`);
    const set = Math.floor(i / 2) % 5;
    const wants = { tree: [[1], [2], [1, 2], [1], [2]][set], shelf: [[], [1], [2], [2, 3], [1]][set] };
    await db.sql(`INSERT INTO tide_subscription (shape) VALUES ('marks'), ('accounts')`);
    for (const team of wants.tree) await subscribe(client, 'tree', team);
    for (const shelf of wants.shelf) await subscribe(client, 'shelf', shelf);
    client.snap = await client.snapshot();
    clients.push(client);
  }
  return clients;
}

async function subscribe(client, shape, value) {
  const set = client.params[shape];
  const params = `{"${shape === 'tree' ? 'team' : 'shelf'}": ${value}}`;
  if (set.delete(value)) return client.db.sql(`DELETE FROM tide_subscription WHERE shape = '${shape}' AND params = '${params}'`);
  set.add(value);
  return client.db.sql(`INSERT INTO tide_subscription (shape, params) VALUES ('${shape}', '${params}')`);
}

// ---- what apps write ----
const any = (rows) => (rows.size === 0 ? undefined : pick([...rows.values()]));
const call = () => ({ op: 'call', table: chance(5) ? 'transfre' : 'transfer', set: { source: 1 + random(6), target: 1 + random(6), amount: chance(4) ? 'all' : 1 + random(20) } });

function docWrite(client, view, columns) {
  const row = any(view.docs);
  if (!row) return undefined;
  const set = {};
  for (const column of columns ?? Array.from({ length: 1 + random(3) }, () => pick(['title', 'hits', 'hits', 'kept', 'guarded', 'tags', 'labels', 'stamp', 'voice', 'best', 'shelf']))) {
    if (column === 'hits') set.hits = row.hits + (random(21) - 8 || 3);
    else if (column === 'best') set.best = random(1000000);
    else if (column === 'shelf') set.shelf = 1 + random(3);
    else if (column === 'project') set.project = 1 + random(4);
    else if (column === 'tags' || column === 'labels') {
      const list = row[column] ?? [];
      const gone = chance(20 + 5 * list.length) ? random(list.length + 1) : -1;
      set[column] = [...list.filter((e, i) => i !== gone), ...(gone < 0 || chance(40) ? [client.unique()] : [])];
    } else set[column] = chance(3) && column === 'title' ? 'bad' : client.unique();
  }
  return { op: 'update', table: 'docs', key: { id: row.id }, set };
}

function noteWrite(client, view) {
  const doc = chance(4) ? 9999 : any(view.docs)?.id ?? 1;
  const old = chance(60) ? any(view.notes) : undefined;
  const key = old ? { doc: old.doc, p: old.p } : { doc, p: pick(['n0', 'n1', 'n2', `o'n`, 'ñ "x"']) };
  const set = { body: chance(5) ? 'bad' : client.unique() };
  if (chance(20)) return { op: view.notes.has(keyOf('notes', key)) ? 'update' : 'insert', table: 'notes', key, set, upsert: true };
  if (!view.notes.has(keyOf('notes', key))) return { op: 'insert', table: 'notes', key, set };
  return chance(35) ? { op: 'delete', table: 'notes', key } : { op: 'update', table: 'notes', key, set };
}

function markWrite(client, view) {
  const id = 1 + random(16);
  const set = { v: client.unique() };
  if (!view.marks.has(`[${id}]`)) return { op: 'insert', table: 'marks', key: { id }, set: { team: 1 + id % 2, ...set } };
  return chance(40) ? { op: 'delete', table: 'marks', key: { id } } : { op: 'update', table: 'marks', key: { id }, set };
}

function newDoc(client) {
  client.docs = (client.docs ?? 0) + 1;
  const id = 1000 * (client.name.charCodeAt(0) - 96) + client.docs;
  const set = { project: 1 + random(4), shelf: 1 + random(3), title: chance(15) ? 'bad' : client.unique(), kept: client.unique(), guarded: client.unique(),
    hits: random(9), tags: [client.unique(), client.unique()], best: random(1000) };
  for (const column of ['shelf', 'tags']) if (chance(30)) delete set[column];
  // without it the view shows what the server will not have
  return { op: 'insert', table: 'docs', key: { id }, set };
}

function anyWrite(client, view) {
  const what = random(100);
  if (what < 56) return docWrite(client, view);
  if (what < 74) return noteWrite(client, view);
  if (what < 86) return markWrite(client, view);
  if (what < 91) return newDoc(client);
  if (what < 94) return docWrite(client, view, ['project']);
  if (what < 95) return view.docs.size > 3 ? { op: 'delete', table: 'docs', key: { id: any(view.docs).id } } : undefined;
  if (what < 97) return view.projects.size > 0 ? { op: 'update', table: 'projects', key: { id: any(view.projects).id }, set: { s: client.unique() } } : undefined;
  return call();
}

async function write(client) {
  const { view } = client.snap;
  if (chance(3)) {
    const row = any(view.docs);
    if (row) await client.refuse(pick([`INSERT INTO docs (id, project) VALUES (${row.id}, 1)`, `UPDATE docs SET id = ${row.id + 1} WHERE id = ${row.id}`, `INSERT INTO notes (doc, body) VALUES (${row.id}, 'x')`]));
    return 0;
  }
  if (chance(5)) {
    // many rows by one statement
    const rows = [...view.docs.values()].filter((r) => r.shelf === 2);
    const tail = client.unique();
    return client.write([{ sql: `UPDATE docs SET title = '${tail}/' || id, hits = hits + 1 WHERE shelf = 2`,
      rows: rows.map((r) => ({ op: 'update', table: 'docs', key: { id: r.id }, set: { title: `${tail}/${r.id}`, hits: r.hits + 1 } })) }], { isGroup: chance(50) });
  }
  const isGroup = chance(12);
  const after = copy(view);
  const writes = [];
  for (let n = 1 + random(isGroup ? 4 : 3); n > 0; n--) {
    const next = anyWrite(client, after);
    if (!next) continue;
    effect(after, next);
    writes.push(next);
  }
  return client.write(writes, { isGroup });
}

// a transaction of an app that knows nothing of pg_tide; clocks of even documents are the clients' alone
let serverWrites = 0;
function writeOnServer() {
  const parts = Array.from({ length: 1 + random(3) }, () => {
    const value = `'s.${++serverWrites}'`;
    const doc = 1 + 2 * random(6);
    return pick([`UPDATE docs SET hits = hits + ${1 + random(5)} WHERE id = ${doc}`, `UPDATE docs SET kept = ${value} WHERE id = ${doc}`,
      `UPDATE docs SET guarded = ${value} WHERE id = ${doc}`, `UPDATE docs SET tags = tags || ${value}::text WHERE id = ${doc}`,
      `UPDATE docs SET tags = tags[2:], labels = labels - 0 WHERE id = ${doc}`, `UPDATE docs SET stamp = ${value}, voice = ${value} WHERE id = ${doc}`,
      `UPDATE docs SET best = greatest(best, ${random(1000000)}) WHERE id = ${doc}`, `UPDATE docs SET title = ${value}, project = 1 + ${random(4)} WHERE id = ${doc}`,
      `UPDATE projects SET team = 1 + ${random(2)} WHERE id = 1 + ${random(4)}`, `DELETE FROM notes WHERE doc = ${doc} AND p = 'n1'`,
      `INSERT INTO notes VALUES (${doc}, 'n${random(3)}', ${value}) ON CONFLICT (doc, p) DO UPDATE SET body = excluded.body`]);
  });
  // refused by a constraint, or cut off: nobody's business
  const trip = pools.postgres.query(`BEGIN; ${parts.join('; ')}; COMMIT`).catch(() => pools.postgres.query('ROLLBACK').catch(() => {})).finally(() => flying.delete(trip));
  flying.add(trip);
  tally('others');
}

// ---- the line ----
async function request(client) {
  if (client.isOffline || flying.size > 12) return;
  const kind = chance(55) ? 'push' : 'pull';
  const text = kind === 'push' ? await client.db.pushRequest() : await client.db.pullRequest();
  if (text === null) return;
  // a resync would hide from the laws that the client had a bucket wrong
  if (kind === 'pull' && JSON.parse(text).resync) client.problem(`its buckets are damaged: ${text}`);
  if (chance(8)) { tally('requests lost'); return; }
  send(client, kind, text);
  if (chance(12)) { tally('doubled'); send(client, kind, text); }
}

async function deliver(client) {
  if (client.arrived.length === 0) return;
  const at = chance(50) ? 0 : random(client.arrived.length);
  const arrival = client.arrived[at];
  if (chance(8)) {
    tally('taken again');
  } else {
    client.arrived.splice(at, 1);
  }
  if (chance(10)) { tally('answers lost'); return; }
  await client.take({ ...arrival, isKilled: chance(4) ? 1 + random(4) : 0 });
  tally(`${arrival.kind}es taken`);
}

async function deal(client) {
  const { rejected } = client.snap;
  if (rejected.length === 0) return 0;
  const { tx, id } = pick(rejected);
  // by the way, what was refused for good is forgotten rather than tried for ever
  const isRetry = chance(40);
  tally(isRetry ? 'retries' : 'discards');
  return client.deal(isRetry, rejected.filter((r) => (tx === null ? r.id === id : r.tx === tx)));
}

async function restart(client) {
  await client.restart(`UPDATE docs SET title = 'never', hits = 0; DELETE FROM notes`);
  tally('clients killed');
}

async function run(clients) {
  let written = 0;
  let crashed = 0;
  while (written < wanted && clients.every((c) => c.problems.length === 0) && problems.length === 0) {
    const client = pick(clients);
    const what = random(1000);
    if (what < 320) { if (client.intents.length < 40) written += await write(client); }
    else if (what < 620) await request(client);
    else if (what < 900) await deliver(client);
    else if (what < 940) writeOnServer();
    else if (what < 965) written += await deal(client);
    else if (what < 980) client.isOffline = !client.isOffline;
    else if (what < 995) {
      if (chance(65)) await subscribe(client, 'shelf', 3);
      else await client.db.sql(`UPDATE tide_client SET page_limit = ${pick(['NULL', 3, 10, 50])}`);
      client.snap = await client.snapshot();
    }
    else await restart(client);
    if (flying.size > 6) await Promise.race(flying);
    else await later(0);
    if (crashed < crashes && written >= (wanted * (crashed + 0.6)) / crashes) console.log(`crash ${['worker', 'postmaster', 'backend'][crashed++ % 3]}`);
  }
}

// until nothing is left to send or to come
async function settle(client) {
  client.isOffline = false;
  for (let tries = 0; tries < 600; tries++) {
    const push = await client.db.pushRequest();
    await send(client, ...(push === null ? ['pull', await client.db.pullRequest()] : ['push', push]));
    if (client.arrived.length === 0) await later(100);
    while (client.arrived.length > 0) await client.take(client.arrived.shift());
    if (push === null && client.snap.status.state === 'synced' && client.snap.outbox.length === 0) return;
    if (problems.length > 0) return;
  }
  problems.push(`${client.name} does not come to rest: ${JSON.stringify(client.snap.status)}`);
}

function entitled(client, now) {
  const view = Object.fromEntries(Object.keys(tables).map((t) => [t, new Map()]));
  for (const [id, row] of now.projects) if (client.params.tree.has(row.team)) view.projects.set(id, row);
  for (const [id, row] of now.docs) if (view.projects.has(`[${row.project}]`) || client.params.shelf.has(row.shelf)) view.docs.set(id, row);
  // those of a shelf come alone
  for (const [id, row] of now.notes) if (view.projects.has(`[${now.docs.get(`[${row.doc}]`).project}]`)) view.notes.set(id, row);
  for (const [id, row] of now.marks) if (row.team === client.claims.team) view.marks.set(id, row);
  view.accounts = now.accounts;
  return view;
}

async function judge(clients) {
  const all = Object.keys(tables).map((t) => `'${t}', (SELECT coalesce(json_agg(r.*), '[]') FROM ${t} AS r)`).join(', ');
  const { history, transfers, differences, ...rows } = JSON.parse(await server(`SELECT json_build_object(${all},
    'history', (SELECT coalesce(json_agg(h ORDER BY seq), '[]') FROM history AS h), 'transfers', (SELECT coalesce(json_agg(t), '[]') FROM transfers AS t),
    'differences', (SELECT coalesce(json_agg(d), '[]') FROM (
      SELECT to_jsonb(v) FROM generate_series(1, 3) AS n, tide.verify('tree', jsonb_build_object('team', n), '{}') AS v
      UNION ALL SELECT to_jsonb(v) FROM generate_series(1, 3) AS n, tide.verify('shelf', jsonb_build_object('shelf', n), '{}') AS v
      UNION ALL SELECT to_jsonb(v) FROM generate_series(1, 2) AS n, tide.verify('marks', '{}', jsonb_build_object('team', n)) AS v
      UNION ALL SELECT to_jsonb(v) FROM tide.verify('accounts', '{}', '{}') AS v) AS d))::text`));
  const now = Object.fromEntries(Object.keys(tables).map((t) => [t, new Map(rows[t].map((r) => [keyOf(t, r), r]))]));
  ok(differences.map((d) => JSON.stringify(d)), 'tide.verify finds nothing');
  ok(clients.flatMap((c) => c.differences(c.snap.view, entitled(c, now)).map((text) => `${c.name} (${c.db.kind}): ${text}`)), 'clients have the rows they are entitled to');
  ok(clients.filter(({ snap, intents }) => snap.outbox.length > 0 || intents.length > 0 || snap.status.state !== 'synced').map((c) => c.name), 'nothing is pending');
  const groups = new Map();
  for (const c of clients) {
    const params = JSON.stringify([[...c.params.tree].sort(), [...c.params.shelf].sort(), c.claims]);
    groups.set(params, [...(groups.get(params) ?? []), c]);
  }
  ok([...groups.values()].flatMap(([one, ...others]) => others.filter((c) => !same(c.snap.view, one.snap.view)).map((c) => `${c.name} and ${one.name}`)), 'clients that ask for the same have the same');

  // of an id under which nothing was sent as well, as its write fell with another, the effects tell which came first
  const done = new Set([...history, ...transfers].filter((e) => e.client !== null).map((e) => `${e.client} ${e.mutation}`));
  const sent = (client, id) => {
    const { real, nothing } = bodies.get(`${client} ${id}`) ?? { real: [] };
    return nothing && !done.has(`${client} ${id}`) ? [] : real;
  };
  const facts = { history, sent, results, now, accounts: rows.accounts, transfers };
  ok(lawProblems(facts), 'each change of a row is what its policy says, and each write acknowledged is there once');
  ok(sumProblems(facts), 'counters and balances are the sums of what was acknowledged');
  ok(answerProblems(facts), 'answers are those there may be, groups have one fate');
  const told = clients.flatMap((c) => [...c.refused.values()].filter((i) => results.get(`${c.uuid} ${i.id}`)?.status === undefined).map((i) => `${c.name} ${i.id}`));
  ok(told, 'what was refused has taken its id');
  const statuses = {};
  for (const { status, code } of results.values()) statuses[`${status}${code ? ` ${code}` : ''}`] = (statuses[`${status}${code ? ` ${code}` : ''}`] ?? 0) + 1;
  console.log(`# ${Object.entries({ ...sorted(statuses), ...sorted(count), changes: history.length }).map(([k, v]) => `${k}: ${v}`).join(', ')}`);
}

const started = Date.now();
const clients = await makeClients();
await fault.plant(server);
const made = Date.now();
try {
  await run(clients);
  // of what is rare there shall be some in short runs, too
  for (const client of clients) await deal(client);
  await restart(pick(clients));
  await Promise.all(flying);
  for (const client of [...clients, ...clients]) await settle(client);
  await server('SELECT tide.sync()');
  for (const client of clients) await settle(client);
} catch (error) {
  problems.push(error.stack);
}
const ran = Date.now();
ok([...problems, ...clients.flatMap((c) => c.problems)], 'each step did what it shall');
await judge(clients);
const missing = ['requests lost', 'answers lost', 'doubled', 'taken again', 'others', 'retries', 'discards', 'clients killed'].filter((what) => !count[what]);
if (process.env.TIDE_CLIENT_FAULT === undefined) ok(missing, 'all happened that shall');
console.log(`# clients made in ${made - started} ms, ${ran - made} ms of work, judged in ${Date.now() - ran} ms`);
for (const client of clients) await client.db.close();
console.log(`1..${tests}`);
process.exit(failed === 0 ? 0 : 1);
