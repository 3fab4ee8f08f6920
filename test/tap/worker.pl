# The life of the worker: started, stopped, killed, restarted, idle, without preload, with a
# shape that fails, in two databases, under an extension or a database that goes away.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);
use TideCheck;
use TideCluster;
use TideSession;

my $no_worker = "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND backend_type LIKE '%tide%'";
my $node = tide_new('worker', start => 0);
my $s = TideSession->new($node);
install_check($node);
$s->query(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, n int, v text);
CREATE TABLE other (id int);
INSERT INTO t SELECT i, i, 'v' || i FROM generate_series(1, 100) i;
SELECT tide.create_shape('all', '{"table": "t"}');
SQL
my $shadow = 'tide_shadow.t1';

# ---- before the start
is($s->error_code('SELECT tide.sync()'), '55000', 'tide.sync before tide.start');
is($s->query('SELECT state FROM tide.status'), 'stopped', 'status before tide.start');
is($s->query("SELECT tide.wait(0, '50ms')"), '0', 'tide.wait before tide.start');
$s->query('BEGIN; SELECT tide.start(); ROLLBACK');
wait_for_sql($node, $no_worker);
is($s->query('SELECT enabled FROM tide_internal.state'), 'f', 'a start rolled back is none');
is($s->error_code('SELECT tide.sync()'), '55000', 'nor can one wait for it');
my $slots = q{SELECT count(*) FROM pg_replication_slots WHERE database = current_database()};
wait_for_sql($node, $slots =~ s/count\(\*\)/count(*) = 0/r);
is($s->query($slots), '0', 'nor is there a slot that keeps WAL');
$s->query('BEGIN; SELECT tide.ingest(); ROLLBACK');
wait_for_sql($node, $slots =~ s/count\(\*\)/count(*) = 0/r);
is($s->query($slots), '0', 'nor one of a round that is rolled back');

# ---- start, twice
is($s->query('SELECT tide.start()'), 'tide_postgres', 'start gives the name of the slot');
is($s->query('SELECT tide.start()'), 'tide_postgres', 'and again');
store_ok($node, 'the table is copied');
is($s->query("SELECT count(*) FROM $shadow"), '100', 'all of it');
is($s->query("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE '%tide ingest%'"), '1', 'by one worker');
is($s->error_code('SELECT tide.ingest()'), '55000', 'tide.ingest refuses while a worker is active');
is($s->error_code('BEGIN; CREATE TABLE x (i int); SELECT tide.ingest(); ROLLBACK'), '25001', 'and in a transaction that has written');
$s->query('ROLLBACK');
is($s->error_code("SELECT tide.sync('-1s')"), '22023', 'a negative timeout');
is($s->error_code('SELECT tide.ingest(0)'), '22023', 'no changes at most');

# ---- every part of a round trip without waiting by tide.sync
sub soon
{
	my ($sql, $name) = @_;
	my $began = time;
	wait_for_sql($node, $sql) if $s->query($sql) ne 't';
	pass(sprintf '%s (%.0f ms)', $name, (time - $began) * 1000);
	return;
}
$s->query("INSERT INTO t VALUES (101, 101, 'new')");
soon("SELECT count(*) = 1 FROM $shadow WHERE c1 = 101", 'a commit is taken in without being asked for');
my $op = $s->query('SELECT op_id FROM tide_internal.checkpoints');
my $waiter = TideSession->new($node);
$waiter->begin_query("SELECT tide.wait($op, '10min')");
$s->query("UPDATE t SET v = 'newer' WHERE id = 101");
cmp_ok($waiter->end_query, '>', $op, 'tide.wait returns the new op_id long before its time is over');
$waiter->query('LISTEN tide');
$s->query("UPDATE t SET v = 'newest' WHERE id = 101; SELECT tide.sync()");
like($waiter->query('SELECT 1'), qr/Asynchronous notification "tide" with payload "\d+"/, 'NOTIFY tide');
$s->query("SET synchronous_commit = off; INSERT INTO t VALUES (102, 102, 'async'); RESET synchronous_commit");
soon("SELECT count(*) = 1 FROM $shadow WHERE c1 = 102", 'an asynchronous commit is taken in soon');

