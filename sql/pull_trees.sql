-- Shapes of several tables: includes, lookups over claims, OR, arrays, limits, time windows.
-- Shown without what differs from run to run: bucket ids, op_ids, hashes, times.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_tide;
RESET client_min_messages;
CREATE SCHEMA pull_trees;
SET search_path = pull_trees, public;
\pset format unaligned
\pset tuples_only on
\set SHOW_CONTEXT never
SET TimeZone = 'UTC';

-- a client: its cookie and the rows it holds
CREATE TABLE cookies (client text PRIMARY KEY, cookie jsonb);
CREATE TABLE held (client text, bucket bigint, "table" text, key jsonb, "row" jsonb, hash bigint,
	PRIMARY KEY (client, bucket, "table", key));
GRANT ALL ON cookies, held TO PUBLIC;
GRANT USAGE ON SCHEMA pull_trees TO PUBLIC;

-- pull a page as the client, apply it, say what was in it
CREATE FUNCTION page(who text, request jsonb) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
	ids bigint[];
	lines text[];
BEGIN
	answer := tide.pull(jsonb_build_object('cookie', (SELECT cookie FROM cookies WHERE client = who)) || request);
	INSERT INTO cookies VALUES (who, answer -> 'cookie')
		ON CONFLICT (client) DO UPDATE SET cookie = excluded.cookie;
	SELECT array_agg(value::bigint) INTO ids FROM jsonb_array_elements_text(answer -> 'drop');
	RETURN NEXT format('complete %s, dropped %s', answer ->> 'complete',
		(SELECT count(DISTINCT bucket) FROM held WHERE client = who AND bucket = ANY (ids)));
	DELETE FROM held WHERE client = who AND bucket = ANY (ids);
	-- a row has one change in a bucket and page, so their order does not matter
	SELECT array_agg(format('%s %s %s %s', change ->> 'op', replace(change ->> 'table', 'pull_trees.', ''), change ->> 'key',
			change -> 'row' #- '{created_at}') ORDER BY change ->> 'table', change -> 'key', change ->> 'op', change -> 'row')
		INTO lines FROM jsonb_array_elements(answer -> 'changes') change;
	RETURN QUERY SELECT unnest(lines);
	DELETE FROM held h USING jsonb_array_elements(answer -> 'changes') change
		WHERE h.client = who AND h.bucket = (change ->> 'bucket')::bigint
			AND h."table" = change ->> 'table' AND h.key = change -> 'key';
	INSERT INTO held SELECT who, (change ->> 'bucket')::bigint, change ->> 'table', change -> 'key',
			change -> 'row', (change ->> 'hash')::bigint
		FROM jsonb_array_elements(answer -> 'changes') change WHERE change ->> 'op' = 'put';
	SELECT array_agg(format('  %s %s%s: %s', part ->> 'shape', part ->> 'params', ' ' || (part ->> 'path'),
			CASE WHEN part ->> 'bucket' IS NULL THEN 'no bucket'
				ELSE (SELECT format('%s rows, count %s, checksum %s', count(*),
						CASE WHEN count(*) = (part ->> 'count')::bigint THEN 'ok' ELSE 'WRONG' END,
						CASE WHEN coalesce(sum(hash), 0) % 4294967296 = (part ->> 'checksum')::bigint THEN 'ok' ELSE 'WRONG' END)
					FROM held WHERE client = who AND bucket = (part ->> 'bucket')::bigint) END)
			ORDER BY part ->> 'shape', part -> 'params', part ->> 'path' NULLS FIRST)
		INTO lines FROM jsonb_array_elements(answer -> 'buckets') part;
	-- several buckets of a node may be alike
	RETURN QUERY SELECT l FROM unnest(lines) l ORDER BY l COLLATE "C";
END $$;

-- what the client shows: a row lives while any bucket holds it
CREATE FUNCTION shown(who text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('%s: %s', replace("table", 'pull_trees.', ''), string_agg(key::text, ' ' ORDER BY key))
	FROM (SELECT DISTINCT "table", key FROM held WHERE client = who) r GROUP BY "table" ORDER BY "table" $$;

-- the definition of the contract
CREATE TABLE users (id text PRIMARY KEY, name text, avatar_url text, password text);
CREATE TABLE team_members (team_id int, user_id text REFERENCES users, PRIMARY KEY (team_id, user_id));
CREATE TABLE pipelines (id int PRIMARY KEY, name text, team_id int, status text, secret text);
CREATE TABLE steps (id int PRIMARY KEY, pipeline_id int REFERENCES pipelines, name text);
CREATE TABLE connections (id int PRIMARY KEY, from_step_id int REFERENCES steps, to_step_id int REFERENCES steps);
CREATE TABLE comments (id int PRIMARY KEY, pipeline_id int REFERENCES pipelines, user_id text REFERENCES users, body text);
CREATE TABLE pipeline_versions (pipeline_id int REFERENCES pipelines, version_number int, created_at timestamptz,
	PRIMARY KEY (pipeline_id, version_number));

INSERT INTO users SELECT n, initcap(n), n || '.png', 'x' FROM unnest('{ann,bob,cat,dan}'::text[]) n;
INSERT INTO team_members VALUES (1, 'ann'), (1, 'cat'), (2, 'bob');
INSERT INTO pipelines VALUES (1, 'build', 1, 'on', 's'), (2, 'ship', 2, 'on', 's'), (3, 'test', 1, 'off', 's');
INSERT INTO steps VALUES (11, 1, 'fetch'), (12, 1, 'make'), (21, 2, 'pack'), (31, 3, 'run');
INSERT INTO connections VALUES (101, 11, 12), (102, 12, 12), (103, 21, 21), (104, 11, 21);
INSERT INTO comments VALUES (1, 1, 'ann', 'hello'), (2, 1, 'dan', 'hi'), (3, 2, 'bob', 'no'), (4, 1, 'dan', 'again');
INSERT INTO pipeline_versions SELECT 1, n, now() - n * interval '1 hour' FROM generate_series(1, 13) n;
INSERT INTO pipeline_versions VALUES (1, 99, now() - interval '31 days'), (2, 1, now());

SELECT tide.create_shape('workspace', '{ "table": "pipelines",
  "where": "id = params.pipeline_id AND team_id IN (SELECT team_id FROM team_members WHERE user_id = claims.sub)",
  "columns": ["id", "name", "team_id", "status"],
  "include": {
    "steps":       { "table": "steps",
                     "include": { "connections": { "table": "connections",
                                                   "on": "connections.from_step_id = steps.id OR connections.to_step_id = steps.id" } } },
    "comments":    { "table": "comments",
                     "include": { "author": { "table": "users", "columns": ["id", "name", "avatar_url"] } } },
    "versions":    { "table": "pipeline_versions",
                     "where": "created_at > now() - interval ''30 days''", "order_by": "version_number DESC", "limit": 10 } } }');
SELECT tide.ingest() IS NOT NULL;
SELECT name, state, array_to_string(tables, ' '), buckets, rows FROM tide.shapes WHERE name = 'workspace';
SELECT page('ann', '{"shapes": {"workspace": [{"pipeline_id": 1}]}, "claims": {"sub": "ann"}}');
SELECT shown('ann');

-- the same in pages
SELECT count(*) FROM (SELECT page('slow', '{"shapes": {"workspace": [{"pipeline_id": 1}]}, "claims": {"sub": "ann"}, "limit": 4}')
	FROM generate_series(1, 5)) lines;
SELECT page('slow', '{"shapes": {"workspace": [{"pipeline_id": 1}]}, "claims": {"sub": "ann"}, "limit": 4}');
SELECT count(*) FROM (SELECT bucket, "table", key, "row" FROM held WHERE client = 'ann'
	EXCEPT SELECT bucket, "table", key, "row" FROM held WHERE client = 'slow') missing;

-- of another team, of no team, without a claim: nothing, and no telling why
SELECT page('bob', '{"shapes": {"workspace": [{"pipeline_id": 1}, {"pipeline_id": 2}, {"pipeline_id": 9}]}, "claims": {"sub": "bob"}}');
SELECT page('dan', '{"shapes": {"workspace": [{"pipeline_id": 1}]}, "claims": {"sub": "dan"}}');
SELECT page('eve', '{"shapes": {"workspace": [{"pipeline_id": 1}]}, "claims": {}}');
SELECT page('eve', '{"shapes": {"workspace": [{"pipeline_id": 1}]}, "claims": {"sub": null}}');

-- a caller without any right on the tables
CREATE ROLE tide_regress_reader;
SELECT tide.trust_role('tide_regress_reader');
SET ROLE tide_regress_reader;
SELECT page('cat', '{"shapes": {"workspace": [{"pipeline_id": 3}]}, "claims": {"sub": "cat"}}');
SELECT count(*) FROM pull_trees.team_members;
DO $$ BEGIN EXECUTE 'SELECT FROM tide_shadow.t1'; EXCEPTION WHEN OTHERS THEN RAISE '% %', SQLSTATE, SQLERRM; END $$;
RESET ROLE;

-- each level changes
INSERT INTO steps VALUES (13, 1, 'check');
INSERT INTO connections VALUES (105, 12, 13);
UPDATE users SET name = 'Daniel' WHERE id = 'dan';
UPDATE users SET password = 'y' WHERE id = 'ann';
INSERT INTO comments VALUES (5, 1, 'cat', 'new');
INSERT INTO pipeline_versions VALUES (1, 14, now());
SELECT tide.ingest() > 0;
SELECT page('ann', '{"shapes": {"workspace": [{"pipeline_id": 1}]}, "claims": {"sub": "ann"}}');
-- one of two comments of an author, then the other; a connection's one end, then the other
DELETE FROM comments WHERE id = 2;
UPDATE connections SET from_step_id = 21 WHERE id = 105;
SELECT tide.ingest() > 0;
SELECT page('ann', '{"shapes": {"workspace": [{"pipeline_id": 1}]}, "claims": {"sub": "ann"}}');
DELETE FROM comments WHERE id = 4;
UPDATE connections SET to_step_id = 21 WHERE id = 105;
DELETE FROM pipeline_versions WHERE version_number IN (12, 14);
SELECT tide.ingest() > 0;
SELECT page('ann', '{"shapes": {"workspace": [{"pipeline_id": 1}]}, "claims": {"sub": "ann"}}');
-- a step moves to another pipeline, and takes its connections along
UPDATE steps SET pipeline_id = 3 WHERE id = 12;
SELECT tide.ingest() > 0;
SELECT page('ann', '{"shapes": {"workspace": [{"pipeline_id": 1}]}, "claims": {"sub": "ann"}}');
SELECT page('cat', '{"shapes": {"workspace": [{"pipeline_id": 3}]}, "claims": {"sub": "cat"}}');
-- the root moves to another team: it and all below it go for ann, and come for bob
UPDATE pipelines SET team_id = 2 WHERE id = 1;
SELECT tide.ingest() > 0;
SELECT page('ann', '{"shapes": {"workspace": [{"pipeline_id": 1}]}, "claims": {"sub": "ann"}}');
SELECT shown('ann');
SELECT page('bob', '{"shapes": {"workspace": [{"pipeline_id": 1}]}, "claims": {"sub": "bob"}}');
-- who leaves the team loses what the team has, with the change itself
DELETE FROM team_members WHERE user_id = 'bob';
SELECT page('bob', '{"shapes": {"workspace": [{"pipeline_id": 1}]}, "claims": {"sub": "bob"}}') LIMIT 1;
SELECT tide.ingest() > 0;
SELECT page('bob', '{"shapes": {"workspace": [{"pipeline_id": 1}]}, "claims": {"sub": "bob"}}');
SELECT shown('bob');
SELECT * FROM tide.verify('workspace', '{"pipeline_id": 1}', '{"sub": "cat"}');
SELECT * FROM tide.verify('workspace', '{"pipeline_id": 3}', '{"sub": "cat"}');
SELECT * FROM tide_internal.verify_all();

-- a row leaves as time passes, without a write
INSERT INTO pipeline_versions VALUES (3, 1, now() - interval '30 days' + interval '2 s'), (3, 2, now());
SELECT tide.ingest() > 0;
SELECT page('cat', '{"shapes": {"workspace": [{"pipeline_id": 3}]}, "claims": {"sub": "cat"}}');
SELECT pg_sleep(2.1);
SELECT tide.ingest();
SELECT page('cat', '{"shapes": {"workspace": [{"pipeline_id": 3}]}, "claims": {"sub": "cat"}}');
SELECT * FROM tide.verify('workspace', '{"pipeline_id": 3}', '{"sub": "cat"}');

-- OR: own notes and shared ones; a row stays while either holds it. Hidden ones are left out
CREATE TABLE notes (id int PRIMARY KEY, owner text, org_ids int[], tags text[], body text);
CREATE TABLE shares (note_id int, user_id text, PRIMARY KEY (note_id, user_id));
CREATE TABLE hidden (owner text, user_id text, PRIMARY KEY (owner, user_id));
INSERT INTO notes VALUES (1, 'ann', '{1,2}', '{a,b}', 'one'), (2, 'bob', '{2,2,NULL}', '{b}', 'two'), (3, 'bob', '{}', NULL, 'three'),
	(4, NULL, '{1}', '{c}', 'four');
INSERT INTO shares VALUES (1, 'ann'), (2, 'ann'), (4, 'bob');
INSERT INTO hidden VALUES ('bob', 'cat');
SELECT tide.create_shape('mine', '{"table": "notes", "columns": ["owner"],
	"where": "owner = claims.sub OR id IN (SELECT note_id FROM shares WHERE user_id = claims.sub)"}');
SELECT tide.create_shape('org', '{"table": "notes", "columns": ["org_ids"], "where": "claims.org = ANY (org_ids)"}');
SELECT tide.create_shape('tagged', '{"table": "notes", "columns": ["tags"], "where": "tags && params.tags"}');
SELECT tide.create_shape('visible', '{"table": "notes", "columns": ["owner"],
	"where": "NOT EXISTS (SELECT FROM hidden h WHERE h.owner = notes.owner AND h.user_id = claims.sub)"}');
SELECT tide.create_shape('shared', '{"table": "notes", "columns": [], "where": "id IN (SELECT note_id FROM shares)"}');
SELECT tide.create_shape('admin', '{"table": "notes", "columns": [], "where": "claims.role = ''admin''"}');
SELECT tide.ingest() IS NOT NULL;
SELECT page('n-ann', '{"shapes": {"mine": {}, "org": {}, "visible": {}, "shared": {}, "admin": {}}, "claims": {"sub": "ann", "org": 2, "role": "user"}}');
SELECT page('n-cat', '{"shapes": {"mine": {}, "org": {}, "visible": {}, "admin": {}}, "claims": {"sub": "cat", "org": "1", "role": "admin"}}');
SELECT page('n-tag', '{"shapes": {"tagged": [{"tags": ["a", "c", null]}, {"tags": ["zz"]}]}}');
DELETE FROM shares WHERE note_id = 1;
UPDATE notes SET owner = 'bob' WHERE id = 1;
UPDATE notes SET org_ids = '{1}', tags = '{c}' WHERE id = 2;
INSERT INTO hidden VALUES ('bob', 'ann');
DELETE FROM hidden WHERE user_id = 'cat';
SELECT tide.ingest() > 0;
SELECT page('n-ann', '{"shapes": {"mine": {}, "org": {}, "visible": {}, "shared": {}, "admin": {}}, "claims": {"sub": "ann", "org": 2, "role": "admin"}}');
SELECT page('n-cat', '{"shapes": {"mine": {}, "org": {}, "visible": {}, "admin": {}}, "claims": {"sub": "cat", "org": "1"}}');
SELECT page('n-tag', '{"shapes": {"tagged": [{"tags": ["a", "c", null]}, {"tags": ["zz"]}]}}');
SELECT * FROM tide_internal.verify_all();
SELECT * FROM tide.verify('visible', '{}', '{"sub": "ann"}');
SELECT * FROM tide.verify('mine', '{}', '{"sub": "ann"}');

-- a table in its own tree
CREATE TABLE folders (id int PRIMARY KEY, parent int REFERENCES folders, name text);
INSERT INTO folders VALUES (1, NULL, 'top'), (2, 1, 'a'), (3, 2, 'b'), (4, 3, 'c'), (5, NULL, 'other');
SELECT tide.create_shape('folders', '{"table": "folders", "where": "id = params.id",
	"include": {"below": {"table": "folders", "on": "below.parent = parent.id",
		"include": {"deeper": {"table": "folders", "on": "deeper.parent = parent.id"}}}}}');
SELECT tide.ingest() IS NOT NULL;
SELECT page('f', '{"shapes": {"folders": [{"id": 1}, {"id": 2}]}}');
UPDATE folders SET parent = 5 WHERE id = 2;
SELECT tide.ingest() > 0;
SELECT page('f', '{"shapes": {"folders": [{"id": 1}, {"id": 2}]}}');
SELECT shown('f');
SELECT * FROM tide_internal.verify_all();

-- buckets of all nodes count, and rows of a subquery do
SET tide.max_buckets_per_pull = 2;
SELECT page('f2', '{"shapes": {"folders": [{"id": 5}]}}');
SELECT page('f2', '{"shapes": {"visible": {}}, "claims": {"sub": "ann"}}') LIMIT 1;
RESET tide.max_buckets_per_pull;

-- verify finds what is wrong: a row's content, a row, who is entitled
CREATE FUNCTION spoil(statement text, relation regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format(statement, 'tide_shadow.t' || (SELECT source_id FROM tide_internal.sources WHERE relid = relation));
END $$;
INSERT INTO team_members VALUES (2, 'bob');
SELECT tide.ingest() > 0;
SELECT * FROM tide.verify('workspace', '{"pipeline_id": 1}', '{"sub": "bob"}');
BEGIN;
SELECT spoil('UPDATE %s SET c3 = ''changed'' WHERE c1 = 11', 'steps');
SELECT spoil('DELETE FROM %s WHERE c1 = 5', 'comments');
SELECT * FROM tide.verify('workspace', '{"pipeline_id": 1}', '{"sub": "bob"}') ORDER BY "table", problem;
SELECT "table", key, problem FROM tide_internal.verify_all() ORDER BY "table", problem;
SELECT spoil('DELETE FROM %s WHERE c2 = ''bob''', 'team_members');
SELECT spoil('INSERT INTO %s (_op, c1, c2) VALUES (0, 1, ''eve'')', 'team_members');
SELECT "table", count(key), problem FROM tide.verify('workspace', '{"pipeline_id": 1}', '{"sub": "bob"}') GROUP BY 1, 3 ORDER BY 1;
SELECT "table", count(key), problem FROM tide.verify('workspace', '{"pipeline_id": 3}', '{"sub": "eve"}') GROUP BY 1, 3 ORDER BY 1;
DELETE FROM tide_internal.buckets b USING tide_internal.shapes s
	WHERE b.shape_id = s.shape_id AND s.name = 'visible' AND b.key = '{bob}';
SELECT "table", key, problem FROM tide.verify('visible', '{}', '{"sub": "cat"}');
SELECT "table", key, problem FROM tide.verify('visible', '{}', '{"sub": "ann"}');
ROLLBACK;
SELECT count(*) FROM tide_internal.verify_all();

-- a lookup that was run before follows its table: a new type, a new definition
SELECT page('bob', '{"shapes": {"workspace": [{"pipeline_id": 2}]}, "claims": {"sub": "bob"}}') LIMIT 1;
ALTER TABLE team_members ALTER user_id TYPE varchar(10);
SELECT tide.ingest() IS NOT NULL;
SELECT tide.ingest() IS NOT NULL;
SELECT page('bob', '{"shapes": {"workspace": [{"pipeline_id": 2}]}, "claims": {"sub": "bob"}}') LIMIT 1;
SELECT tide.replace_shape('workspace', '{"table": "pipelines", "columns": ["name"],
	"where": "id = params.pipeline_id AND team_id NOT IN (SELECT team_id FROM team_members WHERE user_id = claims.sub)"}');
SELECT tide.ingest() IS NOT NULL;
SELECT page('bob', '{"shapes": {"workspace": [{"pipeline_id": 1}, {"pipeline_id": 3}]}, "claims": {"sub": "bob"}}');
SELECT * FROM tide_internal.verify_all();

-- the statements by which the ingest decides a tree, once its tables are copied
CREATE FUNCTION statements(name text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT coalesce(substring(line FROM '^ *\w+: SELECT') || (SELECT string_agg(DISTINCT ' ' || word, '' ORDER BY ' ' || word)
		FROM regexp_matches(line, 'tide_[a-z]+\.?|LIMIT \d', 'g') AS m(words), unnest(words) word), line)
	FROM regexp_split_to_table(tide.explain_shape(name), '\n') line WHERE line ~ 'node|strategy|: SELECT' $$;
SELECT tide.create_shape('statements', '{"table": "pipelines", "include": {"notes": {"table": "notes", "on": "notes.owner = parent.name",
	"where": "owner IN (SELECT user_id FROM team_members)"}, "steps": {"table": "steps", "order_by": "id", "limit": 2}}}');
SELECT statements('statements');
SELECT tide.ingest() IS NOT NULL;
SELECT statements('statements');

-- a lookup is all that needs its table
SELECT tide.drop_shape(name) FROM tide.shapes ORDER BY name COLLATE "C";
SELECT tide.create_shape('lookup', '{"table": "notes", "columns": [], "where": "owner IN (SELECT user_id FROM team_members WHERE team_id = params.team)"}');
SELECT tide.ingest() IS NOT NULL;
SELECT page('l', '{"shapes": {"lookup": [{"team": 1}, {"team": 2}]}}');
INSERT INTO team_members VALUES (1, 'bob');
SELECT tide.ingest() > 0;
SELECT page('l', '{"shapes": {"lookup": [{"team": 1}, {"team": 3}]}}');
SELECT * FROM tide_internal.verify_all();

SELECT tide.drop_shape(name) FROM tide.shapes ORDER BY name COLLATE "C";
SELECT tide.ingest() IS NOT NULL;
SELECT page('ann', '{"shapes": {}}');
SELECT shown('ann');
SELECT tide.untrust_role('tide_regress_reader');
SET client_min_messages = warning;
DROP SCHEMA pull_trees CASCADE;
DROP ROLE tide_regress_reader;
