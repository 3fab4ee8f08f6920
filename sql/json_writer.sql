-- The JSON writer prints rows as to_jsonb() does: every built-in type, odd values.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_tide;
RESET client_min_messages;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET extra_float_digits = 1;
SET bytea_output = 'hex';
SET lc_monetary = 'C';
CREATE SCHEMA json_writer;
SET search_path = json_writer, public;

CREATE TYPE mood AS ENUM ('glad', 'so "so"', E'back\\slash');
CREATE TYPE pair AS (a int, "b c" text);
CREATE TYPE nested AS (p pair, list pair[], at timestamptz);
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE DOMAIN ints AS posint[];
CREATE DOMAIN pairs AS pair[];
CREATE DOMAIN dpair AS pair;
CREATE TYPE floatrange AS RANGE (subtype = float8);

-- both ways must agree; a difference shows both
CREATE FUNCTION differ(r record) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	ours json := tide_internal.row_json(r);
BEGIN
	IF ours::jsonb IS DISTINCT FROM to_jsonb(r) OR ours::text ~ E'[\n\r]' THEN
		RETURN format('%s <> %s', ours, to_jsonb(r));
	END IF;
	RETURN NULL;
END $$;

CREATE TABLE numbers (id int, b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, n2 numeric(12,4), m money, o oid);
INSERT INTO numbers VALUES
	(1, true, 0, 0, 0, 0, 0, 0, 0, 0, 0),
	(2, false, 32767, 2147483647, 9223372036854775807, 3.4028235e38, 1.7976931348623157e308, 1e400, 99999999.9999, 92233720368547758.07, 4294967295),
	(3, NULL, -32768, -2147483648, -9223372036854775808, 'NaN', 'NaN', 'NaN', 'NaN', -1, 1),
	(4, NULL, NULL, -1, 10, 'Infinity', '-Infinity', 'Infinity', 0.1, 1234.56, NULL),
	(5, true, 5, 99, 100, 1e-45, 5e-324, -1e-300, -0.0001, NULL, 7),
	(6, true, 6, 1000000, 123456789012345678, 0.1, 0.1, 123456789012345678901234567890.123456789, 1, 1, 7),
	(7, true, 7, -99, -100, '-0', '-0', '-Infinity', 12.5, 1, 7),
	(8, true, 7, 12345, 10000000000, 1e10, 1e21, 100000000000000000000, 12, 1, 7);
SELECT id, difference FROM numbers r_, differ(r_) difference WHERE difference IS NOT NULL ORDER BY id;

CREATE TABLE texts (id int, t text, v varchar(200), c char(8), n name, ch "char", x xml, m mood, js json, jb jsonb, bt bytea, bi bit(3), vb varbit, d posint);
INSERT INTO texts VALUES
	(1, '', '', '', '', '', '<a>1</a>', 'glad', '{}', '{}', '', '101', '', 1),
	(2, 'plain', 'a "quoted" one', 'x', 'name', 'a', '<a b="c">&amp;</a>', 'so "so"', '[1, 2.50, "x"]', '[1, 2.50, "x"]', '\x00ff', '000', '1011', 2),
	(3, E'back\\slash / slash', E'tab\tnew\nline\rreturn\bback\fform', E'a\nb', E'a"b\\c', '"', E'<a>\n</a>', E'back\\slash', E'{"a" :\n 1,\r\n "a": "two\\nlines"}', '"\u0001"', '\x22', NULL, NULL, NULL),
	(4, E'\x01\x02\x1f\x7f', E'\u2028\u2029\u0080', E'é', E'ü', E'\x01', NULL, NULL, 'null', 'null', NULL, NULL, NULL, NULL),
	(5, E'emoji \U0001F600 and \u00e9 and \U0010FFFF', repeat(E'\U0001F469', 50), NULL, NULL, NULL, NULL, NULL, '"\ud83d\ude00"', '"\ud83d\ude00"', NULL, NULL, NULL, NULL),
	(6, repeat('1234567"', 1000), NULL, NULL, NULL, NULL, NULL, NULL, E' \n [ \n ] \n', NULL, decode(repeat('00', 3000), 'hex'), NULL, NULL, NULL),
	(7, repeat(E'\x01\x1f', 5000), NULL, NULL, NULL, NULL, NULL, NULL, '{"a": {"b": [null, true, {"c": -1.5e10}]}}', '{"a": {"b": [null, true, {"c": -1.5e10}]}}', NULL, NULL, NULL, NULL);
