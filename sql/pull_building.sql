-- Pulls of a shape that waits to be built over a table just altered: clients keep what they have.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_tide;
CREATE SCHEMA pull_building;
SET search_path = pull_building, public;
RESET client_min_messages;
\pset format unaligned
CREATE TABLE members (org int, usr int, PRIMARY KEY (org, usr));
CREATE TABLE items (id int PRIMARY KEY, owner int);
INSERT INTO members VALUES (1, 1), (1, 2), (2, 3);
INSERT INTO items SELECT i, i % 4 FROM generate_series(1, 8) i;
SELECT tide.create_shape('mine', '{"table": "items",
	"where": "owner IN (SELECT usr FROM members WHERE org = claims.org)"}');
SELECT tide.ingest() IS NOT NULL AS done;
CREATE FUNCTION pull(cookie jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT tide.pull(jsonb_build_object('claims', '{"org": 1}'::jsonb, 'shapes', '{"mine": [{}]}'::jsonb,
		'cookie', cookie))::jsonb $$;
CREATE TEMP TABLE answers (n serial, answer jsonb);
INSERT INTO answers (answer) VALUES (pull(NULL));

-- the lookup reads a column that the shadow table does not have yet
ALTER TABLE members ADD COLUMN active boolean NOT NULL DEFAULT true;
SELECT tide.replace_shape('mine', '{"table": "items",
	"where": "owner IN (SELECT usr FROM members WHERE org = claims.org AND active)"}');
INSERT INTO answers (answer) SELECT pull(answer -> 'cookie') FROM answers WHERE n = 1;
SELECT n, answer -> 'complete' AS complete, jsonb_array_length(answer -> 'changes') AS changes,
	jsonb_array_length(answer -> 'drop') AS dropped, answer #> '{cookie,at}' <> '[]' AS keeps
	FROM answers ORDER BY n;
-- a cookie of nothing gets nothing
SELECT pull(NULL) - '{checkpoint,cookie}'::text[];

-- built: what is new comes, what was kept goes on or is dropped
SELECT tide.ingest() IS NOT NULL AS done;
UPDATE members SET active = false WHERE usr = 2;
SELECT tide.ingest() IS NOT NULL AS done;
SELECT c -> 'key' AS key, c -> 'row' AS row FROM answers,
	jsonb_array_elements(pull(answer -> 'cookie') -> 'changes') c WHERE n = 2 ORDER BY 1;
SELECT * FROM tide.verify('mine', '{}', '{"org": 1}');

SELECT tide.reset();
SELECT tide.drop_shape('mine');
SET client_min_messages = warning;
DROP SCHEMA pull_building CASCADE;
