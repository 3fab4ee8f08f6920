-- Shapes of several tables, subqueries, limits, time: what is made of them.
\pset format unaligned
\pset tuples_only
CREATE SCHEMA trees;
SET search_path = trees;
CREATE TABLE teams (id uuid PRIMARY KEY, name text);
CREATE TABLE users (id uuid PRIMARY KEY, name text NOT NULL, avatar_url text, email text);
CREATE TABLE team_members (
	team_id uuid REFERENCES teams,
	user_id uuid REFERENCES users,
	role text,
	PRIMARY KEY (team_id, user_id)
);
CREATE TABLE pipelines (
	id bigint PRIMARY KEY,
	name text,
	team_id uuid REFERENCES teams,
	status text,
	owner_id int,
	tags text[],
	org_ids int[],
	updated_at timestamptz,
	local_time timestamp
);
CREATE TABLE steps (id bigint PRIMARY KEY, pipeline_id bigint REFERENCES pipelines, title text, rank int);
CREATE TABLE connections (
	id bigint PRIMARY KEY,
	from_step_id bigint REFERENCES steps,
	to_step_id bigint REFERENCES steps
);
CREATE TABLE comments (
	id bigint PRIMARY KEY,
	pipeline_id bigint REFERENCES pipelines,
	author_id uuid REFERENCES users,
	body text
);
CREATE TABLE pipeline_versions (
	id bigint PRIMARY KEY,
	pipeline_id bigint REFERENCES pipelines,
	version_number int,
	created_at timestamptz
);
CREATE TABLE tasks (id int PRIMARY KEY, parent_id int REFERENCES tasks, title text);
CREATE TABLE pairs (a int, b varchar(10), note text, PRIMARY KEY (a, b));
CREATE TABLE pair_notes (id int PRIMARY KEY, a int, b varchar(10), FOREIGN KEY (a, b) REFERENCES pairs);

-- what a definition becomes; nothing stays
CREATE FUNCTION explain(definition jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM tide.create_shape('s', definition);
	result := tide.explain_shape('s');
	PERFORM tide.drop_shape('s');
	RETURN result;
END $$;
CREATE FUNCTION explain_where(condition text) RETURNS text LANGUAGE sql
	AS $$ SELECT regexp_replace(explain(jsonb_build_object('table', 'pipelines', 'columns', '[]'::jsonb, 'where', condition)),
								'\n +(strategy: direct|columns|buckets|table)[^\n]*', '', 'g') $$;

-- the definition of the contract
SELECT explain('{ "table": "pipelines",
  "where": "id = params.pipeline_id AND team_id IN (SELECT team_id FROM team_members WHERE user_id = claims.sub)",
  "columns": ["id", "name", "team_id", "status", "updated_at"],
  "include": {
    "steps":       { "table": "steps",
                     "include": { "connections": { "table": "connections",
                                                   "on": "connections.from_step_id = steps.id OR connections.to_step_id = steps.id" } } },
    "comments":    { "table": "comments",
                     "include": { "author": { "table": "users", "columns": ["id", "name", "avatar_url"] } } },
    "versions":    { "table": "pipeline_versions",
                     "where": "created_at > now() - interval ''30 days''", "order_by": "version_number DESC", "limit": 10 } } }');

-- many to many, by way of the table between; the same table twice; what a child's own conditions add
SELECT explain('{"table": "teams", "where": "id = params.team", "include": {
	"members": {"table": "team_members", "where": "role <> ''guest'' AND role = params.role", "include": {
		"user": {"table": "users", "columns": ["name"], "include": {
			"comments": {"table": "comments"},
			"\"Odd\" name": {"table": "team_members", "on": "\"\"\"Odd\"\" name\".user_id = users.id AND role = ''admin''"}}}}},
	"pipelines": {"table": "pipelines", "columns": []}}}');
-- self reference: the table's name is the child's row
SELECT explain('{"table": "tasks", "include": {"children": {"table": "tasks", "on": "tasks.parent_id = parent.id",
	"include": {"grandchildren": {"table": "tasks", "on": "grandchildren.parent_id = children.id"}}}}}');
