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

-- encrypted columns
SELECT tide.create_shape('s', '{"table": "issues", "encrypted": "title"}');
SELECT tide.create_shape('s', '{"table": "issues", "encrypted": ["absent"]}');
SELECT tide.create_shape('s', '{"table": "issues", "encrypted": ["id"]}');
SELECT tide.create_shape('s', '{"table": "issues", "encrypted": ["team"]}');
SELECT tide.create_shape('s', '{"table": "issues", "encrypted": ["title"], "columns": ["team"]}');
SELECT tide.create_shape('s', '{"table": "issues", "encrypted": ["title"], "where": "team = params.team AND title IS NOT NULL"}');
SELECT tide.create_shape('s', '{"table": "issues", "encrypted": ["title"], "where": "issues = params.row"}');
SELECT tide.create_shape('s', '{"table": "issues", "encrypted": ["title"], "where": "EXISTS (SELECT FROM issues i JOIN members m ON m.team = i.team WHERE i.title = claims.sub)"}');
SELECT tide.create_shape('s', '{"table": "issues", "encrypted": ["title"], "order_by": "title", "limit": 5}');
SELECT tide.create_shape('s', '{"table": "members", "include": {"issues": {"table": "issues", "encrypted": ["title"], "on": "issues.title = parent.team::text"}}}');

-- trees, limits
SELECT tide.create_shape('s', '{"table": "issues", "on": "true"}');
SELECT tide.create_shape('s', '{"table": "issues", "limit": 5}');
SELECT tide.create_shape('s', '{"table": "issues", "order_by": "id", "limit": "5"}');
SELECT tide.create_shape('s', '{"table": "issues", "order_by": "id", "limit": 0}');
SELECT tide.create_shape('s', '{"table": "issues", "order_by": "id", "limit": 1.5}');
SELECT tide.create_shape('s', '{"table": "issues", "order_by": "id", "limit": 1e9}');
SELECT tide.create_shape('s', '{"table": "issues", "order_by": 1}');
CREATE PROCEDURE try_tree(include jsonb) LANGUAGE sql
	AS $$ SELECT tide.create_shape('s', jsonb_build_object('table', 'issues', 'include', include)) $$;
CALL try_tree('[]');
CALL try_tree('{"members": []}');
CALL try_tree('{"members": {}}');
CALL try_tree('{"members": {"table": "members", "colour": "red"}}');
CALL try_tree('{"members": {"table": "members", "on": "issues.team = members.team", "include": {"issue": {"table": "issues", "where": 7}}}}');
CALL try_tree('{"members": {"table": "members", "encrypted": ["team"]}}');
CALL try_tree('{"members": {"table": "members", "limit": 5}}');
CALL try_tree('{"parent": {"table": "members"}}');
CALL try_tree('{"claims": {"table": "members"}}');
CALL try_tree('{"": {"table": "members"}}');
CALL try_tree('{"a.b": {"table": "members"}}');
CALL try_tree('{"absent": {"table": "absent", "on": "true"}}');
CALL try_tree('{"members": {"table": "members", "on": "issues.team = members.team", "include": {"issue": {"table": "issues", "on": "issues.team = members.team", "where": "absent"}}}}');
SELECT tide.create_shape('s', jsonb_build_object('table', 'issues', 'where', repeat(' ', 70000)));
\set SHOW_CONTEXT never
DO $$
DECLARE
	tree jsonb := '{"table": "members", "on": "true"}';
BEGIN
	FOR i IN 1 .. 17 LOOP
		tree := jsonb_build_object('table', 'members', 'on', 'true', 'include', jsonb_build_object('m', tree));
	END LOOP;
	PERFORM tide.create_shape('s', tree - 'on');
END $$;
DO $$
DECLARE
	many jsonb;
BEGIN
	SELECT jsonb_object_agg('m' || i, '{"table": "members", "on": "members.team = issues.team"}'::jsonb) INTO many FROM generate_series(1, 100) i;
	CALL try_tree(many);
END $$;
\set SHOW_CONTEXT errors

