-- What a shape can be made of, by which key its rows are told apart, and what is refused.
CREATE SCHEMA kinds;
SET search_path = kinds;
-- key of the source a shape on the table gets, or why it is refused
CREATE FUNCTION try(name text, columns text[] DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text; message text; detail text; hint text;
BEGIN
	PERFORM tide.create_shape('s', jsonb_strip_nulls(jsonb_build_object('table', name, 'columns', to_jsonb(columns))));
	result := substring(tide.explain_shape('s') FROM 'columns: [^\n]*') || '; key: ' || (
		SELECT string_agg(coalesce((SELECT attname::text FROM pg_attribute a WHERE a.attrelid = s.relid AND a.attnum = k), k::text), ', ' ORDER BY n)
		  FROM tide_internal.sources s, unnest(s.key_attnums) WITH ORDINALITY u (k, n) WHERE s.relid = name::regclass);
	PERFORM tide.drop_shape('s');
	DELETE FROM tide_internal.sources WHERE relid = name::regclass;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || concat_ws(' ', ': ' || message || '.', nullif(detail, ''), nullif(hint, ''));
END $$;
\pset tuples_only on
\pset format unaligned

-- not tables, or not in the WAL
CREATE TABLE plain (id int PRIMARY KEY);
CREATE VIEW a_view AS SELECT * FROM plain;
CREATE MATERIALIZED VIEW a_matview AS SELECT * FROM plain;
CREATE SEQUENCE a_sequence;
CREATE TYPE a_type AS (id int);
CREATE TEMP TABLE a_temp (id int PRIMARY KEY);
CREATE UNLOGGED TABLE an_unlogged (id int PRIMARY KEY);
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
CREATE FOREIGN TABLE a_foreign (id int) SERVER nowhere;
SELECT try('plain');
SELECT try('a_view');
SELECT try('a_matview');
SELECT try('a_sequence');
SELECT try('a_type');
SELECT try('plain_pkey');
SELECT try('a_temp');
SELECT try('an_unlogged');
SELECT try('a_foreign');
SELECT try('pg_catalog.pg_class');
SELECT try('information_schema.tables');
SELECT try('pg_catalog.pg_largeobject');
SELECT try('tide_internal.shapes');
SELECT try('tide.status');

-- keys
CREATE TABLE no_key (id int UNIQUE NOT NULL, v text);
CREATE TABLE late_key (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE odd_key (id bit(8) PRIMARY KEY);
CREATE TABLE wide_key (a int, b text, "C c" uuid, d int, PRIMARY KEY ("C c", a) INCLUDE (d));
SELECT try('no_key');
SELECT try('late_key');
SELECT try('odd_key');
SELECT try('wide_key');
SELECT try('wide_key', '{b}');

-- replica identities
CREATE TABLE ident (id int PRIMARY KEY, other int NOT NULL, "Third" text NOT NULL, v text);
CREATE UNIQUE INDEX ident_other ON ident ("Third", other) INCLUDE (v);
CREATE UNIQUE INDEX ident_wider ON ident (other, id);
CREATE UNIQUE INDEX ident_same ON ident (id);
ALTER TABLE ident REPLICA IDENTITY FULL;
SELECT try('ident');
ALTER TABLE ident REPLICA IDENTITY USING INDEX ident_same;
SELECT try('ident');
ALTER TABLE ident REPLICA IDENTITY USING INDEX ident_wider;
SELECT try('ident');
ALTER TABLE ident REPLICA IDENTITY USING INDEX ident_other;
SELECT try('ident', '{v}');
DROP INDEX ident_other;
SELECT try('ident');
ALTER TABLE ident REPLICA IDENTITY NOTHING;
SELECT try('ident');
ALTER TABLE no_key REPLICA IDENTITY USING INDEX no_key_id_key;
SELECT try('no_key');
ALTER TABLE no_key REPLICA IDENTITY FULL;
SELECT try('no_key');
SELECT try('no_key', '{v}');
ALTER TABLE no_key REPLICA IDENTITY NOTHING;
SELECT try('no_key');
ALTER TABLE late_key REPLICA IDENTITY FULL;
SELECT try('late_key');
CREATE TABLE taken_name (_copy int, v int);
ALTER TABLE taken_name REPLICA IDENTITY FULL;
SELECT try('taken_name');

-- partitions
CREATE TABLE parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
SELECT try('parted');
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id);
CREATE TABLE parted_2_1 PARTITION OF parted_2 DEFAULT;
SELECT try('parted');
SELECT try('parted_1');
SELECT try('parted_2');
SELECT try('parted_2_1');
ALTER TABLE parted_2_1 REPLICA IDENTITY NOTHING;
SELECT try('parted');
ALTER TABLE parted_2_1 REPLICA IDENTITY FULL;
SELECT try('parted');
CREATE UNLOGGED TABLE parted_3 PARTITION OF parted FOR VALUES FROM (20) TO (30);
SELECT try('parted');
DROP TABLE parted_3;
CREATE TABLE parted_free (id int, v text) PARTITION BY RANGE (id);
CREATE TABLE parted_free_1 PARTITION OF parted_free FOR VALUES FROM (0) TO (10);
SELECT try('parted_free');
ALTER TABLE parted_free REPLICA IDENTITY FULL;
SELECT try('parted_free');
ALTER TABLE parted_free_1 REPLICA IDENTITY FULL;
SELECT try('parted_free');
CREATE FOREIGN TABLE parted_free_2 PARTITION OF parted_free FOR VALUES FROM (10) TO (20) SERVER nowhere;
SELECT try('parted_free');

-- inheritance
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);
SELECT try('parent');
SELECT try('child');
DROP TABLE child;
SELECT try('parent');

-- columns
CREATE TABLE columns (gone int, id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED, "Quoted ""Name" int DEFAULT 5);
ALTER TABLE columns DROP COLUMN gone;
SELECT try('columns');
SELECT try('columns', '{twice,"Quoted \"Name"}');
SELECT try('columns', '{gone}');

SELECT count(*) FROM tide.shapes WHERE name = 's';
\set VERBOSITY terse
SET client_min_messages = warning;
DELETE FROM tide_internal.shapes WHERE state = 'dropped' AND name = 's';
DROP FOREIGN DATA WRAPPER nothing CASCADE;
DROP SCHEMA kinds CASCADE;
