-- tide.clock: now() of shapes may be set to and fro, and the checkpoint's own time does not follow.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_tide;
RESET client_min_messages;
CREATE SCHEMA tree_clock;
SET search_path = tree_clock, public;
\pset format unaligned
\pset tuples_only on
\set SHOW_CONTEXT never

-- only a point in time
SET tide.clock = 'soon';
SET tide.clock = '2030-02-30 12:00:00+00';
SET tide.clock = 'infinity';
SET tide.clock = '12:00';

CREATE TABLE meetings (id int PRIMARY KEY, until timestamptz);
INSERT INTO meetings VALUES (1, '2001-01-01 12:00+00'), (2, '2090-01-01 12:00+00');
SELECT tide.create_shape('coming', '{"table": "meetings", "where": "until > now()"}');
CREATE FUNCTION ids() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(c #>> '{row,id}', ' ' ORDER BY c #>> '{row,id}')
	FROM json_array_elements(tide.pull('{"shapes": {"coming": [{}]}}') -> 'changes') c $$;
SELECT tide.ingest() IS NOT NULL;
SELECT ids();
SET tide.clock = '2000-01-01 12:00:00+00';
SELECT tide.ingest() IS NOT NULL;
SELECT ids();
SELECT count(*) FROM tide.verify('coming');
SET tide.clock = '2099-01-01 12:00:00+00';
SELECT tide.ingest() IS NOT NULL;
SELECT ids() IS NULL;
SELECT (tide.pull('{"shapes": {}}') #>> '{checkpoint,at}')::timestamptz < '2090-01-01' AS "time of the checkpoint";
RESET tide.clock;
SELECT tide.ingest() IS NOT NULL;
SELECT ids();
SELECT count(*) FROM tide.verify('coming');

SELECT tide.drop_shape('coming');
SELECT tide.ingest() IS NOT NULL;
SET client_min_messages = warning;
DROP SCHEMA tree_clock CASCADE;