# ---- a killed worker
my $pid = tide_worker_pid($node);
$s->query("SELECT pg_terminate_backend($pid); INSERT INTO t VALUES (103, 103, 'meanwhile')");
my $next = wait_worker($node, $pid);
isnt($next, $pid, 'a terminated worker comes back');
store_ok($node, 'and goes on where it was');

# ---- stop
$s->query('SELECT tide.stop()');
is($s->query($no_worker), 't', 'no worker after tide.stop');
is($s->query("SELECT active FROM pg_replication_slots WHERE slot_name = 'tide_postgres'"), 'f', 'which keeps the slot');
is($s->query('SELECT state FROM tide.status'), 'stopped', 'status says so');
is($s->error_code('SELECT tide.sync()'), '55000', 'tide.sync when stopped');
$s->query("INSERT INTO t SELECT i, i, 'while stopped' FROM generate_series(201, 210) i; UPDATE t SET n = 0 WHERE id < 4");
is($s->query('SELECT tide.ingest()'), '13', 'tide.ingest takes in what came since');
is(store_problems($node), '', 'all of it');
is($s->query('SELECT tide.ingest()'), '0', 'and then nothing');
$s->query("INSERT INTO t SELECT i, i, 'one by one' FROM generate_series(301, 303) i") for 1;
$s->query("INSERT INTO t VALUES ($_, $_, 'one')") for 304 .. 306;
is($s->query('SELECT tide.ingest(1)'), '3', 'at most max_changes, but whole transactions');
is($s->query('SELECT tide.ingest(2)'), '2', 'two transactions');
is($s->query('SELECT tide.ingest()'), '1', 'the rest');
$s->query("SELECT tide.create_shape('later', '{\"table\": \"t\", \"where\": \"n > 50\"}')");
$s->query('SELECT tide.ingest()');
is($s->query("SELECT state FROM tide.shapes WHERE name = 'later'"), 'live', 'tide.ingest builds shapes');
is(store_problems($node), '', 'rightly');
is($s->error_code('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT tide.ingest()'), '25001', 'tide.ingest needs read committed');
$s->query('ROLLBACK');
$s->query('SELECT tide.stop()');
$s->query('BEGIN; SELECT tide.start(); ROLLBACK');
wait_for_sql($node, $no_worker);
is($s->query($slots), '1', 'a slot that was there before a start that is rolled back stays');
$s->query('SELECT tide.start()');
store_ok($node, 'started again');

# ---- stopping for good: a worker that was stopped does not keep its place for a restart
$s->query('SELECT tide.stop(); SELECT tide.start(); SELECT count(*) FROM tide.sync()') for 1 .. 20;
store_ok($node, 'stopped and started 20 times in a row');
$s->query('BEGIN; SELECT tide.stop(); ROLLBACK');
store_ok($node, 'a stop that is rolled back');

# ---- restart of the server
$s->quit;
$node->restart;
wait_worker($node);
$s = TideSession->new($node);
$s->query("DELETE FROM t WHERE id > 300");
store_ok($node, 'a restarted server brings the worker back');

# ---- what was served is never forgotten, even if all commits are asynchronous: else an op_id
# would come to mean something else
$s->query("ALTER SYSTEM SET synchronous_commit = off");
$s->query("ALTER SYSTEM SET wal_writer_delay = '10s'");
$s->quit;
$node->restart;
wait_worker($node);
$s = TideSession->new($node);
$s->query('SELECT tide.sync()');
$op = $s->query('SELECT op_id FROM tide_internal.checkpoints');
$s->query('UPDATE t SET n = n + 1 WHERE id = 1');
my $served = $s->query("SELECT tide.wait($op, '10min')");
cmp_ok($served, '>', $op, 'an op_id is served');
$s->query("ALTER SYSTEM SET shared_preload_libraries = 'plpgsql'");    # so that the worker waits for us
$node->stop('immediate');
restart_after_crash($node);
$s = TideSession->new($node);
$s->query('SET synchronous_commit = on; UPDATE t SET n = n + 1 WHERE id = 1');
$s->query('SELECT tide.start()');
$s->query('SELECT tide.sync()');
cmp_ok($s->query('SELECT op_id FROM tide_internal.checkpoints'), '>', $served, 'and survives a crash');
$s->query("ALTER SYSTEM RESET $_") for qw(synchronous_commit wal_writer_delay shared_preload_libraries);
$s->quit;
$node->restart;
$s = TideSession->new($node);
wait_worker($node);
store_ok($node, 'as does the rest');

