# What the ingest makes of every kind of change: after each step the shadow tables equal
# their sources, and the change logs and buckets agree with them.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use POSIX ();
use TideCheck;
use TideCluster;
use TideSession;

my $node = tide_new('ingest', start => 0, conf => "max_prepared_transactions = 5\n");
my $s = TideSession->new($node);
install_check($node);

# run statements, then everything must be right
sub step
{
	my ($name, $sql) = @_;
	$s->query($sql);
	return store_ok($node, $name);
}

# rows of a shape, as counted by its buckets
sub rows_of { return $s->query("SELECT rows FROM tide.shapes WHERE name = '$_[0]'"); }

# a text of about $_[0] kB that does not compress; the same for the same $_[1]
sub big { return "(SELECT string_agg(md5('$_[1]' || i), '') FROM generate_series(1, $_[0] * 32) i)"; }

$s->query(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, part int, n int, v text, big text);
CREATE TABLE f (id int PRIMARY KEY, part int, v text, big text, "Big 2" text);
ALTER TABLE f REPLICA IDENTITY FULL;
CREATE TABLE c (code text, no int, at timestamptz, note text, PRIMARY KEY (no, code));
CREATE TABLE plain (id int PRIMARY KEY, v text);    -- of no shape
INSERT INTO t SELECT i, i % 3, i, 'v' || i FROM generate_series(1, 50) i;
INSERT INTO f SELECT i, i % 3, 'v' || i FROM generate_series(1, 50) i;
SELECT tide.create_shape('t', '{"table": "t"}'), tide.create_shape('t_part', '{"table": "t", "where": "part = params.part"}'),
	tide.create_shape('t_big', '{"table": "t", "where": "length(big) > 5000", "columns": ["n"]}'),
	tide.create_shape('f', '{"table": "f", "where": "part = params.part"}'),
	tide.create_shape('f_big', '{"table": "f", "where": "left(big, 1) < ''9'' OR \"Big 2\" IS NOT NULL"}'),
	tide.create_shape('c', '{"table": "c"}'), tide.create_shape('c_code', '{"table": "c", "where": "code = ANY (params.codes)", "columns": []}');
SELECT tide.start();
SQL
store_ok($node, 'copied');
is(rows_of('t'), 50, 'every row of the table');

# ---- transactions
step('one of each', "INSERT INTO t VALUES (100, 1, 1, 'new'); UPDATE t SET v = 'changed' WHERE id = 5; DELETE FROM t WHERE id = 6; INSERT INTO plain VALUES (1)");
step('a transaction rolled back', "BEGIN; UPDATE t SET v = 'never'; DELETE FROM f; ROLLBACK");
step('savepoints', <<'SQL');
BEGIN;
INSERT INTO t VALUES (101, 1, 1, 'before');
SAVEPOINT a;
UPDATE t SET v = 'rolled back' WHERE id < 10;
SAVEPOINT b;
INSERT INTO t VALUES (102, 1, 1, 'rolled back as well');
RELEASE b;
ROLLBACK TO a;
INSERT INTO t VALUES (102, 2, 2, 'stays');
SAVEPOINT c;
UPDATE t SET n = n + 1 WHERE id IN (101, 102);
RELEASE c;
SAVEPOINT d;
DELETE FROM t WHERE id = 101;
ROLLBACK TO d;
COMMIT;
SQL
step('a subtransaction for each row, half of them failing', <<'SQL');
DO $$ BEGIN
	FOR i IN 1 .. 200 LOOP
		BEGIN
			INSERT INTO t VALUES (i, i % 3, i, 'sub ' || i);
		EXCEPTION WHEN unique_violation THEN
			UPDATE t SET v = v || '!' WHERE id = i;
		END;
	END LOOP;
