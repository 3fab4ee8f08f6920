-- Who may use clocks and CRDTs: nobody at first, then whom tide.allow_crdt names; all of it and nothing else.
BEGIN;
SELECT plan(14);

CREATE TEMP VIEW crdt AS
SELECT p.oid, p.proname FROM pg_proc p WHERE p.pronamespace = 'tide'::regnamespace
   AND (p.prosrc ~ '^tide_sql_(hlc|make_hlc|vclock|lww|pn_counter|g_set|or_set)' OR p.prokind = 'a');
CREATE TEMP VIEW granted AS
SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'tide'::regnamespace AND p.proname NOT IN ('pull', 'push', 'wait')
   AND has_function_privilege('tide_test_app', p.oid, 'EXECUTE');
CREATE ROLE tide_test_app;
CREATE TABLE tide_test_clocks (h tide.hlc PRIMARY KEY);
INSERT INTO tide_test_clocks VALUES ('000000000002-0000-0000000000000000'), ('000000000001-0000-0000000000000000');
GRANT SELECT, INSERT ON tide_test_clocks TO tide_test_app;
GRANT SELECT ON crdt, granted TO tide_test_app;

SELECT is_empty('SELECT * FROM granted', 'a role may use none of it');
SET LOCAL ROLE tide_test_app;
SELECT lives_ok($$INSERT INTO tide_test_clocks VALUES ('000000000003-0000-0000000000000000')$$, 'it may write a clock');
SELECT results_eq('SELECT h::text FROM tide_test_clocks ORDER BY h DESC LIMIT 1', ARRAY['000000000003-0000-0000000000000000'], 'and read and sort clocks');
SELECT throws_ok($$SELECT * FROM tide_test_clocks WHERE h OPERATOR(tide.>) '000000000001-0000-0000000000000000'$$, '42501', NULL, 'not compare them');
SELECT throws_ok($$SELECT tide.or_set_merge('{}', '{}')$$, '42501', NULL, 'nor merge sets');
SELECT throws_ok($$SELECT tide.allow_crdt('tide_test_app')$$, '42501', NULL, 'nor give itself the right');
RESET ROLE;

SELECT tide.allow_crdt('tide_test_app');
SELECT ok(count(*) > 50, 'there are many functions') FROM crdt;
SELECT set_eq('SELECT oid FROM granted', 'SELECT oid FROM crdt', 'allow_crdt gives all of it, and nothing else');
SET LOCAL ROLE tide_test_app;
SELECT results_eq($$SELECT count(*) FROM tide_test_clocks WHERE h OPERATOR(tide.>) '000000000001-0000-0000000000000000'$$, ARRAY[2::bigint], 'so the role compares clocks');
SELECT results_eq($$SELECT tide.g_set_merge(x::jsonb) FROM (VALUES ('[1]'), ('[2]')) v(x)$$, ARRAY['[1, 2]'::jsonb], 'and merges');
RESET ROLE;
SELECT tide.disallow_crdt('tide_test_app');
SELECT is_empty('SELECT * FROM granted', 'disallow_crdt takes all of it back');

SELECT tide.allow_crdt('-');
SELECT set_eq('SELECT oid FROM granted', 'SELECT oid FROM crdt', 'allow_crdt(''-'') gives it to everybody');
SELECT tide.disallow_crdt('-');
SELECT is_empty('SELECT * FROM granted', 'and disallow_crdt(''-'') takes it back');

CREATE ROLE "tide_test "" odd";
SELECT lives_ok($$SELECT tide.allow_crdt('"tide_test "" odd"')$$, 'names are quoted');

SELECT * FROM finish();
ROLLBACK;
