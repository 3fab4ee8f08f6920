# A shape that failed while rows were stored is built from nothing when DDL has it compiled again: what it missed
# meanwhile is not in its old buckets, and clients get the new ones. DDL about what it depends on does so, also where no other
# shape is on the table; other DDL does not.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('failed_shape');
my $request = { claims => {}, shapes => { odd => [ { m => 0 }, { m => 1 } ] } };

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(q{CREATE TABLE t (id int PRIMARY KEY, m int, n int);
	INSERT INTO t SELECT i, 0, 1 FROM generate_series(1, 300) i;
	SELECT tide.create_shape('odd', '{"table": "t", "where": "m = params.m AND 10 / n > 0"}'), tide.create_shape('all', '{"table": "t"}')});
tide_sync($node);
my $state = pull_all($node, $request);
for my $i (1 .. 2)
{
	sql('UPDATE t SET n = 0 WHERE id = 5');
	wait_for_sql($node, q{SELECT state = 'failed' FROM tide.shapes WHERE name = 'odd'});
	is(sql(q{SELECT error FROM tide.shapes WHERE name = 'odd'}), 'division by zero', "$i: the shape fails");
	sql("UPDATE t SET n = 1, m = (id + $i) % 3; ALTER TABLE t ADD COLUMN x$i int");
	wait_for_sql($node, q{SELECT state = 'live' FROM tide.shapes WHERE name = 'odd'});
	tide_sync($node);
	pull_all($node, $request, state => $state);
	is_deeply([ state_rows($state, 'public.t') ], [ query_rows($node, 'SELECT * FROM t WHERE m < 2') ], "$i: the client has the rows");
	verify_empty($node, 'odd', { m => $_ }, {}, name => "$i: tide.verify finds nothing for m = $_") for 0 .. 2;
}
# whatever is told of shapes that fail, even for a moment
sql(q{CREATE TABLE failures (name text);
	CREATE FUNCTION note_failure() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN INSERT INTO public.failures VALUES (NEW.name); RETURN NULL; END $$;
	CREATE TRIGGER note_failure AFTER UPDATE ON tide_internal.shapes FOR EACH ROW
		WHEN (NEW.state = 'failed' AND OLD.state <> 'failed') EXECUTE FUNCTION note_failure()});

sub wait_state { my ($name, $state) = @_; wait_for_sql($node, "SELECT state = '$state' FROM tide.shapes WHERE name = '$name'"); }
sub failures { return sql("SELECT count(*) FROM failures WHERE name = '$_[0]'"); }

