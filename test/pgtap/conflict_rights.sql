-- Conflict policies read, compare, lock and write as the caller of the push, and tell
-- him nothing that he may not read.
BEGIN;
SELECT plan(34);

CREATE ROLE tide_test_writer;
CREATE ROLE tide_test_partial;
CREATE ROLE tide_test_inserter;
CREATE ROLE tide_test_dropper;
CREATE SCHEMA conflict_rights;
GRANT USAGE ON SCHEMA conflict_rights TO PUBLIC;
SET LOCAL search_path = conflict_rights, public;

CREATE TABLE notes (id int PRIMARY KEY, owner text NOT NULL DEFAULT 'ada', body text, locked bool NOT NULL DEFAULT false);
INSERT INTO notes VALUES (1, 'ada', 'of ada', false), (2, 'bob', 'of bob', false), (3, 'ada', 'locked', true);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY read ON notes FOR SELECT USING (owner = 'ada');
CREATE POLICY add ON notes FOR INSERT WITH CHECK (true);
CREATE POLICY change ON notes FOR UPDATE USING (NOT locked) WITH CHECK (body <> 'not allowed');
CREATE POLICY remove ON notes FOR DELETE USING (NOT locked);
GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO tide_test_writer;
CREATE TABLE cols (id int PRIMARY KEY, a text, b text, n int, tags text[], h text, d text);
INSERT INTO cols VALUES (1, 'a', 'hidden', 1, '{x}', 'h', 'd');
GRANT SELECT (id, a, d), INSERT, UPDATE (a, b, n, tags, h, d) ON cols TO tide_test_partial;
GRANT INSERT ON cols TO tide_test_inserter;
GRANT SELECT, INSERT ON notes TO tide_test_inserter;
GRANT SELECT, DELETE ON cols TO tide_test_dropper;
SELECT tide.allow_writes('notes', 'reject');
SELECT tide.allow_writes('cols', 'keep');
SELECT tide.set_conflict_policy('cols', 'n', 'counter');
SELECT tide.set_conflict_policy('cols', 'tags', 'set');
SELECT tide.set_conflict_policy('cols', 'd', 'overwrite');

-- "status code message; row columns"
CREATE SEQUENCE client;
GRANT USAGE ON SEQUENCE client TO PUBLIC;
CREATE FUNCTION try(mutation jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', r ->> 'status', r ->> 'code', r ->> 'row', r ->> 'columns')
	FROM (SELECT tide.push(jsonb_build_object(
		'client', 'c0f11e00-0000-4000-8000-' || lpad(nextval('conflict_rights.client')::text, 12, '0'),
		'mutations', jsonb_build_array(mutation || '{"id": 1}'))) -> 'results' -> 0) AS x(r)
$$;

-- row-level security
SET LOCAL SESSION AUTHORIZATION tide_test_writer;
SELECT is(try('{"op": "update", "table": "notes", "key": {"id": 2}, "values": {"body": "x"}, "base": {"body": "of bob"}}'),
	'rejected P0002', 'a hidden row with the right base');
SELECT is(try('{"op": "update", "table": "notes", "key": {"id": 2}, "values": {"body": "x"}, "base": {"body": "wrong"}}'),
	'rejected P0002', 'and with a wrong one: no difference');
SELECT is(try('{"op": "delete", "table": "notes", "key": {"id": 2}, "base": {"body": "wrong"}}'),
	'applied', 'deleting a hidden row: nothing to do, whatever the base');
SELECT is(try('{"op": "insert", "table": "notes", "key": {"id": 2}, "values": {"body": "of bob"}}'),
	'rejected 23505', 'inserting over a hidden row');
SELECT is(try('{"op": "update", "table": "notes", "key": {"id": 3}, "values": {"body": "x"}, "base": {"body": "locked"}}'),
	'rejected 42501', 'a row that may be seen and not changed');
SELECT is(try('{"op": "delete", "table": "notes", "key": {"id": 3}, "base": {"body": "locked"}}'),
	'rejected 42501', 'nor deleted');
SELECT is(try('{"op": "update", "table": "notes", "key": {"id": 1}, "values": {"body": "not allowed"}, "base": {"body": "of ada"}}'),
	'rejected 42501', 'a change that a policy forbids');
SELECT is(try('{"op": "update", "table": "notes", "key": {"id": 1}, "values": {"body": "x"}, "base": {"body": "wrong"}}'),
	'rejected TD001', 'a conflict');
RESET SESSION AUTHORIZATION;
SELECT results_eq($$SELECT DISTINCT message FROM tide.mutation_log WHERE code = 'TD001' AND client_id::text LIKE 'c0f11e00%'$$,
	$$VALUES ('column "body" of table "notes" has changed since')$$, 'and no values in its message');
SET LOCAL SESSION AUTHORIZATION tide_test_writer;
SELECT is(try('{"op": "update", "table": "notes", "key": {"id": 1}, "values": {"body": "x"}, "base": {"body": "of ada"}}'),
	'applied', 'the right base');

-- a role that may not change can insert, and no more
SET LOCAL SESSION AUTHORIZATION tide_test_inserter;
SELECT is(try('{"op": "insert", "table": "notes", "key": {"id": 10}, "values": {"body": "new"}}'),
	'applied', 'INSERT and SELECT: a new row');
SELECT is(try('{"op": "insert", "table": "notes", "key": {"id": 10}, "values": {"body": "new"}}'),
	'rejected 42501', 'not into one that is there');
SELECT is(try('{"op": "insert", "table": "cols", "key": {"id": 10}, "values": {"a": "new", "n": 1, "tags": ["x"]}}'),
	'applied', 'INSERT alone: a new row');
SELECT is(try('{"op": "insert", "table": "cols", "key": {"id": 10}, "values": {"a": "new"}}'),
	'rejected 23505', 'and not twice');

-- column grants
SET LOCAL SESSION AUTHORIZATION tide_test_partial;
SELECT is(try('{"op": "update", "table": "cols", "key": {"id": 1}, "values": {"b": "x"}, "base": {"b": "hidden"}}'),
	'rejected 42501', 'a column that may not be read is not compared');
SELECT is(try('{"op": "update", "table": "cols", "key": {"id": 1}, "values": {"b": "x"}, "base": {"b": "wrong"}}'),
	'rejected 42501', 'whatever it is');
SELECT is(try('{"op": "delete", "table": "cols", "key": {"id": 1}, "base": {"b": "hidden"}}'),
	'rejected 42501', 'nor for a delete');
SELECT is(try('{"op": "update", "table": "cols", "key": {"id": 1}, "values": {"n": 5}, "base": {"n": 1}}'),
	'rejected 42501', 'nor counted');
SELECT is(try('{"op": "update", "table": "cols", "key": {"id": 1}, "values": {"tags": ["y"]}}'),
	'rejected 42501', 'nor merged');
SELECT is(try('{"op": "update", "table": "cols", "key": {"id": 1}, "values": {"a": "x"}, "base": {"a": "wrong"}}'),
	'conflict {"a": "kept"}', 'a conflict without the row, of which he may read a part only');
SELECT is(try('{"op": "update", "table": "cols", "key": {"id": 1}, "values": {"a": "x", "d": "y"}, "base": {"a": "wrong"}}'),
	'merged {"a": "kept"}', 'nor when merged');
SELECT is(try('{"op": "update", "table": "cols", "key": {"id": 1}, "values": {"a": "x"}, "base": {"a": "a"}}'),
	'applied', 'what he may read he may compare');
SET LOCAL SESSION AUTHORIZATION tide_test_dropper;
SELECT is(try('{"op": "delete", "table": "cols", "key": {"id": 10}, "base": {"a": "new"}}'),
	'rejected 42501', 'a delete that is checked locks the row, for which DELETE is not enough');
SELECT is(try('{"op": "delete", "table": "cols", "key": {"id": 10}}'), 'applied', 'one that is not does not');

-- equality is the type's, not the search path's; base values are read by the caller
RESET SESSION AUTHORIZATION;
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE FUNCTION evil.same(text, text) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);
CREATE FUNCTION evil.note(text) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
	RETURN current_user = 'tide_test_writer';
