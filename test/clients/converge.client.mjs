// A client of converge.mjs: a database with the generated schema, and beside it what its app knows, by which each
// step is judged. `intents` are the writes not confirmed, in order: the database may show no other.
import { isDeepStrictEqual } from 'node:util';

export const tables = {
  projects: { key: ['id'], columns: ['id', 'team', 's'], registers: ['s'] },
  docs: { key: ['id'], columns: ['id', 'project', 'shelf', 'title', 'kept', 'guarded', 'stamp', 'voice', 'hits', 'tags', 'labels', 'best'],
    registers: ['title', 'kept', 'guarded', 'stamp', 'voice'] },
  notes: { key: ['doc', 'p'], columns: ['doc', 'p', 'body'], registers: ['body'] },
  marks: { key: ['id'], columns: ['id', 'team', 'v'], registers: ['v'] },
  accounts: { key: ['id'], columns: ['id', 'balance'], registers: [] },
};
const arrays = new Set(['tags', 'labels']);
export const keyOf = (table, row) => JSON.stringify(tables[table].key.map((k) => row[k]));
export const same = (a, b) => isDeepStrictEqual(a, b);
const quote = (text) => `'${text.replaceAll("'", "''")}'`;

function literal(kind, column, value) {
  if (value === null) return 'NULL';
  if (!Array.isArray(value)) return typeof value === 'number' ? String(value) : quote(value);
  if (kind === 'sqlite') return quote(JSON.stringify(value));
  return column === 'labels' ? `${quote(JSON.stringify(value))}::jsonb` : `ARRAY[${value.map(quote).join(', ')}]::text[]`;
}
const where = (kind, key) => Object.entries(key).map(([c, v]) => `${c} = ${literal(kind, c, v)}`).join(' AND ');

// SQL of a write { op, table, key, set } of one row
export function statement(kind, { op, table, key, set, upsert }) {
  const assigned = Object.entries(set ?? {}).map(([c, v]) => `${c} = ${literal(kind, c, v)}`).join(', ');
  const row = { ...key, ...set };
  const columns = Object.keys(row).join(', ');
  const values = Object.entries(row).map(([c, v]) => literal(kind, c, v)).join(', ');
  if (op === 'call') return `INSERT INTO tide_call (name, args) VALUES (${quote(table)}, ${quote(JSON.stringify(set))})`;
  if (op === 'delete') return `DELETE FROM ${table} WHERE ${where(kind, key)}`;
  if (upsert && kind === 'postgres') {
    return `MERGE INTO ${table} AS t USING (VALUES (1)) AS one ON ${where(kind, key).replaceAll(/(^| AND )/g, '$1t.')}
      WHEN MATCHED THEN UPDATE SET ${assigned} WHEN NOT MATCHED THEN INSERT (${columns}) VALUES (${values})`;
  }
  if (upsert) {
    // a row's other columns are NULL after a replacement
    if (Object.keys(blank(table)).every((c) => c in row)) return `INSERT OR REPLACE INTO ${table} (${columns}) VALUES (${values})`;
    return `UPDATE ${table} SET ${assigned} WHERE ${where(kind, key)};
      INSERT INTO ${table} (${columns}) SELECT ${values} WHERE NOT EXISTS (SELECT 1 FROM ${table} WHERE ${where(kind, key)})`;
  }
  if (op === 'update') return `UPDATE ${table} SET ${assigned} WHERE ${where(kind, key)}`;
  return `INSERT INTO ${table} (${columns}) VALUES (${values})`;
}

const blank = (table) => Object.fromEntries(tables[table].columns.map((c) => [c, null]));
const values = (table, row, wanted = () => true) => Object.fromEntries(Object.entries(row).filter(([c, v]) => !tables[table].key.includes(c) && wanted(v)));
export const copy = (view) => Object.fromEntries(Object.entries(view).map(([t, rows]) => [t, new Map(rows)]));

