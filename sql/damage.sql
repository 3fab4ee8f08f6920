-- What is said when tables of the extension were damaged, or hold what their readers cannot use:
-- an error with a SQLSTATE, and no crash.
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE SCHEMA damage;
SET search_path = damage;
CREATE TABLE notes (id int PRIMARY KEY, team int, title text, n int DEFAULT 0);
INSERT INTO notes SELECT i, i % 3, 'note ' || i FROM generate_series(1, 10) i;
SELECT tide.create_shape('team', '{"table": "notes", "where": "team = params.team"}');
SELECT tide.set_conflict_policy('notes', 'title', 'counter');

-- a slot of another's with our name
SELECT count(*) FROM pg_create_logical_replication_slot('tide_' || current_database(), 'test_decoding');
\set VERBOSITY sqlstate
SELECT tide.start();
\set VERBOSITY default
SELECT pg_drop_replication_slot('tide_' || current_database());
SELECT count(tide.start());
SELECT count(*) FROM tide.sync();

CREATE FUNCTION asked() RETURNS jsonb LANGUAGE sql AS $$
	SELECT tide.pull('{"client": "0b8c6c6e-0000-4000-8000-000000000001", "claims": {}, "shapes": {"team": [{"team": 1}]}}')::jsonb -> 'buckets' $$;
SELECT jsonb_array_length(asked());
BEGIN;
DELETE FROM tide_internal.checkpoints;
SELECT asked();
ROLLBACK;
BEGIN;
DELETE FROM tide_internal.sources;
\set VERBOSITY sqlstate
SELECT asked();
\set VERBOSITY default
ROLLBACK;
BEGIN;
UPDATE tide_internal.shape_nodes SET key_args = '[]';
SELECT asked();
ROLLBACK;
BEGIN;
UPDATE tide_internal.shape_nodes SET keys = '(x';
\set VERBOSITY sqlstate
SELECT asked();
\set VERBOSITY default
ROLLBACK;
-- the table changed in a way that is not ingested yet
BEGIN;
DROP TABLE notes CASCADE;
SELECT tide.client_schema(ARRAY['team'], 'sqlite');
ROLLBACK;
BEGIN;
ALTER TABLE notes DROP title;
SELECT tide.client_schema(ARRAY['team'], 'sqlite');
ROLLBACK;
-- a name that would end the text it is written into
BEGIN;
CREATE TABLE "$tide_body$" (id int PRIMARY KEY);
SELECT tide.create_shape('body', '{"table": "$tide_body$"}');
SELECT tide.client_schema(ARRAY['body'], 'postgres');
ROLLBACK;
BEGIN;
CREATE TABLE t234567890123456789012345678901234567890123456789012345678901 (id int PRIMARY KEY);
SELECT tide.create_shape('long', '{"table": "t234567890123456789012345678901234567890123456789012345678901"}');
SELECT tide.client_schema(ARRAY['long'], 'postgres');
ROLLBACK;
-- nothing of all that stayed
SELECT jsonb_array_length(asked());

-- keys that are none, and what was sealed for somebody else
SELECT tide.seal('x', decode(repeat('00', 32), 'hex'));
SELECT tide.unseal(decode(repeat('00', 80), 'hex'), decode(repeat('01', 32), 'hex'));
SELECT * FROM tide_internal.bucket_keys('nobody');
SELECT tide.pull('{"client": "0b8c6c6e-0000-4000-8000-000000000001", "token": 5, "shapes": {}}');

SELECT tide.drop_shape('team');
SELECT tide.reset();
SET client_min_messages = warning;
DROP SCHEMA damage CASCADE;
