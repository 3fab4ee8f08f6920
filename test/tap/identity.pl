# Replica identities and partitions: whatever the WAL tells of old rows, and however rows come
# to be part of a table, clients and the change log have the table's rows.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('identity', conf => "tide.apply_memory = '64kB'\n");
my %state;

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub shape
{
	my ($name, $definition) = @_;
	sql("SELECT tide.create_shape('$name', '$definition')");
	tide_sync($node);
	return;
}

# The client of a shape over one table, and tide.verify, agree with the table; the client
# got $changes changes for it and, unless told so, no new bucket.
sub in_sync
{
	my ($shape, $name, %opts) = @_;
	my $table = $opts{table} // $shape;
	my $state = $state{$shape} //= new_state();
	my $before = $state->{changes} // 0;
	my $buckets = join ' ', sort keys %{ $state->{buckets} };

	tide_sync($node);
	pull_all($node, { shapes => { $shape => [ {} ] }, claims => {} }, state => $state);
	my @rows = map { s/"_(?:row|copy)": (?:"[^"]*"|\d+)(?:, )?//gr =~ s/, }/}/r } state_rows($state, "public.$table");
	is_deeply([ sort @rows ], [ query_rows($node, "SELECT * FROM $table") ], $name);
	verify_empty($node, $shape, {}, {}, name => "$name: verified");
	is(($state->{changes} // 0) - $before, $opts{changes}, "$name: $opts{changes} changes") if defined $opts{changes};
	is(join(' ', sort keys %{ $state->{buckets} }), $buckets, "$name: the same bucket") if $buckets ne '' && !$opts{new_bucket};
	return;
}

# ---- USING INDEX: the index's columns are the key
sql(q{
	CREATE TABLE docs (id int PRIMARY KEY, "Tenant" int NOT NULL, "the no" text NOT NULL, body text);
	CREATE UNIQUE INDEX docs_no ON docs ("the no", "Tenant") INCLUDE (id);
	ALTER TABLE docs ALTER body SET STORAGE EXTERNAL, REPLICA IDENTITY USING INDEX docs_no;
	INSERT INTO docs SELECT i, i % 3, 'no ' || i, repeat('x', 10 * i) FROM generate_series(1, 300) i});
shape('docs', '{"table": "docs"}');
in_sync('docs', 'USING INDEX', changes => 300);
sql(q{UPDATE docs SET body = 'new' WHERE id = 1; UPDATE docs SET id = -id WHERE id = 2;
	UPDATE docs SET "the no" = 'other' WHERE id = 3; UPDATE docs SET "Tenant" = 7 WHERE id = 300;
	DELETE FROM docs WHERE id = 4; INSERT INTO docs VALUES (4, 4, 'no 5', NULL)});
in_sync('docs', 'USING INDEX: key columns, others and unchanged TOAST', changes => 8);
like((keys %{ $state{docs}{rows}{ (keys %{ $state{docs}{rows} })[0] } })[0], qr/^public\.docs \{"Tenant": \d+, "the no": "/,
	'the index columns are the key');
sql("SELECT tide.allow_writes('docs')");
like(sql(q{SELECT tide.push('{"client": "10550000-0000-4000-8000-000000000009", "claims": {}, "mutations": [
	{"id": 1, "op": "update", "table": "docs", "key": {"Tenant": 2, "the no": "no 50"}, "values": {"body": "pushed"}}]}')}),
	qr/"applied"/, 'clients name rows by it as well');
in_sync('docs', 'USING INDEX: pushed', changes => 1);

# ---- identity changed at run time
sql('ALTER TABLE docs REPLICA IDENTITY FULL; UPDATE docs SET body = body WHERE id = 300; UPDATE docs SET id = 1000 WHERE id = 5');
in_sync('docs', 'FULL has the primary key again', new_bucket => 1);
sql(q{ALTER TABLE docs REPLICA IDENTITY DEFAULT; UPDATE docs SET id = 1001 WHERE id = 6; DELETE FROM docs WHERE id = 7});
in_sync('docs', 'FULL to DEFAULT', changes => 3);
sql(q{BEGIN; UPDATE docs SET id = 1002 WHERE id = 8; ALTER TABLE docs REPLICA IDENTITY NOTHING; DELETE FROM docs WHERE id = 9;
	INSERT INTO docs VALUES (9, 1, 'nine', 'again'); ALTER TABLE docs REPLICA IDENTITY DEFAULT; DELETE FROM docs WHERE id = 10; COMMIT});
in_sync('docs', 'NOTHING in the middle of a transaction', changes => 4);
sql(q{ALTER TABLE docs DROP CONSTRAINT docs_pkey, ADD PRIMARY KEY ("the no", "Tenant"); UPDATE docs SET id = 5 WHERE id = 11});
in_sync('docs', 'another primary key', new_bucket => 1);

# ---- NOTHING: inserts as usual, the rest by comparison
my ($status, $out, $err) = $node->psql('postgres', q{
	CREATE TABLE events (id int PRIMARY KEY, what text);
	ALTER TABLE events REPLICA IDENTITY NOTHING;
	INSERT INTO events SELECT i, 'event ' || i FROM generate_series(1, 100) i;
	SELECT tide.create_shape('events', '{"table": "events"}')});
like($err, qr/WARNING:  replica identity of table "events" does not tell which row/, 'NOTHING is warned of');
in_sync('events', 'NOTHING', changes => 100);
sql(q{INSERT INTO events VALUES (101, 'more')});
in_sync('events', 'NOTHING: an insert', changes => 1);
unlike(slurp_file($node->logfile), qr/compared table with OID \d+ with its copy: 1 rows/, 'NOTHING: an insert needs no comparison');
sql(q{UPDATE events SET what = 'changed' WHERE id = 5; INSERT INTO events VALUES (102, 'x'); UPDATE events SET id = 200 WHERE id = 6; DELETE FROM events WHERE id = 7});
in_sync('events', 'NOTHING: updates and deletes', changes => 5);
sql('TRUNCATE events; INSERT INTO events VALUES (1, NULL)');
in_sync('events', 'NOTHING: TRUNCATE');
sql(q{ALTER TABLE events DROP CONSTRAINT events_pkey; INSERT INTO events VALUES (1, NULL), (1, NULL)});
in_sync('events', 'NOTHING without a key', new_bucket => 1, changes => 3);
sql('DELETE FROM events WHERE ctid = (SELECT min(ctid) FROM events)');
in_sync('events', 'NOTHING without a key: a delete', changes => 1);

# ---- FULL without key: equal rows are rows of their own
sql(q{
	CREATE TABLE tags (tag text, weight float8, doc json, pic bytea);
	ALTER TABLE tags REPLICA IDENTITY FULL;
	ALTER TABLE tags ALTER pic SET STORAGE EXTERNAL;
	INSERT INTO tags SELECT 'tag ' || i % 4, i % 2, '{"a": 1}', NULL FROM generate_series(1, 40) i;
	INSERT INTO tags VALUES (NULL, NULL, NULL, NULL), (NULL, NULL, NULL, NULL), ('big', '-0', '[]', decode(repeat('ab', 9000), 'hex'))});
shape('tags', '{"table": "tags"}');
in_sync('tags', 'FULL without key', changes => 43);
sql(q{DELETE FROM tags WHERE ctid IN (SELECT min(ctid) FROM tags WHERE tag = 'tag 1')});
in_sync('tags', 'FULL without key: one of equal rows deleted', changes => 1);
sql(q{INSERT INTO tags SELECT * FROM tags WHERE tag = 'tag 2' OR tag IS NULL});
in_sync('tags', 'FULL without key: rows doubled', changes => 12);
sql(q{UPDATE tags SET weight = 5 WHERE ctid IN (SELECT min(ctid) FROM tags WHERE tag = 'tag 2')});
in_sync('tags', 'FULL without key: one of equal rows updated', changes => 2);
sql(q{UPDATE tags SET weight = '0' WHERE tag = 'big'; UPDATE tags SET tag = tag; UPDATE tags SET doc = '{"a":1}' WHERE tag = 'tag 3'});
in_sync('tags', 'FULL without key: values equal but not the same, TOAST unchanged');
sql(q{BEGIN; DELETE FROM tags WHERE tag = 'tag 0'; INSERT INTO tags SELECT 'tag 0', 0, '{"a": 1}', NULL FROM generate_series(1, 10); COMMIT});
in_sync('tags', 'FULL without key: gone and come again', changes => 0);
sql(q{INSERT INTO tags SELECT 'many', 1, NULL, NULL FROM generate_series(1, 3000);
	DELETE FROM tags WHERE ctid IN (SELECT ctid FROM tags WHERE tag = 'many' LIMIT 1234)});
in_sync('tags', 'FULL without key: thousands of equal rows');
sql('ALTER TABLE tags ADD COLUMN id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY; UPDATE tags SET weight = 9 WHERE id % 10 = 0');
in_sync('tags', 'FULL: a key at last', new_bucket => 1);

# ---- partitions, whose columns lie otherwise
sql(q{
	CREATE TABLE parts (junk int, region text, id int, body text, n int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
	ALTER TABLE parts DROP COLUMN junk;
	CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
	CREATE TABLE parts_b (gone text, n int, body text, also_gone int, region text NOT NULL, id int NOT NULL, PRIMARY KEY (id, region));
	ALTER TABLE parts_b DROP COLUMN gone, DROP COLUMN also_gone;
	ALTER TABLE parts_b REPLICA IDENTITY FULL;
	ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b');
	CREATE TABLE parts_c PARTITION OF parts FOR VALUES IN ('c', 'd') PARTITION BY RANGE (id);
	CREATE TABLE parts_c1 PARTITION OF parts_c FOR VALUES FROM (0) TO (100);
	CREATE TABLE parts_c2 PARTITION OF parts_c DEFAULT;
	INSERT INTO parts SELECT (ARRAY['a','b','c','d'])[1 + i % 4], i, repeat('p', i), i FROM generate_series(1, 200) i});
shape('parts', '{"table": "parts", "where": "n > -100"}');
sql(q{SELECT tide.create_shape('parts_b', '{"table": "parts_b"}')});
in_sync('parts', 'partitions', changes => 200);
in_sync('parts_b', 'a partition by itself', changes => 50);
sql(q{INSERT INTO parts VALUES ('a', 1001, 'x', 1), ('b', 1002, 'x', 2), ('d', 1003, 'x', 3);
	UPDATE parts SET body = 'changed' WHERE id <= 4; DELETE FROM parts WHERE id IN (5, 6, 7, 8); UPDATE parts SET id = id + 5000 WHERE id BETWEEN 9 AND 12});
in_sync('parts', 'rows of all partitions', changes => 19);
sql(q{UPDATE parts SET region = 'b' WHERE region = 'a' AND id <= 40; UPDATE parts SET region = 'c', body = 'moved' WHERE region = 'b' AND id > 100});
in_sync('parts', 'rows that move');
in_sync('parts_b', 'rows that come and go');
sql('TRUNCATE parts_c2');
in_sync('parts', 'one partition truncated');
sql(q{BEGIN; DELETE FROM parts WHERE id = 20; ALTER TABLE parts DETACH PARTITION parts_b; INSERT INTO parts_b VALUES (1, 'detached', 'b', 7777);
	UPDATE parts SET n = n + 1 WHERE region = 'a'; COMMIT});
in_sync('parts', 'a partition detached');
in_sync('parts_b', 'goes on by itself');
sql(q{UPDATE parts_b SET n = 0 WHERE id = 7777});
in_sync('parts', 'and is none of its business', changes => 0);
sql(q{BEGIN; INSERT INTO parts VALUES ('a', 30000, 'before', 1); ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b');
	INSERT INTO parts VALUES ('b', 30000, 'after', 1); COMMIT});
in_sync('parts', 'a partition with rows attached');
sql('SELECT tide.stop(); ALTER TABLE parts DETACH PARTITION parts_b; SELECT tide.start()');
in_sync('parts', 'a partition detached while nobody looked');
sql(q{SELECT tide.stop(); ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b'); SELECT tide.start()});
in_sync('parts', 'and attached');
sql(q{CREATE TABLE parts_e PARTITION OF parts FOR VALUES IN ('e')});
in_sync('parts', 'a new partition', changes => 0);
my $compared = () = slurp_file($node->logfile) =~ /compared table/g;
sql(q{INSERT INTO parts VALUES ('e', 1, 'x', 1)});
in_sync('parts', 'a row in it', changes => 1);
sql('DROP TABLE parts_e; ALTER TABLE parts DETACH PARTITION parts_c');
in_sync('parts', 'partitions dropped and detached, one with its own');
is(scalar(() = slurp_file($node->logfile) =~ /compared table/g), $compared, 'without a comparison');
sql(q{BEGIN; ALTER TABLE parts DETACH PARTITION parts_a; UPDATE parts_a SET n = 77 WHERE id % 2 = 0; ALTER TABLE parts ATTACH PARTITION parts_a FOR VALUES IN ('a'); COMMIT});
in_sync('parts', 'a partition changed while it was away');
sql(q{ALTER TABLE parts_a REPLICA IDENTITY NOTHING; UPDATE parts SET body = 'no key' WHERE region = 'a' AND id < 30; DELETE FROM parts WHERE id = 30});
in_sync('parts', 'a partition of which the WAL tells too little');
sql('ALTER TABLE parts ALTER n TYPE int USING n + 1000');
in_sync('parts', 'partitions rewritten, the type the same');
sql('ALTER TABLE parts_b ALTER n SET DEFAULT 5; ALTER TABLE parts DROP COLUMN body; UPDATE parts SET n = 5 WHERE id < 10');
in_sync('parts', 'a column dropped from partitions');
sql('TRUNCATE parts, parts_b');
in_sync('parts', 'all truncated', changes => 0 + scalar keys %{ (values %{ $state{parts}{rows} })[0] });
in_sync('parts_b', 'also by itself');

# ---- partitions without a key
sql(q{
	CREATE TABLE logs (day int, line text) PARTITION BY RANGE (day);
	CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM (0) TO (10);
	CREATE TABLE logs_2 PARTITION OF logs FOR VALUES FROM (10) TO (20);
	ALTER TABLE logs REPLICA IDENTITY FULL; ALTER TABLE logs_1 REPLICA IDENTITY FULL; ALTER TABLE logs_2 REPLICA IDENTITY FULL;
	INSERT INTO logs SELECT i % 20, 'line' FROM generate_series(1, 100) i});
shape('logs', '{"table": "logs"}');
in_sync('logs', 'partitions without a key', changes => 100);
sql(q{UPDATE logs SET day = 11 WHERE day = 1; DELETE FROM logs WHERE ctid = '(0,2)'; INSERT INTO logs VALUES (11, 'line'), (1, 'line'); DROP TABLE logs_1});
in_sync('logs', 'partitions without a key: rows moved, one partition dropped');
sql('ALTER TABLE logs DETACH PARTITION logs_2 CONCURRENTLY');
in_sync('logs', 'a partition detached concurrently');
sql(q{ALTER TABLE logs ATTACH PARTITION logs_2 FOR VALUES FROM (10) TO (20); INSERT INTO logs SELECT 12, 'line' FROM generate_series(1, 3)});
in_sync('logs', 'and attached again');

# a client database of its own: the made-up key is one like any other
$node->safe_psql('postgres', 'CREATE DATABASE client');
$node->safe_psql('client', sql(q{SELECT tide.client_schema('{logs}', 'postgres')}));
$node->safe_psql('client', q{INSERT INTO tide_subscription (shape) VALUES ('logs')});
sub client_pulls
{
	my $request = $node->safe_psql('client', q{SELECT tide_pull_request()::jsonb || '{"claims": {}}'});
	my $answer = sql('SELECT tide.pull(' . sql_text($request) . '::jsonb)');
	return $node->safe_psql('client', 'SELECT tide_apply(' . sql_text($answer) . '::jsonb)');
}
is(client_pulls(), 'synced', 'a client database pulls rows without a key');
sql(q{DELETE FROM logs WHERE ctid IN ('(0,1)', '(0,3)'); INSERT INTO logs VALUES (13, 'line'), (13, NULL)});
tide_sync($node);
is(client_pulls(), 'synced', 'and changes of them');
is($node->safe_psql('client', 'SELECT day, line FROM logs ORDER BY 1, 2'), sql('SELECT day, line FROM logs ORDER BY 1, 2'), 'which it has as often as the server');
like(sql(q{SELECT tide.client_schema('{logs}', 'sqlite')}), qr/PRIMARY KEY \("?_row"?, "?_copy"?\)/, 'the same for SQLite');

sql(q{ALTER TABLE logs ADD COLUMN more int DEFAULT 7; UPDATE logs SET more = 8 WHERE day = 13});
in_sync('logs', 'a column added to partitions', new_bucket => 1);

# ---- what a table is made of
sql(q{
	CREATE TYPE mood AS ENUM ('sad', 'ok');
	CREATE TYPE point3 AS (x int, y int, "Z z" text);
	CREATE DOMAIN short AS text CHECK (length(VALUE) < 20) DEFAULT 'none';
	CREATE SCHEMA "Odd ""Schema";
	CREATE TABLE odd (k mood, "Key" short, d short DEFAULT 'dd', gone int, p point3, r int4range, ps point3[], g int GENERATED ALWAYS AS (length("Key")) STORED,
		PRIMARY KEY (k, "Key"));
	ALTER TABLE odd DROP COLUMN gone;
	INSERT INTO odd (k, "Key", p, r, ps) VALUES ('sad', 'a', '(1,2,x)', '[1,5)', '{"(1,,)"}');
	CREATE TABLE "Odd ""Schema"."A ""Table" ("select" int PRIMARY KEY, "x y" text);
	INSERT INTO "Odd ""Schema"."A ""Table" VALUES (1, 'one')});
shape('odd', q({"table": "odd", "where": "k <> ''sad'' OR length(\"Key\") > 0"}));
in_sync('odd', 'enums, domains, composites, ranges, generated columns', changes => 1);
sql(q{ALTER TYPE mood ADD VALUE 'better' BEFORE 'ok'});
sql(q{INSERT INTO odd (k, "Key", d) VALUES ('better', 'b', DEFAULT), ('ok', 'bb', NULL); UPDATE odd SET k = 'better', p = ROW(3, NULL, 'q') WHERE "Key" = 'a'});
in_sync('odd', 'a value added to an enum', changes => 4);
sql(q{UPDATE odd SET "Key" = 'b2', ps[1] = '(7,8,)' WHERE "Key" = 'b'});
in_sync('odd', 'key of several types changed', changes => 2);
sql(q{SELECT tide.create_shape('quoted', '{"table": "\"Odd \"\"Schema\".\"A \"\"Table\""}')});
tide_sync($node);
sql(q{UPDATE "Odd ""Schema"."A ""Table" SET "select" = 2; INSERT INTO "Odd ""Schema"."A ""Table" VALUES (3)});
tide_sync($node);
verify_empty($node, 'quoted', {}, {});
is(sql('SELECT rows FROM tide.shapes WHERE name = \'quoted\''), 2, 'names that need quotes');

# ---- tables that become what is refused
sql(q{CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE soon (id int PRIMARY KEY)});
shape('parent', '{"table": "parent"}');
shape('soon', '{"table": "soon"}');
sql('CREATE TABLE child () INHERITS (parent); ALTER TABLE soon SET UNLOGGED');
tide_sync($node);
is(sql(q{SELECT state || ': ' || error FROM tide.shapes WHERE name IN ('parent', 'soon') ORDER BY name}),
	"failed: cannot make a shape of \"parent\": Other tables inherit from it, so that it shows rows that are not its own.\n"
	  . "failed: cannot make a shape of \"soon\": It is unlogged: its changes are not in the WAL.", 'a table inherited from, and one no longer logged');

is(sql('SELECT count(*) FROM tide_internal.verify_all()'), 0, 'all verified');
is(sql('SELECT last_error FROM tide.status'), '', 'no error');
$node->stop;
done_testing();
