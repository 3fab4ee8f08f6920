# Nothing is lost where the ingest could lose it: pushes from before the first start, rows of
# a table that changed its columns when the worker ends before the rebuild; WAL that the
# server removed, a slot that is another or none: found, and made up for by the differences.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Storable ();
use Test::More;
use Time::HiRes qw(usleep);
use TideCluster;

my $node = tide_new('loss', start => 0, conf => "max_prepared_transactions = 2\n");
my $client = '10550000-0000-4000-8000-000000000001';
my $request = { shapes => { items => [ {} ], others => [ {} ] }, claims => {} };

sub rows_now
{
	my ($table) = @_;
	tide_sync($node);
	my $state = pull_all($node, $request);
	return join(' ', state_rows($state, "public.$table"));
}

sub source_now
{
	my ($table) = @_;
	return join(' ', query_rows($node, "SELECT * FROM $table"));
}

$node->safe_psql('postgres', q{
	CREATE TABLE items (id int PRIMARY KEY, label text);
	CREATE TABLE others (id int PRIMARY KEY);
	INSERT INTO items VALUES (1, 'old');
	SELECT tide.allow_writes('items')});

# pushed before there was a slot
$node->safe_psql('postgres', qq{SELECT tide.push('{"client": "$client", "claims": {}, "mutations":
	[{"id": 1, "op": "insert", "table": "items", "key": {"id": 2}, "values": {"label": "pushed"}}]}')});
$node->safe_psql('postgres', q{
	SELECT tide.create_shape('items', '{"table": "items"}');
	SELECT tide.create_shape('others', '{"table": "others"}')});
$node->safe_psql('postgres', 'SELECT tide.start()');
tide_sync($node);
is($node->safe_psql('postgres', qq{SELECT tide.pull('{"client": "$client", "claims": {}, "shapes": {"items": [{}]}}')
	->> 'last_mutation_id'}), '1', 'a push from before the first start is acknowledged');

# a reader keeps the worker from rebuilding; it ends with the batch stored
my $source = $node->safe_psql('postgres', q{SELECT source_id FROM tide_internal.sources WHERE relid = 'items'::regclass});
$node->safe_psql('postgres', "BEGIN; LOCK TABLE tide_shadow.t$source IN ACCESS SHARE MODE; PREPARE TRANSACTION 'reader'");
$node->safe_psql('postgres', q{BEGIN; ALTER TABLE items ADD COLUMN more int;
	UPDATE items SET label = 'new', more = id; INSERT INTO others VALUES (1); COMMIT});
wait_for_sql($node, q{SELECT EXISTS (SELECT FROM tide_internal.sources WHERE state = 'broken')});
# a shape that comes meanwhile waits
$node->safe_psql('postgres', q{SELECT tide.create_shape('more', '{"table": "items", "where": "more = 1"}')});
my $pid = tide_worker_pid($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_worker($node, $pid);
$node->safe_psql('postgres', "COMMIT PREPARED 'reader'");
is(rows_now('items'), source_now('items'), 'what came with a new column is there after a restart of the worker');

# ---- the slot is lost in one way or another: clients get what differs, in the buckets they have
my %state;
my $healed;

sub heals
{
	my ($name, %opts) = @_;
	my $on = $opts{node} // $node;
	my $state = $state{ $on->name } //= new_state();
	my $before = $state->{changes} // 0;
	my $buckets = join ' ', sort keys %{ $state->{buckets} };

	tide_sync($on);
	pull_all($on, $request, state => $state);
	for my $table (qw(items others))
	{
		is_deeply([ state_rows($state, "public.$table") ], [ query_rows($on, "SELECT * FROM $table") ], "$name: $table");
		verify_empty($on, $table, {}, {}, name => "$name: $table verified");
	}
	is(($state->{changes} // 0) - $before, $opts{changes}, "$name: $opts{changes} changes") if defined $opts{changes};
	is(join(' ', sort keys %{ $state->{buckets} }), $buckets, "$name: the same buckets") if defined $opts{changes};
	if ($opts{lost})
	{
		my $at = $on->safe_psql('postgres', 'SELECT last_error_at FROM tide.status');
		isnt($at, $healed // '', "$name: was noticed");
		like($on->safe_psql('postgres', 'SELECT last_error FROM tide.status'), qr/all tables are compared/, "$name: tide.status tells");
		$healed = $at;
	}
	return;
}

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(q{ALTER TABLE items ALTER label SET STORAGE EXTERNAL; INSERT INTO items SELECT i, 'row ' || i, i FROM generate_series(100, 2000) i;
	UPDATE items SET label = repeat('toast', 2000) WHERE id % 100 = 0;
	CREATE TABLE bag (v int); ALTER TABLE bag REPLICA IDENTITY FULL; INSERT INTO bag SELECT i % 3 FROM generate_series(1, 30) i;
	SELECT tide.create_shape('bag', '{"table": "bag", "where": "v > 0"}')});
$request->{shapes}{bag} = [ {} ];
heals('before');

# falls behind what the server keeps
sql('SELECT tide.stop()');
$node->append_conf('postgresql.conf', "max_slot_wal_keep_size = '1MB'");
$node->reload;
for my $i (1 .. 3)
{
	sql("INSERT INTO items VALUES (10 + $i, 'gap'); SELECT pg_switch_wal()");
}
sql(q{UPDATE items SET label = label || '!' WHERE id IN (100, 200); DELETE FROM items WHERE id = 300; UPDATE items SET id = -400 WHERE id = 400;
	UPDATE items SET label = label WHERE id > 1000; INSERT INTO others VALUES (2), (3); CHECKPOINT});
is(sql('SELECT wal_status FROM pg_replication_slots'), 'lost', 'the slot is lost');
is(sql('SELECT state FROM tide.status'), 'slot lost', 'and tide.status says so');
sql('SELECT tide.start()');
heals('a slot whose WAL is gone', changes => 10, lost => 1);
sql("INSERT INTO items VALUES (20, 'after')");
heals('afterwards', changes => 1);

# dropped by hand, changes of key-less rows meanwhile
sql(q{SELECT tide.stop(); SELECT pg_drop_replication_slot('tide_postgres'); DELETE FROM bag WHERE ctid IN ('(0,1)', '(0,2)', '(0,3)');
	INSERT INTO bag VALUES (1), (1), (7); SELECT tide.start()});
heals('a slot that was dropped', changes => 3, lost => 1);

# dropped by hand, tide.ingest() goes on
sql(q{SELECT tide.stop(); SELECT pg_drop_replication_slot('tide_postgres'); TRUNCATE others; UPDATE items SET label = 'one' WHERE id = 1});
is(sql('SELECT state FROM tide.status'), 'slot lost', 'tide.status of a stopped ingest');
sql('SELECT tide.ingest(); SELECT tide.start()');
heals('tide.ingest() without its slot', changes => 4, lost => 1);

# moved by hand, and made anew by hand
sql(q{SELECT tide.stop(); DELETE FROM items WHERE id = 2; SELECT pg_replication_slot_advance('tide_postgres', pg_current_wal_lsn()); SELECT tide.start()});
heals('a slot moved on', changes => 1, lost => 1);
sql(q{SELECT tide.stop(); DELETE FROM items WHERE id = 100; SELECT pg_drop_replication_slot('tide_postgres');
	SELECT pg_create_logical_replication_slot('tide_postgres', 'pg_tide'); SELECT tide.start()});
heals('another slot of that name', changes => 1, lost => 1);
sql('SELECT tide.stop(); DELETE FROM items WHERE id = 101; SELECT tide.start()');
heals('stopped and started', changes => 1);
is(sql('SELECT last_error_at FROM tide.status'), $healed, 'nothing was lost by that');

# while writes go on, and pulls
sql('SELECT tide.stop()');
sql(q{SELECT pg_drop_replication_slot('tide_postgres'); UPDATE items SET more = 0 WHERE id < 1500});
my $writer = IPC::Run::start([ 'pgbench', '-n', '-T', '3', '-c', '2', '-f', '-', '-h', $node->host, '-p', $node->port, 'postgres' ], '<', \<<'SQL', '>', \my $bench_out, '2>', \my $bench_err);
\set id random(500, 2500)
BEGIN;
UPDATE items SET more = more + 1 WHERE id = :id;
UPDATE items SET more = more - 1 WHERE id = :id - 1;
INSERT INTO bag VALUES (:id % 3);
INSERT INTO others SELECT coalesce(max(id), 0) + 1 FROM others ON CONFLICT DO NOTHING;
COMMIT;
SQL
sql('SELECT tide.start()');
my $sums = 0;
my $state = $state{ $node->name };
for (1 .. 8)
{
	pull_all($node, $request, state => $state);
	usleep(200_000);
}
$writer->finish;
heals('under load', lost => 1);

# ---- a backup restored: the slot is not in it, and the clients know more than it
my $backup_state = $state{ $node->name };
$node->backup('b');
sql(q{UPDATE items SET label = 'lost later' WHERE id = 1; INSERT INTO items VALUES (9001, 'never was')});
my $ahead = Storable::dclone($backup_state);
pull_all($node, $request, state => $ahead) if tide_sync($node);
$node->stop;
my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init_from_backup($node, 'b');
$restored->start;
$restored->safe_psql('postgres', q{DELETE FROM items WHERE id = 500; SELECT tide.start()});
$state{restored} = $backup_state;
heals('a client that saw nothing of what is lost', node => $restored, changes => 1, lost => 1);
$restored->safe_psql('postgres', 'UPDATE items SET more = more + 1 WHERE id < 1000');
$state{restored} = $ahead;
heals('a client that did', node => $restored);
$restored->stop;
$node->start;

# waiting begins before the worker runs
$node->safe_psql('postgres', 'SELECT tide.reset()');
is($node->safe_psql('postgres', q{SELECT tide.start() \gset
	SELECT clock_timestamp() AS since \gset
	SELECT tide.sync('10min') \gset
	SELECT clock_timestamp() - :'since'::timestamptz < interval '5min'}), 't', 'tide.sync() wakes before its time is over');

my $before_late = $node->safe_psql('postgres', 'SELECT last_error_at FROM tide.status');

# a shape over a table that was altered since its copy, found out while it is built
$node->safe_psql('postgres', q{BEGIN; ALTER TABLE items ADD COLUMN late int DEFAULT 5;
	SELECT tide.create_shape('late', '{"table": "items", "where": "late = 5"}'); COMMIT});
is($node->safe_psql('postgres', q{SELECT tide.sync() \gset
	SELECT state FROM tide.shapes WHERE name = 'late'}), 'live', 'a shape over a table altered just before');
is($node->safe_psql('postgres', 'SELECT last_error_at FROM tide.status'), $before_late, 'without an error');
$node->safe_psql('postgres', "SELECT tide.drop_shape('late')");

# shapes replaced by a session while the worker compiles others anew
for my $i (1 .. 5)
{
	$node->safe_psql('postgres', "ALTER TABLE items ADD COLUMN c$i int DEFAULT 1; UPDATE items SET c$i = 2;
		BEGIN; SELECT tide.drop_shape('items'); SELECT tide.create_shape('items', '{\"table\": \"items\"}'); COMMIT");
}
is(rows_now('items'), source_now('items'), 'shapes replaced while the table changes');
unlike(slurp_file($node->logfile), qr/deadlock detected/, 'without a deadlock');

$node->stop;
done_testing();
