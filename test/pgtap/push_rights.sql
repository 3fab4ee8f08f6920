-- A push has the rights of who calls it, grants and row-level security alike, and
-- says nothing of rows its caller may not see.
BEGIN;
SELECT plan(27);

CREATE ROLE tide_test_reader;
CREATE ROLE tide_test_writer;
CREATE ROLE tide_test_dropper;
SELECT tide.trust_role('tide_test_writer');
SELECT tide.trust_role('tide_test_dropper');

CREATE SCHEMA push_rights;
GRANT USAGE ON SCHEMA push_rights TO PUBLIC;
CREATE TABLE push_rights.notes (id int PRIMARY KEY, owner text NOT NULL, body text, secret text DEFAULT 's');
INSERT INTO push_rights.notes VALUES (1, 'ada', 'of ada'), (2, 'bob', 'of bob');
ALTER TABLE push_rights.notes ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION push_rights.who() RETURNS text STABLE LANGUAGE sql AS $$
	SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
$$;
CREATE POLICY mine ON push_rights.notes USING (owner = push_rights.who());
CREATE POLICY seen ON push_rights.notes FOR SELECT USING (body LIKE '%public%');
GRANT SELECT ON push_rights.notes TO tide_test_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON push_rights.notes TO tide_test_writer;
-- a drop box: rows go in, nobody looks
CREATE TABLE push_rights.box (id int PRIMARY KEY, body text);
ALTER TABLE push_rights.box ENABLE ROW LEVEL SECURITY;
CREATE POLICY put ON push_rights.box FOR INSERT WITH CHECK (true);
GRANT INSERT ON push_rights.box TO tide_test_dropper;
-- columns
CREATE TABLE push_rights.cols (id int PRIMARY KEY, a text, b text);
INSERT INTO push_rights.cols VALUES (1, 'a', 'b');
GRANT SELECT (id, a), UPDATE (a), INSERT (id, a) ON push_rights.cols TO tide_test_writer;
SELECT tide.allow_writes('push_rights.notes');
SELECT tide.allow_writes('push_rights.box');
SELECT tide.allow_writes('push_rights.cols');
SET LOCAL search_path = push_rights, public;