// what a write does to a view, and the mutation it makes; null if none
export function effect(view, { op, table, key, set }) {
  if (op === 'call') return { op, table, key: {}, changed: set, base: null };
  const rows = view[table];
  const id = keyOf(table, key);
  const row = rows.get(id);
  if (op === 'insert') {
    if (row) throw new Error(`duplicate ${table} ${id} in the test itself`);
    const fresh = { ...blank(table), ...key, ...set };
    rows.set(id, fresh);
    return { op, table, key, changed: values(table, fresh, (v) => v !== null), base: null };
  }
  if (!row) return null;
  if (op === 'delete') {
    rows.delete(id);
    return { op, table, key, changed: null, base: values(table, row) };
  }
  const changed = Object.fromEntries(Object.entries(set).filter(([c, v]) => !same(v, row[c])));
  if (same(changed, {})) return null;
  rows.set(id, { ...row, ...changed });
  return { op, table, key, changed, base: Object.fromEntries(Object.keys(changed).map((c) => [c, row[c]])) };
}

// the server's rows with local writes on top: the last insert or delete begins a row anew
export function overlay(synced, intents) {
  const view = copy(synced);
  const lists = new Map();
  for (const intent of intents) {
    if (intent.op === 'call') continue;
    const id = `${intent.table} ${keyOf(intent.table, intent.key)}`;
    lists.set(id, intent.op === 'update' ? [...(lists.get(id) ?? []), intent] : [intent]);
  }
  for (const list of lists.values()) {
    const [{ op, table, key }] = list;
    const id = keyOf(table, key);
    let row = op === 'update' ? view[table].get(id) : { ...blank(table), ...key };
    if (op === 'delete') row = undefined;
    for (const { changed } of row ? list : []) row = { ...row, ...changed };
    if (row) view[table].set(id, row);
    else view[table].delete(id);
  }
  return view;
}

function snapshotSql(kind) {
  const names = Object.keys(tables);
  if (kind === 'postgres') {
    const all = (suffix) => names.map((t) => `'${t}', (SELECT coalesce(json_agg(r.*), '[]') FROM (SELECT ${tables[t].columns.join(', ')} FROM ${t}${suffix}) AS r)`).join(', ');
    const list = (table) => `(SELECT coalesce(json_agg(o ORDER BY o.id), '[]') FROM ${table} AS o)`;
    return `SELECT json_build_object('view', json_build_object(${all('')}), 'synced', json_build_object(${all('_synced')}), 'outbox', ${list('tide_outbox')},
      'rejected', ${list('tide_rejected')}, 'client', (SELECT row_to_json(c) FROM tide_client AS c), 'status', (SELECT row_to_json(s) FROM tide_status AS s),
      'buckets', (SELECT count(*) FROM tide_bucket))::text AS s`;
  }
  const object = (columns) => `json_object(${columns.map((c) => `'${c}', ${arrays.has(c) || ['key', 'changed', 'base'].includes(c) ? `json(${c})` : c}`).join(', ')})`;
  const all = (suffix) => names.map((t) => `'${t}', json((SELECT json_group_array(${object(tables[t].columns)}) FROM ${t}${suffix}))`).join(', ');
  const list = (table, columns) => `json((SELECT json_group_array(${object(columns)}) FROM (SELECT * FROM ${table} ORDER BY id)))`;
  return `SELECT json_object('view', json_object(${all('')}), 'synced', json_object(${all('_synced')}),
    'outbox', ${list('tide_outbox', ['id', 'op', 'table_name', 'key', 'changed', 'base', 'tx', 'hlc', 'seen', 'state'])},
    'rejected', ${list('tide_rejected', ['id', 'op', 'table_name', 'key', 'changed', 'base', 'tx', 'code', 'message'])},
    'client', (SELECT json_object('client', client, 'checkpoint', checkpoint, 'last_mutation_id', last_mutation_id, 'rejected_seen', rejected_seen,
      'cookie', cookie, 'is_complete', is_complete, 'received', received) FROM tide_client),
    'status', (SELECT json_object('state', state, 'pending', pending, 'last_error', last_error) FROM tide_status),
    'buckets', (SELECT count(*) FROM tide_bucket)) AS s`;
}

export const plainName = (name) => name.replace(/^public\./, '');
const show = (value) => JSON.stringify(value).slice(0, 900);

