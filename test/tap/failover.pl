# A standby is promoted, the old primary comes back: clients go on with differences, op_ids with the ones
# before; who has seen what was lost with the primary begins anew, and nobody else.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Storable ();
use Test::More;
use Time::HiRes qw(usleep);
use TideCluster;

my $request = { shapes => { items => [ { team => 0 }, { team => 1 } ], trees => [ {} ] }, claims => {} };
my $pusher = 'fa11000e-0000-4000-8000-000000000001';
my $old = tide_new('old', conf => "wal_log_hints = on\nwal_keep_size = 256MB\nmax_slot_wal_keep_size = 512MB\n");
my $has_slots = $old->safe_psql('postgres', q{SELECT current_setting('server_version_num')::int >= 170000}) eq 't';

sub sql { return $_[0]->safe_psql('postgres', $_[1]); }

# what a standby needs to follow $primary, and to have its slots
sub follow
{
	my ($node, $primary) = @_;
	my $name = $node->name;
	$node->append_conf('postgresql.conf', sprintf "primary_conninfo = 'host=%s port=%s dbname=postgres application_name=%s'\n"
		  . "primary_slot_name = '%s'\nhot_standby_feedback = on\n", $primary->host, $primary->port, $name, "at_$name");
	$node->append_conf('postgresql.conf', "sync_replication_slots = on\n") if $has_slots;
	sql($primary, "SELECT pg_create_physical_replication_slot('at_$name', true)
		WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'at_$name')");
	return;
}

