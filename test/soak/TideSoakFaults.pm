package TideSoakFaults;

=head1 NAME

TideSoakFaults - what is done to a server under load

=head1 SYNOPSIS

    my @kinds = fault_kinds();
    my $done = fault_inject($soak, 'disk full');   # how often it is proved to have happened; 0 if it has not
    fault_heal($soak);                             # nothing of it is left; the server is up

=head1 NOTES

$soak has node, disk (number of the node's), world, log_since() (the server log since the round began), ask($sql) (answered when the server is
there again), load($seconds) (writers, pushers, pullers and DDL go on) and move_to($node, $disk).

A fault counts only if its effect was seen: the process is gone, the server's log or a client has the error, the
slot is lost. Of what is only asked for, nothing counts.

=cut

use strict;
use warnings;
use Exporter 'import';
use File::Path qw(rmtree);
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils ();
use Test::More;
use TideCluster;
use TideSession;
use TideSoakDisk;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(fault_kinds fault_inject fault_heal fault_expects);

# text that the server's log may have for it, beside what it always may
my %faults = (
	'kill -9 of the worker' => { run => \&kill_worker, expect => qr/terminated by signal 9/ },
	'kill -9 of a backend' => { run => \&kill_backend, expect => qr/terminated by signal 9/ },
	'kill -9 of the postmaster' => { run => \&kill_postmaster },
	'immediate stop' => { run => \&immediate_stop },
	'fast restart' => { run => \&fast_restart },
	'worker terminated' => { run => \&terminate_worker },
	'backends terminated' => { run => sub { return signal_backends($_[0], 'pg_terminate_backend') } },
	'queries cancelled' => { run => sub { return signal_backends($_[0], 'pg_cancel_backend') } },
	'statement timeouts' => { run => \&statement_timeouts },
	'lock timeouts' => { run => \&lock_timeouts },
	'disk full' => { run => \&disk_full, expect => qr/PANIC: .*No space left on device|terminated by signal 6|could not write init file/ },
	'slot invalidated' => { run => \&slot_invalidated, expect => qr/terminated by signal 9/ },
	'memory limit of the server' => { run => \&memory_of_all },
	'out of memory in a backend' => { run => \&memory_of_backend },
	'out of memory in the worker' => { run => \&memory_of_worker },
	'standby promoted' => { run => \&standby_promoted });

# prlimit cannot raise what it has not lowered, so only soft limits are set; of which processes
my @limited;
my $memory_client = '5eedb0c0-0000-4000-8000-0000000000e0';
my $memory_id = 0;
my $nodes = 0;

sub fault_kinds { return grep { $_ ne 'disk full' || disk_is_small() } sort keys %faults; }

# what a server's log may hold that had these faults
sub fault_expects
{
	my @expected = grep { defined } map { $faults{$_}{expect} } @_;
	return @expected ? join '|', map { "(?:$_)" } @expected : undef;
}

sub fault_inject { my ($soak, $kind) = @_; return $faults{$kind}{run}->($soak); }

# ---- processes

# a running worker's pid, '' if there is none
sub worker
{
	my ($soak) = @_;
	return $soak->ask("SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE datname = 'postgres' AND backend_type LIKE '%tide%'") || 0;
}

sub backends
{
	my ($soak, $function, $limit) = @_;
	return split /\n/, $soak->ask("SELECT pid FROM (SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
		  . " ORDER BY state = 'active' DESC, random() LIMIT $limit) p WHERE $function");
}

sub kill_worker
{
	my ($soak) = @_;
	my $pid = worker($soak) or return 0;
	return kill KILL => $pid;
}

# one that is pushing or writing
sub kill_backend
{
	my ($soak) = @_;
	$soak->begin_load;
	my ($pid) = backends($soak, 'true', 1) or return 0;
	return kill KILL => $pid;
}

sub kill_postmaster
{
	my ($soak) = @_;
	$soak->begin_load;
	$soak->{node}->kill9;
	# clients find nobody there
	$soak->load(0.3);
	restart_after_crash($soak->{node});
	return 1;
}

sub immediate_stop
{
	my ($soak) = @_;
	$soak->begin_load;
	$soak->{node}->stop('immediate');
	$soak->load(0.3);
	restart_after_crash($soak->{node});
	return 1;
}

sub fast_restart
{
	my ($soak) = @_;
	$soak->begin_load;
	$soak->{node}->restart;
	return 1;
}

sub terminate_worker
{
	my ($soak) = @_;
	my $pid = worker($soak) or return 0;
	$soak->ask("SELECT pg_terminate_backend($pid, 10000)");
	return worker($soak) != $pid ? 1 : 0;
}

sub signal_backends
{
	my ($soak, $function) = @_;
	my $done = 0;
	for (1 .. 6)
	{
		$soak->begin_load;
		$done += backends($soak, "$function(pid)", 3);
		$soak->ask("SELECT $function(pid) FROM pg_stat_activity WHERE backend_type LIKE '%tide%'") if rand() < 0.3;
		$soak->load(0.15);
	}
	return $done;
}