SELECT explain('{"table": "tasks", "include": {"up": {"table": "tasks", "on": "up.id = parent.parent_id"}}}');
-- a foreign key of two columns
SELECT explain('{"table": "pair_notes", "include": {"pair": {"table": "pairs"}}}');
SELECT explain('{"table": "pairs", "include": {"notes": {"table": "pair_notes"}}}');

-- limits
SELECT explain('{"table": "steps", "columns": [], "where": "pipeline_id = params.p", "order_by": "rank DESC NULLS LAST, lower(title), id", "limit": 3}');
SELECT explain('{"table": "steps", "columns": [], "order_by": "rank NULLS FIRST, title COLLATE \"C\" DESC", "limit": 10000}');
-- without a limit the order says nothing about what a shape holds
SELECT explain('{"table": "steps", "columns": [], "order_by": "rank"}');

-- subqueries without parameters
SELECT explain_where('team_id IN (SELECT id FROM teams WHERE name = ''x'') AND status = ''a''');
SELECT explain_where('team_id NOT IN (SELECT id FROM teams WHERE name = ''x'')');
SELECT explain_where('status = ''a'' OR EXISTS (SELECT * FROM steps s JOIN connections c ON c.from_step_id = s.id WHERE s.pipeline_id = pipelines.id)');
SELECT explain_where('EXISTS (SELECT FROM team_members m NATURAL JOIN team_members n JOIN teams t ON t.id = m.team_id WHERE n.team_id = pipelines.team_id AND role = ''x'')');
SELECT explain_where('team_id = ANY (SELECT DISTINCT team_id FROM team_members m WHERE NOT EXISTS (SELECT FROM comments WHERE author_id = m.user_id AND comments.pipeline_id = pipelines.id) ORDER BY team_id)');
SELECT explain_where('(team_id, status) IN (SELECT m.team_id, m.role FROM team_members m)');
SELECT explain_where('id <> ALL (SELECT pipeline_id FROM steps WHERE title IS NOT NULL)');
SELECT explain_where('EXISTS (SELECT FROM pipelines other WHERE other.id = pipelines.owner_id)');

-- subqueries with parameters
SELECT explain_where('team_id IN (SELECT team_id FROM team_members WHERE user_id = claims.sub AND role = ANY (params.roles))');
SELECT explain_where('EXISTS (SELECT FROM team_members m WHERE m.team_id = pipelines.team_id AND m.user_id = claims.sub)');
SELECT explain_where('EXISTS (SELECT FROM team_members m JOIN users u ON u.id = m.user_id WHERE pipelines.team_id = m.team_id AND m.role = lower(pipelines.status) AND u.email = claims.email AND u.name = params.name)');
SELECT explain_where('team_id IN (SELECT m.team_id FROM team_members m WHERE m.user_id IN (SELECT author_id FROM comments WHERE body = claims.sub))');
SELECT explain_where('EXISTS (SELECT FROM tasks t WHERE t.id = ANY (pipelines.org_ids) AND t.title = claims.sub)');
SELECT explain_where('claims.sub IN (SELECT m.user_id FROM team_members m WHERE m.team_id = pipelines.team_id)');
SELECT explain_where('owner_id IN (SELECT s.id FROM steps s WHERE s.title = params.x)');
SELECT explain_where('id IN (SELECT v.pipeline_id FROM pipeline_versions v WHERE v.created_at > now() - interval ''1 day'' AND v.version_number = params.v)');
-- a constant of the subquery is a value like any other
SELECT explain_where('EXISTS (SELECT FROM team_members m WHERE m.user_id = claims.sub AND pipelines.status = ''x'' AND pipelines.team_id = m.team_id)');
-- negated: rows without a value to look up are a node of their own
SELECT explain_where('NOT EXISTS (SELECT FROM team_members m WHERE m.team_id = pipelines.team_id AND m.user_id = claims.sub)');
SELECT explain_where('team_id NOT IN (SELECT team_id FROM team_members WHERE user_id = claims.sub)');
SELECT explain_where('id NOT IN (SELECT pipeline_id FROM steps WHERE title = claims.sub)');
SELECT explain_where('id <> ALL (SELECT pipeline_id FROM steps WHERE title = claims.sub)');
SELECT explain_where('NOT (id = ANY (SELECT pipeline_id FROM steps WHERE title = claims.sub) OR status = ''x'')');
-- of the request alone
SELECT explain_where('EXISTS (SELECT FROM team_members WHERE user_id = claims.sub AND role = ''admin'')');
SELECT explain_where('NOT EXISTS (SELECT FROM team_members WHERE user_id = claims.sub)');
SELECT explain_where('claims.role <> ''guest'' AND params.a::int > 5 AND claims.x IS NOT NULL AND params.b = claims.c');
SELECT explain_where('claims.until::timestamptz > now()');

