# The same pushes from several connections at once, sent again after cancels, and to a standby:
# each mutation takes effect once.
use strict;
use warnings;
use IPC::Run;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('race');
$node->init(allows_streaming => 1, extra => [ '-E', 'UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "wal_level = logical\nshared_preload_libraries = 'pg_tide'\n");
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_tide;
CREATE TABLE counters (id int PRIMARY KEY, hits int NOT NULL DEFAULT 0);
CREATE FUNCTION add() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.hits := OLD.hits + NEW.hits;
	RETURN NEW;
END $$;
CREATE TRIGGER add BEFORE UPDATE ON counters FOR EACH ROW EXECUTE FUNCTION add();
INSERT INTO counters VALUES (1, 0), (2, 0), (3, 0);
SELECT tide.allow_writes('counters');
SQL

# windows of 15 ids that overlap by 5, from four connections in the same order
my ($windows, $connections) = (20, 4);
my $script = '';
for my $w (0 .. $windows - 1)
{
	my $first = $w * 10 > 5 ? $w * 10 - 4 : 1;
	$script .= request('0ace0000-0000-4000-8000-000000000001', $first, $w * 10 + 10);
}
my @runs;
for (1 .. $connections)
{
	# IPC::Run consumes its input: one copy for each
	my ($in, $out, $err) = ($script, '', '');
	push @runs, { out => \$out, err => \$err, run => IPC::Run::start(
		[ 'psql', '-X', '-q', '-At', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ],
		'<', \$in, '>', \$out, '2>', \$err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default)) };
}
for my $n (0 .. $#runs)
{
	$runs[$n]->{run}->finish;
	is(${ $runs[$n]->{err} }, '', "connection $n: no errors");
	my @applied = ${ $runs[$n]->{out} } =~ /"status":"applied"/g;
	is(scalar(@applied), 10 + ($windows - 1) * 15, "connection $n: every mutation answered");
}
is($node->safe_psql('postgres', 'SELECT sum(hits) FROM counters'), $windows * 10, 'each took effect once');
is($node->safe_psql('postgres', 'SELECT last_mutation_id FROM tide.clients'), $windows * 10, 'all are taken');

# a timeout in the middle of a push undoes all of it
my $slow = 'CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS '
  . '$$ BEGIN PERFORM pg_sleep(CASE WHEN NEW.id = 3 THEN 60 ELSE 0 END); RETURN NEW; END $$;'
  . 'CREATE TRIGGER slow BEFORE UPDATE ON counters FOR EACH ROW EXECUTE FUNCTION slow();';
$node->safe_psql('postgres', $slow);
my $push = request('0ace0000-0000-4000-8000-000000000002', 1, 9);
my ($code, $out, $err) = $node->psql('postgres', "SET statement_timeout = '200ms';\n$push");
isnt($code, 0, 'a statement timeout fails the push');
like($err, qr/statement timeout/, 'and says so');
is($node->safe_psql('postgres', 'SELECT sum(hits) FROM counters'), $windows * 10, 'nothing has happened');
$node->safe_psql('postgres', 'DROP TRIGGER slow ON counters');
like($node->safe_psql('postgres', $push), qr/"last_mutation_id":9,/, 'sent again, it is taken');
is($node->safe_psql('postgres', 'SELECT sum(hits) FROM counters'), $windows * 10 + 9, 'once');

# a lock somebody else holds for too long is not the mutation's fault
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE counters IN SHARE MODE');
my $next = request('0ace0000-0000-4000-8000-000000000002', 10, 10);
($code, $out, $err) = $node->psql('postgres', "SET lock_timeout = '200ms';\n$next");
isnt($code, 0, 'lock timeout fails the push');
like($err, qr/lock timeout/, 'and says so');
$holder->query_safe('ROLLBACK');
$holder->quit;
like($node->safe_psql('postgres', $next), qr/"id":10,"status":"applied"/, 'sent again, it is applied');

# a hot standby refuses, with the code of any write
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
($code, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\n"
	. request('0ace0000-0000-4000-8000-000000000002', 11, 11));
like($err, qr/25006/, 'a standby refuses pushes');
($code, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\n"
	. q{SELECT tide.push('{"client": "x", "claims": {}, "mutations": []}')});
like($err, qr/22023.*"client"/, 'after it has looked at claims and form');

$standby->stop;
$node->stop;
done_testing();

# a statement that pushes mutations first .. last, each adding one to some counter
sub request
{
	my ($client, $first, $last) = @_;
	my @mutations = map { { id => $_, op => 'update', table => 'counters',
		key => { id => 1 + $_ % 3 }, values => { hits => 1 } } } $first .. $last;
	my $json = JSON::PP::encode_json({ client => $client, mutations => \@mutations });
	return "SELECT tide.push(\$json\$$json\$json\$);\n";
}
