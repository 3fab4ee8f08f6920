# A backend killed at a random moment of a push, and the whole push sent again:
# each mutation has taken effect exactly once, and the log says so.
use strict;
use warnings;
use IPC::Run;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = $ENV{TIDE_PUSH_ROUNDS} // 20;
my $seed   = $ENV{TIDE_SEED}        // time;
my $size   = 40;
srand($seed);
note("seed $seed");

my $node = PostgreSQL::Test::Cluster->new('push');
$node->init(extra => [ '-E', 'UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', <<'CONF');
wal_level = logical
shared_preload_libraries = 'pg_tide'
restart_after_crash = on
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_tide;
CREATE TABLE counters (id int PRIMARY KEY, hits int NOT NULL DEFAULT 0 CHECK (hits < 1000));
CREATE TABLE effects (id serial PRIMARY KEY, counter int, hits int);
-- effects are counted by addition: one twice or lost shows
CREATE FUNCTION hit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'UPDATE' THEN
		NEW.hits := OLD.hits + NEW.hits;
	END IF;
	INSERT INTO effects (counter, hits) VALUES (NEW.id, NEW.hits);
	PERFORM pg_sleep(0.0005);
	RETURN NEW;
END $$;
CREATE TRIGGER hit BEFORE INSERT OR UPDATE ON counters FOR EACH ROW EXECUTE FUNCTION hit();
SELECT tide.allow_writes('counters');
INSERT INTO counters SELECT g, 0 FROM generate_series(1, 5) g;
TRUNCATE effects;
SQL

my $client = '5a5a5a5a-0000-4000-8000-000000000001';
my %expected = map { $_ => 0 } 1 .. 5;
my %status;
my ($next, $killed, $before, $after) = (1, 0, 0, 0);

for my $round (1 .. $rounds)
{
	# every seventh mutation violates the check and must leave no trace
	my @mutations;
	for (1 .. $size)
	{
		my $counter = 1 + int(rand(5));
		my $bad = $next % 7 == 0;
		push @mutations, { id => $next, op => 'update', table => 'counters',
			key => { id => $counter }, values => { hits => $bad ? 100000 : 1 } };
		$expected{$counter}++ unless $bad;
		$status{$next} = $bad ? 'rejected' : 'applied';
		$next++;
	}
	my $request = JSON::PP::encode_json({ client => $client, mutations => \@mutations });

	push_and_kill($request);
	wait_until_up();
	my $taken = $node->safe_psql('postgres',
		"SELECT coalesce(max(last_mutation_id), 0) FROM tide.clients WHERE client_id = '$client'");
	if ($taken == $next - 1) { $after++ } else { $before++ }
	is($taken == $next - 1 || $taken == $next - 1 - $size, 1, "round $round: all or nothing was taken");

	my $answer = JSON::PP::decode_json($node->safe_psql('postgres', "SELECT tide.push(\$json\$$request\$json\$)"));
	is($answer->{last_mutation_id}, $next - 1, "round $round: sent again, all taken");
	is_deeply([ map { "$_->{id} $_->{status}" } @{ $answer->{results} } ],
		[ map { "$_->{id} $status{$_->{id}}" } @mutations ], "round $round: answers");
	is($node->safe_psql('postgres', 'SELECT id, hits FROM counters ORDER BY id'),
		join("\n", map { "$_|$expected{$_}" } sort keys %expected), "round $round: each took effect once");
}

is($node->safe_psql('postgres', 'SELECT counter, max(hits), count(*) FROM effects GROUP BY 1 ORDER BY 1'),
	join("\n", map { "$_|$expected{$_}|$expected{$_}" } sort keys %expected), 'what triggers did, too');
is($node->safe_psql('postgres', 'SELECT count(*), min(mutation_id), max(mutation_id) FROM tide.mutation_log'),
	join('|', $next - 1, 1, $next - 1), 'every mutation is in the log once');
note("$killed of $rounds backends killed; $before pushes undone, $after kept");
ok($killed > 0, 'backends were killed');

$node->stop;
done_testing();

# start a push in a session of its own, and kill -9 that session's backend soon after
sub push_and_kill
{
	my ($request) = @_;
	my ($in, $out, $err) = ('', '', '');
	my $session = IPC::Run::start(
		[ 'psql', '-X', '-q', '-At', '-d', $node->connstr('postgres') ],
		'<', \$in, '>', \$out, '2>', \$err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));

	$in = "SELECT pg_backend_pid();\n";
	$session->pump until $out =~ /^(\d+)\n/;
	my $pid = $1;
	$in .= "SELECT 'start';\nSELECT tide.push(\$json\$$request\$json\$);\nSELECT 'end';\n";
	$session->pump until $out =~ /start/;

	# a push of this size takes some 100 ms; some kills come after its commit
	usleep(int(rand(200_000)));
	$killed += kill('KILL', $pid);
	eval { $session->pump while $session->pumpable && $err !~ /connection/ && $out !~ /end/; };
	$session->kill_kill;
	return;
}

# kill -9 of a backend restarts the server's other processes
sub wait_until_up
{
	for (1 .. 600)
	{
		my ($code) = $node->psql('postgres', 'SELECT 1');
		return if $code == 0;
		usleep(50_000);
	}
	die 'server did not come back';
}
