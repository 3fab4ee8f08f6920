// An encrypted session of four devices against a real server: examples/encryption between client
// databases and tide.push and tide.pull; then what the JavaScript and the SQL functions make of each other's
// values. Prints TAP; writes what must be found nowhere on the server, one in hexadecimal a line, to a file.
// The server is where PGHOST, PGPORT and PGDATABASE say.
// usage: node encryption.mjs scratch-folder secrets-file seed
import { spawnSync } from 'node:child_process';
import { appendFileSync, writeFileSync } from 'node:fs';
import { PgliteClient, SqliteClient } from './clients.mjs';
import { Encryption, Keyring, fingerprint, verifyMutation } from '../../examples/encryption/index.mjs';
import * as device from '../../examples/encryption/device.mjs';
import * as envelope from '../../examples/encryption/envelope.mjs';
import { canonical, parse, stringify } from '../../examples/encryption/json.mjs';

const [scratch, secretsFile, seedText] = process.argv.slice(2);
let seed = Number(seedText) >>> 0;
function random(n) {
  seed = (seed + 0x6d2b79f5) >>> 0;
  let t = seed;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) % n;
}

let count = 0;
let failed = 0;
function ok(condition, name, detail = '') {
  count += 1;
  if (!condition) failed += 1;
  console.log(`${condition ? 'ok' : 'not ok'} ${count} - ${name}`);
  if (!condition) console.log(String(detail).replace(/^/gm, '# '));
}
const is = (got, wanted, name) => ok(JSON.stringify(got) === JSON.stringify(wanted), name, `got ${JSON.stringify(got)}\nwanted ${JSON.stringify(wanted)}`);
function fails(action, pattern, name) {
  try {
    action();
    ok(false, name, 'no error');
  } catch (error) {
    ok(pattern.test(error.message), name, error.message);
  }
}

