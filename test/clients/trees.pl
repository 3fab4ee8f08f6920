# Real clients and random trees: shapes of all kinds over random tables, random transactions,
# subscriptions that change, local writes. When all is quiet each client has what the shapes' own
# queries give. TIDE_SEED and TIDE_WORLDS repeat or lengthen a run.
# It was seen to find rows that do not move from the synced table to tide_member in PostgreSQL (tide_unload not called).
use strict;
use warnings;
use File::Basename qw(dirname);
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;
use TideShapes;
use TideWorld;

my $json = JSON::PP->new->canonical->allow_nonref->latin1;
my $seed = $ENV{TIDE_SEED} // time;
my $worlds = $ENV{TIDE_WORLDS} // 3;
my $now = 1767225600;
# "now" stands still: what a window shows is a matter of the rows alone
my $node = tide_new('trees', conf => "tide.clock = '2026-01-01 00:00:00+00'\nfsync = off\n");
my $scratch = PostgreSQL::Test::Utils::tempdir();
my $ddl = q{CREATE TABLE keyless (n int, t text); ALTER TABLE keyless REPLICA IDENTITY FULL; INSERT INTO keyless SELECT i % 3, 'x' FROM generate_series(1, 9) AS i;};
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN SUPERUSER');

my @plan;
for my $n (1 .. $worlds)
{
	seed_random($seed * 100 + $n);
	my $world = world_new($n, unit => 'minute', now => $now);
	# statements that meet a constraint are skipped, as in shape_model.pl
	$node->psql('postgres', world_sql($world) . $ddl, on_error_stop => 0);
	push @plan, { schema => $world->{schema}, clients => [], rounds => [], tables => [] };
	make_world($world, $plan[-1]);
}
append_to_file("$scratch/plan.json", $json->encode(\@plan));

local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'postgres';
local $ENV{PGOPTIONS} = '-c timezone=UTC';
diag "trees.pl: TIDE_SEED=$seed";
open my $run, '-|', 'node', dirname(__FILE__) . '/trees.mjs', $scratch or die "node: $!\n";
my $planned;
while (my $line = <$run>)
{
	if ($line =~ /^(not )?ok \d+ - (.*)/) { ok(!$1, $2); }
	elsif ($line =~ /^1\.\.(\d+)/) { $planned = $1; }
	elsif ($line =~ /^# \d+ rows/) { note($line); }
	else { diag($line); }
}
ok(close($run), 'node ended well');
is(Test::More->builder->current_test, ($planned // 0) + 1, 'all rounds ran');
is($node->safe_psql('postgres', q{SELECT last_error FROM tide.status}), '', 'no error in the worker');
$node->stop;
done_testing();

# shapes, client schemas, and what the clients and the server shall do
sub make_world
{
	my ($world, $plan) = @_;
	my $schema = $world->{schema};
	my @shapes = grep { defined } map { make_shape($world, "${schema}_s$_") } 1 .. 9;
	my $names = join ', ', map { "'$_->{name}'" } @shapes;
	$node->safe_psql('postgres', "SET search_path = $schema; SELECT tide.create_shape('${schema}_keyless', '{\"table\": \"keyless\"}')");
	$node->safe_psql('postgres', "SELECT tide.allow_writes('$schema.$_->{quoted}')") for @{ $world->{tables} };
	for my $dialect (qw(sqlite postgres))
	{
		append_to_file("$scratch/${schema}_$dialect.sql",
			$node->safe_psql('postgres', "SELECT tide.client_schema(ARRAY[$names, '${schema}_keyless'], '$dialect')"));
	}
	my %shown;
	for my $of (map { @{ $_->{nodes} } } @shapes)
	{
		my $table = $of->{table};
		$shown{ $table->{name} }{$_} = 1 for @{ $of->{columns} // [ map { $_->{name} } @{ $table->{columns} } ] }, @{ $table->{key} };
	}
	$plan->{tables} = [ map { { name => $_->{name}, key => $_->{key}, edit => edit($_, $shown{ $_->{name} }) } } grep { $shown{ $_->{name} } } @{ $world->{tables} } ];
	for my $dialect (qw(sqlite postgres))
	{
		my $claims = world_claims($world);
		push @{ $plan->{clients} }, { dialect => $dialect, claims => { map { $_ => json_value($world->{claims}{$_}, $claims->{$_}) } keys %$claims }, values => $claims };
	}
	for my $round (1 .. 4)
	{
		my @wanted = map { my $client = $_; [ map { subscribe($world, $_, $client) } grep { chance(0.75) } @shapes ] } @{ $plan->{clients} };
		push @{ $plan->{rounds} }, { transactions => [ map { world_transaction($world) } 1 .. 20 ], wanted => \@wanted };
	}
	delete $_->{values} for @{ $plan->{clients} };
	return;
}

# what a client may edit: a text column of a table
sub edit
{
	my ($table, $shown) = @_;
	my ($c) = grep { $_->{name} eq 't' && $shown->{t} } @{ $table->{columns} };
	return $c ? 't' : undef;
}

sub make_shape
{
	my ($world, $name) = @_;
	for (1 .. 20)
	{
		my $shape = shape_new($world, $name);
		my $sql = "SET search_path = $world->{schema}, public; SELECT tide.create_shape('$name', " . sql_json($shape->{definition}) . ')';
		return $shape if $node->psql('postgres', $sql) == 0;
	}
	return undef;
}

# one of a client's subscriptions, and what the server would show for it
sub subscribe
{
	my ($world, $shape, $client) = @_;
	my $params = shape_params($shape);
	return {
		shape => $shape->{name},
		params => { map { $_ => json_value($shape->{params}{$_}, $params->{$_}) } keys %$params },
		tables => { map { $_->{path} => $_->{table}{name} } @{ $shape->{nodes} } },
		query => shape_query($shape, $params, $client->{values}, q{'2026-01-01 00:00:00+00'::timestamptz}),
	};
}