# ---- settings

sub set
{
	my ($soak, %settings) = @_;
	$soak->ask("ALTER SYSTEM SET $_ = '$settings{$_}'") for sort keys %settings;
	$soak->ask('SELECT pg_reload_conf()');
	push @{ $soak->{settings} }, keys %settings;
	return;
}

sub statement_timeouts
{
	my ($soak) = @_;
	set($soak, statement_timeout => '12ms');
	$soak->load(2);
	reset_settings($soak);
	return scalar(() = $soak->log_since =~ /canceling statement due to statement timeout/g);
}

sub lock_timeouts
{
	my ($soak) = @_;
	set($soak, lock_timeout => '8ms');
	my $locker = TideSession->new($soak->{node});
	for (1 .. 2)
	{
		$locker->begin_query('BEGIN; LOCK TABLE docs, notes, soak_ledger IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.6); COMMIT');
		$soak->load(1);
		$locker->wait_query;
		$locker->try_query('ROLLBACK');
	}
	# the log of changes, too: the worker's own statements wait
	$locker->begin_query("DO \$\$ BEGIN EXECUTE 'LOCK TABLE ' || (SELECT string_agg('tide_shadow.log' || source_id, ', ') FROM tide_internal.sources) || ' IN SHARE MODE'; PERFORM pg_sleep(0.5); END \$\$");
	$soak->load(0.8);
	$locker->wait_query;
	$locker->quit;
	reset_settings($soak);
	return scalar(() = $soak->log_since =~ /canceling statement due to lock timeout/g);
}

