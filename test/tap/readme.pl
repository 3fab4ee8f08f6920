# README's tour, as a newcomer would paste it: every statement works, and the answers are what it says.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
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

$node->stop;
done_testing();
