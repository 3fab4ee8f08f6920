-- The output plugin: a value of every type, with its type; kinds of columns; odd keys.
SET client_min_messages = warning;
SET synchronous_commit = on;
-- none of these may show
SET TimeZone = 'Asia/Kolkata';
SET DateStyle = 'SQL, DMY';
SET IntervalStyle = 'sql_standard';
SET extra_float_digits = -3;
SET bytea_output = 'escape';
CREATE SCHEMA stream;
SET search_path = stream, public;
CREATE TYPE mood AS ENUM ('glad', 'so "so"', E'back\\slash');
CREATE TYPE pair AS (a int, "b c" text);
CREATE TYPE nested AS (p pair, list pair[], at timestamptz);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN positives AS positive[];
CREATE DOMAIN dpair AS pair;
CREATE TYPE floatrange AS RANGE (subtype = float8);
SELECT 1 AS created FROM pg_create_logical_replication_slot('tide_stream_types', 'pg_tide');

-- one line for each value: what is in the row, and its type
CREATE FUNCTION vals(VARIADIC options text[] DEFAULT '{}') RETURNS TABLE (value text) LANGUAGE sql AS $$
	SELECT regexp_replace(regexp_replace(data, '^.*"row":', ''), '(.)\1{100,}', '\1...', 'g')
	FROM pg_logical_slot_get_changes('tide_stream_types', NULL, NULL, VARIADIC ARRAY['include-lsn', 'false', 'include-xid', 'false',
		'include-key', 'false', 'include-types', 'true'] || options)
	WHERE data ~ '"row"' $$;

