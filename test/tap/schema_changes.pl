# DDL while clients follow: what each command does to a shape and to a client that has pulled
# before it. After each step the client's rows are those of a query, and only rows that
# differ have been sent.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCheck;
use TideCluster;
use TideSession;

my $node = tide_new('schema_changes');
my $s = TideSession->new($node);
install_check($node);

my %clients;    # shape => state of its client
my %queries;    # shape => [ table name in changes, query, the same of its other tables ]

sub shape
{
	my ($name, @queries) = @_;
	my $definition = pop @queries;
	$s->query("SELECT tide.create_shape('$name', " . sql_text($definition) . ')');
	$queries{$name} = \@queries;
	$s->query(q{SELECT tide.sync('10min')});
	$clients{$name} = pull_all($node, request($name));
	return;
}

sub request { return { shapes => { $_[0] => [ {} ] } }; }

# pull as the shape's client until complete, and say what came: "3 changes" or "dropped, 3 changes"
sub pull
{
	my ($name) = @_;
	my $state = $clients{$name};
	my $buckets = join ' ', sort keys %{ $state->{rows} };
	my $before = $state->{changes};

	pull_all($node, request($name), state => $state, limit => 3, session => $s);
	my $came = ($state->{changes} - $before) . ' changes';
	$came = "dropped, $came" if $buckets ne '' && !grep { exists $state->{rows}{$_} } split / /, $buckets;
	return $came;
}

# run statements; then what each shape's client gets, and everything must be right
sub step
{
	my ($name, $sql, %expected) = @_;
	$s->query($sql);
	return subtest $name => sub {
		store_ok($node, 'stored right');
		for my $shape (sort keys %expected)
		{
			my @queries = @{ $queries{$shape} };

			is(pull($shape), $expected{$shape}, "$shape: changes sent");
			my $new = pull_all($node, request($shape), session => $s);
			while (my ($table, $query) = splice @queries, 0, 2)
			{
				my @rows = sort split /\n/, $s->query("SELECT to_jsonb(q)::text FROM ($query) q");
				is_deeply([ state_rows($clients{$shape}, $table) ], \@rows, "$shape: rows");
				is_deeply([ state_rows($new, $table) ], \@rows, "$shape: rows of a new client");
			}
			is($s->query("SELECT to_jsonb(v) FROM tide.verify('$shape') v LIMIT 5"), '', "$shape: verified");
		}
		is($s->query('SELECT last_error FROM tide.status'), '', 'no error of the worker');
	};
}

sub state_of { return $s->query("SELECT state || coalesce(': ' || error, '') FROM tide.shapes WHERE name = '$_[0]'"); }

$s->query(<<'SQL');
CREATE TYPE mood AS ENUM ('calm', 'merry');
CREATE TABLE items (id int PRIMARY KEY, owner int, title varchar(20), price int, note text, mood mood DEFAULT 'calm');
INSERT INTO items SELECT i, i % 2, 'title ' || i, i * 10, 'note ' || i FROM generate_series(1, 10) i;
SQL
shape('whole', 'public.items', 'SELECT * FROM items', '{"table": "items"}');
shape('some', 'public.items', 'SELECT id, title, price FROM items', '{"table": "items", "columns": ["title", "price"]}');
shape('part', 'public.items', 'SELECT id, title FROM items WHERE owner = 1 AND price > 20',
	'{"table": "items", "where": "items.owner = 1 AND price > 20", "columns": ["title"]}');

# ---- columns come
step('a column added', 'ALTER TABLE items ADD COLUMN a int', whole => '10 changes', some => '0 changes', part => '0 changes');
step('a column added with a default', "ALTER TABLE items ADD COLUMN b text DEFAULT 'x'",
	whole => '10 changes', some => '0 changes', part => '0 changes');
step('a column added with a volatile default', 'CREATE SEQUENCE q; ALTER TABLE items ADD COLUMN c bigint DEFAULT nextval(\'q\')',
	whole => '10 changes', some => '0 changes', part => '0 changes');
step('a generated column added', 'ALTER TABLE items ADD COLUMN d int GENERATED ALWAYS AS (price * 2) STORED',
	whole => '10 changes', some => '0 changes', part => '0 changes');
