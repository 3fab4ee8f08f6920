// End-to-end encryption for clients of pg_tide. doc/encryption.md has the forms, byte by byte.
export { Encryption } from './encryption.mjs';
export { Keyring, fingerprint } from './keyring.mjs';
export { verifyMutation } from './device.mjs';
