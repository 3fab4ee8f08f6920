// The generated client schema by itself: answers of a server made by hand, the same
// steps and the same results for both dialects. Prints TAP.
// usage: node schema.mjs sqlite-script postgres-script scratch-folder
import { deepStrictEqual } from 'node:assert';
import { readFileSync } from 'node:fs';
import { PgliteClient, SqliteClient } from './clients.mjs';

const [sqliteScript, postgresScript, scratch] = process.argv.slice(2);
let count = 0;
let failed = 0;

function report(ok, name, detail) {
  count += 1;
  if (!ok) failed += 1;
  console.log(`${ok ? 'ok' : 'not ok'} ${count} - ${name}`);
  if (!ok && detail) console.log(detail.toString().replace(/^/gm, '# '));
}

const A = '00000000-0000-4000-8000-00000000000a';
const B = '00000000-0000-4000-8000-00000000000b';
const C = '00000000-0000-4000-8000-00000000000c';
let op = 0;

const put = (bucket, id, row, hash = 1) => ({
  bucket, table: 'public.issues', op: 'put', op_id: ++op, key: { id }, row: { id, ...full(row) }, hash });
const remove = (bucket, id, hash = 1) => ({ bucket, table: 'public.issues', op: 'remove', op_id: ++op, key: { id }, hash });
const full = (row) => ({ title: null, done: null, stars: null, price: null, score: null, tags: null, meta: null, at: null, raw: null, m: null, ...row });
const few = (bucket, id, row) => {
  const change = put(bucket, id, {});
  change.row = { id, title: null, done: null, ...row };
  return change;
};
// rows of buckets that an answer lists may go straight into the tables: scenarios with it, in PGlite also without
let listed;
const list = (changes) => (listed ? [...new Set(changes.map((c) => c.bucket))].map((bucket) => ({ bucket })) : []);
const page = (changes, more = {}) => ({
  cookie: { at: op }, checkpoint: { op_id: op, lsn: '0/1', at: '2026-01-01T00:00:00+00:00' }, complete: true, remaining: 0,
  changes, buckets: list(changes), drop: [], last_mutation_id: 0, rejected: [], newer: { field: 'ignored' }, ...more });

const titles = async (c) => Object.fromEntries((await c.sql('SELECT id, title FROM issues ORDER BY id')).map((r) => [r.id.at(-1), r.title]));
const one = async (c, query) => Object.values((await c.sql(query))[0])[0];
const pending = (c) => one(c, 'SELECT pending FROM tide_status').then(Number);
const pushed = async (c) => JSON.parse((await c.pushRequest()) ?? '{"mutations":[]}').mutations;
// without clocks, which differ each time
const mutations = async (c) => (await pushed(c)).map(({ hlc, vclock, seen, ...m }) => m);
const json = (v) => (typeof v === 'string' ? JSON.parse(v) : v);