step('a column added between changes of one transaction', <<'SQL', whole => '11 changes', some => '3 changes', part => '2 changes');
BEGIN;
INSERT INTO items VALUES (11, 1, 'eleven', 110);
UPDATE items SET title = 'before' WHERE id = 2;
ALTER TABLE items ADD COLUMN e int DEFAULT 5;
UPDATE items SET e = 6, title = 'after' WHERE id = 3;
COMMIT;
SQL
step('writes after it', "BEGIN; UPDATE items SET e = 7; INSERT INTO items (id, e) VALUES (12, 1); DELETE FROM items WHERE id = 12; COMMIT",
	whole => '11 changes', some => '8 changes', part => '3 changes');    # (a row's first change is told to all shapes)

# ---- columns go
step('columns dropped that only one shape shows', 'ALTER TABLE items DROP COLUMN a, DROP COLUMN b, DROP c, DROP d',
	whole => '11 changes', some => '0 changes', part => '0 changes');
step('dropped between changes of one transaction', <<'SQL', whole => '11 changes', some => '2 changes', part => '1 changes');
BEGIN;
UPDATE items SET e = 1, title = 'two' WHERE id = 2;
ALTER TABLE items DROP COLUMN e;
UPDATE items SET title = 'three' WHERE id = 3;
COMMIT;
SQL
step('added and dropped again', 'BEGIN; ALTER TABLE items ADD x int; UPDATE items SET x = 1; ALTER TABLE items DROP x; COMMIT',
	whole => '0 changes', some => '0 changes', part => '0 changes');

# ---- columns change their names
step('a column renamed', 'ALTER TABLE items RENAME note TO remark', whole => '11 changes', some => '0 changes', part => '0 changes');
$queries{part}[1] = 'SELECT id, "Title", owner FROM items WHERE owner = 1 AND cost > 20' =~ s/, owner F/ F/r;
$queries{some}[1] = 'SELECT id, "Title", cost FROM items';
step('columns renamed that shapes name', <<'SQL', whole => '11 changes', some => '11 changes', part => '6 changes');
BEGIN;
UPDATE items SET price = 21 WHERE id = 1;
ALTER TABLE items RENAME title TO "Title";
ALTER TABLE items RENAME price TO cost;
UPDATE items SET cost = 20 WHERE id = 3;
COMMIT;
SQL
is($s->query("SELECT definition ->> 'where' FROM tide.shapes WHERE name = 'part'"), 'items.owner = 1 AND cost > 20', 'the definition follows');
is($s->query("SELECT definition -> 'columns' FROM tide.shapes WHERE name = 'some'"), '["Title", "cost"]', 'columns too');
step('two columns swap their names', 'BEGIN; ALTER TABLE items RENAME owner TO t; ALTER TABLE items RENAME cost TO owner; ALTER TABLE items RENAME t TO cost;'
	  . ' ALTER TABLE items RENAME owner TO t; ALTER TABLE items RENAME cost TO owner; ALTER TABLE items RENAME t TO cost; COMMIT',
	whole => '0 changes', some => '0 changes', part => '0 changes');

# ---- types
step('values computed anew without changing the type, where triggers do not fire', <<'SQL', whole => '2 changes', some => '0 changes', part => '0 changes');
SET session_replication_role = replica;
ALTER TABLE items ALTER remark TYPE text USING CASE WHEN id < 3 THEN 'NOTE ' || id ELSE remark END;
RESET session_replication_role;
SQL
step('a type changed without a rewrite', 'ALTER TABLE items ALTER "Title" TYPE text', whole => '0 changes', some => '0 changes', part => '0 changes');
step('a wider number', 'ALTER TABLE items ALTER cost TYPE bigint', whole => '0 changes', some => '0 changes', part => '0 changes');
step('a number that becomes text and a number again', "BEGIN; ALTER TABLE items ALTER owner TYPE text; ALTER TABLE items ALTER owner TYPE int USING owner::int; COMMIT",
	whole => '0 changes', some => '0 changes', part => '0 changes');