-- one mutation by one client of its own; "status code row"
CREATE SEQUENCE client;
GRANT USAGE ON SEQUENCE client TO PUBLIC;
CREATE FUNCTION try(sub text, mutation jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', r ->> 'status', r ->> 'code', r ->> 'row')
	FROM (SELECT tide.push(jsonb_build_object(
		'client', '00c11e00-0000-4000-8000-' || lpad(nextval('push_rights.client')::text, 12, '0'),
		'claims', CASE WHEN sub IS NOT NULL THEN jsonb_build_object('sub', sub) END,
		'mutations', jsonb_build_array(mutation || '{"id": 1}'))) -> 'results' -> 0) AS x(r)
$$;

-- no rights, some rights
SET LOCAL SESSION AUTHORIZATION tide_test_reader;
SELECT is(try(NULL, '{"op": "insert", "table": "notes", "key": {"id": 3}, "values": {"owner": "eve"}}'),
	'rejected 42501', 'no INSERT right');
SELECT is(try(NULL, '{"op": "update", "table": "notes", "key": {"id": 1}, "values": {"body": "x"}}'),
	'rejected 42501', 'no UPDATE right');
SELECT is(try(NULL, '{"op": "delete", "table": "notes", "key": {"id": 1}}'),
	'rejected 42501', 'no DELETE right');
SELECT throws_ok($$SELECT try('ada', '{"op": "delete", "table": "notes", "key": {"id": 1}}')$$,
	'28000', 'could not authenticate the request', 'claims of a session that is not trusted');
SELECT is(try(NULL, '{"op": "delete", "table": "box", "key": {"id": 1}}'),
	'rejected 42501', 'no right on the table at all');

-- row-level security by claims
SET LOCAL SESSION AUTHORIZATION tide_test_writer;
SELECT is(try('ada', '{"op": "update", "table": "notes", "key": {"id": 1}, "values": {"body": "new"}}'),
	'applied', 'own row');
SELECT is(try('ada', '{"op": "update", "table": "notes", "key": {"id": 2}, "values": {"body": "x"}}'),
	'rejected P0002', 'another''s row does not exist');
SELECT is(try('ada', '{"op": "update", "table": "notes", "key": {"id": 99}, "values": {"body": "x"}}'),
	'rejected P0002', 'as little as one that never was');
SELECT is(try('ada', '{"op": "delete", "table": "notes", "key": {"id": 2}}'),
	'applied', 'nothing to delete');
SELECT is(try('ada', '{"op": "insert", "table": "notes", "key": {"id": 2}, "values": {"owner": "ada"}}'),
	'rejected 23505', 'a key that is taken, and no row');
SELECT is(try('ada', '{"op": "insert", "table": "notes", "key": {"id": 3}, "values": {"owner": "bob"}}'),
	'rejected 42501', 'for somebody else');
SELECT is(try('ada', '{"op": "update", "table": "notes", "key": {"id": 1}, "values": {"owner": "bob"}}'),
	'rejected 42501', 'given away');
SELECT is(try('ada', '{"op": "insert", "table": "notes", "key": {"id": 1}, "values": {"body": "merged"}}'),
	'merged {"id": 1, "body": "merged", "owner": "ada", "secret": "s"}', 'merged with the own row');
SELECT is(try(NULL, '{"op": "update", "table": "notes", "key": {"id": 1}, "values": {"body": "x"}}'),
	'rejected P0002', 'without claims');
SELECT is(current_setting('request.jwt.claims', true), '', 'claims are gone after the push');

-- visible, but not to be changed
RESET SESSION AUTHORIZATION;
UPDATE notes SET body = 'public' WHERE id = 2;
SET LOCAL SESSION AUTHORIZATION tide_test_writer;
SELECT is(try('ada', '{"op": "update", "table": "notes", "key": {"id": 2}, "values": {"body": "x"}}'),
	'rejected 42501', 'update kept off by a policy');
SELECT is(try('ada', '{"op": "delete", "table": "notes", "key": {"id": 2}}'),
	'rejected 42501', 'delete kept off by a policy');
SELECT is(try('ada', '{"op": "insert", "table": "notes", "key": {"id": 2}, "values": {"body": "x"}}'),
	'rejected 42501', 'merge kept off by a policy');

-- column rights
SELECT is(try('ada', '{"op": "update", "table": "cols", "key": {"id": 1}, "values": {"a": "x"}}'),
	'applied', 'a column that may be written');
SELECT is(try('ada', '{"op": "update", "table": "cols", "key": {"id": 1}, "values": {"b": "x"}}'),
	'rejected 42501', 'a column that may not');
SELECT is(try('ada', '{"op": "insert", "table": "cols", "key": {"id": 1}, "values": {"a": "y"}}'),
	'merged', 'no row in the answer, as not all of it may be read');
SELECT is(try('ada', '{"op": "insert", "table": "cols", "key": {"id": 2}, "values": {"a": "y"}}'),
	'applied', 'insert of the columns that may be written');

-- who may only insert can do so, and learns nothing
SET LOCAL SESSION AUTHORIZATION tide_test_dropper;
SELECT is(try('ada', '{"op": "insert", "table": "box", "key": {"id": 1}, "values": {"body": "x"}}'),
	'applied', 'into the drop box');
SELECT is(try('ada', '{"op": "insert", "table": "box", "key": {"id": 1}, "values": {"body": "y"}}'),
	'rejected 23505', 'but not over what is there');
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT id, body FROM box', $$VALUES (1, 'x')$$, 'the box holds the first');
SELECT results_eq('SELECT id, owner, body FROM notes ORDER BY id',
	$$VALUES (1, 'ada', 'merged'), (2, 'bob', 'public')$$, 'only what was allowed has changed');
SELECT is((SELECT count(*)::int FROM tide.mutation_log WHERE client_id::text LIKE '00c11e00%' AND "table" LIKE 'push_rights.%'),
	22, 'all of it is in the log');

SELECT * FROM finish();
ROLLBACK;