-- alternatives
SELECT explain_where('status = params.a OR status = params.b OR status IN (params.c, ''x'')');
SELECT explain_where('owner_id = params.a AND (team_id = claims.team OR status = ''public'' OR name = ''all'')');
SELECT explain_where('(team_id = claims.team OR claims.role = ''admin'' OR claims.role = ''root'') AND NOT (status = ''x'' AND name = ''y'')');
SELECT explain_where('params.x IS NULL OR name = params.x');
SELECT explain_where('params.x IN (status, name)');
SELECT explain_where('owner_id IN (params.x, id - 1)');
SELECT explain_where('(team_id = params.t OR status = params.s) AND (owner_id = params.o OR name = params.n)');
-- each with the whole tree below
SELECT explain('{"table": "pipelines", "columns": [], "where": "team_id = claims.team OR status = params.status", "include": {
	"steps": {"table": "steps", "columns": [], "where": "title = params.t OR rank = params.r", "include": {
		"connections": {"table": "connections", "columns": [], "on": "from_step_id = steps.id"}}}}}');

-- arrays
SELECT explain_where('claims.org = ANY (org_ids) AND tags && params.tags');
SELECT explain_where('org_ids @> ARRAY[claims.org] AND ARRAY[params.tag] <@ tags AND params.tags && tags');
SELECT explain_where('org_ids @> ARRAY[claims.a::int, claims.b::int] AND tags && ARRAY[''x'']');

-- time
SELECT explain_where('updated_at > now() - interval ''30 days'' AND updated_at <= CURRENT_TIMESTAMP');
SELECT explain_where('updated_at BETWEEN now() - make_interval(days => 7) AND interval ''1 hour'' + now()');
SELECT explain_where('status = ''pinned'' OR coalesce(updated_at, ''infinity'') >= now() + interval ''1 month'' - interval ''1 day''');
SELECT explain_where('local_time AT TIME ZONE ''UTC'' > transaction_timestamp()');
SELECT explain_where('(updated_at > now() OR team_id IN (SELECT id FROM teams)) AND owner_id = params.o');

-- every table a shape needs is a source of it
SELECT tide.create_shape('sources', '{"table": "pipelines", "where": "team_id IN (SELECT team_id FROM team_members WHERE user_id IN (SELECT id FROM users WHERE name = claims.sub)) AND EXISTS (SELECT FROM teams)",
	"include": {"steps": {"table": "steps", "where": "EXISTS (SELECT FROM connections WHERE from_step_id = steps.id)"}}}');
SELECT src.relid::regclass FROM tide_internal.shape_sources JOIN tide_internal.shapes USING (shape_id) JOIN tide_internal.sources src USING (source_id)
	WHERE name = 'sources' ORDER BY src.relid::regclass::text COLLATE "C";
-- renaming changes nothing; a table that is gone is said to be
ALTER TABLE team_members RENAME COLUMN team_id TO "the team";
ALTER TABLE steps RENAME TO "Steps";
DROP TABLE connections;
SELECT tide.explain_shape('sources');
DROP TABLE "Steps";
SELECT tide.explain_shape('sources');
SELECT tide.drop_shape('sources');
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA trees CASCADE;
