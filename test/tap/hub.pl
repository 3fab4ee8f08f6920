# Three sources, one hub: CREATE SUBSCRIPTION brings their tables together, pg_tide on the hub serves clients. One order of
# op_ids, each source's commits in order and whole, whatever is restarted meanwhile.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use TideCluster;

my $json = JSON::PP->new->canonical;
my $schema = q{
	-- the source's number is part of every key
	CREATE TABLE accounts (source int, id int, balance bigint NOT NULL, n bigint NOT NULL DEFAULT 0, PRIMARY KEY (source, id));
	CREATE TABLE transfers (source int, id bigint, debit int, credit int, PRIMARY KEY (source, id));
};
my @sources;
for my $i (1 .. 3)
{
	my $node = PostgreSQL::Test::Cluster->new("source$i");
	$node->init(allows_streaming => 'logical');
	$node->start;
	$node->safe_psql('postgres', $schema);
	$node->safe_psql('postgres', "ALTER TABLE accounts ALTER source SET DEFAULT $i; ALTER TABLE transfers ALTER source SET DEFAULT $i;
		INSERT INTO accounts (id, balance) SELECT i, 1000 FROM generate_series(1, 100) i;
		INSERT INTO transfers (id, debit, credit) VALUES (0, 1, 1);
		CREATE PUBLICATION hub FOR TABLE accounts, transfers");
	push @sources, $node;
}
my $hub = tide_new('hub', conf => "max_logical_replication_workers = 12\nmax_sync_workers_per_subscription = 2\nwal_retrieve_retry_interval = 200ms\n");
sub sql { return $hub->safe_psql('postgres', $_[0]); }

sql($schema);
# the shapes are there before the rows: the subscriptions' first copies come as changes
sql(q{
	SELECT tide.create_shape('accounts', '{"table": "accounts", "where": "source = params.source"}');
	SELECT tide.create_shape('all', '{"table": "accounts"}');
	SELECT tide.create_shape('transfers', '{"table": "transfers"}')});
tide_sync($hub);
my $connect = "CREATE SUBSCRIPTION from_source%d CONNECTION '%s' PUBLICATION hub";
sql(sprintf $connect, $_, quoted($sources[ $_ - 1 ])) for 1, 2;

sub quoted { return $_[0]->connstr('postgres') =~ s/'/''/gr }

sub copied
{
	wait_for_sql($hub, q{SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel});
	return;
}

# a transfer moves money within its source: wherever a transaction is cut in two the sums are wrong. n counts the transfers
sub writer
{
	my ($i, $seconds) = @_;
	my $node = $sources[ $i - 1 ];
	my $script = PostgreSQL::Test::Utils::tempdir() . '/transfer.sql';
	append_to_file($script, <<'SQL');
\set debit random(1, 99)
BEGIN;
SELECT max(id) + 1 AS next FROM transfers \gset
UPDATE accounts SET balance = balance - 1, n = :next WHERE id = :debit;
INSERT INTO transfers (id, debit, credit) VALUES (:next, :debit, :debit + 1);
UPDATE accounts SET balance = balance + 1, n = :next WHERE id = :debit + 1;
COMMIT;
SQL
	return IPC::Run::start([ 'pgbench', '-n', '-T', $seconds, '-c', '1', '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres' ],
		'<', \undef, '>', \my $out, '2>', \my $err);
}

# what a client has is some moment of each source
my %newest = (1 => 0, 2 => 0, 3 => 0);
my $request = { shapes => { all => [ {} ], transfers => [ {} ] }, claims => {} };
my $state = new_state();
my $checks = 0;

# '' or what is wrong
sub look
{
	my (%sum, %n, %next, %last_account);
	pull_all($hub, $request, state => $state);
	for my $row (map { $json->decode($_) } state_rows($state, 'public.accounts'))
	{
		$sum{ $row->{source} } += $row->{balance};
		$n{ $row->{source} }++;
		$last_account{ $row->{source} } = $row->{n} if $row->{n} > ($last_account{ $row->{source} } // 0);
	}
	for my $row (map { $json->decode($_) } state_rows($state, 'public.transfers'))
	{
		$next{ $row->{source} }{ $row->{id} } = 1;
	}
	for my $source (sort keys %next)
	{
		my @ids = sort { $a <=> $b } keys %{ $next{$source} };
		next if !$n{$source};    # the tables of a subscription are copied one after the other
		return "source $source: transfers @ids[0, -1] are " . @ids if $ids[-1] != $#ids;
		return "source $source: went back to $ids[-1] from $newest{$source}" if $ids[-1] < $newest{$source};
		return "source $source: $n{$source} accounts" if $n{$source} != 100;
		return "source $source: sum is $sum{$source}" if $sum{$source} != 100_000;
		return "source $source: transfers up to $ids[-1], accounts up to $last_account{$source}"
		  if ($last_account{$source} // 0) != $ids[-1];
		$newest{$source} = $ids[-1];
	}
	$checks++;
	return '';
}

# until the hub has what the sources have
sub even
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	for my $i (1 .. 3)
	{
		my $count = $sources[ $i - 1 ]->safe_psql('postgres', 'SELECT count(*), sum(n) FROM accounts, (SELECT max(id) FROM transfers) t');
		my $last = $sources[ $i - 1 ]->safe_psql('postgres', 'SELECT max(id) FROM transfers');
		wait_for_sql($hub, "SELECT max(id) = $last FROM transfers WHERE source = $i");
	}
	tide_sync($hub);
	is(look(), '', "$name: sources are whole and in order");
	my @want = sort map { query_rows($_, 'SELECT * FROM accounts') } @sources;
	is_deeply([ state_rows($state, 'public.accounts') ], \@want, "$name: accounts are those of the sources");
	@want = sort map { query_rows($_, 'SELECT * FROM transfers') } @sources;
	is_deeply([ state_rows($state, 'public.transfers') ], \@want, "$name: transfers too");
	verify_empty($hub, 'accounts', { source => $_ }, {}, name => "$name: tide.verify of source $_") for 1 .. 3;
	verify_empty($hub, $_, {}, {}, name => "$name: tide.verify of $_") for qw(all transfers);
	ok(!$state->{drops}, "$name: nothing was dropped");
	return;
}

copied();
tide_sync($hub);
is(look(), '', 'first copies of two sources came as changes');
is(scalar(@{ [ state_rows($state, 'public.accounts') ] }), 200, 'all of them');

# a third source is added while the others write, and one of them is killed, then the hub
my @writers = map { writer($_, 6) } 1, 2;
my $wrong = '';
sub watch
{
	my ($rounds) = @_;
	for (1 .. $rounds)
	{
		$wrong ||= look();
		usleep(50_000);
	}
	return;
}
watch(5);
sql(sprintf $connect, 3, quoted($sources[2]));
push @writers, writer(3, 6);
copied();
watch(10);
$sources[0]->stop('immediate');
watch(5);
restart_after_crash($sources[0]);
watch(5);
$hub->stop('immediate');
restart_after_crash($hub);
wait_for_sql($hub, 'SELECT pid IS NOT NULL FROM tide.status');
watch(5);
$_->finish for @writers;
push @writers, writer(1, 2);
watch(5);
$writers[-1]->finish;
is($wrong, '', "every look ($checks) had whole transactions, in order, of all sources");
cmp_ok($checks, '>', 20, 'it looked often');
cmp_ok($newest{$_}, '>', 0, "source $_ wrote") for 1 .. 3;
even('after kills of a source and the hub');

# one order of op_ids: entries of the sources' commits are of one sequence
is(sql(q{SELECT count(*) - count(DISTINCT op_id) FROM (
	SELECT op_id FROM tide_shadow.log1 UNION ALL SELECT op_id FROM tide_shadow.log2) l}), '0', 'each entry has an op_id of its own');

# writes of the hub itself: clients' tables beside the sources', and what not to do
sql(q{CREATE TABLE notes (id int PRIMARY KEY, source int, account int, body text);
	SELECT tide.create_shape('notes', '{"table": "notes", "where": "source = params.source"}');
	SELECT tide.allow_writes('notes')});
tide_sync($hub);
sql(q{SELECT tide.push('{"client": "00000000-0000-4000-8000-0000000000ab", "claims": {}, "mutations": [
	{"id": 1, "op": "insert", "table": "notes", "key": {"id": 1}, "values": {"source": 2, "account": 5, "body": "hub"}}]}')});
tide_sync($hub);
my $notes = pull_all($hub, { shapes => { notes => [ { source => 2 } ], accounts => [ { source => 2 } ] }, claims => {} });
is_deeply([ map { $json->decode($_)->{body} } state_rows($notes, 'public.notes') ], ['hub'], 'clients write to tables of the hub');

# the way back: such a table is published to its source, which need not have pg_tide
sql('CREATE PUBLICATION back FOR TABLE notes WHERE (source = 2)');
$sources[1]->safe_psql('postgres', 'CREATE TABLE notes (id int PRIMARY KEY, source int, account int, body text)');
$sources[1]->safe_psql('postgres', sprintf "CREATE SUBSCRIPTION back CONNECTION '%s' PUBLICATION back", quoted($hub));
wait_for_sql($sources[1], q{SELECT count(*) = 1 FROM notes WHERE body = 'hub'});
pass('and the source has them by a subscription of its own');

# the check can fail: half a transaction on the hub
sql('UPDATE accounts SET balance = balance - 1 WHERE (source, id) = (3, 1)');
tide_sync($hub);
like(look(), qr/source 3: sum is 99999/, 'planted: half a transaction is noticed');
$sources[1]->safe_psql('postgres', 'ALTER SUBSCRIPTION back DISABLE; ALTER SUBSCRIPTION back SET (slot_name = NONE); DROP SUBSCRIPTION back');
$_->stop for $hub, @sources;
done_testing();
