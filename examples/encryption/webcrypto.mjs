// Node 18 has Web Crypto in a module only; libsodium-wrappers looks for the global of later versions and of browsers.
if (globalThis.crypto === undefined) {
  const { webcrypto } = await import('node:crypto');
  globalThis.crypto = webcrypto;
}
