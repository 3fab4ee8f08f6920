# The generated client schemas by themselves, on the sqlite3 shell and on PGlite.
use strict;
use warnings;
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('client_schema', start => 0);
$node->safe_psql('postgres', <<'SQL');
CREATE TYPE mood AS ENUM ('ok', 'bad');
CREATE TABLE issues (id uuid PRIMARY KEY, title text, done bool, stars int8, price numeric(30,10), score float8,
	tags text[], meta jsonb, at timestamptz, raw bytea, m mood);
CREATE SCHEMA crm;
CREATE TABLE crm."Odd ""T" (a int, "b c" text, "order" text, "x.y" text, "q""\z" text, n int GENERATED ALWAYS AS (a * 2) STORED,
	PRIMARY KEY ("b c", a));
CREATE TABLE status (id int PRIMARY KEY, rowid text, oid text, _rowid_ text);
CREATE TABLE words ("by" int PRIMARY KEY, "loop" text, "begin" text, "system_user" text, key text, "new" text, tide text);
CREATE TABLE keyed (u uuid, t text, f float8, j jsonb, v text, PRIMARY KEY (u, t, f, j));
SELECT tide.create_shape('keyed', '{"table": "keyed"}');
SELECT tide.create_shape('words', '{"table": "words"}');
SELECT tide.create_shape('state', '{"table": "status"}');
SELECT tide.create_shape('all', '{"table": "issues"}');
SELECT tide.create_shape('few', '{"table": "issues", "columns": ["title", "done"]}');
SELECT tide.create_shape('odd', '{"table": "crm.\"Odd \"\"T\""}');
CREATE FUNCTION mine(current jsonb, base jsonb, new jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT new';
SELECT tide.allow_writes('issues', 'reject'), tide.allow_writes('crm."Odd ""T"'), tide.set_conflict_policy('issues', 'stars', 'counter'),
	tide.set_conflict_policy('issues', 'tags', 'set'), tide.set_conflict_policy('issues', 'meta', 'custom', 'mine(jsonb,jsonb,jsonb)'),
	tide.set_conflict_policy('issues', 'price', 'counter'), tide.set_conflict_policy('crm."Odd ""T"', 'x.y', 'custom', 'mine(jsonb,jsonb,jsonb)');
SQL

my $scratch = PostgreSQL::Test::Utils::tempdir();
for my $dialect (qw(sqlite postgres))
{
	append_to_file("$scratch/$dialect.sql",
		$node->safe_psql('postgres', "SELECT tide.client_schema('{all,few,odd,state,keyed,words}', '$dialect')"));
}
$node->stop;

# each line of the script is a test here
open my $run, '-|', 'node', dirname(__FILE__) . '/schema.mjs', "$scratch/sqlite.sql", "$scratch/postgres.sql", $scratch
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
	else
	{
		diag($line);
	}
}
ok(close($run), 'node ended well');
is(Test::More->builder->current_test, ($planned // 0) + 1, 'all scenarios ran');

done_testing();
