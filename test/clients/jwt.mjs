// Keys and tokens of all four algorithms made by jose, good and hostile ones, as one line of JSON each.
import { createHmac, createSign, generateKeyPairSync, webcrypto } from 'node:crypto';

// a global since Node 20 only
globalThis.crypto ??= webcrypto;
const jose = await import('jose');

const now = Math.floor(Date.now() / 1000);
const out = (what) => console.log(JSON.stringify(what));
const b64 = (bytes) => Buffer.from(bytes).toString('base64url');
const enc = new TextEncoder();

const sign = (alg, kid, key, claims = {}, header = {}) =>
  new jose.SignJWT({ sub: 'ada', role: 'app_user', teams: [1, 2], ...claims })
    .setProtectedHeader({ alg, kid, typ: 'JWT', ...header })
    .setIssuer('https://issuer.example').setAudience('tide').setIssuedAt().setExpirationTime('1h').sign(key);

const keys = {};
for (const alg of ['EdDSA', 'RS256', 'ES256']) {
  keys[alg] = await jose.generateKeyPair(alg, { extractable: true, crv: alg === 'EdDSA' ? 'Ed25519' : undefined });
  const jwk = await jose.exportJWK(keys[alg].publicKey);
  const pem = await jose.exportSPKI(keys[alg].publicKey);
  keys[alg].pem = pem;
  keys[alg].jwk = jwk;
  const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  const forms = { jwk: Buffer.from(JSON.stringify(jwk)), pem: Buffer.from(pem), der };
  if (alg === 'EdDSA') forms.raw = Buffer.from(jwk.x, 'base64url');
  if (alg === 'ES256') forms.raw = Buffer.concat([Buffer.from([4]), Buffer.from(jwk.x, 'base64url'), Buffer.from(jwk.y, 'base64url')]);
  const thumbprint = await jose.calculateJwkThumbprint(jwk);
  for (const [form, bytes] of Object.entries(forms)) {
    const kid = `${alg} ${form}`;
    out({ key: kid, alg, bytes: bytes.toString('hex'), thumbprint });
    out({ token: await sign(alg, kid, keys[alg].privateKey), name: kid, good: true });
  }
  const longer = await jose.exportPKCS8(keys[alg].privateKey);
  out({ key: `${alg} private`, alg, bytes: Buffer.from(longer).toString('hex'), bad: true });
  out({ key: `${alg} private JWK`, alg, bytes: Buffer.from(JSON.stringify(await jose.exportJWK(keys[alg].privateKey))).toString('hex'), bad: true });
}
const secret = Buffer.from(Array.from({ length: 32 }, (_, i) => (i * 7) % 256));
out({ key: 'HS256 raw', alg: 'HS256', bytes: secret.toString('hex') });
out({ key: 'HS256 jwk', alg: 'HS256', bytes: Buffer.from(JSON.stringify({ kty: 'oct', k: b64(secret), alg: 'HS256' })).toString('hex') });
for (const kid of ['HS256 raw', 'HS256 jwk']) out({ token: await sign('HS256', kid, secret), name: kid, good: true });

const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ type: 'spki', format: 'pem' });
out({ key: 'RSA of 1024 bits', alg: 'RS256', bytes: Buffer.from(weak).toString('hex'), bad: true });
const pss = generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey.export({ type: 'spki', format: 'pem' });
out({ key: 'RSA for PSS only', alg: 'RS256', bytes: Buffer.from(pss).toString('hex'), bad: true });
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey.export({ type: 'spki', format: 'pem' });
out({ key: 'P-384', alg: 'ES256', bytes: Buffer.from(p384).toString('hex'), bad: true });
const ed448 = generateKeyPairSync('ed448').publicKey.export({ type: 'spki', format: 'pem' });
out({ key: 'Ed448', alg: 'EdDSA', bytes: Buffer.from(ed448).toString('hex'), bad: true });
const explicit = generateKeyPairSync('ec', { namedCurve: 'P-256', paramEncoding: 'explicit' }).publicKey.export({ type: 'spki', format: 'pem' });
out({ key: 'P-256 by parameters of its own', alg: 'ES256', bytes: Buffer.from(explicit).toString('hex'), bad: true });

// hostile tokens
const hostile = (name, token) => out({ token, name, good: false });
const parts = (token) => token.split('.');
const withSignature = (token, bytes) => [...parts(token).slice(0, 2), b64(bytes)].join('.');
const unsigned = (header, claims = { sub: 'ada', exp: now + 3600 }) => `${b64(JSON.stringify(header))}.${b64(JSON.stringify(claims))}`;

hostile('unsecured', new jose.UnsecuredJWT({ sub: 'ada' }).setExpirationTime('1h').encode());
hostile('encrypted', await new jose.EncryptJWT({ sub: 'ada' }).setProtectedHeader({ alg: 'dir', enc: 'A128CBC-HS256' })
  .setExpirationTime('1h').encrypt(secret));
hostile('expired', await new jose.SignJWT({ sub: 'ada', exp: now - 3600, aud: 'tide', iss: 'https://issuer.example' })
  .setProtectedHeader({ alg: 'HS256', kid: 'HS256 raw' }).sign(secret));
