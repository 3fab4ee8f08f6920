-- Shapes: types from context, SQLSTATEs, and the law of bucket keys: two values
-- are equal exactly if their texts in a key are.
BEGIN;
SELECT plan(72);

CREATE SCHEMA tap;
CREATE TYPE tap.mood AS ENUM ('sad', 'happy');
CREATE DOMAIN tap.team_id AS uuid;
CREATE TABLE tap.t (
	id bigint PRIMARY KEY, i2 smallint, i4 int, u uuid, d tap.team_id, s text, v varchar(5), c char(5), n numeric(9,3),
	f float8, f4 float4, b boolean, day date, at timestamptz, local timestamp, clock time, raw bytea, m tap.mood, ip inet
);
CREATE VIEW tap.parts AS
SELECT s.name, k.line FROM tide.shapes s,
	LATERAL regexp_split_to_table(tide.explain_shape(s.name), '\n') AS k(line);
CREATE FUNCTION tap.where_of(condition text) RETURNS jsonb LANGUAGE sql
	AS $$ SELECT jsonb_build_object('table', 'tap.t', 'where', condition) $$;
CREATE FUNCTION tap.keys(shape text, params jsonb, claims jsonb DEFAULT '{}') RETURNS text[] LANGUAGE sql
	AS $$ SELECT coalesce(array_agg(k::text), '{}') FROM tide_internal.bucket_keys(shape, params, claims) k $$;

-- a claim has the type of what it is compared with
SELECT tide.create_shape('type_' || col, tap.where_of(format('claims.x = %I', col)))
  FROM unnest('{id,i2,i4,u,d,s,v,c,n,f,f4,b,day,at,local,clock,raw,m,ip}'::text[]) AS col;
SELECT is(substring((SELECT line FROM tap.parts WHERE name = 'type_' || col AND line LIKE '%claims.x') FROM '\((.*)\) = claims\.x$'),
		  type, format('claims.x = %s is of type %s', col, type))
  FROM (VALUES ('id', 'bigint'), ('i2', 'smallint'), ('i4', 'integer'), ('u', 'uuid'), ('d', 'uuid'), ('s', 'text'), ('v', 'text'),
			   ('c', 'character'), ('n', 'numeric'), ('f', 'double precision'), ('f4', 'real'), ('b', 'boolean'), ('day', 'date'),
			   ('at', 'timestamp with time zone'), ('local', 'timestamp without time zone'), ('clock', 'time without time zone'),
			   ('raw', 'bytea'), ('m', 'tap.mood'), ('ip', 'inet')) AS x(col, type);

-- equal values, equal text; different values, different text
SELECT is(tide_internal.bucket_key_text(1.50::numeric), tide_internal.bucket_key_text(1.5::numeric), 'numeric: trailing zeros');
SELECT is(tide_internal.bucket_key_text(100::numeric), '100', 'numeric: zeros before the point stay');
SELECT is(tide_internal.bucket_key_text('NaN'::numeric), 'NaN', 'numeric: NaN');
SELECT is(tide_internal.bucket_key_text('-Infinity'::numeric), '-Infinity', 'numeric: infinity');
SELECT is(tide_internal.bucket_key_text('-0'::float8), '0', 'float8: negative zero');
SELECT is(tide_internal.bucket_key_text('-0'::float4), '0', 'float4: negative zero');
SELECT is(tide_internal.bucket_key_text(0.1::float8 + 0.2::float8), '0.30000000000000004', 'float8: all digits');
SELECT is(tide_internal.bucket_key_text('ab   '::char(5)), tide_internal.bucket_key_text('ab'::char(9)), 'char: padding');
SELECT is(tide_internal.bucket_key_text('ab   '::text), 'ab   ', 'text: blanks stay');
SET LOCAL TimeZone = 'Asia/Tokyo';
SET LOCAL DateStyle = 'German';
SET LOCAL bytea_output = 'escape';
SET LOCAL extra_float_digits = -5;
SELECT is(tide_internal.bucket_key_text('2026-01-01 09:00+09'::timestamptz), '2026-01-01 00:00:00+00', 'timestamptz: UTC whatever the session has');
SELECT is(tide_internal.bucket_key_text(date '2026-01-31'), '2026-01-31', 'date: ISO whatever the session has');
SELECT is(tide_internal.bucket_key_text('\x61ff'::bytea), '\x61ff', 'bytea: hex whatever the session has');
SELECT is(tide_internal.bucket_key_text(1::float8 / 3), '0.3333333333333333', 'float8: digits whatever the session has');
SELECT is(current_setting('TimeZone') || current_setting('DateStyle'), 'Asia/TokyoGerman, DMY', 'the session''s settings are put back');
RESET TimeZone; RESET DateStyle; RESET bytea_output; RESET extra_float_digits;
SELECT throws_ok('SELECT tide_internal.bucket_key_text(interval ''1 day'')', '0A000', NULL, 'interval has no canonical text');
SELECT throws_ok('SELECT tide_internal.bucket_key_text(jsonb ''1'')', '0A000', NULL, 'jsonb has no canonical text');
SELECT throws_ok('SELECT tide_internal.bucket_key_text(ARRAY[1])', '0A000', NULL, 'arrays have no canonical text');

