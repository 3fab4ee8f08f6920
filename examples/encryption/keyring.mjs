// The keys of one device, and how they come and go: through tide.push and tide.pull like any other rows,
// in tables tide.devices, tide.key_grants and tide.key_backups.
//
// The server is not trusted. A key is taken only from a device that is trusted: this one, one the app
// has said so of (trust(), after its user has compared fingerprints), and the user's own that one of those has endorsed.
import { bytea, bytesOf, deviceContent, grantContent, isOwnDevice, keysOf, makeBackup, newSecret, openBackup, sealKey, sign, signMutation, unsealKey, verify } from './device.mjs';
import { fromHex, newDataKey, randomUuid, sodium, toHex, utf8, uuidOf } from './envelope.mjs';
import { canonical, parse, stringify, whole } from './json.mjs';

// what users compare, in groups of four: BLAKE2b of both public keys
export function fingerprint(device) {
  const hash = sodium.crypto_generichash(20, utf8(canonical(deviceContent(device))));
  return toHex(hash).replace(/(.{4})(?=.)/g, '$1 ');
}

export class Keyring {
  #secret;
  #keys;
  #dataKeys = new Map(); // key id -> { scope, generation, bytes, confirmed }

  constructor(secret, state) {
    this.#secret = secret;
    this.#keys = keysOf(secret);
    Object.assign(this, state);
  }

