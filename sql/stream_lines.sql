-- The output plugin: every type of line, under every replica identity.
SET client_min_messages = warning;
SET synchronous_commit = on;
CREATE SCHEMA stream;
SET search_path = stream, public;
SELECT 1 AS created FROM pg_create_logical_replication_slot('tide_stream_lines', 'pg_tide');

-- lines since the last call, long values cut; further options as pairs
CREATE FUNCTION lines(VARIADIC options text[] DEFAULT '{}') RETURNS SETOF text LANGUAGE sql AS $$
	SELECT regexp_replace(data, '(.)\1{100,}', '\1...', 'g')
	FROM pg_logical_slot_get_changes('tide_stream_lines', NULL, NULL,
		VARIADIC ARRAY['include-lsn', 'false', 'include-xid', 'false'] || options) $$;

CREATE TABLE plain (id int PRIMARY KEY, title text, price numeric, body text);
ALTER TABLE plain ALTER body SET STORAGE external;
CREATE TABLE whole (LIKE plain INCLUDING ALL);
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE keyless (a int, b text);
CREATE TABLE keyless_whole (a int, b text);
ALTER TABLE keyless_whole REPLICA IDENTITY FULL;
CREATE TABLE "Odd ""table""" (b text NOT NULL, "a b" int NOT NULL, c int, PRIMARY KEY (b, "a b"));
CREATE TABLE by_index (id int PRIMARY KEY, code text NOT NULL UNIQUE);
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_code_key;
SELECT * FROM lines();

-- insert, update, delete; a transaction of several; one that does nothing
INSERT INTO plain VALUES (1, 'one', 1.50, NULL), (2, 'two', NULL, 'b');
UPDATE plain SET title = 'uno' WHERE id = 1;
DELETE FROM plain WHERE id = 2;
BEGIN;
INSERT INTO plain VALUES (3, E'line\nbreak "and" \\', 'NaN', '');
UPDATE plain SET price = price + 1;
DELETE FROM plain WHERE id = 3;
COMMIT;
BEGIN;
INSERT INTO plain VALUES (4);
ROLLBACK;
BEGIN;
INSERT INTO plain VALUES (5);
SAVEPOINT a;
INSERT INTO plain VALUES (6);
ROLLBACK TO a;
INSERT INTO plain VALUES (7);
COMMIT;
SELECT * FROM lines();

-- keys that change, of all kinds
UPDATE plain SET id = 50 WHERE id = 5;
INSERT INTO "Odd ""table""" VALUES ('x', 1, 1);
UPDATE "Odd ""table""" SET "a b" = 2;
UPDATE "Odd ""table""" SET c = 2;
DELETE FROM "Odd ""table""";
INSERT INTO by_index VALUES (1, 'one');
UPDATE by_index SET id = 2;
UPDATE by_index SET code = 'two';
DELETE FROM by_index;
SELECT * FROM lines();

-- tables without a key: deletes and updates can only be told of under FULL
INSERT INTO keyless VALUES (1, 'x');
UPDATE keyless SET b = 'y';
DELETE FROM keyless;
INSERT INTO keyless_whole VALUES (1, 'x');
UPDATE keyless_whole SET b = 'y';
UPDATE keyless_whole SET b = 'y';
DELETE FROM keyless_whole;
SELECT * FROM lines();

-- unchanged TOAST: listed, and filled in under FULL
INSERT INTO plain VALUES (8, 'toast', 1, repeat('t', 9000));
UPDATE plain SET price = 2 WHERE id = 8;
UPDATE plain SET body = repeat('u', 9000) WHERE id = 8;
UPDATE plain SET id = 80 WHERE id = 8;
DELETE FROM plain WHERE id = 80;
INSERT INTO whole VALUES (8, 'toast', 1, repeat('t', 9000));
UPDATE whole SET price = 2 WHERE id = 8;
UPDATE whole SET id = 80 WHERE id = 8;
DELETE FROM whole WHERE id = 80;
SELECT * FROM lines();

-- TRUNCATE of several tables, and its flags
TRUNCATE plain, whole;
TRUNCATE whole RESTART IDENTITY CASCADE;
SELECT * FROM lines();

-- messages: in transactions, outside, binary, with prefixes
SELECT count(pg_logical_emit_message(true, 'mine', 'in a "transaction"')) FROM generate_series(1, 2);
BEGIN;
SELECT 1 AS sent FROM pg_logical_emit_message(false, 'at once', 'even if rolled back');
ROLLBACK;
SELECT 1 AS sent FROM pg_logical_emit_message(false, 'bytes', '\x00ff'::bytea);
SELECT 1 AS sent FROM pg_logical_emit_message(true, 'tide.own', 'not shown unless asked for');
SELECT data FROM pg_logical_slot_peek_changes('tide_stream_lines', NULL, NULL, 'include-lsn', 'off', 'include-xid', 'off');
SELECT data FROM pg_logical_slot_peek_changes('tide_stream_lines', NULL, NULL, 'include-lsn', 'off', 'include-xid', 'off', 'messages', 'bytes, tide.own');
SELECT * FROM lines('messages', 'false');

-- DDL between changes: rows are written as of their time
INSERT INTO plain VALUES (1, 'before', 1, 'b');
ALTER TABLE plain DROP body, ADD extra int DEFAULT 7;
INSERT INTO plain VALUES (2, 'after', 2);
UPDATE plain SET title = 'new default is there' WHERE id = 1;
ALTER TABLE plain RENAME title TO name;
ALTER TABLE plain RENAME TO renamed;
UPDATE renamed SET name = 'renamed' WHERE id = 2;
ALTER TABLE renamed REPLICA IDENTITY NOTHING;
DELETE FROM renamed WHERE id = 2;
BEGIN;
ALTER TABLE renamed REPLICA IDENTITY DEFAULT;
UPDATE renamed SET id = 10 WHERE id = 1;
ALTER TABLE renamed ALTER extra TYPE text USING 'x' || extra;
INSERT INTO renamed VALUES (11, 'rewritten', 1, 'y');
COMMIT;
SELECT * FROM lines();

