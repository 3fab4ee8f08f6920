-- Who may do what. The lists are exact: an object that is added and open to anybody changes them.
-- PUBLIC: pull, push and wait. Everybody else but the extension's owner: what he was granted. The owner: all.
BEGIN;
SELECT plan(29);

CREATE TEMP VIEW functions AS
SELECT p.oid, p.oid::regprocedure::text AS name, n.nspname, p.proname, p.prosecdef, p.proconfig, p.proacl, p.proowner
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname IN ('tide', 'tide_internal', 'tide_shadow');
CREATE TEMP VIEW relations AS
SELECT c.oid, c.oid::regclass::text AS name, n.nspname, c.relkind, c.relacl, c.relowner, c.reloptions
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname IN ('tide', 'tide_internal', 'tide_shadow') AND c.relkind IN ('r', 'v', 'm', 'S', 'p', 'f');
CREATE TEMP VIEW public_functions AS
SELECT name FROM functions WHERE pg_catalog.has_function_privilege('public', oid, 'EXECUTE');
CREATE TEMP VIEW public_relations AS
SELECT name FROM relations
 WHERE EXISTS (SELECT FROM aclexplode(relacl) a WHERE a.grantee = 0)
    OR EXISTS (SELECT FROM pg_attribute t, aclexplode(t.attacl) a WHERE t.attrelid = relations.oid AND a.grantee = 0);
CREATE TEMP VIEW definers AS
SELECT name, array_to_string(proconfig, ';') COLLATE "default" AS settings FROM functions WHERE prosecdef;
CREATE TEMP VIEW loose_definers AS
SELECT name FROM functions
 WHERE prosecdef AND NOT EXISTS (
   SELECT FROM unnest(proconfig) c WHERE replace(replace(c, '"', ''), ' ', '') = 'search_path=pg_catalog,pg_temp');
-- rights of anybody but the owner and PUBLIC
CREATE TEMP VIEW foreign_grants AS
SELECT 'function ' || name AS object FROM functions, aclexplode(proacl) a WHERE a.grantee NOT IN (0, proowner)
UNION ALL
SELECT 'relation ' || name FROM relations, aclexplode(relacl) a WHERE a.grantee NOT IN (0, relowner)
UNION ALL
SELECT 'schema ' || nspname FROM pg_namespace, aclexplode(nspacl) a
 WHERE nspname IN ('tide', 'tide_internal', 'tide_shadow') AND a.grantee NOT IN (0, nspowner);

-- PUBLIC
SELECT results_eq('SELECT name FROM public_functions ORDER BY name COLLATE "C"',
	ARRAY['tide.pull(jsonb)', 'tide.push(jsonb)', 'tide.wait(bigint,interval)', 'tide_internal.worker_info()'],
	'functions that PUBLIC may execute; the last is for readers of tide.status, as its schema is closed');
SELECT is_empty('SELECT * FROM public_relations', 'relations that PUBLIC may read or write');
SELECT ok(has_schema_privilege('public', 'tide', 'USAGE'), 'PUBLIC may use schema tide');
SELECT ok(NOT has_schema_privilege('public', 'tide', 'CREATE'), 'PUBLIC may not create in schema tide');
SELECT ok(NOT has_schema_privilege('public', 'tide_internal', 'USAGE'), 'PUBLIC may not use schema tide_internal');
SELECT ok(NOT has_schema_privilege('public', 'tide_shadow', 'USAGE'), 'PUBLIC may not use schema tide_shadow');

-- the owner: all of it, and nobody else has a right
SELECT is_empty('SELECT * FROM foreign_grants', 'nobody but the owner and PUBLIC has been granted anything');
SELECT is_empty($$SELECT name FROM functions WHERE NOT has_function_privilege(
	(SELECT extowner FROM pg_extension WHERE extname = 'pg_tide'), oid, 'EXECUTE')$$, 'the owner may execute all');
SELECT is_empty($$SELECT name FROM relations WHERE NOT has_table_privilege(
	(SELECT extowner FROM pg_extension WHERE extname = 'pg_tide'), oid, 'SELECT')$$, 'and read all');
SELECT is_empty($$SELECT name FROM relations WHERE relowner <> (SELECT extowner FROM pg_extension WHERE extname = 'pg_tide')
	UNION ALL SELECT name FROM functions WHERE proowner <> (SELECT extowner FROM pg_extension WHERE extname = 'pg_tide')$$,
	'all of it is his');

