# README's tour, as a newcomer would paste it: every statement works, and the answers are what it says.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Cwd qw(getcwd);
use Test::More;
use TideCluster;

my $readme = slurp_file('README.md');
my ($tour) = $readme =~ /^```sql\n(.*?)^```/ms;
ok(defined $tour, 'README has a tour');

my $node = tide_new('readme', extension => 0);
my ($status, $out, $err) = $node->psql('postgres', $tour, on_error_stop => 1);
is($status, 0, 'every statement of the tour works') or diag($err);
like($out, qr/"row"\s*:\s*\{[^}]*"title"\s*:\s*"paint the boat"/, 'the pull shows the row of the team asked for');
unlike($out, qr/buy rope/, 'and not the other one');
like($out, qr/"status"\s*:\s*"applied"/, 'the push is applied');
is($node->safe_psql('postgres', 'SELECT status FROM issues WHERE id = 1'), 'done', 'and has its effect');

# and the device's part, in a shell as a newcomer has it
my ($device) = $readme =~ /^```bash\n(.*?)^```/ms;
ok(defined $device, 'README has a tour of a device');
local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'postgres';
my $top = getcwd();
my $dir = PostgreSQL::Test::Utils::tempdir();
symlink("$top/examples", "$dir/examples") or die $!;
my ($shown, $said) = ('', '');
ok(IPC::Run::run([ 'bash', '-e', '-o', 'pipefail', '-c', $device ], '<', \'', '>', \$shown, '2>', \$said, init => sub { chdir $dir or die $! }),
	'every command of it works') or diag($said);
like($shown, qr/^2\|buy rope\|open$/m, 'the device has the row of its team');
unlike($shown, qr/paint the boat/, 'and not the other one');
like($shown, qr/^1\|done\n2\|done$/m, 'what it wrote off line is in the database');
chdir $top;

$node->stop;
done_testing();
