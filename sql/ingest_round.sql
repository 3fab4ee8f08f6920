-- tide.ingest(): rounds in the calling session, several batches in one transaction.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_tide;
RESET client_min_messages;
\pset format unaligned
CREATE SCHEMA ingest_round;
SET search_path = ingest_round, public;
CREATE TABLE items (id int PRIMARY KEY, label text);
SELECT tide.create_shape('items', '{"table": "items"}');
SELECT tide.ingest();

-- a batch that is full, then one with nothing but the mark at the end
INSERT INTO items SELECT i, 'item ' || i FROM generate_series(1, 10000) i;
SELECT tide.ingest();
SELECT row_count FROM tide_internal.buckets;

-- a rewrite is no change in the WAL
CREATE TABLE amounts (id int PRIMARY KEY, amount numeric(8,2), label text);
INSERT INTO amounts VALUES (1, 1.5, 'one'), (2, 2, 'two');
SELECT tide.create_shape('amounts', '{"table": "amounts"}');
SELECT tide.ingest();
BEGIN;
UPDATE amounts SET label = 'uno' WHERE id = 1;
ALTER TABLE amounts ALTER amount TYPE numeric(8,4), ALTER label TYPE text USING upper(label);
UPDATE amounts SET amount = 2.5 WHERE id = 2;
COMMIT;
SELECT tide.ingest();
SELECT c ->> 'row' AS row FROM json_array_elements(
	tide.pull('{"claims": {}, "shapes": {"amounts": [{}]}}') -> 'changes') c ORDER BY 1;
-- a shape over a table that has changed since its copy
ALTER TABLE amounts ADD COLUMN more int DEFAULT 7;
SELECT tide.create_shape('more', '{"table": "amounts", "where": "more = 7"}');
SELECT tide.ingest();
SELECT name, state, rows FROM tide.shapes ORDER BY name;

-- a table renamed before its first copy
CREATE TABLE early (id int PRIMARY KEY);
SELECT tide.create_shape('early', '{"table": "early"}');
ALTER TABLE early RENAME TO late;
SELECT tide.ingest() IS NOT NULL AS done;
SELECT state, definition, error FROM tide.shapes WHERE name = 'early';
ALTER TABLE late ADD COLUMN more int;
INSERT INTO late VALUES (1, 2);
SELECT tide.ingest() IS NOT NULL AS done;
SELECT state, rows, error FROM tide.shapes WHERE name = 'early';
SELECT tide.drop_shape('early');

-- a shape that fails does not stop the others, and is tried again with later rounds
CREATE TABLE ratios (id int PRIMARY KEY, d int);
INSERT INTO ratios VALUES (1, 1);
CREATE FUNCTION halves(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 2 / $1; END';
SELECT tide.create_shape('ratios', '{"table": "ratios"}'),
	tide.create_shape('inverse', '{"table": "ratios", "where": "1 / d = 1"}'),
	tide.create_shape('halves', '{"table": "ratios", "where": "halves(d) = 2"}');
SELECT tide.ingest();
INSERT INTO ratios VALUES (2, 0);
CREATE FUNCTION noted() RETURNS int LANGUAGE sql AS 'SELECT 1';
BEGIN;
SELECT tide.ingest();
ROLLBACK;
SELECT name, state FROM tide.shapes WHERE 'ingest_round.ratios' = ANY (tables) ORDER BY name;
SELECT tide.ingest();
SELECT name, state, rows, error FROM tide.shapes WHERE 'ingest_round.ratios' = ANY (tables) ORDER BY name;
SELECT last_error FROM tide.status;
SELECT tide.ingest() >= 0 AS "goes on";
UPDATE ratios SET d = 2 WHERE d = 0;
CREATE OR REPLACE FUNCTION noted() RETURNS int LANGUAGE sql AS 'SELECT 2';
SELECT tide.ingest();
SELECT tide.ingest();
SELECT name, state, rows, error FROM tide.shapes WHERE 'ingest_round.ratios' = ANY (tables) ORDER BY name;
-- what has to do with the server or the session ends the round, and nothing fails for it
INSERT INTO ratios SELECT i, 1 FROM generate_series(3, 2000) i;
\set SHOW_CONTEXT never
SET statement_timeout = '1ms';
SELECT tide.ingest();
RESET statement_timeout;
SELECT name, state FROM tide.shapes WHERE state <> 'live';

-- a type and a function that were dropped between two rounds
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE people (id int PRIMARY KEY, mood mood);
CREATE TABLE visits (id int PRIMARY KEY, person int REFERENCES people, mood mood);
INSERT INTO people VALUES (1, 'ok'), (2, 'sad');
INSERT INTO visits VALUES (1, 1, 'ok');
SELECT tide.create_shape('happy', '{"table": "people", "where": "mood = ''ok''"}'),
	tide.create_shape('moods', '{"table": "people", "where": "mood = params.mood"}'),
	tide.create_shape('met', '{"table": "people", "include": {"visits": {"table": "visits", "on": "visits.mood = parent.mood",
		"where": "person IN (SELECT id FROM people WHERE mood <> ''sad'')"}}}');
SELECT tide.ingest();
ALTER TABLE people ALTER mood TYPE text;
ALTER TABLE visits ALTER mood TYPE text;
DROP TYPE mood;
DROP FUNCTION halves(int);
INSERT INTO people VALUES (3, 'ok');
\set VERBOSITY terse
SELECT tide.pull('{"shapes": {"moods": {"mood": "ok"}}}') IS NULL;
SELECT tide.verify('happy');
\set VERBOSITY default
SELECT substring(line FROM '^ *(.*)$') FROM unnest('{happy,moods,met,halves}'::text[]) name,
	regexp_split_to_table(tide.explain_shape(name), '\n') line WHERE line ~ 'dropped';
SELECT tide.ingest();
SELECT tide.ingest();
SELECT name, state, rows, error FROM tide.shapes WHERE name IN ('happy', 'moods', 'met', 'halves') ORDER BY name;
SELECT c ->> 'row' AS row FROM json_array_elements(tide.pull('{"claims": {}, "shapes": {"moods": {"mood": "ok"}}}') -> 'changes') c ORDER BY 1;
SELECT tide.verify('halves');
SELECT tide.drop_shape('halves');
SELECT * FROM tide_internal.verify_all();
SELECT tide.drop_shape(name) FROM tide.shapes WHERE name IN ('ratios', 'inverse', 'happy', 'moods', 'met') ORDER BY name;

SELECT tide.reset();
SELECT tide.drop_shape('amounts');
SELECT tide.drop_shape('more');
SELECT tide.drop_shape('items');

-- a slot that a dropped extension left is not gone on with
SELECT tide.ingest() IS NOT NULL AS slot_made;
SET client_min_messages = warning;
DROP EXTENSION pg_tide;
RESET client_min_messages;
INSERT INTO items VALUES (-1, 'between');
CREATE EXTENSION pg_tide;
SELECT tide.create_shape('items', '{"table": "items", "where": "id < 3"}');
SELECT tide.ingest();
SELECT name, state, rows FROM tide.shapes ORDER BY name;
SELECT tide.reset();
SELECT tide.drop_shape('items');
SET client_min_messages = warning;
DROP SCHEMA ingest_round CASCADE;
