# Many clients pull from two standbys in turn, by pgbouncer in transaction mode, libpq and haproxy, while they push to the
# primary: a client never goes back, is never sent to the start, and sees its own writes once they are acknowledged.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use TideCluster;

my $json = JSON::PP->new->canonical;
my $dir = PostgreSQL::Test::Utils::tempdir();
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $bouncer_port = PostgreSQL::Test::Cluster::get_free_port();
my $haproxy_port = PostgreSQL::Test::Cluster::get_free_port();
my $user = getpwuid($>);

# all on one port, each at an address of its own, as if on machines of their own
sub at_address
{
	my ($node, $address) = @_;
	mkdir "$dir/$address" or die $!;
	$node->append_conf('postgresql.conf', "listen_addresses = '$address'\nport = $port\nunix_socket_directories = '$dir/$address'\n");
	append_to_file($node->data_dir . '/pg_hba.conf', "host all all 127.0.0.0/8 trust\nhost replication all 127.0.0.0/8 trust\n");
	@$node{qw(_host _port)} = ("$dir/$address", $port);
	return;
}

my @address = map { "127.0.0.$_" } 21 .. 23;
my $primary = tide_new('primary', conf => "wal_keep_size = 128MB\nmax_wal_senders = 10\n");
$primary->safe_psql('postgres', q{
	CREATE TABLE items (id int PRIMARY KEY, team int, n int, body text);
	INSERT INTO items SELECT i, i % 4, 0, 'item ' || i FROM generate_series(1, 200) i;
	SELECT tide.create_shape('team', '{"table": "items", "where": "team = params.team"}');
	SELECT tide.allow_writes('items')});
tide_sync($primary);
$primary->backup('base');
$primary->stop;
at_address($primary, $address[0]);
$primary->start;
my @standby;
for my $i (1, 2)
{
	my $node = PostgreSQL::Test::Cluster->new("standby$i");
	$node->init_from_backup($primary, 'base', has_streaming => 1);
	at_address($node, $address[$i]);
	$node->append_conf('postgresql.conf', "primary_conninfo = 'host=$address[0] port=$port application_name=standby$i'\n");
	# one stands still longer than a query may hold up its recovery
	$node->append_conf('postgresql.conf', "max_standby_streaming_delay = -1\n");
	# the second one is always late
	$node->append_conf('postgresql.conf', "recovery_min_apply_delay = '400ms'\n") if $i == 2;
	$node->start;
	push @standby, $node;
}

sub wait_until
{
	my ($what, $is_true) = @_;
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;
	until ($is_true->())
	{
		die "timed out: $what" if time > $until;
		usleep(50_000);
	}
	return;
}

# ---- the poolers
open my $conf, '>', "$dir/bouncer.ini" or die $!;
print {$conf} <<"CONF";
[databases]
pulls = host=$address[1],$address[2] port=$port dbname=postgres
pushes = host=$address[0] port=$port dbname=postgres
[pgbouncer]
listen_addr =
listen_port = $bouncer_port
unix_socket_dir = $dir
auth_type = trust
auth_file = $dir/users
pool_mode = transaction
default_pool_size = 4
server_round_robin = 1
server_login_retry = 1
logfile = $dir/log
ignore_startup_parameters = extra_float_digits, options
CONF
close $conf;
append_to_file("$dir/users", qq("$user" ""\n));

# a server process that is signalled in the end; started once $port has its socket, or answers
my @servers;

sub start_server
{
	my ($is_there, @command) = @_;
	push @servers, IPC::Run::start([@command], '<', \undef, '>', '/dev/null', '2>&1');
	wait_until("start of $command[0]", $is_there);
	return;
}
END { my $status = $?; $_->kill_kill for @servers; $? = $status }

sub installed
{
	my ($name) = @_;
	return (grep { -x } map { "$_/$name" } split(/:/, $ENV{PATH}), '/usr/sbin')[0];
}

my $bouncer = installed('pgbouncer') or die "no pgbouncer\n";
start_server(sub { -S "$dir/.s.PGSQL.$bouncer_port" }, $bouncer, "$dir/bouncer.ini");
my %conninfo = (
	pulls => "host=$dir port=$bouncer_port dbname=pulls",
	pushes => "host=$dir port=$bouncer_port dbname=pushes",
	libpq_pulls => 'host=' . join(',', @address[ 1, 2, 0 ]) . " port=$port dbname=postgres target_session_attrs=prefer-standby",
	libpq_pushes => 'host=' . join(',', @address[ 1, 2, 0 ]) . " port=$port dbname=postgres target_session_attrs=read-write");

sub ask
{
	my ($where, $sql) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $conninfo{$where} . " user=$user" ], '<', \$sql, '>', \$out, '2>', \$err)
	  or die "psql at $where: $err";
	chomp $out;
	return $out;
}

# as pull_page() takes a session
{
	package Pooled;
	sub query { return main::ask($_[0]{where}, $_[1]); }
}