END $$
SQL
is($s->error_code("BEGIN; INSERT INTO t VALUES (1000); INSERT INTO t VALUES (1)"), '23505', 'a transaction that fails');
step('leaves nothing', 'ROLLBACK');
step('many changes of one row in a transaction', "BEGIN; INSERT INTO t VALUES (300); UPDATE t SET v = 'a' WHERE id = 300; DELETE FROM t WHERE id = 300; INSERT INTO t VALUES (300, 1); UPDATE t SET part = 2 WHERE id = 300; COMMIT");
my $entries = $s->query('SELECT count(*) FROM tide_shadow.log1');
step('a row that came and went', "BEGIN; INSERT INTO t VALUES (301); DELETE FROM t WHERE id = 301; UPDATE t SET v = v; COMMIT");
is($s->query('SELECT count(*) FROM tide_shadow.log1'), $entries, 'is no change, nor is an update to the same values');
step('a prepared transaction, not yet committed', "BEGIN; UPDATE t SET v = 'prepared' WHERE id = 3; PREPARE TRANSACTION 'one'");
step('others meanwhile', "UPDATE t SET v = 'meanwhile' WHERE id = 4");
step('commit prepared', "COMMIT PREPARED 'one'");
is($s->query('SELECT v FROM t WHERE id = 3'), 'prepared', 'it was');
step('rollback prepared', "BEGIN; DELETE FROM t; PREPARE TRANSACTION 'two'; ROLLBACK PREPARED 'two'");