-- what runs with the owner's rights
SELECT results_eq('SELECT name, settings FROM definers ORDER BY name COLLATE "C"', $$VALUES
	('tide.require_signatures(regclass,boolean)', 'search_path=pg_catalog, pg_temp'),
	('tide.trust_role(regrole)', 'search_path=pg_catalog, pg_temp'),
	('tide.untrust_role(regrole)', 'search_path=pg_catalog, pg_temp'),
	('tide_internal.check_device()', 'search_path=pg_catalog, pg_temp'),
	('tide_internal.check_key_backup()', 'search_path=pg_catalog, pg_temp'),
	('tide_internal.check_key_grant()', 'search_path=pg_catalog, pg_temp'),
	('tide_internal.note_function()', 'search_path=pg_catalog, pg_temp')$$, 'SECURITY DEFINER functions and their settings');
SELECT is_empty('SELECT * FROM loose_definers', 'every one of them sets search_path = pg_catalog, pg_temp');
SELECT is_empty($$SELECT name FROM relations WHERE nspname = 'tide' AND relkind = 'v'
	AND NOT coalesce('security_barrier=true' = ANY (reloptions), false)$$, 'every view is a security barrier');
SELECT results_eq($$SELECT name FROM relations WHERE nspname = 'tide' AND relkind <> 'v' ORDER BY name COLLATE "C"$$,
	ARRAY['tide.devices', 'tide.key_backups', 'tide.key_grants', 'tide.signed_mutations'], 'and there are no tables but those by which clients exchange keys');
SELECT is_empty($$SELECT r.name FROM relations r JOIN pg_class c USING (oid) WHERE nspname = 'tide' AND r.relkind <> 'v' AND NOT relrowsecurity$$, 'which have row-level security');

-- a client
CREATE ROLE tide_test_client;
CREATE TABLE tide_test_notes (id int PRIMARY KEY);
GRANT SELECT ON functions, relations TO tide_test_client;
SET LOCAL ROLE tide_test_client;
SELECT results_eq($$SELECT name FROM functions WHERE nspname = 'tide' AND has_function_privilege(oid, 'EXECUTE') ORDER BY name COLLATE "C"$$,
	ARRAY['tide.pull(jsonb)', 'tide.push(jsonb)', 'tide.wait(bigint,interval)'], 'what a client role may execute');
SELECT is_empty($$SELECT name FROM relations WHERE has_table_privilege(oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
	OR has_any_column_privilege(oid, 'SELECT, INSERT, UPDATE')$$, 'what it may read or write');
SELECT throws_ok('SELECT count(*) FROM tide_internal.mutations', '42501', NULL, 'the mutation log table is closed');
SELECT throws_ok('SELECT * FROM tide_internal.worker_info()', '42501', NULL, 'what only its schema closes is closed');
SELECT throws_ok('SELECT * FROM tide_internal.jwt_keys', '42501', NULL, 'so are the keys');
SELECT throws_ok('SELECT * FROM tide.jwt_keys', '42501', NULL, 'and their public parts');
SELECT lives_ok($$SELECT tide.pull('{"shapes": {}}')$$, 'a pull needs no right');
RESET ROLE;

-- views are of use to whom they are granted
GRANT SELECT ON ALL TABLES IN SCHEMA tide TO tide_test_client;
SELECT tide.create_shape('tide_test', '{"table": "tide_test_notes"}');
SET LOCAL ROLE tide_test_client;
SELECT is_empty($$SELECT v.name FROM relations v WHERE nspname = 'tide' AND
	query_to_xml('SELECT count(t) FROM ' || v.name || ' t', false, false, '') IS NULL$$, 'every view works for a role it is granted to');
SELECT ok(NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'tide.jwt_keys'::regclass AND attname = 'key'), 'the view of keys has no secrets');
RESET ROLE;

-- the checks above notice what they are for
CREATE FUNCTION tide.bad() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
GRANT SELECT (epoch) ON tide_internal.state TO PUBLIC;
GRANT SELECT ON tide.shapes TO PUBLIC;
SELECT ok('tide.bad()' IN (SELECT name FROM public_functions), 'a public function is noticed');
SELECT results_eq('SELECT name FROM loose_definers', ARRAY['tide.bad()'], 'a loose SECURITY DEFINER function is noticed');
SELECT results_eq('SELECT name FROM public_relations ORDER BY 1', ARRAY['tide.shapes', 'tide_internal.state'], 'public relations and columns are noticed');
SELECT isnt_empty('SELECT * FROM foreign_grants', 'grants to others are noticed');
SELECT ok('tide.bad()' IN (SELECT name FROM definers), 'a new SECURITY DEFINER function is noticed');

SELECT * FROM finish();
ROLLBACK;