step('values computed anew', 'ALTER TABLE items ALTER cost TYPE bigint USING CASE WHEN id < 4 THEN cost + 1 ELSE cost END',
	whole => '3 changes', some => '3 changes', part => '1 changes');
step('type changed with writes around', <<'SQL', whole => '11 changes', some => '11 changes', part => '0 changes');
BEGIN;
UPDATE items SET cost = 1000 WHERE id = 4;
ALTER TABLE items ALTER cost TYPE text USING cost || ' EUR';
UPDATE items SET cost = '99 EUR' WHERE id = 5;
ALTER TABLE items ALTER cost TYPE numeric(10,2) USING replace(cost, ' EUR', '')::numeric;
UPDATE items SET cost = 98.5 WHERE id = 6;
COMMIT;
SQL
step('a value added to an enum', "ALTER TYPE mood ADD VALUE 'wild'; UPDATE items SET mood = 'wild' WHERE id = 7",
	whole => '1 changes', some => '0 changes', part => '0 changes');

step('a value of an enum renamed', "BEGIN; UPDATE items SET mood = 'merry' WHERE id = 6; ALTER TYPE mood RENAME VALUE 'merry' TO 'glad'; COMMIT",
	whole => '11 changes', some => '0 changes', part => '0 changes');
$s->query("ALTER TYPE mood ADD VALUE 'more'; SELECT tide.create_shape('later', '{\"table\": \"items\"}'); SELECT tide.sync('10min'); SELECT tide.drop_shape('later')");
step('one renamed that was added before', "ALTER TYPE mood RENAME VALUE 'wild' TO 'mad'", whole => '11 changes', some => '0 changes', part => '0 changes');
step('within an array of a composite type', <<'SQL', whole => '11 changes', some => '0 changes', part => '0 changes');
CREATE TYPE feeling AS (mood mood, since date);
ALTER TABLE items ADD COLUMN feelings feeling[] DEFAULT '{"(calm,2020-01-01)"}';
ALTER TYPE feeling RENAME ATTRIBUTE since TO "from";
SQL
step('an attribute renamed', 'ALTER TYPE feeling RENAME ATTRIBUTE "from" TO since', whole => '11 changes', some => '0 changes', part => '0 changes');
step('values nobody has', "ALTER TYPE mood ADD VALUE 'last'; CREATE TYPE other_mood AS ENUM ('a'); ALTER TYPE other_mood RENAME VALUE 'a' TO 'b'",
	whole => '0 changes', some => '0 changes', part => '0 changes');
step('the column goes', 'ALTER TABLE items DROP COLUMN feelings', whole => '11 changes', some => '0 changes', part => '0 changes');

# ---- not the rows' business
step('messages that anybody can write', "SELECT count(pg_logical_emit_message(true, p, c)) FROM (VALUES ('tide.ddl', '{}'), ('tide.ddl', 'no JSON')) v(p, c);"
	  . q{SELECT count(pg_logical_emit_message(true, 'tide.rewrite', decode(lpad(to_hex(relid::int), 8, '0'), 'hex'))), count(pg_logical_emit_message(true, 'tide.rewrite', }
	  . q{(SELECT string_agg(substr(decode(lpad(to_hex(relid::int), 8, '0'), 'hex'), n, 1), '' ORDER BY n DESC) FROM generate_series(1, 4) n))) FROM tide_internal.sources},
	whole => '0 changes', some => '0 changes', part => '0 changes');
step('what changes no row', <<'SQL', whole => '0 changes', some => '0 changes', part => '0 changes');
CREATE INDEX ON items (owner);
ALTER TABLE items ALTER owner SET DEFAULT 4, ADD CHECK (owner < 100), ALTER "Title" SET NOT NULL, ALTER remark SET STORAGE external;
COMMENT ON TABLE items IS 'said';
CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN new; END$$;
CREATE TRIGGER noop BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION noop();
VACUUM FULL items; CLUSTER items USING items_pkey; ALTER TABLE items SET (fillfactor = 50);
SQL
step('replica identity', 'ALTER TABLE items REPLICA IDENTITY FULL; UPDATE items SET owner = 3 WHERE id = 1', whole => '1 changes', some => '0 changes', part => '1 changes');
step('and back', 'ALTER TABLE items REPLICA IDENTITY DEFAULT; UPDATE items SET owner = 1 WHERE id = 1',
	whole => '1 changes', some => '0 changes', part => '1 changes');