function psql(text, user) {
  const run = spawnSync('psql', ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', ...(user ? ['-U', user] : [])], { input: text, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (run.status !== 0) throw new Error(`${run.stderr}\n${text.slice(0, 300)}`);
  return run.stdout.replace(/\n$/, '');
}
const quote = (text) => `'${text.replaceAll("'", "''")}'`;

writeFileSync(secretsFile, '');
const secret = (value) => {
  appendFileSync(secretsFile, `${envelope.toHex(typeof value === 'string' ? envelope.utf8(value) : value)}\n`);
  return value;
};

// ---- four devices

const claimed = (text, subject) => stringify({ ...parse(text), claims: { sub: subject } });
class Device {
  static async create(name, subject, db, keyring) {
    const result = new Device();
    Object.assign(result, { name, subject, db, keyring });
    result.encryption = new Encryption({
      keyring,
      sign: true,
      tables: { 'public.issues': { columns: { title: 'text', doc: 'jsonb', raw: 'bytea' }, scope: ({ values }) => `team:${values.team ?? 1}` } },
    });
    await db.sql(`INSERT INTO tide_subscription (shape, params) VALUES ('team', '{"team": 1}')`);
    return result;
  }

  call(kind, text) {
    return psql(`SELECT tide.${kind}(${quote(claimed(text, this.subject))})`, 'app');
  }

  syncKeys() {
    const push = this.keyring.pushRequest();
    if (push !== null) this.keyring.applyPush(this.call('push', push));
    psql('SELECT tide.sync()');
    while (!this.keyring.applyPull(this.call('pull', this.keyring.pullRequest())));
  }

  async sync() {
    const push = await this.encryption.encryptPush(await this.db.pushRequest());
    if (push !== null) await this.db.apply(this.encryption.decryptAnswer(this.call('push', push), push));
    psql('SELECT tide.sync()');
    for (;;) {
      const answer = this.call('pull', this.encryption.preparePull(await this.db.pullRequest()));
      await this.db.apply(this.encryption.decryptAnswer(answer));
      if (parse(answer).complete) return push;
    }
  }

  async issues() {
    return (await this.db.sql('SELECT id, title, doc, raw, big FROM issues ORDER BY id'))
      .map(({ id, title, doc, raw, big }) => [id, title, typeof doc === 'string' ? JSON.parse(doc) : doc, raw instanceof Uint8Array ? device.bytea(raw) : raw, Number(big)]);
  }
}

const scripts = {};
for (const dialect of ['sqlite', 'postgres']) {
  scripts[dialect] = `${scratch}/encryption_${dialect}.sql`;
  writeFileSync(scripts[dialect], psql(`SELECT tide.client_schema('{team}', '${dialect}')`));
}
const subscriptions = { team_devices: [{}] };
const keyringOf = (subject, name) => Keyring.create({ subject, name, subscriptions });
const phone = await Device.create('phone', 'anna', await SqliteClient.create(scripts.sqlite, `${scratch}/phone.db`), keyringOf('anna', 'phone'));
const laptop = await Device.create('laptop', 'anna', await PgliteClient.create(scripts.postgres), keyringOf('anna', 'laptop'));
const ben = await Device.create('ben', 'ben', await SqliteClient.create(scripts.sqlite, `${scratch}/ben.db`), keyringOf('ben', 'pad'));
const secretsOf = (keyring) => {
  const state = parse(keyring.save());
  secret(envelope.fromHex(state.secret));
  const keys = device.keysOf(envelope.fromHex(state.secret));
  secret(keys.box.privateKey);
  secret(keys.sign.privateKey.subarray(0, 32));
  for (const { bytes } of state.dataKeys) secret(envelope.fromHex(bytes).subarray(16));
};

const title = secret('the secret title of anna');
const id = (n) => `00000000-0000-4000-8000-00000000000${n}`;
const insert = (n, text) => `INSERT INTO issues (id, team, title, doc, raw, big) VALUES ('${id(n)}', 1, ${quote(text)}, '{"a member that is secret": [1.50, null]}', '\\x5365e0ffee4e0742797465', 9007199254740993)`;
secret('a member that is secret');
secret(envelope.fromHex('5365e0ffee4e0742797465'));

phone.keyring.rotate('team:1');
ok(phone.keyring.keyOf('team:1') === undefined, 'a new key is not used before the server has taken it');
phone.syncKeys();
ok(phone.keyring.keyOf('team:1') !== undefined, 'and is then');
await phone.db.sql(insert(1, title));
const pushed = await phone.sync();
const sees = [[id(1), title, { 'a member that is secret': [1.5, null] }, '\\x5365e0ffee4e0742797465', 9007199254740993]];
is(await phone.issues(), sees, 'the phone sees its plain values after a sync');
ok(!pushed.includes('secret title') && pushed.includes('9007199254740993'), 'the request has ciphertext, and numbers as they were', pushed);
is(psql(`SELECT tide.is_envelope(title), tide.is_envelope(doc), tide.is_envelope(raw), count(*) FROM issues GROUP BY 1, 2, 3`), 't|t|t|1', 'the server has envelopes');

laptop.syncKeys();
await laptop.sync();
is(await laptop.issues(), [[id(1), null, null, null, 9007199254740993]], 'without the key the values are missing, the row is not');
is(laptop.encryption.problems.map((p) => p.problem), ['no key', 'no key', 'no key'], 'which is told');
laptop.encryption.problems.length = 0;

phone.syncKeys();
const seenLaptop = phone.keyring.devices.find((d) => d.device_id === laptop.keyring.deviceId);
is(fingerprint(seenLaptop), fingerprint(laptop.keyring.device), 'fingerprints agree on both devices');
fails(() => phone.keyring.grant('team:1', seenLaptop), /not trusted/, 'no keys for a device that is not trusted');
phone.keyring.endorse(seenLaptop);
phone.keyring.grant('team:1', seenLaptop);
phone.syncKeys();
laptop.syncKeys();
ok(laptop.keyring.keyOf('team:1') === undefined, 'no keys from a device that is not trusted');
laptop.keyring.trust(phone.keyring.device);
ok(laptop.keyring.keyOf('team:1') !== undefined, 'but from one that is');
await laptop.sync();
is(await laptop.issues(), sees, 'values come with the key, though their rows came before it');
is(laptop.encryption.problems, [], 'without problems');

const fromLaptop = secret('the laptop writes as well');
await laptop.db.sql(`UPDATE issues SET title = ${quote(fromLaptop)} WHERE id = '${id(1)}'`);
await laptop.sync();
await phone.sync();
is((await phone.issues())[0][1], fromLaptop, 'what one device writes the other reads');

// another user
ben.syncKeys();
phone.syncKeys();
const seenBen = phone.keyring.devices.find((d) => d.subject === 'ben');
phone.keyring.trust(seenBen);
phone.keyring.grant('team:1', seenBen);
phone.syncKeys();
ben.keyring.trust(phone.keyring.device);
ben.syncKeys();
await ben.sync();
is((await ben.issues())[0][1], fromLaptop, 'another user reads with a key granted to him');

// ---- revocation and rotation
phone.keyring.revoke(laptop.keyring.deviceId);
phone.syncKeys();
is(psql('SELECT scope, generation, subject FROM tide.keys_to_rotate'), 'team:1|1|anna', 'the server tells what to rotate');
phone.keyring.rotate('team:1', [seenBen]);
phone.syncKeys();
is(psql('SELECT count(*) FROM tide.keys_to_rotate'), '0', 'until it is rotated');
const afterRevocation = secret('not for the lost laptop');
await phone.db.sql(insert(2, afterRevocation));
await phone.sync();
ben.syncKeys();
await ben.sync();
is((await ben.issues()).map((r) => r[1]), [fromLaptop, afterRevocation], 'ben reads old data and new');
laptop.syncKeys();
await laptop.sync();
is((await laptop.issues()).map((r) => r[1]), [fromLaptop, null], 'the revoked laptop reads no new data');
is(laptop.encryption.problems.at(-1).problem, 'no key', 'for want of the key');
await laptop.db.sql(`UPDATE issues SET big = 1 WHERE id = '${id(1)}'`);
await laptop.sync();
is(Object.values((await laptop.db.sql('SELECT code FROM tide_rejected'))[0])[0], '28000', 'nor writes: its signatures are refused');
laptop.keyring.endorse(phone.keyring.device);
laptop.keyring.rotate('team:1');
laptop.syncKeys();
is(laptop.keyring.rejected.slice(-2).map((r) => r.code), ['23514', '23514'], 'nor endorses, nor grants keys');

// ---- away for longer than the server remembers clients
const awayId = phone.keyring.client;
phone.keyring.rotate('team:2');
phone.call('push', phone.keyring.pushRequest()); // taken, but the answer is lost
const gone = { last_mutation_id: phone.keyring.lastId, results: [], expired: true, client: awayId };
phone.keyring.rotate('team:3');
phone.keyring.applyPush(JSON.stringify(gone));
const left = () => [phone.keyring.client !== awayId, phone.keyring.lastId, phone.keyring.outbox.map((m) => [m.id, m.values.scope])];
is(left(), [true, 1, [[1, 'team:3']]], 'an expired keyring goes on as another client, with what the server has not taken');
const renewedId = phone.keyring.client;
phone.keyring.applyPush(JSON.stringify(gone));
is([phone.keyring.client, ...left()], [renewedId, true, 1, [[1, 'team:3']]], 'the same answer again is about somebody else');
phone.keyring = Keyring.load(phone.keyring.save());
phone.encryption.keyring = phone.keyring;
phone.syncKeys();
is([phone.keyring.rejected, ['team:1', 'team:2', 'team:3'].map((scope) => phone.keyring.keyOf(scope) !== undefined), phone.keyring.outbox], [[], [true, true, true], []],
  'nothing is sent twice, and no key is lost');

// ---- recovery
const passphrase = secret('correct horse battery staple');
phone.keyring.backup(passphrase, { opslimit: 1, memlimit: 64 * 1024 });
phone.syncKeys();
const restored = Keyring.load(phone.keyring.save());
is(restored.keyOf('team:1'), phone.keyring.keyOf('team:1'), 'a keyring can be saved and loaded');
const row = phone.keyring.backups[0];
fails(() => Keyring.recover({ backup: row.backup, passphrase: 'wrong', deviceId: row.device_id, subject: 'anna' }), /passphrase is wrong/, 'a wrong passphrase is told');
const huge = device.bytesOf(row.backup);
huge[5] = 1;
fails(() => Keyring.recover({ backup: device.bytea(huge), passphrase, deviceId: row.device_id, subject: 'anna' }), /limits out of bounds/, 'a backup that would take all memory is refused');
const recovered = await Device.create('recovered', 'anna', await SqliteClient.create(scripts.sqlite, `${scratch}/recovered.db`),
  Keyring.recover({ backup: row.backup, passphrase, deviceId: row.device_id, subject: 'anna', subscriptions }));
recovered.syncKeys();
await recovered.sync();
is((await recovered.issues()).map((r) => r[1]), [fromLaptop, afterRevocation], 'the passphrase brings all data back');

// ---- signatures others can check
const signed = JSON.parse(psql(`SELECT json_agg(to_jsonb(m)) FROM tide.signed_mutations m WHERE "table" = 'public.issues'`)).map((m) => parse(stringify(m)));
const keyOf = (deviceId) => ben.keyring.devices.find((d) => d.device_id === deviceId).sign_key;
ok(signed.length === 3, 'mutations are kept with their signatures', signed.length);
const lossless = parse(psql(`SELECT json_agg(to_jsonb(m)) FROM tide.signed_mutations m`));
ok(lossless.every((m) => verifyMutation(m, keyOf(m.device_id))), 'other clients can check them');
ok(lossless.every((m) => !verifyMutation({ ...m, mutation: { ...m.mutation, key: { id: id(9) } } }, keyOf(m.device_id))), 'and notice a change');
ok(lossless.every((m) => !verifyMutation({ ...m, client_id: id(9) }, keyOf(m.device_id))), 'or another client');

// ---- a client without encryption, and a server that does not keep to the rules
const plain = await SqliteClient.create(scripts.sqlite, `${scratch}/plain.db`);
await plain.sql(`INSERT INTO issues (id, team, title) VALUES ('${id(3)}', 1, 'not encrypted by mistake')`);
const refusal = parse(psql(`SELECT tide.push(${quote(claimed(await plain.pushRequest(), 'anna'))})`, 'app')).results[0];
is([refusal.code, /holds only encrypted values/.test(refusal.message)], ['23514', true], 'plaintext is refused');

psql(`UPDATE issues SET title = (SELECT title FROM issues WHERE id = '${id(2)}'), doc = '"made up"', raw = overlay(raw PLACING '\\x00' FROM 60) WHERE id = '${id(1)}'`);
ben.encryption.problems.length = 0;
await ben.sync();
is((await ben.issues())[0].slice(1, 4), [null, null, null], 'values of other rows, made up or damaged are not shown');
is(ben.encryption.problems.map((p) => p.problem), ['not of this row and column, or damaged', 'not encrypted', 'not of this row and column, or damaged'], 'but told');

const mallory = Keyring.create({ subject: 'anna' });
mallory.rotate('team:1');
mallory.outbox.forEach((m) => psql(m.table === 'tide.devices'
  ? `INSERT INTO tide.devices SELECT * FROM jsonb_populate_record(NULL::tide.devices, '${JSON.stringify({ ...m.key, ...m.values, created_at: 'now' })}')`
  : 'SELECT'));
const forged = mallory.outbox.find((m) => m.table === 'tide.key_grants');
fails(() => psql(`INSERT INTO tide.key_grants SELECT * FROM jsonb_populate_record(NULL::tide.key_grants, '${JSON.stringify({ ...forged.key, ...forged.values, generation: 3, created_at: 'now' })}')`),
  /signature of the key grant is not valid/, 'a grant is what its signature says');
recovered.syncKeys();
const ghost = recovered.keyring.devices.find((d) => d.device_id === mallory.deviceId);
ok(ghost !== undefined && !recovered.keyring.isTrusted(ghost.device_id, envelope.toHex(device.bytesOf(ghost.sign_key))), 'a device the server made up is not trusted');

// ---- JavaScript and SQL open each other's values
const names = ['a', 'Z', '|', '\\', 'a|b', 'é', '\u{1f30a}', '\uffee', 'x y', '"', '1', '10', '9'];
const scalars = () => [random(2) === 0, null, '', 'it\'s', '\u0001\b\t\n\f\r\u001f\u007f\u2028"\\/', '\u{1f30a}é',
  parse(['0', '-0', '-0.0', '1.50', '1e3', '12E-4', '-1.5e+2', '9223372036854775807', '0.1000', '1e-20', '123456789012345678901234567890.0'][random(11)])][random(7)];
function value(depth) {
  if (depth === 0 || random(3) === 0) return scalars();
  const n = random(4);
  if (random(2) === 0) return Array.from({ length: n }, () => value(depth - 1));
  return Object.fromEntries(Array.from({ length: n }, () => [names[random(names.length)] + (random(3) === 0 ? names[random(names.length)] : ''), value(depth - 1)]));
}
const keyOfRow = () => ({ ...Object.fromEntries(Array.from({ length: 1 + random(3) }, () => [names[random(names.length)], scalars()])) });
const dataKey = envelope.newDataKey();
const own = device.newSecret();
const ownKeys = device.keysOf(own);
const lit = (bytes) => `'${device.bytea(bytes)}'::bytea`;
const json = (v) => `${quote(stringify(v))}::jsonb`;
const cases = Array.from({ length: 200 }, () => ({ v: value(3), table: names[random(names.length)], column: names[random(names.length)], key: keyOfRow(), text: String(scalars() ?? 'x') }));
const queries = cases.map(({ v, table, column, key, text }) => {
  const place = `${quote(table)}, ${quote(column)}, ${json(key)}`;
  const sealed = envelope.seal(envelope.utf8(text), dataKey, table, column, key);
  return `SELECT json_build_object('canonical', convert_from(tide.canonical_json(${json(v)}), 'UTF8'),
    'opened', tide.decrypt_text(${quote(envelope.toColumn(sealed, 'text'))}, ${lit(dataKey)}, ${place}) = ${quote(text)},
    'bytes', tide.decrypt(${lit(sealed)}, ${lit(dataKey)}, ${place}) = convert_to(${quote(text)}, 'UTF8'),
    'sealed', tide.encrypt_text(${quote(text)}, ${lit(dataKey)}, ${place}),
    'verified', tide.verify(tide.signed_message('test', ${json(v)}), ${lit(device.sign('test', v, ownKeys))}, ${lit(ownKeys.sign.publicKey)}),
    'signature', tide.sign(tide.signed_message('test', ${json(v)}), ${lit(own)}));`;
});
const answers = psql(queries.join('\n')).split('\n').map((line) => JSON.parse(line));
is(answers.filter((a, i) => a.canonical !== canonical(cases[i].v)).map((a, i) => [a.canonical, canonical(cases[i].v)]), [], 'the canonical form is the same in both');
ok(answers.every((a) => a.opened && a.bytes), 'SQL opens what JavaScript sealed');
ok(answers.every((a, i) => new TextDecoder().decode(envelope.open(envelope.fromColumn(a.sealed, 'text'), dataKey, cases[i].table, cases[i].column, cases[i].key)) === cases[i].text), 'and the other way round');
ok(answers.every((a) => a.verified), 'SQL verifies what JavaScript signed');
ok(answers.every((a, i) => device.verify('test', cases[i].v, device.bytesOf(a.signature), ownKeys.sign.publicKey)), 'and the other way round');

const other = JSON.parse(psql(`SELECT json_build_object('keys', (SELECT k FROM tide.device_keys(${lit(own)}) k), 'sealed', tide.seal(${lit(dataKey)}, ${lit(ownKeys.box.publicKey)}),
  'unsealed', tide.unseal(${lit(device.sealKey(dataKey, ownKeys.box.publicKey))}, ${lit(own)}) = ${lit(dataKey)},
  'backup', tide.make_backup(${lit(own)}, 'päss', 2, 65536), 'restored', tide.open_backup(${lit(device.makeBackup(own, 'päss', { opslimit: 2, memlimit: 65536 }))}, 'päss') = ${lit(own)},
  'mutation', tide.verify_mutation('${id(1)}', ${json(device.signMutation(id(1), { id: 1, op: 'delete' }, id(2), ownKeys))}, ${lit(ownKeys.sign.publicKey)}))`));
is([other.keys.box_key, other.keys.sign_key], [device.bytea(ownKeys.box.publicKey), device.bytea(ownKeys.sign.publicKey)], 'a device secret has the same public keys in both');
is(device.unsealKey(device.bytesOf(other.sealed), ownKeys), dataKey, 'JavaScript opens what SQL sealed for a device');
is([other.unsealed, other.restored, other.mutation], [true, true, true], 'SQL opens boxes and backups, and verifies mutations');
is(device.openBackup(device.bytesOf(other.backup), 'päss'), own, 'JavaScript opens backups of SQL');
const sqlGrant = parse(psql(`SELECT to_jsonb(g) FROM tide.make_grant(${lit(dataKey)}, 's', 1, '${id(1)}', ${lit(ownKeys.box.publicKey)}, '${id(1)}', ${lit(own)}) g`));
ok(device.verify('grant', device.grantContent(sqlGrant, ownKeys.box.publicKey), device.bytesOf(sqlGrant.signature), ownKeys.sign.publicKey), 'JavaScript verifies grants of SQL');

for (const { keyring } of [phone, laptop, ben, recovered]) secretsOf(keyring);
for (const { db } of [phone, laptop, ben, recovered]) await db.close();
console.log(`1..${count}`);
process.exit(failed === 0 ? 0 : 1);