-- partitions come by their own names; generated columns are there
CREATE TABLE parts (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED) PARTITION BY RANGE (id);
CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (10) TO (20);
INSERT INTO parts VALUES (1);
UPDATE parts SET id = 11;
SELECT * FROM lines();

-- partitions by their root: its name, its order of columns, whatever is dropped where
CREATE TABLE roots (id int, gone int, twice int GENERATED ALWAYS AS (id * 2) STORED, t text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
ALTER TABLE roots DROP gone;
CREATE TABLE leaves_low (t text, id int NOT NULL, junk int, twice int GENERATED ALWAYS AS (id * 2) STORED);
ALTER TABLE leaves_low DROP junk, ALTER t SET STORAGE external;
ALTER TABLE roots ATTACH PARTITION leaves_low FOR VALUES FROM (0) TO (10);
CREATE TABLE branches PARTITION OF roots FOR VALUES FROM (10) TO (30) PARTITION BY RANGE (id);
CREATE TABLE leaves_mid PARTITION OF branches FOR VALUES FROM (10) TO (20);
CREATE TABLE leaves_high PARTITION OF branches FOR VALUES FROM (20) TO (30);
INSERT INTO roots VALUES (1, DEFAULT, repeat('t', 9000)), (11, DEFAULT, 'b'), (21, DEFAULT, 'c');
UPDATE roots SET id = id + 1;
UPDATE roots SET id = 13 WHERE id = 22;
ALTER TABLE roots RENAME TO trees;
ALTER TABLE trees RENAME t TO leaf;
UPDATE trees SET leaf = 'renamed' WHERE id = 13;
ALTER TABLE leaves_low REPLICA IDENTITY FULL;
UPDATE trees SET id = 3 WHERE id < 10;
TRUNCATE trees;
TRUNCATE branches, renamed, leaves_low;
ALTER TABLE trees DETACH PARTITION leaves_low;
INSERT INTO leaves_low VALUES ('on its own', 5);
CREATE TEMP TABLE asked (n int, options text[]);
INSERT INTO asked VALUES (1, '{}'), (2, '{partitions,root,include-types,on}'), (3, '{partitions,root,tables,stream.roots}'), (4, '{tables,stream.leaves_*}');
SELECT n, regexp_replace(data, '(.)\1{100,}', '\1...', 'g') AS line
	FROM asked, LATERAL pg_logical_slot_peek_changes('tide_stream_lines', NULL, NULL,
		VARIADIC '{include-lsn,false,include-xid,false,actions,"insert,update,delete"}' || options) WITH ORDINALITY
	WHERE data NOT SIMILAR TO '%"(begin|commit)"%' ORDER BY n, ordinality;
SELECT n, data AS line
	FROM asked, LATERAL pg_logical_slot_peek_changes('tide_stream_lines', NULL, NULL,
		VARIADIC '{include-lsn,false,include-xid,false,actions,truncate}' || options) WITH ORDINALITY
	WHERE n <= 2 AND data NOT SIMILAR TO '%"(begin|commit)"%' ORDER BY n, ordinality;
SELECT count(*) > 0 AS any FROM lines();

-- DDL, as pg_tide's event triggers tell of it; what others write under that prefix stays a message
SELECT 1 AS sent FROM pg_logical_emit_message(false, 'tide.ddl', '{"not": "transactional"}');
SELECT count(pg_logical_emit_message(true, 'tide.ddl', content)) FROM unnest(ARRAY[
	'{"command": "ALTER TABLE", "object_type": "table", "identity": "public.issues"}',
	E'{"a":\n[{"type": "nested"}, "b\\n}"]}', '{}', E' {"last": "}"}\n',
	'{"type": "insert", "table": "forged"}', '{"ty\u0070e": "insert"}', '{"xid": 1}',
	'["insert"]', '"insert"', '', '{', '{"a": 1}, {"b": 2}', '{"a": "\u0000"}', '{"a": 1e999999}',
	repeat('{"a":', 20000) || '1' || repeat('}', 20000)]) content;
SELECT 1 AS sent FROM pg_logical_emit_message(true, 'tide.ddl', '\xff'::bytea);
SELECT data FROM pg_logical_slot_peek_changes('tide_stream_lines', NULL, NULL, 'include-lsn', 'off', 'include-xid', 'off', 'ddl', 'true');
SELECT regexp_replace(data, '(\{\\"a\\":){100,}1\}+', '...') AS line
	FROM pg_logical_slot_peek_changes('tide_stream_lines', NULL, NULL, 'include-lsn', 'off', 'include-xid', 'off', 'ddl', 'true', 'messages', 'tide.ddl')
	WHERE data NOT LIKE '{"type":"ddl"%';
SELECT * FROM lines();

-- a temporary or unlogged table says nothing; so do pg_tide's own
CREATE TEMP TABLE hidden (a int);
CREATE UNLOGGED TABLE unlogged (a int);
INSERT INTO hidden VALUES (1);
INSERT INTO unlogged VALUES (1);
SELECT * FROM lines();

SELECT pg_drop_replication_slot('tide_stream_lines');
DROP SCHEMA stream CASCADE;
