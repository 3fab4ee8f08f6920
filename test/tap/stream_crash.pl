# pg_recvlogical into a file while receiver, walsender and server are killed: resumed by the
# recipe of doc/stream.md the file is the same as without any of it; resumed without --startpos
# nothing is missing.
#
#   TIDE_SEED    repeats the choices of a run (not the moments)
#   TIDE_ROUNDS  how many kills (10)
use strict;
use warnings;
use IPC::Run ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;
use TideKinds;
use TideSession;
use Time::HiRes qw(time usleep);

my $rounds = $ENV{TIDE_ROUNDS} || 10;
my $seed = $ENV{TIDE_SEED} || int(rand(2**31));
srand $seed;
note "seed $seed";
diag "stream_crash.pl: $rounds rounds, TIDE_SEED=$seed";

my $node = tide_new('stream_crash', extension => 0,
	conf => "log_min_messages = warning\nlogical_decoding_work_mem = 64kB\nmax_wal_size = 4GB\nwal_sender_timeout = 10s\n");
my $folder = PostgreSQL::Test::Utils::tempdir();
my $connstr = $node->connstr('postgres');
$node->safe_psql('postgres', kinds_types());
my @tables = kinds_tables();
$node->safe_psql('postgres', $_->{sql}) for @tables;
$node->safe_psql('postgres', 'CREATE TABLE bulk (id bigserial PRIMARY KEY, t text)');

# three slots at one place: killed and resumed by LSN, killed and just started again, never touched
$node->safe_psql('postgres', q{SELECT pg_create_logical_replication_slot('resumed', 'pg_tide')});
$node->safe_psql('postgres', "SELECT pg_copy_logical_replication_slot('resumed', '$_')") for qw(omitted whole);
my %file = map { $_ => "$folder/$_.jsonl" } qw(resumed omitted whole);
append_to_file($file{$_}, '') for keys %file;

my $recipe = recipe();
# a receiver may die within a line, and between a line and its end
my $commit = '{"type":"commit","lsn":"0/16B3810","end_lsn":"0/16B3840","xid":745}';
for my $torn ([ '' => '' ], [ "$commit\n" => "$commit\n" ], [ "$commit\n{\"type\":\"commit\",\"lsn\":\"0/1" => "$commit\n" ], [ "$commit\n\xc3" => "$commit\n" ], [ "x\n$commit" => "x\n$commit\n" ],
	[ "$commit\n{\"type\":\"message\",\"transactional\":false,\"prefix\":\"p\",\"content\":\"\\\"lsn\\\":\\\"0/1\\\"}" => "$commit\n" ],
	[ '{"type":"begin"' => '' ], [ "$commit\n{\"type\":\"begin\"}\n" => "$commit\n" ])
{
	append_to_file("$folder/torn.jsonl", $torn->[0]);
	$file{torn} = "$folder/torn.jsonl";
	is(cut('torn'), $torn->[1] ? '0/16B3840' : '0/0', 'the recipe finds where to go on');
	is(slurp_file($file{torn}), $torn->[1], 'and where to cut');
	unlink delete $file{torn};
}
my (%done, $torn);

my @writers = map { start_writer($_) } 1 .. 2;
my $main = $$;
my %receiver;
END
{
	if (defined $main && $main == $$)
	{
		kill KILL => @writers;
		$_->kill_kill(grace => 0) for values %receiver;
	}
}

$torn = 0;
for my $round (1 .. $rounds)
{
	resume($_) for qw(resumed omitted);
	usleep(300_000 + int rand 700_000);
	$done{ disturb() }++;
	for my $slot (qw(resumed omitted))
	{
		(delete $receiver{$slot})->kill_kill(grace => 0);
		wait_for_sql($node, "SELECT NOT active FROM pg_replication_slots WHERE slot_name = '$slot'");
	}
}
append_to_file("$folder/stop", '');
waitpid $_, 0 for @writers;
@writers = ();
note join ', ', map { "$done{$_} $_" } sort keys %done;

# a message outside of transactions, confirmed by its receiver, is not sent again
resume('resumed');
my $message = $node->safe_psql('postgres', q{SELECT pg_logical_emit_message(false, 'last', 'word')});
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
wait_for_sql($node, "SELECT confirmed_flush_lsn >= '$message' FROM pg_replication_slots WHERE slot_name = 'resumed'");
(delete $receiver{resumed})->kill_kill(grace => 0);
like(tail(), qr/"last"/, 'the message was the last to come');
wait_for_sql($node, q{SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'resumed'});
$node->safe_psql('postgres', q{INSERT INTO bulk (t) VALUES ('the end')});

my $end = $node->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn()');
resume($_, '--endpos', $end) for qw(resumed omitted whole);
for my $slot (sort keys %receiver)
{
	ok((delete $receiver{$slot})->finish, "received the rest: $slot");
}
my $whole = slurp_file($file{whole});
my $resumed = slurp_file($file{resumed});
cmp_ok(length $whole, '>', 1_000_000, 'there was something to receive: ' . length $whole);
note "$torn times the cut took something away";
ok($resumed eq $whole, 'resumed by LSN: the file is the same as without any kill')
  or diag first_difference($resumed, $whole);
my $merged = without_repeats(slurp_file($file{omitted}));
ok($merged eq without_repeats($whole), 'without --startpos: repeats, but no gap')
  or diag first_difference($merged, without_repeats($whole));
$node->stop('fast');
done_testing();

# ---- receiving

# the lines of the recipe that prepare the file, from the documentation itself
sub recipe
{
	my $doc = slurp_file('doc/stream.md');
	my ($block) = $doc =~ /^```sh\n(lines=.*?)^```/ms or die 'no recipe in doc/stream.md';
	$block =~ s/^pg_recvlogical.*--startpos ("[^"]+")\n/echo $1/m or die "no --startpos in: $block";
	return $block;
}

