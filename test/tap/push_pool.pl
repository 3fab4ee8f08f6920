# 1,000 clients push at once through pgbouncer in transaction mode: each push may come to another backend, so
# nothing of a client may be in the session. Backends are terminated after a push's commit and before it; pushes of 10,000
# mutations; what is sent again takes effect once.
use strict;
use warnings;
use IPC::Run ();
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use TideCluster;
use TideSession;

my $clients = $ENV{TIDE_PUSH_CLIENTS} // 1000;
my $pushes  = 6;
my $pool    = 20;
my $seed    = $ENV{TIDE_SEED} // int(rand(2**31));
srand $seed;
note "seed $seed";

# connections of clients are files of pgbench and of pgbouncer
my $files = `bash -c 'ulimit -Hn'`;
chomp $files;
$clients = $files - 200 if $files ne 'unlimited' && $files < $clients + 200;

my $node = tide_new('pool', conf => "log_min_messages = warning\n");
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE counters (id int PRIMARY KEY, hits int NOT NULL);
CREATE TABLE items (id bigint PRIMARY KEY, client int NOT NULL, body text, told text);
CREATE FUNCTION note_claims() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.told := current_setting('request.jwt.claims', true);
	RETURN NEW;
END $$;
CREATE TRIGGER note_claims BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION note_claims();
CREATE FUNCTION add() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.hits := OLD.hits + NEW.hits;
	RETURN NEW;
END $$;
CREATE TRIGGER add BEFORE UPDATE ON counters FOR EACH ROW EXECUTE FUNCTION add();
INSERT INTO counters SELECT generate_series(0, 99), 0;
CREATE ROLE app LOGIN;
GRANT SELECT, INSERT, UPDATE ON counters, items TO app;
SELECT tide.allow_writes('counters'), tide.allow_writes('items'), tide.create_shape('counters', '{"table": "counters"}');
SELECT tide.trust_role('app');
SQL

my $folder = PostgreSQL::Test::Utils::tempdir_short();
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $bouncer = start_pgbouncer();

# each of pgbench's clients is a client with ids of its own; half of all pushes come twice, the second
# time with another backend
append_to_file("$folder/push.sql", <<'SQL');
\set n :n + 1
\set first :n * 2 - 1
\set counter random(0, 99)
SELECT tide.push(jsonb_build_object('client', format('c0000000-0000-4000-8000-%s', lpad(:client_id::text, 12, '0')),
  'mutations', jsonb_build_array(
    jsonb_build_object('id', :first, 'op', 'update', 'table', 'counters', 'key', jsonb_build_object('id', :counter), 'values', '{"hits": 1}'::jsonb),
    jsonb_build_object('id', :first + 1, 'op', 'insert', 'table', 'items', 'key', jsonb_build_object('id', :client_id * 1000 + :n),
      'values', jsonb_build_object('client', :client_id, 'body', 'item'))))) AS answer;
\if :n % 2 = 0
SELECT tide.push(jsonb_build_object('client', format('c0000000-0000-4000-8000-%s', lpad(:client_id::text, 12, '0')),
  'mutations', jsonb_build_array(
    jsonb_build_object('id', :first, 'op', 'update', 'table', 'counters', 'key', jsonb_build_object('id', :counter), 'values', '{"hits": 1}'::jsonb),
    jsonb_build_object('id', :first + 1, 'op', 'insert', 'table', 'items', 'key', jsonb_build_object('id', :client_id * 1000 + :n),
      'values', jsonb_build_object('client', :client_id, 'body', 'item'))))) AS again;
\endif
SQL
my $started = time;
my ($out, $err) = run_command([ 'bash', '-c', 'ulimit -n $(ulimit -Hn); exec "$@"', '-', 'pgbench', '-n', '-M', 'simple', '-h', $folder, '-p', $port,
	'-U', 'app', '-c', $clients, '-j', 2, '-t', $pushes, '-D', 'n=0', '-f', "$folder/push.sql", 'postgres' ]);
like($out, qr{transactions actually processed: (\d+)/\1\n}, "$clients clients pushed $pushes times each") or diag $err;
note sprintf '%.1f s', time - $started;
is(one('SELECT sum(hits) FROM counters'), $clients * $pushes, 'each update took effect once');
is(one('SELECT count(*), count(DISTINCT id), count(DISTINCT client) FROM items'),
	join('|', $clients * $pushes, $clients * $pushes, $clients), 'each insert, too');
is(one('SELECT count(*), min(last_mutation_id), max(last_mutation_id) FROM tide.clients'),
	join('|', $clients, $pushes * 2, $pushes * 2), 'of every client all is taken');
is(one("SELECT count(*) FROM tide.mutation_log WHERE status <> 'applied'"), 0, 'and nothing rejected');
cmp_ok(one("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"), '<=', $pool, "by $pool connections");
$started = time;
tide_sync($node);
note sprintf 'ingested after %.1f s', time - $started;
my $session = TideSession->new($node, user => 'app');
my $state = pull_all($node, { client => 'c0000000-0000-4000-8000-000000000007', shapes => { counters => [ {} ] } }, session => $session);
is($state->{last_mutation_id}, $pushes * 2, 'and a pull says so');
$session->quit;