# ---- truncate
$s->query("CREATE TABLE other (id int PRIMARY KEY, item int REFERENCES items); INSERT INTO other SELECT i, i FROM generate_series(1, 3) i");
shape('other', 'public.other', 'SELECT * FROM other', '{"table": "other"}');
step('several tables truncated, with writes around', <<'SQL', whole => '12 changes', other => '5 changes', part => '7 changes');
BEGIN;
INSERT INTO other VALUES (9, 1);
TRUNCATE items, other;
INSERT INTO items (id, owner, "Title", cost) VALUES (1, 1, 'one', 30), (20, 1, 'twenty', 50);
INSERT INTO other VALUES (20, 20);
COMMIT;
SQL

# ---- names of tables
$queries{$_}[0] = 'public.things', $queries{$_}[1] =~ s/items/things/ for qw(whole some part);
step('a table renamed', q{BEGIN; UPDATE items SET "Title" = 'uno' WHERE id = 1; ALTER TABLE items RENAME TO things; INSERT INTO things VALUES (2, 1, 'two', 40); COMMIT},
	whole => 'dropped, 3 changes', some => 'dropped, 3 changes', part => 'dropped, 3 changes');
is($s->query("SELECT definition ->> 'table' || ': ' || (definition ->> 'where') FROM tide.shapes WHERE name = 'part'"),
	'public.things: things.owner = 1 AND cost > 20', 'the definition follows');
$queries{$_}[0] = 'aside."My Things"', $queries{$_}[1] =~ s/things/aside."My Things"/ for qw(whole some part);
step('moved to another schema', 'CREATE SCHEMA aside; ALTER TABLE things RENAME TO "My Things"; ALTER TABLE "My Things" SET SCHEMA aside',
	whole => 'dropped, 3 changes', some => 'dropped, 3 changes', part => 'dropped, 3 changes');
$queries{$_}[0] = 'beside.items', $queries{$_}[1] =~ s/aside."My Things"/beside.items/ for qw(whole some part);
step('the schema renamed, the table as well', 'BEGIN; ALTER SCHEMA aside RENAME TO beside; ALTER TABLE beside."My Things" RENAME TO items; COMMIT',
	whole => 'dropped, 3 changes', some => 'dropped, 3 changes', part => 'dropped, 3 changes');

# ---- another table takes the name
step('the old name given to another table', 'CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items VALUES (1)',
	whole => '0 changes', other => '0 changes');
step('tables swap their names', <<'SQL', whole => 'dropped, 2 changes', some => 'dropped, 2 changes', part => 'dropped, 2 changes');
BEGIN;
CREATE TABLE beside.fresh (LIKE beside.items INCLUDING ALL);
INSERT INTO beside.fresh SELECT * FROM beside.items WHERE id < 10;
UPDATE beside.items SET "Title" = 'gone with the old';
ALTER TABLE beside.items RENAME TO stale;
ALTER TABLE beside.fresh RENAME TO items;
COMMIT;
SQL

# ---- dropped, and there again
$s->query('DROP TABLE beside.items');
store_ok($node, 'a table dropped');
is(state_of('whole'), 'failed: relation "beside.items" does not exist', 'its shapes say so');
eval { pull_page($node, request('whole'), $clients{whole}, session => $s) };
like($@, qr/shape "whole" is not available/, 'their clients get an error');
is(pull('other'), '0 changes', 'others go on');
step('made again without a key', 'CREATE TABLE beside.items (id int, owner int, "Title" text, cost numeric, remark text)', other => '0 changes');
like(state_of('whole'), qr/^failed: cannot make a shape of "items"/, 'not yet');
step('made again with one', 'ALTER TABLE beside.items ADD PRIMARY KEY (id); INSERT INTO beside.items VALUES (1, 1, \'back\', 30)',
	whole => 'dropped, 1 changes', some => 'dropped, 1 changes', part => 'dropped, 1 changes');
