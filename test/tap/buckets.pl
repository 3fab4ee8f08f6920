# Buckets that grow from small, where the row of tide_internal.buckets may lag behind the change
# log, to large and shrink again; kill -9 in between. What pulls are told of rows and checksums is
# compared with the rows they got at each step, on a standby and under an old snapshot too.
#
#   TIDE_SEED            repeats the changes of a run (not their timing)
#   TIDE_BUCKETS_ROUNDS  how many rounds of random changes (60)
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use JSON::PP;
use Test::More;
use TideCheck;
use TideCluster;
use TideSession;

my $rounds = $ENV{TIDE_BUCKETS_ROUNDS} || 60;
my $seed = $ENV{TIDE_SEED} || int(rand(2**31));
srand $seed;
note "seed $seed";
diag "buckets.pl: $rounds rounds, TIDE_SEED=$seed";

my $node = tide_new('buckets', conf => "autovacuum = off\nfsync = off\nlog_min_messages = warning\n");
install_check($node);
my $session = TideSession->new($node);
$session->query(<<'SQL');
CREATE TABLE items (id int PRIMARY KEY, part int, n int DEFAULT 0);
INSERT INTO items SELECT i, i % 10 FROM generate_series(1, 100) i;
SELECT tide.create_shape('part', '{"table": "items", "where": "part = params.part"}');
SQL
tide_sync($node);

my $request = { client => '00000000-0000-4000-8000-000000000001', claims => {}, shapes => { part => [ map { { part => $_ } } 0 .. 9 ] } };
my $state = new_state();

my $log = $session->query(q{SELECT 'tide_shadow.log' || source_id FROM tide_internal.sources});