const scenarios = {
  async 'requests of a new client'(c) {
    const request = JSON.parse(await c.pullRequest());
    deepStrictEqual({ ...request, client: undefined }, { client: undefined, shapes: {}, cookie: null });
    deepStrictEqual(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(request.client), true);
    deepStrictEqual(await c.pushRequest(), null);
    deepStrictEqual(await one(c, 'SELECT state FROM tide_status'), 'new');
    await c.sql(`INSERT INTO tide_subscription (shape) VALUES ('few');
      INSERT INTO tide_subscription VALUES ('all', '{"a": 1}');
      INSERT INTO tide_subscription VALUES ('all', '{"a": 2}');`);
    await c.sql('UPDATE tide_client SET page_limit = 7');
    const next = JSON.parse(await c.pullRequest());
    deepStrictEqual([next.shapes, next.limit], [{ all: [{ a: 1 }, { a: 2 }], few: [{}] }, 7]);
  },

  async 'a pull puts rows where the app reads them'(c) {
    await c.apply(page([put(1, A, { title: "it's" }), put(1, B, { title: 'b' })],
      { buckets: [{ bucket: 1, shape: 'all', params: {}, count: 2, checksum: 2 }, { bucket: null, shape: 'few', params: {} }] }));
    deepStrictEqual(await titles(c), { a: "it's", b: 'b' });
    deepStrictEqual(await one(c, 'SELECT state FROM tide_status'), 'synced');
    deepStrictEqual(JSON.parse(await c.pullRequest()).cookie, { at: op });
    await c.apply(page([remove(1, A), put(1, B, { title: 'b2' })], { buckets: [{ bucket: 1, shape: 'all', params: {}, count: 1, checksum: 1 }] }));
    deepStrictEqual(await titles(c), { b: 'b2' });
    deepStrictEqual(JSON.parse(await c.pullRequest()).resync, undefined);
  },

  async 'every type goes there and back'(c) {
    const row = { title: 'q"uo\\te \u{1f600}\n\u0001\'', done: true, stars: 9007199254740993n, price: '12345678901234567890.1234567890', score: 0.1,
      tags: ['a', null, 'b "c"'], meta: { k: [1, { z: null }] }, at: '2026-01-01T10:00:00.123456+00:00', raw: '\\xdeadbeef', m: 'bad' };
    const text = JSON.stringify(page([put(1, A, { ...row, stars: '@stars', price: '@price' })]))
      .replace('"@stars"', String(row.stars)).replace('"@price"', row.price);
    await c.apply(text);
    await c.sql(`UPDATE issues SET title = title || '!', done = NOT done, stars = stars + 1`);
    await c.sql(`UPDATE issues SET meta = '{"k":1}', tags = ${c.kind === 'sqlite' ? `'["x"]'` : `'{x}'`}, score = -1.5e300, raw = NULL, m = 'ok'`);
    const request = await c.pushRequest();
    deepStrictEqual(/"stars": ?9007199254740994/.test(request) && /"stars": ?9007199254740993/.test(request), true);
    const [first, second] = JSON.parse(request).mutations;
    deepStrictEqual({ ...first.values, stars: 0 }, { title: row.title + '!', done: false, stars: 0 });
    deepStrictEqual({ ...first.base, stars: 0 }, { title: row.title, done: true, stars: 0 });
    deepStrictEqual(second.values, { meta: { k: 1 }, tags: ['x'], score: -1.5e300, raw: null, m: 'ok' });
    deepStrictEqual(second.base, { meta: row.meta, tags: row.tags, score: 0.1, raw: row.raw, m: 'bad' });
    deepStrictEqual(await one(c, `SELECT CAST(price AS text) FROM issues`), row.price);
    await c.sql(`UPDATE issues SET price = '0.10'`);
    deepStrictEqual(/"values": ?\{"price": ?0\.10*\}.*"base|"base": ?\{"price": ?12345678901234567890.1234567890\}/.test(await c.pushRequest()), true);
    await c.sql(`INSERT INTO issues (id, title, done) VALUES ('${B}', 'n', ${c.kind === 'sqlite' ? 1 : true})`);
    deepStrictEqual((await mutations(c)).at(-1), { id: 4, op: 'insert', table: 'public.issues', key: { id: B }, values: { title: 'n', done: true } });
    // what comes out of the overlay after a rebase is what went in
    const before = await c.sql(`SELECT * FROM issues ORDER BY id`);
    await c.apply(text.replace(/"op_id":\d+,"key"/, `"op_id":${++op},"key"`));
    deepStrictEqual(await c.sql(`SELECT * FROM issues ORDER BY id`), before);
  },

  async 'local writes show at once and wait in the outbox'(c) {
    await c.apply(page([put(1, A, { title: 'a', stars: 1 }), put(1, B, { title: 'b' })]));
    await c.sql(`UPDATE issues SET title = 'a1' WHERE id = '${A}'`);
    await c.sql(`UPDATE issues SET title = 'a1' WHERE id = '${A}'`);
    await c.sql(`DELETE FROM issues WHERE id = '${B}'`);
    await c.sql(`INSERT INTO issues (id, title) VALUES ('${C}', 'c')`);
    await c.sql(`UPDATE issues SET title = 'c1' WHERE id = '${C}'`);
    deepStrictEqual(await titles(c), { a: 'a1', c: 'c1' });
    deepStrictEqual(await mutations(c), [
      { id: 1, op: 'update', table: 'public.issues', key: { id: A }, values: { title: 'a1' }, base: { title: 'a' } },
      { id: 2, op: 'delete', table: 'public.issues', key: { id: B }, base: { title: 'b', done: null } },
      { id: 3, op: 'insert', table: 'public.issues', key: { id: C }, values: { title: 'c' } },
      { id: 4, op: 'update', table: 'public.issues', key: { id: C }, values: { title: 'c1' }, base: { title: 'c' } }]);
    deepStrictEqual((await c.sql(`SELECT id, title FROM issues_synced ORDER BY id`)).map((r) => r.title), ['a', 'b']);
    deepStrictEqual(await pending(c), 4);
  },

  async 'a key is made for an insert without, others are refused'(c) {
    await c.sql(`INSERT INTO issues (title) VALUES ('x')`);
    await c.sql(`INSERT INTO issues (title) VALUES ('y')`);
    const keys = (await mutations(c)).map((m) => m.key.id);
    deepStrictEqual(keys.length === 2 && keys[0] !== keys[1] && keys.every((k) => /^[0-9a-f-]{36}$/.test(k)), true);
    for (const bad of [`INSERT INTO issues (id, title) VALUES ('${keys[0]}', 'z')`, `UPDATE issues SET id = '${A}' WHERE title = 'x'`]) {
      let error = null;
      await c.sql(bad).catch((e) => { error = e; });
      deepStrictEqual(error !== null, true);
    }
    deepStrictEqual(await pending(c), 2);
  },

  async 'local edits are rebased, column by column'(c) {
    await c.apply(page([put(1, A, { title: 'a', stars: 1 })]));
    await c.sql(`UPDATE issues SET title = 'mine'`);
    await c.apply(page([put(1, A, { title: 'theirs', stars: 2, done: true })]));
    deepStrictEqual(await c.sql(`SELECT title, stars FROM issues`), [{ title: 'mine', stars: 2 }]);
    // accepted, but the checkpoint does not have it yet: no flicker
    await c.apply({ last_mutation_id: 1, results: [{ id: 1, status: 'merged', row: { title: 'mine' } }] });
    deepStrictEqual(await c.pushRequest(), null);
    await c.apply(page([put(1, A, { title: 'theirs2', stars: 3 })]));
    deepStrictEqual(await c.sql(`SELECT title, stars FROM issues`), [{ title: 'mine', stars: 3 }]);
    deepStrictEqual(await pending(c), 1);
    await c.apply(page([put(1, A, { title: 'mine', stars: 4 })], { last_mutation_id: 1 }));
    deepStrictEqual(await c.sql(`SELECT title, stars FROM issues`), [{ title: 'mine', stars: 4 }]);
    deepStrictEqual([await pending(c), await one(c, 'SELECT count(*) FROM issues_local')].map(Number), [0, 0]);
    // the next id goes on from there
    await c.sql(`UPDATE issues SET title = NULL`);
    deepStrictEqual(await mutations(c), [{ id: 2, op: 'update', table: 'public.issues', key: { id: A }, values: { title: null }, base: { title: 'mine' } }]);
  },

  async 'an edited row that left comes back with its edit'(c) {
    await c.apply(page([put(1, A, { title: 'a', stars: 1 })]));
    await c.sql(`UPDATE issues SET title = 'mine'`);
    await c.apply(page([remove(1, A)]));
    deepStrictEqual(await titles(c), {});
    await c.apply(page([put(1, A, { title: 'again', stars: 2 })]));
    deepStrictEqual(await c.sql(`SELECT title, stars FROM issues`), [{ title: 'mine', stars: 2 }]);
  },

  async 'a write that the server has taken does not go and come back'(c) {
    await c.apply(page([put(1, A, { title: 'a' }), put(1, B, { title: 'b' }), put(2, B, { title: 'b' })]));
    await c.sql(`UPDATE issues SET title = 'a1' WHERE id = '${A}'`);
    await c.sql(`UPDATE issues SET title = 'b1' WHERE id = '${B}'`);
    await c.apply({ last_mutation_id: 2, results: [{ id: 1, status: 'applied' }, { id: 2, status: 'applied' }] });
    // others have deleted the rows meanwhile, and made one anew; what has come so far is not of one moment
    await c.apply(page([remove(1, A), remove(1, B), remove(2, B)], { complete: false }));
    deepStrictEqual(await titles(c), { a: 'a1', b: 'b1' });
    await c.apply(page([put(1, A, { title: 'a2' })], { complete: false }));
    deepStrictEqual(await titles(c), { a: 'a1', b: 'b1' });
    await c.sql(`UPDATE issues SET stars = 7 WHERE id = '${A}'`);
    await c.apply({ last_mutation_id: 3, results: [{ id: 3, status: 'applied' }] });
    await c.apply(page([remove(1, A)], { complete: false }));
    deepStrictEqual(await titles(c), { a: 'a1', b: 'b1' });
    // a moment between the writes: it is what it was
    await c.apply(page([], { last_mutation_id: 2 }));
    deepStrictEqual(await titles(c), {});
    await c.apply(page([put(1, A, { title: 'a2', stars: 7 })], { last_mutation_id: 3 }));
    deepStrictEqual([await titles(c), await pending(c), await one(c, 'SELECT count(*) FROM issues_synced').then(Number)], [{ a: 'a2' }, 0, 1]);
    // a row that one of its buckets still has
    await c.apply(page([put(2, A, { title: 'a2' })]));
    await c.sql(`UPDATE issues SET title = 'a3' WHERE id = '${A}'`);
    await c.apply({ last_mutation_id: 4, results: [{ id: 4, status: 'applied' }] });
    await c.apply(page([remove(1, A)], { complete: false, last_mutation_id: 4 }));
    await c.apply(page([put(2, A, { title: 'a3' })], { last_mutation_id: 4 }));
    deepStrictEqual([await titles(c), await pending(c)], [{ a: 'a3' }, 0]);
    // a removal of what was never here, and then a page that goes straight into the tables
    await c.sql(`INSERT INTO issues (id, title) VALUES ('${C}', 'c')`);
    await c.apply({ last_mutation_id: 5, results: [{ id: 5, status: 'applied' }] });
    await c.apply(page([remove(3, C)], { complete: false, last_mutation_id: 4 }));
    await c.apply(page([put(3, C, { title: 'c1' })], { complete: false, last_mutation_id: 4 }));
    await c.apply(page([], { last_mutation_id: 5 }));
    deepStrictEqual([await titles(c), await pending(c)], [{ a: 'a3', c: 'c1' }, 0]);
  },

  async 'a row deleted and made anew has nothing of the old one'(c) {
    await c.apply(page([put(1, A, { title: 'a', stars: 1 })]));
    await c.sql(`UPDATE issues SET title = 'edited'`);
    await c.sql(`DELETE FROM issues`);
    await c.sql(`INSERT INTO issues (id, done) VALUES ('${A}', NULL)`);
    await c.apply(page([put(1, A, { title: 'theirs', stars: 2 })]));
    deepStrictEqual(await c.sql(`SELECT title, stars FROM issues`), [{ title: null, stars: null }]);
  },

  async 'an incomplete page acknowledges nothing'(c) {
    await c.apply(page([put(1, A, { title: 'a' })]));
    await c.sql(`UPDATE issues SET title = 'mine'`);
    await c.apply(page([put(1, B, { title: 'b' })], { complete: false, remaining: 1, last_mutation_id: 1 }));
    deepStrictEqual([await titles(c), await pending(c)], [{ a: 'mine', b: 'b' }, 1]);
    deepStrictEqual(await c.sql('SELECT state, remaining FROM tide_status'), [{ state: 'syncing', remaining: 1 }]);
    await c.apply(page([put(1, A, { title: 'mine' })], { last_mutation_id: 1 }));
    deepStrictEqual([await titles(c), await pending(c)], [{ a: 'mine', b: 'b' }, 0]);
  },

  async 'a rejected update undoes itself and nothing else'(c) {
    await c.apply(page([put(1, A, { title: 'a', stars: 1 })]));
    await c.sql(`UPDATE issues SET title = 'bad'`);
    await c.sql(`UPDATE issues SET stars = 5`);
    const answer = { last_mutation_id: 2, results: [{ id: 1, status: 'rejected', code: '23514', message: "it's no good" }, { id: 2, status: 'applied' }] };
    await c.apply(answer);
    deepStrictEqual(await c.sql(`SELECT title, stars FROM issues`), [{ title: 'a', stars: 5 }]);
    deepStrictEqual((await c.sql(`SELECT id, op, table_name, code, message, changed FROM tide_rejected`)).map((r) => ({ ...r, changed: json(r.changed) })),
      [{ id: 1, op: 'update', table_name: 'public.issues', code: '23514', message: "it's no good", changed: { title: 'bad' } }]);
    await c.apply(answer);
    await c.sql('DELETE FROM tide_rejected');
    await c.apply(page([put(1, A, { title: 'a', stars: 5 })], { last_mutation_id: 2, rejected: [{ id: 1, code: '23514', message: 'x', table: 'public.issues', key: { id: A } }] }));
    deepStrictEqual([await c.sql(`SELECT title, stars FROM issues`), await pending(c), await c.sql('SELECT id FROM tide_rejected')], [[{ title: 'a', stars: 5 }], 0, []]);
  },

  async 'a rejected insert takes what was written on it along'(c) {
    await c.apply(page([put(1, A, { title: 'a' })]));
    await c.sql(`INSERT INTO issues (id, title) VALUES ('${B}', 'b')`);
    await c.sql(`UPDATE issues SET title = 'a1' WHERE id = '${A}'`);
    await c.sql(`UPDATE issues SET title = 'b1' WHERE id = '${B}'`);
    await c.sql(`DELETE FROM issues WHERE id = '${B}'`);
    await c.sql(`INSERT INTO issues (id, title) VALUES ('${B}', 'fresh')`);
    await c.sql(`UPDATE issues SET title = 'fresh1' WHERE id = '${B}'`);
    await c.apply({ last_mutation_id: 1, results: [{ id: 1, status: 'rejected', code: '23514', message: 'no' }] });
    deepStrictEqual(await titles(c), { a: 'a1', b: 'fresh1' });
    deepStrictEqual((await c.sql('SELECT id FROM tide_rejected ORDER BY id')).map((r) => Number(r.id)), [1, 3, 4]);
    // ids stay without gaps: what was cancelled goes as an update of nothing
    deepStrictEqual((await mutations(c)).map((m) => [m.id, m.op, m.values]),
      [[2, 'update', { title: 'a1' }], [3, 'update', {}], [4, 'update', {}], [5, 'insert', { title: 'fresh' }], [6, 'update', { title: 'fresh1' }]]);
    await c.apply({ last_mutation_id: 6, results: [{ id: 2, status: 'applied' }, { id: 3, status: 'rejected', code: 'P0002', message: 'x' },
      { id: 4, status: 'applied' }, { id: 5, status: 'applied' }, { id: 6, status: 'applied' }] });
    deepStrictEqual([await titles(c), await pending(c)], [{ a: 'a1', b: 'fresh1' }, 3]);
    await c.apply(page([put(1, A, { title: 'a1' }), put(1, B, { title: 'fresh1' })], { last_mutation_id: 6 }));
    deepStrictEqual([await titles(c), await pending(c), Number(await one(c, 'SELECT count(*) FROM issues_local'))], [{ a: 'a1', b: 'fresh1' }, 0, 0]);
  },

  async 'a rejected delete brings the row back and undoes what followed'(c) {
    await c.apply(page([put(1, A, { title: 'a' })]));
    await c.sql(`DELETE FROM issues`);
    await c.sql(`INSERT INTO issues (id, title) VALUES ('${A}', 'new')`);
    await c.apply(page([], { rejected: [{ id: 1, code: '23503', message: 'no', table: 'public.issues', key: { id: A } }], last_mutation_id: 1 }));
    deepStrictEqual(await titles(c), { a: 'a' });
    deepStrictEqual((await mutations(c)).map((m) => [m.id, m.values]), [[2, {}]]);
  },

  async 'a lost push answer is made good by the next pull'(c) {
    await c.apply(page([put(1, A, { title: 'a' })]));
    await c.sql(`UPDATE issues SET title = 'x'`);
    await c.sql(`UPDATE issues SET title = 'y'`);
    const request = await c.pushRequest();
    deepStrictEqual(await c.pushRequest(), request);
    await c.apply(page([put(1, A, { title: 'x' })], { last_mutation_id: 2, rejected: [{ id: 2, code: '23514', message: 'no', table: 'public.issues', key: { id: A } }] }));
    deepStrictEqual([await titles(c), await pending(c), await c.pushRequest()], [{ a: 'x' }, 0, null]);
    deepStrictEqual((await c.sql('SELECT id FROM tide_rejected')).map((r) => Number(r.id)), [2]);
  },

  async 'a row lives while any of its buckets holds it'(c) {
    await c.apply(page([put(1, A, { title: 'a' }), put(2, A, { title: 'a' }), put(2, B, { title: 'b' })]));
    await c.sql(`UPDATE issues SET title = 'edit' WHERE id = '${B}'`);
    await c.apply(page([remove(1, A)]));
    deepStrictEqual(await titles(c), { a: 'a', b: 'edit' });
    await c.apply(page([put(3, A, { title: 'a3' })], { drop: [2] }));
    deepStrictEqual(await titles(c), { a: 'a3' });
    await c.apply(page([], { drop: [3] }));
    deepStrictEqual(await titles(c), {});
    deepStrictEqual(Number(await one(c, 'SELECT count(*) FROM tide_member')), 0);
  },

  async 'columns only another bucket shows go with it'(c) {
    const buckets = [{ bucket: 1, shape: 'all', params: {} }, { bucket: 2, shape: 'few', params: {} }];
    await c.apply(page([put(1, A, { title: 'a', stars: 5 }), few(2, A, { title: 'a' })], { buckets }));
    deepStrictEqual(await c.sql('SELECT title, stars FROM issues'), [{ title: 'a', stars: 5 }]);
    await c.apply(page([few(2, A, { title: 'a2' })], { buckets }));
    deepStrictEqual(await c.sql('SELECT title, stars FROM issues'), [{ title: 'a2', stars: 5 }]);
    await c.apply(page([], { buckets: [buckets[1]], drop: [1] }));
    deepStrictEqual(await c.sql('SELECT title, stars FROM issues'), [{ title: 'a2', stars: null }]);
  },

  async 'an answer applied twice, or too late, changes nothing'(c) {
    const first = page([put(1, A, { title: 'a' }), put(1, B, { title: 'b' })], { buckets: [{ bucket: 1, shape: 'all', params: {}, count: 2, checksum: 2 }] });
    await c.apply(first);
    await c.apply(first);
    deepStrictEqual([await titles(c), JSON.parse(await c.pullRequest()).resync], [{ a: 'a', b: 'b' }, undefined]);
    const second = page([remove(1, A), put(1, B, { title: 'b2' })], { buckets: [{ bucket: 1, shape: 'all', params: {}, count: 1, checksum: 1 }] });
    await c.apply(second);
    const cookie = JSON.parse(await c.pullRequest()).cookie;
    await c.apply(first);
    deepStrictEqual([await titles(c), JSON.parse(await c.pullRequest())], [{ b: 'b2' }, { ...JSON.parse(await c.pullRequest()), cookie }]);
    await c.apply(second);
    deepStrictEqual([await titles(c), JSON.parse(await c.pullRequest()).resync], [{ b: 'b2' }, undefined]);
  },

  async 'a server set back in time starts the client anew'(c) {
    await c.apply(page([put(1, A, { title: 'a' })], { cookie: { epoch: 'one' } }));
    await c.apply({ ...page([{ ...put(9, B, { title: 'b' }), op_id: 1 }], { drop: [1], cookie: { epoch: 'two' } }), checkpoint: { op_id: 1 } });
    deepStrictEqual(await titles(c), { b: 'b' });
  },

  // of one checkpoint, to requests for different things
  async 'an answer to a cookie of before the last one changes nothing'(c) {
    const numbered = (n) => ({ cookie: { v: 1, n, epoch: 'e0000000-0000-4000-8000-000000000002', at: [[op, [1]]], first: [], mutations: [0, 0] } });
    await c.apply(page([put(1, A, { title: 'a' }), put(2, B, { title: 'b' })], numbered(1)));
    const wider = page([put(2, C, { title: 'c' })], numbered(2));
    await c.apply(page([], { ...numbered(2), drop: [2] }));
    await c.apply(wider);
    deepStrictEqual([await titles(c), Number(await one(c, `SELECT count(*) FROM tide_bucket`)), JSON.parse(await c.pullRequest()).cookie.n], [{ a: 'a' }, 1, 2]);
    // a server set back in time goes on with the numbers
    op -= 10;
    await c.apply(page([put(1, A, { title: 'a0' })], { ...numbered(3), drop: [1] }));
    op += 10;
    deepStrictEqual(await titles(c), { a: 'a0' });
  },

  async 'an answer that comes late and drops a bucket changes nothing'(c) {
    const cookie = { epoch: 'one' };
    const late = page([put(1, A, { title: 'a' })], { drop: [2], cookie });
    await c.apply(page([put(1, A, { title: 'a2' }), put(2, B, { title: 'b' })], { cookie }));
    await c.apply(late);
    deepStrictEqual(await titles(c), { a: 'a2', b: 'b' });
  },

  async 'a bucket that does not add up is asked for again'(c) {
    const bucket = (count, checksum) => ({ buckets: [{ bucket: 1, shape: 'all', params: {}, count, checksum }] });
    await c.apply(page([put(1, A, { title: 'a' }, 4294967295), put(1, B, { title: 'b' }, 2)], bucket(2, 1)));
    deepStrictEqual(JSON.parse(await c.pullRequest()).resync, undefined);
    await c.apply(page([put(1, A, { title: 'a2' }, 7)], bucket(2, 8)));
    deepStrictEqual(JSON.parse(await c.pullRequest()).resync, [1]);
    deepStrictEqual(await one(c, 'SELECT state FROM tide_status'), 'syncing');
    await c.apply(page([put(2, A, { title: 'a2' }, 7)], { drop: [1], buckets: [{ bucket: 2, shape: 'all', params: {}, count: 1, checksum: 7 }] }));
    deepStrictEqual([await titles(c), JSON.parse(await c.pullRequest()).resync], [{ a: 'a2' }, undefined]);
  },

  async 'a first sync in pages, and whatever becomes of its rows'(c) {
    const of = (count, checksum, id = 1) => ({ bucket: id, shape: 'all', params: { id }, count, checksum });
    const open = (...ids) => ({ complete: false, remaining: 9, buckets: ids.map((id) => ({ bucket: id, shape: 'all', params: { id } })) });
    const straight = () => one(c, 'SELECT count(*) FROM issues_synced WHERE tide_bucket IS NOT NULL').then(Number);
    const D = A.replace(/a$/, 'd');
    await c.apply(page([put(1, A, { title: 'a' }, 4294967295), put(1, B, { title: 'b' }, 5)], open(1, 2)));
    const first = page([put(1, C, { title: 'c' }, 7)], open(1, 2));
    // written between the pages, to a row that is here and to one that is yet to come
    await c.sql(`UPDATE issues SET title = 'mine' WHERE id = '${A}'; INSERT INTO issues (id, title) VALUES ('${C}', 'early')`);
    await c.apply(first);
    await c.apply(first);
    deepStrictEqual([await titles(c), await straight()], [{ a: 'mine', b: 'b', c: 'early' }, 2]);
    // a page with a row of another bucket, one that goes, one twice
    await c.apply(page([put(2, B, { title: 'b2' }, 6), put(2, D, { title: 'd' }, 8), put(2, D, { title: 'd2' }, 9)], open(1, 2)));
    deepStrictEqual(await titles(c), { a: 'mine', b: 'b2', c: 'early', d: 'd2' });
    await c.apply(page([put(2, A, { title: 'a2', stars: 3 }, 1), remove(1, C)], { buckets: [of(2, 4, 1), of(3, 16, 2)] }));
    deepStrictEqual([await one(c, 'SELECT state FROM tide_status'), await titles(c)], ['synced', { a: 'mine', b: 'b2', c: 'early', d: 'd2' }]);
    // all of one bucket go, what the other has stays
    await c.apply(page([], { buckets: [of(3, 16, 2)], drop: [1], last_mutation_id: 2 }));
    deepStrictEqual([await titles(c), await one(c, 'SELECT state FROM tide_status')], [{ a: 'a2', b: 'b2', d: 'd2' }, 'synced']);
    await c.apply(page([remove(2, A), remove(2, B)], { buckets: [of(1, 9, 2)] }));
    deepStrictEqual([await titles(c), await one(c, 'SELECT state FROM tide_status')], [{ d: 'd2' }, 'synced']);
  },

  async 'a damaged bucket comes again, alone'(c) {
    const of = (id, count, checksum) => ({ bucket: id, shape: 'all', params: { id }, count, checksum });
    const both = [of(1, 2, 3), of(2, 1, 4)];
    await c.apply(page([put(1, A, { title: 'a' }, 1), put(1, B, { title: 'b' }, 2), put(2, C, { title: 'c' }, 4)], { buckets: both }));
    deepStrictEqual(Number(await one(c, 'SELECT count(*) FROM issues_synced WHERE tide_bucket IS NOT NULL')), 3);
    await c.sql(`UPDATE issues SET title = 'mine' WHERE id = '${A}'`);
    // what is wrong is found with the next complete answer
    await c.sql('UPDATE tide_bucket SET checksum = 9 WHERE bucket = 1');
    await c.apply(page([], { buckets: both }));
    deepStrictEqual([JSON.parse(await c.pullRequest()).resync, await one(c, 'SELECT state FROM tide_status')], [[1], 'syncing']);
    await c.apply(page([put(1, A, { title: 'a', stars: 1 }, 1)], { drop: [1], complete: false, buckets: [{ bucket: 1 }, { bucket: 2 }] }));
    deepStrictEqual(await titles(c), { a: 'mine', c: 'c' });
    await c.apply(page([put(1, B, { title: 'b' }, 2)], { buckets: both }));
    deepStrictEqual([await titles(c), JSON.parse(await c.pullRequest()).resync, await one(c, 'SELECT state FROM tide_status')],
      [{ a: 'mine', b: 'b', c: 'c' }, undefined, 'synced']);
    await c.apply(page([put(2, B, { title: 'b' }, 2)], { buckets: [of(1, 2, 3), of(2, 2, 6)] }));
    await c.apply(page([], { drop: [1], buckets: [of(2, 2, 6)] }));
    deepStrictEqual([await titles(c), await one(c, 'SELECT state FROM tide_status')], [{ b: 'b', c: 'c' }, 'synced']);
  },

  async 'rows of tables that the script does not know count'(c) {
    const of = (count, checksum) => ({ bucket: 8, shape: 'all', path: 'newer', params: {}, count, checksum });
    const newer = (key, kind, hash) => ({ bucket: 8, table: 'public.newer', op: kind, op_id: ++op, key: { key }, ...(kind === 'put' && { row: { key } }), hash });
    const state = async () => [JSON.parse(await c.pullRequest()).resync, await one(c, 'SELECT state FROM tide_status'), await titles(c)];
    await c.apply(page([put(1, A, { title: 'a' }), newer(1, 'put', 5), newer(2, 'put', 6)], { buckets: [{ bucket: 1, shape: 'all', params: {}, count: 1, checksum: 1 }, of(2, 11)] }));
    deepStrictEqual(await state(), [undefined, 'synced', { a: 'a' }]);
    await c.apply(page([newer(1, 'put', 7), newer(2, 'remove', 6)], { buckets: [of(1, 7)] }));
    deepStrictEqual(await state(), [undefined, 'synced', { a: 'a' }]);
    await c.apply(page([], { buckets: [of(2, 8)] }));
    deepStrictEqual(await state(), [[8], 'syncing', { a: 'a' }]);
    await c.apply(page([], { drop: [8] }));
    deepStrictEqual([await state(), Number(await one(c, 'SELECT count(*) FROM tide_member WHERE bucket = 8'))], [[undefined, 'synced', { a: 'a' }], 0]);
  },

  async 'odd names, generated columns and keys of two columns'(c) {
    const t = c.kind === 'sqlite' ? '"crm_Odd ""T"' : 'crm."Odd ""T"';
    const change = { bucket: 5, table: 'crm."Odd ""T"', op: 'put', op_id: ++op, key: { a: 1, 'b c': 'k' },
      row: { a: 1, 'b c': 'k', order: 'o', 'x.y': 'xy', 'q"\\z': 'qz', n: 2 }, hash: 3 };
    await c.apply(page([change]));
    deepStrictEqual(await c.sql(`SELECT * FROM ${t}`), [change.row]);
    await c.sql(`UPDATE ${t} SET "q""\\z" = 'Q', "x.y" = NULL WHERE a = 1`);
    await c.sql(`INSERT INTO ${t} (a, "b c", n) VALUES ('2', 'l', 4)`);
    deepStrictEqual(await mutations(c), [
      { id: 1, op: 'update', table: change.table, key: { 'b c': 'k', a: 1 }, values: { 'x.y': null, 'q"\\z': 'Q' }, base: { 'x.y': 'xy', 'q"\\z': 'qz' } },
      { id: 2, op: 'insert', table: change.table, key: { 'b c': 'l', a: 2 }, values: {} }]);
    await c.apply(page([{ ...change, op_id: ++op, row: { ...change.row, order: 'p', 'q"\\z': 'zz', n: 20 } },
      { ...change, op_id: ++op, key: { 'b c': 'l', a: 2 }, row: { a: 2, 'b c': 'l', order: null, 'x.y': 'sent', 'q"\\z': null, n: 4 } }]));
    deepStrictEqual(await c.sql(`SELECT * FROM ${t} ORDER BY a`), [
      { a: 1, 'b c': 'k', order: 'p', 'x.y': null, 'q"\\z': 'Q', n: 20 },
      { a: 2, 'b c': 'l', order: null, 'x.y': null, 'q"\\z': null, n: c.kind === 'sqlite' ? null : null }]);
    await c.sql(`DELETE FROM ${t}`);
    deepStrictEqual(await c.sql(`SELECT * FROM ${t}`), []);
  },

  async 'tables and columns may have names of the script and of the database'(c) {
    const change = (id) => ({ bucket: 6, table: 'public.status', op: 'put', op_id: ++op, key: { id }, row: { id, rowid: 'r', oid: 'o', _rowid_: `${id}` }, hash: 1 });
    await c.apply(page([change(1), change(2)]));
    await c.sql(`UPDATE status SET oid = 'mine' WHERE id = 2; INSERT INTO status (id) VALUES (3)`);
    await c.sql(`UPDATE tide_status SET is_online = false`);
    const seen = async () => (await c.sql('SELECT * FROM status ORDER BY id')).map((r) => [r.id, r.rowid, r.oid, r._rowid_]);
    const expected = [[1, 'r', 'o', '1'], [2, 'r', 'mine', '2'], [3, null, null, null]];
    deepStrictEqual([await seen(), await one(c, 'SELECT state FROM tide_status')], [expected, 'offline']);
    for (let i = 0; i < 2; i++) await c.sql(readFileSync(c.kind === 'sqlite' ? sqliteScript : postgresScript, 'utf8'));
    deepStrictEqual([await seen(), (await mutations(c)).length], [expected, 2]);
    await c.sql(`DELETE FROM status WHERE id <> 2`);
    deepStrictEqual(await seen(), [expected[1]]);
  },

  async 'columns may have names that are words of the trigger language'(c) {
    const row = { by: 1, loop: 'l', begin: 'b', system_user: 's', key: 'k', new: 'n', tide: 't' };
    await c.apply(page([{ bucket: 8, table: 'public.words', op: 'put', op_id: ++op, key: { by: 1 }, row, hash: 1 }]));
    await c.sql(`INSERT INTO words ("by", "loop", "system_user") VALUES (2, 'L', 'S')`);
    await c.sql(`UPDATE words SET "begin" = 'B', key = 'K', "new" = 'N', tide = 'T' WHERE "by" = 1`);
    await c.sql(`DELETE FROM words WHERE "by" = 2`);
    deepStrictEqual(await c.sql('SELECT * FROM words'), [{ ...row, begin: 'B', key: 'K', new: 'N', tide: 'T' }]);
    deepStrictEqual((await pushed(c)).map((m) => [m.op, m.key.by, m.values]), [['insert', 2, { loop: 'L', system_user: 'S' }],
      ['update', 1, { begin: 'B', key: 'K', new: 'N', tide: 'T' }], ['delete', 2, undefined]]);
  },

  async 'what the server could not read is refused when it is written'(c) {
    await c.apply(page([put(1, A, { title: 'a' })]));
    const meta = (text) => `UPDATE issues SET meta = '${text}'`;
    const call = (text) => `INSERT INTO tide_call (name, args) VALUES ('m', '${text}')`;
    const bad = [meta('["\\u0000"]'), meta('{"a\\\\\\u0000": 1}'), meta('"\\ud83d"'), meta('"\\uD83D\\n"'), meta('"\\ud83d\\ud83d\\ude00"'), meta('"x\\ude00"'), meta('"\\u00e9\\udE00"'),
      meta('"\\ud83dx"'), call('{"a": "\\u0000"}'), call('{"": "\\ude00"}'), meta('[1e400000]'), meta('{"a": [-1.5E-20000]}'), call('{"a": 1e1000000}')];
    if (c.kind === 'sqlite') bad.push(`UPDATE issues SET title = 'x' || char(0)`, `INSERT INTO tide_call (name) VALUES ('x' || char(0))`);
    for (const text of bad) {
      let error = null;
      await c.sql(text).catch((e) => { error = e; });
      deepStrictEqual(error !== null, true, text);
    }
    deepStrictEqual([await pending(c), await one(c, 'SELECT meta FROM issues')], [0, null]);
    // and nothing else is
    const good = ['"\\\\u0000"', '"\\\\\\\\u0000 \\u00e9\\\\ud83d"', '"\\ud83d\\ude00\\uD83D\\uDE00"', '"\\n\\ud83d\\ude00\\\\"', '{"\\ud83d\\ude00": "1e400000", "a": 1e300}', '[1e0400, "e5 1e99999"]'];
    for (const text of good) await c.sql(meta(text));
    await c.sql(call('{"a": "\\ud83d\\ude00"}'));
    deepStrictEqual([await pending(c), json(await one(c, 'SELECT meta FROM issues')).length], [good.length + 1, 2]);
    // what a column cannot have is for the server to refuse, alone
    if (c.kind === 'sqlite') {
      await c.sql(`UPDATE issues SET price = '1e400000'; UPDATE issues SET price = '-2.5e+3'; UPDATE issues SET price = 1e30`);
      deepStrictEqual((await pushed(c)).slice(-3).map((m) => m.values.price), ['1e400000', '-2.5e+3', '1.0e+30']);
    }
  },

  async 'a key is the same however it is written'(c) {
    const key = { u: A, t: '5', f: 1, j: { a: [1, null] } };
    const upper = A.toUpperCase();
    await c.sql(`INSERT INTO keyed (u, t, f, j, v) VALUES ('${upper}', ${c.kind === 'sqlite' ? 5 : "'5'"}, '1', '{ "a" : [1, null] }', 'mine')`);
    let error = null;
    await c.sql(`INSERT INTO keyed (u, t, f, j) VALUES ('${A}', '5', 1.0, '{"a":[1,null]}')`).catch((e) => { error = e; });
    deepStrictEqual(error !== null, true);
    await c.sql(`UPDATE keyed SET v = 'more' WHERE u = '${upper}'`);
    deepStrictEqual((await mutations(c)).map((m) => [m.key, m.values]), [[key, { v: 'mine' }], [key, { v: 'more' }]]);
    deepStrictEqual(Number(await one(c, 'SELECT count(DISTINCT key) FROM tide_outbox')), 1);
    const seen = async () => (await c.sql('SELECT u, t, f, j, v FROM keyed')).map((r) => ({ ...r, j: json(r.j) }));
    const put4 = (v) => ({ bucket: 7, table: 'public.keyed', op: 'put', op_id: ++op, key, row: { ...key, v }, hash: 1 });
    deepStrictEqual(await seen(), [{ ...key, v: 'more' }]);
    await c.apply(page([put4('theirs')]));
    deepStrictEqual(await seen(), [{ ...key, v: 'more' }]);
    await c.apply({ last_mutation_id: 2, results: [{ id: 1, status: 'applied' }, { id: 2, status: 'rejected', code: '23514', message: 'no' }] });
    deepStrictEqual(await seen(), [{ ...key, v: 'mine' }]);
    await c.sql(`UPDATE keyed SET v = 'late'`);
    await c.apply(page([put4('mine')], { last_mutation_id: 2 }));
    deepStrictEqual([await seen(), Number(await one(c, 'SELECT count(*) FROM keyed_local'))], [[{ ...key, v: 'late' }], 1]);
    await c.apply(page([put4('late')], { last_mutation_id: 3 }));
    deepStrictEqual([await seen(), Number(await one(c, 'SELECT count(*) FROM keyed_local'))], [[{ ...key, v: 'late' }], 0]);
    await c.sql(`DELETE FROM keyed WHERE u = '${upper}'`);
    deepStrictEqual([await seen(), (await mutations(c)).map((m) => m.key)], [[], [key]]);
  },

  async 'what is no answer is refused, and changes nothing'(c) {
    await c.apply(page([put(1, A, { title: 'a' })]));
    for (const bad of ['{}', '[1]', 'nonsense', '{"changes": 1}', JSON.stringify(page([{ ...put(1, B, {}), op_id: 'x'.repeat(3), bucket: null }]))]) {
      let error = null;
      await c.apply(bad).catch((e) => { error = e; });
      deepStrictEqual(error !== null, true, bad);
    }
    deepStrictEqual(await titles(c), { a: 'a' });
    await c.sql(`UPDATE tide_status SET last_error = 'no network'`);
    deepStrictEqual(await c.sql('SELECT state, last_error FROM tide_status'), [{ state: 'error', last_error: 'no network' }]);
    await c.apply(page([]));
    deepStrictEqual(await c.sql('SELECT state, last_error FROM tide_status'), [{ state: 'synced', last_error: null }]);
  },

  async 'a write rolled back leaves no gap in the ids'(c) {
    await c.apply(page([put(1, A, { title: 'a' })]));
    await c.sql(`BEGIN; UPDATE issues SET title = 'x'; ROLLBACK;`);
    await c.sql(`UPDATE issues SET title = 'y'`);
    deepStrictEqual((await mutations(c)).map((m) => [m.id, m.values.title]), [[1, 'y']]);
  },

  async 'a policy that kept the server\'s values is no rejection'(c) {
    await c.apply(page([put(1, A, { title: 'a' })]));
    await c.sql(`UPDATE issues SET title = 'mine'`);
    await c.apply({ last_mutation_id: 1, results: [{ id: 1, status: 'conflict', columns: { title: 'kept' }, row: { id: A, title: 'theirs' } }] });
    await c.apply(page([put(1, A, { title: 'theirs' })], { last_mutation_id: 1 }));
    deepStrictEqual([await titles(c), await pending(c), Number(await one(c, 'SELECT rejected FROM tide_status'))], [{ a: 'theirs' }, 0, 0]);
  },

  async 'what is known of rejections is told by the next push'(c) {
    const seen = async () => JSON.parse(await c.pushRequest()).rejected_seen;
    await c.apply(page([put(1, A, { title: 'a' })]));
    await c.sql(`UPDATE issues SET title = 'one'`);
    deepStrictEqual(await seen(), undefined);
    await c.apply({ last_mutation_id: 1, results: [{ id: 1, status: 'rejected', code: '23514', message: 'no' }] });
    await c.sql(`UPDATE issues SET title = 'two'`);
    // a push may have been answered before; only what a pull tells is complete
    deepStrictEqual(await seen(), undefined);
    await c.apply(page([], { last_mutation_id: 1, rejected: [{ id: 1, code: '23514', message: 'no' }] }));
    deepStrictEqual(await seen(), 1);
  },

  async 'an expired client goes on as another one'(c) {
    for (const by of ['push', 'pull']) {
      const id = async () => JSON.parse(await c.pullRequest()).client;
      const outbox = async () => (await c.sql('SELECT id, state FROM tide_outbox ORDER BY id')).map((r) => [Number(r.id), r.state]);
      const old = await id();
      const more = (last, client = old) => ({ last_mutation_id: last, expired: true, client, cookie: { at: op, client } });
      await c.apply(page([put(1, A, { title: 'a' }), put(1, B, { title: 'b' })]));
      await c.sql(`UPDATE issues SET title = 'a1' WHERE id = '${A}'`);
      await c.sql(`INSERT INTO issues (id, title) VALUES ('${C}', 'c')`);
      await c.sql(`UPDATE issues SET title = 'c3' WHERE id = '${C}'`);
      await c.sql(`UPDATE issues SET title = 'b4' WHERE id = '${B}'`);
      await c.sql(`UPDATE issues SET title = 'a5' WHERE id = '${A}'`);
      const first = (await outbox())[0][0];
      const n = first + 1;
      // of the five the server has taken two, and refused one more that it never told of
      const answer = by === 'push' ? { ...more(n), results: [], cookie: undefined } : page([], { ...more(n), complete: false });
      await c.apply(answer);
      const renewed = await id();
      deepStrictEqual([renewed === old, await outbox()],
        [false, [[-1, 'acked'], [0, 'acked'], [1, 'pending'], [2, 'pending'], [3, 'pending']]]);
      deepStrictEqual(await titles(c), { a: 'a5', b: 'b4', c: 'c3' });
      // old news, again and late, is about somebody else
      await c.apply(answer);
      await c.apply(page([], { last_mutation_id: n + 2, rejected: [{ id: n - 1, code: 'X' }, { id: 1, code: 'X' }], cookie: { at: op, client: old } }));
      deepStrictEqual([await id(), await outbox()],
        [renewed, [[-1, 'acked'], [0, 'acked'], [1, 'pending'], [2, 'pending'], [3, 'pending']]]);
      deepStrictEqual((await mutations(c)).map((m) => [m.id, m.values.title]), [[1, 'c3'], [2, 'b4'], [3, 'a5']]);
      // under the new id all is as ever
      await c.apply(page([put(1, A, { title: 'a1' }), put(1, C, { title: 'c' })], { cookie: { at: op, client: renewed } }));
      deepStrictEqual([await titles(c), await pending(c)], [{ a: 'a5', b: 'b4', c: 'c3' }, 3]);
      await c.apply({ last_mutation_id: 3, results: [{ id: 1, status: 'applied' }, { id: 2, status: 'rejected', code: '1', message: 'no' }, { id: 3, status: 'applied' }] });
      await c.sql(`UPDATE issues SET title = 'c6' WHERE id = '${C}'`);
      deepStrictEqual((await mutations(c)).map((m) => [m.id, m.values.title]), [[4, 'c6']]);
      await c.apply(page([put(1, A, { title: 'a5' }), put(1, C, { title: 'c6' })], { last_mutation_id: 4, cookie: { at: op, client: renewed } }));
      deepStrictEqual([await titles(c), await pending(c), (await c.sql('SELECT id FROM tide_rejected ORDER BY id')).map((r) => Number(r.id))],
        [{ a: 'a5', b: 'b', c: 'c6' }, 0, by === 'push' ? [2] : [-4, 2]]);
      await c.apply(page([remove(1, C)], { last_mutation_id: 4, cookie: { at: op, client: renewed } }));
    }
  },

  async 'a local transaction is one group, pushed whole'(c) {
    const [begin, end] = c.kind === 'sqlite' ? ['BEGIN; INSERT INTO tide_transaction DEFAULT VALUES;', 'DELETE FROM tide_transaction; COMMIT;'] : ['BEGIN;', 'COMMIT;'];
    await c.apply(page([put(1, A, { title: 'a' }), put(1, B, { title: 'b' })]));
    await c.sql(`UPDATE issues SET title = 'one' WHERE id = '${A}'`);
    await c.sql(`${begin} UPDATE issues SET title = 'two' WHERE id = '${A}'; INSERT INTO issues (id, title) VALUES ('${C}', 'c'); ${end}`);
    await c.sql(`UPDATE issues SET stars = 1 WHERE id = '${C}'`);
    await c.sql(`${begin} UPDATE issues SET stars = 2 WHERE id = '${B}'; UPDATE issues SET stars = 3 WHERE id = '${C}'; ${end}`);
    await c.sql(`UPDATE issues SET done = ${c.kind === 'sqlite' ? 1 : true} WHERE id = '${B}'`);
    deepStrictEqual((await mutations(c)).map((m) => [m.id, m.tx]), [[1, undefined], [2, 2], [3, 2], [4, undefined], [5, 5], [6, 5], [7, undefined]]);
    // the group falls, with what was written on its insert, and the group that was part of
    await c.apply({ last_mutation_id: 3, results: [{ id: 1, status: 'applied' }, { id: 2, status: 'rejected', code: '25P02', message: 'group' }, { id: 3, status: 'rejected', code: '23514', message: 'no' }] });
    deepStrictEqual([await titles(c), await c.sql('SELECT stars, done FROM issues ORDER BY id')],
      [{ a: 'one', b: 'b' }, [{ stars: null, done: null }, { stars: null, done: c.kind === 'sqlite' ? 1 : true }]]);
    deepStrictEqual((await c.sql('SELECT id, code, message FROM tide_rejected ORDER BY id')).map((r) => [Number(r.id), r.code, r.message.slice(0, 21)]),
      [[2, '25P02', 'group'], [3, '23514', 'no'], [4, '23514', 'depends on mutation 3'], [5, '23514', 'depends on mutation 3'], [6, '23514', 'depends on mutation 3']]);
    deepStrictEqual((await mutations(c)).map((m) => [m.id, m.tx, m.values]), [[4, undefined, {}], [5, undefined, {}], [6, undefined, {}], [7, undefined, { done: true }]]);
  },

  async 'a push ends where a group does'(c) {
    const [begin, end] = c.kind === 'sqlite' ? ['BEGIN; INSERT INTO tide_transaction DEFAULT VALUES;', 'DELETE FROM tide_transaction; COMMIT;'] : ['BEGIN;', 'COMMIT;'];
    const many = (n, at) => Array.from({ length: n }, (_, i) => `INSERT INTO issues (title) VALUES ('${at + i}');`).join('\n');
    await c.sql(`${begin} ${many(600, 0)} ${end} ${begin} ${many(600, 600)} ${end} ${begin} ${many(1100, 1200)} ${end}`);
    const request = await c.pushRequest();
    const sent = (r) => [r.length, r[0].tx, r.at(-1).tx];
    deepStrictEqual(sent(await mutations(c)), [600, 1, 1]);
    const taken = (n) => c.apply({ last_mutation_id: n, results: [] });
    await taken(600);
    deepStrictEqual(sent(await mutations(c)), [600, 601, 601]);
    await taken(1200);
    deepStrictEqual(sent(await mutations(c)), [1100, 1201, 1201]);
    deepStrictEqual(request.includes('"seen"') && !request.includes('null') && c.kind === 'postgres', false);
  },

  async 'a push is of two million characters at most, unless its only group has more'(c) {
    const [begin, end] = c.kind === 'sqlite' ? ['BEGIN; INSERT INTO tide_transaction DEFAULT VALUES;', 'DELETE FROM tide_transaction; COMMIT;'] : ['BEGIN;', 'COMMIT;'];
    const long = (n) => (c.kind === 'sqlite' ? `printf('%.${n}c', 'x')` : `repeat('x', ${n})`);
    const insert = (n) => `INSERT INTO issues (title) VALUES (${long(n)});`;
    await c.sql(insert(900000) + insert(900000) + insert(900000));
    await c.sql(`${begin} ${insert(900000)} ${insert(900000)} ${insert(900000)} ${end} ${insert(5)} ${begin} ${insert(5)} ${insert(5)} ${end}`);
    const sent = [];
    for (let ids; (ids = (await pushed(c)).map((m) => m.id)).length > 0;) {
      sent.push(ids);
      await c.apply({ last_mutation_id: ids.at(-1), results: [] });
    }
    deepStrictEqual(sent, c.kind === 'sqlite' ? [[1, 2], [3], [4, 5, 6], [7, 8, 9]] : [[1, 2, 3], [4, 5, 6], [7, 8, 9]]);
  },

  async 'a long queue is sent page by page'(c) {
    const rows = c.kind === 'sqlite' ? 'WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000) SELECT i FROM n' : 'SELECT generate_series(1, 12000) AS i';
    const [begin, end] = c.kind === 'sqlite' ? ['BEGIN; INSERT INTO tide_transaction DEFAULT VALUES;', 'DELETE FROM tide_transaction; COMMIT;'] : ['BEGIN;', 'COMMIT;'];
    await c.sql(`INSERT INTO tide_call (name) VALUES ('first')`);
    await c.sql(`${begin} INSERT INTO tide_call (name) SELECT 'm' || i FROM (${rows}) AS x; ${end}`);
    await c.sql(`INSERT INTO tide_call (name) VALUES ('last')`);
    const sent = [];
    for (let next; (next = await pushed(c)).length > 0;) {
      sent.push([next[0].id, next.at(-1).id, next.length, next[0].tx]);
      await c.apply({ last_mutation_id: next.at(-1).id, results: [] });
    }
    deepStrictEqual(sent, [[1, 1, 1, undefined], [2, 10001, 10000, 2], [10002, 12001, 2000, 10002], [12002, 12002, 1, undefined]]);
  },

  async 'clocks go on, whatever the time is'(c) {
    const clock = async () => (await pushed(c)).map((m) => m.hlc);
    await c.apply(page([put(1, A, { title: 'a' }), put(1, B, { title: 'b' })]));
    await c.sql(`UPDATE issues SET title = title || '1'`);
    const ahead = new Date(Date.now() + 30000);
    await c.apply(page([], { checkpoint: { op_id: op, lsn: '0/AB', at: ahead.toISOString() } }));
    await c.sql(`DELETE FROM issues`);
    const clocks = await clock();
    deepStrictEqual([...clocks].sort(), clocks);
    deepStrictEqual(new Set(clocks).size, 4);
    const { client } = JSON.parse(await c.pullRequest());
    for (const h of clocks) deepStrictEqual([/^[0-9a-f]{12}-[0-9a-f]{4}-[0-9a-f]{16}$/.test(h), h.slice(18)], [true, client.replaceAll('-', '').slice(16)]);
    const ms = clocks.map((h) => parseInt(h.slice(0, 12), 16));
    deepStrictEqual([Math.abs(ms[0] - Date.now()) < 30000, Math.abs(ms[2] - ahead) <= 1], [true, true]);
    deepStrictEqual((await pushed(c)).map((m) => [m.seen, m.vclock]), [['0/1', { [client]: 1 }], ['0/1', { [client]: 2 }], ['0/AB', { [client]: 3 }], ['0/AB', { [client]: 4 }]]);
  },

  async 'a clock that was ahead is set right when the server refuses it'(c) {
    const ahead = async () => parseInt((await pushed(c)).at(-1).hlc.slice(0, 12), 16) - Date.now() > 60000;
    await c.apply(page([put(1, A, { title: 'a' })]));
    await c.sql(`UPDATE tide_client SET clock = clock + 157680000000 * 65536`);
    await c.sql(`UPDATE issues SET title = 'one'`);
    await c.sql(`UPDATE issues SET title = 'two'`);
    deepStrictEqual(await ahead(), true);
    const refused = { last_mutation_id: 2, results: [1, 2].map((id) => ({ id, status: 'rejected', code: '22008', message: 'clock is ahead' })) };
    await c.apply(refused);
    await c.sql(`UPDATE issues SET title = 'three'`);
    deepStrictEqual(await ahead(), false);
    await c.sql('UPDATE tide_rejected SET retry = true WHERE id = 2');
    deepStrictEqual([await ahead(), (await mutations(c)).map((m) => m.values.title)], [false, ['three', 'two']]);
    const clock = await one(c, 'SELECT clock FROM tide_client');
    await c.apply(refused);
    deepStrictEqual(await one(c, 'SELECT clock FROM tide_client'), clock);
  },

  async 'calls wait in the same queue'(c) {
    await c.apply(page([put(1, A, { title: 'a' })]));
    await c.sql(`INSERT INTO tide_call (name, args) VALUES ('close_issue', '{"id": 1}')`);
    await c.sql(`INSERT INTO tide_call (name) VALUES ('close_issue')`);
    await c.sql(`UPDATE issues SET title = 'x'`);
    deepStrictEqual((await mutations(c)).slice(0, 2), [{ id: 1, call: 'close_issue', args: { id: 1 } }, { id: 2, call: 'close_issue', args: {} }]);
    let error = null;
    await c.sql(`INSERT INTO tide_call (name, args) VALUES ('x', '[1]')`).catch((e) => { error = e; });
    deepStrictEqual(error !== null, true);
    await c.apply({ last_mutation_id: 3, results: [{ id: 1, status: 'rejected', code: '42883', message: 'no such' }, { id: 2, status: 'applied' }, { id: 3, status: 'merged' }] });
    deepStrictEqual([(await c.sql('SELECT name FROM tide_call')).length, await titles(c), await pending(c)], [1, { a: 'x' }, 2]);
    await c.sql('UPDATE tide_rejected SET retry = true');
    deepStrictEqual([await mutations(c), Number(await one(c, 'SELECT rejected FROM tide_status'))], [[{ id: 4, call: 'close_issue', args: { id: 1 } }], 0]);
    await c.apply(page([], { last_mutation_id: 4 }));
    deepStrictEqual(await pending(c), 0);
  },

  async 'statements of several rows, and upserts'(c) {
    await c.apply(page([put(1, A, { title: 'a' })]));
    await c.sql(`INSERT INTO issues (id, title) VALUES ('${B}', 'b'), ('${C}', 'c')`);
    await c.sql(`UPDATE issues SET title = title || '1'`);
    deepStrictEqual([await titles(c), await pending(c)], [{ a: 'a1', b: 'b1', c: 'c1' }, 5]);
    const D = A.replace(/a$/, 'd');
    const rows = `SELECT '${C}' AS id, 'up' AS title UNION ALL SELECT '${D}', 'up'`;
    if (c.kind === 'postgres') {
      await c.sql(`MERGE INTO issues AS i USING (SELECT r.id::uuid, r.title FROM (${rows}) AS r) AS r ON i.id = r.id
        WHEN MATCHED THEN UPDATE SET title = r.title WHEN NOT MATCHED THEN INSERT (id, title) VALUES (r.id, r.title)`);
    } else {
      await c.sql(`UPDATE issues SET title = r.title FROM (${rows}) AS r WHERE issues.id = r.id;
        INSERT INTO issues (id, title) SELECT r.id, r.title FROM (${rows}) AS r WHERE NOT EXISTS (SELECT 1 FROM issues AS i WHERE i.id = r.id)`);
    }
    deepStrictEqual([await titles(c), (await mutations(c)).slice(5).map((m) => [m.op, m.values])],
      [{ a: 'a1', b: 'b1', c: 'up', d: 'up' }, [['update', { title: 'up' }], ['insert', { title: 'up' }]]]);
    await c.sql(`DELETE FROM issues WHERE title = 'up'`);
    deepStrictEqual([await titles(c), await pending(c)], [{ a: 'a1', b: 'b1' }, 9]);
  },

  // what SQLite does with the rows of a table it does with those of a view
  async 'insert or ignore, insert or replace'(c) {
    if (c.kind === 'postgres') return;
    const D = A.replace(/a$/, 'd');
    await c.apply(page([put(1, A, { title: 'a', done: true, stars: '4' }), put(2, B, { title: 'b' })]));
    const fails = async (text) => {
      let error = null;
      await c.sql(text).catch((e) => { error = e; });
      deepStrictEqual(/UNIQUE constraint failed/.test(error?.message), true);
    };
    for (const how of ['', 'OR ABORT ', 'OR FAIL ', 'OR ROLLBACK ']) await fails(`INSERT ${how}INTO issues (id, title) VALUES ('${A}', 'x')`);
    await fails(`INSERT INTO issues (id, title) VALUES ('${D}', 'x'), ('${A}', 'x')`);
    deepStrictEqual([await titles(c), await pending(c)], [{ a: 'a', b: 'b' }, 0]);
    await c.sql(`INSERT OR IGNORE INTO issues (id, title) VALUES ('${A}', 'x'), ('${C}', 'c'), ('${C}', 'y')`);
    deepStrictEqual([await titles(c), (await mutations(c)).map((m) => [m.op, m.values])], [{ a: 'a', b: 'b', c: 'c' }, [['insert', { title: 'c' }]]]);
    await c.sql(`INSERT OR REPLACE INTO issues (id, title, stars) VALUES ('${A}', 'a1', 4), ('${C}', 'c1', NULL), ('${D}', 'd', 1), (NULL, 'new', NULL)`);
    await c.sql(`REPLACE INTO issues (id, title) VALUES ('${B}', 'b')`);
    const done = await mutations(c);
    deepStrictEqual([(await c.sql('SELECT title FROM issues ORDER BY title')).map((r) => r.title), done.slice(1).map((m) => [m.op, m.values, m.base])], [['a1', 'b', 'c1', 'd', 'new'],
      [['update', { title: 'a1', done: null }, { title: 'a', done: true }], ['update', { title: 'c1' }, { title: 'c' }],
        ['insert', { title: 'd', stars: 1 }, undefined], ['insert', { title: 'new' }, undefined]]]);
    // a row deleted here is not there
    await c.sql(`DELETE FROM issues WHERE id = '${B}'; INSERT OR IGNORE INTO issues (id, title) VALUES ('${B}', 'again')`);
    const title = () => one(c, `SELECT title FROM issues WHERE id = '${B}'`);
    deepStrictEqual([await title(), (await mutations(c)).slice(done.length).map((m) => m.op)], ['again', ['delete', 'insert']]);
    await c.sql('PRAGMA recursive_triggers = on');
    await c.sql(`INSERT OR REPLACE INTO issues (id, title) VALUES ('${B}', 'once more')`);
    deepStrictEqual(await title(), 'once more');
  },

  async 'what a call returned is kept'(c) {
    await c.apply(page([put(1, A, { title: 'a' })]));
    for (const i of [1, 2, 3]) await c.sql(`INSERT INTO tide_call (name, args) VALUES ('m${i}', '{}')`);
    await c.sql(`UPDATE issues SET title = 'b' WHERE id = '${A}'`);
    deepStrictEqual(Number(await one(c, 'SELECT max(id) FROM tide_call')), 3);
    if (c.kind === 'postgres') {
      deepStrictEqual(Number(await one(c, `BEGIN; INSERT INTO tide_call (name) VALUES ('m4') RETURNING id`)), 5);
      await c.sql('ROLLBACK');
    }
    const results = async () => (await c.sql('SELECT id, name, result FROM tide_result ORDER BY id')).map((r) => [Number(r.id), r.name, json(r.result)]);
    const answer = { last_mutation_id: 4, results: [{ id: 1, status: 'applied', result: { n: 1, s: 'x' } }, { id: 2, status: 'applied' },
      { id: 3, status: 'rejected', code: '23514', message: 'no' }, { id: 4, status: 'applied' }] };
    await c.apply(answer);
    const kept = [[1, 'm1', { n: 1, s: 'x' }], [2, 'm2', null]];
    deepStrictEqual(await results(), kept);
    await c.apply(answer);
    await c.apply(page([put(1, A, { title: 'b' })], { last_mutation_id: 4 }));
    deepStrictEqual([await results(), await pending(c)], [kept, 0]);
    // no more than a thousand
    const many = c.kind === 'sqlite' ? 'WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1001) SELECT i FROM n' : 'SELECT generate_series(1, 1001) AS i';
    await c.sql(`INSERT INTO tide_call (name) SELECT 'm' || i FROM (${many}) AS x`);
    const ids = (await c.sql('SELECT id FROM tide_call ORDER BY id')).map((r) => Number(r.id));
    await c.apply({ last_mutation_id: ids.at(-1), results: ids.map((id) => ({ id, status: 'applied', result: id })) });
    deepStrictEqual([(await results()).length, (await results())[0], (await results()).at(-1)[2]], [1000, [ids[1], 'm2', ids[1]], ids.at(-1)]);
  },

  async 'a refused write is made again, or forgotten'(c) {
    await c.apply(page([put(1, A, { title: 'a', stars: 1 }), put(1, B, { title: 'b' })]));
    await c.sql(`UPDATE issues SET title = 'mine' WHERE id = '${A}'`);
    await c.sql(`DELETE FROM issues WHERE id = '${B}'`);
    await c.sql(`INSERT INTO issues (id, title) VALUES ('${C}', 'c')`);
    await c.sql(`UPDATE issues SET title = 'c1' WHERE id = '${C}'`);
    await c.apply({ last_mutation_id: 3, results: [1, 2, 3].map((id) => ({ id, status: 'rejected', code: '23514', message: 'no' })) });
    deepStrictEqual([await titles(c), Number(await one(c, 'SELECT rejected FROM tide_status'))], [{ a: 'a', b: 'b' }, 4]);
    await c.apply(page([put(1, A, { title: 'theirs', stars: 1 }), put(1, B, { title: 'b2' })], { last_mutation_id: 3 }));
    await c.sql('UPDATE tide_rejected SET retry = true WHERE id = 1');
    await c.sql('UPDATE tide_rejected SET retry = true WHERE id IN (2, 3, 4)');
    deepStrictEqual(await titles(c), { a: 'mine', c: 'c1' });
    deepStrictEqual((await mutations(c)).slice(1).map(({ tx, ...m }) => m), [
      { id: 5, op: 'update', table: 'public.issues', key: { id: A }, values: { title: 'mine' }, base: { title: 'theirs' } },
      { id: 6, op: 'delete', table: 'public.issues', key: { id: B }, base: { title: 'b2', done: null } },
      { id: 7, op: 'insert', table: 'public.issues', key: { id: C }, values: { title: 'c' } },
      { id: 8, op: 'update', table: 'public.issues', key: { id: C }, values: { title: 'c1' }, base: { title: 'c' } }]);
    await c.apply({ last_mutation_id: 8, results: [{ id: 5, status: 'rejected', code: 'TD001', message: 'no' }] });
    await c.sql('DELETE FROM tide_rejected');
    deepStrictEqual([await titles(c), Number(await one(c, 'SELECT rejected FROM tide_status'))], [{ a: 'theirs', c: 'c1' }, 0]);
  },

  async 'what a refused write did to a counter or a set is made again'(c) {
    const tags = (...t) => (c.kind === 'sqlite' ? `'${JSON.stringify(t)}'` : `'{${t}}'`);
    const made = async () => (await mutations(c)).map(({ tx, op: o, table, key, ...m }) => m);
    const reject = (...ids) => c.apply({ last_mutation_id: Math.max(...ids), results: ids.map((id) => ({ id, status: 'rejected', code: '23514', message: 'no' })) });
    await c.apply(page([put(1, A, { title: 'a', stars: 10, tags: ['x', 'y'], meta: { k: 1 }, price: 1.5 })]));
    await c.sql(`UPDATE issues SET title = 'mine', stars = stars + 1, tags = ${tags('y', 'z')}, meta = '{"k":2}'`);
    await reject(1);
    await c.apply(page([put(1, A, { title: 'theirs', stars: 20, tags: ['x', 'y', 'w'], meta: { k: 3 }, price: 1.5 })], { last_mutation_id: 1 }));
    const values = { title: 'mine', stars: 11, tags: ['y', 'z'], meta: { k: 2 } };
    const base = { title: 'theirs', stars: 10, tags: ['x', 'y'], meta: { k: 1 } };
    await c.sql('UPDATE tide_rejected SET retry = true');
    deepStrictEqual(await made(), [{ id: 2, values, base }]);
    // as any pending write the app sees it as it was made, and goes on from there
    const seen = async () => { const [r] = await c.sql('SELECT title, stars, tags FROM issues'); return [r.title, Number(r.stars), json(r.tags)]; };
    deepStrictEqual(await seen(), ['mine', 11, ['y', 'z']]);
    await c.sql('UPDATE issues SET stars = stars + 5');
    deepStrictEqual((await made())[1], { id: 3, values: { stars: 16 }, base: { stars: 11 } });
    // refused again, with more news, and of a row that has left
    await reject(2);
    await c.apply(page([put(1, A, { title: 'more', stars: 30, tags: null, price: 1.5 })], { last_mutation_id: 2 }));
    await c.sql('UPDATE tide_rejected SET retry = true WHERE id = 2');
    deepStrictEqual((await made()).at(-1), { id: 4, values, base: { ...base, title: 'more' } });
    await reject(3, 4);
    await c.apply(page([remove(1, A)], { last_mutation_id: 4 }));
    await c.sql('UPDATE tide_rejected SET retry = true WHERE id = 4');
    deepStrictEqual(await made(), [{ id: 5, values, base: { ...base, title: 'more' } }]);
    await reject(5);
    await c.sql('DELETE FROM tide_rejected');

    // a local transaction; to nothing, from nothing, and numbers that no double has
    await c.apply(JSON.stringify(page([put(1, B, { title: 'b', stars: 7, price: '@price' })], { last_mutation_id: 5 })).replace('"@price"', '12345678901234567890.1234567890'));
    const group = (text) => c.sql(c.kind === 'sqlite' ? `BEGIN; INSERT INTO tide_transaction DEFAULT VALUES; ${text}; DELETE FROM tide_transaction; COMMIT` : `BEGIN; ${text}; COMMIT`);
    await group(`UPDATE issues SET stars = NULL, tags = ${tags('n')}; UPDATE issues SET stars = 2, price = '0'; DELETE FROM issues`);
    const ids = [6, 7, 8];
    await reject(...ids);
    await c.apply(page([put(1, B, { title: 'b2', stars: 8, tags: ['o'], price: 3 })], { last_mutation_id: 8 }));
    await group('UPDATE tide_rejected SET retry = true');
    deepStrictEqual(/"price": ?12345678901234567890\.1234567890/.test(await c.pushRequest()), true);
    const [first, second, third] = await mutations(c);
    deepStrictEqual([first.values, first.base, second.values.stars, second.base.stars], [{ stars: null, tags: ['n'] }, { stars: 7, tags: null }, 2, null]);
    // a delete is about what is there
    deepStrictEqual([first.tx, second.tx, third.tx, third.op, third.base.title, third.base.stars, (await c.sql('SELECT * FROM issues')).length],
      [9, 9, 9, 'delete', 'b2', 2, 0]);
  },

  async 'progress, and being offline, can be seen'(c) {
    const status = async () => (await c.sql('SELECT state, received, expected FROM tide_status'))[0];
    const numbers = async () => { const s = await status(); return [s.state, Number(s.received), s.expected === null ? null : Number(s.expected)]; };
    deepStrictEqual(await numbers(), ['new', 0, null]);
    await c.apply(page([put(1, A, { title: 'a' })], { complete: false, remaining: 2 }));
    deepStrictEqual(await numbers(), ['syncing', 1, 3]);
    await c.sql('UPDATE tide_status SET is_online = false');
    deepStrictEqual(await numbers(), ['offline', 1, 3]);
    await c.apply(page([put(1, B, { title: 'b' }), put(1, C, { title: 'c' })]));
    deepStrictEqual(await numbers(), ['synced', 3, 3]);
    await c.apply(page([put(1, B, { title: 'b1' })]));
    deepStrictEqual(await numbers(), ['synced', 1, 1]);
  },
};

for (const [Client, script] of [[SqliteClient, sqliteScript], [PgliteClient, postgresScript]]) {
  let client;
  for (listed of Client === PgliteClient ? [true, false] : [true]) {
    for (const [name, scenario] of Object.entries(scenarios)) {
      client = await Client.create(script, `${scratch}/client.db`, client);
      const title = `${client.kind}: ${name}${listed ? '' : ', in other answers'}`;
      try {
        await scenario(client);
        report(true, title);
      } catch (error) {
        report(false, title, error.message);
      }
    }
  }
  await client.close();
}
console.log(`1..${count}`);
process.exit(failed === 0 ? 0 : 1);
