// Clients against a real server: random edits on both sides, answers that are lost,
// come twice or come late, pages of any size, subscriptions that change. When all stop
// writing, every client has what the server has, and nothing is left to send.
// Prints TAP. The server is where PGHOST, PGPORT and PGDATABASE say.
// usage: node sync.mjs scratch-folder seed rounds
import { spawnSync } from 'node:child_process';
import { deepStrictEqual } from 'node:assert';
import { writeFileSync } from 'node:fs';
import { PgliteClient, SqliteClient } from './clients.mjs';

const [scratch, seedText, roundsText] = process.argv.slice(2);
let seed = Number(seedText) >>> 0;
const rounds = Number(roundsText);
console.log(`# seed ${seed}, ${rounds} rounds`);

// mulberry32: the same numbers for the same seed
function random(n) {
  seed = (seed + 0x6d2b79f5) >>> 0;
  let t = seed;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) % n;
}
const pick = (list) => list[random(list.length)];
const chance = (percent) => random(100) < percent;

function psql(text, user) {
  const run = spawnSync('psql', ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', ...(user ? ['-U', user] : [])],
    { input: text, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (run.status !== 0) throw new Error(`${run.stderr}\n${text.slice(0, 500)}`);
  return run.stdout.replace(/\n$/, '');
}
const quote = (text) => `'${text.replaceAll("'", "''")}'`;
const rowsOf = (query) => JSON.parse(psql(`SELECT coalesce(json_agg(to_jsonb(r)), '[]') FROM (${query}) AS r`));

const texts = ["it's", 'say "x"', 'back\\slash', '\u{1f30a} tide', '', '\ttab', 'line\nbreak', '{"a": 1}', 'null'];
const literal = (kind, text) => (text === null ? 'NULL' : quote(text));

// one random statement of an app, good for the server and both clients
function statement(kind, who) {
  const id = random(25);
  const grp = random(4);
  const bool = (b) => (kind === 'sqlite' ? String(Number(b)) : String(b));
  switch (random(9)) {
    case 0: case 1:
      return `INSERT INTO items (id, grp, title, n, price, flag) SELECT ${id}, ${grp}, ${literal(kind, pick(texts))}, ${random(20)}, '${random(1000)}.50', ${bool(chance(50))}
        WHERE NOT EXISTS (SELECT 1 FROM items WHERE id = ${id});`;
    case 2:
      return `DELETE FROM items WHERE id = ${id};`;
    case 3:
      return `UPDATE items SET grp = ${grp} WHERE id = ${id};`;
    case 4:
      return `UPDATE items SET n = ${random(20)}, flag = ${pick(['NULL', bool(true), bool(false)])} WHERE id = ${id};`;
    case 5:
      return `UPDATE items SET price = '${random(10 ** 6)}.25' WHERE id = ${id};`;
    case 6:
      return `INSERT INTO notes (a, b, body) SELECT '${who}', ${random(6)}, ${literal(kind, pick(texts))}
        WHERE NOT EXISTS (SELECT 1 FROM notes WHERE a = '${who}' AND b = 0);`;
    case 7:
      return `UPDATE notes SET body = ${literal(kind, pick([...texts, null]))} WHERE b = ${random(6)};`;
    default:
      return `UPDATE items SET title = ${literal(kind, pick([...texts, null]))} WHERE id % 5 = ${random(5)};`;
  }
}

class Actor {
  constructor(name, db) {
    Object.assign(this, { name, db, groups: new Set(), few: new Set(), late: [] });
  }

  async write() {
    const many = 1 + random(3);
    for (let i = 0; i < many; i++) {
      await this.db.sql(statement(this.db.kind, this.name)).catch((e) => {
        // the client refuses what can never be right, as any database does
        if (!/unique|duplicate/i.test(e.message)) throw e;
      });
    }
  }

  async subscribe() {
    const set = chance(70) ? this.groups : this.few;
    const shape = set === this.groups ? 'items' : 'few';
    const grp = random(4);
    const params = `{"grp": ${grp}}`;
    if (set.delete(grp)) {
      await this.db.sql(`DELETE FROM tide_subscription WHERE shape = '${shape}' AND params = ${quote(params)}`);
    } else {
      set.add(grp);
      await this.db.sql(`INSERT INTO tide_subscription (shape, params) VALUES ('${shape}', ${quote(params)})`);
    }
  }

  // one trip; bad lines lose, double and delay answers
  async hop(kind, bad) {
    const request = kind === 'push' ? await this.db.pushRequest() : await this.db.pullRequest();
    if (request === null) return;
    const answer = psql(`SELECT tide.${kind}(${quote(request)})`, 'app');
    if (bad && chance(20)) {
      if (chance(50)) this.late.push(answer);
      return;
    }
    await this.db.apply(answer);
    if (bad && chance(15)) await this.db.apply(answer);
    if (bad && chance(30) && this.late.length > 0) await this.db.apply(this.late.shift());
  }

  async settle() {
    for (let i = 0; i < 300; i++) {
      await this.hop('push', false);
      await this.hop('pull', false);
      const [status] = await this.db.sql('SELECT state, pending FROM tide_status');
      if (status.state === 'synced' && Number(status.pending) === 0) return i;
    }
    throw new Error(`${this.name} does not come to rest: ${JSON.stringify(await this.db.sql('SELECT * FROM tide_status'))}`);
  }

  async compare() {
    const list = (set) => `(${[...set, -1].join(', ')})`;
    const shown = (column) => `CASE WHEN grp IN ${list(this.groups)} THEN ${column} END AS ${column}`;
    const expected = rowsOf(`SELECT id, ${shown('grp')}, title, ${shown('n')}, ${shown('price::text')}, ${shown('flag')} FROM items
      WHERE grp IN ${list(this.groups)} OR grp IN ${list(this.few)} ORDER BY id`.replace('AS price::text', 'AS price'));
    const flag = this.db.kind === 'sqlite' ? 'flag' : 'CASE WHEN flag THEN 1 WHEN NOT flag THEN 0 END AS flag';
    const actual = await this.db.sql(`SELECT id, grp, title, n, CAST(price AS text) AS price, ${flag} FROM items ORDER BY id`);
    deepStrictEqual(actual, expected.map((r) => ({ ...r, flag: r.flag === null ? null : Number(r.flag) })));
    const body = rowsOf(`SELECT a, b, body FROM notes ORDER BY a COLLATE "C", b`);
    deepStrictEqual(await this.db.sql(`SELECT a, b, body FROM notes ORDER BY a${this.db.kind === 'sqlite' ? '' : ' COLLATE "C"'}, b`), body);
    // nothing that a client makes is malformed
    deepStrictEqual(await this.db.sql(`SELECT message FROM tide_rejected WHERE code = '22023'`), []);
    for (const table of ['items_local', 'notes_local', 'tide_outbox']) {
      deepStrictEqual([table, Number(Object.values((await this.db.sql(`SELECT count(*) FROM ${table}`))[0])[0])], [table, 0]);
    }
    return actual.length + body.length;
  }
}

const scripts = {};
for (const dialect of ['sqlite', 'postgres']) {
  scripts[dialect] = `${scratch}/sync_${dialect}.sql`;
  writeFileSync(scripts[dialect], psql(`SELECT tide.client_schema('{items,few,notes,votes}', '${dialect}')`));
}
const actors = [
  new Actor('anna', await SqliteClient.create(scripts.sqlite, `${scratch}/anna.db`)),
  new Actor('ben', await PgliteClient.create(scripts.postgres)),
  new Actor('cleo', await SqliteClient.create(scripts.sqlite, `${scratch}/cleo.db`)),
];
for (const actor of actors) {
  await actor.db.sql(`INSERT INTO tide_subscription (shape) VALUES ('notes')`);
  await actor.subscribe();
}

let count = 0;
let failed = 0;

// Two clients write the same rows without a line; a group of one is refused, and made again when the other's writes are there.
// In row 1 it is anna's, in row 2 ben's.
async function retries() {
  const pair = actors.slice(0, 2);
  const values = async (actor) => (await actor.db.sql('SELECT id, n, tags FROM votes ORDER BY id')).map((r) => [r.n, typeof r.tags === 'string' ? JSON.parse(r.tags) : r.tags]);
  for (const actor of pair) {
    await actor.db.sql(`INSERT INTO tide_subscription (shape) VALUES ('votes')`);
    await actor.settle();
  }
  for (const [i, actor] of pair.entries()) {
    const isSqlite = actor.db.kind === 'sqlite';
    const vote = (id, ...tags) => `UPDATE votes SET n = n + 1, tags = ${isSqlite ? quote(JSON.stringify(tags)) : quote(`{${tags}}`)} WHERE id = ${id}`;
    await actor.db.sql(vote(2 - i, 'x', 'y', 'b'));
    await actor.db.sql(`BEGIN; ${isSqlite ? 'INSERT INTO tide_transaction DEFAULT VALUES;' : ''} ${vote(1 + i, 'y', 'a')};
      UPDATE votes SET n = n + 1, note = 'too soon' WHERE id = ${1 + i}; ${isSqlite ? 'DELETE FROM tide_transaction;' : ''} COMMIT;`);
    await actor.hop('push', false);
  }
  psql('SELECT tide.sync()');
  psql(`UPDATE votes SET n = n + 5, note = 'b', tags = tags || '{c}'; SELECT tide.sync()`);
  for (const actor of pair) await actor.settle();
  deepStrictEqual(await values(actors[0]), [1, 2].map(() => [16, ['x', 'y', 'b', 'c']]));
  psql('ALTER TABLE votes DROP CONSTRAINT votes_note_check');
  for (const actor of pair) {
    const group = (text) => (actor.db.kind === 'sqlite' ? `BEGIN; INSERT INTO tide_transaction DEFAULT VALUES; ${text}; DELETE FROM tide_transaction; COMMIT;` : text);
    deepStrictEqual((await actor.db.sql('SELECT op FROM tide_rejected')).length, 2);
    await actor.db.sql(group(`UPDATE tide_rejected SET retry = ${actor.db.kind === 'sqlite' ? 1 : 'true'}`));
    await actor.settle();
    deepStrictEqual(await actor.db.sql('SELECT code FROM tide_rejected'), []);
  }
  psql('SELECT tide.sync()');
  for (const actor of pair) {
    await actor.settle();
    deepStrictEqual([actor.name, await values(actor)], [actor.name, [1, 2].map(() => [18, ['y', 'b', 'c', 'a']])]);
  }
}
count += 1;
await retries().then(() => console.log(`ok ${count} - what is made again adds to what others have done`), (error) => {
  failed += 1;
  console.log(`not ok ${count} - what is made again adds to what others have done\n${error.message.replace(/^/gm, '# ')}`);
});

const stops = 4;
for (let stop = 1; stop <= stops; stop++) {
  for (let i = 0; i < rounds / stops; i++) {
    if (chance(25)) {
      // a server transaction that fails is none of the clients' business
      spawnSync('psql', ['-X', '-q', '-1'], { input: Array.from({ length: 1 + random(4) }, () => statement('postgres', 'server')).join('\n') });
      continue;
    }
    const actor = pick(actors);
    if (chance(30)) await actor.db.sql(`UPDATE tide_client SET page_limit = ${pick(['NULL', 1, 2, 5])}`);
    if (chance(10)) await actor.subscribe();
    else if (chance(50)) await actor.write();
    else await actor.hop(chance(50) ? 'push' : 'pull', true);
  }
  // whoever comes last must not leave the first ones behind
  for (const actor of [...actors, ...actors]) await actor.settle();
  psql('SELECT tide.sync()');
  for (const actor of actors) {
    count += 1;
    let detail = '';
    try {
      actor.late = [];
      await actor.settle();
      const rows = await actor.compare();
      const [{ rejected }] = await actor.db.sql('SELECT rejected FROM tide_status');
      detail = `${rows} rows, ${rejected} rejected`;
      console.log(`ok ${count} - stop ${stop}: ${actor.name} (${actor.db.kind}) has what the server has`);
      console.log(`# ${detail}`);
    } catch (error) {
      failed += 1;
      console.log(`not ok ${count} - stop ${stop}: ${actor.name} (${actor.db.kind}) has what the server has`);
      console.log(error.message.replace(/^/gm, '# '));
    }
  }
}
for (const actor of actors) await actor.db.close();
console.log(`1..${count}`);
process.exit(failed === 0 ? 0 : 1);
