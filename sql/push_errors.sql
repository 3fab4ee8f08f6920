-- tide.push and its settings: what is refused, with which code and words.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_tide;
CREATE SCHEMA push_errors;
SET search_path = push_errors, public;
DROP ROLE IF EXISTS regress_tide_app, regress_tide_user, regress_tide_group;
RESET client_min_messages;
\pset format unaligned
CREATE TABLE items (id int PRIMARY KEY, v text);
SELECT tide.allow_writes('items');

-- a whole request refused: SQLSTATE, message, detail
CREATE FUNCTION try(request jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	m text;
	d text;
BEGIN
	RETURN tide.push(request)::text;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' | ', SQLSTATE, m, nullif(d, ''));
END $$;
-- one mutation of a client of its own
CREATE FUNCTION try_one(mutation jsonb) RETURNS text
LANGUAGE sql AS $$
	SELECT try(jsonb_build_object('client', 'bad00000-0000-4000-8000-000000000001', 'mutations', jsonb_build_array(mutation)))
$$;

-- malformed: the field is named
SELECT try(NULL);
SELECT try('[]');
SELECT try('"x"');
SELECT try('{}');
SELECT try('{"client": 5}');
SELECT try('{"client": "5"}');
SELECT try('{"client": "bad00000-0000-4000-8000-00000000000g"}');
SELECT try('{"client": "bad00000-0000-4000-8000-000000000001"}');
SELECT try('{"client": "bad00000-0000-4000-8000-000000000001", "mutations": {}}');
SELECT try('{"client": "bad00000-0000-4000-8000-000000000001", "mutations": [], "atomic": "yes"}');
SELECT try('{"client": "bad00000-0000-4000-8000-000000000001", "mutations": [], "shapes": {}}');
SELECT try('{"client": "bad00000-0000-4000-8000-000000000001", "mutations": [[]]}');
SELECT try('{"client": "bad00000-0000-4000-8000-000000000001", "mutations": [], "claims": []}');
SELECT try_one('{}');
SELECT try_one('{"id": "1"}');
SELECT try_one('{"id": 0}');
SELECT try_one('{"id": 1.5}');
SELECT try_one('{"id": 99999999999999999999}');
SELECT try_one('{"id": 1}');
SELECT try_one('{"id": 1, "op": "upsert"}');
SELECT try_one('{"id": 1, "op": "call"}');
SELECT try_one('{"id": 1, "op": "insert"}');
SELECT try_one('{"id": 1, "op": "insert", "table": 1}');
SELECT try_one('{"id": 1, "op": "insert", "table": "items"}');
SELECT try_one('{"id": 1, "op": "insert", "table": "items", "key": 1}');
SELECT try_one('{"id": 1, "op": "insert", "table": "items", "key": null}');
SELECT try_one('{"id": 1, "op": "update", "table": "items", "key": {"id": 1}}');
SELECT try_one('{"id": 1, "op": "update", "table": "items", "key": {"id": 1}, "values": ["v"]}');
SELECT try_one('{"id": 1, "op": "delete", "table": "items", "key": {"id": 1}, "values": {}}');
SELECT try_one('{"id": 1, "op": "delete", "table": "items", "key": {"id": 1}, "value": {}}');
SELECT try_one('{"id": 1, "op": "delete", "table": "items", "key": {"id": 1}, "args": {}}');
SELECT try_one('{"id": 1, "call": "f", "table": "items"}');
SELECT try_one('{"id": 1, "call": "f", "op": "insert"}');
SELECT try_one('{"id": 1, "call": "f", "hlc": "x"}');
SELECT try_one('{"id": 1, "op": "delete", "table": "items", "key": {"id": 1}, "base": []}');
SELECT try_one('{"id": 1, "op": "delete", "table": "items", "key": {"id": 1}, "hlc": 5}');
SELECT try_one('{"id": 1, "op": "delete", "table": "items", "key": {"id": 1}, "vclock": "x"}');
SELECT try_one('{"id": 1, "op": "delete", "table": "items", "key": {"id": 1}, "vclock": {"a": 0.5}}');
SELECT try_one('{"id": 1, "op": "delete", "table": "items", "key": {"id": 1}, "vclock": {"a": {"b": 1}}}');
SELECT try_one('{"id": 1, "op": "delete", "table": "items", "key": {"id": 1}, "seen": 5}');
SELECT try_one('{"id": 1, "op": "delete", "table": "items", "key": {"id": 1}, "seen": "0-5"}');
SELECT try_one('{"id": 1, "op": "delete", "table": "items", "key": {"id": 1}, "tx": 0}');
SELECT try_one('{"id": 1, "call": "f", "tx": "1"}');
SELECT try('{"client": "bad00000-0000-4000-8000-000000000001", "mutations": [], "rejected_seen": -1}');
SELECT try('{"client": "bad00000-0000-4000-8000-000000000001", "mutations": [
	{"id": 1, "call": "f", "tx": 7}, {"id": 2, "call": "f"}, {"id": 3, "call": "f", "tx": 7}]}');

