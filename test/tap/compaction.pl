# Compaction of the change log: superseded entries go, what some client may need stays, and a
# client that comes too late begins anew. Old cookies against fresh pulls, under random
# changes, kill -9 and settings that forget as much as they can.
#
#   TIDE_SEED               repeats the changes of a run (not their timing)
#   TIDE_COMPACTION_ROUNDS  how many rounds of changes (250)
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Storable 'dclone';
use Test::More;
use Time::HiRes qw(usleep);
use TideCheck;
use TideCluster;
use TideSession;

my $rounds = $ENV{TIDE_COMPACTION_ROUNDS} || 250;
my $seed = $ENV{TIDE_SEED} || int(rand(2**31));
srand $seed;
note "seed $seed";
diag "compaction.pl: $rounds rounds, TIDE_SEED=$seed";

my $node = tide_new('compaction', conf => "max_wal_size = 4GB\nautovacuum = off\nfsync = off\n");
install_check($node);
my $session = TideSession->new($node);
$session->query(<<'SQL');
CREATE TABLE items (id int PRIMARY KEY, part int, n int, s text);
INSERT INTO items SELECT i, i % 4, 0, 'x' FROM generate_series(1, 200) i;
SELECT tide.create_shape('all', '{"table": "items"}');
SELECT tide.create_shape('part', '{"table": "items", "where": "part = params.part"}');
SELECT tide.create_shape('even', '{"table": "items", "where": "n % 2 = 0", "columns": ["n"]}');
SQL
tide_sync($node);
my $log = $session->query(q{SELECT 'tide_shadow.log' || source_id FROM tide_internal.sources});
my $bucket_all = q{(SELECT bucket_id FROM tide_internal.buckets JOIN tide_internal.shapes USING (shape_id) WHERE name = 'all')};

sub settings
{
	my (%set) = @_;
	$session->query("ALTER SYSTEM SET $_ = '$set{$_}'") for sort keys %set;
	my $loaded = $session->query('SELECT pg_conf_load_time()');
	$session->query('SELECT pg_reload_conf()');
	wait_for_sql($node, "SELECT pg_conf_load_time() > '$loaded'");
	return;
}

sub entries { return $session->query("SELECT count(*) FROM $log" . (@_ ? " WHERE $_[0]" : '')); }

# wait until nothing is left to do: no bucket is due
sub settled
{
	wait_for_sql($node, 'SELECT NOT EXISTS (SELECT FROM tide_internal.buckets WHERE stale_count > row_count / 4)');
	return;
}

# ---- one row, very often

$session->query('DO $$ BEGIN FOR i IN 1 .. 50000 LOOP UPDATE items SET n = n + 2 WHERE id = 1; COMMIT; END LOOP; END $$');
tide_sync($node);
cmp_ok(entries("bucket_id = $bucket_all AND k1 = 1"), '<=', 2, '50,000 updates of a row leave at most two entries');
my $size = $session->query("SELECT pg_relation_size('$log')");
$session->query("VACUUM $log");
$session->query('DO $$ BEGIN FOR i IN 1 .. 5000 LOOP UPDATE items SET n = n + 2 WHERE id = 1; COMMIT; END LOOP; END $$');
tide_sync($node);
cmp_ok($session->query("SELECT pg_relation_size('$log')"), '<=', $size, 'the space is used again');

$session->query('UPDATE items SET s = s || s');
tide_sync($node);
settled();
is(entries(), $session->query('SELECT sum(row_count) FROM tide_internal.buckets'), 'after each row has changed: one entry a row and bucket');
is($session->query('SELECT sum(stale_count) + sum(removed_count) FROM tide_internal.buckets'), '0', 'nothing stale, nothing removed');

# ---- leaves