# which servers answer; asked by several sessions at once, so that a pool has connections to all
sub servers
{
	my ($where) = @_;
	my @psql = map { IPC::Run::start([ 'psql', '-XAtq', '-d', $conninfo{$where} . " user=$user", '-c',
			'SELECT inet_server_addr() FROM pg_sleep(0.5)' ], '<', \undef, '>', \my $out, '2>', \my $err) } 1 .. 4;
	$_->finish for @psql;
	my %seen;
	$seen{ ask($where, 'SELECT inet_server_addr()') }++ for 1 .. 12;
	return join ' ', sort keys %seen;
}

# on a busy machine a pool may come by its connections late, and haproxy think that a server is gone
sub servers_are
{
	my ($where, $servers, $name) = @_;
	return ok(eval { wait_until("$servers at $where", sub { servers($where) eq $servers }); 1 }, $name) || diag($@);
}

# ---- clients: how far one is, by its cookie
my @clients = map { {
	state => new_state(), id => sprintf('ba1a9ced-0000-4000-8000-%012x', $_), team => $_ % 4, row => $_ * 4 + $_ % 4, pushed => 0, late => 0
} } 1 .. 12;

sub position
{
	my ($state) = @_;
	my $cookie = $state->{cookie} or return -1;
	return (sort { $b <=> $a } -1, map { $_->[0] } @{ $cookie->{at} })[0];
}