-- keys of a request
SELECT tide.create_shape('keys', tap.where_of('u = claims.sub AND n IN (params.n, 7, params.other) AND s = ANY (params.list)'));
SELECT is(tap.keys('keys', '{"n": 1.0, "other": "1", "list": ["b", "a", "b", null]}', '{"sub": "AAAAAAAA-0000-0000-0000-000000000000"}'),
		  '{"{aaaaaaaa-0000-0000-0000-000000000000,1,a}","{aaaaaaaa-0000-0000-0000-000000000000,1,b}","{aaaaaaaa-0000-0000-0000-000000000000,7,a}","{aaaaaaaa-0000-0000-0000-000000000000,7,b}"}',
		  'all combinations, without doubles');
SELECT is(tap.keys('keys', '{"n": 1, "other": 2, "list": ["a"]}'), '{}', 'a missing claim gives no key');
SELECT is(tap.keys('keys', '{"n": 1, "other": 2, "list": ["a"]}', '{"sub": null}'), '{}', 'a null claim gives no key');
SELECT is(tap.keys('keys', '{"n": 1, "other": 2, "list": []}', '{"sub": "aaaaaaaa-0000-0000-0000-000000000000"}'), '{}', 'an empty list gives no key');
SELECT is(tap.keys('keys', '{"n": null, "other": null, "list": ["a"]}', '{"sub": "aaaaaaaa-0000-0000-0000-000000000000"}'),
		  '{"{aaaaaaaa-0000-0000-0000-000000000000,7,a}"}', 'a null parameter equals nothing');
SELECT throws_ok($$ SELECT tap.keys('keys', '{"n": 1, "list": []}', '{}') $$, '22023', 'parameter "other" of shape "keys" is missing', 'a missing parameter is named');
SELECT throws_ok($$ SELECT tap.keys('keys', '{"n": 1, "other": 1, "list": [], "more": 1}') $$, '22023', 'shape "keys" has no parameter "more"', 'an unknown parameter is named');
SELECT throws_ok($$ SELECT tap.keys('keys', '{"n": "one", "other": 1, "list": []}') $$, '22023', 'invalid input syntax for type numeric: "one"', 'a value of the wrong type');
SELECT throws_ok($$ SELECT tap.keys('keys', '{"n": [1], "other": 1, "list": []}') $$, '22023', 'parameter "n" of shape "keys" must be a string, a number or a boolean', 'an array for a scalar');
SELECT throws_ok($$ SELECT tap.keys('keys', '{"n": 1, "other": 1, "list": "a"}') $$, '22023', 'parameter "list" of shape "keys" must be an array', 'a scalar for an array');
SELECT throws_ok($$ SELECT tap.keys('keys', '{"n": 1, "other": 1, "list": [["a"]]}') $$, '22023', NULL, 'an array in an array');
SELECT throws_ok($$ SELECT tap.keys('keys', '[]') $$, '22023', 'parameters of shape "keys" must be a JSON object', 'parameters that are no object');
SELECT throws_ok($$ SELECT tap.keys('keys', '{"n": 1, "other": 1, "list": []}', '{"sub": "secret"}') $$, '22023',
				 'claim "sub" does not have the type shape "keys" needs', 'what a claim holds is not told');