step('dropped and made again in one transaction', <<'SQL', whole => 'dropped, 2 changes', some => 'dropped, 2 changes', part => 'dropped, 1 changes');
BEGIN;
UPDATE beside.items SET remark = 'lost';
DROP TABLE beside.items;
CREATE TABLE beside.items (id bigint CONSTRAINT k PRIMARY KEY, owner int, cost numeric, "Title" text);
INSERT INTO beside.items VALUES (1, 1, 31, 'new'), (2, 2, 32, 'newer');
COMMIT;
UPDATE beside.items SET cost = 33 WHERE id = 2;
SQL

# ---- another table comes under the name
step('dropped, and another renamed to its name', <<'SQL', whole => 'dropped, 1 changes', some => 'dropped, 1 changes');
CREATE TABLE spare (id bigint CONSTRAINT k PRIMARY KEY, owner int, cost numeric, "Title" text);
INSERT INTO spare VALUES (7, 1, 70, 'spare');
DROP TABLE beside.items;
ALTER TABLE spare RENAME TO items_now;
ALTER TABLE items_now SET SCHEMA beside;
ALTER TABLE beside.items_now RENAME TO items;
INSERT INTO beside.items VALUES (8, 1, 80, 'more'); DELETE FROM beside.items WHERE id = 7;
SQL
$s->query(q{INSERT INTO beside.items VALUES (9, 2, 90, 'nine')});

# ---- the key
step('the key of a wider type', 'ALTER TABLE beside.items ALTER id TYPE numeric', whole => 'dropped, 2 changes', part => 'dropped, 1 changes', some => 'dropped, 2 changes');
step('another key', 'BEGIN; ALTER TABLE beside.items DROP CONSTRAINT k; UPDATE beside.items SET cost = 40; ALTER TABLE beside.items ADD CONSTRAINT k PRIMARY KEY (owner, id); COMMIT',
	whole => 'dropped, 2 changes');
$queries{some}[1] = 'SELECT id, owner, "Title", cost FROM beside.items';
$queries{part}[1] =~ s/SELECT id/SELECT id, owner/;
step('the same for the others', 'SELECT 1', some => 'dropped, 2 changes', part => 'dropped, 1 changes');
$s->query('ALTER TABLE beside.items DROP CONSTRAINT k');
store_ok($node, 'no key at all');
like(state_of('whole'), qr/^failed/, 'is said');
step('a key again', 'ALTER TABLE beside.items ADD CONSTRAINT k PRIMARY KEY (owner, id)', whole => 'dropped, 2 changes', some => 'dropped, 2 changes');

# ---- a column that a definition needs goes, and comes back
$s->query('ALTER TABLE beside.items DROP COLUMN cost');
store_ok($node, 'a column dropped that shapes need');
is(state_of('part'), 'failed: column "cost" does not exist', 'the shape fails and says why');
like(state_of('some'), qr/^failed: column "cost" of table "items" does not exist/, 'so does one that shows it');
is(state_of('whole'), 'live', 'others do not');
step('it comes back', 'ALTER TABLE beside.items ADD COLUMN cost int DEFAULT 50', whole => '2 changes', some => 'dropped, 2 changes', part => 'dropped, 1 changes');
$s->query('ALTER TABLE beside.items SET UNLOGGED');
store_ok($node, 'a table made unlogged', compare_source => 0);
like(state_of('whole'), qr/^failed: cannot make a shape/, 'its shapes fail');
step('logged again', 'ALTER TABLE beside.items SET LOGGED', whole => 'dropped, 2 changes', part => 'dropped, 1 changes');

# ---- partitions come and go around a plain table
step('attached and detached', <<'SQL', whole => '1 changes');
CREATE TABLE beside.all_items (LIKE beside.items INCLUDING ALL) PARTITION BY LIST (owner);
BEGIN;
ALTER TABLE beside.all_items ATTACH PARTITION beside.items DEFAULT;
INSERT INTO beside.all_items (id, owner, "Title", cost) VALUES (5, 5, 'through the parent', 1);
ALTER TABLE beside.all_items DETACH PARTITION beside.items;
COMMIT;
SQL

