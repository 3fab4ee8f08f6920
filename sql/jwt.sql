-- JSON Web Tokens: the examples of the RFCs, and keys. Hostile tokens: test/pgtap/jwt_hostile.sql;
-- a mainstream library's: test/clients/jwt.pl
\set VERBOSITY terse
\set claims eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ
\set at '''2011-03-22 18:00:00+00'''
\set rsa '{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}'
\set p256 '{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}'
\set ed25519 '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'

-- RFC 7515 A.1 (which RFC 7519 3.1 takes up), A.2, A.3
SELECT tide.add_jwt_key('a1', 'HS256', '{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}');
SELECT tide.add_jwt_key('a2', 'RS256', :'rsa');
SELECT tide.add_jwt_key('a3', 'ES256', :'p256');
SELECT tide_internal.token_claims('eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.' || :'claims' || '.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', :at);
SELECT tide_internal.token_claims('eyJhbGciOiJSUzI1NiJ9.' || :'claims' || '.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw', :at);
SELECT tide_internal.token_claims('eyJhbGciOiJFUzI1NiJ9.' || :'claims' || '.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q', :at);
-- they have expired since
SELECT tide_internal.token_claims('eyJhbGciOiJFUzI1NiJ9.' || :'claims' || '.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q');
-- RFC 7515 A.4 is of ES512, and A.5 (RFC 7519 6.1) of none
SELECT tide_internal.token_claims('eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn', :at);
SELECT tide_internal.token_claims('eyJhbGciOiJub25lIn0.' || :'claims' || '.', :at);
-- RFC 8037 A.4 signs a text, which is no claims
SELECT tide_internal.verify_signature('EdDSA', :'ed25519',
	'eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc',
	decode('hgyY0il/MGCjP0JzlnLWG1PPOt7+09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr/MuM0KAg==', 'base64')) AS good,
	tide_internal.verify_signature('EdDSA', :'ed25519',
	'eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmd',
	decode('hgyY0il/MGCjP0JzlnLWG1PPOt7+09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr/MuM0KAg==', 'base64')) AS other_text;
SELECT tide.add_jwt_key('rfc8037', 'EdDSA', :'ed25519');
SELECT tide_internal.token_claims('eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg');

-- thumbprints: RFC 8037 A.3 and RFC 7638 3.1
SELECT thumbprint = 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k' AS as_in_rfc FROM tide.jwt_keys WHERE kid = 'rfc8037';
SELECT tide.add_jwt_key('2011-04-29', 'RS256', '{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}');
SELECT thumbprint = 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs' AS as_in_rfc FROM tide.jwt_keys WHERE kid = '2011-04-29';

-- with two keys of the algorithm a token without kid says too little
SELECT tide_internal.token_claims('eyJhbGciOiJSUzI1NiJ9.' || :'claims' || '.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw', :at);
-- unless the others have expired
SELECT tide.add_jwt_key('2011-04-29', 'RS256', (SELECT public_key::text::bytea FROM tide.jwt_keys WHERE kid = '2011-04-29'), '2000-01-01');
SELECT kid, algorithm, expired FROM tide.jwt_keys ORDER BY kid;
SELECT tide_internal.token_claims('eyJhbGciOiJSUzI1NiJ9.' || :'claims' || '.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw', :at) ->> 'iss' AS iss;