export class Client {
  constructor(name, db, claims) {
    Object.assign(this, { name, db, claims, params: { tree: new Set(), shelf: new Set() } });
    this.intents = []; // not confirmed, in order
    this.refused = new Map(); // id → intent, told or fallen with one that was
    this.taken = new Set(); // ids that an applied answer said the server has
    this.applied = 0; // number of the cookie
    this.values = new Map(); // own values of registers → 'pending', 'taken' or 'refused'
    this.cells = new Map(); // what registers showed last
    this.left = new Map(); // and own values, taken, that were replaced by others'
    this.arrived = [];
    this.recent = []; // answers applied last
    this.problems = [];
    this.number = 0;
    this.isOffline = false;
    this.snapshotSql = snapshotSql(db.kind);
  }

  problem(text) {
    this.problems.push(`${this.name}: ${text}`);
  }

  unique() {
    this.number += 1;
    return `${this.name}.${this.number}`;
  }

  async snapshot() {
    const [{ s }] = await this.db.sql(this.snapshotSql);
    const snap = typeof s === 'string' ? JSON.parse(s) : s;
    for (const part of ['view', 'synced']) {
      for (const table of Object.keys(tables)) {
        const rows = snap[part][table];
        snap[part][table] = new Map(rows.map((row) => [keyOf(table, row), row]));
        if (snap[part][table].size !== rows.length) this.problem(`a row of ${table} is there twice`);
      }
    }
    for (const list of [snap.outbox, snap.rejected]) list.forEach((entry) => { entry.table = plainName(entry.table_name); });
    return snap;
  }

  // where two states of all rows differ, in words
  differences(is, shall) {
    const found = [];
    for (const table of Object.keys(tables)) {
      for (const id of new Set([...is[table].keys(), ...shall[table].keys()])) {
        if (!same(is[table].get(id), shall[table].get(id))) found.push(`${table} ${id}: ${show(is[table].get(id) ?? null)} where ${show(shall[table].get(id) ?? null)} shall be`);
      }
    }
    return found;
  }

  mustBe(what, snap, view) {
    for (const text of this.differences(snap.view, view).slice(0, 3)) {
      const [table, id] = text.split(/:| /);
      this.problem(`${what}: ${text}; writes ${show(this.intents.filter((i) => i.table === table && keyOf(i.table, i.key) === id))}`);
    }
  }

  // Writes { op, table, key, set, sql }, each by a statement of its own, or all in one local transaction.
  // The app sees them at once, nothing else changes, and the outbox has what shall be sent
  async write(writes, { isGroup = false } = {}) {
    const before = this.snap;
    const view = copy(before.view);
    const expected = writes.flatMap((w) => (w.rows ?? [w]).map((row) => effect(view, row))).filter((m) => m !== null);
    const statements = writes.map((w) => w.sql ?? statement(this.db.kind, w));
    if (isGroup) {
      const [begin, end] = this.db.kind === 'sqlite' ? ['INSERT INTO tide_transaction DEFAULT VALUES;', 'DELETE FROM tide_transaction;'] : ['', ''];
      await this.db.sql(`BEGIN; ${begin} ${statements.join(';\n')}; ${end} COMMIT;`);
    } else {
      for (const text of statements) await this.db.sql(text);
    }
    const snap = await this.snapshot();
    const fresh = this.noteIntents(before, snap);
    const list = (mutations) => mutations.map(({ op, table, key, changed, base }) => JSON.stringify([op, table, sorted(key), sorted(changed), sorted(base)])).sort();
    if (!same(list(fresh), list(expected))) this.problem(`noted ${show(list(fresh))} of writes ${show(list(expected))}`);
    if (isGroup && new Set(fresh.map((m) => m.tx)).size > 1) this.problem(`a local transaction was noted as several: ${show(fresh)}`);
    this.mustBe(`a write is not shown: ${show(statements)}`, snap, view);
    this.see(snap);
    return fresh.length;
  }

  noteIntents(before, snap) {
    const last = before.outbox.at(-1)?.id ?? this.lastId ?? 0;
    const fresh = snap.outbox.filter((o) => o.id > last);
    this.lastId = Math.max(this.lastId ?? 0, snap.outbox.at(-1)?.id ?? 0);
    for (const intent of fresh) {
      this.intents.push(intent);
      for (const value of Object.values(intent.changed ?? {})) if (typeof value === 'string') this.values.set(value, 'pending');
    }
    return fresh;
  }

  // a local write that any database refuses changes nothing
  async refuse(text) {
    let error = null;
    await this.db.sql(text).catch((e) => { error = e.message; });
    if (!/unique|duplicate|null|cannot be changed/i.test(error ?? '')) this.problem(`${text} was ${error ?? 'done'}`);
    await this.unchanged('a statement that failed');
  }

