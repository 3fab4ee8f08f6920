# Random schema changes while others write, clients pull and the worker is killed: at every complete checkpoint the
# two tables hold the same pairs, and whenever all is quiet clients have what the shapes'
# queries give.
#
#   TIDE_SEED         repeats the statements of a run (not their timing)
#   TIDE_DDL_ROUNDS   how many transactions with DDL (150)
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCheck;
use TideCluster;
use TideDdl;
use TideSession;

my $rounds = $ENV{TIDE_DDL_ROUNDS} || 150;
my $seed = $ENV{TIDE_SEED} || int(rand(2**31));
srand $seed;
diag "schema_random.pl: $rounds rounds, TIDE_SEED=$seed";

my $node = tide_new('schema_random', conf => "log_min_messages = warning\n");
install_check($node);
my $s = TideSession->new($node);
my $ddl = TideSession->new($node);
my @writers = map { TideSession->new($node) } 0 .. 1;

ddl_schema($s);
$s->query('ALTER TABLE r RENAME CONSTRAINT r_pkey TO r_key');
my %shapes = (
	whole => '{"table": "r"}',
	slim => '{"table": "r", "columns": ["n"]}',
	part => '{"table": "r", "where": "grp = params.grp"}',
	pairs => '{"table": "p"}');
$s->query("SELECT tide.create_shape('$_', " . sql_text($shapes{$_}) . ')') for sort keys %shapes;
$s->query("SELECT tide.sync('10min')");

my %requests = (
	both => { shapes => { slim => [ {} ], pairs => [ {} ] } },
	whole => { shapes => { whole => [ {} ], pairs => [ {} ] } },
	part => { shapes => { part => [ { grp => 1 }, { grp => 2 } ] } });
my %clients = map { $_ => new_state() } keys %requests;
my %pulls = (complete => 0, waiting => 0);

# n by id as a client has it of one table
sub pairs_of
{
	my ($state, $table) = @_;
	my %pairs;
	for my $row (state_rows($state, $table))
	{
		my ($id) = $row =~ /"id": (\d+)/;
		my ($n) = $row =~ /"n": (\d+)/;
		$pairs{$id} = $n;
	}
	return join ' ', map { "$_:$pairs{$_}" } sort { $a <=> $b } keys %pairs;
}

# some pages for one client; the problem found at a complete checkpoint, or ''
sub pull_some
{
	my ($name) = @_;
	my $state = $clients{$name};

	for (1 .. 3)
	{
		eval { pull_page($node, $requests{$name}, $state, limit => 1 + int(rand 60), session => $s) };
		if ($@)
		{
			# the one error that says: ask again
			return "client $name: $@" if $@ !~ /ERROR:  40001/;
			$pulls{waiting}++;
			next;
		}
		$pulls{ $state->{complete} ? 'complete' : 'waiting' }++;
		next if !$state->{complete} || $name eq 'part';
		my ($r, $p) = (pairs_of($state, 'public.r'), pairs_of($state, 'public.p'));
		return "client $name at $state->{checkpoint}{lsn}:\nr: $r\np: $p" if $r ne $p;
	}
	return '';
}

# all is quiet: everything equals
sub check_all
{
	my ($round) = @_;
	my @problems = split /\n/, $node->safe_psql('postgres', "SELECT tide.sync('10min') \\gset\nSELECT tide_check.problems(true)");
	my $names = $s->query("SELECT string_agg(name || ' ' || state || coalesce(': ' || error, ''), ', ') FROM tide.shapes WHERE state <> 'live'");

	push @problems, $names if $names ne '';
	push @problems, split /\n/, $s->query('SELECT to_jsonb(v) FROM tide_internal.verify_all() v LIMIT 5');
	for my $name (sort keys %clients)
	{
		pull_all($node, $requests{$name}, state => $clients{$name}, session => $s);
		my $query = 'SELECT * FROM r' . ($name eq 'part' ? ' WHERE grp IN (1, 2)' : '');
		$query = 'SELECT id, n FROM r' if $name eq 'both';
		my $has = join "\n", state_rows($clients{$name}, 'public.r');
		my $should = join "\n", query_rows($node, $query);
		push @problems, "client $name has:\n$has\nand should have:\n$should" if $has ne $should;
	}
	return join "\n", @problems;
}

my $problem = '';
my $round = 0;
while ($problem eq '' && $round < $rounds)
{
	$round++;
	my $sql = ddl_transaction($s);
	note "round $round: $sql";
	$writers[$_]->begin_query(join "; ", map { pair_transaction($_, 2) } ($_) x 4) for 0, 1;
	$ddl->begin_query($sql);
	# now and then the worker dies, wherever it is
	$s->query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE '%tide%ingest%'") if rand() < 0.03;
	$problem = pull_some((sort keys %clients)[ rand keys %clients ]);
	$ddl->end_query;
	$_->end_query for @writers;
	$problem = check_all($round) if $problem eq '' && ($round % 10 == 0 || $round == $rounds);
}
is($problem, '', "$rounds rounds of schema changes lose and invent nothing") or diag "round $round, TIDE_SEED=$seed";
like($s->query('SELECT last_error FROM tide.status'), qr/^(terminating .* due to administrator command)?$/, 'no error of the worker but those made');
cmp_ok($pulls{complete}, '>', 0, "clients came to complete checkpoints on the way ($pulls{complete} of " . ($pulls{complete} + $pulls{waiting}) . ' pages)');
$node->stop;
done_testing();
