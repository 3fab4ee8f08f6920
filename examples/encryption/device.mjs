// A device's keys, all of one secret of 32 bytes, what it signs, and its backup under a passphrase.
import { concat, fromHex, sodium, toHex, utf8, uuidOf } from './envelope.mjs';
import { canonical } from './json.mjs';

const KDF_CONTEXT = 'tidedevi';
const BACKUP = { version: 3, length: 101, salt: 13, nonce: 29, ciphertext: 53, maxOps: 16, minMem: 8192, maxMem: 2 ** 30 };

export const newSecret = () => sodium.randombytes_buf(32);

export function keysOf(secret) {
  const seeds = [1, 2].map((id) => sodium.crypto_kdf_derive_from_key(32, id, KDF_CONTEXT, secret));
  const keys = { box: sodium.crypto_box_seed_keypair(seeds[0]), sign: sodium.crypto_sign_seed_keypair(seeds[1]) };
  for (const seed of seeds) sodium.memzero(seed);
  return keys;
}

export const signedMessage = (kind, content) => utf8(`tide.${kind}.v1\n${canonical(content)}`);
export const sign = (kind, content, keys) => sodium.crypto_sign_detached(signedMessage(kind, content), keys.sign.privateKey);
export function verify(kind, content, signature, signKey) {
  return signature.length === 64 && signKey.length === 32 && sodium.crypto_sign_verify_detached(signature, signedMessage(kind, content), signKey);
}

// bytea members of rows, as pull sends them
export const bytesOf = (value) => (typeof value === 'string' && /^\\x([0-9a-f]{2})*$/i.test(value) ? fromHex(value.slice(2)) : new Uint8Array());
export const bytea = (bytes) => `\\x${toHex(bytes)}`;
const hex = (value) => toHex(bytesOf(value));

export const deviceContent = ({ device_id, subject, box_key, sign_key }) => ({ device_id, subject, box_key: hex(box_key), sign_key: hex(sign_key) });
export const grantContent = ({ key_id, scope, generation, device_id, sealed, granted_by }, boxKey) =>
  ({ key_id, scope, generation, device_id, box_key: toHex(boxKey), sealed: hex(sealed), granted_by });

// a device's own signature, which ties its two keys together
export const isOwnDevice = (device) => verify('device', deviceContent(device), bytesOf(device.signature), bytesOf(device.sign_key));

export function sealKey(dataKey, boxKey) {
  return sodium.crypto_box_seal(dataKey, boxKey);
}
export function unsealKey(sealed, keys) {
  return sodium.crypto_box_seal_open(sealed, keys.box.publicKey, keys.box.privateKey);
}

export function signMutation(client, mutation, deviceId, keys) {
  const { signature, ...content } = mutation;
  return { ...content, signature: { device: deviceId, value: toHex(sign('mutation', { client, mutation: content }, keys)) } };
}

// whether a row of tide.signed_mutations bears a signature of this key
export function verifyMutation({ client_id: client, mutation }, signKey) {
  const { signature, ...content } = mutation;
  if (!/^[0-9a-f]{128}$/.test(signature?.value ?? '')) return false;
  return verify('mutation', { client, mutation: content }, fromHex(signature.value), typeof signKey === 'string' ? bytesOf(signKey) : signKey);
}

// ---- 0x03 | opslimit (4) | memlimit (8) | salt (16) | nonce (24) | ciphertext and tag (48)

function stretch(passphrase, salt, opslimit, memlimit) {
  return sodium.crypto_pwhash(32, passphrase, salt, opslimit, memlimit, sodium.crypto_pwhash_ALG_ARGON2ID13);
}

export function makeBackup(secret, passphrase, { opslimit = 3, memlimit = 256 * 2 ** 20 } = {}) {
  const header = concat(new Uint8Array(13), sodium.randombytes_buf(16 + 24));
  const view = new DataView(header.buffer);
  header[0] = BACKUP.version;
  view.setUint32(1, opslimit);
  view.setBigUint64(5, BigInt(memlimit));
  const key = stretch(passphrase, header.subarray(BACKUP.salt, BACKUP.nonce), opslimit, memlimit);
  const ciphertext = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(secret, header, null, header.subarray(BACKUP.nonce), key);
  sodium.memzero(key);
  return concat(header, ciphertext);
}

export function openBackup(backup, passphrase) {
  const view = new DataView(backup.buffer, backup.byteOffset, backup.byteLength);
  const isBackup = backup.length === BACKUP.length && backup[0] === BACKUP.version;
  const [opslimit, memlimit] = isBackup ? [view.getUint32(1), Number(view.getBigUint64(5))] : [0, 0];
  // it comes from a server: no limits that would stop the device
  if (opslimit < 1 || opslimit > BACKUP.maxOps || memlimit < BACKUP.minMem || memlimit > BACKUP.maxMem) throw new Error('not a backup, or limits out of bounds');
  const key = stretch(passphrase, backup.subarray(BACKUP.salt, BACKUP.nonce), opslimit, memlimit);
  try {
    return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(null, backup.subarray(BACKUP.ciphertext), backup.subarray(0, BACKUP.ciphertext),
      backup.subarray(BACKUP.nonce, BACKUP.ciphertext), key);
  } catch {
    throw new Error('could not open the backup: the passphrase is wrong, or the backup is damaged');
  } finally {
    sodium.memzero(key);
  }
}

export { uuidOf };
