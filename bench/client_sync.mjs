// Applies the pages of bench/client_sync.sh; prints "plain SECONDS CPU" and "client SECONDS CPU" for each run.
// The plain statements are the fastest of those tried (json or jsonb, recordset, record or operators).
// usage: node client_sync.mjs dialect folder runs
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { PGlite } from '@electric-sql/pglite';

const [dialect, folder, runs] = process.argv.slice(2);
const pages = readdirSync(folder).filter((f) => f.startsWith('page_')).sort().map((f) => `${folder}/${f}`);
const script = readFileSync(`${folder}/client_${dialect}.sql`, 'utf8');
const columns = ['id', 'grp', 'title', 'body', 'n', 'price', 'done', 'at'];

const report = (name, seconds, cpu) => console.log(`${name} ${seconds.toFixed(3)} ${cpu.toFixed(3)}`);

// runs statements; gives seconds, CPU seconds and what they print
function sqlite(file, text) {
  const run = spawnSync('bash', ['-c', 'TIMEFORMAT="%R %U %S"; time sqlite3 -bail -batch "$1"', 'bash', file], { input: text, encoding: 'utf8' });
  if (run.status !== 0) throw new Error(run.stderr);
  const [wall, user, system] = run.stderr.trim().split('\n').at(-1).split(' ').map(Number);
  return [wall, user + system, run.stdout.trim()];
}

function runSqlite() {
  const file = `${folder}/bench.db`;
  const load = (name, statement) => {
    const [wall, cpu] = sqlite(file, pages.map((page) => `${statement(page)};`).join('\n'));
    report(name, wall, cpu);
  };
  rmSync(file, { force: true });
  sqlite(file, 'CREATE TABLE plain (id INTEGER PRIMARY KEY, grp TEXT, title TEXT, body TEXT, n INTEGER, price TEXT, done BOOLEAN, at TEXT)');
  load('plain', (page) => `INSERT INTO plain SELECT ${columns.map((c) => `c.value ->> '$.row.${c}'`).join(', ')}
    FROM (SELECT e.value FROM json_each(CAST(readfile('${page}') AS TEXT), '$.changes') AS e LIMIT -1 OFFSET 0) AS c`);
  rmSync(file);
  sqlite(file, script);
  load('client', (page) => `INSERT INTO tide_inbox (response) VALUES (CAST(readfile('${page}') AS TEXT))`);
  const [, , state] = sqlite(file, 'SELECT state FROM tide_status');
  if (state !== 'synced') throw new Error(`the client is ${state}`);
}

async function runPglite() {
  const texts = pages.map((page) => readFileSync(page, 'utf8'));
  const load = async (db, name, statement) => {
    const from = performance.now();
    const before = process.cpuUsage();
    for (const text of texts) await db.query(statement, [text]);
    const { user, system } = process.cpuUsage(before);
    report(name, (performance.now() - from) / 1e3, (user + system) / 1e6);
  };
  let db = await PGlite.create();
  await db.exec('CREATE TABLE plain (id bigint PRIMARY KEY, grp uuid, title text, body text, n int, price numeric(12,2), done bool, at timestamptz)');
  await load(db, 'plain', `INSERT INTO plain SELECT r.*
    FROM jsonb_populate_recordset(NULL::plain, jsonb_path_query_array($1::jsonb, '$.changes[*].row')) AS r`);
  await db.close();
  db = await PGlite.create();
  await db.exec(script);
  await load(db, 'client', 'SELECT tide_apply($1)');
  const { rows: [{ state }] } = await db.query('SELECT state FROM tide_status');
  if (state !== 'synced') throw new Error(`the client is ${state}`);
  await db.close();
}

for (let i = 0; i < runs; i++) await (dialect === 'sqlite' ? runSqlite() : runPglite());
