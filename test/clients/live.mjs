// What wakes a live query, in PGlite and in SQLite (sql.js). Prints TAP.
// usage: node live.mjs sqlite-script postgres-script
import { deepStrictEqual } from 'node:assert';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { PGlite } from '@electric-sql/pglite';
import { live } from '@electric-sql/pglite/live';
import initSqlJs from 'sql.js';

const [sqliteScript, postgresScript] = process.argv.slice(2);
let count = 0;
let failed = 0;
let op = 0;

async function step(name, run) {
  count += 1;
  try {
    await run();
    console.log(`ok ${count} - ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`not ok ${count} - ${name}\n${error.message.replace(/^/gm, '# ')}`);
  }
}

const put = (table, id, row) => ({ bucket: table === 'issues' ? 1 : 2, table: `public.${table}`, op: 'put', op_id: ++op, key: { id }, row: { id, ...row }, hash: 1 });
const page = (changes, more = {}) => JSON.stringify({ cookie: { at: op }, checkpoint: { op_id: op, at: '2026-01-01T00:00:00+00:00' }, complete: true,
  remaining: 0, changes, buckets: [{ bucket: 1 }, { bucket: 2 }], drop: [], last_mutation_id: 0, rejected: [], ...more });

// calls of a live query since the last look, once it is quiet; needs is how many must come
async function heard(calls, needs) {
  for (let i = 0; i < 100 && calls.length < needs; i++) await sleep(50);
  await sleep(200);
  return calls.splice(0);
}

async function pglite() {
  const db = await PGlite.create({ extensions: { live } });
  await db.exec(readFileSync(postgresScript, 'utf8'));
  const apply = (answer) => db.query('SELECT tide_apply($1)', [answer]);
  const all = [];
  const incremental = [];
  const other = [];
  const status = [];
  await db.live.query('SELECT id, title FROM issues ORDER BY id', [], ({ rows }) => all.push(rows.map((r) => r.title)));
  await db.live.incrementalQuery('SELECT id, title FROM issues ORDER BY id', [], 'id', ({ rows }) => incremental.push(rows.map((r) => r.title)));
  await db.live.query('SELECT body FROM notes', [], ({ rows }) => other.push(rows.length));
  await db.live.query('SELECT state, pending FROM tide_status', [], ({ rows: [r] }) => status.push(`${r.state} ${r.pending}`));
  for (const calls of [all, incremental, other, status]) await heard(calls, 1);
  const look = async () => [await heard(all, 1), await heard(incremental, 1), (await heard(status, 1)).at(-1), await heard(other, 0)];

  await step('PGlite: an answer with 3 rows wakes queries once', async () => {
    await apply(page([put('issues', 1, { title: 'a' }), put('issues', 2, { title: 'b' }), put('issues', 3, { title: 'c' })]));
    deepStrictEqual(await look(), [[['a', 'b', 'c']], [['a', 'b', 'c']], 'synced 0', []]);
  });
  await step('PGlite: a later answer does', async () => {
    await apply(page([put('issues', 1, { title: 'a1' }), { ...put('issues', 3), op: 'remove' }]));
    deepStrictEqual(await look(), [[['a1', 'b']], [['a1', 'b']], 'synced 0', []]);
  });
  await step('PGlite: a local write does, and a transaction once', async () => {
    await db.query(`UPDATE issues SET title = 'mine' WHERE id = 2`);
    deepStrictEqual(await look(), [[['a1', 'mine']], [['a1', 'mine']], 'synced 1', []]);
    await db.transaction(async (tx) => {
      await tx.query(`INSERT INTO issues VALUES (4, 'd')`);
      await tx.query(`DELETE FROM issues WHERE id = 1`);
    });
    deepStrictEqual(await look(), [[['mine', 'd']], [['mine', 'd']], 'synced 3', []]);
  });
  await step('PGlite: a refused write does', async () => {
    await apply(JSON.stringify({ last_mutation_id: 3, results: [{ id: 1, status: 'applied' }, { id: 2, status: 'rejected', code: '23505', message: 'no' },
      { id: 3, status: 'applied' }] }));
    deepStrictEqual(await look(), [[['mine']], [['mine']], 'synced 2', []]);
  });
  await step('PGlite: what is acknowledged is never gone in between', async () => {
    await apply(page([put('issues', 2, { title: 'mine' }), { ...put('issues', 1), op: 'remove' }, put('notes', 1, { body: 'x' })], { last_mutation_id: 3 }));
    const [rows, more, state, notes] = await look();
    deepStrictEqual([rows.every((r) => `${r}` === 'mine'), more.every((r) => `${r}` === 'mine'), state, notes], [true, true, 'synced 0', [1]]);
  });
  await db.close();
}

async function sqlite() {
  const { Database } = await initSqlJs();
  const db = new Database();
  db.exec(readFileSync(sqliteScript, 'utf8'));
  const apply = (answer) => db.run('INSERT INTO tide_inbox (response) VALUES (?)', [answer]);
  let tables = new Set();
  db.updateHook((_, name, table) => tables.add(table));
  // of the tables behind views
  const changed = (run) => {
    tables = new Set();
    run();
    return [...tables].filter((t) => /_(synced|local)$/.test(t)).sort();
  };
  await step('SQLite: the update hook names what an answer has changed', () => {
    deepStrictEqual(changed(() => apply(page([put('issues', 1, { title: 'a' }), put('issues', 2, { title: 'b' })]))), ['issues_synced']);
    deepStrictEqual(changed(() => apply(page([put('issues', 1, { title: 'a1' })]))), ['issues_synced']);
    deepStrictEqual(changed(() => apply(page([put('notes', 1, { body: 'x' }), { ...put('issues', 2), op: 'remove' }]))), ['issues_synced', 'notes_synced']);
    deepStrictEqual(changed(() => apply(page([]))), []);
  });
  await step('SQLite: and what a local write has', () => {
    deepStrictEqual(changed(() => db.run(`UPDATE issues SET title = 'mine' WHERE id = 1`)), ['issues_local']);
    deepStrictEqual(changed(() => db.run('DELETE FROM notes')), ['notes_local']);
    deepStrictEqual(tables.has('tide_outbox') && tables.has('tide_client'), true);
    deepStrictEqual(changed(() => apply(JSON.stringify({ last_mutation_id: 1, results: [{ id: 1, status: 'rejected', code: '23514', message: 'no' }] }))), ['issues_local']);
    deepStrictEqual(tables.has('tide_rejected'), true);
  });
  db.close();
}

await pglite();
await sqlite();
console.log(`1..${count}`);
process.exit(failed === 0 ? 0 : 1);
