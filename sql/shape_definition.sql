-- Shapes: what is accepted, and what is made of it.
\pset format unaligned
\pset tuples_only
CREATE SCHEMA shapes;
SET search_path = shapes;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN team_name AS varchar(20);
CREATE TABLE issues (
	id bigint PRIMARY KEY,
	team uuid,
	"Team Name" team_name,
	title varchar(100),
	status text COLLATE "C",
	mood mood,
	priority int,
	price numeric(10,2),
	weight float8,
	code char(5),
	is_open boolean,
	created timestamptz,
	tags text[],
	extra jsonb
);
CREATE TABLE memberships (
	team uuid, member uuid, role text,
	PRIMARY KEY (member, team)
);

-- everything of a table
SELECT tide.create_shape('all', '{"table": "issues"}');
SELECT tide.explain_shape('all');

-- chosen columns; the key is always there
SELECT tide.create_shape('some', '{"table": "shapes.issues", "columns": ["title", "Team Name", "title"]}');
SELECT tide.explain_shape('some');
SELECT tide.create_shape('keys', '{"table": "memberships", "columns": []}');
SELECT tide.explain_shape('keys');

-- row conditions of many kinds
SELECT tide.create_shape('filters', $$ {"table": "issues", "where":
	"issues.status <> 'closed' AND mood > 'sad' AND title ~* '^a.*b$' AND tags && ARRAY['x', 'y'] AND (extra ->> 'n')::int BETWEEN 1 AND 5 AND extra @> '{\"a\": 1}' AND (priority IS NULL OR NOT is_open) AND to_tsvector('english', title) @@ to_tsquery('english', 'word') AND created > '2026-01-01 00:00+02' AND CASE WHEN price > 1 THEN weight < 2 ELSE true END"} $$);
SELECT tide.explain_shape('filters');

-- a condition that is always true is none
SELECT tide.create_shape('always', '{"table": "issues", "where": "1 = 1"}');
SELECT tide.explain_shape('always');

-- each parameter has the type its place asks for
SELECT tide.create_shape('typed', $$ {"table": "issues", "where":
	"team = claims.sub AND claims.mood = mood AND params.title = title AND price = params.price AND weight = params.weight AND code = params.code AND is_open = params.open AND created = params.at AND \"Team Name\" = params.\"teamName\" AND lower(title) = params.lower AND priority + 1 = params.next AND (created AT TIME ZONE 'UTC')::date = params.day AND (extra ->> 'owner')::uuid = claims.sub"} $$);
SELECT tide.explain_shape('typed');

-- lists, arrays, constants, flags, casts, row comparison, nested AND
SELECT tide.create_shape('lists', $$ {"table": "issues", "where":
	"(team = ANY (claims.teams) AND mood = ANY (params.moods)) AND (status IN (params.a, params.b, 'c', NULL) AND title IN (params.t, 'u')) AND id IN (params.id, 5) AND title = ANY (ARRAY[params.t1, params.t2]) AND 'admin' = ANY (claims.roles) AND claims.role = 'editor' AND params.yes AND NOT params.no AND is_open AND (priority, price) = (params.p, params.q) AND team = params.team::uuid AND title = params.title::varchar"} $$);
SELECT tide.explain_shape('lists');

-- an author's own immutable function, found in the author's search_path
CREATE FUNCTION short(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT pg_catalog.left($1, 3)';
SELECT tide.create_shape('own', '{"table": "issues", "where": "short(title) = params.short AND short(status) <> ''abc''"}');
SELECT tide.explain_shape('own');

-- what text means does not depend on the session's settings
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SET transform_null_equals = on;
SET TimeZone = 'America/New_York';
SET DateStyle = 'German';
SELECT tide.create_shape('settings', $$ {"table": "issues", "where": "title = 'a\\\\b' OR created < '2026-01-02 03:00' OR priority = NULL"} $$);
RESET standard_conforming_strings;
RESET escape_string_warning;
RESET transform_null_equals;
RESET DateStyle;
RESET TimeZone;
SELECT tide.explain_shape('settings');

-- names in expressions are of the table, renames go along
ALTER TABLE issues RENAME COLUMN status TO "State";
ALTER TABLE issues RENAME TO tickets;
SELECT tide.explain_shape('own');

-- the view
SELECT name, state, tables, buckets, rows, progress, error FROM tide.shapes ORDER BY name COLLATE "C";
SELECT definition FROM tide.shapes WHERE name = 'some';

-- one source per table, with its key in index order
SELECT relid::regclass, state, key_attnums FROM tide_internal.sources WHERE relid IN (SELECT oid FROM pg_class) ORDER BY relid::regclass::text;

-- replace and drop
SELECT shape_id AS old_id FROM tide_internal.shapes WHERE name = 'some' \gset
SELECT tide.replace_shape('some', '{"table": "memberships", "where": "member = claims.sub"}');
SELECT tide.explain_shape('some');
SELECT shape_id > :old_id AS newer, state FROM tide_internal.shapes WHERE name = 'some' ORDER BY shape_id;
SELECT tide.drop_shape('some');
SELECT tide.explain_shape('some');
SELECT tide.create_shape('some', '{"table": "memberships"}');

-- nothing is left of what is rolled back
BEGIN;
CREATE TABLE gone (id int PRIMARY KEY);
SELECT tide.create_shape('gone', '{"table": "gone"}');
SELECT tide.replace_shape('all', '{"table": "gone"}');
ROLLBACK;
SELECT count(*) FROM tide.shapes WHERE name = 'gone' OR tables = '{shapes.gone}';

-- a table that is dropped leaves a shape that can be looked at
CREATE TABLE brief (id int PRIMARY KEY);
SELECT tide.create_shape('brief', '{"table": "brief"}');
DROP TABLE brief;
SELECT tide.explain_shape('brief');
SELECT name, tables FROM tide.shapes WHERE name = 'brief';
SELECT tide.drop_shape('brief');

SELECT tide.drop_shape(name) FROM tide.shapes;
SELECT count(*) FROM tide.shapes;
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA shapes CASCADE;