sub client_pull
{
	my ($client, $where) = @_;
	my $state = $client->{state};
	my ($before, $acked) = (position($state), $state->{last_mutation_id} // 0);
	my $told = $state->{checkpoint};

	# a standby that is late has an older checkpoint, and nothing else
	$state->{checkpoint} = undef;
	my $n = pull_page(undef, { shapes => { team => [ { team => $client->{team} } ] }, client => $client->{id}, claims => {} }, $state,
		session => bless({ where => $where }, 'Pooled'));
	my $is_late = $told && $state->{checkpoint}{op_id} < $told->{op_id};
	$client->{late}++ if $is_late;
	$state->{checkpoint} = $told if $is_late;
	die "late, but $n changes" if $is_late && ($n || $state->{complete});
	die "went back from $before to " . position($state) if position($state) < $before;
	die 'acknowledged less than before' if ($state->{last_mutation_id} // 0) < $acked;
	die 'sent to the start' if $state->{drops};
	if ($state->{complete} && $state->{last_mutation_id} >= $client->{pushed} && $client->{pushed})
	{
		my ($row) = grep { $_->{id} == $client->{row} } map { $json->decode($_) } state_rows($state, 'public.items');
		die "acknowledged $client->{pushed}, but the row has $row->{n}" if $row->{n} != $client->{pushed};
		$client->{own}++;
	}
	return;
}

sub client_push
{
	my ($client, $where) = @_;
	my $id = $client->{pushed} + 1;
	my $answer = $json->decode(ask($where, 'SELECT tide.push(' . sql_json({ client => $client->{id}, claims => {},
				mutations => [ { id => $id, op => 'update', table => 'items', key => { id => $client->{row} }, values => { n => $id } } ] }) . ')'));
	die $json->encode($answer) if $answer->{last_mutation_id} != $id;
	$client->{pushed} = $id;
	return;
}

# until the client has everything up to its last push and to op_id
sub client_catch_up
{
	my ($client, $where, $op_id) = @_;
	wait_until("acknowledgement at $where", sub {
		client_pull($client, $where);
		return $client->{state}{complete} && $client->{state}{last_mutation_id} >= $client->{pushed} &&
		  $client->{state}{checkpoint}{op_id} >= $op_id;
	});
	return;
}

sub all_equal
{
	my ($where, $name) = @_;
	# what others have pushed may be on its way to the standby still
	my $op_id = $primary->safe_psql('postgres', q{SELECT op_id FROM tide.sync('10min')});
	client_catch_up($_, $where, $op_id) for @clients;
	my @wrong = grep { "@{[ state_rows($_->{state}, 'public.items') ]}" ne
		"@{[ query_rows($primary, qq(SELECT * FROM items WHERE team = $_->{team} ORDER BY id)) ]}" } @clients;
	return is(scalar @wrong, 0, $name);
}

sub rounds
{
	my ($n, $pulls, $pushes) = @_;
	for my $round (1 .. $n)
	{
		client_push($clients[ rand @clients ], $pushes);
		client_pull($clients[ rand 3 ], $pulls) for 0 .. 3;
		client_pull($clients[ rand @clients ], $pulls);
	}
	return;
}

$primary->wait_for_catchup($_->name, 'replay', $primary->lsn('insert')) for @standby;
servers_are('pulls', "$address[1] $address[2]", 'pgbouncer gives pulls to both standbys');
is(ask('pushes', 'SELECT inet_server_addr()'), $address[0], 'and pushes to the primary');
# on a busy machine it may take a while until one is late
my $late = 0;
ok(eval {
	for (1 .. 40)
	{
		rounds(30, 'pulls', 'pushes');
		$late += $_->{late} for @clients;
		last if $late;
	}
	1;
}, 'pushes, and pulls from either standby in turn') or diag($@);
cmp_ok($late, '>', 0, 'a standby that was later than the client was asked');

# the writes are waited for, and nothing else is written: all clients are equal
tide_sync($primary);
ok(eval { all_equal('pulls', 'all clients have what the primary has') }, 'all catch up') or diag($@);
is(scalar(grep { !$_->{own} && $_->{pushed} } @clients), 0, 'each saw its own write once it was acknowledged');

# ---- a standby that stands still: clients that come to it wait, those at the other one go on
$standby[1]->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
wait_for_sql($standby[1], q{SELECT pg_get_wal_replay_pause_state() = 'paused'});
$late = 0;
ok(eval { rounds(20, 'pulls', 'pushes'); all_equal('pulls', 'one standby stands still'); 1 }, 'clients get on by the other standby') or diag($@);
my $op_id = tide_sync($primary);
$primary->wait_for_catchup('standby1', 'replay', $primary->lsn('insert'));
cmp_ok($standby[1]->safe_psql('postgres', "SELECT tide.wait($op_id, '100ms')"), '<', $op_id, 'tide.wait on the standby that stands still tells how far it is');
my $waiting = IPC::Run::start([ 'psql', '-XAtq', '-d', "host=$address[1] port=$port dbname=postgres user=$user", '-c', "SELECT tide.wait($op_id, '60s')" ],
	'<', \undef, '>', \my $waited, '2>&1');
wait_for_sql($standby[0], q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT tide.wait%' AND pid <> pg_backend_pid())});
client_push($clients[0], 'pushes');
$waiting->finish;
cmp_ok($waited, '>', $op_id, 'tide.wait on a standby ends when the checkpoint comes');
$standby[1]->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');

# ---- libpq alone: a list of hosts
is(ask('libpq_pulls', 'SELECT pg_is_in_recovery()'), 't', 'libpq, prefer-standby');
is(ask('libpq_pushes', 'SELECT inet_server_addr()'), $address[0], 'libpq, read-write');
ok(eval { rounds(5, 'libpq_pulls', 'libpq_pushes'); all_equal('libpq_pulls', 'by libpq'); 1 }, 'pushes and pulls by libpq') or diag($@);

# ---- haproxy, where it is installed
SKIP:
{
	my $haproxy = installed('haproxy') or skip 'no haproxy', 3;
	open my $cfg, '>', "$dir/haproxy.cfg" or die $!;
	print {$cfg} <<"CONF";
defaults
	mode tcp
	timeout connect 1m
	timeout client 1m
	timeout server 1m
	timeout check 1m
listen pulls
	bind 127.0.0.1:$haproxy_port
	balance roundrobin
	option pgsql-check user $user
	default-server inter 200ms fall 2 rise 1
	server standby1 $address[1]:$port check
	server standby2 $address[2]:$port check
	server primary $address[0]:$port check backup
CONF
	close $cfg;
	$conninfo{haproxy} = "host=127.0.0.1 port=$haproxy_port dbname=postgres";
	start_server(sub { eval { ask('haproxy', 'SELECT 1') } }, $haproxy, '-db', '-f', "$dir/haproxy.cfg");
	servers_are('haproxy', "$address[1] $address[2]", 'haproxy gives pulls to both standbys');
	ok(eval { rounds(5, 'haproxy', 'pushes'); all_equal('haproxy', 'by haproxy'); 1 }, 'pulls by haproxy') or diag($@);
}

# ---- a standby dies; then there is none
$standby[0]->stop('immediate');
ok(eval { rounds(5, 'pulls', 'pushes'); all_equal('pulls', 'pgbouncer without a standby that is gone'); 1 }, 'pgbouncer goes on') or diag($@);
ok(eval { all_equal('libpq_pulls', 'libpq without a standby that is gone'); 1 }, 'libpq goes on') or diag($@);
$standby[1]->stop('immediate');
is(ask('libpq_pulls', 'SELECT inet_server_addr()'), $address[0], 'without standbys libpq asks the primary');
SKIP:
{
	skip 'no haproxy', 1 if !$conninfo{haproxy};
	wait_until('haproxy', sub { (eval { ask('haproxy', 'SELECT inet_server_addr()') } // '') eq $address[0] });
	pass('and so does haproxy');
}
ok(eval { rounds(3, 'libpq_pulls', 'libpq_pushes'); all_equal('libpq_pulls', 'from the primary alone'); 1 }, 'clients go on') or diag($@);

# ---- the check can fail: a cookie that says more than the client has
$clients[0]{state}{cookie}{at}[0][0] += 1000;
ok(!eval { client_pull($clients[0], 'libpq_pulls'); 1 }, 'planted: a cookie from nowhere is noticed');

$primary->stop;
done_testing();