# ---- keys
step('keys in a circle', 'BEGIN; UPDATE t SET id = -1 WHERE id = 1; UPDATE t SET id = 1 WHERE id = 3; UPDATE t SET id = 3 WHERE id = 2; UPDATE t SET id = 2 WHERE id = -1; COMMIT');
step('the same under full identity', 'BEGIN; UPDATE f SET id = -1 WHERE id = 1; UPDATE f SET id = 1 WHERE id = 3; UPDATE f SET id = 3 WHERE id = 2; UPDATE f SET id = 2 WHERE id = -1; COMMIT');
step('key there and back', "BEGIN; UPDATE t SET id = 5000 WHERE id = 10; UPDATE t SET v = 'away' WHERE id = 5000; UPDATE t SET id = 10 WHERE id = 5000; COMMIT");
step('a key taken over', "BEGIN; DELETE FROM t WHERE id = 11; UPDATE t SET id = 11, part = 2 WHERE id = 12; INSERT INTO t VALUES (12, 0, 0, 'again'); COMMIT");
step('all keys at once', 'UPDATE t SET id = id + 10000');
step('and back', 'UPDATE t SET id = id - 10000');
step('deleted and inserted again in other transactions', "DELETE FROM t WHERE id = 20; INSERT INTO t VALUES (20, 1, 1, 'reborn'); DELETE FROM t WHERE id = 20; INSERT INTO t VALUES (20, 1, 1, 'again')");
step('composite keys', "INSERT INTO c SELECT chr(97 + i % 5), i, '2026-01-01', 'n' || i FROM generate_series(1, 40) i; UPDATE c SET code = 'z' WHERE no < 5; UPDATE c SET no = no + 100 WHERE code = 'b'; UPDATE c SET note = NULL WHERE code = 'c'; DELETE FROM c WHERE code = 'd'");
step('odd texts as keys', q{INSERT INTO c VALUES ('', 1), (' ', 1), ('''', 1), ('"', 1), (E'\\\\', 1), (E'\t\n', 1), ('é', 1), ('👍', 1), ('NULL', 1), ('{a,b}', 1); UPDATE c SET code = code || code WHERE no = 1 AND code <> ''});
step('on conflict', "INSERT INTO t VALUES (20, 2, 2, 'x'), (3000, 0, 0, 'y') ON CONFLICT (id) DO UPDATE SET v = excluded.v; INSERT INTO t VALUES (20, 0, 0, 'z') ON CONFLICT DO NOTHING");
step('rows that move between buckets', 'UPDATE t SET part = (part + 1) % 4; UPDATE t SET part = NULL WHERE id % 7 = 0; UPDATE t SET part = 9 WHERE part IS NULL AND id < 50');

# ---- TOAST
step('big values', 'UPDATE t SET big = ' . big(20, 'a') . " WHERE id IN (20, 21, 22); UPDATE t SET big = repeat('compress ', 9000) WHERE id = 23");
is(rows_of('t_big'), 4, 'a filter reads them');
step('unchanged in a later batch', 'UPDATE t SET n = n + 1 WHERE id BETWEEN 20 AND 23');
step('unchanged with another key', 'UPDATE t SET id = id + 4000 WHERE id IN (20, 23)');
is(rows_of('t_big'), 4, 'a filter still sees them');
step('set and then unchanged in one transaction', 'BEGIN; UPDATE t SET big = ' . big(30, 'b') . ' WHERE id = 21; UPDATE t SET n = n + 1 WHERE id = 21; UPDATE t SET id = 4021 WHERE id = 21; UPDATE t SET n = n + 1 WHERE id = 4021; COMMIT');
step('in transactions that make one batch', 'BEGIN; SELECT tide.stop(); COMMIT; UPDATE t SET big = ' . big(25, 'c') . ' WHERE id = 22; UPDATE t SET n = 0 WHERE id = 22; INSERT INTO t VALUES (24, 0, 0, NULL, ' . big(25, 'd')
  . ') ON CONFLICT (id) DO UPDATE SET big = excluded.big; UPDATE t SET id = 4024 WHERE id = 24; UPDATE t SET n = 1 WHERE id = 4024; UPDATE t SET part = 1 WHERE id = 4020; SELECT tide.start()');
step('unchanged in a new row that takes the place of another', 'BEGIN; DELETE FROM t WHERE id = 30; UPDATE t SET id = 30 WHERE id = 4024; COMMIT');
step('removed', 'UPDATE t SET big = NULL WHERE id = 22; UPDATE t SET n = 3 WHERE id = 22; DELETE FROM t WHERE id = 30');
step('full identity', 'UPDATE f SET big = ' . big(20, 'e') . ', "Big 2" = ' . big(9, 'f') . ' WHERE id < 6; UPDATE f SET v = v || 1 WHERE id < 6; UPDATE f SET "Big 2" = NULL WHERE id = 2; UPDATE f SET id = id + 100 WHERE id < 4; UPDATE f SET part = 1 WHERE id > 100; DELETE FROM f WHERE id = 5');
step('identity changed to full and back', 'ALTER TABLE t REPLICA IDENTITY FULL; UPDATE t SET n = 77 WHERE id IN (4020, 22); UPDATE t SET id = 4120 WHERE id = 4020; ALTER TABLE t REPLICA IDENTITY DEFAULT; UPDATE t SET n = 78 WHERE id IN (4120, 22)');
step('storage of a column changed', 'ALTER TABLE t ALTER big SET STORAGE external; UPDATE t SET big = repeat(\'z\', 9000) WHERE id = 40; UPDATE t SET n = 5 WHERE id = 40');

# ---- TRUNCATE
step('truncate', 'TRUNCATE c');
is(rows_of('c'), 0, 'leaves nothing');
step('with rows before and after in one transaction', "BEGIN; INSERT INTO c VALUES ('before', 1); INSERT INTO f VALUES (900, 1, 'before'); TRUNCATE c, f; INSERT INTO c VALUES ('after', 1), ('before', 1); UPDATE c SET note = 'x'; INSERT INTO f SELECT i, i % 2, 'after' FROM generate_series(1, 30) i; COMMIT");
step('rolled back', 'BEGIN; TRUNCATE t, c, f; INSERT INTO t VALUES (1); ROLLBACK');
step('twice, of an empty table too', "BEGIN; TRUNCATE c; TRUNCATE c; COMMIT; TRUNCATE c; INSERT INTO c VALUES ('end', 1)");
step('of a large table', "INSERT INTO c SELECT 'many', i FROM generate_series(1, 20000) i; TRUNCATE c");

# ---- COPY, many rows
my $file = PostgreSQL::Test::Utils::tempdir() . '/copy';
append_to_file($file, join '', map { "$_\t" . ($_ % 5) . "\t$_\tcopied\n" } 20_000 .. 24_999);
step('COPY', "COPY t (id, part, n, v) FROM '$file'");
is(rows_of('t'), $s->query('SELECT count(*) FROM t'), 'all of it');
step('update of all', 'UPDATE t SET n = n + 1');
step('delete of most', 'DELETE FROM t WHERE id >= 20000');

# ---- all kinds of column types
my @values = (
	boolean => "true", boolean => 'NULL', int2 => '-32768', int8 => '9223372036854775807', int8 => '-9223372036854775808', float4 => "'NaN'", float8 => "'-Infinity'",
	float8 => "'-0'", numeric => "'NaN'", numeric => "'Infinity'", numeric => '1.500', 'numeric(10,2)' => '3.1', money => '12.34', '"char"' => "'x'", name => "'a name'",
	'char(7)' => "'ab'", varchar => "''", text => "E'\\x01\\t\\n\\\\'", bytea => "'\\x00ff'", date => "'infinity'", date => "'0044-03-15 BC'", time => "'23:59:60'", timetz => "'01:02+03'",
	timestamp => "'-infinity'", timestamptz => "'2026-01-01 00:00+14'", interval => "'1 mon -1 day 00:00:01.5'", uuid => "'00000000-0000-0000-0000-000000000001'", json => "' {\"a\" : 1,\"a\":2}'",
	jsonb => "'{\"a\": [1, null, {\"\": \"é\"}]}'", xml => "'<a/>'", 'int[]' => "'{}'", 'text[]' => q('{NULL,"NULL",""}'), 'int[][]' => "'[0:1][2:3]={{1,2},{3,4}}'", inet => "'::1/64'", cidr => "'10.0.0.0/8'",
	macaddr => "'08:00:2b:01:02:03'", point => "'(1,2)'", polygon => "'((0,0),(1,1),(1,0))'", circle => "'<(0,0),1>'", bit => "B'1'", varbit => "B'10101'", tsvector => "'a:1 b'", tsquery => "'a & !b'",
	int4range => "'empty'", nummultirange => "'{[1,2),(3,)}'", pg_lsn => "'1/2'", oid => '4294967295', regclass => "'t'", mood => "'ok'", posint => '5', pair => "ROW(1, 'x')", 'pair[]' => "ARRAY[ROW(1, 'x')::pair, NULL]");
my (@definitions, @literals);
while (my ($type, $literal) = splice @values, 0, 2)
{
	push @definitions, 'x' . @definitions . " $type";
	push @literals, $literal;
}
$s->query("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN posint AS int CHECK (VALUE > 0); CREATE TYPE pair AS (a int, b text)");
$s->query('CREATE TABLE types (id int PRIMARY KEY, ' . join(', ', @definitions) . ', twice int GENERATED ALWAYS AS (id * 2) STORED)');
$s->query('INSERT INTO types VALUES (1, ' . join(', ', @literals) . '); INSERT INTO types (id) VALUES (2)');
$s->query(q{SELECT tide.create_shape('types', '{"table": "types"}')});
step('types, copied', 'SELECT 1');
step('types, changed', 'INSERT INTO types VALUES (3, ' . join(', ', @literals) . '); UPDATE types SET id = 4 WHERE id = 1; UPDATE types SET x0 = false; INSERT INTO types SELECT 10 + i FROM generate_series(1, 3) i');

# ---- shapes that come and go
step('a new shape over rows that are there', q{SELECT tide.create_shape('t_late', '{"table": "t", "where": "n > 10"}')});
is(rows_of('t_late'), $s->query('SELECT count(*) FROM t WHERE n > 10'), 'has them');
step('changes after it', 'UPDATE t SET n = 11 - n WHERE id < 30; DELETE FROM t WHERE id BETWEEN 31 AND 35');
is(rows_of('t_late'), $s->query('SELECT count(*) FROM t WHERE n > 10'), 'are followed');
step('a shape replaced', q{SELECT tide.replace_shape('t_late', '{"table": "t", "where": "n < 3 AND part = params.p"}')});
is(rows_of('t_late'), $s->query('SELECT count(*) FROM t WHERE n < 3 AND part IS NOT NULL'), 'has the new rows');
step('by one of another table', q{SELECT tide.replace_shape('t_late', '{"table": "plain"}'); INSERT INTO plain VALUES (2, 'x')});
step('dropped', q{SELECT tide.drop_shape('t_late'); UPDATE t SET n = n + 1});
step('created and dropped at once', q{BEGIN; SELECT tide.create_shape('brief', '{"table": "t"}'); SELECT tide.drop_shape('brief'); COMMIT});
step('created in a transaction that writes', q{BEGIN; UPDATE t SET n = 5 WHERE id < 9; SELECT tide.create_shape('in_between', '{"table": "plain"}'); INSERT INTO plain VALUES (3, 'y'); COMMIT; INSERT INTO plain VALUES (4, 'z')});
is(rows_of('in_between'), $s->query('SELECT count(*) FROM plain'), 'has the rows of its transaction');
step('rolled back', q{BEGIN; SELECT tide.create_shape('never', '{"table": "types"}'); ROLLBACK; UPDATE types SET x0 = true});
step('the last shape of a table', q{SELECT tide.drop_shape('in_between'), tide.drop_shape('types'); INSERT INTO plain VALUES (5)});
is($s->query("SELECT count(*) FROM tide_internal.sources WHERE relid IN ('plain'::regclass, 'types'::regclass)"), '0', 'takes the shadow with it');

# ---- the table changes under its shapes
sub live { is($s->query("SELECT string_agg(name || ' ' || state || coalesce(error, ''), ', ') FROM tide.shapes WHERE state <> 'live'"), '', 'all shapes live again'); return; }
step('a column added, with writes before and after', "BEGIN; INSERT INTO t VALUES (7000, 1); ALTER TABLE t ADD extra int DEFAULT 7; INSERT INTO t (id, extra) VALUES (7001, 8); UPDATE t SET v = 'ddl' WHERE id < 5; COMMIT");
live();
step('and changes after', "UPDATE t SET extra = 9 WHERE id < 8; INSERT INTO t (id, extra) VALUES (7002, 1)");
like($s->query('SELECT column_names FROM tide_internal.sources WHERE relid = \'t\'::regclass'), qr/extra/, 'the new column is shown');
step('a column dropped', "BEGIN; UPDATE t SET extra = 1 WHERE id = 3; ALTER TABLE t DROP extra; UPDATE t SET v = 'dropped' WHERE id = 4; COMMIT; DELETE FROM t WHERE id = 5");
live();
step('a column renamed', "BEGIN; UPDATE t SET n = 1 WHERE id = 3; ALTER TABLE t RENAME v TO w; UPDATE t SET w = 'renamed' WHERE id = 4; COMMIT; DELETE FROM t WHERE id = 7");
live();
step('a type changed', "BEGIN; UPDATE t SET n = 2 WHERE id = 3; ALTER TABLE t ALTER n TYPE bigint; UPDATE t SET n = 5000000000 WHERE id = 4; COMMIT; DELETE FROM t WHERE id = 8");
live();
step('the table renamed', "ALTER TABLE t RENAME TO tt; UPDATE tt SET w = 'other name' WHERE id = 9; ALTER TABLE tt RENAME TO t; UPDATE t SET w = 'own name' WHERE id = 10");
live();
step('the key changed', 'BEGIN; UPDATE c SET note = 1; ALTER TABLE c DROP CONSTRAINT c_pkey; ALTER TABLE c ADD PRIMARY KEY (code, no); COMMIT; INSERT INTO c VALUES (\'k\', 1); UPDATE c SET code = \'kk\' WHERE code = \'k\'; DELETE FROM c WHERE code = \'end\'');
live();
step('the table rewritten', 'VACUUM FULL t; CLUSTER t USING t_pkey; UPDATE t SET part = 1 WHERE id < 20');
live();
$s->query('ALTER TABLE t DROP COLUMN part; UPDATE t SET n = 1 WHERE id < 20');
store_ok($node, 'a column that a shape needs dropped');
like($s->query("SELECT state || ': ' || error FROM tide.shapes WHERE name = 't_part'"), qr/^failed: .*part/, 'that shape fails and says why');
is($s->query("SELECT state FROM tide.shapes WHERE name = 't'"), 'live', 'others do not');
step('and can be replaced', q{SELECT tide.replace_shape('t_part', '{"table": "t", "where": "n = params.n"}')});
live();
$s->query('DROP TABLE f');
store_ok($node, 'a table dropped');
is($s->query("SELECT state || ': ' || error FROM tide.shapes WHERE name = 'f'"), 'failed: relation "f" does not exist', 'its shapes fail and say why');
$s->query("UPDATE t SET w = 'after the drop'");
$s->query("SELECT tide.drop_shape('f'), tide.drop_shape('f_big')");
store_ok($node, 'the others go on');
is($s->query('SELECT last_error FROM tide.status'), '', 'nothing of this was an error of the worker') or diag slurp_file($node->logfile);

# ---- memory: transactions much larger than the settings allow to hold
for my $memory ('64kB', '1MB')
{
	$s->query("ALTER SYSTEM SET tide.spool_memory = '$memory'");
	$s->query("ALTER SYSTEM SET tide.apply_memory = '$memory'");
	$s->query("ALTER SYSTEM SET logical_decoding_work_mem = '$memory'");
	$s->query('SELECT pg_reload_conf()');
	step("a large transaction in $memory", "BEGIN; INSERT INTO t (id, n, w) SELECT i, i % 10, repeat('w', 20) FROM generate_series(100000, " . ($memory eq '64kB' ? 170000 : 120000) . ") i; UPDATE t SET n = n + 1 WHERE id % 3 = 0; DELETE FROM t WHERE id % 10 = 0; UPDATE t SET id = id + 1000000 WHERE id % 10 = 1; COMMIT");
	step('one of big rows', 'BEGIN; UPDATE t SET big = ' . big(40, 'x') . ' WHERE id BETWEEN 100001 AND 100099; UPDATE t SET n = 0 WHERE id BETWEEN 100001 AND 100050; COMMIT');
	step('truncated in one go', 'TRUNCATE t; INSERT INTO t (id) VALUES (1)');
}
$s->query('ALTER SYSTEM RESET ALL');
$s->query('SELECT pg_reload_conf()');

# ---- shapes made while four sessions write
$s->query('CREATE TABLE w1 (id int PRIMARY KEY, part int, v text); CREATE TABLE w2 (id int PRIMARY KEY, part int, v text); ALTER TABLE w2 REPLICA IDENTITY FULL; INSERT INTO w1 SELECT i, i % 5, repeat(i::text, 50) FROM generate_series(1, 20000) i; INSERT INTO w2 TABLE w1');
my @writers = map { start_writer($_) } 1 .. 4;
my $main = $$;
END { kill KILL => @writers if defined $main && $main == $$; }
for my $i (1 .. 4)
{
	$s->query("SELECT tide.create_shape('w$i', '{\"table\": \"w" . (1 + $i % 2) . "\", \"where\": \"part = params.part\"}')");
	$s->query("SELECT tide.sync('10min')");
	is($s->query("SELECT state FROM tide.shapes WHERE name = 'w$i'"), 'live', "shape $i made while four sessions write");
}
waitpid $_, 0 for @writers;
store_ok($node, 'equals its source when they have ended');
$s->query(q{SELECT tide.drop_shape('w1'), tide.drop_shape('w2'), tide.drop_shape('w3')});
store_ok($node, 'and when some are dropped');
is($s->query('SELECT last_error FROM tide.status'), '', 'without an error');

$s->quit;
unlike(slurp_file($node->logfile), qr/PANIC|signal 11|signal 6|TRAP/, 'nothing crashed');
$node->stop('fast');
done_testing();

sub start_writer
{
	my ($i) = @_;
	my $pid = fork // die "could not fork: $!";
	return $pid if $pid;
	my $connstr = $node->connstr('postgres');
	open my $psql, '|-', "psql -Xq -d \"$connstr\" >/dev/null 2>&1" or POSIX::_exit(1);
	srand $i;
	for (1 .. 1500)
	{
		my ($table, $id) = ('w' . (1 + int rand 2), 1 + int rand 21000);
		my @changes = (
			"UPDATE $table SET part = part + 1 WHERE id = $id", "INSERT INTO $table VALUES ($id, $id % 5, 'i') ON CONFLICT DO NOTHING",
			"DELETE FROM $table WHERE id = $id", "UPDATE $table SET v = v || 'x', part = (part + 1) % 5 WHERE id BETWEEN $id AND $id + 5",
			"UPDATE $table SET id = -id WHERE id = $id");
		print $psql rand() < 0.3 ? "BEGIN; $changes[rand @changes]; SELECT pg_sleep(0.001); $changes[rand @changes]; COMMIT;\n" : "$changes[rand @changes];\n";
	}
	close $psql;
	POSIX::_exit(0);
}
