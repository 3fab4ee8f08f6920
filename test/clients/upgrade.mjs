// usage: node upgrade.mjs scratch-folder, with PGHOST, PGPORT and PGDATABASE of a server made by upgrade.pl
import { spawnSync } from 'node:child_process';
import { deepStrictEqual } from 'node:assert';
import { readFileSync, writeFileSync } from 'node:fs';
import { PgliteClient, SqliteClient } from './clients.mjs';

const scratch = process.argv[2];
const quote = (text) => `'${text.replaceAll("'", "''")}'`;
let count = 0;
let failed = 0;

function psql(text, user) {
  const run = spawnSync('psql', ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', ...(user ? ['-U', user] : [])], { input: text, encoding: 'utf8' });
  if (run.status !== 0) throw new Error(`${run.stderr}\n${text.slice(0, 500)}`);
  return run.stdout.replace(/\n$/, '');
}

function script(shapes, dialect) {
  const file = `${scratch}/upgrade_${dialect}.sql`;
  writeFileSync(file, psql(`SELECT tide.client_schema('{${shapes}}', '${dialect}')`));
  return file;
}

async function check(name, test) {
  count += 1;
  try {
    await test();
    console.log(`ok ${count} - ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`not ok ${count} - ${name}\n${error.message.replace(/^/gm, '# ')}`);
  }
}

async function settle(c) {
  for (let i = 0; i < 100; i++) {
    for (const kind of ['push', 'pull']) {
      const request = kind === 'push' ? await c.pushRequest() : await c.pullRequest();
      if (request !== null) await c.apply(psql(`SELECT tide.${kind}(${quote(request)})`, 'app'));
    }
    const [status] = await c.sql('SELECT state, pending FROM tide_status');
    if (status.state === 'synced' && Number(status.pending) === 0) return;
  }
  throw new Error(`does not come to rest: ${JSON.stringify(await c.sql('SELECT * FROM tide_status'))}`);
}

const number = async (c, query) => Number(Object.values((await c.sql(query))[0])[0]);
const clients = [
  await SqliteClient.create(script('items,gone,notes', 'sqlite'), `${scratch}/upgrade.db`),
  await PgliteClient.create(script('items,gone,notes', 'postgres')),
];
for (const c of clients) {
  await c.sql(`INSERT INTO tide_subscription (shape) VALUES ('items'), ('gone'), ('notes')`);
  await settle(c);
  await c.sql(`UPDATE items SET title = 'by ${c.kind}' WHERE id = ${c.kind === 'sqlite' ? 3 : 4}`);
  await c.sql(`DELETE FROM notes WHERE a = ${c.kind === 'sqlite' ? 1 : 2}`);
  await c.sql(`INSERT INTO items (id, title, old) VALUES (${c.kind === 'sqlite' ? 100 : 101}, 'new', 'gone')`);
  await c.sql(`UPDATE "Gone" SET t = 'y'`);
}

// twice: what a script has made, the same script finds
for (const shapes of ['items,gone,notes', 'items,gone,notes']) {
  for (const c of clients) {
    await check(`${c.kind}: the same script again changes nothing`, async () => {
      const before = [await c.pullRequest(), await c.pushRequest(), await c.sql('SELECT * FROM items ORDER BY id'), await c.sql('SELECT * FROM tide_member')];
      await c.sql(readFileSync(script(shapes, c.kind), 'utf8'));
      deepStrictEqual([await c.pullRequest(), await c.pushRequest(), await c.sql('SELECT * FROM items ORDER BY id'), await c.sql('SELECT * FROM tide_member')], before);
    });
  }
}

psql(`SELECT tide.drop_shape('gone'); DROP TABLE "Gone";
  ALTER TABLE items ADD COLUMN extra int DEFAULT 7, DROP COLUMN old, ALTER COLUMN n TYPE text USING 'n' || n;
  CREATE TABLE asides (id int PRIMARY KEY, item int, t text); INSERT INTO asides VALUES (1, 1, 'aside');
  GRANT SELECT ON asides TO app; SELECT tide.create_shape('asides', '{"table": "asides"}');`);
psql(`SELECT tide.sync()`);
for (const c of clients) {
  await check(`${c.kind}: an upgrade keeps rows and pending writes`, async () => {
    const pending = await c.pushRequest();
    await c.sql(readFileSync(script('items,asides,notes', c.kind), 'utf8'));
    deepStrictEqual(await c.pushRequest(), pending);
    const mine = c.kind === 'sqlite' ? 3 : 4;
    deepStrictEqual(await c.sql(`SELECT id, title, extra FROM items WHERE id IN (1, ${mine}, 100, 101) ORDER BY id`),
      [{ id: 1, title: 'item 1', extra: null }, { id: mine, title: `by ${c.kind}`, extra: null }, { id: c.kind === 'sqlite' ? 100 : 101, title: 'new', extra: null }]);
    deepStrictEqual([await number(c, 'SELECT count(*) FROM notes'), await number(c, 'SELECT count(*) FROM asides')], [4, 0]);
    let error = null;
    await c.sql('SELECT old FROM items').catch((e) => { error = e; });
    deepStrictEqual(error !== null, true);
  });
  await check(`${c.kind}: what is gone can go`, async () => {
    const gone = c.kind === 'sqlite' ? await c.sql('SELECT statement FROM tide_obsolete') : [];
    for (const { statement } of gone) await c.sql(statement);
    deepStrictEqual(gone.length, c.kind === 'sqlite' ? 1 : 0);
    const names = c.kind === 'sqlite' ? 'SELECT count(*) FROM sqlite_schema WHERE name LIKE \'Gone%\'' : 'SELECT count(*) FROM pg_class WHERE relname ~ \'^Gone|^tide_was\'';
    deepStrictEqual(await number(c, names), 0);
  });
}
for (const c of clients) {
  await check(`${c.kind}: comes to what the server has`, async () => {
    await c.sql(`INSERT INTO tide_subscription (shape) VALUES ('asides')`);
    await settle(c);
  });
}
psql('SELECT tide.sync()');
for (const c of clients) {
  await check(`${c.kind}: has what the server has`, async () => {
    await settle(c);
    for (const [table, key] of [['items', 'id'], ['asides', 'id'], ['notes', 'a']]) {
      const server = JSON.parse(psql(`SELECT json_agg(r ORDER BY ${key}) FROM ${table} AS r`));
      deepStrictEqual(await c.sql(`SELECT * FROM ${table} ORDER BY ${key}`), server);
    }
    // the insert of a column that is gone, and the update of a table that is gone
    deepStrictEqual((await c.sql('SELECT id FROM tide_rejected ORDER BY id')).map((r) => Number(r.id)), [3, 4]);
    deepStrictEqual(await number(c, 'SELECT count(*) FROM tide_bucket WHERE resync'), 0);
  });
}

// what is pending does not fit any more: a value, and a key
for (const [i, c] of clients.entries()) {
  await c.sql('DELETE FROM tide_rejected');
  await c.sql(`UPDATE items SET title = 'no number' WHERE id = ${5 + i}`);
  await c.sql(`INSERT INTO items (id, title) VALUES (${200 + i}, 'none either')`);
  await c.sql(`UPDATE items SET extra = 1 WHERE id = ${200 + i}`);
  await c.sql(`UPDATE notes SET body = 'lost' WHERE a = 3`);
  await c.sql(`UPDATE items SET extra = ${30 + i} WHERE id = ${7 + i}`);
}
psql(`SELECT tide.drop_shape('notes'); ALTER TABLE notes ALTER a TYPE uuid USING gen_random_uuid(); ALTER TABLE items ALTER title TYPE int USING id;
  SELECT tide.create_shape('notes', '{"table": "notes"}');`);
for (const [i, c] of clients.entries()) {
  await check(`${c.kind}: writes that do not fit any more keep no upgrade, and no sync, from being done`, async () => {
    await c.sql(readFileSync(script('items,asides,notes', c.kind), 'utf8'));
    psql('SELECT tide.sync()');
    await settle(c);
    psql('SELECT tide.sync()');
    await settle(c);
    for (const [table, key] of [['items', 'id'], ['notes', 'b']]) {
      deepStrictEqual(await c.sql(`SELECT * FROM ${table} ORDER BY ${key}`), JSON.parse(psql(`SELECT json_agg(r ORDER BY ${key}) FROM ${table} AS r`)));
    }
    deepStrictEqual(psql(`SELECT extra FROM items WHERE id = ${7 + i}`), String(30 + i));
    deepStrictEqual((await c.sql('SELECT code FROM tide_rejected ORDER BY id')).map((r) => r.code), ['22P02', '22P02', c.kind === 'sqlite' ? 'P0002' : '22P02', '22P02']);
  });
  await c.close();
}
console.log(`1..${count}`);
process.exit(failed === 0 ? 0 : 1);