# ---- while the table waits to be compared, clients keep what they have
my $reader = TideSession->new($node);
my $source = $s->query("SELECT source_id FROM tide_internal.sources WHERE relid = 'beside.items'::regclass");
$reader->query("BEGIN; LOCK TABLE tide_shadow.t$source IN ACCESS SHARE MODE");
my @before = state_rows($clients{whole}, 'beside.items');
$s->query('ALTER TABLE beside.items ADD COLUMN held int DEFAULT 1; UPDATE beside.items SET held = 2');
wait_for_sql($node, q{SELECT state = 'building' FROM tide.shapes WHERE name = 'whole'});
is(pull_page($node, request('whole'), $clients{whole}, session => $s), 0, 'no changes while it waits');
is($clients{whole}{complete}, 0, 'which is said');
is_deeply([ state_rows($clients{whole}, 'beside.items') ], \@before, 'and nothing is dropped');
is(pull('other'), '0 changes', 'other shapes are served');
$reader->quit;
step('then it goes on', 'SELECT 1', whole => scalar(@before) . ' changes');

# ---- rights
step('row-level security that spares the owner', 'ALTER TABLE beside.items ENABLE ROW LEVEL SECURITY', whole => '0 changes');
$s->query('ALTER TABLE beside.items DISABLE ROW LEVEL SECURITY; CREATE ROLE shaper; GRANT USAGE ON SCHEMA beside, tide TO shaper; GRANT SELECT ON beside.items TO shaper');
$s->query('GRANT EXECUTE ON FUNCTION tide.create_shape(text, jsonb) TO shaper; SET ROLE shaper');
$s->query(q{SELECT tide.create_shape('theirs', '{"table": "beside.items"}'); RESET ROLE; SELECT tide.sync('10min')});
is(state_of('theirs'), 'live', 'a shape of somebody else');
$s->query('ALTER TABLE beside.items ENABLE ROW LEVEL SECURITY');
store_ok($node, 'row-level security that concerns him');
like(state_of('theirs'), qr/^failed: row-level security of table "items" applies to role "shaper"/, 'his shape fails');
is(state_of('whole'), 'live', 'the other does not');
step('and is there again without it', 'ALTER TABLE beside.items DISABLE ROW LEVEL SECURITY', whole => '0 changes');
is(state_of('theirs'), 'live', 'live again');

# ---- types that go
step('a type replaced and dropped', <<'SQL', whole => '3 changes');
CREATE TYPE level AS ENUM ('low', 'high');
ALTER TABLE beside.items ADD COLUMN level level DEFAULT 'low';
SQL
step('in one transaction', <<'SQL', whole => '3 changes', some => 'dropped, 3 changes');
BEGIN;
CREATE TYPE level2 AS ENUM ('low', 'high', 'top');
ALTER TABLE beside.items ALTER level DROP DEFAULT, ALTER level TYPE level2 USING level::text::level2;
DROP TYPE level;
ALTER TYPE level2 RENAME TO level;
UPDATE beside.items SET level = 'top', cost = 1 WHERE id = 1;
COMMIT;
SQL

step('a column and its type dropped', 'BEGIN; ALTER TABLE beside.items DROP COLUMN level; DROP TYPE level; COMMIT', whole => '3 changes', some => '0 changes');
is($s->query("SELECT count(*) FROM pg_attribute a WHERE attrelid::regclass::text LIKE 'tide_shadow.%' AND attnum > 0 AND NOT attisdropped"
		. ' AND NOT EXISTS (SELECT FROM pg_type t WHERE t.oid = a.atttypid)'), '0', 'no shadow has columns of types that are gone');

# ---- trees keep their buckets
$s->query(<<'SQL');
CREATE TABLE teams (id int PRIMARY KEY, name text, rank int, extra int);
CREATE TABLE members (id int PRIMARY KEY, team int REFERENCES teams, name text, active bool, score int);
CREATE TABLE notes (id int PRIMARY KEY, member int REFERENCES members, body text);
INSERT INTO teams SELECT i, 'team ' || i, i FROM generate_series(1, 4) i;
INSERT INTO members SELECT i, 1 + i % 4, 'member ' || i, i % 3 > 0, i FROM generate_series(1, 12) i;
INSERT INTO notes SELECT i, 1 + i % 12, 'note ' || i FROM generate_series(1, 24) i;
SQL
my $where = 'FROM teams t WHERE EXISTS (SELECT FROM members m WHERE m.team = t.id AND m.score > 5)';
shape('tree', 'public.teams', "SELECT id, name, rank, extra $where", 'public.members', "SELECT * FROM members WHERE active AND team IN (SELECT id $where)",
	'{"table": "teams", "where": "EXISTS (SELECT FROM members m WHERE m.team = teams.id AND m.score > 5)", "include": {"members": {"table": "members", "where": "active"}}}');