-- gaps: nothing of the push is taken
UPDATE tide_internal.state SET epoch = gen_random_uuid(); -- as if the database had never been put back, nor reset
SELECT try_one('{"id": 2, "op": "insert", "table": "items", "key": {"id": 1}}');
SELECT try('{"client": "bad00000-0000-4000-8000-000000000001", "mutations": [
	{"id": 1, "op": "insert", "table": "items", "key": {"id": 1}},
	{"id": 3, "op": "insert", "table": "items", "key": {"id": 3}}]}');
SELECT count(*) FROM tide.clients WHERE client_id::text LIKE 'bad%';
SELECT count(*) FROM items;
SELECT try_one('{"id": 1, "op": "insert", "table": "items", "key": {"id": 1}}');
SELECT try_one('{"id": 3, "op": "insert", "table": "items", "key": {"id": 1}}');
SELECT try('{"client": "BAD00000-0000-4000-8000-000000000001", "mutations": []}');

-- a client belongs to who pushed first
SELECT try('{"client": "bad00000-0000-4000-8000-000000000001", "claims": {"sub": "ada"}, "mutations": []}');
SELECT try('{"client": "bad00000-0000-4000-8000-000000000002", "claims": {"sub": "ada"}, "mutations": [
	{"id": 1, "op": "insert", "table": "items", "key": {"id": 2}}]}');
SELECT try('{"client": "bad00000-0000-4000-8000-000000000002", "mutations": []}');
SELECT try('{"client": "bad00000-0000-4000-8000-000000000002", "claims": {"sub": "bob"}, "mutations": []}');
SELECT try('{"client": "bad00000-0000-4000-8000-000000000002", "claims": {"sub": "ada", "role": "x"}, "mutations": []}');
SELECT try('{"client": "bad00000-0000-4000-8000-000000000002", "token": "eyJ", "mutations": []}');
SELECT try('{"client": "bad00000-0000-4000-8000-000000000002", "token": "eyJ", "claims": {"sub": "ada"}, "mutations": []}');

-- claims are seen while mutations run, and only then
CREATE FUNCTION show_claims() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.v := current_setting('request.jwt.claims', true);
	RETURN NEW;
END $$;
CREATE TRIGGER show_claims BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION show_claims();
SELECT try('{"client": "bad00000-0000-4000-8000-000000000002", "claims": {"sub": "ada"}, "mutations": [
	{"id": 2, "op": "insert", "table": "items", "key": {"id": 3}}]}');
SELECT v FROM items WHERE id = 3;
SELECT coalesce(current_setting('request.jwt.claims', true), '') AS claims;
BEGIN;
SET LOCAL "request.jwt.claims" = '{"of": "the session"}';
SELECT try_one('{"id": 2, "op": "insert", "table": "items", "key": {"id": 4}}');
SELECT try('{"client": "bad00000-0000-4000-8000-000000000003", "claims": {}, "mutations": [
	{"id": 1, "op": "insert", "table": "items", "key": {"id": 5}}]}');
SELECT current_setting('request.jwt.claims') AS claims;
COMMIT;
SELECT id, v FROM items WHERE id >= 4 ORDER BY id;

