# The tracker of examples/ in two browsers, one with two tabs, on and off line.
# TIDE_SCREENSHOTS=folder keeps pictures.
use strict;
use warnings;
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('browser');
my $tracker = dirname(__FILE__) . '/../../examples/tracker';
$node->safe_psql('postgres', slurp_file("$tracker/schema.sql"));
wait_for_sql($node, q{SELECT count(*) = 0 FROM tide.shapes WHERE state <> 'live'});

local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'postgres';
open my $run, '-|', 'node', dirname(__FILE__) . '/browser.mjs', PostgreSQL::Test::Utils::tempdir() or die "node: $!\n";
my $planned;
while (my $line = <$run>)
{
	if ($line =~ /^(not )?ok \d+ - (.*)/) { ok(!$1, $2); }
	elsif ($line =~ /^1\.\.(\d+)/) { $planned = $1; }
	elsif ($line =~ /^# seconds/) { note($line); }
	else { diag($line); }
}
ok(close($run), 'node ended well');
ok($planned, 'all of it ran');
is($node->safe_psql('postgres', q{SELECT last_error FROM tide.status}), '', 'no error in the worker');
is($node->safe_psql('postgres', q{SELECT count(*) FROM tide.verify('board')}), '0', 'the change log is what the tables are');

$node->stop;
done_testing();