shape('names', 'public.teams', 'SELECT id, name FROM teams WHERE rank < 4', 'public.members', 'SELECT m.id, m.name FROM members m JOIN teams t ON t.id = m.team AND rank < 4',
	'public.notes', 'SELECT n.* FROM notes n JOIN members m ON m.id = member JOIN teams t ON t.id = m.team AND rank < 4',
	'{"table": "teams", "columns": ["name"], "where": "rank < 4", "include": {"members": {"table": "members", "columns": ["name"], "include": {"notes": {"table": "notes"}}}}}');
$queries{tree}[1] = "SELECT * $where";
step('a column added to a table of trees', 'ALTER TABLE teams ADD COLUMN colour text', tree => '4 changes', names => '0 changes');
step('with a default', q{ALTER TABLE members ADD COLUMN mail text DEFAULT 'none'}, tree => '8 changes', names => '0 changes');
step('with writes around', <<'SQL', tree => '9 changes', names => '4 changes');
BEGIN;
UPDATE members SET name = 'one' WHERE id = 1;
ALTER TABLE members ADD COLUMN age int DEFAULT 30;
INSERT INTO members VALUES (13, 2, 'thirteen', true, 1);
DELETE FROM notes WHERE id = 12;
INSERT INTO notes VALUES (25, 13, 'new');
COMMIT;
SQL
step('two tables altered in one transaction', <<'SQL', tree => '13 changes', names => '1 changes');
BEGIN;
ALTER TABLE members DROP COLUMN age;
ALTER TABLE teams DROP COLUMN colour;
UPDATE members SET name = 'uno' WHERE id = 1;
COMMIT;
SQL
step('a wider number', 'ALTER TABLE members ALTER score TYPE bigint; ALTER TABLE teams ALTER extra TYPE bigint', tree => '0 changes', names => '0 changes');
step('values computed anew that a subquery uses', 'ALTER TABLE members ALTER score TYPE bigint USING CASE WHEN team = 2 THEN 0 ELSE score END',
	tree => '4 changes', names => '0 changes');

# ---- and follow names, of includes and in subqueries too
$s->query('CREATE TABLE chiefs (team int PRIMARY KEY, name text, score int); INSERT INTO chiefs SELECT i, i, i FROM generate_series(1, 4) i');
$s->query("SELECT tide.create_shape('deep', " . sql_text(<<'JSON') . q{); SELECT tide.sync('10min')});
{"table": "teams", "where": "id IN (SELECT team FROM members WHERE score > 5 AND members.team IN (SELECT team FROM chiefs WHERE name <> 'x' AND chiefs.score = members.team))",
 "include": {"people": {"table": "members", "on": "people.team = teams.id AND score > parent.rank", "columns": ["team", "score"], "order_by": "score DESC, people.name", "limit": 2}}}
JSON
my $top = sub { return "SELECT id, $_[0], $_[1] FROM (SELECT m.*, row_number() OVER (PARTITION BY m.$_[0] ORDER BY m.$_[1] DESC, m.name) AS n FROM $_[2] m JOIN teams t"
	  . " ON m.$_[0] = t.id AND m.$_[1] > t.rank WHERE EXISTS (SELECT FROM $_[2] o WHERE o.$_[0] = t.id AND o.$_[1] > 5)) q WHERE n <= 2" };