-- "on"
CREATE TABLE people (id int PRIMARY KEY, boss int REFERENCES people, name text);
CREATE TABLE letters (id int PRIMARY KEY, sender int REFERENCES people, receiver int REFERENCES people);
CALL try_tree('{"members": {"table": "members"}}');
SELECT tide.create_shape('s', '{"table": "people", "include": {"letters": {"table": "letters"}}}');
SELECT tide.create_shape('s', '{"table": "letters", "include": {"sender": {"table": "people"}}}');
SELECT tide.create_shape('s', '{"table": "people", "include": {"staff": {"table": "people"}}}');
SELECT tide.create_shape('s', '{"table": "people", "include": {"letters": {"table": "letters", "on": "letters.sender = people.id", "include": {"people": {"table": "people", "on": "people.id = letters.receiver AND boss.id = 1"}}}}}');
SELECT tide.create_shape('s', '{"table": "people", "include": {"letters": {"table": "people", "on": "letters.boss = parent.id", "include": {"letters": {"table": "letters", "on": "letters.sender = 1"}}}}}');
CALL try_tree('{"members": {"table": "members", "on": "team = members.team"}}');
CALL try_tree('{"members": {"table": "members", "on": "true"}}');
CALL try_tree('{"members": {"table": "members", "on": "members.team = members.member AND members.team IS NOT NULL"}}');
CALL try_tree('{"members": {"table": "members", "on": "issues.team"}}');
CALL try_tree('{"members": {"table": "members", "on": "issues.team = members.team, true"}}');
CALL try_tree('{"members": {"table": "members", "on": "issues.team = absent.team"}}');
CALL try_tree('{"members": {"table": "members", "on": "issues.team = members.team AND members.member = claims.sub"}}');
CALL try_tree('{"members": {"table": "members", "on": "issues.team = members.team AND params.x"}}');
CALL try_tree('{"members": {"table": "members", "on": "EXISTS (SELECT FROM people)"}}');
CALL try_tree('{"members": {"table": "members", "on": "issues.team = members.team AND issues.created > now()"}}');
CALL try_tree('{"members": {"table": "members", "on": "random() < 0.5"}}');
CALL try_tree('{"members": {"table": "members", "on": "members.ctid = issues.ctid"}}');
CREATE FUNCTION same(uuid, uuid) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 = $2; END';
CREATE DOMAIN small AS int CHECK (VALUE < 10);
CALL try_tree('{"members": {"table": "members", "on": "same(issues.team, members.team)"}}');
CALL try_tree('{"members": {"table": "members", "on": "issues.id::int::small = 1"}}');

-- "order_by"
CREATE PROCEDURE try_order(order_by text) LANGUAGE sql
	AS $$ SELECT tide.create_shape('s', jsonb_build_object('table', 'issues', 'limit', 3, 'order_by', order_by)) $$;
CALL try_order('');
CALL try_order('absent DESC');
CALL try_order('id DESC, title ASC NULLS');
CALL try_order('id LIMIT 3');
CALL try_order('id; DROP TABLE issues');
CALL try_order('1');
CALL try_order('id USING <');
CALL try_order('status, claims.x');
CALL try_order('status, (SELECT 1)');
CALL try_order('now()');
CALL try_order('random()');
CALL try_order('point(1, 2)');
CALL try_order('issues');
CALL try_order('same(team, team)');
SELECT tide.create_shape('s', '{"table": "issues", "order_by": "id", "limit": 3, "where": "same(team, team)"}');
SELECT tide.create_shape('s', '{"table": "issues", "order_by": "id", "limit": 3, "where": "status = params.x OR title = params.x"}');

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
CALL try_where('created > clock_timestamp()');
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
CALL try_where('now() = created');
CALL try_where('local_time > now()');
CALL try_where('created + interval ''1 day'' > now()');
CALL try_where('created > now() - spell');
CALL try_where('created > now() - now()');
CALL try_where('created > date_trunc(''day'', now())');
CALL try_where('created > CURRENT_TIMESTAMP(0)');
CALL try_where('now() > ''2030-01-01 00:00+00''');
CALL try_where('(created > now()) = params.x');
CREATE FUNCTION later(timestamptz) RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
CALL try_where('later(created) > now()');
CALL try_where('ctid = ''(0,1)''');
CALL try_where('tableoid = 1');
CALL try_where('issues IS NOT NULL');
CALL try_where('issues.* IS NOT NULL');

