# kill -9 at random moments of the worker, of a backend, of the server: nothing that was
# committed is lost, nothing is there twice, and a push takes effect exactly once.
#
#   TIDE_SEED           repeats the choices of a run (not the moments)
#   TIDE_CRASH_ROUNDS   how many crashes (100)
use strict;
use warnings;
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use TideCheck;
use TideCluster;

my $rounds = $ENV{TIDE_CRASH_ROUNDS} || 100;
my $seed = $ENV{TIDE_SEED} || int(rand(2**31));
my $check_every = 5;
my @clients = (1, 2);
srand $seed;
note "seed $seed";
diag "crash.pl: $rounds rounds, TIDE_SEED=$seed";

my $node = tide_new('crash', start => 0, conf => "log_min_messages = warning\nmax_wal_size = 4GB\n");
install_check($node);
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE accounts (id int PRIMARY KEY, part int NOT NULL, n int, v text);
CREATE TABLE docs (id uuid PRIMARY KEY, part int, body text);
ALTER TABLE docs REPLICA IDENTITY FULL;
INSERT INTO accounts SELECT i, i % 7, i, repeat('x', i) FROM generate_series(1, 300) i;
CREATE TABLE counters (id int PRIMARY KEY, n bigint);
INSERT INTO counters VALUES (1, 0), (2, 0);
CREATE TABLE pushed (id bigint PRIMARY KEY, v text);
CREATE TABLE applied (client int, n bigint);
CREATE FUNCTION applied() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO applied VALUES (NEW.id, NEW.n); RETURN NULL; END $$;
CREATE TRIGGER applied AFTER UPDATE ON counters FOR EACH ROW EXECUTE FUNCTION applied();
SELECT tide.allow_writes('counters'), tide.allow_writes('pushed');
SELECT tide.create_shape('all', '{"table": "accounts"}'),
	tide.create_shape('part', '{"table": "accounts", "where": "part = params.part"}'),
	tide.create_shape('third', '{"table": "accounts", "where": "n % 3 = 0", "columns": ["n"]}'),
	tide.create_shape('docs', '{"table": "docs", "where": "part = params.part"}'),
	tide.create_shape('counters', '{"table": "counters"}'),
	tide.create_shape('pushed', '{"table": "pushed"}');
SQL
$node->safe_psql('postgres', 'SELECT tide.start()');

my $dir = PostgreSQL::Test::Utils::tempdir();
my $connstr = $node->connstr('postgres');
my %pusher = map { $_ => start_pusher($_) } @clients;
my $main = $$;

# whatever happens, leave no process behind
END { kill KILL => values %pusher if defined $main && $main == $$; }

# a client that goes on pulling through it all
my $request = { client => client_id(9), claims => {}, shapes => {
		all => [ {} ], third => [ {} ], docs => [ { part => 0 }, { part => 2 } ], counters => [ {} ], pushed => [ {} ] } };
my $state = new_state();
my %shape_query = (
	all => 'SELECT * FROM accounts',
	third => 'SELECT id, n FROM accounts WHERE n % 3 = 0',
	docs => 'SELECT * FROM docs WHERE part IN (0, 2)',
	counters => 'SELECT * FROM counters',
	pushed => 'SELECT * FROM pushed');

my %done;
my $began = time;
for my $round (1 .. $rounds)
{
	# the second half loses what was committed asynchronously: no acknowledged push is
	if ($round == int($rounds / 2))
	{
		ask('ALTER SYSTEM SET synchronous_commit = off');
		ask('SELECT pg_reload_conf()');
	}
	my @writers = map { start_writer() } 1 .. 4;
	shapes_come_and_go() if rand() < 0.15;
	usleep(int(rand(450_000)));
	# one page of what the server may be about to forget, if it may
	eval { pull_page($node, $request, $state, limit => 1 + int(rand 3000)) } if rand() < 0.6;
	$done{ crash() }++;
	waitpid $_, 0 for @writers;
	next if $round % $check_every && $round < $rounds;
	my $problems = problems();
	is($problems, '', "after round $round");
	last if $problems ne '';
}
note sprintf '%d rounds in %.0f s: %s', $rounds, time - $began, join ', ', map { "$done{$_} $_" } sort keys %done;

