-- Shapes: what is refused, with the place, the reason and a hint.
\set VERBOSITY default
CREATE SCHEMA shapes;
SET search_path = shapes;
CREATE TYPE pair AS (a int, b int);
CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE issues (
	id bigint PRIMARY KEY,
	team uuid,
	title varchar(100),
	status text,
	name_loose text COLLATE loose,
	price numeric,
	created timestamptz,
	local_time timestamp,
	spell interval,
	tags text[],
	extra jsonb
);
CREATE TABLE members (team uuid, member uuid, PRIMARY KEY (team, member));
-- one shape to see what a "where" leads to
CREATE PROCEDURE try_where(condition text) LANGUAGE sql
	AS $$ SELECT tide.create_shape('s', jsonb_build_object('table', 'issues', 'where', condition)) $$;
CREATE PROCEDURE try_table(name text) LANGUAGE sql
	AS $$ SELECT tide.create_shape('s', jsonb_build_object('table', name)) $$;

-- names
SELECT tide.create_shape(NULL, '{"table": "issues"}');
SELECT tide.create_shape('', '{"table": "issues"}');
SELECT tide.create_shape(repeat('x', 64), '{"table": "issues"}');
SELECT tide.create_shape('s', NULL);
SELECT tide.create_shape('taken', '{"table": "issues"}');
SELECT tide.create_shape('taken', '{"table": "issues"}');
SELECT tide.replace_shape('absent', '{"table": "issues"}');
SELECT tide.drop_shape('absent');
SELECT tide.drop_shape(NULL);
SELECT tide.explain_shape('absent');

-- the definition's form
SELECT tide.create_shape('s', '[]');
SELECT tide.create_shape('s', '"issues"');
SELECT tide.create_shape('s', '{}');
SELECT tide.create_shape('s', '{"table": 5}');
SELECT tide.create_shape('s', '{"table": "issues", "where": true}');
SELECT tide.create_shape('s', '{"table": "issues", "columns": "id"}');
SELECT tide.create_shape('s', '{"table": "issues", "columns": {"id": 1}}');
SELECT tide.create_shape('s', '{"table": "issues", "columns": [1]}');
SELECT tide.create_shape('s', '{"table": "issues", "columns": [["id"]]}');
SELECT tide.create_shape('s', '{"table": "issues", "columns": ["id", "absent"]}');
SELECT tide.create_shape('s', '{"table": "issues", "columns": ["ctid"]}');
SELECT tide.create_shape('s', '{"table": "issues", "filter": "true"}');
SELECT tide.create_shape('s', '{"table": "issues", "include": {}}');
SELECT tide.create_shape('s', '{"table": "issues", "order_by": "id"}');
SELECT tide.create_shape('s', '{"table": "issues", "limit": 5}');
SELECT tide.create_shape('s', '{"table": "issues", "encrypted": ["title"]}');

-- tables: source_kinds.sql has those that exist
CREATE SEQUENCE a_sequence;
CALL try_table('absent');
CALL try_table('absent.issues');
CALL try_table('issues, members');
CALL try_table('');
CALL try_table('(SELECT 1)');

-- a primary key that changed under a shape
BEGIN;
CREATE TABLE moving (a int PRIMARY KEY, b int NOT NULL);
CALL try_table('moving');
ALTER TABLE moving DROP CONSTRAINT moving_pkey, ADD PRIMARY KEY (b);
SELECT tide.create_shape('s2', '{"table": "moving"}');
ROLLBACK;

-- "where" is one boolean expression
CALL try_where('');
CALL try_where('status =');
CALL try_where('status');
CALL try_where('absent = 1');
CALL try_where('members.team = team');
CALL try_where('team = 5');
CALL try_where('true FROM issues');
CALL try_where('true; SELECT 1');
CALL try_where('true AS x');
CALL try_where('true, false');
CALL try_where('DISTINCT true');
CALL try_where('true ORDER BY 1');
CALL try_where('true UNION SELECT false');
CALL try_where('*');
CALL try_where('$1 = id');
CALL try_where('id = DEFAULT');

