# A new client schema over a local database with rows and pending writes, for both dialects.
use strict;
use warnings;
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('upgrade', conf => "fsync = off\n");
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE items (id int PRIMARY KEY, title text, n int, old text);
CREATE TABLE "Gone" (id int PRIMARY KEY, t text);
CREATE TABLE notes (a int, b int, body text, PRIMARY KEY (a, b));
INSERT INTO items SELECT i, 'item ' || i, i, 'old' FROM generate_series(1, 20) AS i;
INSERT INTO "Gone" VALUES (1, 'x');
INSERT INTO notes SELECT i, i, 'note ' || i FROM generate_series(1, 5) AS i;
SELECT tide.create_shape('items', '{"table": "items"}');
SELECT tide.create_shape('gone', '{"table": "\"Gone\""}');
SELECT tide.create_shape('notes', '{"table": "notes"}');
CREATE ROLE app LOGIN;
GRANT SELECT, INSERT, UPDATE, DELETE ON items, notes, "Gone" TO app;
SELECT tide.allow_writes('items'), tide.allow_writes('notes'), tide.allow_writes('"Gone"');
SQL
wait_for_sql($node, q{SELECT count(*) = 0 FROM tide.shapes WHERE state <> 'live'});

local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'postgres';
open my $run, '-|', 'node', dirname(__FILE__) . '/upgrade.mjs', PostgreSQL::Test::Utils::tempdir() or die "node: $!\n";
my $planned;
while (my $line = <$run>)
{
	if ($line =~ /^(not )?ok \d+ - (.*)/) { ok(!$1, $2); }
	elsif ($line =~ /^1\.\.(\d+)/) { $planned = $1; }
	else { diag($line); }
}
ok(close($run), 'node ended well');
is(Test::More->builder->current_test, ($planned // 0) + 1, 'all steps ran');
$node->stop;
done_testing();