SELECT id, difference FROM texts r_, differ(r_) difference WHERE difference IS NOT NULL ORDER BY id;

-- an escape at every place of a word, with every neighbour; all code points of one byte
CREATE TABLE escapes AS
	SELECT a, b, c, repeat('x', a) || c || repeat('y', b) || c || 'z' AS t
	FROM generate_series(0, 17) a, generate_series(0, 17) b,
		 unnest(ARRAY['"', E'\\', E'\n', E'\x1f', ' ', '!', '#', '[', ']', E'\x7f', 'é', E'\u2028']) c;
SELECT a, b, c, difference FROM escapes r_, differ(r_) difference WHERE difference IS NOT NULL ORDER BY a, b, c;
CREATE TABLE code_points AS SELECT i, chr(i) || repeat(chr(i), 9) AS t FROM generate_series(1, 1200) i;
SELECT i, difference FROM code_points r_, differ(r_) difference WHERE difference IS NOT NULL ORDER BY i;

CREATE TABLE times (id int, d date, t time, tz timetz, ts timestamp, tstz timestamptz, i interval, r tstzrange, dr daterange, mr datemultirange);
INSERT INTO times VALUES
	(1, '2026-11-21', '09:00', '09:00+02', '2026-11-21 09:00', '2026-11-21 09:00:00.123456+05:30', '1 year 2 mons -3 days 04:05:06.789', '[2026-01-01,2026-02-01)', '[2026-01-01,)', '{[2026-01-01,2026-01-02),[2026-03-01,2026-03-02)}'),
	(2, 'infinity', '24:00', '00:00-12', 'infinity', 'infinity', '-1 day', 'empty', 'empty', '{}'),
	(3, '-infinity', '00:00:00.000001', '23:59:59.999999+14', '-infinity', '-infinity', '0', '(,)', '(,)', '{(,)}'),
	(4, '0044-03-15 BC', NULL, NULL, '0044-03-15 12:00 BC', '0044-03-15 12:00+00 BC', '178000000 years', NULL, NULL, NULL),
	(5, '5874897-12-31', NULL, NULL, '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', NULL, NULL, NULL, NULL),
	(6, '0001-01-01', NULL, NULL, '2000-01-01 00:00:00.1', '1999-12-31 23:59:59.999999+00', NULL, NULL, NULL, NULL);
SELECT id, difference FROM times r_, differ(r_) difference WHERE difference IS NOT NULL ORDER BY id;
-- the writer itself always gives UTC
SET TimeZone = 'Asia/Kolkata';
SELECT tide_internal.row_json(r) FROM (SELECT timestamptz '2026-11-21 09:00+05:30' AS at) r;
SET TimeZone = 'UTC';

CREATE TABLE others (id int, u uuid, ip inet, net cidr, mac macaddr, mac8 macaddr8, p point, l line, ls lseg, bx box, pa path, po polygon, ci circle, tv tsvector, tq tsquery, jp jsonpath, lsn pg_lsn, rc regclass, rt regtype, xid8 xid8, ti tid, ir int4range, im int8multirange, fr floatrange, nr numrange, iv int2vector, ov oidvector);
INSERT INTO others VALUES
	(1, '00000000-0000-0000-0000-000000000000', '10.0.0.1', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '(1,2)', '{1,2,3}', '[(1,2),(3,4)]', '(1,2),(3,4)', '((1,2),(3,4))', '((1,2),(3,4))', '<(1,2),3>', 'a:1 ''b c'':2', 'a & !b', '$.a[*] ? (@ > 1)', '0/16B3748', 'pg_class', 'text', '123', '(0,1)', '[1,5)', '{[1,2),[5,9)}', '[1.5,NaN)', '(,1.50]', '1 2 3', '4 5'),
	(2, 'ffffffff-ffff-ffff-ffff-ffffffffffff', '::1/64', '::/0', NULL, NULL, '(NaN,Infinity)', NULL, NULL, NULL, '[(1,2)]', NULL, NULL, '', '', '"x"', '0/0', NULL, NULL, NULL, NULL, 'empty', '{}', NULL, NULL, '', '');
