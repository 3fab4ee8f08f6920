# The tracker of examples/ in three browsers, one with two tabs, on and off line and without a server; and
# what the server has of confidential fields.
# TIDE_SCREENSHOTS=folder keeps pictures.
use strict;
use warnings;
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('browser', conf => "log_statement = all\nlog_min_duration_statement = 0\n");
my $tracker = dirname(__FILE__) . '/../../examples/tracker';
$node->safe_psql('postgres', slurp_file("$tracker/schema.sql"));
wait_for_sql($node, q{SELECT count(*) = 0 FROM tide.shapes WHERE state <> 'live'});

local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'postgres';
my $secrets = PostgreSQL::Test::Utils::tempdir() . '/secrets';
open my $run, '-|', 'node', dirname(__FILE__) . '/browser.mjs', PostgreSQL::Test::Utils::tempdir(), $secrets or die "node: $!\n";
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

# passphrases and confidential texts are nowhere in what a server writes down as text
my @secrets = split /\n/, slurp_file($secrets);
is(scalar(@secrets), 6, 'there are secrets');
my ($dump) = run_command([ 'pg_dump', 'postgres' ]);
my $log = slurp_file($node->logfile);
like($dump, qr/Ask for a discount/, 'the dump has what is not confidential');
like($log, qr/Ask for a discount/, 'the log, too');
for my $secret (@secrets)
{
	ok(index($dump, $secret) < 0 && index($log, $secret) < 0, "not in the server's dump and log: $secret");
}

$node->stop;
done_testing();