-- parameters no bucket key can be made of
CALL try_where('id > params.x');
CALL try_where('status = ''a'' AND id <> params.x');
CALL try_where('status LIKE params.x');
CALL try_where('NOT (id = params.x)');
CALL try_where('id NOT IN (params.x, params.y)');
CALL try_where('id <> ALL (params.x)');
CALL try_where('id BETWEEN params.x AND params.y');
CALL try_where('id = params.x + 1');
CALL try_where('id + params.x = 5');
CALL try_where('id = params.x::int');
CALL try_where('status = lower(params.x)');
CALL try_where('status = params.x::varchar(3)');
CALL try_where('id = ANY (params.x || 5::bigint)');
CALL try_where('status IS NOT DISTINCT FROM params.x');
CALL try_where('(id = params.x) = true');
CALL try_where('tags = params.x');
CALL try_where('extra = params.x');
CALL try_where('spell = params.x');
CALL try_where('name_loose = params.x');
CALL try_where('status COLLATE loose = params.x');
CALL try_where('id = params.x AND (status = ''a'' AND (title = ''b'' OR price > params.y))');
CALL try_where('name_loose COLLATE "C" > params.x');
CALL try_where('params = 1');
CALL try_where('params.* = 1');
CALL try_where('claims.app.role = ''x''');

-- alternatives
CALL try_where('id = params.a OR status LIKE params.b');
CALL try_where('NOT (id = params.a OR status = ''x'')');
CALL try_where('(id = params.a OR status = params.b) AND (id = params.c OR status = params.d) AND (id = params.e OR status = params.f) AND (id = params.g OR status = params.h) AND (id = params.i OR status = params.j) AND (id = params.k OR status = params.l)');

-- arrays
CALL try_where('tags && (params.a || params.b)');
CALL try_where('tags @> params.a');
CALL try_where('tags <@ params.a');
CALL try_where('tags @> ARRAY[params.a, ''x'']');
CALL try_where('NOT (tags && params.a)');
CALL try_where('params.a || ''x'' = ANY (tags)');
CALL try_where('params.a <> ANY (tags)');
CALL try_where('params.a = ALL (tags)');
CALL try_where('extra @> params.a');

-- subqueries
CREATE VIEW a_view AS SELECT * FROM members;
CREATE TABLE no_key (team uuid);
CALL try_where('status = ''x'' AND id > (SELECT 1)');
CALL try_where('status = ANY (ARRAY(SELECT ''x''))');
CALL try_where('(id, status) = (SELECT 1, ''x'')');
CALL try_where('id > ANY (SELECT sender FROM letters)');
CALL try_where('id = ALL (SELECT sender FROM letters)');
CALL try_where('id IN (SELECT sender FROM letters LIMIT 1)');
CALL try_where('id IN (SELECT max(sender) FROM letters)');
CALL try_where('id IN (SELECT sender FROM letters GROUP BY sender)');
CALL try_where('EXISTS (SELECT FROM letters HAVING true)');
CALL try_where('id IN (SELECT DISTINCT ON (sender) sender FROM letters)');
CALL try_where('id IN (SELECT sender FROM letters UNION SELECT 1)');
CALL try_where('id IN (WITH l AS (SELECT * FROM letters) SELECT sender FROM l)');
CALL try_where('id IN (SELECT row_number() OVER () FROM letters)');
CALL try_where('id IN (SELECT generate_series(1, sender) FROM letters)');
CALL try_where('id IN (SELECT sender FROM letters LEFT JOIN people ON true)');
CALL try_where('id IN (SELECT sender FROM (SELECT * FROM letters) l)');
CALL try_where('id IN (SELECT * FROM generate_series(1, 3))');
CALL try_where('id IN (SELECT sender FROM letters FOR UPDATE)');
CALL try_where('id IN (SELECT sender FROM letters TABLESAMPLE SYSTEM (1))');
CALL try_where('id IN (VALUES (1), (2))');
CALL try_where('id IN (SELECT 1)');
CALL try_where('EXISTS (SELECT FROM a_view)');
CALL try_where('EXISTS (SELECT FROM no_key)');
CALL try_where('EXISTS (SELECT FROM pg_class)');
CALL try_where('EXISTS (SELECT FROM tide_internal.shapes)');
CALL try_where('EXISTS (SELECT FROM absent)');
CALL try_where('EXISTS (SELECT FROM letters claims WHERE claims.id = 1)');
CALL try_where('EXISTS (SELECT FROM people WHERE people.absent = issues.id)');
CALL try_where('EXISTS (SELECT FROM people WHERE random() < 0.5)');
CALL try_where('EXISTS (SELECT FROM people WHERE people.ctid = issues.ctid)');
CALL try_where('EXISTS (SELECT FROM members m WHERE same(m.team, issues.team))');
CALL try_where('EXISTS (SELECT FROM issues i WHERE i.created > now() AND i.id = issues.id)');

