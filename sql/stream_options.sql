-- The output plugin's options.
SET client_min_messages = warning;
CREATE SCHEMA stream;
CREATE SCHEMA "Other";
SET search_path = stream, public;
CREATE TYPE mood AS ENUM ('glad');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE issues (id bigint PRIMARY KEY, title varchar(20), price numeric(10,2), ids bigint[], mood mood, n positive, f float8);
CREATE TABLE users (id int PRIMARY KEY, name text);
ALTER TABLE users REPLICA IDENTITY FULL;
CREATE TABLE "Other"."Users" (id int PRIMARY KEY);
SELECT 1 AS created FROM pg_create_logical_replication_slot('tide_stream_options', 'pg_tide');
BEGIN;
INSERT INTO issues VALUES (9007199254740993, 'one', 12.30, '{9007199254740993,NULL}', 'glad', 3, 0.1);
UPDATE issues SET id = 2;
INSERT INTO users VALUES (1, 'ann'), (2, 'bob');
UPDATE users SET name = 'anna' WHERE id = 1;
DELETE FROM users WHERE id = 2;
DELETE FROM issues;
INSERT INTO "Other"."Users" VALUES (3);
TRUNCATE users;
SELECT 1 AS sent FROM pg_logical_emit_message(true, 'a', 'message');
COMMIT;

CREATE FUNCTION lines(VARIADIC options text[]) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT regexp_replace(regexp_replace(regexp_replace(data,
		'lsn":"[0-9A-F]+/[0-9A-F]+"', 'lsn":"L"', 'g'), 'xid":\d+', 'xid":X', 'g'),
		'"at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00"', '"at":T', 'g')
	FROM pg_logical_slot_peek_changes('tide_stream_options', NULL, NULL, VARIADIC options) $$;
CREATE FUNCTION bare(VARIADIC options text[]) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT lines(VARIADIC ARRAY['include-lsn', 'off', 'include-xid', 'off'] || options) $$;

-- as always; with all there is
SELECT * FROM lines('include-lsn', 'true', 'include-xid', 'true');
SELECT * FROM lines('include-timestamp', 'true', 'include-types', 'true', 'include-old', 'true', 'numbers', 'string');
SELECT * FROM bare('include-key', 'false', 'include-old', 'true', 'messages', 'off', 'actions', 'update,delete');
-- whatever the session's settings
SET TimeZone = 'Asia/Kolkata';
SET extra_float_digits = -3;
SELECT * FROM lines('include-timestamp', 'true', 'tables', 'stream.issues', 'actions', 'insert');
SHOW TimeZone;
RESET TimeZone;
RESET extra_float_digits;

-- which tables
SELECT * FROM bare('tables', 'stream.users', 'messages', 'false');
SELECT * FROM bare('tables', 'STREAM.Issues,"Other".*', 'messages', 'false');
SELECT * FROM bare('tables', '*.*ser*', 'actions', 'insert', 'messages', 'false');
SELECT * FROM bare('tables', '*."U*s"', 'messages', 'false');
SELECT * FROM bare('tables', '*', 'actions', 'delete', 'messages', 'false');
SELECT * FROM bare('tables', 'nothing.*', 'messages', 'false');

-- one object per transaction
SELECT * FROM lines('format', 'transaction', 'include-timestamp', 'true');
SELECT jsonb_array_length(data::jsonb -> 'changes') AS changes FROM pg_logical_slot_peek_changes('tide_stream_options', NULL, NULL, 'format', 'transaction');
SELECT * FROM bare('format', 'transaction', 'actions', 'truncate', 'messages', 'off');

-- origins
SELECT pg_replication_origin_create('tide_elsewhere') > 0 AS created;
SELECT pg_replication_origin_session_setup('tide_elsewhere');
BEGIN;
INSERT INTO users VALUES (100, 'from elsewhere');
COMMIT;
SELECT pg_replication_origin_session_reset();
INSERT INTO users VALUES (101, 'from here');
SELECT * FROM bare('origin', 'any', 'tables', 'stream.users') OFFSET 8;
SELECT * FROM bare('origin', 'none', 'tables', 'stream.users') OFFSET 8;

-- what is refused
\set SHOW_CONTEXT never
SELECT * FROM bare('include-everything', 'true');
SELECT * FROM bare('include-key', 'perhaps');
SELECT * FROM bare('include-lsn', 'on');
SELECT * FROM bare('format', 'xml');
SELECT * FROM bare('numbers', 'JSON');
SELECT * FROM bare('origin', '');
SELECT * FROM bare('actions', 'insert,upsert');
SELECT * FROM bare('actions', '');
SELECT * FROM bare('messages', 'a,,b');
SELECT * FROM bare('tables', 'users');
SELECT * FROM bare('tables', '');
SELECT * FROM bare('tables', 'a.b.c');
SELECT * FROM bare('tables', '"a.b');
SELECT * FROM bare('params', '{"a": 1}');
SELECT * FROM bare('shapes', 'x', 'params', '[1]');
SELECT * FROM bare('partitions', 'branch');
SELECT * FROM lines('streaming', 'true', 'format', 'transaction');
SELECT * FROM lines('streaming', 'true', 'include-xid', 'false');
SELECT * FROM bare('two-phase', 'maybe');
\set SHOW_CONTEXT always
SELECT * FROM bare('shapes', 'x', 'params', '{"a"');
\set SHOW_CONTEXT never

SELECT pg_drop_replication_slot('tide_stream_options');
SELECT pg_replication_origin_drop('tide_elsewhere');
DROP SCHEMA stream CASCADE;
DROP SCHEMA "Other" CASCADE;