  // a new device of a user; it is registered by the next push
  static create({ subject, name = null, subscriptions = {} }) {
    const keyring = new Keyring(newSecret(), Keyring.#emptyState(randomUuid(), subject, subscriptions));
    const device = { device_id: keyring.deviceId, subject, box_key: bytea(keyring.#keys.box.publicKey), sign_key: bytea(keyring.#keys.sign.publicKey) };
    device.signature = bytea(sign('device', deviceContent(device), keyring.#keys));
    keyring.device = device;
    const { device_id, ...values } = device;
    keyring.#queue({ op: 'insert', table: 'tide.devices', key: { device_id }, values: { ...values, name } });
    return keyring;
  }

  // a device whose secret was kept by backup(); its keys come with the next pull
  static recover({ backup, passphrase, deviceId, subject, subscriptions = {} }) {
    const secret = openBackup(bytesOf(backup), passphrase);
    return new Keyring(secret, Keyring.#emptyState(deviceId, subject, subscriptions));
  }

  static #emptyState(deviceId, subject, subscriptions) {
    return { client: randomUuid(), deviceId, subject, subscriptions, device: null, trusted: {}, cookie: null, rows: {}, outbox: [], lastId: 0, rejected: [] };
  }

  // JSON with all secrets: for the place where the platform keeps such
  save() {
    const { client, deviceId, subject, subscriptions, device, trusted, cookie, rows, outbox, lastId, rejected } = this;
    const dataKeys = [...this.#dataKeys.values()].map((k) => ({ ...k, bytes: toHex(k.bytes) }));
    return stringify({ secret: toHex(this.#secret), dataKeys, state: { client, deviceId, subject, subscriptions, device, trusted, cookie, rows, outbox, lastId, rejected } });
  }

  static load(text) {
    const { secret, dataKeys, state } = parse(text);
    const keyring = new Keyring(fromHex(secret), { ...state, lastId: whole(state.lastId) });
    for (const k of dataKeys) keyring.#remember(fromHex(k.bytes), k.scope, whole(k.generation), k.confirmed);
    return keyring;
  }

  // forget all secrets
  close() {
    sodium.memzero(this.#secret);
    sodium.memzero(this.#keys.box.privateKey);
    sodium.memzero(this.#keys.sign.privateKey);
    for (const { bytes } of this.#dataKeys.values()) sodium.memzero(bytes);
    this.#dataKeys.clear();
  }

  // ---- devices

  #all(table) {
    return Object.values(this.rows).filter((r) => r.table === table).map((r) => r.row);
  }
  get devices() {
    return this.#all('tide.devices');
  }
  get backups() {
    return this.#all('tide.key_backups');
  }

  // the user has compared fingerprints: keys that this device grants are taken
  trust(device) {
    if (!isOwnDevice(device)) throw new Error('signature of the device is not valid');
    this.trusted[device.device_id] = toHex(bytesOf(device.sign_key));
    this.#openGrants();
  }

  isTrusted(deviceId, signKey) {
    if (deviceId === this.deviceId) return signKey === toHex(this.#keys.sign.publicKey);
    if (this.trusted[deviceId] !== undefined) return this.trusted[deviceId] === signKey;
    const device = this.devices.find((d) => d.device_id === deviceId && d.subject === this.subject && toHex(bytesOf(d.sign_key)) === signKey);
    const by = device?.endorsed_by;
    const byKey = by === this.deviceId ? toHex(this.#keys.sign.publicKey) : this.trusted[by];
    return by !== null && byKey !== undefined && verify('device', deviceContent(device), bytesOf(device.endorsement), fromHex(byKey));
  }

  // trust another device of the same user, and say so to the others
  endorse(device) {
    this.trust(device);
    const endorsement = bytea(sign('device', deviceContent(device), this.#keys));
    this.#queue({ op: 'update', table: 'tide.devices', key: { device_id: device.device_id }, values: { endorsed_by: this.deviceId, endorsement } });
  }

  // no more keys for a device of the user; rotate() the scopes it had keys of
  revoke(deviceId) {
    delete this.trusted[deviceId];
    this.#queue({ op: 'update', table: 'tide.devices', key: { device_id: deviceId }, values: { revoked_at: new Date().toISOString() } });
  }

  backup(passphrase, limits) {
    const backup = bytea(makeBackup(this.#secret, passphrase, limits));
    this.#queue({ op: 'insert', table: 'tide.key_backups', key: { device_id: this.deviceId }, values: { backup } });
  }

  // ---- data keys

  #remember(bytes, scope, generation, confirmed) {
    this.#dataKeys.set(uuidOf(bytes), { scope, generation, bytes, confirmed });
  }
  #ofScope(scope) {
    return [...this.#dataKeys.values()].filter((k) => k.scope === scope && k.confirmed).sort((a, b) => a.generation - b.generation);
  }

  // to decrypt with, whatever its generation
  key(keyId) {
    return this.#dataKeys.get(keyId)?.bytes;
  }
  // to encrypt with: the newest that the server has taken; undefined if there is none
  keyOf(scope) {
    return this.#ofScope(scope).at(-1)?.bytes;
  }

  // a new key for new data of a scope, for this device and those given; old data stay under the old ones
  rotate(scope, devices = []) {
    const generation = (this.#ofScope(scope).at(-1)?.generation ?? 0) + 1;
    const bytes = newDataKey();
    this.#remember(bytes, scope, generation, false);
    const me = { device_id: this.deviceId, box_key: bytea(this.#keys.box.publicKey) };
    for (const device of [me, ...devices.filter((d) => d.device_id !== this.deviceId)]) this.#grant({ scope, generation, bytes }, device);
  }

  // all keys of a scope for a device the app trusts
  grant(scope, device) {
    if (!this.isTrusted(device.device_id, toHex(bytesOf(device.sign_key)))) throw new Error('device is not trusted');
    for (const key of this.#ofScope(scope)) this.#grant(key, device);
  }

  #grant({ scope, generation, bytes }, device) {
    const boxKey = bytesOf(device.box_key);
    const row = { key_id: uuidOf(bytes), device_id: device.device_id, scope, generation, sealed: bytea(sealKey(bytes, boxKey)), granted_by: this.deviceId };
    const signature = bytea(sign('grant', grantContent(row, boxKey), this.#keys));
    const { key_id, device_id, ...values } = row;
    this.#queue({ op: 'insert', table: 'tide.key_grants', key: { key_id, device_id }, values: { ...values, granted_key: bytea(this.#keys.sign.publicKey), signature } });
  }

  #openGrants() {
    for (const grant of this.#all('tide.key_grants')) {
      if (grant.device_id !== this.deviceId || this.#dataKeys.get(grant.key_id)?.confirmed) continue;
      const signKey = bytesOf(grant.granted_key);
      if (!this.isTrusted(grant.granted_by, toHex(signKey)) || !verify('grant', grantContent(grant, this.#keys.box.publicKey), bytesOf(grant.signature), signKey)) continue;
      const bytes = unsealKey(bytesOf(grant.sealed), this.#keys);
      if (uuidOf(bytes) === grant.key_id) this.#remember(bytes, grant.scope, whole(grant.generation), true);
    }
  }

  signMutation(client, mutation) {
    return signMutation(client, mutation, this.deviceId, this.#keys);
  }

  // ---- sync; all texts of JSON, to which the app adds its token

  #queue(mutation) {
    this.lastId += 1;
    this.outbox.push({ id: this.lastId, ...mutation });
  }

  // for tide.push; null if there is nothing to send
  pushRequest() {
    return this.outbox.length === 0 ? null : stringify({ client: this.client, mutations: this.outbox });
  }

  applyPush(text) {
    const answer = parse(text);
    if (answer.expired) {
      // away for longer than the server remembers: another client, with what it has not taken yet; what became
      // of the rest comes with the next pull
      if (answer.client !== this.client) return;
      this.client = randomUuid();
      this.outbox = this.outbox.filter((m) => whole(m.id) > whole(answer.last_mutation_id));
      this.outbox.forEach((m, i) => { m.id = i + 1; });
      this.lastId = this.outbox.length;
    }
    for (const result of answer.results) {
      const mutation = this.outbox.find((m) => whole(m.id) === whole(result.id));
      if (mutation === undefined) continue;
      this.outbox.splice(this.outbox.indexOf(mutation), 1);
      const key = mutation.table === 'tide.key_grants' && mutation.key.device_id === this.deviceId ? this.#dataKeys.get(mutation.key.key_id) : undefined;
      if (result.status !== 'rejected' && key !== undefined) key.confirmed = true;
      // another device was first: its key comes with the next pull
      if (result.status === 'rejected' && key !== undefined && !key.confirmed) this.#dataKeys.delete(mutation.key.key_id);
      if (result.status === 'rejected') this.rejected.push({ ...mutation, code: result.code, message: result.message });
    }
  }

  pullRequest() {
    return stringify({ client: this.client, shapes: { tide_keys: [{}], ...this.subscriptions }, cookie: this.cookie });
  }

  // true when all is here
  applyPull(text) {
    const answer = parse(text);
    const dropped = new Set((answer.drop ?? []).map(String));
    for (const [id, row] of Object.entries(this.rows)) if (dropped.has(row.bucket)) delete this.rows[id];
    for (const { bucket, table, op, key, row } of answer.changes ?? []) {
      const id = `${bucket}|${table}|${canonical(key)}`;
      if (op === 'put') this.rows[id] = { bucket: String(bucket), table, row };
      else delete this.rows[id];
    }
    this.cookie = answer.cookie;
    this.#openGrants();
    return answer.complete;
  }
}
