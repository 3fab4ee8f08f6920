-- tide.pull: what it refuses, and how.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_tide;
RESET client_min_messages;
CREATE SCHEMA pull_refusal;
SET search_path = pull_refusal, public;
\set VERBOSITY verbose
\set SHOW_CONTEXT always

-- state, message, hint and context of the error a request meets
CREATE FUNCTION refused(request jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text; state text; hint text; detail text; context text;
BEGIN
	PERFORM tide.pull(request);
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, state = RETURNED_SQLSTATE, hint = PG_EXCEPTION_HINT,
		detail = PG_EXCEPTION_DETAIL, context = PG_EXCEPTION_CONTEXT;
	RETURN concat_ws(E'\n', state || ' ' || message, 'detail: ' || nullif(detail, ''), 'hint: ' || nullif(hint, ''),
		(SELECT 'context: ' || line FROM regexp_split_to_table(context, E'\n') line WHERE line LIKE 'field %'));
END $$;

CREATE TABLE issues (id int PRIMARY KEY, team uuid, title text);
SELECT tide.create_shape('team', '{"table": "pull_refusal.issues", "where": "team = params.team"}');
SELECT tide.create_shape('mine', '{"table": "pull_refusal.issues", "where": "team = claims.team"}');

\pset format unaligned
\pset tuples_only on
SELECT request, refused(request::jsonb) FROM unnest(ARRAY[
	'[]',
	'"x"',
	'{}',
	'{"shapes": null}',
	'{"shapes": []}',
	'{"shapes": {}, "shape": {}}',
	'{"shapes": {}, "limit": 0}',
	'{"shapes": {}, "limit": 100001}',
	'{"shapes": {}, "limit": 2.5}',
	'{"shapes": {}, "limit": "10"}',
	'{"shapes": {}, "limit": 1e400}',
	'{"shapes": {}, "limit": 1.0}',
	'{"shapes": {}, "resync": [9223372036854775808]}',
	'{"shapes": {}, "client": 5}',
	'{"shapes": {}, "client": "6f9c"}',
	'{"shapes": {}, "resync": 7}',
	'{"shapes": {}, "resync": [1, "x"]}',
	'{"shapes": {"team": null}}',
	'{"shapes": {"team": 5}}',
	'{"shapes": {"team": [{"team": "0c9e9d3e-6f3e-4a62-a2a0-3f0a4d6a8f10"}, 5]}}',
	'{"shapes": {"team": [[]]}}',
	'{"shapes": {"team": {}}}',
	'{"shapes": {"team": {"team": 1e131071}}}',
	'{"shapes": {"team": [{"team": "0c9e9d3e-6f3e-4a62-a2a0-3f0a4d6a8f10"}, {"team": "x"}]}}',
	'{"shapes": {"team": [{"team": "0c9e9d3e-6f3e-4a62-a2a0-3f0a4d6a8f10", "tem": 1}]}}',
	'{"shapes": {"nope": {}}}',
	'{"shapes": {"team": []}}',
	'{"shapes": {"mine": {}}}',
	'{"shapes": {}, "cookie": null, "limit": null, "client": null, "resync": null}'
	]) request;

-- too many buckets
SET tide.max_buckets_per_pull = 2;
SELECT refused('{"shapes": {"mine": [{}, {}, {}]}}');
SELECT refused('{"shapes": {"mine": [{}, {}]}}');
RESET tide.max_buckets_per_pull;

-- a failed shape
UPDATE tide_internal.shapes SET state = 'failed', error = 'secret cause' WHERE name = 'team';
SELECT refused('{"shapes": {"team": []}}');
UPDATE tide_internal.shapes SET state = 'building', error = NULL WHERE name = 'team';

-- NULL in, NULL out
SELECT tide.pull(NULL) IS NULL;

-- claims only from those who are trusted; a client belongs to who pushed as it
CREATE ROLE tide_pull_refusal;
INSERT INTO tide_internal.clients (client_id, role) VALUES ('ba51c000-0000-4000-8000-00000000aaaa', 'somebody_else');
SELECT refused('{"shapes": {}, "client": "ba51c000-0000-4000-8000-00000000aaaa"}');
DELETE FROM tide_internal.clients WHERE client_id = 'ba51c000-0000-4000-8000-00000000aaaa';
SELECT refused('{"shapes": {}, "client": "ba51c000-0000-4000-8000-00000000aaaa"}');
GRANT USAGE ON SCHEMA pull_refusal TO tide_pull_refusal;
SET SESSION AUTHORIZATION tide_pull_refusal;
SELECT refused('{"shapes": {"mine": {}}}');
SELECT refused('{"shapes": {"mine": {}}, "claims": {"team": "0c9e9d3e-6f3e-4a62-a2a0-3f0a4d6a8f10"}}');
SELECT refused('{"shapes": {"mine": {}}, "token": "x"}');
RESET SESSION AUTHORIZATION;

-- verify
\set VERBOSITY terse
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM tide.verify('team');
ROLLBACK;
SELECT * FROM tide.verify('nope');
SELECT * FROM tide.verify('team');

SELECT tide.drop_shape('team');
SELECT tide.drop_shape('mine');
SET client_min_messages = warning;
DROP SCHEMA pull_refusal CASCADE;
DROP ROLE tide_pull_refusal;