# ---- the slot does not hold back WAL when only foreign tables change
$s->query('SELECT tide.sync()');
my $slot = "FROM pg_replication_slots WHERE slot_name = 'tide_postgres'";
my $lsn = $s->query('INSERT INTO other SELECT generate_series(1, 10000); SELECT pg_current_wal_insert_lsn()');
$s->query('INSERT INTO other VALUES (0)');
soon("SELECT confirmed_flush_lsn >= '$lsn' $slot", "the slot's position advances with foreign changes");
for (1 .. 20)
{
	last if $s->query("SELECT restart_lsn >= '$lsn' $slot") eq 't';
	$s->query('CHECKPOINT; INSERT INTO other VALUES (1)');
	sleep 0.1;
}
is($s->query("SELECT restart_lsn >= '$lsn' $slot"), 't', 'and WAL before it is let go');

# ---- idle
SKIP:
{
	$pid = tide_worker_pid($node);
	skip 'no /proc', 1 if !-r "/proc/$pid/stat";
	my $ticks = sub {
		my $stat = slurp_file("/proc/$pid/stat");
		my @f = split ' ', $stat =~ s/.*\) //sr;
		return $f[11] + $f[12];
	};
	# a busy loop would take 300; some of the first seconds may be work that was left
	my $took;
	for (1 .. 10)
	{
		my $before = $ticks->();
		sleep 3;
		$took = $ticks->() - $before;
		last if $took <= 2;
	}
	cmp_ok($took, '<=', 2, 'an idle worker takes no CPU');
}