# A shape that fails, the only one on its table, and what cures it: no traffic but the cure itself
sub check_cure
{
	my ($name, %case) = @_;
	my $one = { claims => {}, shapes => { $name => [ {} ] } };
	my $table = $case{table} // $name;
	my $state = new_state();

	sql("CREATE TABLE $name (id int PRIMARY KEY, n int, m int); INSERT INTO $name SELECT i, 1, i % 3 FROM generate_series(1, 50) i;"
		. ($case{before} // ''));
	sql("SELECT tide.create_shape('$name', '$case{shape}')");
	if ($case{break})
	{
		tide_sync($node);
		pull_all($node, $one, state => $state);
		sql($case{break});
	}
	wait_state($name, 'failed');
	like(sql("SELECT error FROM tide.shapes WHERE name = '$name'"), $case{error}, "$name: the shape fails");
	$case{meanwhile}->() if $case{meanwhile};
	sql($case{cure});
	wait_state($name, 'live');
	pull_all($node, $one, state => $state);
	is_deeply([ state_rows($state, "public.$table") ], [ query_rows($node, "SELECT * FROM $table WHERE $case{rows}") ], "$name: the client has the rows");
	sql("UPDATE $table SET m = m + 1");
	tide_sync($node);
	pull_all($node, $one, state => $state);
	is_deeply([ state_rows($state, "public.$table") ], [ query_rows($node, "SELECT * FROM $table WHERE $case{rows}") ], "$name: and what changes afterwards");
	verify_empty($node, $name, {}, {}, name => "$name: tide.verify finds nothing");
	is(failures($name), $case{failures} // 1, "$name: it has failed no more often than that");
	sql("SELECT tide.drop_shape('$name')");
}

my %divides = (error => qr/^division by zero$/, rows => 'm = 1');
sub divides { return qq({"table": "$_[0]", "where": "m = 1 AND 10 / n > 0"}); }
sub calls { return qq({"table": "$_[0]", "where": "m = 1 AND ratio(n) > 0"}); }
sub ratio { return "CREATE OR REPLACE FUNCTION ratio(n int) RETURNS int IMMUTABLE LANGUAGE $_[0] AS '" . ($_[0] eq 'sql' ? "SELECT $_[1]'" : "BEGIN RETURN $_[1]; END'"); }

check_cure('altered', %divides, shape => divides('altered'), break => 'UPDATE altered SET n = 0 WHERE id = 4',
	cure => 'BEGIN; UPDATE altered SET n = 1; ALTER TABLE altered ADD CHECK (n <> 0); COMMIT',
	meanwhile => sub {
		sql('CREATE TABLE elsewhere (id serial PRIMARY KEY, n int CHECK (n > 0)); ALTER TABLE elsewhere ADD x int; CREATE INDEX ON elsewhere (n);
			CREATE TYPE unused AS ENUM (\'a\'); CREATE VIEW v AS SELECT * FROM altered');
		tide_sync($node);
		is(sql(q{SELECT state FROM tide.shapes WHERE name = 'altered'}), 'failed', 'altered: DDL that is not about it does not cure it');
		is(failures('altered'), 1, 'altered: nor has it tried');
	});
check_cure('again', %divides, shape => divides('again'), break => 'UPDATE again SET n = 0 WHERE id = 4', failures => 2,
	cure => 'UPDATE again SET n = 1; ALTER TABLE again ADD x2 int',
	meanwhile => sub {
		sql('ALTER TABLE again ADD x1 int');
		wait_for_sql($node, q{SELECT count(*) = 2 FROM failures WHERE name = 'again'});
		tide_sync($node);
		is(failures('again'), 2, 'again: one try for DDL that does not cure it');
	});
check_cure('unbuilt', %divides, shape => divides('unbuilt'), before => 'UPDATE unbuilt SET n = 0 WHERE id = 4',
	cure => 'UPDATE unbuilt SET n = 1; CREATE INDEX ON unbuilt (n)');
check_cure('truncated', %divides, shape => divides('truncated'), before => 'UPDATE truncated SET n = 0 WHERE id = 4',
	cure => 'TRUNCATE truncated; ALTER TABLE truncated ADD x int; INSERT INTO truncated VALUES (1, 1, 1), (2, 1, 2)');
check_cure('stopped', %divides, shape => divides('stopped'), break => 'UPDATE stopped SET n = 0 WHERE id = 4',
	cure => 'SELECT tide.start()',
	meanwhile => sub { sql('SELECT tide.stop()'); sql('UPDATE stopped SET n = 1; ALTER TABLE stopped ADD x int'); });
check_cure('lost', %divides, shape => divides('lost'), break => 'UPDATE lost SET n = 0 WHERE id = 4',
	cure => 'SELECT tide.start()',
	meanwhile => sub {
		sql('SELECT tide.stop()');
		sql("UPDATE lost SET n = 1; ALTER TABLE lost RENAME n TO divisor; SELECT pg_drop_replication_slot('tide_postgres')");
	});
check_cure('function', %divides, shape => calls('function'), before => ratio('plpgsql', '10 / n'),
	break => 'UPDATE function SET n = 0 WHERE id = 4', cure => ratio('plpgsql', '10 / (n + 1)'));
check_cure('inlined', %divides, shape => calls('inlined'), before => ratio('sql', '10 / n'),
	break => 'UPDATE inlined SET n = 0 WHERE id = 4', cure => ratio('sql', '10 / (n + 1)'));
check_cure('missing', shape => calls('missing'), before => ratio('plpgsql', '10 / n'), error => qr/^(cache lookup failed for function|function ratio\(integer\) does not exist)/, rows => 'm = 1',
	break => 'DROP FUNCTION ratio; UPDATE missing SET n = 2 WHERE id = 4', cure => ratio('plpgsql', '10 / n'));
check_cure('domain', shape => '{"table": "domain", "where": "m = 1 AND n::positive > 0"}', error => qr/violates check constraint/, rows => 'm = 1 AND n > 0',
	before => 'CREATE DOMAIN positive AS int CHECK (VALUE > 0)', break => 'UPDATE domain SET n = 0 WHERE id = 4',
	cure => 'ALTER DOMAIN positive DROP CONSTRAINT positive_check');
check_cure('child', %divides, shape => '{"table": "child", "where": "m = 1", "include": {"parts": {"table": "part", "where": "10 / d > 0"}}}',
	before => 'CREATE TABLE part (id int PRIMARY KEY, child int REFERENCES child, d int); INSERT INTO part SELECT id, id, 1 FROM child',
	break => 'UPDATE part SET d = 0 WHERE id = 4', cure => 'UPDATE part SET d = 1; ALTER TABLE part ADD x int');
check_cure('renamed', %divides, shape => divides('renamed'), break => 'UPDATE renamed SET n = 0 WHERE id = 4',
	cure => 'UPDATE renamed SET n = 1; ALTER TABLE renamed RENAME n TO divisor');
check_cure('moved', %divides, shape => divides('moved'), before => 'UPDATE moved SET n = 0 WHERE id = 4', table => 'moved_on',
	cure => 'UPDATE moved SET n = 1; ALTER TABLE moved RENAME TO moved_on');
check_cure('remade', %divides, shape => divides('remade'), before => 'UPDATE remade SET n = 0 WHERE id = 4',
	cure => 'DROP TABLE remade; CREATE TABLE remade (id int PRIMARY KEY, n int, m int); INSERT INTO remade VALUES (1, 1, 1), (2, 1, 2)');
check_cure('replaced', %divides, shape => divides('replaced'), break => 'UPDATE replaced SET n = 0 WHERE id = 4',
	cure => q{SELECT tide.replace_shape('replaced', '{"table": "replaced", "where": "m = 1 AND 10 / nullif(n, 0) IS NOT NULL"}')}, rows => 'm = 1 AND n > 0');
is(sql('SELECT count(*) FROM tide.shapes'), 2, 'nothing of them is left');
$node->stop;
done_testing();
