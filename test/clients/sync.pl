# Random work of three real clients and the server ends in the same state everywhere.
# TIDE_SEED and TIDE_ROUNDS repeat or lengthen a run.
use strict;
use warnings;
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('sync');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE items (id int PRIMARY KEY, grp int, title text, n int CHECK (n <> 13), price numeric(20,2), flag bool);
CREATE TABLE notes (a text, b int, body text CHECK (body <> 'null'), PRIMARY KEY (a, b));
CREATE TABLE votes (id int PRIMARY KEY, n int NOT NULL, tags text[], note text CHECK (note <> 'too soon'));
INSERT INTO votes VALUES (1, 10, '{x,y}', 'a'), (2, 10, '{x,y}', 'a');
SELECT tide.create_shape('items', '{"table": "items", "where": "grp = params.grp"}');
SELECT tide.create_shape('few', '{"table": "items", "where": "grp = params.grp", "columns": ["title"]}');
SELECT tide.create_shape('notes', '{"table": "notes"}');
SELECT tide.create_shape('votes', '{"table": "votes"}');
CREATE ROLE app LOGIN;
GRANT SELECT, INSERT, UPDATE, DELETE ON items, notes, votes TO app;
SELECT tide.allow_writes('items'), tide.allow_writes('notes'), tide.allow_writes('votes', 'reject');
-- every policy that a client need not be written for
SELECT tide.set_conflict_policy('items', 'title', 'keep'), tide.set_conflict_policy('items', 'n', 'counter'),
	tide.set_conflict_policy('items', 'price', 'reject'), tide.set_conflict_policy('items', 'flag', 'hlc'),
	tide.set_conflict_policy('notes', 'body', 'vclock'), tide.set_conflict_policy('votes', 'n', 'counter'), tide.set_conflict_policy('votes', 'tags', 'set');
SQL
wait_for_sql($node, q{SELECT count(*) = 0 FROM tide.shapes WHERE state <> 'live'});

local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'postgres';
my $seed = $ENV{TIDE_SEED} // time;
open my $run, '-|', 'node', dirname(__FILE__) . '/sync.mjs', PostgreSQL::Test::Utils::tempdir(), $seed, $ENV{TIDE_ROUNDS} // 400
  or die "node: $!\n";
my $planned;
while (my $line = <$run>)
{
	if ($line =~ /^(not )?ok \d+ - (.*)/)
	{
		ok(!$1, $2);
	}
	elsif ($line =~ /^1\.\.(\d+)/)
	{
		$planned = $1;
	}
	elsif ($line =~ /^# seed|^# \d+ rows/)
	{
		note($line);
	}
	else
	{
		diag($line);
	}
}
ok(close($run), "node ended well (seed $seed)");
is(Test::More->builder->current_test, ($planned // 0) + 1, 'all stops reached');
is($node->safe_psql('postgres', q{SELECT last_error FROM tide.status}), '', 'no error in the worker');

$node->stop;
done_testing();
