// Between a client's plain local tables and the server: encrypts the values of push requests, decrypts those of
// answers. Nothing else in requests and answers changes, so any client schema works with it.
import { fromColumn, isEnvelope, keyIdOf, open, seal, sodium, toColumn, fromHex, toHex, utf8 } from './envelope.mjs';
import { number, parse, stringify } from './json.mjs';

// plaintext of a column of a type: the UTF-8 of a text, the bytes of a bytea, the UTF-8 of JSON
const codecs = {
  text: {
    encode(value) {
      if (typeof value !== 'string') throw new TypeError('value of a text column must be a string');
      return utf8(value);
    },
    decode: (bytes) => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes),
  },
  bytea: {
    encode(value) {
      if (typeof value !== 'string' || !/^\\x([0-9a-f]{2})*$/i.test(value)) throw new TypeError('value of a bytea column must be \\x and hexadecimal digits');
      return fromHex(value.slice(2));
    },
    decode: (bytes) => `\\x${toHex(bytes)}`,
  },
  jsonb: {
    encode: (value) => utf8(stringify(value)),
    decode: (bytes) => parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)),
  },
};

export class Encryption {
  // tables: { 'public.issues': { columns: { title: 'text', body: { type: 'bytea', formerly: [['public.tickets', 'text']] } },
  //                              scope: 'team:1' or async ({ table, key, values }) => 'team:1' } }
  // names are those of pull's answers. sign: whether mutations of these tables are signed.
  constructor({ keyring, tables, sign = false }) {
    Object.assign(this, { keyring, sign, waiting: new Map(), asked: [], problems: [] });
    this.tables = new Map(Object.entries(tables).map(([name, { columns, scope }]) => [name, {
      name,
      scope,
      columns: Object.entries(columns).map(([column, kind]) => {
        const { type, formerly = [] } = typeof kind === 'string' ? { type: kind } : kind;
        if (codecs[type] === undefined) throw new TypeError(`columns are text, bytea or jsonb, not ${type}`);
        return { column, type, places: [[name, column], ...formerly] };
      }),
    }]));
  }

  // a table by the name a mutation gives it: qualified or not
  #table(name) {
    const found = this.tables.get(name) ?? [...this.tables.values()].filter((t) => t.name.endsWith(`.${name}`));
    if (Array.isArray(found) && found.length > 1) throw new Error(`table name ${name} is ambiguous`);
    return Array.isArray(found) ? found[0] : found;
  }

  async #encryptMutation(client, mutation) {
    const table = mutation.table === undefined ? undefined : this.#table(mutation.table);
    if (table === undefined) return mutation;
    const result = { ...mutation };
    const columns = table.columns.filter(({ column }) => mutation.values?.[column] !== undefined && mutation.values[column] !== null);
    if (columns.length > 0) {
      const scope = typeof table.scope === 'function' ? await table.scope({ table: table.name, key: mutation.key, values: mutation.values }) : table.scope;
      const dataKey = this.keyring.keyOf(scope);
      if (dataKey === undefined) throw new Error(`there is no key for scope ${scope}`);
      result.values = { ...mutation.values };
      for (const { column, type } of columns) {
        const plaintext = codecs[type].encode(mutation.values[column]);
        result.values[column] = toColumn(seal(plaintext, dataKey, table.name, column, mutation.key), type);
        sodium.memzero(plaintext);
      }
    }
    // the server could not compare it, and must not see it
    if (mutation.base !== undefined && mutation.base !== null) {
      result.base = Object.fromEntries(Object.entries(mutation.base).filter(([name]) => !table.columns.some(({ column }) => column === name)));
      if (Object.keys(result.base).length === 0) delete result.base;
    }
    return this.sign ? this.keyring.signMutation(client, result) : result;
  }

  // a push request as the client schema makes it -> one for the server; null stays null
  async encryptPush(text) {
    if (text === null) return null;
    const request = parse(text);
    const mutations = [];
    for (const mutation of request.mutations) mutations.push(await this.#encryptMutation(request.client, mutation));
    return stringify({ ...request, mutations });
  }

  // a pull request: asks anew for buckets with values whose key has come since, until an answer is here
  preparePull(text) {
    const request = parse(text);
    const buckets = new Set((request.resync ?? []).map(String));
    this.asked = [...this.waiting.keys()].filter((keyId) => this.keyring.key(keyId) !== undefined);
    for (const keyId of this.asked) for (const bucket of this.waiting.get(keyId)) buckets.add(bucket);
    return buckets.size === 0 ? text : stringify({ ...request, resync: [...buckets].map(number) });
  }

  #decryptValue(value, { type, places }, key) {
    const envelope = fromColumn(value, type);
    if (envelope === null || !isEnvelope(envelope)) return { problem: 'not encrypted' };
    const keyId = keyIdOf(envelope);
    const dataKey = this.keyring.key(keyId);
    if (dataKey === undefined) return { problem: 'no key', keyId };
    for (const [table, column] of places) {
      try {
        const plaintext = open(envelope, dataKey, table, column, key);
        const result = codecs[type].decode(plaintext);
        sodium.memzero(plaintext);
        return { value: result };
      } catch {
        // a place it may have had before, or damaged
      }
    }
    return { problem: 'not of this row and column, or damaged' };
  }

  // values that cannot be read become null, and are told in problems
  #decryptRow(name, key, row, bucket) {
    const table = this.tables.get(name);
    if (table === undefined || row === undefined || row === null) return row;
    const result = { ...row };
    for (const place of table.columns) {
      if (row[place.column] === undefined || row[place.column] === null) continue;
      const { value = null, problem, keyId } = this.#decryptValue(row[place.column], place, key);
      result[place.column] = value;
      if (problem === undefined) continue;
      this.problems.push({ table: name, column: place.column, key, problem, keyId });
      if (keyId === undefined || bucket === undefined) continue;
      if (!this.waiting.has(keyId)) this.waiting.set(keyId, new Set());
      this.waiting.get(keyId).add(String(bucket));
    }
    return result;
  }

  // an answer of tide.pull, or of tide.push with the request it answers -> one for the client schema
  decryptAnswer(text, pushRequest = null) {
    const answer = parse(text);
    if (answer.changes !== undefined) {
      for (const keyId of this.asked.splice(0)) this.waiting.delete(keyId);
      answer.changes = answer.changes.map((c) => (c.row === undefined ? c : { ...c, row: this.#decryptRow(c.table, c.key, c.row, c.bucket) }));
    }
    if (answer.results !== undefined && pushRequest !== null) {
      const sent = new Map(parse(pushRequest).mutations.map((m) => [String(m.id), m]));
      answer.results = answer.results.map((r) => {
        const mutation = sent.get(String(r.id));
        const table = mutation?.table === undefined ? undefined : this.#table(mutation.table);
        return r.row === undefined || table === undefined ? r : { ...r, row: this.#decryptRow(table.name, mutation.key, r.row) };
      });
    }
    return stringify(answer);
  }
}
