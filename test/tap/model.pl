# Random transactions from four sessions, random pulls: whenever a pull says it is complete,
# the client has exactly what the shapes' queries give at that checkpoint. Replica identities
# change meanwhile, rows move between partitions, and the slot is lost now and then.
#
#   TIDE_SEED                 repeats the transactions of a run (not their timing)
#   TIDE_MODEL_TRANSACTIONS   how many at least (30000)
use strict;
use warnings;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use TideCheck;
use TideCluster;
use TideModel;
use TideSession;

my $transactions = $ENV{TIDE_MODEL_TRANSACTIONS} || 30_000;
my $seed = $ENV{TIDE_SEED} || int(rand(2**31));
my $sessions = 4;
srand $seed;
note "seed $seed";
diag "model.pl: $transactions transactions, TIDE_SEED=$seed";

my $node = tide_new('model', start => 0, conf => "log_min_messages = fatal\nmax_wal_size = 4GB\ntide.apply_memory = 256kB\n");
install_check($node);
my $session = TideSession->new($node);
my $oracle = oracle_new($session);
model_schema($session);
$session->query(model_fill());

# shapes are built while the sessions write; more than asked for, so that there are rolled back ones too
my $began = time;
my @writers = map { start_writer($_) } 1 .. $sessions;
my $main = $$;
END { kill KILL => @writers if defined $main && $main == $$; }

$session->query("SELECT tide.create_shape('$_', '" . ($model_shapes{$_} =~ s/'/''/gr) . "')") for grep { $_ ne 'part' } sort keys %model_shapes;
$session->query('SELECT tide.start()');
usleep(200_000);
$session->query("SELECT tide.create_shape('part', '$model_shapes{part}')");
$session->query("SELECT tide.sync('10min')");

my %client = map { $_ => new_state() } keys %model_requests;
my @seen;         # states at complete checkpoints, not yet compared
my $compared = 0;
my %most;         # rows of a client
my $pages = 0;
my @problems;
my $writing = 1;
my $lost = 0;     # how often the slot was taken away
while (!@problems)
{
	my $name = rand() < 0.75 ? 'A' : 'B';
	$client{$name} = new_state() if $name eq 'B' && $client{B}{complete} && rand() < 0.1;
	$client{$name}{complete} = 0;
	# mostly small pages, so that changes happen between the pages of one replay
	my $limit = rand() < 0.1 ? 10_000 : rand() < 0.5 ? 1 + int(rand 30) : 1 + int(rand 300);
	my $last_round = !$writing;
	for (1 .. 1 + int(rand 20))
	{
		pull_page($node, $model_requests{$name}, $client{$name}, limit => $limit, session => $session, row_text => $model_row);
		$pages++;
		last if $client{$name}{complete};
	}
	push @seen, { client => $name, lsn => $client{$name}{checkpoint}{lsn}, rows => rows_by_shape($client{$name}) } if $client{$name}{complete};
	if (@seen >= 40)
	{
		push @problems, compare(shift @seen) while @seen && !@problems;
	}
	usleep(int(rand 20_000)) if rand() < 0.2;
	if ($writing && rand() < 0.01 && $lost < 5)
	{
		$session->query("SELECT tide.stop(); SELECT pg_drop_replication_slot('tide_postgres'); SELECT tide.start()");
		$lost++;
	}
	last if $last_round;
	$writing = grep { waitpid($_, POSIX::WNOHANG()) == 0 } @writers if $writing;
}
push @problems, compare(shift @seen) while @seen && !@problems;
is(join('', @problems), '', 'complete means equal to the query at that checkpoint');
cmp_ok($compared, '>', 20, "at many checkpoints: $compared");

# and when all is quiet
$session->query("SELECT tide.sync('10min')");
for my $name (sort keys %client)
{
	pull_all($node, $model_requests{$name}, state => $client{$name}, session => $session, row_text => $model_row);
	is(compare({ client => $name, lsn => $client{$name}{checkpoint}{lsn}, rows => rows_by_shape($client{$name}) }) // '', '', "client $name at the end");
	cmp_ok($most{$name}, '>', 20, "who had up to $most{$name} rows");
}
cmp_ok($oracle->{transactions}, '>=', $transactions, "$oracle->{transactions} transactions, $oracle->{changes} changes");
store_ok($node, 'shadow tables, change logs and buckets');
for my $name (sort keys %model_requests)
{
	my $request = $model_requests{$name};
	for my $shape (sort keys %{ $request->{shapes} })
	{
		is(verify_problems($node, $shape, $_, $request->{claims}), '', "tide.verify of $shape for $name") for @{ $request->{shapes}{$shape} };
	}
}
is($session->query("SELECT string_agg(error, ', ') FROM tide.shapes"), '', 'no shape failed');
note sprintf '%d transactions, %d changes, %d pages, %d comparisons, slot lost %d times, in %.0f s', $oracle->{transactions}, $oracle->{changes}, $pages, $compared, $lost, time - $began;
$session->quit;
$node->stop('fast');
done_testing();

# a psql fed with its share of the transactions
sub start_writer
{
	my ($i) = @_;
	my $pid = fork // die "could not fork: $!";
	return $pid if $pid;

	srand $seed + $i;
	$ENV{PGOPTIONS} = '-c deadlock_timeout=10ms -c synchronous_commit=' . ($i % 2 ? 'on' : 'off');
	my $connstr = $node->connstr('postgres');
	open my $psql, '|-', "psql -Xq -d \"$connstr\" >/dev/null 2>&1" or POSIX::_exit(1);
	# a third comes to nothing: rolled back, failed, or without a row to change
	print $psql model_transaction($_) for 0 .. $transactions * 1.7 / $sessions;
	close $psql;
	POSIX::_exit(0);
}

# {shape}{key} = row, over the buckets a client holds
sub rows_by_shape
{
	my ($state) = @_;
	my %rows;
	for my $bucket (keys %{ $state->{buckets} })
	{
		my $of_shape = $rows{ $state->{buckets}{$bucket}{shape} } //= {};
		while (my ($id, $entry) = each %{ $state->{rows}{$bucket} // {} })
		{
			my ($table, $key) = split / /, $id, 2;
			push @problems, "row $id in two buckets of a shape\n" if exists $of_shape->{$key};
			$of_shape->{$key} = $entry->{row};
		}
	}
	return \%rows;
}

# what is wrong with a client's rows, or nothing
sub compare
{
	my ($seen) = @_;
	my $problems = '';
	oracle_advance($oracle, $seen->{lsn});
	for my $shape (sort keys %{ $model_requests{ $seen->{client} }{shapes} })
	{
		my $want = $oracle->{state}{"$seen->{client}.$shape"} // {};
		my $have = $seen->{rows}{$shape} // {};
		for my $key (sort keys %$want)
		{
			next if defined $have->{$key} && $have->{$key} eq $want->{$key};
			$problems .= "$shape $key\n  has   " . ($have->{$key} // 'nothing') . "\n  wants $want->{$key}\n";
		}
		$problems .= "$shape $_\n  has   $have->{$_}\n  wants nothing\n" for grep { !exists $want->{$_} } sort keys %$have;
	}
	$compared++;
	my $rows = 0;
	$rows += keys %$_ for values %{ $seen->{rows} };
	$most{ $seen->{client} } = $rows if $rows > ($most{ $seen->{client} } // 0);
	return $problems eq '' ? () : "client $seen->{client} at $seen->{lsn}, transaction $oracle->{transactions}:\n" . substr $problems, 0, 4000;
}
