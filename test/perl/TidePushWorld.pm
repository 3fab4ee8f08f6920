package TidePushWorld;

=head1 NAME

TidePushWorld - clients, a network that loses, doubles and reorders, and a server that dies

=head1 SYNOPSIS

    my $world = TidePushWorld->new($node, clients => 20);    # schema of TidePushKinds made
    $world->run(3000, crashes => 5);                         # mutations written in all
    $world->settle;                                          # everything answered and pulled
    my @problems = $world->problems;

    $world->step for 1 .. 100;                               # or one random thing after the other,
    $world->settle(again => 'new');                          # and settle now and then

=head1 NOTES

One process and one random choice after the other, but up to eight pushes and two transactions of
another app are on their way at the same time. A push may be sent by two connections at once, late, again
after others, or not at all; its answer may not be looked at. Crashes are kill -9 of a backend that
pushes, of the worker, and of the postmaster.

fault => 'double' | 'lost' | 'skip' | 'twice' plants a fault that problems() must find.
passing => regular expression of SQLSTATEs after which a push is sent again, besides those of crashes.
$world->{node} may become another server, which has what the former has acknowledged.

=cut

use strict;
use warnings;
use PostgreSQL::Test::Utils ();
use Time::HiRes qw(time usleep);
use TideCluster;
use TidePushClient;
use TidePushKinds;
use TideSession;

my $json = JSON::PP->new->canonical->allow_nonref;

# errors that undo a push or a transaction as a whole, and what is said while the server is not there
my $passing = qr/40001|40P01|57P01|57P02|57P03|55P03|25006|08\w\w\w|lost|connection to server|starting up|recovery mode|no connection/;

sub new
{
	my ($class, $node, %opts) = @_;
	my $self = bless {
		node => $node, %opts,
		wire => [],                 # pushes on their way: [ client, text ]
		slots => [ (map { { user => 'app' } } 1 .. 8), (map { { user => 'postgres' } } 1 .. 2) ],
		count => {} }, $class;

	$self->{pull_slot} = { user => 'app' };
	$self->{clients} = [ map { TidePushClient->new($_) } 0 .. ($opts{clients} // 20) - 1 ];
	my $first = $self->{clients}[0];
	$first->write(push_first($first));
	$self->_resend($first, 100);
	return $self;
}

# one of a list of (weight => name)
sub _choose
{
	my @weights = @_;
	my ($sum, $at) = (0);

	$sum += $weights[ $_ * 2 ] for 0 .. $#weights / 2;
	$at = rand($sum);
	for my $i (0 .. $#weights / 2)
	{
		$at -= $weights[ $i * 2 ];
		return $weights[ $i * 2 + 1 ] if $at < 0;
	}
	return $weights[-1];
}

# go on until $mutations more have been written; crashes are spread evenly
sub run
{
	my ($self, $mutations, %opts) = @_;
	my $crashes = $opts{crashes} // 0;
	my $written = 0;
	my $crashed = 0;

	while ($written < $mutations)
	{
		$written += $self->step;

		if ($crashed < $crashes && $written >= $mutations * ($crashed + 0.7) / $crashes)
		{
			$self->_crash($crashed++);
		}
		$self->_plant if $self->{fault} && !$self->{planted} && $written > $mutations / 2;
	}
	return;
}

# one random thing; returns how many mutations were written
sub step
{
	my ($self) = @_;
	my $what = _choose(30 => 'write', 30 => 'send', 15 => 'deliver', 20 => 'collect', 8 => 'pull', 5 => 'other', 0.2 => 'forget');
	my $client = $self->{clients}[ int(rand(@{ $self->{clients} })) ];

	return $self->_write($client) if $what eq 'write';
	if ($what eq 'send') { $self->_send($client); }
	elsif ($what eq 'deliver') { $self->_deliver for 1 .. 1 + int(rand(8)); }
	elsif ($what eq 'collect') { $self->_collect; }
	elsif ($what eq 'pull') { $self->_pull($client); }
	elsif ($what eq 'other') { $self->_other; }
	else { $self->_forget($client); }
	return 0;
}

sub _write
{
	my ($self, $client) = @_;
	my $before = $client->next_id;

	return 0 if $client->unanswered > 60;
	for (1 .. 1 + int(rand(8)))
	{
		$client->write(push_mutations($client));
	}
	return $client->next_id - $before;
}

sub _send
{
	my ($self, $client) = @_;
	my $wire = $self->{wire};

	return if !$client->unanswered || @$wire > 40;

	# now and then from before what is known to have been answered
	my $first = $client->{answered} + 1;
	$first -= int(rand(6)) if rand() < 0.2;
	$first = 1 if $first < 1;
	my ($text) = $client->request(1 + int(rand(rand() < 0.1 ? 60 : 15)), first => $first, atomic => rand() < 0.03, seen => rand() < 0.3);
	$self->{count}{sent}++;
	if (rand() < 0.08) { $self->{count}{requests_lost}++; return; }
	push @$wire, [ $client, $text ];
	if (rand() < 0.1) { $self->{count}{doubled}++; push @$wire, [ $client, $text ]; }
	return;
}

# any of the pushes on their way, by any connection that is free; it may stay to come again
sub _deliver
{
	my ($self) = @_;
	my $wire = $self->{wire};
	my ($slot) = grep { $_->{user} eq 'app' && !$_->{busy} } @{ $self->{slots} };

	return if !@$wire || !$slot || !$self->_connect($slot);
	my $at = int(rand(@$wire));
	my ($client, $text) = @{ $wire->[$at] };
	if (rand() < 0.9) { splice @$wire, $at, 1; }
	else              { $self->{count}{again}++; }
	@$slot{qw(busy seen)} = ($client, $text =~ /"rejected_seen":(\d+)/ ? $1 : 0);
	$slot->{session}->begin_query(_push_sql($text));
	return;
}

sub _push_sql
{
	return q{SELECT concat_ws(E'\t', r->>'id', r->>'status', coalesce(r->>'code', ''), coalesce(r->>'columns', ''))}
	  . ' FROM jsonb_array_elements((tide.push(' . sql_text($_[0]) . q{::jsonb)::jsonb)->'results') r};
}