# let the pushers come to an end, then account for every push
append_to_file("$dir/stop", 'stop');
for my $client (@clients)
{
	waitpid $pusher{$client}, 0;
	is($?, 0, "client $client got an answer to every push") or diag slurp_file("$dir/pusher$client");
	my ($last) = slurp_file("$dir/pusher$client") =~ /^last (\d+)$/m;
	cmp_ok($last // 0, '>', $rounds / 4, 'and pushed a good deal: ' . ($last // 0));
	is($node->safe_psql('postgres', "SELECT last_mutation_id FROM tide_internal.clients WHERE client_id = '" . client_id($client) . "'"),
		$last, 'the server has them all');
	is($node->safe_psql('postgres', <<"SQL"), '', 'each exactly once');
SELECT n, count(a.n) FROM generate_series(1, $last) n LEFT JOIN applied a USING (n)
 WHERE n % 3 <> 0 AND coalesce(a.client, $client) = $client GROUP BY n HAVING count(a.n) <> 1
UNION ALL SELECT n, 0 FROM generate_series(1, $last) n
 WHERE n % 3 = 0 AND NOT EXISTS (SELECT FROM pushed WHERE id = $client * 1000000 + n)
UNION ALL SELECT n, -1 FROM applied WHERE client = $client AND n NOT BETWEEN 1 AND $last
SQL
}
is(problems(), '', 'after all of it');
is($node->safe_psql('postgres', 'SELECT * FROM tide_internal.acks EXCEPT SELECT client_id, last_mutation_id FROM tide_internal.clients'),
	'', 'write checkpoints are those of the pushes');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM tide_internal.acks'), '==', @clients, 'one for each client');
$node->stop('fast');
done_testing();

# ---- the workload

sub value
{
	my $kind = rand();
	return 'NULL' if $kind < 0.1;
	return sprintf q{(SELECT string_agg(md5(i::text), '') FROM generate_series(%d, %d) i)}, $_, $_ + 150 + rand 400
	  for grep { $kind < 0.2 } int(rand 1000);
	return "'" . ('v' . int(rand 100)) x (1 + rand 20) . "'";
}

sub statement
{
	my $id = 1 + int(rand 400);
	my $kind = rand();
	return "INSERT INTO accounts VALUES ($id, $id % 7, " . int(rand 100) . ', ' . value() . ') ON CONFLICT (id) DO UPDATE SET n = excluded.n, v = excluded.v'
	  if $kind < 0.25;
	return "UPDATE accounts SET n = n + 1 WHERE id = $id" if $kind < 0.45;
	return "UPDATE accounts SET part = " . int(rand 7) . ", v = " . value() . " WHERE id = $id" if $kind < 0.55;
	return "UPDATE accounts SET n = n + 1 WHERE id BETWEEN $id AND $id + 40" if $kind < 0.6;
	return "DELETE FROM accounts WHERE id = $id" if $kind < 0.7;
	return "UPDATE accounts SET id = id + 400 WHERE id = $id AND NOT EXISTS (SELECT FROM accounts WHERE id = $id + 400)" if $kind < 0.75;
	return "DELETE FROM accounts WHERE id > 400" if $kind < 0.77;
	return "INSERT INTO docs SELECT gen_random_uuid(), " . int(rand 4) . ", " . value() . " FROM generate_series(1, " . int(1 + rand 5) . ")" if $kind < 0.87;
	return "UPDATE docs SET part = (part + 1) % 4 WHERE id = (SELECT id FROM docs ORDER BY random() LIMIT 1)" if $kind < 0.95;
	return "DELETE FROM docs WHERE id IN (SELECT id FROM docs ORDER BY id LIMIT 5)" if $kind < 0.998;
	return 'TRUNCATE docs';
}

sub start_writer
{
	my $sql = '';
	for (1 .. 400)
	{
		my $n = rand() < 0.5 ? 1 : 1 + int(rand 6);
		my @statements = map { statement() . ";\n" } 1 .. $n;
		@statements = map { rand() < 0.2 ? "SAVEPOINT s;\n$_" . (rand() < 0.5 ? "ROLLBACK TO s;\n" : '') : $_ } @statements if $n > 1;
		$sql .= $n == 1 ? $statements[0] : "BEGIN;\n@statements" . (rand() < 0.15 ? "ROLLBACK;\n" : "COMMIT;\n");
	}
	my $file = "$dir/writer" . int(rand 1e9);
	append_to_file($file, $sql);
	my $pid = fork // die "could not fork: $!";
	return $pid if $pid;
	open STDIN, '<', $file or die;
	open STDOUT, '>', '/dev/null' or die;
	open STDERR, '>&', \*STDOUT or die;
	unlink $file;
	exec 'psql', '-Xq', '-d', $connstr or POSIX::_exit(1);
}

my $extra;

sub shapes_come_and_go
{
	my $sql = !defined $extra ? q{SELECT tide.create_shape('extra', '{"table": "accounts", "where": "part = params.p AND n > 10"}')}
	  : rand() < 0.5 ? q{SELECT tide.replace_shape('extra', '{"table": "docs", "where": "part < 3"}')}
	  : q{SELECT tide.drop_shape('extra')};
	eval { $node->psql('postgres', $sql) };
	$extra = ask(q{SELECT 1 FROM tide.shapes WHERE name = 'extra'}) eq '1' ? 1 : undef;
	return;
}

# ---- the crashes

sub crash
{
	my $kind = rand();
	if ($kind < 0.45)
	{
		my $pid = ask("SELECT pid FROM pg_stat_activity WHERE backend_type LIKE '%tide%' LIMIT 1");
		if ($pid ne '')
		{
			kill KILL => $pid;
			return 'kills of the worker';
		}
	}
	if ($kind < 0.7)
	{
		my $pid = ask("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
			  . ' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1');
		if ($pid ne '')
		{
			kill KILL => $pid;
			return 'kills of a backend';
		}
	}
	if ($kind < 0.8)
	{
		eval { $node->psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE '%tide%'") };
		return 'terminations of the worker';
	}
	$node->stop('immediate');
	restart_after_crash($node);
	return 'immediate stops';
}

# a query's answer, asked again while the server is down or going down
sub ask
{
	my ($sql) = @_;
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;
	while (1)
	{
		# a psql that cannot connect may be gone before it is given its input
		my ($status, $out, $err) = eval { $node->psql('postgres', $sql, on_error_die => 0) };
		($status, $err) = (2, "FATAL: $@") if $@ =~ /Broken pipe/;
		die $@ if $@ && !defined $err;
		return $out if $status == 0;
		die "$err in: $sql" if $err !~ /FATAL|could not connect|connection to server|server closed|terminating connection/ || time > $until;
		usleep(20_000);
	}
}

# the log, against the source and against itself; pushes go on, so their tables are compared
# with the source only by a snapshot in which nothing is under way
sub problems
{
	my $problems = '';
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;

	kill STOP => values %pusher if !-e "$dir/stop";
	usleep(1000) until ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
		  . " AND pid <> pg_backend_pid() AND state = 'active'") eq '0' || time > $until;
	eval { ask("SELECT tide.sync('10min')"); 1 } or $problems = $@;
	$problems .= store_problems($node) if $problems eq '';
	$problems .= client_problems() if $problems eq '';
	for my $shape (['all'], [ 'part', { part => int(rand 7) } ], ['third'], [ 'docs', { part => int(rand 4) } ], ['counters'], ['pushed'])
	{
		last if $problems ne '';
		$problems .= verify_problems($node, @$shape);
	}
	$problems .= $node->safe_psql('postgres', "SELECT name, state, error FROM tide.shapes WHERE state = 'failed'");
	kill CONT => values %pusher if !-e "$dir/stop";
	diag $node->safe_psql('postgres', 'SELECT * FROM tide.status') if $problems ne '';
	return $problems;
}

# the pulling client has what the shapes' queries give
sub client_problems
{
	my $problems = '';
	eval { pull_all($node, $request, state => $state, limit => 5000); 1 } or return "pull: $@";
	for my $shape (sort keys %shape_query)
	{
		my @have = sort map { $_->{row} } map { values %{ $state->{rows}{$_} // {} } }
		  grep { $state->{buckets}{$_}{shape} eq $shape } keys %{ $state->{buckets} };
		my %have = map { $_ => 1 } @have;
		my %want = map { $_ => 1 } query_rows($node, $shape_query{$shape});
		$problems .= "client has of $shape too much: $_\n" for grep { !$want{$_} } keys %have;
		$problems .= "client lacks of $shape: $_\n" for grep { !$have{$_} } keys %want;
		$problems .= "client has rows of $shape twice\n" if keys %have != @have;
	}
	return substr $problems, 0, 2000;
}

# ---- a client that pushes mutation after mutation, and every push until it is answered

sub client_id { return sprintf '00000000-0000-4000-8000-%012d', $_[0]; }

sub start_pusher
{
	my ($client) = @_;
	my $pid = fork // die "could not fork: $!";
	return $pid if $pid;

	srand $seed + $client;
	my $ok = eval { pusher($client); 1 };
	append_to_file("$dir/pusher$client", $@) if !$ok;
	POSIX::_exit($ok ? 0 : 1);
}

sub mutation
{
	my ($client, $id) = @_;
	return $id % 3
	  ? { id => $id, op => 'update', table => 'counters', key => { id => $client }, values => { n => $id } }
	  : { id => $id, op => 'insert', table => 'pushed', key => { id => $client * 1_000_000 + $id }, values => { v => 'x' x rand 100 } };
}

sub pusher
{
	my ($client) = @_;
	my $last = 0;
	local $ENV{PGOPTIONS} = '-c synchronous_commit=on';

	while (!-e "$dir/stop")
	{
		# sometimes what was answered long ago is sent along
		my $from = rand() < 0.3 ? $last - int(rand 5) : $last + 1;
		$from = 1 if $from < 1;
		my $to = $last + 1 + int(rand 4);
		my $sql = 'SELECT tide.push(' . sql_json({ client => client_id($client), mutations => [ map { mutation($client, $_) } $from .. $to ] }) . ')';
		my $until = time + $PostgreSQL::Test::Utils::timeout_default;
		my $answer;
		while (!defined $answer)
		{
			die "no answer to: $sql" if time > $until;
			# an impatient client: the same push on a second connection
			my $twin = rand() < 0.2 ? open_psql($sql) : undef;
			my $handle = open_psql($sql);
			local $/;
			my $out = readline $handle;
			$answer = $out if close $handle;
			if ($twin)
			{
				readline $twin;
				close $twin;
			}
			usleep(10_000) if !defined $answer;
		}
		my $decoded = JSON::PP::decode_json($answer);
		die "last_mutation_id is not $to: $answer" if $decoded->{last_mutation_id} != $to;
		die "not applied: $answer" if grep { $_->{status} ne 'applied' } @{ $decoded->{results} };
		die "results missing: $answer" if @{ $decoded->{results} } != $to - $from + 1;
		$last = $to;
	}
	append_to_file("$dir/pusher$client", "last $last\n");
	return;
}

sub open_psql
{
	my ($sql) = @_;
	my $pid = open(my $handle, '-|') // die "could not fork: $!";
	return $handle if $pid;
	open STDERR, '>', '/dev/null';
	exec 'psql', '-XAtq', '-d', $connstr, '-c', $sql or POSIX::_exit(1);
}