  async unchanged(what) {
    const snap = await this.snapshot();
    const kept = ({ view, synced, outbox, rejected, client }) => ({ view, synced, outbox, rejected, client: { ...client, clock: 0 } });
    if (!same(kept(snap), kept(this.snap))) this.problem(`${what} left something: ${show(this.differences(snap.view, this.snap.view))}, ${snap.outbox.length} and ${this.snap.outbox.length} in the outbox`);
    this.snap = snap;
  }

  settleIntent(id, how) {
    const at = this.intents.findIndex((i) => i.id === id);
    if (at < 0) return;
    const [intent] = this.intents.splice(at, 1);
    if (how === 'refused') this.refused.set(id, intent);
    for (const value of Object.values(intent.changed ?? {})) if (typeof value === 'string') this.values.set(value, how);
  }

  // what an answer means for the intents; false if it is old news
  read({ kind, answer }) {
    const { cookie, last_mutation_id: last = 0, complete, results, rejected = [] } = JSON.parse(answer);
    if (kind === 'pull') {
      if (cookie.n <= this.applied) return false;
      this.applied = cookie.n;
    }
    const told = kind === 'push' ? results.filter((r) => r.status === 'rejected') : rejected;
    for (const { id } of told) this.settleIntent(id, 'refused');
    for (const { id, changed } of this.intents.filter((i) => i.id <= last)) {
      this.taken.add(id);
      for (const value of Object.values(changed ?? {})) if (typeof value === 'string') this.values.set(value, 'taken');
      if (kind === 'pull' && complete) this.settleIntent(id, 'taken');
    }
    return true;
  }

  // a refused write may take others with it: those of its row or local transaction that the client was not told of
  readFallen(snap) {
    const fallen = snap.rejected.filter(({ id }) => this.intents.some((i) => i.id === id));
    const fits = (one, other) => (one.tx !== null && one.tx === other.tx) || (one.table === other.table && same(one.key, other.key));
    // from each to those that rest on it, in any order
    for (let more = fallen; more.length > 0;) {
      const next = more.filter((f) => [...this.refused.values()].some((r) => fits(f, r)));
      for (const { id } of next) this.settleIntent(id, 'refused');
      more = more.filter((f) => !next.includes(f));
      if (next.length === 0) {
        this.problem(`refused, who knows why: ${show(more)}`);
        break;
      }
    }
    for (const { id, message } of fallen) {
      if (this.taken.has(id) || !this.refused.has(Number(/^depends on mutation (\d+), /.exec(message)?.[1]))) this.problem(`${id} was refused, who knows why: ${message}`);
    }
    for (const id of this.refused.keys()) {
      if (!snap.rejected.some((r) => r.id === id) && !this.refused.get(id).isDealtWith) this.problem(`the app is not told that ${id} was refused`);
    }
  }

  // an answer applied: the server's rows, with the writes not confirmed on top
  async take(arrival) {
    const before = this.snap;
    if (arrival.isKilled && this.db.kind === 'sqlite') {
      await this.db.kill(`INSERT INTO tide_inbox(response) VALUES (${quote(arrival.answer)})`, arrival.isKilled - 1);
      const after = await this.snapshot();
      const { outbox, rejected, client } = after;
      if (same([outbox, rejected, client, after.synced], [before.outbox, before.rejected, before.client, before.synced])) return;
    } else {
      await this.db.apply(arrival.answer);
    }
    this.recent = [...this.recent.slice(-3), { kind: arrival.kind, ...JSON.parse(arrival.answer) }];
    const isNews = this.read(arrival);
    const snap = await this.snapshot();
    if (!isNews && this.differences(snap.synced, before.synced).length > 0) this.problem(`an old answer has changed ${show(this.differences(snap.synced, before.synced))}`);
    this.readFallen(snap);
    const pending = snap.outbox.filter((o) => o.state !== 'cancelled').map((o) => o.id);
    if (!same(pending, this.intents.map((i) => i.id))) this.problem(`the outbox has ${show(pending)} where ${show(this.intents.map((i) => i.id))} are not confirmed`);
    this.mustBe(`after a ${arrival.kind}`, snap, overlay(snap.synced, this.intents));
    this.see(snap);
  }