END $$;
CREATE DOMAIN noted AS text CHECK (evil.note(VALUE));
CREATE FUNCTION owned(jsonb, jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(current_user::text)';
CREATE TABLE own (id int PRIMARY KEY, a text, c text, n noted, h text);
GRANT ALL ON own TO tide_test_writer;
SELECT tide.allow_writes('own', 'keep');
SELECT tide.set_conflict_policy('own', 'c', 'custom', 'owned(jsonb,jsonb,jsonb)');
SELECT tide.set_conflict_policy('own', 'h', 'hlc');
REVOKE ALL ON FUNCTION owned(jsonb, jsonb, jsonb) FROM PUBLIC;
SET LOCAL SESSION AUTHORIZATION tide_test_writer;
SELECT is(try('{"op": "insert", "table": "own", "key": {"id": 1}, "values": {"a": "a", "n": "n"}}'), 'applied', 'a row');
SET LOCAL search_path = evil, conflict_rights, public, pg_catalog;
SELECT conflict_rights.try('{"op": "update", "table": "own", "key": {"id": 1}, "values": {"a": "x"}, "base": {"a": "wrong"}}') AS answer \gset
SET LOCAL search_path = conflict_rights, public;
SELECT is(left(:'answer', 8), 'conflict', 'an operator of the session does not decide');
SELECT is(try('{"op": "update", "table": "own", "key": {"id": 1}, "values": {"n": "m"}, "base": {"n": "n"}}'), 'applied',
	'checks of domains run as the caller');

-- custom functions
SELECT is(try('{"op": "update", "table": "own", "key": {"id": 1}, "values": {"c": "x"}}'), 'rejected 42501', 'EXECUTE is needed');
RESET SESSION AUTHORIZATION;
GRANT EXECUTE ON FUNCTION owned(jsonb, jsonb, jsonb) TO tide_test_writer;
SET LOCAL SESSION AUTHORIZATION tide_test_writer;
SELECT is(try('{"op": "update", "table": "own", "key": {"id": 1}, "values": {"c": "x"}}') LIKE 'merged%"c": "tide_test_writer"%',
	true, 'the function runs as the caller');

-- what is behind it is not the caller's
SELECT is(try('{"op": "update", "table": "own", "key": {"id": 1}, "values": {"h": "x"}, "hlc": "000000000001-0000-0000000000000001"}'),
	'applied', 'clocks are noted for whoever pushes');
SELECT throws_ok('SELECT * FROM tide_internal.row_clocks', '42501', NULL, 'who cannot read them');
SELECT throws_ok($$SELECT tide.set_conflict_policy('own', 'a', 'overwrite')$$, '42501', NULL, 'nor set policies');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT count(*) FROM tide_internal.row_clocks WHERE relid = 'own'::regclass AND attnum = 5), 1::bigint, 'one clock');
SELECT is((SELECT string_agg(c.relname, ',' ORDER BY 1) FROM pg_class c CROSS JOIN aclexplode(c.relacl) a
	WHERE c.relnamespace = 'tide_internal'::regnamespace AND a.grantee = 0), NULL, 'nothing internal is granted to PUBLIC');

SELECT finish();
ROLLBACK;