-- what does not depend on the row alone
CALL try_where('random() < 0.5');
CALL try_where('created > now()');
CALL try_where('created > now() - interval ''30 days''');
CALL try_where('created > clock_timestamp()');
CALL try_where('created > CURRENT_TIMESTAMP');
CALL try_where('created::date = CURRENT_DATE');
CALL try_where('status = CURRENT_USER');
CALL try_where('created > local_time');
CALL try_where('created::text = ''x''');
CALL try_where('to_char(created, ''YYYY'') = params.year');
CALL try_where('team = current_setting(''app.team'')::uuid');
CALL try_where('nextval(''a_sequence'') = 1');
CREATE FUNCTION fickle(int DEFAULT random()::int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
CALL try_where('fickle() = 1');
CALL try_where('count(*) > 1');
CALL try_where('row_number() OVER () = 1');
CALL try_where('generate_series(1, 2) = 1');
CALL try_where('team IN (SELECT team FROM members WHERE member = claims.sub)');
CALL try_where('EXISTS (SELECT FROM members)');
CALL try_where('status = ''x'' AND id > (SELECT 1)');
CALL try_where('ctid = ''(0,1)''');
CALL try_where('tableoid = 1');
CALL try_where('issues IS NOT NULL');
CALL try_where('issues.* IS NOT NULL');

-- parameters no bucket key can be made of
CALL try_where('id > params.x');
CALL try_where('status = ''a'' AND id <> params.x');
CALL try_where('status LIKE params.x');
CALL try_where('id = params.x OR id = params.y');
CALL try_where('params.x IS NULL OR id = params.x');
CALL try_where('NOT (id = params.x)');
CALL try_where('id NOT IN (params.x, params.y)');
CALL try_where('id <> ALL (params.x)');
CALL try_where('id BETWEEN params.x AND params.y');
CALL try_where('id = params.x + 1');
CALL try_where('id + params.x = 5');
CALL try_where('id = params.x::int');
CALL try_where('status = lower(params.x)');
CALL try_where('status = params.x::varchar(3)');
CALL try_where('params.x = claims.y');
CALL try_where('params.x = 1 + params.y::int');
CALL try_where('id IN (params.x, id + 1)');
CALL try_where('id = ANY (params.x || 5::bigint)');
CALL try_where('status IS NOT DISTINCT FROM params.x');
CALL try_where('coalesce(params.x, true)');
CALL try_where('CASE WHEN params.x THEN true END');
CALL try_where('(id = params.x) = true');
CALL try_where('tags = params.x');
CALL try_where('extra = params.x');
CALL try_where('spell = params.x');
CALL try_where('name_loose = params.x');
CALL try_where('status COLLATE loose = params.x');
CALL try_where('tags[1] = params.x AND params.y = ANY (tags)');
CALL try_where('params.x IN (status, title)');
CALL try_where('params.x IN (''a'', ''b'')');
CALL try_where('id = params.x AND (status = ''a'' AND (title = ''b'' OR price > params.y))');
CALL try_where('name_loose COLLATE "C" > params.x');
CALL try_where('params = 1');
CALL try_where('params.* = 1');
CALL try_where('claims.app.role = ''x''');

-- values are checked where the text is
CALL try_where(E'status = ''a'' AND\n  team = ''x''');
CALL try_where('1 / 0 = id');

-- rights: of the author, for every column shown or used
CREATE ROLE regress_tide_author;
GRANT USAGE ON SCHEMA shapes TO regress_tide_author;
GRANT SELECT (id, title) ON issues TO regress_tide_author;
SET ROLE regress_tide_author;
SELECT tide.create_shape('s', '{"table": "issues"}');
SELECT name FROM tide.shapes;
RESET ROLE;
GRANT EXECUTE ON FUNCTION tide.create_shape, tide.replace_shape, tide.drop_shape, tide.explain_shape TO regress_tide_author;
CREATE FUNCTION mine(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
REVOKE ALL ON FUNCTION mine FROM PUBLIC;
SET ROLE regress_tide_author;
SELECT tide.create_shape('s', '{"table": "issues"}');
SELECT tide.create_shape('s', '{"table": "issues", "columns": ["status"]}');
SELECT tide.create_shape('s', '{"table": "members"}');
SELECT tide.create_shape('s', '{"table": "issues", "columns": ["title"], "where": "status = params.x"}');
SELECT tide.create_shape('s', '{"table": "issues", "columns": ["title"], "where": "mine(title) = ''x''"}');
SELECT tide.create_shape('s', '{"table": "issues", "columns": ["title"], "where": "title = params.x"}');
SELECT tide.explain_shape('s');
-- another's shape
SELECT tide.drop_shape('taken');
SELECT tide.replace_shape('taken', '{"table": "issues", "columns": []}');
RESET ROLE;
ALTER TABLE issues ENABLE ROW LEVEL SECURITY;
SET ROLE regress_tide_author;
SELECT tide.replace_shape('s', '{"table": "issues", "columns": ["title"]}');
SELECT tide.drop_shape('s');
RESET ROLE;

-- a read-only transaction
\set SHOW_CONTEXT never
BEGIN READ ONLY;
SELECT tide.create_shape('s', '{"table": "issues"}');
ROLLBACK;
\set SHOW_CONTEXT errors

-- nothing came of all that
SELECT name FROM tide.shapes;
SELECT relid::regclass FROM tide_internal.sources WHERE relid::regclass::text NOT IN ('issues') AND
	relid IN (SELECT oid FROM pg_class WHERE relnamespace = 'shapes'::regnamespace);
SELECT tide.drop_shape('taken');
RESET search_path;
SET client_min_messages = warning;
REVOKE ALL ON FUNCTION tide.create_shape, tide.replace_shape, tide.drop_shape, tide.explain_shape FROM regress_tide_author;
DROP SCHEMA shapes CASCADE;
DROP ROLE regress_tide_author;