sub reset_settings
{
	my ($soak) = @_;
	my @settings = @{ delete $soak->{settings} // [] } or return;

	# (a statement may be too slow for the timeout it resets)
	$soak->ask("SET statement_timeout = 0; SET lock_timeout = 0;\nALTER SYSTEM RESET $_") for @settings;
	$soak->ask('SELECT pg_reload_conf()');
	return;
}

# ---- disk

sub disk_full
{
	my ($soak) = @_;
	disk_fill(disk($soak->{disk}), int(rand(1_500_000)));
	for (1 .. 5)
	{
		$soak->load(0.8);
		last if $soak->log_since =~ /No space left on device/ && rand() < 0.5;
	}
	my $seen = $soak->log_since =~ /No space left on device/;
	disk_free(disk($soak->{disk}));
	$soak->revive;
	return $seen ? 1 : 0;
}

# ---- slot

sub slot_invalidated
{
	my ($soak) = @_;
	my $pid = worker($soak) or return 0;
	my $session = TideSession->new($soak->{node});

	set($soak, max_slot_wal_keep_size => '2MB');
	kill STOP => $pid;
	$session->try_query("SELECT pg_logical_emit_message(false, 'soak', repeat('x', 900000)), pg_switch_wal()") for 1 .. 6;

	# the checkpoint ends who holds the slot, and waits for him
	$session->begin_query('CHECKPOINT');
	usleep(700_000);
	kill CONT => $pid;
	my $lost = 0;
	for (1 .. 100)
	{
		last if $lost = $soak->ask("SELECT count(*) FROM pg_replication_slots WHERE wal_status = 'lost'") || $soak->log_since =~ /invalidating (?:obsolete replication )?slot/;
		usleep(50_000);
	}
	$session->wait_query;
	$session->quit;

	# now and then the worker that makes up for it does not come to an end either
	if ($lost && rand() < 0.4)
	{
		$pid = worker($soak);
		usleep(int(rand(200_000)));
		kill KILL => $pid if $pid;
	}
	$soak->load(0.5);
	reset_settings($soak);
	return $lost ? 1 : 0;
}

# ---- memory

sub limit
{
	my ($pid, $more) = @_;
	push @limited, $pid;
	return limit_memory($pid, $more);
}

sub unlimit_memory
{
	system("prlimit --pid $_ --as=unlimited: 2>/dev/null") for splice @limited;
	return;
}

# the request is made by the server, so that it is there that memory lacks
sub memory_push
{
	my ($first) = @_;
	my @mutations = map { "jsonb_build_object('id', $_, 'op', 'insert', 'table', 'soak_memory', 'key', jsonb_build_object('id', $_), 'values', jsonb_build_object('body', repeat('x', 300000)))" }
	  $first .. $first + 3;
	return "SELECT tide.push(jsonb_build_object('client', '$memory_client', 'mutations', jsonb_build_array(" . join(', ', @mutations) . ')))';
}

# pushes and pulls that need more than there is: refused as a whole, and a push is taken when sent again
sub memory_of_backend
{
	my ($soak) = @_;
	my $push = memory_push($memory_id + 1);
	my $pull = 'SELECT length(tide.pull(' . sql_json({ client => $memory_client, shapes => { memory => [ {} ], ledger => [ {} ] }, limit => 10000 }) . ')::text)';
	my $failed = 0;

	for my $most (1, 300_000, 3_000_000, 6_000_000, 10_000_000)
	{
		for my $sql ($push, $pull)
		{
			my $session = TideSession->new($soak->{node});
			my ($pid) = ($session->try_query('SELECT pg_backend_pid()'))[0] =~ /(\d+)\z/ or return $failed;
			my $more = int(rand($most));
			limit($pid, $more) or return $failed;
			my (undef, $err) = $session->try_query($sql);
			$failed++ if $err =~ /53200/;
			$soak->problem("under a memory limit of $more more: $err") if $err =~ /ERROR|FATAL|lost/ && $err !~ /53200/;
			note "limit $more: " . substr($err, 0, 240) =~ s/\s+/ /gr;
			unlimit_memory();
			$session->quit;
		}
	}
	my $session = TideSession->new($soak->{node});
	my ($out, $err) = $session->try_query($push);
	$memory_id += 4;
	$soak->problem("a push after it was out of memory: $out $err") if $out !~ /"last_mutation_id" ?: ?$memory_id\b/ || $out =~ /rejected/;
	my ($count) = $session->try_query('SELECT count(*) FROM soak_memory WHERE id > ' . ($memory_id - 4));
	$soak->problem("of 4 rows pushed $count are there") if $count ne '4';
	$session->quit;
	return $failed;
}

sub memory_of_worker
{
	my ($soak) = @_;
	my $pid = worker($soak) or return 0;

	limit($pid, int(rand(4_000_000))) or return 0;
	$soak->ask('INSERT INTO soak_memory SELECT -nextval, body FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS nextval) n,'
		  . " (SELECT string_agg(md5(i::text), '') AS body FROM generate_series(1, " . (50_000 + int(rand(200_000))) . ') i) b');
	$soak->load(1.5);
	unlimit_memory();
	my @lines = grep { /\[$pid\]/ && /out of memory/ } split /\n/, $soak->log_since;
	return scalar @lines;
}

# every process that the postmaster starts from now on, a new worker among them
sub memory_of_all
{
	my ($soak) = @_;
	my $postmaster = $soak->{node}{_pid};
	my $pid = worker($soak);

	limit($postmaster, 1_500_000 + int(rand(6_000_000))) or return 0;
	kill TERM => $pid if $pid;
	$soak->{world}->disconnect;
	$soak->load(2);
	unlimit_memory();
	push @limited, children_of($postmaster);
	unlimit_memory();
	return scalar(() = $soak->log_since =~ /out of memory|Cannot allocate memory/g);
}

# ---- promotion

# A standby that has what the primary acknowledges (synchronous_standby_names); the primary's host dies.
sub standby_promoted
{
	my ($soak) = @_;
	my $old = $soak->{node};
	my $disk = 1 - $soak->{disk};
	my $new = make_node($disk);
	my $copy = IPC::Run::start([ 'pg_basebackup', '-D', $new->data_dir, '-h', $old->host, '-p', $old->port, '-U', 'postgres', '-c', 'fast', '--no-sync' ],
		'>', \my $out, '2>', \my $err);

	while ($copy->pumpable && $copy->pump_nb && $soak->load(0.2)) { }
	$copy->finish or die "pg_basebackup: $err";
	$new->append_conf('postgresql.conf', 'port = ' . $new->port . "\nunix_socket_directories = '" . $new->host . "'\n");
	$new->enable_streaming($old);
	$new->start;
	set($soak, synchronous_standby_names => '*');
	my $lsn = $soak->ask('SELECT pg_current_wal_insert_lsn()');
	wait_for_sql($old, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync' AND flush_lsn >= '$lsn')");
	$soak->{world}{standby} = $new;
	$soak->load(1.5);
	$soak->begin_load;
	die_of($old);
	delete $soak->{world}{standby};
	delete $soak->{settings};
	$new->promote;
	wait_for_sql($new, 'SELECT NOT pg_is_in_recovery()');
	$soak->move_to($new, $disk);
	rmtree($old->basedir);
	return 1;
}

sub make_node
{
	my ($disk) = @_;
	local $PostgreSQL::Test::Utils::tmp_check = disk($disk);
	return PostgreSQL::Test::Cluster->new('soak' . ++$nodes);
}

# all of a server's processes end at once
sub die_of
{
	my ($node) = @_;
	my $postmaster = $node->{_pid};
	my @children = children_of($postmaster);

	kill STOP => $postmaster;
	$node->kill9;
	kill KILL => @children;
	for (1 .. 100)
	{
		last if !grep { kill 0 => $_ } @children;
		usleep(20_000);
	}
	return;
}

sub children_of
{
	my ($pid) = @_;
	return map { m{/proc/(\d+)/} ? $1 : () } grep { parent_of($_) == $pid } glob '/proc/[0-9]*/stat';
}

sub parent_of
{
	my ($path) = @_;
	open my $stat, '<', $path or return 0;
	return (<$stat> // '') =~ /\) \w (\d+)/ ? $1 : 0;
}

# ---- afterwards

sub fault_heal
{
	my ($soak) = @_;
	disk_free(disk($_)) for 0, 1;
	unlimit_memory();
	$soak->revive;
	reset_settings($soak);
	return;
}

1;
