# examples/sync and examples/terminal as users would have them: PGlite over SQL, SQLite over
# the HTTP hop, the sqlite3 shell over psql.
use strict;
use warnings;
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('loop');
my $examples = dirname(__FILE__) . '/../../examples';
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE items (id bigint PRIMARY KEY, n bigint, name text CHECK (name <> 'no'));
CREATE TABLE secrets (id int PRIMARY KEY);
CREATE TABLE letters (id int PRIMARY KEY, n bigint, text text);
SELECT tide.create_shape('letters', '{"table": "letters", "encrypted": ["text"]}');
SELECT tide.create_shape('items', '{"table": "items"}');
SELECT tide.create_shape('some', '{"table": "items", "where": "name = params.name"}');
CREATE ROLE hop LOGIN;
GRANT USAGE ON SCHEMA tide TO hop;
GRANT SELECT, INSERT, UPDATE, DELETE ON items, letters TO hop;
SELECT tide.allow_writes('items'), tide.allow_writes('letters');
SQL
wait_for_sql($node, q{SELECT count(*) = 0 FROM tide.shapes WHERE state <> 'live'});

local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'postgres';
my $scratch = PostgreSQL::Test::Utils::tempdir();

# what the connection of a hop may do
for my $forbidden ('SELECT * FROM secrets', 'SELECT * FROM tide.clients', 'SELECT * FROM tide.mutation_log',
	q{SELECT tide.client_schema('{items}', 'sqlite')}, 'SELECT tide.sync()', 'SELECT tide.stop()')
{
	my ($rc, $out, $err) = $node->psql('postgres', $forbidden, extra_params => [ '-U', 'hop' ]);
	like($err, qr/permission denied/, "the hop's role may not: $forbidden");
}

# the loop
open my $run, '-|', 'node', dirname(__FILE__) . '/loop.mjs' or die "node: $!\n";
my $planned;
while (my $line = <$run>)
{
	if ($line =~ /^(not )?ok \d+ - (.*)/) { ok(!$1, $2); }
	elsif ($line =~ /^1\.\.(\d+)/) { $planned = $1; }
	else { diag($line); }
}
ok(close($run), 'node ended well');
ok($planned, 'all of it ran');

# the terminal client
my $db = "$scratch/terminal.db";
my $tide = "$examples/terminal/tide.sh";
cmp_ok(scalar(split /\n/, slurp_file($tide)), '<', 50, 'the terminal client has fewer than 50 lines');
# with a sqlite3 as its user may have set it up in ~/.sqliterc
mkdir "$scratch/bin" or die;
append_to_file("$scratch/sqliterc", ".headers on\n.mode box\n");
chomp(my $sqlite3 = `sh -c 'command -v sqlite3'`);
append_to_file("$scratch/bin/sqlite3", qq(#!/bin/sh\nexec $sqlite3 -init '$scratch/sqliterc' "\$@"\n));
chmod 0755, "$scratch/bin/sqlite3";
my $path = "$scratch/bin:$ENV{PATH}";
{
	local $ENV{PATH} = $path;
	command_ok([ $tide, $db, 'make', 'items', 'some' ], 'make');
}
{
	local $ENV{PGUSER} = 'hop';
	$node->safe_psql('postgres', q{INSERT INTO items VALUES (1000, 9007199254740993, 'it''s "x" \ {}')});
	command_ok([ $tide, $db, 'want', 'some', q({"name": "it's \"x\" \\\\ {}"}) ], 'want');
	{
		local $ENV{PATH} = $path;
		command_like([ $tide, $db, 'sync' ], qr/^synced, 0 writes refused$/, 'sync');
	}
	is(`sqlite3 '$db' 'SELECT id, n FROM items'`, "1000|9007199254740993\n", 'it has the row asked for, every digit');
	system('sqlite3', $db, q{UPDATE items SET n = n + 1; INSERT INTO items VALUES (1001, 1, 'no')}) == 0 or die;
	command_like([ $tide, $db, 'sync' ], qr/^synced, 1 writes refused$/, 'its writes are sent, and one is refused');
	is($node->safe_psql('postgres', 'SELECT n FROM items WHERE id = 1000'), '9007199254740994', 'the other one is there');
	local $ENV{PGPORT} = 1;
	command_fails([ $tide, $db, 'sync' ], 'it fails where there is no server');
}

$node->stop;
done_testing();
