# A soak: writers, pushers, pullers, DDL and compaction go on while the server is killed, starved and replaced.
# After every round of faults: the worker has caught up, tide.verify finds nothing, every client has what the
# tables' own queries give, every acknowledged transaction and mutation is there once, the server's log has no PANIC,
# crash or internal error but those injected, and pg_wal is bounded.
#
#   TIDE_SOAK_SECONDS   how long (120; `make soak`: 1800); never ends before each kind of fault has been injected
#   TIDE_SEED           repeats the choices of a run (not the moments)
#   TIDE_SOAK_KINDS     only these faults, a regular expression; none of the others are asked for at the end
#
# At the end it breaks the same server on purpose, and each must be found: a change dropped from the change log, a row
# dropped from a shadow table, a mutation acknowledged that never came, a transaction acknowledged but not committed, a client that skips a resync.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use TideSoakDisk;
BEGIN { TideSoakDisk::enter(); }
use IPC::Run ();
use List::Util qw(shuffle);
use Storable ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;
use TidePushKinds;
use TidePushWorld;
use TideSoakFaults;
use TideSoakWorld;
use TideWorld;
use Time::HiRes qw(time usleep);

my $seconds = $ENV{TIDE_SOAK_SECONDS} || 120;
my $seed = $ENV{TIDE_SEED} || int(rand(2**31));
my $wal_limit = 80;    # MB
srand $seed;
seed_random($seed);
diag "soak.pl: $seconds s, TIDE_SEED=$seed";

my @kinds = grep { !$ENV{TIDE_SOAK_KINDS} || /$ENV{TIDE_SOAK_KINDS}/ } fault_kinds();
my %count = (rounds => 0, lost => 0, faults => {}, asked => {});
my $began = time;
my $soak = bless { disk => 0, problems => [], log_at => 0 }, 'main';
$soak->create;

