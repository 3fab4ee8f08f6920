-- Who may do what: nothing but pull, push and wait is for everybody, and
-- what runs with the owner's rights has a fixed search_path.
BEGIN;
SELECT plan(11);

CREATE TEMP VIEW functions AS
SELECT p.oid, p.oid::regprocedure AS name, n.nspname, p.proname, p.prosecdef, p.proconfig,
       pg_catalog.has_function_privilege('public', p.oid, 'EXECUTE') AS is_public
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname IN ('tide', 'tide_internal');
CREATE TEMP VIEW public_functions AS
SELECT name FROM functions
 WHERE is_public AND NOT (nspname = 'tide' AND proname IN ('pull', 'push', 'wait'));
CREATE TEMP VIEW loose_definers AS
SELECT name FROM functions
 WHERE prosecdef AND NOT EXISTS (
   SELECT FROM unnest(proconfig) c WHERE replace(replace(c, '"', ''), ' ', '') = 'search_path=pg_catalog,pg_temp');
CREATE TEMP VIEW public_relations AS
SELECT c.oid::regclass AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname IN ('tide_internal', 'tide_shadow') AND c.relkind IN ('r', 'v', 'm', 'S', 'p')
   AND EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = 0);

SELECT is_empty('SELECT * FROM public_functions', 'only pull, push and wait are executable by PUBLIC');
SELECT is_empty('SELECT * FROM loose_definers', 'every SECURITY DEFINER function sets search_path = pg_catalog, pg_temp');
SELECT is_empty('SELECT * FROM public_relations', 'no internal relation is granted to PUBLIC');
SELECT ok(has_schema_privilege('public', 'tide', 'USAGE'), 'PUBLIC may use schema tide');
SELECT ok(NOT has_schema_privilege('public', 'tide', 'CREATE'), 'PUBLIC may not create in schema tide');
SELECT ok(NOT has_schema_privilege('public', 'tide_internal', 'USAGE'), 'PUBLIC may not use schema tide_internal');
SELECT ok(NOT has_schema_privilege('public', 'tide_shadow', 'USAGE'), 'PUBLIC may not use schema tide_shadow');

-- a role without rights
CREATE ROLE tide_test_nobody;
SET LOCAL ROLE tide_test_nobody;
SELECT throws_ok('SELECT count(*) FROM tide_internal.mutations', '42501', NULL, 'nobody reads the mutation log table');
RESET ROLE;

-- the checks above notice what they are for
CREATE FUNCTION tide.bad() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
GRANT SELECT ON tide_internal.state TO PUBLIC;
SELECT results_eq('SELECT name::text FROM public_functions', ARRAY['tide.bad()'], 'a public function is noticed');
SELECT results_eq('SELECT name::text FROM loose_definers', ARRAY['tide.bad()'], 'a loose SECURITY DEFINER function is noticed');
SELECT results_eq('SELECT name::text FROM public_relations', ARRAY['tide_internal.state'], 'a public table is noticed');

SELECT * FROM finish();
ROLLBACK;
