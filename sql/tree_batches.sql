-- Several tables of a tree changed in one batch, and tables altered before they were copied.
-- Each case was found by test/tap/shape_model.pl.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_tide;
RESET client_min_messages;
CREATE SCHEMA tree_batches;
SET search_path = tree_batches, public;
\pset format unaligned
\pset tuples_only on
\set SHOW_CONTEXT never

CREATE FUNCTION rows_of(shape text, params jsonb DEFAULT '{}') RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('%s %s', replace(c ->> 'table', 'tree_batches.', ''), c ->> 'row')
	FROM json_array_elements(tide.pull(jsonb_build_object('shapes', jsonb_build_object(shape, jsonb_build_array(params)))) -> 'changes') c
	ORDER BY format('%s %s', c ->> 'table', c ->> 'row') COLLATE "C" $$;

-- parent and child in one batch count once
CREATE TABLE p (id int PRIMARY KEY, n int);
CREATE TABLE c (id int PRIMARY KEY, p int, n int);
SELECT tide.create_shape('tree', '{"table": "p", "where": "n = 1", "include": {"c": {"table": "c", "on": "c.p = p.id"}}}');
SELECT tide.ingest() IS NOT NULL;
BEGIN;
INSERT INTO p VALUES (1, 1);
INSERT INTO c VALUES (1, 1, 0);
COMMIT;
SELECT tide.ingest() IS NOT NULL;
SELECT rows_of('tree');
UPDATE p SET n = 2;
SELECT tide.ingest() IS NOT NULL;
SELECT rows_of('tree');

-- a limit counts the rows of one key
SELECT tide.replace_shape('tree', '{"table": "p", "include": {"c": {"table": "c", "on": "c.p = p.id", "where": "c.n = params.n",
	"order_by": "c.id", "limit": 1}}}');
INSERT INTO c VALUES (2, 1, 1), (3, 1, 1);
SELECT tide.ingest() IS NOT NULL;
SELECT rows_of('tree', '{"n": 1}');
INSERT INTO c VALUES (-1, 1, 0), (-2, 1, 1);
SELECT tide.ingest() IS NOT NULL;
SELECT rows_of('tree', '{"n": 1}');
SELECT rows_of('tree', '{"n": 0}');
SELECT tide.create_shape('elements', '{"table": "p", "where": "params.n = ANY (ARRAY[id, n])", "order_by": "id", "limit": 1}');

-- both rows that a subquery found are gone
CREATE TABLE l (id int PRIMARY KEY, p int, other int);
SELECT tide.replace_shape('tree', '{"table": "p", "where": "EXISTS (SELECT FROM l a JOIN l b ON a.other = b.other WHERE a.p = p.id AND b.id > a.id)"}');
INSERT INTO l VALUES (1, 1, 7), (2, 2, 7);
SELECT tide.ingest() IS NOT NULL;
SELECT rows_of('tree');
DELETE FROM l;
SELECT tide.ingest() IS NOT NULL;
SELECT rows_of('tree');

-- a column added before the copy
CREATE TABLE q (id int PRIMARY KEY, p int);
INSERT INTO q VALUES (1, 1);
SELECT tide.replace_shape('tree', '{"table": "p", "columns": [], "include": {"q": {"table": "q", "on": "q.p = p.id"}}}');
ALTER TABLE q ADD COLUMN x int;
SELECT tide.ingest() IS NOT NULL;
SELECT rows_of('tree');
SELECT * FROM tide_internal.verify_all();

-- the type of a key is gone
CREATE TYPE mood AS ENUM ('low', 'high');
CREATE TABLE m (id int PRIMARY KEY, mood mood);
SELECT tide.create_shape('moods', '{"table": "m", "where": "mood = params.mood"}');
SELECT tide.ingest() IS NOT NULL;
DROP TABLE m;
DROP TYPE mood;
SELECT tide.ingest() IS NOT NULL;
SELECT name, state, error FROM tide.shapes ORDER BY name COLLATE "C";

-- one table is compared when the next has been altered as well, which is not read yet
DELETE FROM c; DELETE FROM p;
INSERT INTO p VALUES (1, 1);
INSERT INTO c VALUES (1, 1, 1);
SELECT tide.replace_shape('tree', '{"table": "p", "include": {"c": {"table": "c", "on": "c.p = p.id"}}}');
SELECT tide.ingest() IS NOT NULL;
ALTER TABLE c ADD COLUMN extra int DEFAULT 1;
UPDATE c SET n = 2;
ALTER TABLE p ADD COLUMN extra int DEFAULT 2;
UPDATE p SET n = 2;
SELECT tide.ingest(1) IS NOT NULL;
SELECT tide.ingest() IS NOT NULL;
SELECT state, error FROM tide.shapes ORDER BY state DESC;
SELECT rows_of('tree');
SELECT count(*) FROM tide.verify('tree');

SELECT tide.drop_shape(name) FROM tide.shapes ORDER BY name COLLATE "C";
SELECT tide.ingest() IS NOT NULL;
SET client_min_messages = warning;
DROP SCHEMA tree_batches CASCADE;