-- subqueries no lookup can be made of
CALL try_where('EXISTS (SELECT FROM people p WHERE p.id < issues.id AND p.name = claims.sub)');
CALL try_where('EXISTS (SELECT FROM people p WHERE p.boss > issues.price AND p.name = claims.sub)');
CALL try_where('EXISTS (SELECT FROM people p WHERE p.id = issues.id + p.boss AND p.name = claims.sub)');
CALL try_where('EXISTS (SELECT FROM people p WHERE p.name = claims.sub AND issues.status <> ''x'')');
CALL try_where('EXISTS (SELECT FROM people p WHERE p.name = claims.sub AND (p.id = issues.id OR p.boss = issues.id))');
CALL try_where('EXISTS (SELECT FROM people p WHERE p.name = claims.sub AND EXISTS (SELECT FROM letters l WHERE l.sender = p.id AND l.receiver = issues.id))');
CALL try_where('NOT EXISTS (SELECT FROM people p WHERE p.name = ANY (issues.tags) AND p.id = claims.sub)');
CALL try_where('status NOT IN (SELECT p.name FROM people p WHERE p.id = issues.id AND p.boss = claims.sub)');
CALL try_where('(id, status) NOT IN (SELECT p.id, p.name FROM people p WHERE p.boss = claims.sub)');
CALL try_where('spell IN (SELECT p.id * interval ''1 day'' FROM people p WHERE p.name = claims.sub)');
CALL try_where('price IN (SELECT p.id FROM people p WHERE p.name = params.x) = true');
CALL try_where('EXISTS (SELECT FROM members m WHERE same(m.team, claims.sub) AND m.team = issues.team)');
CALL try_where('EXISTS (SELECT FROM members m WHERE same(m.team, claims.sub))');
CREATE TYPE smalls AS (s small);
CALL try_where('id IN (SELECT p.id FROM people p WHERE p.boss = params.x::small)');
CALL try_where('5 = ANY (params.x::small[]) OR (params.y::smalls).s = 1');

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
SELECT tide.create_shape('t', '{"table": "issues", "columns": ["title"], "where": "id IN (SELECT sender FROM letters)"}');
SELECT tide.create_shape('t', '{"table": "issues", "columns": ["title"], "where": "EXISTS (SELECT FROM letters)"}');
SELECT tide.create_shape('t', '{"table": "issues", "columns": ["title"], "include": {"members": {"table": "members", "on": "members.team = issues.team"}}}');
SELECT tide.create_shape('t', '{"table": "issues", "columns": ["title"], "include": {"other": {"table": "issues", "columns": ["title"], "on": "other.price = parent.id"}}}');
SELECT tide.create_shape('t', '{"table": "issues", "columns": ["title"], "order_by": "price", "limit": 1}');
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