# a client that goes on and one that begins anew: pulling dies if a bucket's figures are not its rows'
sub pulled_ok
{
	my ($name, $at) = @_;
	tide_sync($node);
	$node->wait_for_catchup($at, 'replay', $node->lsn('insert')) if $at;
	my @states = (pull_all($at // $node, $request, state => $state, limit => 100), pull_all($at // $node, $request));
	my @want = query_rows($node, 'SELECT * FROM items');
	return is_deeply([ map { [ state_rows($_, 'public.items') ] } @states ], [ \@want, \@want ], $name);
}

# numbers of the buckets whose row is behind the log
sub lagging
{
	return $session->query("SELECT coalesce(string_agg(key[1], ',' ORDER BY key), '') FROM tide_internal.buckets b WHERE may_lag
		AND EXISTS (SELECT FROM $log l WHERE l.bucket_id = b.bucket_id AND l.op_id > b.last_op_id)");
}

# change rows until that shows: the worker settles what lags for a second
sub make_lag
{
	my ($where) = @_;
	for (1 .. 30)
	{
		$session->query("UPDATE items SET n = n + 1 WHERE $where");
		tide_sync($node);
		my $lagging = lagging();
		return $lagging if $lagging ne '';
	}
	return '';
}

sub kill_worker
{
	my $pid = tide_worker_pid($node);
	kill KILL => $pid if $pid ne '';
	wait_worker($node, $pid);
	$session = TideSession->new($node);
	return;
}

sub stored { return $session->query("SELECT row_count || ' ' || may_lag FROM tide_internal.buckets WHERE key = '{$_[0]}'"); }

# ---- small

pulled_ok('as built');
$session->query('UPDATE items SET n = n + 1');
pulled_ok('entries of the build are superseded');
wait_for_sql($node, 'SELECT NOT EXISTS (SELECT FROM tide_internal.buckets WHERE stale_count > row_count / 4)');
is(make_lag('true'), '0,1,2,3,4,5,6,7,8,9', 'rows of small buckets lag');
pulled_ok('which pulls do not show');
wait_for_sql($node, "SELECT NOT EXISTS (SELECT FROM tide_internal.buckets b JOIN $log l USING (bucket_id) WHERE l.op_id > b.last_op_id)");
store_ok($node, 'the worker settles them when there is time');
pulled_ok('settled');

my $reader = TideSession->new($node);
my $call = 'SELECT tide.pull(' . sql_json($request) . ')';
make_lag('part < 5');
$reader->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
my $before = $reader->query($call);
$session->query('UPDATE items SET n = n + 1; DELETE FROM items WHERE id = 7; INSERT INTO items VALUES (107, 3)');
tide_sync($node);
sleep 2;
is($reader->query($call), $before, 'an old snapshot sees the same sums');
$reader->query('COMMIT');

# ---- nobody has them in memory

isnt(make_lag('part IN (1, 2, 3, 4)'), '', 'rows lag');
kill_worker();
pulled_ok('killed while rows lagged');
$session->query('INSERT INTO items VALUES (201, 1); DELETE FROM items WHERE id = 2; UPDATE items SET n = -1 WHERE part = 3');
pulled_ok('then rows enter, leave and change');
store_ok($node, 'what is stored is right');

isnt(make_lag('true'), '', 'rows lag');
kill_worker();
$session->query('UPDATE items SET n = n + 1');
$session->query('DELETE FROM items WHERE part = 9');
pulled_ok('all rows of a bucket go');
$session->query('INSERT INTO items SELECT i, 9 FROM generate_series(901, 905) i');
pulled_ok('and others come');

# ---- across the border

isnt(make_lag('part IN (5, 6)'), '', 'rows lag');
kill_worker();
$session->query('INSERT INTO items SELECT i, 5 FROM generate_series(1000, 1299) i');
pulled_ok('a bucket that lagged has grown');
like(stored(5), qr/ false$/, 'it may not lag any more');
$session->query('UPDATE items SET n = n + 1 WHERE part IN (5, 6)');
pulled_ok('its rows change');
unlike(lagging(), qr/5/, 'it does not lag');
kill_worker();
$session->query('UPDATE items SET n = n + 1 WHERE id = 1000');
pulled_ok('killed as a large one');
$session->query('DELETE FROM items WHERE id BETWEEN 1000 AND 1290');
pulled_ok('it shrinks');
$node->safe_psql('postgres', q{ALTER SYSTEM SET tide.removed_retention = 0; ALTER SYSTEM SET tide.max_removed_rows = 10; SELECT pg_reload_conf()});
$session->query('UPDATE items SET part = 5 WHERE part = 4');
$session->query('DELETE FROM items WHERE id = 1291');
wait_for_sql($node, q{SELECT may_lag FROM tide_internal.buckets WHERE key = '{5}'});
pulled_ok('what left is forgotten, and it is small again');
like(make_lag('part = 5'), qr/5/, 'and lags again');
kill_worker();
pulled_ok('killed then');
store_ok($node, 'what is stored is right');

# ---- a standby

my $standby = tide_standby($node, 'buckets_standby', conf => "hot_standby_feedback = on\n");
isnt(make_lag('part < 4'), '', 'rows lag');
pulled_ok('a standby sums them up as well', $standby);
$standby->stop;

# ---- one session that pulls again and again remembers sums

# buckets of a pull in $session whose checksum is not that of the rows sent
sub wrong_sums
{
	my $pull = encode_json({ shapes => $request->{shapes}, limit => 100000 });
	my $answer = decode_json($session->query("SELECT tide.pull('$pull')"));
	my %sum;
	$sum{ $_->{bucket} } = (($sum{ $_->{bucket} } // 0) + $_->{hash}) % 2**32 for @{ $answer->{changes} };
	return ('incomplete') unless $answer->{complete};
	return map { "bucket $_->{bucket}: $_->{checksum}" } grep { defined $_->{bucket} && $_->{checksum} != ($sum{ $_->{bucket} } // 0) } @{ $answer->{buckets} };
}
my @sums;
for my $round (1 .. 40)
{
	my $part = int rand 10;
	$session->query($_) for $round == 20 ? ('SELECT tide.reset()', 'SELECT tide.start()') : ("UPDATE items SET n = n + 1 WHERE part = $part AND (id <= 10 OR random() < 0.3)");
	$session->query("UPDATE items SET part = ($part + 1) % 10 WHERE id IN (SELECT min(id) FROM items WHERE part = $part)") if $round % 4 == 0;
	tide_sync($node);
	push @sums, map { "round $round: $_" } wrong_sums(), wrong_sums();
}
is(join("\n", @sums), '', 'its checksums are those of the rows');

# ---- anything, in any order

my $id = 10000;
my $kills = 0;
my @wrong;
for my $round (1 .. $rounds)
{
	for (1 .. 1 + int rand 4)
	{
		my $part = int rand 10;
		my $n = rand() < 0.2 ? 50 + int rand 300 : 1 + int rand 5;
		my $first = $id + 1;
		my $dice = rand;
		$session->query("UPDATE items SET n = n + 1 WHERE part = $part OR random() < 0.02") if $dice < 0.5;
		$session->query("INSERT INTO items SELECT i, $part FROM generate_series($first, $first + $n) i") if $dice >= 0.5 && $dice < 0.65;
		$session->query("DELETE FROM items WHERE part = $part AND random() < " . (rand() < 0.3 ? 1 : 0.2)) if $dice >= 0.65 && $dice < 0.8;
		$session->query("UPDATE items SET part = (part + 1) % 10, n = n + 1 WHERE part = $part AND random() < 0.3") if $dice >= 0.8;
		$id += $n + 1;
	}
	if (rand() < 0.2)
	{
		my $pid = tide_worker_pid($node);
		$kills += kill KILL => $pid if $pid ne '';
		wait_worker($node, $pid);
		$session = TideSession->new($node);
	}
	next if rand() < 0.5 && $round < $rounds;
	eval {
		tide_sync($node);
		my $late = rand() < 0.5 ? $state : pull_all($node, $request);
		pull_all($node, $request, state => $late, limit => 100);
		my $have = join "\n", state_rows($late, 'public.items');
		push @wrong, "round $round: other rows" if $have ne join "\n", query_rows($node, 'SELECT * FROM items');
		1;
	} or push @wrong, "round $round: $@";
	push @wrong, map { "round $round: $_" } split /\n/, store_problems($node) if $round % 10 == 0;
	last if @wrong;
}
is(join("\n", @wrong), '', "$rounds rounds, $kills kills");
verify_empty($node, 'part', { part => $_ }) for 0 .. 9;
store_ok($node, 'what is stored is right');
done_testing();
