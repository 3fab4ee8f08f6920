-- DDL told in the WAL by pg_tide's event triggers.
SET client_min_messages = warning;
SET synchronous_commit = on;
CREATE SCHEMA ddl;
SET search_path = ddl, public;
SELECT 1 AS created FROM pg_create_logical_replication_slot('tide_ddl_messages', 'pg_tide');

-- messages since the last call; OIDs as names of tables, if they still are
CREATE FUNCTION messages() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT regexp_replace(content, '"relid":\d+', '"relid":' || coalesce(relname, 'gone'))
	FROM (SELECT data::json ->> 'content' AS content
		FROM pg_logical_slot_get_changes('tide_ddl_messages', NULL, NULL, 'tables', 'no.table', 'messages', 'tide.ddl')
		WHERE data::json ->> 'type' = 'message') m
	LEFT JOIN pg_class c ON c.oid = (content::json ->> 'relid')::oid $$;
SELECT * FROM messages();

-- a table and what comes with it
CREATE TABLE items (id serial PRIMARY KEY, title varchar(20) NOT NULL, "Odd ""name""" numeric(10,2)[]);
SELECT * FROM messages();

-- columns come, change and go
ALTER TABLE items ADD COLUMN note text DEFAULT 'secret', ADD CHECK (note <> 'secret too');
ALTER TABLE items RENAME COLUMN note TO remark;
ALTER TABLE items ALTER COLUMN title TYPE text, ALTER COLUMN id TYPE bigint;
ALTER TABLE items DROP COLUMN remark;
ALTER TABLE items REPLICA IDENTITY FULL;
CREATE INDEX ON items (title);
COMMENT ON COLUMN items.title IS 'said';
SELECT * FROM messages();

-- names, schemas, types, things that are no tables
CREATE SCHEMA ddl_other;
ALTER TABLE items SET SCHEMA ddl_other;
ALTER TABLE ddl_other.items RENAME TO "Things";
CREATE TYPE mood AS ENUM ('calm');
ALTER TYPE mood ADD VALUE 'merry';
CREATE VIEW seen AS SELECT * FROM ddl_other."Things";
CREATE FUNCTION said() RETURNS text LANGUAGE sql AS $$SELECT 'password'$$;
CREATE TABLE copied AS SELECT 1 AS one, 'calm'::mood AS how FROM seen;
SELECT * FROM messages();

-- partitions
CREATE TABLE parts (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE parts_1 (id int, at date);
ALTER TABLE parts ATTACH PARTITION parts_1 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
ALTER TABLE parts DETACH PARTITION parts_1;
CREATE TABLE parts_2 PARTITION OF parts DEFAULT;
DROP TABLE parts;
SELECT * FROM messages();

-- what goes, with what depends on it
DROP TABLE ddl_other."Things" CASCADE;
DROP SCHEMA ddl_other;
SELECT * FROM messages();

-- a message belongs to its transaction
BEGIN;
CREATE TABLE never (id int);
ROLLBACK;
BEGIN;
CREATE TABLE kept (id int);
SAVEPOINT s;
ALTER TABLE kept ADD COLUMN lost int;
ROLLBACK TO s;
ALTER TABLE kept ADD COLUMN found int;
COMMIT;
SELECT * FROM messages();

-- nothing of what nobody else can see, is no object, or is pg_tide's own
CREATE TEMP TABLE mine (id int PRIMARY KEY, t text);
ALTER TABLE mine ADD COLUMN b int;
DROP TABLE mine;
GRANT SELECT ON kept TO PUBLIC;
CREATE TABLE IF NOT EXISTS kept (id int);
DROP TABLE IF EXISTS nothing_there;
SELECT * FROM messages();

-- anybody's DDL is told of, and nobody may call the functions
CREATE ROLE tide_ddl_user;
GRANT ALL ON SCHEMA ddl TO tide_ddl_user;
SET ROLE tide_ddl_user;
CREATE FUNCTION ddl.pg_event_trigger_ddl_commands() RETURNS SETOF int LANGUAGE plpgsql AS $$BEGIN RAISE 'called'; END$$;
SET search_path = ddl, pg_catalog;
CREATE TABLE theirs (id int);
SELECT tide_internal.note_ddl();
RESET ROLE;
SET search_path = ddl, public;
SELECT tide_internal.note_ddl();
SELECT * FROM messages();

-- one message for each object, of the transaction
DROP TABLE theirs;
SELECT data::jsonb - '{lsn,xid,end_lsn,content}'::text[] AS line
FROM pg_logical_slot_get_changes('tide_ddl_messages', NULL, NULL, 'tables', 'no.table', 'messages', 'tide.ddl');

SELECT pg_drop_replication_slot('tide_ddl_messages');
DROP SCHEMA ddl CASCADE;
DROP ROLE tide_ddl_user;
