-- What tables ask of mutations besides rights: envelopes in encrypted columns, signatures.
\set VERBOSITY terse
CREATE TABLE letters (id int, day int, body text, raw bytea, doc jsonb, n int, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
CREATE TABLE letters_1 PARTITION OF letters FOR VALUES IN (1);
CREATE TABLE letters_2 (n int, doc jsonb, body text, raw bytea, day int NOT NULL, id int NOT NULL);
ALTER TABLE letters ATTACH PARTITION letters_2 FOR VALUES IN (2);
SELECT tide.create_shape('letters', '{"table": "letters", "encrypted": ["body", "raw", "doc"]}');
SELECT shape, "table", "column", type FROM tide.encrypted_columns ORDER BY 3;
SELECT tide.allow_writes('letters'), tide.allow_writes('letters_2');

-- one mutation of a new client: SQLSTATE and message, or what it did
CREATE FUNCTION try(mutation jsonb, claims jsonb DEFAULT '{}', client uuid DEFAULT gen_random_uuid()) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce((r ->> 'code') || ' ' || (r ->> 'message'), r ->> 'status')
	FROM (SELECT tide.push(jsonb_build_object('client', client, 'claims', claims,
		'mutations', jsonb_build_array('{"id": 1, "op": "insert", "table": "letters", "key": {"id": 1, "day": 1}}'::jsonb || mutation)))::jsonb -> 'results' -> 0 AS r) p $$;
SELECT try(jsonb_build_object('values', v)) AS said, v FROM (VALUES ('{"body": "plain"}'::jsonb), ('{"body": ""}'), ('{"body": 1}'), ('{"body": {}}'), ('{"body": ["AQ"]}'),
	('{"doc": {}}'), ('{"doc": "plain"}'), ('{"doc": false}'), ('{"raw": "plain"}'), ('{"raw": "\\x01"}'), ('{"raw": 1}'), ('{"n": 1, "body": null, "raw": null, "doc": null}')) x(v);
-- envelopes in the form of the column, and of no other
SELECT repeat('00', 56) AS zeros, translate(encode(decode('01' || repeat('00', 56), 'hex'), 'base64'), E'+/=\n', '-_') AS b64 \gset
SELECT try(jsonb_build_object('values', jsonb_build_object('body', :'b64'::text, 'doc', :'b64'::text, 'raw', '\x01' || :'zeros')));
SELECT try(jsonb_build_object('values', jsonb_build_object('body', '\x01' || :'zeros')));
SELECT try(jsonb_build_object('values', jsonb_build_object('raw', :'b64'::text)));
SELECT try(jsonb_build_object('values', jsonb_build_object('raw', '\x02' || :'zeros')));
SELECT try(jsonb_build_object('values', jsonb_build_object('raw', '\x01' || left(:'zeros', -2))));
SELECT try(jsonb_build_object('values', jsonb_build_object('raw', '\x01' || left(:'zeros', -1) || 'g')));
SELECT try(jsonb_build_object('values', jsonb_build_object('body', left(:'b64', -1))));
SELECT try(jsonb_build_object('values', jsonb_build_object('body', :'b64' || '=')));
-- partitions, whose columns are in another order
SELECT try('{"table": "letters_2", "key": {"id": 1, "day": 2}, "values": {"body": "plain"}}');
SELECT try('{"table": "letters_2", "key": {"id": 1, "day": 2}, "values": {"n": 1}}');
SELECT tide.drop_shape('letters'), tide.create_shape('two', '{"table": "letters_2", "encrypted": ["body"]}');
SELECT try('{"key": {"id": 2, "day": 2}, "values": {"body": "plain"}}'), try('{"key": {"id": 2, "day": 2}, "values": {"raw": "plain"}}');
SELECT tide.drop_shape('two');
SELECT try('{"key": {"id": 2, "day": 2}, "values": {"body": "plain"}}');

-- signatures
SELECT tide.require_signatures('letters');
SELECT '00000000-0000-4000-8000-0000000000d1' AS device, '00000000-0000-4000-8000-00000000000c' AS client, '\x' || repeat('07', 32) AS secret \gset
INSERT INTO tide.devices SELECT (d).* FROM (SELECT tide.make_device(:'device', 'anna', :'secret') d OFFSET 0) x;
CREATE FUNCTION signed(mutation jsonb, client uuid) RETURNS jsonb LANGUAGE sql AS $$
	SELECT tide.sign_mutation(client, '{"id": 1, "op": "insert", "table": "letters", "key": {"id": 3, "day": 1}}'::jsonb || mutation,
		'00000000-0000-4000-8000-0000000000d1', decode(repeat('07', 32), 'hex')) $$;
SELECT try('{}') AS unsigned, try('{"table": "letters_2", "key": {"id": 3, "day": 2}}') AS partition;
SELECT try(signed('{"values": {"n": 4.0}}', gen_random_uuid()), '{"sub": "anna"}') AS other_client;
SELECT try(signed('{"values": {"n": 4}}', :'client') || '{"values": {"n": 5}}', '{"sub": "anna"}', :'client') AS changed;
SELECT tide.push(jsonb_build_object('client', :'client', 'claims', '{"sub": "anna"}'::jsonb, 'mutations', jsonb_build_array(signed('{"id": 2, "values": {"n": 4}, "hlc": null}', :'client')))) -> 'results' -> 0 ->> 'status' AS good;
SELECT try(signed('{}', u), '{"sub": "ben"}', u) AS other_user FROM gen_random_uuid() u;
SELECT try(signed('{}', u), '{}', u) AS no_user FROM gen_random_uuid() u;
SELECT try(jsonb_set(signed('{}', u), '{signature,value}', s), '{"sub": "anna"}', u) AS malformed FROM gen_random_uuid() u, (VALUES ('""'::jsonb), ('1'), ('null')) x(s);
SELECT try(signed('{"call": "none", "op": null, "table": null, "key": null, "args": {}}', u), '{"sub": "anna"}', u) AS call FROM gen_random_uuid() u;
SELECT try(signed('{"call": "none", "op": null, "table": null, "key": null}', u) || '{"args": {}}', '{"sub": "anna"}', u) AS changed_call FROM gen_random_uuid() u;
SELECT mutation_id, "table", key, mutation - 'signature' AS mutation, tide.verify_mutation(client_id, mutation, (tide.device_keys(:'secret')).sign_key) AS valid FROM tide.signed_mutations;
UPDATE tide.devices SET revoked_at = now();
SELECT try(signed('{}', u), '{"sub": "anna"}', u) AS revoked FROM gen_random_uuid() u;
SELECT tide.require_signatures('letters', false);
SELECT try('{}') AS unsigned, try(signed('{}', gen_random_uuid()), '{"sub": "anna"}') AS but_not_forged;

DELETE FROM tide.devices;
DELETE FROM tide.signed_mutations;
DROP FUNCTION try, signed;
DROP TABLE letters;