# cut the file by the recipe; returns where to go on
sub cut
{
	my ($slot) = @_;
	my $before = -s $file{$slot};
	my $name = "$slot.jsonl";
	my ($lsn, $err) = run_command([ 'env', 'LC_ALL=C.UTF-8', 'bash', '-c', "set -e; cd '$folder'; " . ($recipe =~ s/issues\.jsonl/$name/gr) ]);
	die "recipe: $err" if $err ne '' || $lsn !~ m{^[0-9A-F]+/[0-9A-F]+$};
	$torn++ if -s $file{$slot} < $before;
	return $lsn;
}

sub resume
{
	my ($slot, @more) = @_;
	my $lsn = cut($slot);
	push @more, '--startpos', $lsn if $slot eq 'resumed';
	my $tries = 20;

	while (1)
	{
		$receiver{$slot} = IPC::Run::start([ 'pg_recvlogical', '-d', $connstr, '--slot', $slot, '--start', '--no-loop', '-f', $file{$slot},
				'--fsync-interval', 1, '--status-interval', 1, @more ], '2>>', "$folder/receiver.log");
		last if @more > 2 || $slot eq 'whole';
		# until it is at work, or has been refused by a server just started
		for (1 .. 200)
		{
			last if !$receiver{$slot}->pumpable || active_pid($slot);
			usleep(20_000);
		}
		last if active_pid($slot);
		$receiver{$slot}->kill_kill(grace => 0);
		die 'cannot receive: ' . slurp_file("$folder/receiver.log") if !--$tries;
	}
	return;
}

sub active_pid
{
	my ($slot) = @_;
	return $node->safe_psql('postgres', "SELECT active_pid FROM pg_replication_slots WHERE slot_name = '$slot'");
}

# one of the things that happen; afterwards the server runs
sub disturb
{
	my $kind = rand();
	if ($kind < 0.4)
	{
		# best within a transaction
		for (1 .. 100)
		{
			last if (split /^/m, tail())[-1] !~ /^\{"type":"commit".*\n\z/;
			usleep(3_000);
		}
		$receiver{$_}->kill_kill(grace => 0) for keys %receiver;
		return 'kills of the receivers';
	}
	if ($kind < 0.5)
	{
		$receiver{$_}->signal('TERM') for keys %receiver;
		return 'terminations of the receivers';
	}
	if ($kind < 0.6)
	{
		$node->safe_psql('postgres', 'SELECT pg_terminate_backend(pid) FROM pg_stat_replication');
		return 'terminations of the walsenders';
	}
	if ($kind < 0.8)
	{
		my $pid = active_pid('resumed');
		kill KILL => $pid if $pid;
		# the others go down with it
		wait_for_sql($node, "SELECT count(*) = 0 FROM pg_replication_slots WHERE active_pid = " . ($pid || 0));
		return 'kills of a walsender';
	}
	if ($kind < 0.9)
	{
		$node->restart;
		return 'restarts';
	}
	$node->stop('immediate');
	restart_after_crash($node);
	return 'immediate stops';
}

# the end of the resumed file
sub tail
{
	open my $file, '<:raw', $file{resumed} or die $!;
	seek $file, -300, 2 or seek $file, 0, 0;
	local $/;
	return "\n" . <$file>;
}

# what a reader that remembers the last end_lsn makes of a file with repeats: complete
# transactions, each once
sub without_repeats
{
	my ($text) = @_;
	my ($merged, $open, $last) = ('', '', '');

	for my $line (split /^/m, $text)
	{
		$open = '' if $line =~ /^\{"type":"begin"/;
		# outside of transactions: of those their LSN tells
		next if $line =~ /^\{"type":"message","transactional":false/;
		$open .= $line;
		next if $line !~ m{^\{"type":"commit".*"end_lsn":"([0-9A-F]+)/([0-9A-F]+)".*\}\n\z};
		my $lsn = sprintf '%08s/%08s', $1, $2;
		$merged .= $open if $lsn gt $last;
		$last = $lsn if $lsn gt $last;
		$open = '';
	}
	return $merged;
}

sub first_difference
{
	my ($have, $want) = @_;
	my @have = split /\n/, $have;
	my @want = split /\n/, $want;
	for my $i (0 .. $#want)
	{
		my ($a, $b) = ($have[$i] // 'nothing', $want[$i]);
		return "line $i of " . @have . ' and ' . @want . ":\n" . substr($a, 0, 500) . "\n" . substr($b, 0, 500) if $a ne $b;
	}
	return @have . ' lines instead of ' . @want;
}

# ---- writing, whatever happens to the server

sub start_writer
{
	my ($n) = @_;
	my $pid = fork // die "could not fork: $!";
	return $pid if $pid;

	srand $seed + $n;
	local $SIG{PIPE} = 'IGNORE';
	while (!-e "$folder/stop")
	{
		my $sql = "\\set ON_ERROR_ROLLBACK on\nSET lock_timeout = '1s';\n" . join '', map { kinds_transaction(\@tables) } 1 .. 3;
		# one long enough to be cut in the middle
		$sql .= "INSERT INTO bulk (t) SELECT repeat('bulk', 10) FROM generate_series(1, 5000);\n" if rand() < 0.3;
		open my $psql, '|-', "psql -XAtq -d '$connstr' -f - >'$folder/writer$n' 2>&1" or last;
		print {$psql} $sql;
		close $psql;
		usleep(100_000);
	}
	POSIX::_exit(0);
}