# ---- settings that are for sessions of people
$s->query(<<'SQL');
CREATE FUNCTION slowly(v text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(0.02); RETURN v <> 'bad'; END $$;
CREATE TABLE strings (id int PRIMARY KEY, v text);
INSERT INTO strings VALUES (1, E'a\nb'), (2, 'a\nb'), (3, NULL);
SELECT tide.create_shape('strings', '{"table": "strings", "where": "v <> ''a\\nb''"}');
SELECT tide.sync();
SQL
my $strings = "SELECT string_agg(bucket_id || ': ' || row_count, ',') FROM tide_internal.buckets JOIN tide_internal.shapes USING (shape_id) WHERE name = 'strings'";
my $before = $s->query($strings);
like($before, qr/^\d+: 1$/, 'a shape with a backslash');
$s->query('SELECT tide.stop()');
$s->query("ALTER DATABASE postgres SET $_") for 'quote_all_identifiers = on', 'standard_conforming_strings = off', 'transform_null_equals = on';
$s->query(q{ALTER SYSTEM SET temp_file_limit = '256kB'});
$s->query(q{ALTER SYSTEM SET "tide.spool_memory" = '64kB'});
if ($node->pg_version >= 17)
{
	$s->query(q{ALTER SYSTEM SET transaction_timeout = '700ms'; SET transaction_timeout = 0});
	$ENV{PGOPTIONS} = '-c transaction_timeout=0';
}
$s->query('SELECT pg_reload_conf(); SELECT tide.start()');
$s->query(q{ALTER TABLE strings ADD COLUMN n int DEFAULT 1; INSERT INTO strings VALUES (4, E'a\nb')});
store_ok($node, 'DDL under settings that change how SQL is read and written');
is($s->query($strings), $before =~ s/1$/2/r, 'the same bucket, and the same rows in it');
$s->query(q{INSERT INTO t SELECT i, 2, repeat(md5(i::text), 4) FROM generate_series(1001, 8000) i});
store_ok($node, 'a transaction larger than temp_file_limit');
$s->query(q{DELETE FROM t WHERE id > 1000});
store_ok($node, 'and its end');
$s->query(q{SELECT tide.create_shape('slow', '{"table": "t", "where": "public.slowly(v)"}')});
store_ok($node, 'a copy that takes long');
is($s->query("SELECT state FROM tide.shapes WHERE name = 'slow'"), 'live', 'is not ended by a timeout');
is($s->query('SELECT last_error FROM tide.status'), '', 'and no worker has failed');
$s->query("ALTER DATABASE postgres RESET ALL; ALTER SYSTEM RESET ALL; SELECT pg_reload_conf()");
$s->query("SELECT tide.drop_shape(n) FROM unnest(ARRAY['slow', 'strings']) n");
delete $ENV{PGOPTIONS};

# ---- a shape whose expression fails
$s->query(<<'SQL');
CREATE FUNCTION picky(v text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN IF v = 'bad' THEN RAISE EXCEPTION 'do not like %', v; END IF; RETURN true; END $$;
SELECT tide.create_shape('picky', '{"table": "t", "where": "public.picky(v)"}');
SELECT tide.sync();
SQL
is($s->query("SELECT state FROM tide.shapes WHERE name = 'picky'"), 'live', 'a shape with a function of its own');
$s->query("INSERT INTO t VALUES (500, 1, 'bad'), (501, 1, 'good')");
store_ok($node, 'others go on when it fails');
is($s->query("SELECT state, error FROM tide.shapes WHERE name = 'picky'"), 'failed|do not like bad', 'tide.shapes says which and why');
is($s->query("SELECT last_error FROM tide.status"), 'do not like bad', 'tide.status as well');
is($s->query("SELECT string_agg(name, ',' ORDER BY name) FROM tide.shapes WHERE state = 'live'"), 'all,later', 'the others are live');
$s->query("SELECT tide.replace_shape('picky', '{\"table\": \"t\", \"where\": \"v <> ''bad''\"}')");
store_ok($node, 'a better definition');
is($s->query("SELECT state, error FROM tide.shapes WHERE name = 'picky'"), 'live|', 'makes it live');
$s->query("SELECT tide.create_shape('born_bad', '{\"table\": \"t\", \"where\": \"public.picky(v)\"}')");
store_ok($node, 'one that fails while it is built');
is($s->query("SELECT state, error FROM tide.shapes WHERE name = 'born_bad'"), 'failed|do not like bad', 'is shown as such');
$s->query('INSERT INTO t VALUES (502, 0)');
$s->query("SELECT tide.create_shape('dividing', '{\"table\": \"t\", \"where\": \"100 / n > 1\"}'); SELECT tide.sync()");
is($s->query("SELECT state, error FROM tide.shapes WHERE name = 'dividing'"), 'failed|division by zero', 'operators fail too');
$s->query("SELECT tide.drop_shape(n) FROM unnest(ARRAY['dividing', 'born_bad', 'picky']) n");
store_ok($node, 'failed shapes can be dropped');

# ---- functions of a shape that change settings: nothing of it shows in buckets, its own or others'
$s->query(<<'SQL');
CREATE TABLE times (id int PRIMARY KEY, at timestamptz, day date);
INSERT INTO times VALUES (1, '2026-01-01 20:00+00', '2026-01-02');
CREATE FUNCTION local_day(at timestamptz) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN PERFORM set_config('TimeZone', 'Asia/Tokyo', true); RETURN to_char(at, 'YYYY-MM-DD'); END $$;
CREATE FUNCTION restyle(day date) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN PERFORM set_config('DateStyle', 'German', false); RETURN true; END $$;
SELECT tide.create_shape('local', '{"table": "times", "where": "public.local_day(at) = params.day AND at = params.at"}');
SELECT tide.create_shape('styled', '{"table": "times", "where": "public.restyle(day) AND day = params.day"}');
SELECT tide.create_shape('at', '{"table": "times", "where": "at = params.at"}');
SELECT tide.create_shape('day', '{"table": "times", "where": "day = params.day"}');
SELECT tide.sync();
INSERT INTO times VALUES (2, '2026-01-01 20:00+00', '2026-01-02');
INSERT INTO times VALUES (3, '2026-01-01 20:00+00', '2026-01-02');
SELECT tide.sync();
SQL
is($s->query("SELECT string_agg(name || ' ' || key::text || ' ' || row_count, ', ' ORDER BY name, key::text) FROM tide_internal.buckets JOIN tide_internal.shapes USING (shape_id)"
	  . " WHERE name IN ('local', 'styled', 'at', 'day')"),
	'at {"2026-01-01 20:00:00+00"} 3, day {2026-01-02} 3, local {2026-01-02,"2026-01-01 20:00:00+00"} 3, styled {2026-01-02} 3',
	'settings made by functions of shapes do not show');
$s->query("SELECT tide.drop_shape(n) FROM unnest(ARRAY['local', 'styled', 'at', 'day']) n");

# ---- two databases
$node->safe_psql('postgres', 'CREATE DATABASE "Second-db"');
$node->safe_psql('Second-db', <<'SQL');
CREATE EXTENSION pg_tide;
CREATE TABLE t (id int PRIMARY KEY, w text);
INSERT INTO t VALUES (1, 'other database');
SELECT tide.create_shape('all', '{"table": "t"}');
SQL
like($node->safe_psql('Second-db', 'SELECT tide.start()'), qr/^tide__econd_db_\d+$/, 'a database with a name no slot can have');
install_check($node, db => 'Second-db');
$node->safe_psql('Second-db', "INSERT INTO t VALUES (2, 'two')");
$s->query("INSERT INTO t VALUES (600, 6, 'first database')");
store_ok($node, 'the second database', db => 'Second-db');
store_ok($node, 'the first');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE '%tide ingest%'"), '2', 'one worker each');
$s->quit;
$node->restart;
wait_worker($node);
wait_worker($node, 0, db => 'Second-db');
$s = TideSession->new($node);
store_ok($node, 'both come back with the server', db => 'Second-db');

# ---- a database that is dropped
my ($status, undef, $err) = $node->psql('postgres', 'DROP DATABASE "Second-db"');
isnt($status, 0, 'a database with a worker cannot be dropped');
$node->safe_psql('Second-db', 'SELECT tide.stop()');
wait_for_sql($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'Second-db'});
$node->safe_psql('postgres', 'DROP DATABASE "Second-db"');
is($s->query('SELECT count(*) FROM pg_replication_slots'), '1', 'with tide.stop it can, and its slot goes with it');
store_ok($node, 'the first is not touched');

# ---- reset
my $epoch = $s->query('SELECT epoch FROM tide_internal.state');
$op = $s->query('SELECT op_id FROM tide_internal.checkpoints');
$s->query('SELECT tide.reset()');
is($s->query('SELECT count(*) FROM pg_replication_slots'), '0', 'tide.reset drops the slot');
is($s->query("SELECT count(*) FROM pg_class WHERE relnamespace = 'tide_shadow'::regnamespace"), '0', 'and what was stored');
isnt($s->query('SELECT epoch FROM tide_internal.state'), $epoch, 'clients will notice');
is($s->query("SELECT string_agg(DISTINCT state, ',') FROM tide.shapes"), 'building', 'shapes wait to be rebuilt');
is($s->query('SELECT state FROM tide.status'), 'stopped', 'stopped');
$s->query('BEGIN; SELECT tide.start(); ROLLBACK');
wait_for_sql($node, $slots =~ s/count\(\*\)/count(*) = 0/r);
is($s->query($slots), '0', 'and a start rolled back after a reset leaves no slot');
$s->query("UPDATE t SET v = 'while reset' WHERE id < 5");
$s->query('SELECT tide.start()');
store_ok($node, 'started after a reset');
is($s->query("SELECT string_agg(DISTINCT state, ',') FROM tide.shapes"), 'live', 'shapes are rebuilt');
cmp_ok($s->query('SELECT op_id FROM tide_internal.checkpoints'), '>', $op, 'op_ids are never used again');

# ---- a slot that somebody dropped
$s->query('SELECT tide.stop()');
$s->query("SELECT pg_drop_replication_slot('tide_postgres')");
$s->query("UPDATE t SET v = 'nobody saw that' WHERE id < 9; DELETE FROM t WHERE id = 10");
$s->query('SELECT tide.start()');
store_ok($node, 'a lost slot heals');

# ---- the extension goes away under the worker
$s->query('DROP EXTENSION pg_tide CASCADE');
wait_for_sql($node, $no_worker);
ok(1, 'the worker ends when the extension is dropped');
is($s->query('SELECT count(*) FROM t'), $s->query('SELECT count(*) FROM t WHERE id > 0'), 'the server goes on');
$s->query('CREATE EXTENSION pg_tide');
$s->query("SELECT tide.create_shape('all', '{\"table\": \"t\"}')");
$s->quit;
$s = TideSession->new($node);
$s->query('SELECT tide.start()');
store_ok($node, 'a new extension starts anew');
$s->quit;
unlike(slurp_file($node->logfile), qr/PANIC|signal 11|signal 6|TRAP/, 'nothing crashed');
$node->stop('fast');

# ---- without preload
$node = tide_new('no_preload', preload => 0, start => 0);
$s = TideSession->new($node);
install_check($node);
$s->query("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one'); SELECT tide.create_shape('all', '{\"table\": \"t\"}')");
is($s->query('SELECT tide.start()'), 'tide_postgres', 'without preload tide.start works');
store_ok($node, 'and the copy');
$s->query("INSERT INTO t VALUES (2, 'two')");
soon('SELECT count(*) = 2 FROM tide_shadow.t1', 'the worker sees a commit by itself');
$op = $s->query('SELECT op_id FROM tide_internal.checkpoints');
$waiter = TideSession->new($node);
$waiter->begin_query("SELECT tide.wait($op, '10min')");
$s->query("UPDATE t SET v = 'zwei' WHERE id = 2");
cmp_ok($waiter->end_query, '>', $op, 'tide.wait works');
$s->query("BEGIN; INSERT INTO t VALUES (3, 'three'); SAVEPOINT s; INSERT INTO t VALUES (4, 'four'); ROLLBACK TO s; COMMIT");
store_ok($node, 'tide.sync works');
like($s->query('SELECT state FROM tide.status'), qr/running/, 'tide.status works');
$pid = tide_worker_pid($node);
$s->query("SELECT pg_terminate_backend($pid)");
wait_worker($node, $pid);
$s->query('DELETE FROM t WHERE id = 1');
store_ok($node, 'a terminated worker comes back');
$waiter->quit;
$s->quit;
$node->restart;
$s = TideSession->new($node);
is($s->query($no_worker), 't', 'after a restart nobody is there to start it');
is($s->query('SELECT state FROM tide.status'), 'restarting', 'which tide.status shows');
$s->query("INSERT INTO t VALUES (5, 'five')");
$s->query('SELECT tide.start()');
store_ok($node, 'tide.start does');
$s->query('SELECT tide.stop()');
is($s->query($no_worker), 't', 'tide.stop as well');
$s->quit;
unlike(slurp_file($node->logfile), qr/PANIC|signal 11|signal 6|TRAP/, 'nothing crashed');
$node->stop('fast');

# ---- settings that do not allow it
$node = tide_new('settings', start => 0, conf => "wal_level = replica\n");
$s = TideSession->new($node);
my (undef, $error) = $s->try_query('SELECT tide.start()');
like($error, qr/55000: pg_tide requires "wal_level" to be "logical"/, 'wal_level');
like($error, qr/ALTER SYSTEM SET wal_level = 'logical'/, 'with the cure');
is($s->error_code('SELECT tide.ingest()'), '55000', 'tide.ingest too');
$s->query(q{ALTER SYSTEM SET wal_level = 'logical'});
SKIP:
{
	skip 'this minor has no output_plugin_libraries', 3
	  if $s->query(q{SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'}) eq '0';
	$s->query(q{ALTER SYSTEM SET output_plugin_libraries = 'pgoutput', 'test_decoding'});
	$s->quit;
	$node->restart;
	$s = TideSession->new($node);
	(undef, $error) = $s->try_query('SELECT tide.start()');
	like($error, qr/55000: library "pg_tide" is not in "output_plugin_libraries"/, 'output_plugin_libraries');
	my ($cure) = $error =~ /HINT:  Run (ALTER SYSTEM .*?) and SELECT/;
	$s->query($cure);
	$s->query('SELECT pg_reload_conf()');
	sleep 0.2;
	is($s->query('SELECT tide.start()'), 'tide_postgres', "is cured by: $cure");
	is($s->query("SELECT count(*) FROM tide.sync()"), '1', 'and works');
}
$s->quit;
$node->stop('fast');
done_testing();
