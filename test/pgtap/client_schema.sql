-- The script for PostgreSQL on this server itself: what the client of any version does,
-- and laws of applying: twice is once, and pages may be cut anywhere.
BEGIN;
SELECT plan(11);

CREATE SCHEMA app;
CREATE TABLE app.items (id int PRIMARY KEY, title text, n bigint, price numeric);
SELECT tide.create_shape('tap_items', '{"table": "app.items"}');
DO $$
DECLARE
	script text := tide.client_schema('{tap_items}', 'postgres');
BEGIN
	-- one client in the server's own database: its tables go where the server's are not
	-- (but in the protocol they have the server's names, which need no quotes)
	script := replace(script, '"app"', 'tap_client');
	EXECUTE regexp_replace(script, '^(BEGIN|COMMIT);$', '', 'gn');
END
$$;

CREATE FUNCTION pg_temp.page(first int, last int, complete boolean) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('cookie', jsonb_build_object('at', last), 'checkpoint', jsonb_build_object('op_id', 100),
		'complete', complete, 'remaining', 20 - last, 'drop', '[]'::jsonb, 'last_mutation_id', 0, 'rejected', '[]'::jsonb,
		'buckets', jsonb_build_array(jsonb_build_object('bucket', 1, 'shape', 'tap_items', 'params', '{}'::jsonb,
			'count', 10, 'checksum', (SELECT sum(i * 400000000::bigint)::bigint FROM generate_series(11, 20) AS i) & 4294967295)),
		'changes', (SELECT jsonb_agg(CASE WHEN i <= 10
				THEN jsonb_build_object('bucket', 1, 'table', 'app.items', 'op', 'remove', 'op_id', i, 'key', jsonb_build_object('id', i), 'hash', 0)
				ELSE jsonb_build_object('bucket', 1, 'table', 'app.items', 'op', 'put', 'op_id', i, 'key', jsonb_build_object('id', i),
					'row', jsonb_build_object('id', i, 'title', 't' || i, 'n', 9223372036854775807, 'price', 1.10 * i),
					'hash', (i * 400000000::bigint) & 4294967295) END ORDER BY i)
			FROM generate_series(first, last) AS i))
$$;
CREATE FUNCTION pg_temp.state() RETURNS text LANGUAGE sql AS $$
	SELECT md5(string_agg(i::text, ',' ORDER BY id)) FROM tap_client.items AS i
$$;

SELECT is((SELECT state FROM public.tide_status), 'new', 'a new client');
SELECT is(public.tide_apply(pg_temp.page(1, 20, true)), 'synced', 'one page');
CREATE TEMP TABLE whole AS SELECT pg_temp.state() AS state;
SELECT is(public.tide_apply(pg_temp.page(1, 20, true)), 'synced', 'the same page again');
SELECT is(pg_temp.state(), (SELECT state FROM whole), 'changes nothing') FROM whole WHERE state IS NOT NULL;
SELECT results_eq('SELECT row_count, resync FROM public.tide_bucket', 'VALUES (10::bigint, false)', 'and the bucket still adds up');

DELETE FROM public.tide_member;
DELETE FROM public.tide_bucket;
DELETE FROM tap_client.items_synced;
SELECT is(array_agg(public.tide_apply(pg_temp.page(i, least(i + 2, 20), i = 19)) ORDER BY i)::text[],
	'{syncing,syncing,syncing,syncing,syncing,syncing,synced}', 'the same in pages of three')
FROM (SELECT i FROM generate_series(1, 19, 3) AS i) AS p;
SELECT is(pg_temp.state(), (SELECT state FROM whole), 'gives the same rows');

UPDATE tap_client.items SET n = n - 1, title = title WHERE id = 15;
SELECT is((SELECT public.tide_push_request()::jsonb #>> '{mutations,0,values}'), '{"n": 9223372036854775806}', 'only what changed is pushed, to the last digit');
SELECT throws_ok('UPDATE tap_client.items SET id = 1 WHERE id = 15', '0A000', NULL, 'a key cannot be changed');
SELECT throws_ok('INSERT INTO tap_client.items (id) VALUES (15)', '23505', NULL, 'nor be there twice');
SELECT throws_ok($$SELECT public.tide_apply('{"rows": []}')$$, '22023', NULL, 'what is no answer is refused');

SELECT finish();
ROLLBACK;
