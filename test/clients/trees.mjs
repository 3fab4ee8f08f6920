// What trees.pl has planned, done by real clients against a real server. Prints TAP.
// usage: node trees.mjs scratch-folder
import { spawnSync } from 'node:child_process';
import { deepStrictEqual } from 'node:assert';
import { readFileSync } from 'node:fs';
import { PgliteClient, SqliteClient } from './clients.mjs';

const scratch = process.argv[2];
const plan = JSON.parse(readFileSync(`${scratch}/plan.json`, 'latin1'));

function psql(text, stop = true) {
  const run = spawnSync('psql', ['-X', '-q', '-A', '-t', ...(stop ? ['-v', 'ON_ERROR_STOP=1'] : [])],
    { input: text, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (stop && run.status !== 0) throw new Error(`${run.stderr}\n${text.slice(0, 2000)}`);
  return run.stdout.replace(/\n$/, '');
}
const quote = (text) => `'${text.replaceAll("'", "''")}'`;
const ident = (name) => `"${name.replaceAll('"', '""')}"`;
const sorted = (object) => Object.fromEntries(Object.entries(object).filter(([, v]) => v !== null).sort());

class Actor {
  constructor(world, client, db) {
    Object.assign(this, { world, db, claims: JSON.stringify(client.claims) });
  }

  view(table) {
    return this.db.kind === 'sqlite' ? ident(`${this.world.schema}_${table}`) : `${this.world.schema}.${ident(table)}`;
  }

  async subscribe(wanted) {
    await this.db.sql(`DELETE FROM tide_subscription; INSERT INTO tide_subscription (shape) VALUES ('${this.world.schema}_keyless')`);
    for (const { shape, params } of wanted) {
      await this.db.sql(`INSERT INTO tide_subscription (shape, params) VALUES ('${shape}', ${quote(JSON.stringify(params))})`);
    }
  }

  async hop(kind) {
    const request = kind === 'push' ? await this.db.pushRequest() : await this.db.pullRequest();
    if (request === null) return;
    // a resync would hide from the comparison that the client had a bucket wrong
    if (kind === 'pull' && JSON.parse(request).resync) throw new Error(`${this.db.kind} found its buckets damaged: ${request}`);
    await this.db.apply(psql(`SELECT tide.${kind}(${quote(request.replace('{', `{"claims": ${this.claims}, `))})`));
  }

  async settle() {
    for (let i = 0; i < 300; i++) {
      await this.hop('push');
      await this.hop('pull');
      const [status] = await this.db.sql('SELECT state, pending FROM tide_status');
      if (status.state === 'synced' && Number(status.pending) === 0) return;
    }
    throw new Error(`does not come to rest: ${JSON.stringify(await this.db.sql('SELECT * FROM tide_status'))}`);
  }

  async edit(round) {
    for (const { name, edit } of this.world.tables) {
      // a null where the server wants none is refused there, and undone here
      if (edit) await this.db.sql(`UPDATE ${this.view(name)} SET ${edit} = ${round === 3 ? 'NULL' : `'edit${round}'`} WHERE ${edit} = 'a'`);
    }
  }

  // a value of the client as the server's JSON has it
  value(client, server) {
    if (this.db.kind === 'postgres' || client === null) return client;
    if (typeof server === 'boolean') return client === 1;
    return typeof server === 'object' ? JSON.parse(client) : client;
  }

  async rows(table) {
    if (this.db.kind === 'sqlite') return this.db.sql(`SELECT * FROM ${this.view(table)}`);
    return (await this.db.sql(`SELECT to_jsonb(v) AS r FROM ${this.view(table)} AS v`)).map(({ r }) => r);
  }

  async compare(wanted) {
    const tables = new Map(this.world.tables.map((t) => [t.name, new Map()]));
    for (const { query, tables: names } of wanted) {
      for (const { path, key, row } of JSON.parse(psql(`SET search_path = ${this.world.schema}, public;
          SELECT coalesce(json_agg(q), '[]') FROM (${query}) AS q`))) {
        const rows = tables.get(names[path]);
        rows.set(key, { ...rows.get(key), ...JSON.parse(row) });
      }
    }
    let count = 0;
    for (const { name, key } of this.world.tables) {
      const id = (row) => JSON.stringify(key.map((k) => row[k]));
      const server = new Map([...tables.get(name).values()].map((row) => [id(row), row]));
      const client = new Map((await this.rows(name)).map((row) => [id(row), row]));
      deepStrictEqual([name, [...client.keys()].sort()], [name, [...server.keys()].sort()]);
      for (const [k, row] of client) {
        const like = server.get(k);
        deepStrictEqual([name, sorted(Object.fromEntries(Object.entries(row).map(([c, v]) => [c, this.value(v, like[c])])))], [name, sorted(like)]);
      }
      count += client.size;
      deepStrictEqual([name, await this.db.sql(`SELECT * FROM ${this.view(`${name}_local`)}`)], [name, []]);
    }
    const keyless = (await this.rows('keyless')).map((r) => `${r.n} ${r.t}`).sort();
    deepStrictEqual(keyless, psql(`SELECT n || ' ' || t FROM ${this.world.schema}.keyless`).split('\n').sort());
    return count;
  }
}

let count = 0;
let failed = 0;
let pglite;
for (const world of plan) {
  const actors = [];
  for (const client of world.clients) {
    const script = `${scratch}/${world.schema}_${client.dialect}.sql`;
    const db = client.dialect === 'sqlite' ? await SqliteClient.create(script, `${scratch}/${world.schema}.db`)
      : await PgliteClient.create(script, '', pglite);
    if (client.dialect === 'postgres') {
      pglite = db;
      await db.sql(`SET timezone = 'UTC'`);
    }
    actors.push(new Actor(world, client, db));
  }
  for (const [i, round] of world.rounds.entries()) {
    for (const [a, actor] of actors.entries()) await actor.subscribe(round.wanted[a]);
    psql(`SET search_path = ${world.schema}, public;
      INSERT INTO keyless VALUES (${i}, 'y'); DELETE FROM keyless WHERE ctid IN (SELECT ctid FROM keyless WHERE n = ${i} LIMIT 1);`);
    // half of the transactions come between the pages and the edits
    const half = round.transactions.length / 2;
    const run = (list) => psql(`SET search_path = ${world.schema}, public;\n${list.join('')}`, false);
    run(round.transactions.slice(0, half));
    for (const actor of actors) {
      await actor.db.sql(`UPDATE tide_client SET page_limit = ${[null, 7, 40, 3][i]}`);
      await actor.hop('pull');
      await actor.edit(i);
    }
    run(round.transactions.slice(half));
    for (const actor of [...actors, ...actors]) await actor.settle();
    psql('SELECT tide.sync()');
    for (const [a, actor] of actors.entries()) {
      count += 1;
      const name = `${world.schema}, round ${i + 1}: ${actor.db.kind} has what the server has`;
      try {
        await actor.settle();
        const rows = await actor.compare(round.wanted[a]);
        console.log(`ok ${count} - ${name}\n# ${rows} rows of ${round.wanted[a].length} shapes`);
      } catch (error) {
        failed += 1;
        console.log(`not ok ${count} - ${name}\n${error.message.replace(/^/gm, '# ')}`);
      }
    }
  }
}
await pglite.close();
console.log(`1..${count}`);
process.exit(failed === 0 ? 0 : 1);