$session->query('DO $$ BEGIN FOR i IN 1 .. 501 LOOP UPDATE items SET part = 1 - part, n = n + 1 WHERE id = 4; COMMIT;
	DELETE FROM items WHERE id = 8; COMMIT; INSERT INTO items VALUES (8, 0, 0, $a$y$a$); COMMIT; END LOOP; END $$');
tide_sync($node);
settled();
is(entries('k1 = 4'), 4, 'a row that went to and fro: where it is, and where it is not, once');
is(entries('k1 = 8'), 3, 'a row deleted and inserted again has one entry a bucket');
is(entries("kind = 'l'"), 2, 'no leave is kept of a row that entered again');
is($session->query('SELECT sum(removed_count) FROM tide_internal.buckets'), entries("kind = 'l'"), 'removed_count is the number of leaves');
store_ok($node, 'everything stored is right');

# ---- a pull under an old snapshot

my $request = { client => '00000000-0000-4000-8000-000000000001', claims => {}, shapes => { all => [ {} ], part => [ map { { part => $_ } } 0 .. 3 ], even => [ {} ] } };
my %query = (all => 'SELECT * FROM items', part => 'SELECT * FROM items WHERE part BETWEEN 0 AND 3', even => 'SELECT id, n FROM items WHERE n % 2 = 0');

my $reader = TideSession->new($node);
my $old = pull_all($node, $request);
$session->query('UPDATE items SET n = n + 1 WHERE id > 100; DELETE FROM items WHERE id BETWEEN 90 AND 99');
tide_sync($node);
my $call = 'SELECT tide.pull(' . sql_json({ %$request, cookie => $old->{cookie} }) . ')';
$reader->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
my $before = $reader->query($call);
settings('tide.removed_retention' => 0, 'tide.compaction_delay' => 0, 'tide.compaction_batch' => 7);
$session->query('UPDATE items SET n = n + 1, s = \'z\'; DELETE FROM items WHERE id BETWEEN 70 AND 89');
tide_sync($node);
wait_for_sql($node, "SELECT count(*) = 0 FROM $log WHERE kind = 'l'");
settled();
is($reader->query($call), $before, 'a pull under an old snapshot sees what is gone by now');
$reader->query('COMMIT');

# ---- who comes too late

my $late = dclone($old);
pull_all($node, $request, state => $late);
cmp_ok($late->{drops}, '>=', 1, 'a client that missed a forgotten leave drops the bucket');
ok(same($late), 'and has everything right afterwards');
my $now = dclone($late);
settings('tide.removed_retention' => '1h');
tide_sync($node);
$session->query('UPDATE items SET n = n + 1 WHERE id < 30');
tide_sync($node);
pull_all($node, $request, state => $now);
is($now->{drops}, $late->{drops}, 'one that was here goes on');
ok(same($now), 'with everything right');
settings('tide.removed_retention' => 0);

# a bucket that is empty for so long is forgotten, and comes again as another
$session->query('UPDATE items SET part = 7 WHERE part = 3');
tide_sync($node);
wait_for_sql($node, "SELECT NOT EXISTS (SELECT FROM tide_internal.buckets WHERE key = '{3}')");
pass('an empty bucket is forgotten');
pull_all($node, $request, state => $now);
ok(same($now), 'clients that had it have its rows no more');
$session->query('UPDATE items SET part = 3 WHERE part = 7');
tide_sync($node);
pull_all($node, $request, state => $now);
ok(same($now), 'and have them when they are back');

# ---- on a standby that lags

settings('tide.removed_retention' => '1h');
my $standby = tide_standby($node, 'standby');
my $there = pull_all($standby, $request);
ok(same($there), 'a standby serves the compacted log');
$session->query('UPDATE items SET n = n + 1 WHERE id < 50; DELETE FROM items WHERE id = 50');
tide_sync($node);
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
my $expected = pull_all($node, $request, state => dclone($there));
settings('tide.removed_retention' => 0);
$session->query('UPDATE items SET n = n + 2, s = $$standby$$');
tide_sync($node);
wait_for_sql($node, "SELECT count(*) = 0 FROM $log WHERE kind = 'l'");
my $lagging = pull_all($standby, $request, state => dclone($there));
is_deeply($lagging->{rows}, $expected->{rows}, 'one that lags still has what the primary has removed');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
pull_all($standby, $request, state => $lagging);
ok(same($lagging), 'a client of it goes on');
cmp_ok($lagging->{drops} // 0, '==', $expected->{drops} // 0, 'without beginning anew');
pull_all($standby, $request, state => $there);
ok(same($there), 'and one that came too late begins anew');
cmp_ok($there->{drops} // 0, '>', 0, 'there as well');
pull_all($node, $request, state => $now);
$standby->stop('fast');

# ---- many leaves

settings('tide.removed_retention' => '1h', 'tide.max_removed_rows' => 50);
my $gone = dclone($now);
$session->query('INSERT INTO items SELECT i, 0, i, $$q$$ FROM generate_series(1000, 1999) i');
tide_sync($node);
pull_all($node, $request, state => $now);
$session->query('DELETE FROM items WHERE id >= 1000');
tide_sync($node);
wait_for_sql($node, 'SELECT bool_and(removed_count <= row_count + 50) FROM tide_internal.buckets');
cmp_ok(entries("kind = 'l'"), '<', 1000, 'a bucket with many more leaves than rows forgets the oldest');
my $changes = $now->{changes};
pull_all($node, $request, state => $now);
cmp_ok($now->{changes} - $changes, '<', 1000, 'beginning anew is less than all the removals');
ok(same($now), 'and right');
pull_all($node, $request, state => $gone);
ok(same($gone), 'also for one that never saw these rows');

# ---- old cookies against everything at once

settings('tide.removed_retention' => '6s', 'tide.max_removed_rows' => 150, 'tide.compaction_batch' => 11);
my @clients = map { dclone($now) } 1 .. 8;
my ($resets, $resumed, $kills, @wrong) = (0, 0, 0);
for my $round (1 .. $rounds)
{
	$session->query(join '', map { change() . ";\n" } 1 .. 1 + int rand 12) for 1 .. 1 + int rand 4;
	settings('tide.compaction' => rand() < 0.3 ? 'off' : 'on') if rand() < 0.06;
	if (rand() < 0.08)
	{
		my $pid = tide_worker_pid($node);
		$kills += kill KILL => $pid if $pid ne '';
		# the server takes a moment to notice
		1 while $pid ne '' && eval { $session->query('SELECT pg_sleep(0.02)'); 1 };
		wait_for_sql($node, 'SELECT pg_is_in_recovery() = false');
		$session = TideSession->new($node);
	}
	next if rand() < 0.4;
	eval { $session->query("SELECT tide.sync('10min')"); 1 } or do { push @wrong, $@; last };
	my $client = $clients[ rand @clients ];
	my $drops = $client->{drops} // 0;
	$client->{complete} = 0;
	my $limit = 1 + int rand 60;
	for (1 .. 1 + int rand 4)    # not always to the end
	{
		pull_page($node, $request, $client, limit => $limit, session => $session);
		last if $client->{complete};
		$session->query(change()) if rand() < 0.5;
	}
	($client->{drops} // 0) > $drops ? $resets++ : $resumed++;
	next if !$client->{complete};
	$session->query("SELECT tide.sync('10min')");
	pull_all($node, $request, state => $client, session => $session);
	push @wrong, "round $round: a client of an old cookie differs from the query" if !same($client);
	push @wrong, "round $round: a fresh client differs from the query" if !same(pull_all($node, $request, session => $session));
	last if @wrong;
}
is(join("\n", @wrong), '', "old cookies: $resumed went on, $resets began anew, $kills kills");
cmp_ok($resumed, '>', 0, 'some clients went on');
cmp_ok($resets, '>', 0, 'some began anew');
settings('tide.compaction' => 'on');
$session->query("SELECT tide.sync('10min')");
for my $client (@clients)
{
	pull_all($node, $request, state => $client, session => $session);
	push @wrong, 'a client differs at the end' if !same($client);
}
is("@wrong", '', 'all clients at the end');
settled();
cmp_ok(entries("kind <> 'l'"), '<=', 1.25 * $session->query('SELECT sum(row_count) FROM tide_internal.buckets') + 10, 'no garbage is left');
store_ok($node, 'everything stored is right');
verify_empty($node, $_->[0], $_->[1], {}) for [ 'all', {} ], [ 'part', { part => 1 } ], [ 'even', {} ];
$session->quit;
$reader->quit;
$node->stop('fast');
done_testing();

# whether the client has what the shapes' queries give
sub same
{
	my ($state) = @_;
	for my $shape (sort keys %query)
	{
		my @have = sort map { $_->{row} } map { values %{ $state->{rows}{$_} // {} } }
		  grep { $state->{buckets}{$_}{shape} eq $shape } keys %{ $state->{buckets} };
		my @want = query_rows($node, $query{$shape});
		next if "@have" eq "@want";
		my %have = map { $_ => 1 } @have;
		my %want = map { $_ => 1 } @want;
		diag "$shape: client has too much: $_" for grep { !$want{$_} } @have;
		diag "$shape: client lacks: $_" for grep { !$have{$_} } @want;
		return 0;
	}
	return 1;
}

sub change
{
	my $kind = rand();
	my $id = 1 + int rand 260;
	return "UPDATE items SET n = n + 1 WHERE id = $id" if $kind < 0.3;
	return "UPDATE items SET part = " . int(rand 5) . " WHERE id = $id" if $kind < 0.45;
	return "UPDATE items SET n = n + 1 WHERE id BETWEEN $id AND $id + 15" if $kind < 0.55;
	return "INSERT INTO items VALUES ($id, " . int(rand 5) . ", " . int(rand 9) . ", 'i') ON CONFLICT (id) DO UPDATE SET s = 'u'" if $kind < 0.75;
	return "DELETE FROM items WHERE id = $id" if $kind < 0.9;
	return "DELETE FROM items WHERE id BETWEEN $id AND $id + 8" if $kind < 0.93;
	return "UPDATE items SET part = 3 - part WHERE part = " . int(rand 4) if $kind < 0.95;
	return "UPDATE items SET id = id + 300 WHERE id = $id AND NOT EXISTS (SELECT FROM items WHERE id = $id + 300)" if $kind < 0.97;
	return 'TRUNCATE items' if $kind < 0.975;
	return "UPDATE items SET s = repeat('long', " . int(rand 3000) . ") WHERE id = $id";
}