SELECT id, difference FROM others r_, differ(r_) difference WHERE difference IS NOT NULL ORDER BY id;

CREATE TABLE compounds (id int, ia int[], ta text[], ba bool[], fa float8[], na numeric[], ja json[], jba jsonb[], tsa timestamptz[], ua uuid[], ea mood[], p pair, dp dpair, n nested, pa pair[], pd pairs, di ints, na2 nested[], ra int4range[]);
INSERT INTO compounds VALUES
	(1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', ROW(NULL, NULL), ROW(NULL, NULL), ROW(NULL, NULL, NULL), '{}', '{}', '{}', '{}', '{}'),
	(2, '{1,NULL,3}', '{a,NULL,"NULL","q\"","b\\\\"}', '{t,f,NULL}', '{1.5,NaN,Infinity,NULL}', '{1.50,NaN}', ARRAY[E'{"a":\n1}', NULL]::json[], ARRAY['1', 'null', NULL]::jsonb[], '{infinity,2026-11-21 09:00+00,NULL}', '{00000000-0000-0000-0000-000000000001}', '{glad,"so \"so\""}',
		ROW(1, 'x"y'), ROW(2, E'\n'), ROW(ROW(1, 'a'), ARRAY[ROW(2, 'b')::pair, NULL, ROW(NULL, NULL)::pair], '2026-11-21 09:00+00')::nested, ARRAY[ROW(1, 'a')::pair, NULL], ARRAY[ROW(1, 'a')::pair, NULL], '{1,2}', ARRAY[ROW(ROW(1, 'a'), NULL, NULL)::nested, NULL], '{"[1,2)",empty}'),
	(3, '{{1,2},{3,NULL}}', '{{{a,b},{c,d}},{{e,f},{g,h}}}', NULL, NULL, '[5:6]={1,2}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, ARRAY[ARRAY[ROW(NULL, ARRAY[]::pair[], NULL)::nested]], NULL);
SELECT id, difference FROM compounds r_, differ(r_) difference WHERE difference IS NOT NULL ORDER BY id;

-- jsonb of every shape
CREATE TABLE documents (id int, j jsonb);
INSERT INTO documents SELECT row_number() OVER (), j::jsonb FROM unnest(ARRAY['1', '"x"', 'null', 'true', 'false', '[]', '{}', '[[]]', '[{}]', '{"a":{}}',
	'[1,[2,[3,{"a":[4,5,{"b":null}]}]],6]', '{"a":1,"b":{"c":[],"d":{"e":[{"f":1},{"g":2}]}},"h":"\\\"\n\u0001"}', '-0.00', '1e100', '123456789012345678901234567890.10',
	'["",""," "]', '{"":"", "k\"ey":1}', '[null,[null],{"n":null}]']) j;
SELECT id, difference FROM documents r_, differ(r_) difference WHERE difference IS NOT NULL ORDER BY id;
SELECT tide_internal.row_json(r_) FROM documents r_ ORDER BY id;

-- toasted, compressed and both; inside composites
CREATE TABLE toasted (id int, ext text, comp text, p pair, j jsonb, a text[]);
ALTER TABLE toasted ALTER ext SET STORAGE EXTERNAL;
INSERT INTO toasted SELECT g, repeat('é"', 20000), repeat(E'\\', 20000), ROW(1, repeat('p', 100000))::pair, to_jsonb(ARRAY[repeat('j', 50000)]), ARRAY[repeat('a', 30000), NULL] FROM generate_series(1, 3) g;
SELECT id, left(difference, 100) FROM toasted r_, differ(r_) difference WHERE difference IS NOT NULL ORDER BY id;

-- dropped columns, added columns with a default, no columns, odd names
CREATE TABLE columns (id int, gone text, "q""uote" text, "back\slash" int, "ünï" int, "new
line" int);
INSERT INTO columns VALUES (1, 'x', 'y', 2, 3, 4);
ALTER TABLE columns DROP gone;
INSERT INTO columns VALUES (2, 'z', 3, 4, 5);
ALTER TABLE columns ADD fresh int[] DEFAULT '{7}';
SELECT tide_internal.row_json(r_) FROM columns r_ ORDER BY id;
SELECT id, difference FROM columns r_, differ(r_) difference WHERE difference IS NOT NULL ORDER BY id;
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
SELECT tide_internal.row_json(r_) FROM nothing r_;

-- a row type that changes, and records of several types through one call site
CREATE TABLE holder (id int, p pair);
INSERT INTO holder VALUES (1, ROW(1, 'one'));
ALTER TYPE pair ADD ATTRIBUTE d date;
INSERT INTO holder VALUES (2, ROW(2, 'two', '2026-11-21'));
SELECT tide_internal.row_json(r_) FROM holder r_ ORDER BY id;
SELECT id, difference FROM holder r_, differ(r_) difference WHERE difference IS NOT NULL ORDER BY id;
SELECT tide_internal.row_json(ROW(r)) FROM (VALUES (ROW(1, 'a'::text)), (ROW(true, ARRAY[ROW(1, 2)])), (ROW(2, 'b'::text))) v (r);
SELECT tide_internal.row_json(ROW(ARRAY[ROW(1, 'a'::text), ROW(2, 'b'::text)]));

-- casts to json: those of other people are not run
CREATE FUNCTION mood_json(mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'must not run'; END $$;
CREATE CAST (mood AS json) WITH FUNCTION mood_json(mood);
SELECT tide_internal.row_json(r) FROM (SELECT mood 'glad' AS m, '{glad}'::mood[] AS a) r;

-- every built-in base type with a sample value, from the catalog: fails when one is missed
CREATE FUNCTION samples() RETURNS TABLE (type regtype, difference text) LANGUAGE plpgsql AS $$
DECLARE
	sample text;
BEGIN
	FOR type IN SELECT oid FROM pg_catalog.pg_type
		WHERE oid < 16384 AND typtype IN ('b', 'r', 'm') AND typname !~ '^pg_|^_pg|summary|^gtsvector$|^_gtsvector$|^aclitem|^_aclitem'
		ORDER BY oid
	LOOP
		FOREACH sample IN ARRAY ARRAY['1', '{}', '2026-11-21', '(1,2)', '10.0.0.0', 'empty', '0/0', 'pg_class', 'text', '<(1,2),3>', '[(1,2),(3,4)]', '{1,2,3}', '00000000-0000-0000-0000-000000000000', '08:00:2b:01:02:03', '"pg_catalog"', '10:20:', 'now', '<a/>'] LOOP
			BEGIN
				EXECUTE format('SELECT differ(r) FROM (SELECT %L::%s AS v) r', sample, type) INTO difference;
				IF difference IS NOT NULL THEN
					RETURN NEXT;
				END IF;
			EXCEPTION WHEN data_exception OR integrity_constraint_violation OR syntax_error_or_access_rule_violation OR feature_not_supported OR invalid_schema_name OR program_limit_exceeded OR undefined_object THEN
				NULL;
			END;
		END LOOP;
	END LOOP;
END $$;
SELECT * FROM samples() ORDER BY 1;

SET client_min_messages = warning;
DROP SCHEMA json_writer CASCADE;