# claims of one push are not there in the next, which has none
my $expected = one('SELECT count(*) FROM items');
for my $i (1 .. 2 * $pool)
{
	my $claims = $i % 2 ? qq(, "claims": {"sub": "user $i"}) : '';
	pooled(push_sql(sprintf('c1000000-0000-4000-8000-%012d', $i), 1, { op => 'insert', table => 'items', key => { id => 9_000_000 + $i }, values => { client => -$i } }, $claims));
}
is(one('SELECT count(*) FROM items WHERE client < 0 AND client % 2 <> 0 AND told::jsonb ->> \'sub\' = \'user \' || -client'), $pool, 'a push shows its claims');
is(one("SELECT count(*) FROM items WHERE client < 0 AND client % 2 = 0 AND coalesce(told, '') = ''"), $pool, 'the next push does not');

# the answer lost after the commit, or the push undone before it; sent again until answered
my ($lost, $undone, $id) = (0, 0, 0);
my $before = one('SELECT sum(hits) FROM counters');
for my $round (1 .. 30)
{
	my @mutations = map { { op => 'update', table => 'counters', key => { id => int(rand(100)) }, values => { hits => 1 } } } 1 .. 10;
	my $push = push_sql('c2000000-0000-4000-8000-000000000001', $id + 1, @mutations);
	my $end = 'SELECT pg_terminate_backend(pg_backend_pid())';

	if ($round % 2) { my ($code) = pooled("BEGIN; $push COMMIT; $end"); $lost += $code != 0; }
	else            { my ($code) = pooled("BEGIN; $push $end; COMMIT"); $undone += $code != 0; }
	is(one("SELECT coalesce(max(last_mutation_id), 0) FROM tide.clients WHERE client_id = 'c2000000-0000-4000-8000-000000000001'"),
		$round % 2 ? $id + 10 : $id, "round $round: " . ($round % 2 ? 'taken, the answer lost' : 'undone'));
	my ($code, $answer) = pooled($push);
	$id += 10;
	like($answer, qr/^\{"last_mutation_id":$id,/, "round $round: answered");
}
is("$lost $undone", '15 15', 'backends were terminated');
is(one('SELECT sum(hits) FROM counters') - $before, 300, 'each took effect once');

# 10,000 mutations in one push, and again; one more is refused
my @many = map { { op => 'insert', table => 'items', key => { id => 20_000_000 + $_ }, values => { client => 1, body => "body of $_" } } } 1 .. 10_000;
my $push = push_sql('c3000000-0000-4000-8000-000000000001', 1, @many);
$started = time;
my ($code, $first) = pooled($push);
note sprintf '10,000 mutations: %.1f s', time - $started;
is($code, 0, '10,000 mutations in one push');
$started = time;
($code, my $second) = pooled($push);
note sprintf 'again: %.1f s', time - $started;
ok($first eq $second, 'sent again, it has the same answer');
is(one('SELECT count(*) FROM items WHERE id > 20000000'), 10_000, 'and no other effect');
(undef, undef, $err) = pooled("\\set VERBOSITY verbose\n" . push_sql('c3000000-0000-4000-8000-000000000001', 10_001, @many, $many[0]));
like($err, qr/54000/, '10,001 are refused');
is(one("SELECT last_mutation_id FROM tide.clients WHERE client_id = 'c3000000-0000-4000-8000-000000000001'"), 10_000, 'and nothing of them taken');

kill 'INT', $bouncer;
waitpid $bouncer, 0;
$node->stop;
done_testing();

sub one { return $node->safe_psql('postgres', $_[0]); }

# by pgbouncer: exit code, output, errors
sub pooled
{
	my ($sql) = @_;
	my ($stdout, $stderr);
	my @command = ('psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-h', $folder, '-p', $port, '-U', 'app', '-d', 'postgres');

	# one message for all of it, unless it is a script or long
	my $code = $sql =~ /^\\/ || length $sql > 100_000 ? IPC::Run::run([@command], '<', \$sql, '>', \$stdout, '2>', \$stderr)
	  : IPC::Run::run([ @command, '-c', $sql ], '<', \undef, '>', \$stdout, '2>', \$stderr);
	return ($code ? 0 : 1, $stdout, $stderr);
}

# a statement that pushes mutations from id $first on; a last string is further fields
sub push_sql
{
	my ($client, $first, @mutations) = @_;
	my $more = ref $mutations[-1] ? '' : pop @mutations;
	my @list = map { { %{ $mutations[$_] }, id => $first + $_ } } 0 .. $#mutations;
	return 'SELECT tide.push(' . sql_text(qq({"client": "$client"$more, "mutations": ) . JSON::PP::encode_json(\@list) . '}') . "::jsonb);\n";
}

sub start_pgbouncer
{
	append_to_file("$folder/users", qq("app" ""\n));
	append_to_file("$folder/pgbouncer.ini", <<"INI");
[databases]
postgres = host=@{[ $node->host ]} port=@{[ $node->port ]} dbname=postgres
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $folder
auth_type = trust
auth_file = $folder/users
pool_mode = transaction
default_pool_size = $pool
max_client_conn = @{[ $clients + 100 ]}
logfile = $folder/pgbouncer.log
INI
	my $pid = fork;
	if (!$pid)
	{
		# Debian puts it where users' PATH does not lead
		exec { 'bash' } 'bash', '-c', 'PATH=$PATH:/usr/sbin; ulimit -n $(ulimit -Hn); exec pgbouncer -q "$0"', "$folder/pgbouncer.ini"
		  or POSIX::_exit(1);
	}
	for (1 .. 200)
	{
		my ($code) = pooled('SELECT 1');
		return $pid if $code == 0;
		Time::HiRes::usleep(50_000);
	}
	die 'pgbouncer did not start: ' . slurp_file("$folder/pgbouncer.log");
}