SELECT throws_ok($$ SELECT tap.keys('keys', jsonb_build_object('n', 1, 'other', 2, 'list', (SELECT jsonb_agg(i) FROM generate_series(1, 30000) i)), '{"sub": "aaaaaaaa-0000-0000-0000-000000000000"}') $$,
				 '54000', NULL, 'too many buckets');
SELECT tide.create_shape('plain', '{"table": "tap.t"}');
SELECT is(tap.keys('plain', '{}'), '{"{}"}', 'no condition on parameters: one bucket for all');
SELECT tide.create_shape('flag', tap.where_of('claims.admin AND ''x'' = ANY (claims.roles)'));
SELECT is(tap.keys('flag', '{}', '{"admin": true, "roles": ["x"]}'), '{"{t,x}"}', 'a flag');

-- SQLSTATEs
CREATE FUNCTION tap.refused(condition text, code text) RETURNS text LANGUAGE sql
	AS $$ SELECT throws_ok(format('SELECT tide.create_shape(''r'', tap.where_of(%L))', condition), code, NULL, code || ': ' || condition) $$;
SELECT tap.refused(condition, code) FROM (VALUES
	('i4 > params.x', '42P17'), ('i4 = params.x OR i4 > params.y', '42P17'), ('random() < 1', '42P17'), ('at = now()', '42P17'),
	('id IN (SELECT 1)', '0A000'), ('ctid IS NULL', '0A000'), ('absent', '42703'), ('id =', '42601'), ('absent(id)', '42883'),
	('id = ''x''', '22P02'), ('id', '42804')) AS x(condition, code);

CREATE TABLE tap.no_key (id int);
CREATE VIEW tap.a_view AS SELECT * FROM tap.t;
CREATE TABLE tap.parted (id int PRIMARY KEY);
CREATE TABLE tap.parted_child () INHERITS (tap.parted);
SELECT throws_ok($$ SELECT tide.create_shape('r', '{"table": "tap.no_key"}') $$, '55000', NULL, '55000: no primary key');
SELECT throws_ok($$ SELECT tide.create_shape('r', '{"table": "tap.a_view"}') $$, '42809', NULL, '42809: a view');
SELECT throws_ok($$ SELECT tide.create_shape('r', '{"table": "tap.parted"}') $$, '0A000', NULL, '0A000: a table that others inherit from');
SELECT throws_ok($$ SELECT tide.create_shape('r', '{"table": "tap.absent"}') $$, '42P01', NULL, '42P01: no such table');
SELECT throws_ok($$ SELECT tide.create_shape('plain', '{"table": "tap.t"}') $$, '42710', NULL, '42710: name taken');
SELECT throws_ok($$ SELECT tide.drop_shape('r') $$, '42704', NULL, '42704: no such shape');
SELECT throws_ok($$ SELECT tide.create_shape('r', '{"tables": "tap.t"}') $$, '22023', NULL, '22023: unknown field');
SELECT throws_ok($$ SELECT tide.create_shape('r', '{"table": "tap.t", "encrypted": ["id"]}') $$, '42P17', NULL, '42P17: encrypted key');
SELECT throws_ok($$ SELECT tide.create_shape('', '{"table": "tap.t"}') $$, '22023', NULL, '22023: no name');

SELECT * FROM finish();
ROLLBACK;