sub standby
{
	my ($primary, $name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$primary->backup("$name-base");
	$node->init_from_backup($primary, "$name-base", has_streaming => 1);
	follow($node, $primary);
	$node->append_conf('postgresql.conf', "synchronized_standby_slots = ''\n") if $has_slots;
	$node->start;
	$primary->wait_for_catchup($node, 'replay', $primary->lsn('insert'));
	return $node;
}

# the standby has the ingest's slot, ready to be used
sub wait_for_slot
{
	my ($primary, $node) = @_;
	for (1 .. 3 * $PostgreSQL::Test::Utils::timeout_default)
	{
		sql($primary, 'SELECT pg_log_standby_snapshot(); UPDATE items SET n = n WHERE id = 1');
		tide_sync($primary);
		return if sql($node, 'SELECT failover FROM tide.status') eq 't';
		usleep(300_000);
	}
	die "no slot on the standby: " . sql($node, 'SELECT to_jsonb(r) FROM pg_replication_slots r');
}

my %shows = (items => 'SELECT * FROM items WHERE team < 2', nodes => 'SELECT * FROM nodes', leaves => 'SELECT * FROM leaves');

sub differs
{
	my ($node, $state) = @_;
	return join ' ', grep { "@{[ state_rows($state, qq(public.$_)) ]}" ne "@{[ query_rows($node, $shows{$_}) ]}" } sort keys %shows;
}

# the client pulls and has what the server has; in %$state are changes and drops since the last call
sub goes_on
{
	my ($node, $state, $name, %opts) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	@$state{qw(changes drops)} = (0, 0);
	tide_sync($node);
	pull_all($node, $request, state => $state, limit => $opts{limit});
	is(differs($node, $state), '', "$name: has what the server has");
	return $state;
}

sub all_verified
{
	my ($node, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	verify_empty($node, 'items', { team => $_ }, {}, name => "$name: tide.verify of team $_") for 0, 1;
	verify_empty($node, 'trees', {}, {}, name => "$name: tide.verify of the trees");
	return;
}

# a pgbench at $node until it fails or has ended
sub writer
{
	my ($node, $seconds) = @_;
	my $script = PostgreSQL::Test::Utils::tempdir() . '/writes.sql';
	append_to_file($script, <<'SQL');
\set id random(1, 400)
\set team random(0, 2)
BEGIN;
UPDATE items SET n = n + 1 WHERE id = :id;
UPDATE items SET team = :team WHERE id = :id - 1;
INSERT INTO leaves SELECT coalesce(max(id), 0) + 1, :id % 10 FROM leaves ON CONFLICT DO NOTHING;
DELETE FROM leaves WHERE id < :id;
COMMIT;
SQL
	return IPC::Run::start([ 'pgbench', '-n', '-T', $seconds, '-c', '2', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
		'<', \undef, '>', \my $out, '2>', \my $err);
}

sub push_one
{
	my ($node, $id) = @_;
	return JSON::PP::decode_json(sql($node, qq{SELECT tide.push('{"client": "$pusher", "claims": {}, "mutations":
		[{"id": $id, "op": "update", "table": "items", "key": {"id": 399}, "values": {"n": -$id}}]}')}));
}

sub acknowledged
{
	my ($node) = @_;
	tide_sync($node);
	return sql($node, qq{SELECT tide.pull('{"client": "$pusher", "claims": {}, "shapes": {}}') ->> 'last_mutation_id'});
}

sql($old, q{
	CREATE TABLE items (id int PRIMARY KEY, team int, n bigint NOT NULL DEFAULT 0, pad text);
	CREATE TABLE nodes (id int PRIMARY KEY, name text);
	CREATE TABLE leaves (id int PRIMARY KEY, node int);
	INSERT INTO items SELECT i, i % 3, 0, repeat('x', 50) FROM generate_series(1, 400) i;
	INSERT INTO nodes SELECT i, 'node ' || i FROM generate_series(0, 9) i;
	INSERT INTO leaves SELECT i, i % 10 FROM generate_series(1000, 1050) i;
	SELECT tide.create_shape('items', '{"table": "items", "where": "team = params.team"}');
	SELECT tide.create_shape('trees', '{"table": "nodes", "include": {"leaves": {"table": "leaves", "on": "leaves.node = nodes.id"}}}');
	SELECT tide.allow_writes('items');
});
tide_sync($old);
my $new = standby($old, 'new');
my $other = standby($old, 'other');
if ($has_slots)
{
	$old->append_conf('postgresql.conf', "synchronized_standby_slots = 'at_new'\n");
	$old->reload;
	wait_for_slot($old, $_) for $new, $other;
}
is(sql($old, 'SELECT failover FROM tide.status'), $has_slots ? 't' : 'f', 'tide.status of the primary tells whether the slot is offered to standbys');
is(sql($new, 'SELECT state FROM tide.status'), 'standby', 'tide.status of a standby says that it is one');

# ---- clients: one that has seen what the standby has, one in its first sync, one that will have seen more
push_one($old, 1);
is(acknowledged($old), '1', 'a push is acknowledged');
my $writer = writer($old, 2);
my %client = map { $_ => new_state() } qw(seen paging);
pull_page($old, $request, $client{paging}, limit => 50);
for (1 .. 15)
{
	pull_all($old, $request, state => $client{seen});
	usleep(100_000);
}
$writer->finish;
tide_sync($old);
pull_all($old, $request, state => $client{seen});
$old->wait_for_catchup($_, 'replay', $old->lsn('insert')) for $new, $other;
pull_all($new, $request, state => $client{$_} = Storable::dclone($client{seen})) for 'standbys';

# the standbys get no more; the primary has lost what comes now
for my $node ($new, $other)
{
	$node->append_conf('postgresql.conf', "primary_conninfo = ''\n");
	$node->reload;
	wait_for_sql($node, 'SELECT count(*) = 0 FROM pg_stat_wal_receiver');
}
$client{ahead} = Storable::dclone($client{seen});
sql($old, q{UPDATE items SET n = -1 WHERE id < 30; INSERT INTO items VALUES (9001, 0, 1, 'never was'); DELETE FROM items WHERE id = 33;
	INSERT INTO leaves VALUES (9001, 1)});
push_one($old, 2);
is(acknowledged($old), '2', 'another one is acknowledged, and will be lost');
pull_all($old, $request, state => $client{ahead});
isnt($client{ahead}{checkpoint}{op_id}, $client{seen}{checkpoint}{op_id}, 'one client has seen what will be lost');
$old->stop('immediate');
my $op_id = $client{seen}{checkpoint}{op_id};

# ---- promotion, with clients that ask all the time
is(sql($other, 'SELECT pg_wal_replay_pause() IS NOT NULL'), 't', 'another standby replays no more');
$new->promote;
$writer = writer($new, 2);
my $asked = 0;
for (1 .. 20)
{
	for my $name (qw(seen standbys))
	{
		pull_page($new, $request, $client{$name});
		$asked++;
	}
	my $told = Storable::dclone($client{ahead});
	$told->{checkpoint} = undef;
	pull_all($new, $request, state => $told, max_pages => 200) if $asked == 2;
	usleep(50_000);
}
$writer->finish;
ok($asked > 4, 'clients asked while it was promoted');
ok(!$client{$_}{drops}, "$_: nothing was dropped") for qw(seen standbys);
goes_on($new, $client{seen}, 'a client that saw what the standby had');
ok(!$client{seen}{drops}, 'nothing was dropped');
ok($client{seen}{checkpoint}{op_id} > $op_id, 'op_ids go on');
my $error = sql($new, 'SELECT last_error FROM tide.status');
my $log = slurp_file($new->logfile);
if ($has_slots)
{
	is($error, '', 'no table was compared');
	like($log, qr/goes on with replication slot/, 'the slot came along');
}
else
{
	like($error, qr/all tables are compared/, 'no slot came along: tables were compared');
}
goes_on($new, $client{paging}, 'a client in its first sync', limit => 50);
ok(!$client{paging}{drops}, 'nothing was dropped');
sql($new, 'UPDATE items SET n = 1000 WHERE id = 7');
goes_on($new, $client{seen}, 'a change');
is($client{seen}{changes}, sql($new, 'SELECT count(*) FROM items WHERE id = 7 AND team < 2'), 'comes alone');
all_verified($new, 'promoted');

# op_ids are where those were that got lost
sql($new, 'UPDATE items SET n = n + 1');
tide_sync($new);
cmp_ok(sql($new, 'SELECT op_id FROM tide.status'), '>', $client{ahead}{checkpoint}{op_id}, 'op_ids that were lost are given out again');

# the check can fail: without a new epoch the client is given differences that are not its own
my $epochs = sql($new, 'SELECT count(*) FROM tide_internal.epochs');
cmp_ok($epochs, '>=', 1, 'a new epoch has begun');
sql($new, q{CREATE TABLE kept AS SELECT epoch FROM tide_internal.state;
	UPDATE tide_internal.state SET epoch = e.epoch FROM tide_internal.epochs e WHERE e.last_op_id = (SELECT min(last_op_id) FROM tide_internal.epochs)});
my $planted = Storable::dclone($client{ahead});
my $noticed = !eval { pull_all($new, $request, state => $planted); 1 } || differs($new, $planted) ne '';
ok($noticed, 'planted: with the epoch of before a client that saw lost changes would be wrong');
sql($new, 'UPDATE tide_internal.state SET epoch = kept.epoch FROM kept; DROP TABLE kept');
goes_on($new, $client{ahead}, 'a client that saw what was lost');
ok($client{ahead}{drops}, 'it began anew');
goes_on($new, $client{ahead}, 'once');
ok(!$client{ahead}{drops}, 'only once');

# a mutation that was acknowledged and lost: its client goes on, once
is(acknowledged($new), '1', 'the acknowledgement that was lost is not told');
is(push_one($new, 3)->{last_mutation_id}, 3, 'the client goes on with the next mutation');
is(acknowledged($new), '3', 'which is acknowledged');
my ($gap) = (($new->psql('postgres', qq{SELECT tide.push('{"client": "$pusher", "claims": {}, "mutations":
	[{"id": 5, "op": "update", "table": "items", "key": {"id": 399}, "values": {"n": 5}}]}')}))[2]);
like($gap, qr/mutation ids have a gap before 5/, 'a gap after that is one');

# ---- a standby that does not know of the promotion yet: no answer, but no way back either
my $before = JSON::PP->new->canonical->encode($client{seen}{cookie});
my $answer = JSON::PP::decode_json(sql($other, 'SELECT tide.pull(' . sql_json({ %$request, cookie => $client{seen}{cookie} }) . ')'));
is_deeply([ $answer->{complete} ? 1 : 0, scalar @{ $answer->{changes} }, scalar @{ $answer->{drop} } ], [ 0, 0, 0 ],
	'a standby of before the promotion has nothing to say');
is(JSON::PP->new->canonical->encode($answer->{cookie}), $before, 'and leaves the cookie alone');
$answer = JSON::PP::decode_json(sql($other, 'SELECT tide.pull(' . sql_json({ %$request, cookie => { %{ $client{seen}{cookie} }, epoch => '00000000-0000-8000-8000-0000ffffffff' } }) . ')'));
ok(scalar @{ $answer->{changes} } && @{ $answer->{drop} }, 'the cookie of another database is told to begin anew there');
sql($other, 'SELECT pg_wal_replay_resume()');
follow($other, $new);
$other->restart;
$new->wait_for_catchup($other, 'replay', $new->lsn('insert'));
goes_on($new, $client{seen}, 'the primary');
$new->wait_for_catchup($other, 'replay', $new->lsn('insert'));
pull_all($other, $request, state => $client{$_}) for qw(seen ahead paging);
is(differs($other, $client{$_}), '', "the other standby follows: $_") for qw(seen ahead paging);
ok(!$client{ahead}{drops}, 'and drops nothing');

# ---- the old primary comes back as a standby, and is promoted in its turn
$new->safe_psql('postgres', 'CHECKPOINT');
command_ok([ 'pg_rewind', '--target-pgdata', $old->data_dir, '--source-server', $new->connstr('postgres') ], 'pg_rewind');
# it has the configuration of the source now
$old->append_conf('postgresql.conf', sprintf "port = %d\n", $old->port);
$old->append_conf('postgresql.conf', sprintf "unix_socket_directories = '%s'\n", $old->host) if $old->host =~ m{^/};
follow($old, $new);
$old->set_standby_mode;
$old->start;
$new->wait_for_catchup($old, 'replay', $new->lsn('insert'));
is(sql($old, 'SELECT pg_is_in_recovery()'), 't', 'the old primary is a standby');
pull_all($old, $request, state => $client{seen});
is(differs($old, $client{seen}), '', 'and serves pulls');
wait_for_slot($new, $old) if $has_slots;
goes_on($new, $client{$_}, "before going back: $_") for qw(seen ahead paging standbys);
$op_id = $client{seen}{checkpoint}{op_id};
$new->stop('fast');
$old->promote;
sql($old, 'UPDATE items SET n = n + 10 WHERE id < 50; DELETE FROM leaves WHERE id % 7 = 0');
goes_on($old, $client{$_}, "promoted in its turn: $_") for qw(seen ahead paging standbys);
ok(!$client{$_}{drops}, "$_: nothing was dropped") for qw(seen ahead paging standbys);
ok($client{seen}{checkpoint}{op_id} > $op_id, 'op_ids go on');
all_verified($old, 'promoted in its turn');
like($has_slots ? slurp_file($old->logfile) : sql($old, 'SELECT last_error FROM tide.status'),
	$has_slots ? qr/goes on with replication slot/ : qr/all tables are compared/, 'by the slot where there is one');

# ---- a slot that was the server's own before: it kept nothing meanwhile
if (!$has_slots)
{
	my $at = sql($old, 'SELECT last_error_at FROM tide.status');
	$old->stop('fast');
	# a server that was a standby for a while, with its slot still there
	$old->set_standby_mode;
	$old->append_conf('postgresql.conf', "primary_conninfo = ''\n");
	$old->start;
	is(sql($old, 'SELECT count(*) FROM pg_replication_slots WHERE slot_name = \'tide_postgres\''), '1', 'a standby with a slot of its own');
	$old->promote;
	goes_on($old, $client{seen}, 'promoted with it');
	ok(!$client{seen}{drops}, 'nothing was dropped');
	isnt(sql($old, 'SELECT last_error_at FROM tide.status'), $at, 'it was not relied on');
}
$_->stop for $old, $other;
done_testing();