# wait for one of the connections that are busy; its answer may be lost
sub _collect
{
	my ($self, $slot) = @_;

	if (!$slot)
	{
		my @busy = grep { $_->{busy} } @{ $self->{slots} };
		return if !@busy;
		$slot = $busy[ int(rand(@busy)) ];
	}
	my $client = delete $slot->{busy};
	my ($out, $err) = $slot->{session}->wait_query;

	if ($err =~ /ERROR|FATAL|PANIC|lost/)
	{
		$self->_failed($slot, $err);
		return;
	}
	return if !ref $client;
	if (rand() < 0.1) { $self->{count}{answers_lost}++; return; }
	$client->take_answer($out);
	$client->{rejected_sent} = $slot->{seen} if $slot->{seen} > ($client->{rejected_sent} // 0);
	return;
}

# a push or transaction did not happen, or nobody knows; anything unexpected ends the test
sub _failed
{
	my ($self, $slot, $err) = @_;
	my ($code) = $err =~ /(?:ERROR|FATAL|PANIC): +(\w{5}):/;

	$self->{count}{ 'error ' . ($code // 'connection') }++;
	if ($err =~ /lost|FATAL|PANIC|connection/)
	{
		delete($slot->{session})->quit;
		return;
	}
	# (which may meet a connection that has been lost since)
	$slot->{session}->try_query('ROLLBACK') if $slot->{user} eq 'postgres';
	return if $code && $self->{passing} && $code =~ /^(?:$self->{passing})$/;
	return if $err =~ /mutation ids have a gap|unique constraint.*notes_pkey|notes_doc_fkey/s || $err =~ $passing;
	die "unexpected error: $err";
}

# a session for the slot; false while the server is not there
sub _connect
{
	my ($self, $slot) = @_;

	return 1 if $slot->{session};
	my $session = TideSession->new($self->{node}, user => $slot->{user});
	my ($pid, $err) = $session->try_query('SELECT pg_backend_pid()');
	if ($pid !~ /^\d+$/)
	{
		die "could not connect: $err" if $err !~ $passing && !($self->{passing} && $err =~ /ERROR: +(?:$self->{passing}):/);
		$session->quit;
		return 0;
	}
	@$slot{qw(session pid)} = ($session, $pid);
	return 1;
}

sub _pull
{
	my ($self, $client) = @_;
	my $slot = $self->{pull_slot};
	my $state = $client->{state};

	return 0 if !$self->_connect($slot);
	my $limit = rand() < 0.2 ? 1 + int(rand(40)) : 1000;
	my $done = eval
	{
		do
		{
			pull_page($self->{node}, { client => $client->{uuid}, shapes => { push_shapes() } }, $state, session => $slot->{session}, limit => $limit);
			$client->took_pull;
		} until $state->{complete};
		1;
	};
	$self->{count}{pulls}++;
	$self->_check_seen($client) if $done && rand() < 0.2;
	return 1 if $done;
	my $err = $@;
	$self->_failed($slot, $err);
	return 0;
}

# What a replica has of sets was added before its checkpoint: else the server would not take it for seen.
sub _check_seen
{
	my ($self, $client) = @_;
	my $state = $client->{state};
	my @elements = map { my $row = $json->decode($_); (@{ $row->{tags} }, @{ $row->{labels} }) } state_rows($state, 'public.docs');
	# nothing is said by a server that is not there, or not in a mood to answer
	my $known = eval { $self->{node}->safe_psql('postgres', 'SELECT e, s.client_id, s.lsn, s.lsn > ' . "'$state->{checkpoint}{lsn}' FROM jsonb_array_elements("
		. sql_text($json->encode(\@elements)) . ") e JOIN tide_internal.set_elements s ON s.element_id = @{[ set_element_id('e') ]}") } // '';
	$self->{count}{elements_seen} += () = $known =~ /\|f$/mg;
	push @{ $client->{problems} }, map { "client $client->{number} at $state->{checkpoint}{lsn} has what was added later: $_" } grep { /\|t$/ } split /\n/, $known;
	return;
}

# a client that has lost its replica, but not its queue
sub _forget
{
	my ($self, $client) = @_;

	$client->{state} = new_state();
	delete $client->{rejected_sent};
	$self->{count}{forgotten}++;
	return;
}

# a transaction of the other app
sub _other
{
	my ($self) = @_;
	my ($slot) = grep { $_->{user} eq 'postgres' && !$_->{busy} } @{ $self->{slots} };

	return if !$slot || !$self->_connect($slot);
	$slot->{busy} = 1;
	$self->{count}{others}++;
	$slot->{session}->begin_query(push_server_write());
	return;
}

sub _crash
{
	my ($self, $n) = @_;
	my $node = $self->{node};
	my @busy = grep { $_->{busy} } @{ $self->{slots} };
	my $kind = (qw(backend worker postmaster))[ $n % 3 ];

	# what was asked a moment ago is in all states by now
	$self->_deliver for 1 .. 8;
	usleep(int(rand(20_000)));
	my $pid;
	if ($kind eq 'worker') { $pid = eval { tide_worker_pid($node) }; }
	elsif ($kind eq 'postmaster') { $pid = $node->{_pid}; }
	else
	{
		@busy = grep { $_->{busy} } @{ $self->{slots} };
		$pid = $busy[ int(rand(@busy)) ]{pid} if @busy;
	}
	return if !$pid;
	kill 'KILL', $pid;
	$self->{count}{"killed $kind"}++;
	if ($kind eq 'postmaster')
	{
		# its children find out by themselves; the data directory is free when they have gone
		restart_after_crash($node);
	}
	wait_for_sql($node, 'SELECT true');
	return;
}

# everything written is answered and pulled by its client; again => 'new': what was settled before is not sent once more
sub settle
{
	my ($self, %opts) = @_;
	my $node = $self->{node};

	$self->_collect($_) for grep { $_->{busy} } @{ $self->{slots} };
	$self->_deliver_rest;
	for my $client (@{ $self->{clients} })
	{
		$self->_resend($client, 200) while $client->unanswered;
	}

	# all of it once more, and what the first answers said
	for my $client (@{ $self->{clients} })
	{
		my $from = ($opts{again} // 'all') eq 'new' ? ($client->{settled} // 0) + 1 : 1;
		$client->{settled} = $client->{answered};
		for (my $first = $from; $first < $client->next_id; $first += 500)
		{
			$self->_resend($client, 500, first => $first);
		}
	}
	tide_sync($node);
	$_->{state}{complete} = 0 for @{ $self->{clients} };
	for my $client (@{ $self->{clients} })
	{
		my $tries = 0;
		while (!$self->_pull($client) || $client->pending)
		{
			die "client $client->{number} has " . $client->pending . ' mutations pending' if ++$tries > 20;
			usleep(200_000);
		}
	}
	return;
}

# what is still on its way arrives, in any order
sub _deliver_rest
{
	my ($self) = @_;

	while (@{ $self->{wire} })
	{
		$self->_deliver;
		$self->_collect if rand() < 0.5 || @{ $self->{slots} } == grep { $_->{busy} } @{ $self->{slots} };
	}
	$self->_collect($_) for grep { $_->{busy} } @{ $self->{slots} };
	return;
}

# one push, until it is answered
sub _resend
{
	my ($self, $client, $size, %opts) = @_;
	my $slot = $self->{slots}[0];
	my ($text) = $client->request($size, %opts);

	for my $try (1 .. 100)
	{
		usleep(100_000), next if !$self->_connect($slot);
		my ($out, $err) = $slot->{session}->try_query(_push_sql($text));
		if ($err !~ /ERROR|FATAL|PANIC|lost/)
		{
			$client->take_answer($out);
			return;
		}
		$self->_failed($slot, $err);
		die "a push of client $client->{number}: $err" if $err =~ /gap/ && ($self->{fault} // '') ne 'double';
		($text) = $client->request($size, first => $1) if $err =~ /next id expected of this client is (\d+)/;
	}
	die "a push of client $client->{number} was not answered";
}

# A server that breaks its promise: the last mutations are taken anew (double), some that never
# came are acknowledged (lost), a write is undone (skip) or done twice (twice).
sub _plant
{
	my ($self) = @_;
	my $client = (grep { $_->{answered} > 12 && $_->unanswered > 12 } @{ $self->{clients} })[0] or return;
	my $sql = {
		double => "WITH c AS (UPDATE tide_internal.clients SET last_mutation_id = last_mutation_id - 12 WHERE client_id = '$client->{uuid}' AND last_mutation_id > 12"
		  . ' RETURNING client_id, last_mutation_id) DELETE FROM tide_internal.mutations m USING c WHERE m.client_id = c.client_id AND m.mutation_id > c.last_mutation_id',
		lost => "UPDATE tide_internal.clients SET last_mutation_id = last_mutation_id + 6 WHERE client_id = '$client->{uuid}'",
		skip => "UPDATE docs SET hits = hits - 1, tags = tags[2:] WHERE id = 4",
		twice => "UPDATE docs SET hits = hits + 1, kept = kept || '!' WHERE id = 4" }->{ $self->{fault} };

	$self->{node}->safe_psql('postgres', $sql);
	$self->{planted} = 1;
	return;
}

# what does not agree, after settle()
sub problems
{
	my ($self) = @_;
	my $node = $self->{node};
	my @clients = @{ $self->{clients} };
	my @problems = map { @{ $_->{problems} } } @clients;

	for my $table (push_tables())
	{
		my $want = join "\n", query_rows($node, "SELECT * FROM $table");
		push @problems, map { "client $_->{number}: its $table are not the server's" }
		  grep { $want ne join "\n", state_rows($_->{state}, "public.$table") } @clients;
		my $verify = $node->safe_psql('postgres', "SELECT to_jsonb(v) FROM tide.verify('$table', '{}', '{}') v LIMIT 3");
		push @problems, "tide.verify('$table'): $verify" if $verify ne '';
	}
	for my $client (@clients)
	{
		push @problems, map { "client $client->{number}: a pull never told of rejection $_->{id} ($_->{code})" }
		  grep { ($_->{status} // '') eq 'rejected' && ($client->{told}{ $_->{id} } // '') ne $_->{code} } @{ $client->{log} };
	}
	return (@problems, push_problems($node, @clients));
}

# one line of what happened
sub summary
{
	my ($self) = @_;
	my %status;

	$status{ $_->{status} // 'unanswered' }++ for map { @{ $_->{log} } } @{ $self->{clients} };
	return join ', ', map { my $h = $_; map { "$h->{$_} $_" } sort keys %$h } \%status, $self->{count};
}

sub stop
{
	my ($self) = @_;
	$_->{session}->quit for grep { $_->{session} } @{ $self->{slots} }, $self->{pull_slot};
	return;
}

1;