-- who may send claims: trusted sessions, members of trusted roles, not by SET ROLE
CREATE ROLE regress_tide_app;
CREATE ROLE regress_tide_group;
CREATE ROLE regress_tide_user;
GRANT USAGE ON SCHEMA push_errors TO PUBLIC;
CREATE FUNCTION claim() RETURNS text LANGUAGE sql AS $$
	SELECT push_errors.try(jsonb_build_object('client', 'bad00000-0000-4000-8000-00000000000a',
		'claims', '{"sub": "eve"}'::jsonb, 'mutations', '[]'::jsonb))
$$;
CREATE FUNCTION claim_definer() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT push_errors.claim()';
SET SESSION AUTHORIZATION regress_tide_app;
SELECT push_errors.claim();
SELECT push_errors.claim_definer();
RESET SESSION AUTHORIZATION;
SELECT tide.trust_role('regress_tide_app');
SELECT tide.trust_role('regress_tide_app');
SET SESSION AUTHORIZATION regress_tide_app;
SELECT push_errors.claim();
SELECT tide.trust_role('regress_tide_user');
SELECT tide.untrust_role('regress_tide_app');
SELECT tide.allow_writes('push_errors.items');
SELECT tide.disallow_writes('push_errors.items');
SELECT * FROM tide.clients;
SELECT * FROM tide.mutation_log;
RESET SESSION AUTHORIZATION;
GRANT regress_tide_user TO regress_tide_app;
SET SESSION AUTHORIZATION regress_tide_app;
SET ROLE regress_tide_user;
SELECT push_errors.claim();
RESET SESSION AUTHORIZATION;
SELECT tide.untrust_role('regress_tide_app');
SET SESSION AUTHORIZATION regress_tide_app;
SELECT push_errors.claim();
RESET SESSION AUTHORIZATION;
SELECT tide.trust_role('regress_tide_group');
GRANT regress_tide_group TO regress_tide_app;
SET SESSION AUTHORIZATION regress_tide_app;
SELECT push_errors.claim();
RESET SESSION AUTHORIZATION;
SELECT tide.untrust_role('regress_tide_group');
SELECT count(*) FROM tide_internal.trusted_roles WHERE role::regrole::text LIKE 'regress_tide_%';
SELECT tide.trust_role('regress_tide_nobody');

-- which tables can be opened
CREATE TABLE keyless (id int);
CREATE VIEW seen AS SELECT * FROM items;
CREATE TEMP TABLE passing (id int PRIMARY KEY);
SELECT tide.allow_writes('keyless');
SELECT tide.allow_writes('seen');
SELECT tide.allow_writes('passing');
SELECT tide.allow_writes('pg_catalog.pg_class');
SELECT tide.allow_writes('tide_internal.clients');
SELECT tide.allow_writes('items', 'hope');
SELECT tide.allow_writes(NULL);
SELECT tide.allow_writes('items', NULL);
SELECT tide.allow_writes(4000000000::oid::regclass);

-- a read-only transaction
BEGIN READ ONLY;
SELECT try_one('{"id": 3, "op": "insert", "table": "items", "key": {"id": 9}}');
COMMIT;

-- not the mutation's fault: thrown, nothing taken
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = NEW.v, MESSAGE = 'raised';
END $$;
CREATE TRIGGER fail BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION fail();
SELECT code, try(jsonb_build_object('client', 'bad00000-0000-4000-8000-000000000009', 'mutations', jsonb_build_array(
	'{"id": 1, "op": "delete", "table": "items", "key": {"id": 5}}'::jsonb,
	jsonb_build_object('id', 2, 'op', 'update', 'table', 'items', 'key', '{"id": 1}'::jsonb, 'values', jsonb_build_object('v', code)))))
FROM unnest('{53200,XX000,58030,08006,55P03,40001,40P01,40000,40003,25006,72000,HV00N,HV001}'::text[]) code;
SELECT count(*) FROM items WHERE id = 5;

SELECT tide.disallow_writes('items');
SET client_min_messages = warning;
DROP SCHEMA push_errors CASCADE;
DROP ROLE regress_tide_app, regress_tide_user, regress_tide_group;