  // what was taken does not go and come back
  see(snap) {
    for (const [table, { registers }] of Object.entries(tables)) {
      // marks do not move: they are absent when deleted only
      for (const id of table === 'marks' ? new Set([...this.snap.view.marks.keys(), ...snap.view.marks.keys()]) : snap.view[table].keys()) {
        for (const column of registers) this.seeCell(`${table} ${id} ${column}`, snap.view[table].get(id)?.[column] ?? null);
      }
    }
    this.snap = snap;
  }

  // what the last answers said of a row, for those who look into a problem
  cameOf(cell) {
    const [table, ...rest] = cell.split(' ');
    return show(this.recent.map(({ kind, checkpoint, complete, drop, changes = [], last_mutation_id: last }) => [kind, checkpoint?.op_id, complete, drop, last,
      changes.filter((c) => plainName(c.table) === table && rest.join(' ').startsWith(keyOf(table, c.key))).map((c) => [c.bucket, c.op, c.op_id, c.row?.[rest.at(-1)]])]));
  }

  seeCell(cell, value) {
    const last = this.cells.get(cell);
    this.cells.set(cell, value);
    if (last === value || last === undefined) return;
    const left = this.left.get(cell);
    if (left?.has(value) && this.values.get(value) === 'taken') this.problem(`${cell}: ${value} had been taken, and gone, and is back after ${last}; came ${this.cameOf(cell)}`);
    const isOfCell = (i) => i.op !== 'call' && cell.startsWith(`${i.table} ${keyOf(i.table, i.key)} `);
    // by the app's own doing: a delete, or an insert that was refused where others' row was there, which took a later update
    // and has not come yet
    const isOwn = value === null && (this.intents.some((i) => i.op === 'delete' && isOfCell(i)) ||
      [...this.refused.values()].some((i) => i.op === 'insert' && isOfCell(i)));
    if (this.values.get(last) === 'taken' && !this.values.has(value) && !isOwn) this.left.set(cell, (left ?? new Set()).add(last));
  }

  // a refused write, with its local transaction, is made again over what is there now, or forgotten
  async deal(isRetry, chosen) {
    const before = this.snap;
    const ids = chosen.map((r) => r.id);
    const list = `(${ids.join(', ')})`;
    for (const id of ids) {
      const refused = this.refused.get(id);
      if (refused) refused.isDealtWith = true;
      for (const value of Object.values(refused?.changed ?? {})) for (const left of this.left.values()) left.delete(value);
    }
    const retry = `UPDATE tide_rejected SET retry = ${this.db.kind === 'sqlite' ? 1 : 'true'} WHERE id IN ${list};`;
    if (!isRetry) await this.db.sql(`DELETE FROM tide_rejected WHERE id IN ${list}`);
    else if (this.db.kind === 'sqlite') await this.db.sql(`BEGIN; INSERT INTO tide_transaction DEFAULT VALUES; ${retry} DELETE FROM tide_transaction; COMMIT;`);
    else await this.db.sql(retry);
    const snap = await this.snapshot();
    const fresh = this.noteIntents(before, snap);
    const brief = (entries) => entries.map(({ op, table, key, changed }) => JSON.stringify([op, table, sorted(key), sorted(changed)])).sort();
    if (!same(brief(fresh), isRetry ? brief(chosen) : [])) this.problem(`retried ${show(brief(chosen))}, noted ${show(brief(fresh))}`);
    if (snap.rejected.some((r) => ids.includes(r.id))) this.problem(`refused writes stay after they were dealt with: ${show(ids)}`);
    this.mustBe('after a retry or discard', snap, overlay(snap.synced, this.intents));
    this.see(snap);
    return fresh.length;
  }

  // the app ends without a word, in the middle of a transaction
  async restart(text) {
    if (this.db.kind === 'sqlite') {
      await this.db.kill(`BEGIN; INSERT INTO tide_transaction DEFAULT VALUES; ${text}`, 1);
    } else {
      await this.db.sql(`BEGIN; ${text}; ROLLBACK;`);
      if (this.db.folder) await this.db.reopen();
    }
    await this.unchanged('a transaction that was not committed');
  }
}

export const sorted = (object) => (object === null || object === undefined ? null : Object.fromEntries(Object.entries(object).sort()));
