# Live queries: PGlite's live extension, and SQLite's update hook, on the generated views.
use strict;
use warnings;
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('live', start => 0);
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE issues (id int PRIMARY KEY, title text);
CREATE TABLE notes (id int PRIMARY KEY, body text);
SELECT tide.create_shape('issues', '{"table": "issues"}');
SELECT tide.create_shape('notes', '{"table": "notes"}');
SQL

my $scratch = PostgreSQL::Test::Utils::tempdir();
for my $dialect (qw(sqlite postgres))
{
	append_to_file("$scratch/$dialect.sql",
		$node->safe_psql('postgres', "SELECT tide.client_schema('{issues,notes}', '$dialect')"));
}
$node->stop;

# each line of the script is a test here
open my $run, '-|', 'node', dirname(__FILE__) . '/live.mjs', "$scratch/sqlite.sql", "$scratch/postgres.sql" or die "node: $!\n";
my $planned;
while (my $line = <$run>)
{
	if ($line =~ /^(not )?ok \d+ - (.*)/) { ok(!$1, $2); }
	elsif ($line =~ /^1\.\.(\d+)/) { $planned = $1; }
	else { diag($line); }
}
ok(close($run), 'node ended well');
is(Test::More->builder->current_test, ($planned // 0) + 1, 'all steps ran');

done_testing();
