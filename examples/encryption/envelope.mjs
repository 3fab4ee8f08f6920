// One encrypted value: 0x01 | key_id (16) | nonce (24) | XChaCha20-Poly1305-IETF ciphertext and tag.
import { canonical } from './json.mjs';

// Node 18 has Web Crypto in a module only; libsodium looks for the global of browsers and later versions when it is loaded
if (globalThis.crypto === undefined) {
  const builtin = 'node:crypto';
  globalThis.crypto = (await import(/* @vite-ignore */ builtin)).webcrypto;
}
const { default: sodium } = await import('libsodium-wrappers-sumo');
await sodium.ready;

const VERSION = 1;
const KEY_ID = 16;
const HEADER = 1 + KEY_ID + 24;
const MIN_LENGTH = HEADER + 16;

export { sodium };
export const utf8 = (text) => new TextEncoder().encode(text);
export const fromHex = (text) => sodium.from_hex(text);
export const toHex = (bytes) => sodium.to_hex(bytes);
export const uuidOf = (bytes) => toHex(bytes.subarray(0, KEY_ID)).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');

export function concat(...parts) {
  const result = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

export function randomUuid() {
  const bytes = sodium.randombytes_buf(16);
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return uuidOf(bytes);
}

// a data key: 16 bytes of id, a uuid, then 32 secret bytes
export const newDataKey = () => concat(fromHex(randomUuid().replaceAll('-', '')), sodium.randombytes_buf(32));

const escapeName = (name) => name.replace(/[\\|]/g, '\\$&');
export function associatedData(table, column, key) {
  if (key === null || typeof key !== 'object' || Array.isArray(key) || Object.keys(key).length === 0) throw new TypeError('no key of a row');
  return utf8(`${escapeName(table)}|${escapeName(column)}|${canonical(key)}`);
}

export function seal(plaintext, dataKey, table, column, key) {
  const nonce = sodium.randombytes_buf(24);
  const ciphertext = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, associatedData(table, column, key), null, nonce, dataKey.subarray(KEY_ID));
  return concat(Uint8Array.of(VERSION), dataKey.subarray(0, KEY_ID), nonce, ciphertext);
}

export const isEnvelope = (bytes) => bytes.length >= MIN_LENGTH && bytes[0] === VERSION;
export const keyIdOf = (envelope) => uuidOf(envelope.subarray(1));

// throws unless key, table, column and row are those it was made for
export function open(envelope, dataKey, table, column, key) {
  if (!isEnvelope(envelope) || !sodium.memcmp(envelope.subarray(1, 1 + KEY_ID), dataKey.subarray(0, KEY_ID))) throw new Error('could not decrypt the value');
  return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(null, envelope.subarray(HEADER), associatedData(table, column, key),
    envelope.subarray(1 + KEY_ID, HEADER), dataKey.subarray(KEY_ID));
}

// how a column holds bytes: bytea as \x and hexadecimal digits, text and json as base64url; null if it does not
export function toColumn(bytes, type) {
  return type === 'bytea' ? `\\x${toHex(bytes)}` : sodium.to_base64(bytes, sodium.base64_variants.URLSAFE_NO_PADDING);
}
export function fromColumn(value, type) {
  if (typeof value !== 'string') return null;
  try {
    if (type === 'bytea') return /^\\x([0-9a-f]{2})*$/i.test(value) ? fromHex(value.slice(2)) : null;
    const bytes = sodium.from_base64(value, sodium.base64_variants.URLSAFE_NO_PADDING);
    return sodium.to_base64(bytes, sodium.base64_variants.URLSAFE_NO_PADDING) === value ? bytes : null;
  } catch {
    return null;
  }
}
