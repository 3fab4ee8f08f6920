-- End-to-end encryption: what its functions refuse, and who may write which keys.
BEGIN;
SELECT plan(73);

-- ---- envelopes
CREATE TEMP TABLE v AS
SELECT tide.generate_data_key() AS k, tide.generate_data_key() AS other,
	'{"id": 1, "b": "x"}'::jsonb AS key, 'a|b\c'::text AS t;
CREATE TEMP TABLE e AS SELECT tide.encrypt('plain', k, t, 'c', key) AS bytes, tide.encrypt_text('pläin', k, t, 'c', key) AS text FROM v;
SELECT is(length(bytes), 57 + 5, 'an envelope is 57 bytes longer than its plaintext') FROM e;
SELECT is(tide.decrypt(bytes, k, t, 'c', key), 'plain'::bytea, 'it opens') FROM v, e;
SELECT is(tide.decrypt_text(text, k, t, 'c', '{"b": "x", "id": 1.00}'), 'pläin', 'a key is the same however it is written') FROM v, e;
SELECT is(tide.decrypt(tide.encrypt('', k, t, 'c', key), k, t, 'c', key), ''::bytea, 'a value may be empty') FROM v;
SELECT is(length(tide.decrypt(tide.encrypt(convert_to(repeat('x', 3000000), 'UTF8'), k, t, 'c', key), k, t, 'c', key)), 3000000, 'or long') FROM v;
SELECT isnt(bytes, tide.encrypt('plain', k, t, 'c', key), 'and has another ciphertext each time') FROM v, e;
SELECT ok(tide.decrypt(NULL, k, t, 'c', key) IS NULL, 'null stays null') FROM v;
SELECT throws_ok(format('SELECT tide.decrypt(%L, %L, %L, %L, %L)', d, dk, dt, dc, dkey), '39000', 'could not decrypt the value', name)
FROM v, e, LATERAL (VALUES
	(bytes, other, t, 'c', key, 'not with another key'),
	(bytes, substr(k, 1, 16) || substr(other, 17), t, 'c', key, 'nor with another of the same id'),
	(bytes, k, 'a', 'c', key, 'nor for another table'), (bytes, k, t, 'd', key, 'nor for another column'),
	(bytes, k, t, 'c', '{"id": 2, "b": "x"}', 'nor for another row'), (bytes, k, 'a|b\c|c', '', key, 'nor for names that are parted otherwise'),
	(set_byte(bytes, 61, get_byte(bytes, 61) # 1), k, t, 'c', key, 'nor when damaged'), (substr(bytes, 1, 56), k, t, 'c', key, 'nor when cut off'),
	(''::bytea, k, t, 'c', key, 'nor when empty'), (set_byte(bytes, 0, 2), k, t, 'c', key, 'nor of another version')) x(d, dk, dt, dc, dkey, name);
SELECT throws_ok(format('SELECT tide.decrypt_text(%L, %L, %L, %L, %L)', d, k, t, 'c', key), '39000', 'could not decrypt the value', name)
FROM v, e, LATERAL (VALUES (text || '=', 'no padding'), (' ' || text, 'no blanks'), (text || 'A', 'no bits left over'), (translate(text, '-_', '+/') || '+', 'no other alphabet'),
	('plain', 'no plaintext')) x(d, name);
SELECT throws_ok(format('SELECT tide.decrypt_text(%L, %L, %L, %L, %L)', translate(encode(tide.encrypt('\xff00'::bytea, k, t, 'c', key), 'base64'), E'+/=\n', '-_'), k, t, 'c', key),
	'22021', 'decrypted value is not text in UTF-8', 'text is text') FROM v;
SELECT throws_ok(format('SELECT tide.encrypt(%L, %L, %L, %L, %L)', 'x', dk, 't', 'c', dkey), '22023', message, name)
FROM (VALUES ('\x00'::bytea, '{"id": 1}', 'argument "data_key" must have 48 bytes, not 1', 'a data key has its length'),
	(tide.generate_data_key(), '{}', 'key of an encrypted value must be a JSON object of the row''s key columns', 'a key is not empty'),
	(tide.generate_data_key(), '[1]', 'key of an encrypted value must be a JSON object of the row''s key columns', 'and an object')) x(dk, dkey, message, name);
SELECT results_eq('SELECT tide.is_envelope(bytes), tide.is_envelope(text), tide.is_envelope(to_jsonb(text)), tide.is_envelope(''null''::jsonb) FROM e',
	'VALUES (true, true, true, true)', 'envelopes are known by their form');
SELECT is_empty($$SELECT x FROM unnest('{plain,"",AQ,AQ==}'::text[]) x WHERE tide.is_envelope(x)$$, 'and plaintext');
SELECT is_empty($$SELECT x FROM unnest('{"{}","[]",1,true,"\"plain\""}'::jsonb[]) x WHERE tide.is_envelope(x)$$, 'in JSON as well');
SELECT ok(tide.envelope_key_id(bytes) = tide.data_key_id(k) AND tide.envelope_key_id(text) = tide.data_key_id(k), 'and say which key they need') FROM v, e;
SELECT throws_ok($$SELECT tide.envelope_key_id('plain'::text)$$, '22023', 'value is not an encrypted one', 'which plaintext does not');

-- ---- what is signed
SELECT is(convert_from(tide.canonical_json(j), 'UTF8'), x.text, 'canonical form of ' || j::text)
FROM (VALUES ('1.500'::jsonb, '1.5'), ('-0.0', '0'), ('1e3', '1000'), ('1E-7', '0.0000001'), ('12345678901234567890123', '12345678901234567890123'),
	('"\u0001\b\t\n\f\r\u000b\"\\\/é"', '"\u0001\b\t\n\f\r\u000b\"\\/é"'), ('{"b": [], "aa": {}, "a": null, "é": [true, [false]]}', '{"a":null,"aa":{},"b":[],"é":[true,[false]]}'),
	('[[[]]]', '[[[]]]')) x(j, text);
SELECT ok(tide.verify('\x72'::bytea, '\x92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
	'\x3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c'), 'RFC 8032, 7.1, test 2');
SELECT ok(NOT tide.verify('\x72'::bytea, '\x00', '\x3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c'), 'a signature of another length is not valid');

-- ---- backups
SELECT throws_ok($$SELECT tide.open_backup(tide.make_backup(tide.generate_device_secret(), 'right', 1, 8192), 'wrong')$$, '28P01', NULL, 'a wrong passphrase is an error');
SELECT throws_ok($$SELECT tide.make_backup(tide.generate_device_secret(), 'x', 0, 8192)$$, '22023', NULL, 'limits have bounds');
SELECT throws_ok($$SELECT tide.make_backup(tide.generate_device_secret(), 'x', 1, 1073741825)$$, '22023', NULL, 'on both sides');
SELECT throws_ok($$SELECT tide.open_backup('\x03', 'x')$$, '22023', NULL, 'what is no backup does not open');

-- ---- devices and grants
CREATE ROLE tide_test_app;
SELECT lives_ok($$SELECT tide.enable_encryption('tide_test_app')$$, 'a role''s clients may exchange keys');
SELECT lives_ok($$SELECT tide.enable_encryption('tide_test_app')$$, 'said twice');
CREATE TEMP TABLE d (who text, id uuid, subject text, secret bytea, box_key bytea);
INSERT INTO d SELECT who, gen_random_uuid(), subject, s, (tide.device_keys(s)).box_key
FROM (SELECT who, subject, tide.generate_device_secret() AS s FROM (VALUES ('a1', 'anna'), ('a2', 'anna'), ('b', 'ben')) x(who, subject) OFFSET 0) y;
GRANT ALL ON d, v TO tide_test_app;
CREATE FUNCTION pg_temp.register(text) RETURNS void LANGUAGE sql SECURITY DEFINER AS
	'INSERT INTO tide.devices SELECT (x).* FROM (SELECT tide.make_device(id, subject, secret) AS x FROM d WHERE who = $1 OFFSET 0) y';
CREATE TEMP TABLE made (n text, g tide.key_grants);
GRANT ALL ON made TO tide_test_app;
-- a grant of a key to a device by another
CREATE FUNCTION pg_temp.make(name text, k bytea, scope text, generation int, whom text, by text) RETURNS void LANGUAGE sql AS
	'INSERT INTO made SELECT $1, tide.make_grant($2, $3, $4, w.id, w.box_key, b.id, b.secret) FROM d w, d b WHERE w.who = $5 AND b.who = $6';
CREATE FUNCTION pg_temp.put(text) RETURNS void LANGUAGE sql AS
	'INSERT INTO tide.key_grants SELECT (g).* FROM made WHERE n = $1';
SELECT pg_temp.register('a1'), pg_temp.register('b');
SET LOCAL request.jwt.claims = '{"sub": "anna"}';
SELECT throws_ok($$INSERT INTO tide.devices SELECT gen_random_uuid(), subject, name, box_key, sign_key, signature FROM tide.devices$$,
	'23514', 'signature of the device is not valid', 'keys of another cannot be registered');
SELECT throws_ok($$UPDATE tide.devices SET subject = 'ben' WHERE subject = 'anna'$$, '23514', 'keys of a device never change', 'nor taken over');
SELECT throws_ok($$UPDATE tide.devices SET endorsed_by = (SELECT device_id FROM tide.devices WHERE subject = 'ben'), endorsement = signature WHERE subject = 'anna'$$,
	'23514', 'endorsement of the device is not valid', 'an endorsement is by a device of the same user');

SELECT pg_temp.make('first', k, 'team', 1, 'a1', 'a1'), pg_temp.make('to ben', k, 'team', 1, 'b', 'a1'), pg_temp.make('unregistered', k, 'team', 1, 'a2', 'a1'),
	pg_temp.make('by ben', other, 'team', 2, 'b', 'b'), pg_temp.make('second', other, 'team', 1, 'a1', 'a1'), pg_temp.make('gap', other, 'team', 3, 'a1', 'a1'),
	pg_temp.make('other scope', k, 'else', 1, 'a1', 'a1'), pg_temp.make('for others first', other, 'team', 2, 'b', 'a1'), pg_temp.make('next', other, 'team', 2, 'a1', 'a1'),
	pg_temp.make('by anna', other, 'team', 2, 'a1', 'a1') FROM v;
SELECT lives_ok($$SELECT pg_temp.put('first')$$, 'the first key of a scope is granted to its maker');
SELECT throws_ok($$SELECT pg_temp.put('by ben')$$, '23514', 'device does not hold the key it grants', 'who holds no key of a scope makes none for it');
SELECT lives_ok($$SELECT pg_temp.put('to ben')$$, 'who holds it passes it on');
SELECT throws_ok(format('SELECT pg_temp.put(%L)', n), code, message, n) FROM (VALUES
	('unregistered', '23514', 'device of a key grant is not registered, or is revoked'), ('second', '23505', 'generation 1 of this scope has another key'),
	('gap', '23514', 'device does not hold the key it grants'), ('other scope', '23505', 'generation 1 of this scope has another key'),
	('for others first', '23514', 'device does not hold the key it grants')) x(n, code, message);
UPDATE made SET g.scope = 'forged' WHERE n = 'next';
SELECT throws_ok($$SELECT pg_temp.put('next')$$, '23514', 'signature of the key grant is not valid', 'a grant is what its signature says');
SELECT throws_ok($$UPDATE tide.key_grants SET scope = 'x'$$, '23514', 'a key grant never changes', 'and stays so');

-- as a client, whose claims say who it is
SET LOCAL request.jwt.claims = '{"sub": "ben"}';
SET LOCAL ROLE tide_test_app;
SELECT results_eq('SELECT subject FROM tide.devices', ARRAY['ben'], 'a client sees the devices of its user');
SELECT is((SELECT count(*) FROM tide.key_grants), 1::bigint, 'and the grants to them');
SELECT throws_ok($$INSERT INTO tide.key_grants SELECT (g).* FROM made WHERE n = 'for others first'$$, '23514', NULL, 'it grants nothing in the name of others');
SELECT throws_ok($$INSERT INTO tide.key_grants SELECT (g).* FROM made WHERE n = 'by anna'$$, '42501', NULL, 'not even what she has signed');
SELECT throws_ok($$UPDATE tide.devices SET sign_key = box_key$$, '42501', NULL, 'it changes no keys');
SELECT is_empty($$UPDATE tide.devices SET revoked_at = now() WHERE subject = 'anna' RETURNING 1$$, 'and revokes no devices of others');
SELECT throws_ok($$DELETE FROM tide.key_grants$$, '42501', NULL, 'nor takes keys away');
SELECT lives_ok($$UPDATE tide.devices SET revoked_at = now()$$, 'its own it may');
SELECT throws_ok($$UPDATE tide.devices SET revoked_at = NULL$$, '23514', 'a revoked device stays revoked', 'for good');
RESET ROLE;
SELECT results_eq('SELECT scope, generation, subject FROM tide.keys_to_rotate', $$VALUES ('team', 1, 'ben')$$, 'the key it had is to be rotated');
DELETE FROM tide.key_grants WHERE device_id = (SELECT id FROM d WHERE who = 'b');
SELECT throws_ok($$SELECT pg_temp.put('to ben')$$, '23514', 'device of a key grant is not registered, or is revoked', 'and it gets no more');
-- without claims: what an administrator restores
SET LOCAL request.jwt.claims = '';
SELECT lives_ok($$SELECT pg_temp.put('to ben'), pg_temp.put('gap')$$, 'a dump is restored in any order');
SELECT throws_ok($$SELECT pg_temp.put('next')$$, '23514', 'signature of the key grant is not valid', 'with valid signatures');

SELECT * FROM finish();
ROLLBACK;