$queries{deep} = [ 'public.teams', 'SELECT * FROM teams t WHERE EXISTS (SELECT FROM members m WHERE m.team = t.id AND m.score > 5)', 'public.members', $top->('team', 'score', 'members') ];
$clients{deep} = pull_all($node, request('deep'));
$s->query('ALTER TABLE chiefs RENAME score TO points');
step('a column renamed that only a subquery names', 'SELECT 1', deep => '0 changes');
like($s->query("SELECT definition ->> 'where' FROM tide.shapes WHERE name = 'deep'"), qr/WHERE score > 5 AND members\.team .* name <> 'x' AND chiefs\.points = members\.team/, 'the subquery has the new name, others of that name stay');
$queries{$_}[1] =~ s/m\.team = t\.id/m.squad = t.id/, $queries{$_}[1] =~ s/m\.score/m.points/ for qw(tree deep);
$queries{tree}[3] =~ s/team IN/squad IN/;
$queries{tree}[3] =~ s/m\.team = t\.id AND m\.score/m.squad = t.id AND m.points/;
$queries{deep}[3] = $top->('squad', 'points', 'members');
step('columns that joins, order and subqueries name, of two tables at once', <<'SQL', deep => '6 changes', tree => '6 changes');
BEGIN;
ALTER TABLE members RENAME team TO squad;
ALTER TABLE members RENAME score TO points;
ALTER TABLE chiefs RENAME team TO squad;
COMMIT;
SQL
is($s->query("SELECT definition #>> '{include,people,on}' || ' ' || (definition #>> '{include,people,order_by}') || ' ' || (definition #>> '{include,people,columns}') FROM tide.shapes WHERE name = 'deep'"),
	'people.squad = teams.id AND points > parent.rank points DESC, people.name ["squad", "points"]', 'all of the definition follows');
step('a table that only a subquery names renamed', 'ALTER TABLE chiefs RENAME TO leads', deep => '0 changes');
like($s->query("SELECT definition ->> 'where' FROM tide.shapes WHERE name = 'deep'"), qr/FROM public\.leads WHERE name <> 'x' AND leads\.points/, 'the subquery has the new name');
$s->query('ALTER TABLE members RENAME squad TO team; ALTER TABLE members RENAME points TO score');
$s->query("SELECT tide.drop_shape('deep')");
$queries{$_}[1] =~ s/m\.squad/m.team/, $queries{$_}[1] =~ s/m\.points/m.score/ for qw(tree);
$s->query(q{SELECT tide.sync('10min')});

# ---- so do definitions replaced by ones of other tables: nodes that stay keep theirs
my $named = '"table": "teams", "columns": ["name"], "where": "rank < 4"';
my $members = '"members": {"table": "members", "columns": ["name"]';
my $replace = sub { return "SELECT tide.replace_shape('names', " . sql_text($_[0]) . q{); SELECT tide.sync('10min')}; };
my @notes = splice @{ $queries{names} }, 4;
step('an include removed', $replace->("{$named, \"include\": {$members}}}"), names => '0 changes');
is_deeply([ state_rows($clients{names}, 'public.notes') ], [], 'its rows are gone');
push @{ $queries{names} }, 'public.grades', 'SELECT DISTINCT g.* FROM grades g JOIN teams t ON t.rank = g.rank AND t.rank < 4';
step('one added before another, of a new table', 'CREATE TABLE grades (rank int PRIMARY KEY, title text); INSERT INTO grades SELECT i, i FROM generate_series(1, 9) i; '
	. $replace->("{$named, \"include\": {\"grade\": {\"table\": \"grades\", \"on\": \"grades.rank = teams.rank\"}, $members}}}"), names => '3 changes');
push @{ $queries{names} }, @notes;
step('one added below another', $replace->("{$named, \"include\": {\"grade\": {\"table\": \"grades\", \"on\": \"grades.rank = teams.rank\"}, $members, \"include\": {\"notes\": {\"table\": \"notes\"}}}}}"),
	names => '18 changes');
step('changes after it', "UPDATE teams SET rank = 9 WHERE id = 1; UPDATE notes SET body = 'x' WHERE id = 2", names => '11 changes');
$queries{names} = [ 'public.teams', 'SELECT id, name, rank FROM teams WHERE rank < 4' ];
step('all but the root removed, and a column shown in addition', $replace->('{"table": "teams", "columns": ["name", "rank"], "where": "rank < 4"}'), names => '2 changes');

$node->stop;
done_testing();
