# Nothing is lost where the ingest could lose it: pushes from before the first start, rows of
# a table that changed its columns when the worker ends before the rebuild, WAL that the
# server removed.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
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

# the slot falls behind what the server keeps
$node->safe_psql('postgres', 'SELECT tide.stop()');
$node->append_conf('postgresql.conf', "max_slot_wal_keep_size = '1MB'");
$node->reload;
for my $i (1 .. 3)
{
	$node->safe_psql('postgres', "INSERT INTO items VALUES (10 + $i, 'gap'); SELECT pg_switch_wal()");
}
$node->safe_psql('postgres', 'CHECKPOINT');
is($node->safe_psql('postgres', 'SELECT wal_status FROM pg_replication_slots'), 'lost', 'the slot is lost');
my ($status, $out, $err) = $node->psql('postgres', 'SELECT tide.ingest()');
like($err, qr/replication slot "tide_postgres" is lost/, 'tide.ingest() says so');
$node->safe_psql('postgres', 'SELECT tide.start()');
is(rows_now('items'), source_now('items'), 'tide.start() makes up for a lost slot');

# waiting begins before the worker runs
$node->safe_psql('postgres', 'SELECT tide.reset()');
is($node->safe_psql('postgres', q{SELECT tide.start() \gset
	SELECT clock_timestamp() AS since \gset
	SELECT tide.sync('20s') \gset
	SELECT clock_timestamp() - :'since'::timestamptz < interval '15s'}), 't', 'tide.sync() wakes before its time is over');

# a shape over a table that was altered since its copy, found out while it is built
$node->safe_psql('postgres', q{BEGIN; ALTER TABLE items ADD COLUMN late int DEFAULT 5;
	SELECT tide.create_shape('late', '{"table": "items", "where": "late = 5"}'); COMMIT});
is($node->safe_psql('postgres', q{SELECT tide.sync() \gset
	SELECT state FROM tide.shapes WHERE name = 'late'}), 'live', 'a shape over a table altered just before');
is($node->safe_psql('postgres', 'SELECT last_error FROM tide.status'), '', 'without an error');
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