hostile('HS384', await sign('HS384', 'HS256 raw', Buffer.concat([secret, secret])));
hostile('HS512', await sign('HS512', 'HS256 raw', Buffer.concat([secret, secret])));

// a public key as the secret of an HMAC, in each form an attacker may guess
for (const alg of ['RS256', 'ES256', 'EdDSA']) {
  for (const [form, key] of Object.entries({ pem: keys[alg].pem, trimmed: keys[alg].pem.trim(), jwk: JSON.stringify(keys[alg].jwk),
    der: Buffer.from(keys[alg].pem.replace(/-----[^-]+-----|\s/g, ''), 'base64') })) {
    for (const headerAlg of ['HS256', alg]) {
      const text = unsigned({ alg: headerAlg, kid: `${alg} pem` });
      hostile(`${alg} key as a secret, ${form}, alg ${headerAlg}`, `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`);
    }
  }
}

for (const alg of ['RS256', 'ES256', 'EdDSA']) {
  const kid = `${alg} pem`;
  const good = await sign(alg, kid, keys[alg].privateKey);
  const other = await jose.generateKeyPair(alg, { crv: alg === 'EdDSA' ? 'Ed25519' : undefined });
  const bytes = Buffer.from(parts(good)[2], 'base64url');
  const flipped = Buffer.from(bytes);
  flipped[bytes.length >> 1] ^= 1;
  hostile(`${alg} of another key`, await sign(alg, kid, other.privateKey));
  hostile(`${alg} of another key, which it brings along`, await sign(alg, kid, other.privateKey, {}, { jwk: await jose.exportJWK(other.publicKey) }));
  hostile(`${alg} with one bit flipped`, withSignature(good, flipped));
  hostile(`${alg} one byte short`, withSignature(good, bytes.subarray(0, -1)));
  hostile(`${alg} one byte long`, withSignature(good, Buffer.concat([bytes, Buffer.from([0])])));
  hostile(`${alg} with a zero before it`, withSignature(good, Buffer.concat([Buffer.from([0]), bytes])));
  hostile(`${alg} all zero`, withSignature(good, Buffer.alloc(bytes.length)));
  hostile(`${alg} all one`, withSignature(good, Buffer.alloc(bytes.length, 255)));
  hostile(`${alg} with other claims`, [parts(good)[0], parts(await sign('HS256', 'x', secret, { sub: 'bob' }))[1], parts(good)[2]].join('.'));
  for (const otherAlg of ['RS256', 'ES256', 'EdDSA', 'HS256'].filter((a) => a !== alg))
    hostile(`${alg} under the kid of a key of ${otherAlg}`, await sign(alg, `${otherAlg} ${otherAlg === 'HS256' ? 'raw' : 'pem'}`, keys[alg].privateKey));
}

// RS256: PSS in place of PKCS #1, another hash, the algorithms next to it
const rsaPem = await jose.exportPKCS8(keys.RS256.privateKey);
const rsaText = unsigned({ alg: 'RS256', kid: 'RS256 pem' });
const rsaSign = (hash, options) => b64(createSign(hash).update(rsaText).sign({ key: rsaPem, ...options }));
hostile('RS256 by PSS', `${rsaText}.${rsaSign('SHA256', { padding: 6, saltLength: 32 })}`);
hostile('RS256 over SHA-1', `${rsaText}.${rsaSign('SHA1', {})}`);
hostile('RS256 over SHA-512', `${rsaText}.${rsaSign('SHA512', {})}`);

// ES256: DER in place of r|s, r and s at the borders
const p256Order = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');
const ecGood = await sign('ES256', 'ES256 pem', keys.ES256.privateKey);
const ecText = parts(ecGood).slice(0, 2).join('.');
hostile('ES256 in DER', `${ecText}.${b64(createSign('SHA256').update(ecText).sign({ key: await jose.exportPKCS8(keys.ES256.privateKey), dsaEncoding: 'der' }))}`);
hostile('ES256 with r and s the order', withSignature(ecGood, Buffer.concat([p256Order, p256Order])));
hostile('ES256 with s zero', withSignature(ecGood, Buffer.concat([Buffer.from(parts(ecGood)[2], 'base64url').subarray(0, 32), Buffer.alloc(32)])));
hostile('ES256 with r and s swapped', withSignature(ecGood, Buffer.concat([Buffer.from(parts(ecGood)[2], 'base64url').subarray(32), Buffer.from(parts(ecGood)[2], 'base64url').subarray(0, 32)])));

// EdDSA: S + L is the same scalar written otherwise
const edGood = await sign('EdDSA', 'EdDSA pem', keys.EdDSA.privateKey);
const edBytes = Buffer.from(parts(edGood)[2], 'base64url');
const order = 2n ** 252n + 27742317777372353535851937790883648493n;
let s = BigInt('0x' + Buffer.from(edBytes.subarray(32)).reverse().toString('hex')) + order;
const malleable = Buffer.from(edBytes);
for (let i = 32; i < 64; i++, s >>= 8n) malleable[i] = Number(s & 255n);
hostile('EdDSA with S beyond the order', withSignature(edGood, malleable));