-- the same key in other forms
SELECT tide.add_jwt_key('pem', 'ES256', '-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7
6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==
-----END PUBLIC KEY-----
');
SELECT tide.add_jwt_key('point', 'ES256', '\x047fcdce2770f6c45d4183cbee6fdb4b7b580733357be9ef13bacf6e3c7bd15445c7f144cd1bbd9b7e872cdfedb9eeb9f4b3695d6ea90b24ad8a4623288588e5ad');
SELECT tide.add_jwt_key('der', 'EdDSA', '\x302a300506032b6570032100d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a');
SELECT tide.add_jwt_key('raw', 'EdDSA', '\xd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a');
SELECT count(DISTINCT thumbprint), count(*) FROM tide.jwt_keys WHERE algorithm = 'ES256';
SELECT count(DISTINCT thumbprint), count(*) FROM tide.jwt_keys WHERE algorithm = 'EdDSA';
SELECT kid, public_key, thumbprint FROM tide.jwt_keys WHERE algorithm <> 'RS256' ORDER BY kid;

-- a kid is one key's for good
SELECT tide.add_jwt_key('raw', 'EdDSA', :'ed25519');
SELECT tide.add_jwt_key('raw', 'HS256', 'a secret of at least thirty-two bytes');
SELECT tide.drop_jwt_key('raw');
SELECT tide.drop_jwt_key('raw');
SELECT tide.add_jwt_key('', 'EdDSA', :'ed25519');
SELECT tide.add_jwt_key(repeat('k', 257), 'EdDSA', :'ed25519');
SELECT tide.add_jwt_key(NULL, 'EdDSA', :'ed25519');
SELECT tide.add_jwt_key('none', 'none', '');
SELECT tide.add_jwt_key('case', 'hs256', 'a secret of at least thirty-two bytes');

-- weak, wrong and private keys
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT tide.add_jwt_key('x', 'HS256', 'thirty-one bytes are not enough');
SELECT tide.add_jwt_key('x', 'HS256', decode(repeat('00', 1025), 'hex'));
SELECT tide.add_jwt_key('x', 'HS256', '{"kty":"oct","k":"c2hvcnQ"}');
SELECT tide.add_jwt_key('x', 'HS256', '{"kty":"oct","k":"dGhpcnR5LXR3byBieXRlcyBvZiBhIHNlY3JldCB5ZWFo="}');
SELECT tide.add_jwt_key('x', 'HS256', '{a secret of at least thirty-two bytes}');
SELECT tide.add_jwt_key('x', 'HS256', '-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7
6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==
-----END PUBLIC KEY-----');
SELECT tide.add_jwt_key('x', 'EdDSA', decode(repeat('00', 32), 'hex'));
SELECT tide.add_jwt_key('x', 'EdDSA', '\x0100000000000000000000000000000000000000000000000000000000000000');
SELECT tide.add_jwt_key('x', 'EdDSA', '\xecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f');
SELECT tide.add_jwt_key('x', 'EdDSA', '\xd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f70751');
SELECT tide.add_jwt_key('x', 'EdDSA', :'p256');
SELECT tide.add_jwt_key('x', 'EdDSA', '{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}');
SELECT tide.add_jwt_key('x', 'EdDSA', '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}');
SELECT tide.add_jwt_key('x', 'EdDSA', '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"enc"}');
SELECT tide.add_jwt_key('x', 'EdDSA', '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"y"}');
SELECT tide.add_jwt_key('x', 'EdDSA', '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}');
SELECT tide.add_jwt_key('x', 'ES256', '\x047fcdce2770f6c45d4183cbee6fdb4b7b580733357be9ef13bacf6e3c7bd15445c7f144cd1bbd9b7e872cdfedb9eeb9f4b3695d6ea90b24ad8a4623288588e5ae');
SELECT tide.add_jwt_key('x', 'ES256', '{"kty":"EC","crv":"P-256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}');
SELECT tide.add_jwt_key('x', 'ES256', '{"kty":"EC","crv":"P-384","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}');
-- secp256k1
SELECT tide.add_jwt_key('x', 'ES256', '\x3056301006072a8648ce3d020106052b8104000a0342000479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8');
SELECT tide.add_jwt_key('x', 'RS256', :'p256');
SELECT tide.add_jwt_key('x', 'RS256', '{"kty":"RSA","n":"zYFmyj7_9o7oEKkTn3cOvRUlA0Dc2Ah0r5GUtNVTfjC0C6a2h3y3sBQhAvj1T8pD8k_xVY_XMyRUo2U0HZUzI78BGbBgcJUEUJd5yhmMt9PqHt1Swl0Q4J-k5qZxTx3Gk2GZ0Vwpi0D6Z0Dw2OiU0yfO6d2kJx2e8Qq5Zp3hFpE","e":"AQAB"}');
SELECT tide.add_jwt_key('x', 'RS256', replace(:'rsa', '"AQAB"', '"AQ"')::bytea);
SELECT tide.add_jwt_key('x', 'RS256', replace(:'rsa', '"AQAB"', '"AQAA"')::bytea);
SELECT tide.add_jwt_key('x', 'RS256', replace(:'rsa', '"AQAB"', '"AQAB="')::bytea);
SELECT tide.add_jwt_key('x', 'RS256', '\x00');
SELECT tide.add_jwt_key('x', 'RS256', '-----BEGIN RSA PRIVATE KEY-----
MIIEowIBAAKCAQEA
-----END RSA PRIVATE KEY-----');
SELECT tide.add_jwt_key('x', 'RS256', '');
SELECT tide.add_jwt_key('x', 'RS256', decode(repeat('20', 16385), 'hex'));
SELECT count(*) FROM tide.jwt_keys WHERE kid = 'x';

-- settings
SET tide.jwt_audience = 'a,,b';
-- the server's message is of its major
\set VERBOSITY sqlstate
SET tide.jwt_leeway = '11min';
\set VERBOSITY default
SET tide.request_claims = '{"sub": "ada"}';
SHOW tide.jwt_require_exp;
CREATE ROLE regress_tide_jwt;
SET ROLE regress_tide_jwt;
SET tide.jwt_audience = 'a';
SET tide.jwt_issuer = 'a';
SET tide.jwt_leeway = 600;
SET tide.jwt_require_exp = off;
SET tide.jwt_role_claim = 'r';
SELECT tide.claim('sub');
SELECT tide.add_jwt_key('mine', 'HS256', 'a secret of at least thirty-two bytes');
SELECT * FROM tide.jwt_keys;
RESET ROLE;
SELECT tide.claim('sub');
DROP ROLE regress_tide_jwt;
SELECT tide.drop_jwt_key(kid) FROM tide.jwt_keys;
