-- The scripts of tide.client_schema, word for word, and what it refuses.
\pset format unaligned
\pset tuples_only on
CREATE SCHEMA client_test;
SET search_path = client_test, public;

CREATE TABLE client_test."Odd ""T" (
	a int,
	"b c" text,
	"order" numeric(30,10),
	"x.y" boolean,
	"q""z" text[],
	n int GENERATED ALWAYS AS (a * 2) STORED,
	PRIMARY KEY ("b c", a)
);
SELECT tide.create_shape('odd_all', '{"table": "client_test.\"Odd \"\"T\""}');
SELECT tide.create_shape('odd few', '{"table": "client_test.\"Odd \"\"T\"", "columns": ["order"]}');

-- two columns have policies that a retry heeds, one of them with a name to quote
SELECT tide.allow_writes('client_test."Odd ""T"', 'keep');
SELECT tide.set_conflict_policy('client_test."Odd ""T"', 'order', 'counter'), tide.set_conflict_policy('client_test."Odd ""T"', 'q"z', 'set');

-- the version changes with each release
SELECT replace(tide.client_schema('{odd_all,odd few}', 'sqlite'), (SELECT extversion FROM pg_extension WHERE extname = 'pg_tide'), 'X');
SELECT replace(tide.client_schema('{odd_all,odd few}', 'postgres'), (SELECT extversion FROM pg_extension WHERE extname = 'pg_tide'), 'X');

-- how types map
CREATE TYPE mood AS ENUM ('ok', 'bad');
CREATE DOMAIN amount AS numeric(12,2);
CREATE DOMAIN moods AS mood[];
CREATE TYPE point3 AS (x int, y int, z int);
CREATE TABLE types (
	id uuid PRIMARY KEY, c01 boolean, c02 smallint, c03 integer, c04 bigint, c05 real, c06 double precision,
	c07 numeric, c08 amount, c09 text, c10 varchar(10), c11 char(3), c12 bytea, c13 date, c14 time, c15 timestamptz(3),
	c16 interval, c17 json, c18 jsonb, c19 int[], c20 mood, c21 mood[], c22 moods, c23 point3, c24 point3[],
	c25 int4range, c26 inet, c27 regclass, c28 xml, c29 "char", c30 bit(4), c31 money, c32 oid, c33 point, c34 amount[]
);
SELECT tide.create_shape('types', '{"table": "client_test.types"}');
SELECT s[1] AS name, s[2] AS sqlite, p[2] AS postgres
FROM regexp_matches(split_part(split_part(tide.client_schema('{types}', 'sqlite'), 'types_synced" (', 2), 'PRIMARY', 1), '"(\w+)" ([^\n]*),\n', 'g') WITH ORDINALITY AS s (s, n)
JOIN regexp_matches(split_part(split_part(tide.client_schema('{types}', 'postgres'), 'types_synced" (', 2), 'PRIMARY', 1), '"(\w+)" ([^\n]*),\n', 'g') WITH ORDINALITY AS p (p, n) USING (n)
ORDER BY n;

-- refusals
SELECT tide.client_schema('{types,nothing}', 'sqlite');
\echo :SQLSTATE
SELECT tide.client_schema('{types}', 'oracle');
\echo :SQLSTATE
SELECT tide.client_schema('{}', 'sqlite');
\echo :SQLSTATE
SELECT tide.client_schema('{types,NULL}', 'sqlite');
\echo :SQLSTATE
SELECT tide.client_schema(NULL, 'sqlite') IS NULL;
CREATE TABLE client_test.cases (id int PRIMARY KEY, "A" int, a int);
CREATE TABLE public.tide_notes (id int PRIMARY KEY);
CREATE TABLE public.client_test_types (id int PRIMARY KEY);
CREATE TABLE public.marked (id int PRIMARY KEY, tide_deleted boolean);
CREATE TABLE public.dotted (id int PRIMARY KEY, "a.b""c" int);
CREATE TABLE public.truths (id int PRIMARY KEY, "True" int);
CREATE TABLE public.sqlite_notes (id int PRIMARY KEY);
SELECT tide.create_shape('sqlite_notes', '{"table": "public.sqlite_notes"}');
SELECT tide.create_shape('cases', '{"table": "client_test.cases"}');
SELECT tide.create_shape('tide_notes', '{"table": "public.tide_notes"}');
SELECT tide.create_shape('both', '{"table": "public.client_test_types"}');
SELECT tide.create_shape('marked', '{"table": "public.marked"}');
SELECT tide.create_shape('dotted', '{"table": "public.dotted"}');
SELECT tide.create_shape('truths', '{"table": "public.truths"}');
SELECT tide.client_schema('{cases}', 'sqlite');
\echo :SQLSTATE
SELECT tide.client_schema('{cases}', 'postgres') IS NULL;
SELECT tide.client_schema('{tide_notes}', 'postgres');
\echo :SQLSTATE
SELECT tide.client_schema('{sqlite_notes}', 'sqlite');
\echo :SQLSTATE
SELECT tide.client_schema('{sqlite_notes}', 'postgres') IS NULL;
SELECT tide.client_schema('{types,both}', 'sqlite');
\echo :SQLSTATE
SELECT tide.client_schema('{types,both}', 'postgres') IS NULL;
SELECT tide.client_schema('{marked}', 'postgres');
\echo :SQLSTATE
SELECT tide.client_schema('{dotted}', 'sqlite');
\echo :SQLSTATE
SELECT tide.client_schema('{dotted}', 'postgres') IS NULL;
SELECT tide.client_schema('{truths}', 'sqlite');
\echo :SQLSTATE
SELECT tide.client_schema('{truths}', 'postgres') IS NULL;

-- the session's settings do not matter
SELECT md5(tide.client_schema('{types,dotted}', 'postgres')) AS script \gset
SET quote_all_identifiers = on;
SELECT md5(tide.client_schema('{types,dotted}', 'postgres')) = :'script';
RESET quote_all_identifiers;

-- a table's own policy is that of its columns, but for keys and what is generated; what clients may not write has none
CREATE FUNCTION client_test.newest(current jsonb, base jsonb, new jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT new';
CREATE FUNCTION client_test.differences(shape text) RETURNS TABLE (sqlite text, postgres text) LANGUAGE sql
AS $$
	SELECT (SELECT string_agg(m[1], ', ') FROM regexp_matches(tide.client_schema(ARRAY[shape], 'sqlite'), '\((\S+), CASE WHEN NEW\.op = ''update''', 'g') AS m),
		substring(tide.client_schema(ARRAY[shape], 'postgres') FROM 'b\.key = ANY \(ARRAY\[([^]]+)\]')
$$;
SELECT * FROM client_test.differences('odd_all');
SELECT tide.set_conflict_policy('client_test."Odd ""T"', NULL, 'custom', 'client_test.newest(jsonb,jsonb,jsonb)'),
	tide.set_conflict_policy('client_test."Odd ""T"', 'order', 'hlc'), tide.set_conflict_policy('client_test."Odd ""T"', 'q"z', NULL);
SELECT * FROM client_test.differences('odd_all');
SELECT tide.disallow_writes('client_test."Odd ""T"');
SELECT * FROM client_test.differences('odd_all');
SELECT * FROM client_test.differences('types');

SELECT tide.drop_shape(name) FROM unnest('{odd_all,odd few,types,cases,tide_notes,sqlite_notes,both,marked,dotted,truths}'::text[]) AS name;
DROP TABLE public.tide_notes, public.sqlite_notes, public.client_test_types, public.marked, public.dotted, public.truths;
SET client_min_messages = warning;
DROP SCHEMA client_test CASCADE;
