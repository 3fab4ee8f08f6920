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