my @deck;
my $ok = 1;
while ($ok && (time - $began < $seconds || grep { !$count{faults}{$_} } @kinds))
{
	$ok = $soak->round(1 + number(3));
	if (grep { ($count{asked}{$_} // 0) > 12 && !$count{faults}{$_} } @kinds)
	{
		diag 'a fault cannot be injected';
		last;
	}
}
if ($ok)
{
	is(join("\n", $soak->final), '', 'at the end: every mutation ever written, once more');
	is($soak->{world}{count}{lost} + $count{lost}, 0, 'no acknowledged transaction or mutation was lost');
	cmp_ok($count{faults}{$_} // 0, '>', 0, "injected: $_") for @kinds;
	my @report = $soak->report;
	$soak->plant_all;
	diag $_ for @report;
}
else { diag $_ for $soak->report; }
$_->quit for values %{ $soak->{world}{session} };
$soak->{pushes}->stop;
$soak->{node}->stop('immediate');
done_testing();

# ---- set-up

sub create
{
	my ($self) = @_;
	my $node = TideSoakFaults::make_node(0);

	$node->init(allows_streaming => 'logical', extra => [ '-E', 'UTF8', '--locale=C', '--wal-segsize=1' ]);
	tide_configure($node, conf => <<'CONF');
log_min_messages = warning
log_error_verbosity = verbose
log_line_prefix = '%m [%p] %b '
min_wal_size = 4MB
max_wal_size = 24MB
wal_keep_size = 0
checkpoint_timeout = 30s
fsync = off
shared_buffers = 64MB
deadlock_timeout = 50ms
autovacuum_naptime = 2s
tide.apply_memory = 256kB
tide.batch_size = 500
tide.tick_interval = 200ms
tide.max_removed_rows = 5
tide.compaction_delay = 5ms
CONF
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION pg_tide; SELECT tide.start()');
	$node->safe_psql('postgres', push_schema());
	tide_sync($node);
	$self->{node} = $node;
	$self->{pushes} = TidePushWorld->new($node, clients => 8, passing => '57\w\w\w|53\w\w\w|58030|58P01|55P03');
	$self->{world} = TideSoakWorld->new($node);
	return;
}

sub problem { my ($self, $text) = @_; push @{ $self->{problems} }, $text; return; }

# the server is another one
sub move_to
{
	my ($self, $node, $disk) = @_;

	# what the former did not answer is not known
	$self->{pushes}->_collect($_) for grep { $_->{busy} } @{ $self->{pushes}{slots} };
	for my $slot (@{ $self->{pushes}{slots} }, $self->{pushes}{pull_slot})
	{
		$slot->{session}->quit if $slot->{session};
		delete $slot->{session};
	}
	$self->{world}->disconnect;
	$self->check_log;
	@$self{qw(node disk log_at)} = ($node, $disk, 0);
	$_->{node} = $node for @$self{qw(pushes world)};
	return;
}

# ---- load

# pushes and transactions are on their way when this returns
sub begin_load
{
	my ($self) = @_;
	$self->load(0.05);
	$self->{pushes}->_deliver for 1 .. 4;
	$self->{pushes}->_other;
	usleep(number(15_000));
	return;
}

# everybody goes on for so long, at a pace that leaves others something of the machine
sub load
{
	my ($self, $how_long) = @_;
	my $until = time + $how_long;

	do
	{
		my $since = time;
		for (1 .. 6)
		{
			eval { $self->{pushes}->step; 1 } or $self->problem("pushes: $@");
		}
		$self->{world}->step;
		usleep(($ENV{TIDE_SOAK_PAUSE} // 40) * 1000);
	} while (time < $until && !@{ $self->{problems} });
	return 1;
}

# a query's answer, asked again while the server is down or going down
sub ask
{
	my ($self, $sql) = @_;
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;
	while (1)
	{
		# a psql that cannot connect may be gone before it is given its input
		my ($status, $out, $err) = eval { $self->{node}->psql('postgres', $sql, on_error_die => 0) };
		my $died = $@;
		return $out if !$died && $status == 0;
		$err = "FATAL: $died" if $died;
		die "$err in: $sql" if $err !~ /FATAL|could not connect|connection to server|server closed|terminating connection|timeout|canceling|No space left|Broken pipe/ || time > $until;
		$self->revive if $err =~ /No such file|Connection refused/;
		usleep(50_000);
	}
	return;
}

# a server that has ended by itself (no disk space for its recovery) is started again
sub revive
{
	my ($self) = @_;
	my $node = $self->{node};

	restart_after_crash($node) if system('pg_ctl status -D ' . $node->data_dir . ' >/dev/null') != 0;
	wait_for_sql($node, 'SELECT true');
	return;
}

# ---- rounds

sub round
{
	my ($self, $n) = @_;
	my @faults;

	$count{rounds}++;
	$self->{round_log} = '';
	$self->{world}->renew if $count{rounds} % 6 == 1;
	$self->load(0.5);
	for (1 .. $n)
	{
		@deck = shuffle(@kinds) if !@deck;
		my $kind = shift @deck;
		push @faults, $kind;
		$self->{faults} = \@faults;
		$count{asked}{$kind}++;
		my $done = eval { fault_inject($self, $kind) };
		$self->problem("$kind: $@") if !defined $done;
		$count{faults}{$kind} += $done // 0;
		note "$kind: " . ($done // 'failed');
		last if @{ $self->{problems} };
		$self->load(0.3 + rand(0.7));
	}
	my $what = join ', ', @faults;
	my $ended = time;
	eval { fault_heal($self); $self->settle('new'); 1 } or $self->problem("settling: $@");
	my @problems = splice @{ $self->{problems} };
	is(join("\n", @problems), '', sprintf 'round %d (%.0f s): %s', $count{rounds}, time - $began, $what);
	if (@problems)
	{
		diag "TIDE_SEED=$seed, after $what";
		diag eval { $self->{node}->safe_psql('postgres', 'SELECT * FROM tide.status') } // 'no tide.status';
	}
	note sprintf 'settled in %.1f s', time - $ended;
	return !@problems;
}

# quiet: everything answered, taken in, compared
sub settle
{
	my ($self, $again) = @_;

	$self->{pushes}->settle(again => $again);
	$self->ask("SELECT tide.sync('10min')");
	$self->problem($_) for $self->{world}->settle;
	my @lost = $self->{pushes}->problems;
	$count{lost} += @lost;
	$self->problem($_) for @lost;
	$self->check_log;
	$self->check_wal;
	$self->{world}->begin_round if !@{ $self->{problems} };
	return;
}

# the log of this server since the round began
sub log_since
{
	my ($self) = @_;
	open my $file, '<', $self->{node}->logfile or return '';
	seek $file, $self->{log_at}, 0;
	local $/;
	return <$file> // '';
}

sub check_log
{
	my ($self) = @_;
	my $expected = fault_expects(@{ $self->{faults} // [] });
	my $log = $self->log_since;

	$self->{log_at} += length $log;
	for my $line (split /\n/, $log)
	{
		next if $line !~ /PANIC: |TRAP: |terminated by signal|(?:ERROR|FATAL): +XX|exited with exit code [^01]/;
		next if defined $expected && $line =~ $expected;

		# a type that is dropped while changes of it are being stored ends the worker, which goes on a second later
		next if $line =~ /pg_tide ingest ERROR: +XX000: cache lookup failed for type/ && ++$count{types};
		$self->problem("in the server's log: $line");
	}
	return;
}

sub check_wal
{
	my ($self) = @_;
	$self->ask('CHECKPOINT');
	my $size = $self->ask('SELECT sum(size)::bigint / 1048576 FROM pg_ls_waldir()');
	$count{wal} = $size if $size > ($count{wal} // 0);
	$self->problem("pg_wal has $size MB") if $size > $wal_limit;
	return;
}

# ---- the end

sub final
{
	my ($self) = @_;
	eval { $self->settle('all'); 1 } or $self->problem("settling: $@");
	return splice @{ $self->{problems} };
}

# faults of our own that the comparisons must find
sub plant_all
{
	my ($self) = @_;
	my $node = $self->{node};
	my $world = $self->{world};

	$self->load(1);
	$self->final;
	my $ledger = $node->safe_psql('postgres', "SELECT source_id FROM tide_internal.sources WHERE relid = 'soak_ledger'::regclass");
	$node->safe_psql('postgres', "INSERT INTO soak_ledger SELECT 60, i, 'planted' FROM generate_series(1, 9) i");
	tide_sync($node);
	my %plant = (
		'a change dropped from the change log' => sub { $node->safe_psql('postgres', "DELETE FROM tide_shadow.log$ledger WHERE op_id = (SELECT max(op_id) FROM tide_shadow.log$ledger WHERE kind = 'e')") },
		'a row dropped from a shadow table' => sub { $node->safe_psql('postgres', "DELETE FROM tide_shadow.t$ledger WHERE c1 = 60 AND c2 = 4") },
		'a transaction acknowledged but not committed' => sub { $world->{acked}{'1 999999999'} = 1 },
		'a client that skips a resync' => sub { my $rows = $world->{fixed}{state}{rows}; my ($bucket) = grep { %{ $rows->{$_} } } sort keys %$rows; delete $rows->{$bucket}{ (sort keys %{ $rows->{$bucket} })[0] } });
	for my $name (sort keys %plant)
	{
		my $state = Storable::dclone($world->{fixed}{state});
		$plant{$name}->();
		my @found = $self->final;
		cmp_ok(scalar @found, '>', 0, "planted and found: $name");
		note substr $found[0] // '', 0, 300;
		delete $world->{acked}{'1 999999999'};
		$world->{fixed}{state} = $name =~ /skips/ ? $state : new_state();

		# the cure: a slot that is not there has everything compared
		next if $name !~ /dropped/;
		$node->safe_psql('postgres', q{SELECT tide.drop_shape('ledger')});
		$node->safe_psql('postgres', q{SELECT tide.create_shape('ledger', '{"table": "soak_ledger"}')});
		is(join("\n", $self->final), '', 'and cured');
		$ledger = $node->safe_psql('postgres', "SELECT source_id FROM tide_internal.sources WHERE relid = 'soak_ledger'::regclass");
	}

	# last, since nothing cures it
	$self->{pushes}{fault} = 'lost';
	for (1 .. 400)
	{
		last if $self->{pushes}{planted} || !eval { $self->{pushes}->step; $self->{pushes}->_plant; 1 };
	}
	ok($self->{pushes}{planted}, 'a mutation acknowledged that never came: planted');
	my @found = $self->final;
	cmp_ok(scalar @found, '>', 0, 'and found: ' . substr $found[0] // '', 0, 200);
	return;
}

sub report
{
	my ($self) = @_;
	my ($w, $p) = @{$self}{qw(world pushes)};
	my $mutations = 0;
	$mutations += $_->{answered} for @{ $p->{clients} };
	my @rows = map { [ "fault: $_", $count{faults}{$_} // 0 ] } @kinds;

	push @rows, [ 'fault: disk full', 'not injected: ' . disk_trouble() ] if !disk_is_small();
	push @rows, [ rounds => $count{rounds} ], [ seconds => sprintf '%.0f', time - $began ], [ 'transactions sent' => $w->{count}{transactions} ],
	  [ 'transactions acknowledged' => $w->{count}{acknowledged} ], [ 'mutations acknowledged' => $mutations ], [ 'schema changes' => $w->{count}{ddl} ],
	  [ 'shapes made' => $w->{count}{shapes} ], [ 'pages pulled' => $w->{count}{pages} ], [ 'pages pulled from standbys' => $w->{count}{standby_pages} ], [ 'changes pulled' => $w->{count}{pulled} ], [ 'buckets clients had to drop' => $w->{count}{drops} ],
	  [ 'rows compared' => $w->{count}{rows} ], [ 'times tide.verify' => $w->{count}{verified} ], [ 'worker ended by DROP TYPE' => $count{types} // 0 ], [ 'largest pg_wal, MB' => $count{wal} // 0 ],
	  [ 'losses' => $w->{count}{lost} + $count{lost} ];
	return map { sprintf '%-36s %s', @$_ } @rows;
}