-- a table of one column for each value
CREATE FUNCTION put(type text, VARIADIC vals text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE stream.one (v %s)', type);
	EXECUTE format('INSERT INTO stream.one SELECT CASE WHEN i = 0 THEN NULL ELSE (%L::text[])[i]::%s END FROM generate_series(0, %s) i',
		vals, type, array_length(vals, 1));
END $$;
\set one 'SELECT * FROM vals(); DROP TABLE one;'

SELECT put('boolean', 't', 'f') \gset
:one
SELECT put('smallint', '-32768', '32767') \gset
:one
SELECT put('integer', '-2147483648', '2147483647') \gset
:one
SELECT put('bigint', '-9223372036854775808', '9223372036854775807') \gset
:one
SELECT put('numeric', '0', '-0.10', '1.50', '123456789012345678901234567890.12345678901234567890', '1e40', '1e-20', 'NaN', 'Infinity', '-Infinity') \gset
:one
SELECT put('numeric(10,2)', '1', '-99999999.99', 'NaN') \gset
:one
SELECT put('real', '0.1', '3.4028235e38', '1e-45', '-0', 'NaN', '-Infinity') \gset
:one
SELECT put('double precision', '0.1', '1.7976931348623157e308', '5e-324', '-0', '1e21', '123456789', 'NaN', 'Infinity') \gset
:one
SELECT put('money', '1234.5', '-0.01') \gset
:one
SELECT put('oid', '0', '4294967295') \gset
:one
SELECT put('text', '', 'plain', E'"quoted" \\ /', E'\b\f\n\r\t\x01\x1f\x7f', E'é 日本 \U0001F600\u2028', repeat('x', 300)) \gset
:one
SELECT put('varchar(20)', 'ab ', E'\'') \gset
:one
SELECT put('character(4)', 'ab', E'"\n') \gset
:one
SELECT put('name', 'a name', '') \gset
:one
SELECT put('"char"', 'a', '"', E'\\310', '') \gset
:one
SELECT put('bytea', '', '\x00ff5c22', 'abc') \gset
:one
SELECT put('date', '2026-11-21', '0044-03-15 BC', '5874897-12-31', 'infinity', '-infinity') \gset
:one
SELECT put('time', '00:00', '24:00', '23:59:59.999999') \gset
:one
SELECT put('time(0) with time zone', '09:00+02', '00:00-12:30') \gset
:one
SELECT put('timestamp', '2026-11-21 09:00:00.123456', '0044-03-15 12:00 BC', '294276-12-31 23:59:59.999999', 'infinity', '-infinity') \gset
:one
SELECT put('timestamptz', '2026-11-21 09:00+05:30', '2026-11-21 09:00:00.5+00', '0001-01-01 00:00+00 BC', 'infinity', '-infinity') \gset
:one
SELECT put('interval', '1 year 2 mons -3 days 04:05:06.789', '0', '-178000000 years', '-1 day 00:00:00.000001') \gset
:one
SELECT put('uuid', 'A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11') \gset
:one
SELECT put('json', E'{"b" :\n 1.0, "a": [ ], "b": "\\u0001\\n"}', ' [1e5] ', 'null', '"x"') \gset
:one
SELECT put('jsonb', '{"b": 1.0, "a": [], "b": "\u0001\n"}', '[1e5, null]', 'null', '"x"', '1.10') \gset
:one
SELECT put('xml', '<a b="c">&amp;</a>', E'<a>\n</a>') \gset
:one
SELECT put('jsonpath', '$.a[*] ? (@ > 1)') \gset
:one
SELECT put('bit(3)', '101') \gset
:one
SELECT put('bit varying', '', '1011') \gset
:one
SELECT put('inet', '::1', '192.168.1.1/24') \gset
:one
SELECT put('cidr', '10.0.0.0/8') \gset
:one
SELECT put('macaddr', '08:00:2b:01:02:03') \gset
:one
SELECT put('macaddr8', '08:00:2b:01:02:03:04:05') \gset
:one
SELECT put('point', '(1,2.5)', '(NaN,Infinity)') \gset
:one
SELECT put('line', '{1,2,3}') \gset
:one
SELECT put('lseg', '[(1,2),(3,4)]') \gset
:one
SELECT put('box', '(1,2),(3,4)') \gset
:one
SELECT put('path', '((1,2),(3,4))', '[(1,2)]') \gset
:one
SELECT put('polygon', '((1,2),(3,4))') \gset
:one
SELECT put('circle', '<(1,2),3>') \gset
:one
SELECT put('tsvector', 'a:1 ''b c'':2A') \gset
:one
SELECT put('tsquery', 'a & !b') \gset
:one
SELECT put('pg_lsn', '16/B3748') \gset
:one
SELECT put('xid8', '18446744073709551615') \gset
:one
SELECT put('regtype', 'integer') \gset
:one
SELECT put('int4range', '[1,5]', '(,)', 'empty') \gset
:one
SELECT put('numrange', '(,1.50]') \gset
:one
SELECT put('daterange', '[2026-01-01,infinity)') \gset
:one
SELECT put('tstzrange', '[2026-01-01 05:30+05:30,)') \gset
:one
SELECT put('floatrange', '[0.1,Infinity)') \gset
:one
SELECT put('int8multirange', '{}', '{[1,2),[5,9)}') \gset
:one
SELECT put('datemultirange', '{[2026-01-01,2026-02-01),(,2020-01-01)}') \gset
:one
SELECT put('mood', 'glad', 'so "so"', E'back\\slash') \gset
:one
SELECT put('positive', '1') \gset
:one
SELECT put('pair', '(1,"x""y")', '(,)') \gset
:one
SELECT put('dpair', '(1,)') \gset
:one
SELECT put('nested', '("(1,a)","{""(2,b)"",NULL}","2026-11-21 09:00+00")') \gset
:one

SELECT put('integer[]', '{}', '{1,NULL,3}', '{{1,2},{3,4}}', '[5:6]={1,2}', '{{{1},{2}},{{3},{NULL}}}') \gset
:one
SELECT put('text[]', '{a,NULL,"NULL","q\"","b\\"}') \gset
:one
SELECT put('numeric[]', '{1.50,NaN,1e30}') \gset
:one
SELECT put('double precision[]', '{0.1,NaN,-Infinity}') \gset
:one
SELECT put('boolean[]', '{t,f,NULL}') \gset
:one
SELECT put('timestamptz[]', '{"2026-11-21 09:00+05:30",infinity}') \gset
:one
SELECT put('jsonb[]', '{"{\"a\": [1, null]}","null",NULL}') \gset
:one
SELECT put('bytea[]', '{"\\x00ff"}') \gset
:one
SELECT put('mood[]', '{glad,"so \"so\""}') \gset
:one
SELECT put('pair[]', '{"(1,a)",NULL,"(,)"}') \gset
:one
SELECT put('positives', '{1,2}') \gset
:one
SELECT put('int4range[]', '{"[1,2)",empty}') \gset
:one

-- numbers as strings: those that doubles cannot hold, wherever they are
CREATE TABLE numbers (i int, b bigint, n numeric, nan numeric, f float8, a bigint[], na numeric[], p positive, j jsonb);
INSERT INTO numbers VALUES (1, 2, 3.10, 'NaN', 0.5, '{4,NULL}', '{5.0,NaN}', 6, '{"n": 7.10}');
SELECT * FROM vals('numbers', 'string');

-- columns of all kinds: dropped, with a default from before, generated, identity; none at all
CREATE TABLE kinds (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gone text, v int, twice int GENERATED ALWAYS AS (v * 2) STORED, "we""ird, name" int);
INSERT INTO kinds (v) VALUES (1);
ALTER TABLE kinds DROP gone, ADD late text DEFAULT 'late', ADD later numeric(4,1)[] DEFAULT '{1.5}';
UPDATE kinds SET v = 2;
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
SELECT * FROM vals();

-- rows of many columns, and names as long as can be
DO $$ BEGIN
	EXECUTE (SELECT format('CREATE TABLE wide (%s)', string_agg(format('%I int DEFAULT %s', repeat('n', 60) || i, i), ', ')) FROM generate_series(1, 300) i);
END $$;
INSERT INTO wide DEFAULT VALUES;
SELECT (SELECT sum(value::int) FROM json_each_text(data::json -> 'row')) AS sum
	FROM pg_logical_slot_get_changes('tide_stream_types', NULL, NULL) WHERE data ~ '"row"';

-- keys of all kinds of types, changed and not; equal values that look different
CREATE TABLE keys (n numeric, t text COLLATE "C", at timestamptz, m mood, b bytea, u uuid, PRIMARY KEY (n, t, at, m, b, u));
INSERT INTO keys VALUES (1.0, 'é"', '2026-11-21 09:00+05:30', 'glad', '\x00', '00000000-0000-0000-0000-000000000001');
UPDATE keys SET n = 1.00;
UPDATE keys SET m = 'so "so"', t = 'x';
DELETE FROM keys;
CREATE TABLE key_order (a int, b int, c int, PRIMARY KEY (c, a));
INSERT INTO key_order VALUES (1, 2, 3);
UPDATE key_order SET b = 5;
DELETE FROM key_order;
SELECT data FROM pg_logical_slot_get_changes('tide_stream_types', NULL, NULL, 'include-lsn', 'off', 'include-xid', 'off') WHERE data !~ '"(begin|commit)"';

-- a key that is TOASTed itself: the log has its old value though it is the same
CREATE TABLE long_keys (k text PRIMARY KEY, v int, filler text);
ALTER TABLE long_keys ALTER filler SET STORAGE PLAIN;
INSERT INTO long_keys SELECT string_agg(md5(i::text), '') || repeat('x', 6000), 1, repeat('f', 5000) FROM generate_series(1, 60) i;
SELECT pg_relation_size(reltoastrelid) > 0 AS toasted FROM pg_class WHERE oid = 'long_keys'::regclass;
UPDATE long_keys SET v = 2;
UPDATE long_keys SET k = 'short';
DELETE FROM long_keys;
SELECT regexp_replace(replace(data, repeat('f', 5000), 'f...'), '[0-9a-f]{200,}x+', 'k...', 'g') AS data
	FROM pg_logical_slot_get_changes('tide_stream_types', NULL, NULL, 'include-lsn', 'off', 'include-xid', 'off') WHERE data !~ '"(begin|commit)"';

-- every line with everything that can be shown; format transaction; TRUNCATE of partitions
CREATE TABLE parts (id int PRIMARY KEY, v mood) PARTITION BY LIST (id);
CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE "Part 2" PARTITION OF parts FOR VALUES IN (2) PARTITION BY LIST (id);
CREATE TABLE part_2a PARTITION OF "Part 2" FOR VALUES IN (2);
ALTER TABLE part_2a REPLICA IDENTITY FULL;
BEGIN;
INSERT INTO parts VALUES (1, 'glad');
UPDATE parts SET id = 2;
UPDATE parts SET v = NULL;
SELECT 1 AS sent FROM pg_logical_emit_message(true, 'a "prefix"', E'two\nlines');
SELECT 1 AS sent FROM pg_logical_emit_message(true, 'empty', '');
DELETE FROM parts;
TRUNCATE parts RESTART IDENTITY;
COMMIT;
CREATE FUNCTION shown(VARIADIC options text[]) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT regexp_replace(regexp_replace(regexp_replace(data,
		'lsn":"[0-9A-F]+/[0-9A-F]+"', 'lsn":"L"', 'g'), 'xid":\d+', 'xid":X', 'g'),
		'"at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00"', '"at":T', 'g')
	FROM pg_logical_slot_peek_changes('tide_stream_types', NULL, NULL, VARIADIC options) $$;
SELECT * FROM shown('include-types', 'on', 'include-old', 'on', 'include-timestamp', 'on');
SELECT * FROM shown('format', 'transaction', 'include-old', 'on');
-- with nothing that can be left out
SELECT * FROM shown('include-lsn', 'off', 'include-xid', 'off', 'include-key', 'off');
SELECT * FROM shown('include-lsn', 'off', 'include-xid', 'off', 'include-key', 'off', 'format', 'transaction');
-- not one line of a transaction of which nothing passes
SELECT * FROM shown('tables', 'stream.nothing', 'messages', 'off');

SELECT pg_drop_replication_slot('tide_stream_types');
DROP SCHEMA stream CASCADE;
