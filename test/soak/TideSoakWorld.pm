package TideSoakWorld;

=head1 NAME

TideSoakWorld - random tables, shapes, transactions and DDL that outlive their server

=head1 SYNOPSIS

    my $world = TideSoakWorld->new($node);
    $world->renew;                        # other tables and shapes in the place of the last
    $world->step;                         # a few transactions, pulls, DDL; never waits for a server that is not there
    $world->{standby} = $standby;         # half of the pulls go there
    $world->{node} = $promoted;           # another server, which has what the former acknowledged
    my @problems = $world->settle;        # when all faults are over: what is not as it should be

=head1 NOTES

Tables, shapes and the queries that say what clients must have are those of test/tap/shape_model.pl (TideWorld, TideShapes).
Every transaction and every DDL writes a row of its own into soak_ledger and reads it back after COMMIT: what was
read back has been acknowledged and must be there at the end of the round. So it is also known whether a DDL happened whose answer got lost.

Clients A and C go on and on, B begins anew now and then, D has soak_ledger and soak_memory.

=cut

use strict;
use warnings;
use JSON::PP ();
use Time::HiRes qw(time usleep);
use TideCheck;
use TideCluster;
use TideSession;
use TideShapes;
use TideWorld;

my $json = JSON::PP->new->canonical->allow_nonref;
my $per_world = 7;
my $writers = 3;

# errors after which somebody tries again; and what random transactions may meet with
my $passing = qr/(?:ERROR|FATAL|PANIC): +(?:40001|40P01|55P03|57\w{3}|53\w{3}|58030|58P01|08\w{3}|25006)|lost|connection to server|no connection/;
my $allowed = qr/ERROR: +(?:23|25P02|3B|40|42703|42804|22P02)/;

# refusals of shapes that a definition may meet with
my $refusals = qr/ERROR: +(?:22023|0A000|42P17|54000)/;

sub new
{
	my ($class, $node) = @_;
	my $self = bless {
		node => $node, number => 0, shape_number => 0, ledger_number => 0, session => {}, acked => {}, problems => [], shapes => {},
		count => { map { $_ => 0 } qw(transactions acknowledged ddl shapes pages standby_pages drops rows verified lost pulled resynced) } }, $class;

	$node->safe_psql('postgres', <<'SQL');
CREATE TABLE soak_ledger (w int, n bigint, body text, PRIMARY KEY (w, n));
CREATE TABLE soak_memory (id bigint PRIMARY KEY, body text);
ALTER TABLE soak_memory ALTER body SET STORAGE EXTERNAL;
SELECT tide.allow_writes('soak_memory');
SELECT tide.create_shape('ledger', '{"table": "soak_ledger"}'), tide.create_shape('memory', '{"table": "soak_memory"}');
SQL
	install_check($node);
	$self->{fixed} = { name => 'D', claims => {}, params => { ledger => [ {} ], memory => [ {} ] }, state => new_state() };
	return $self;
}

sub problem { my ($self, $text) = @_; push @{ $self->{problems} }, substr($text, 0, 4000); return; }

# a session that is connected, or undef while the server is not there
sub session
{
	my ($self, $name) = @_;
	my $session = $self->{session}{$name};
	my $node = $name eq 'standby' ? $self->{standby} : $self->{node};

	return $session if $session && !$session->{lost} && $session->{of} == $node;
	$session->quit if $session;
	$session = $self->{session}{$name} = TideSession->new($node);
	my (undef, $err) = $session->try_query($self->{world} ? "SET search_path = $self->{world}{schema}, public" : 'SELECT 1');
	$session->{of} = $node;
	return $session if $err !~ /ERROR|FATAL|PANIC|connection|lost/;
	delete $self->{session}{$name};
	$session->quit;
	return;
}

sub disconnect
{
	my ($self) = @_;
	$_->quit for values %{ $self->{session} };
	$self->{session} = {};
	return;
}

# ---- the world

sub clients { my ($self) = @_; return map { $self->{clients}{$_} } sort keys %{ $self->{clients} }; }

# when nothing else goes on and no fault is injected
sub renew
{
	my ($self) = @_;
	my $main = $self->session('main') or die 'no connection';
	my $n = ++$self->{number};

	$main->query("SELECT tide.drop_shape('$_')") for sort keys %{ $self->{shapes} };
	$main->query("DROP SCHEMA $self->{world}{schema} CASCADE") if $self->{world};
	$self->{shapes} = {};
	my $world = world_new($n, unit => 'second', now => time);
	my (undef, $errors) = $main->try_query(world_sql($world));
	$self->problem("world $n: $1") if $errors =~ /(ERROR: ++(?!23).*)/;
	$self->{world} = $world;
	$self->disconnect;
	$self->{clients} = { map { $_ => { name => $_, claims => world_claims($world), params => {}, state => new_state() } } qw(A B C) };
	for (1 .. 100)
	{
		last if keys %{ $self->{shapes} } >= $per_world;
		$self->define('create_shape', shape_new($world, 's' . ++$self->{shape_number}));
	}
	return;
}

sub json_params { my ($domains, $values) = @_; return { map { $_ => json_value($domains->{$_}, $values->{$_}) } keys %$values }; }
sub json_claims { my ($self, $client) = @_; return json_params($self->{world}{claims}, $client->{claims}); }

# ---- DDL and shapes: done or not, even if the answer is lost

# Run commands in one transaction; $accept->() when it was committed, $refused->(errors) when an error was not a passing one.
sub change
{
	my ($self, $sql, $accept, $refused) = @_;
	my $main = $self->session('main') or return;
	my $n = ++$self->{ledger_number};
	my $ledger = "INSERT INTO public.soak_ledger VALUES (99, $n)";

	$sql = "BEGIN;\n$sql;\nCOMMIT;\n" if $sql !~ /\ABEGIN;/;
	$sql =~ s/COMMIT;\n\z/$ledger;\nCOMMIT;\n/;
	my (undef, $err) = $main->try_query($sql);
	if ($err !~ /ERROR|FATAL|PANIC|lost|connection/)
	{
		$self->{acked}{"99 $n"} = 1;
		$accept->();
	}
	elsif ($err =~ $passing)
	{
		$self->{pending} = { n => $n, accept => $accept };
		$self->resolve;
	}
	else
	{
		$main->try_query('ROLLBACK');
		$refused->($err);
	}
	return;
}

# whether the change whose answer was lost has happened; true when nothing is open any more
sub resolve
{
	my ($self) = @_;
	my $pending = $self->{pending} or return 1;
	my $main = $self->session('main') or return 0;
	my ($out, $err) = $main->try_query("ROLLBACK;\nSELECT 'is ' || count(*) FROM soak_ledger WHERE w = 99 AND n = $pending->{n}");

	return 0 if $out !~ /is (\d)/;
	delete $self->{pending};
	$pending->{accept}->() if $1;
	return 1;
}

sub define
{
	my ($self, $function, $shape) = @_;
	my $accept = sub {
		$self->{count}{shapes}++;
		$self->{shapes}{ $shape->{name} } = $shape;
		$_->{params}{ $shape->{name} } = [ map { shape_params($shape) } 1 .. (%{ $shape->{params} } ? 1 + number(3) : 1) ] for $self->clients;
		delete $self->{clients}{B}{params}{ $shape->{name} } if chance(0.4);
	};
	$self->change("SELECT tide.$function('$shape->{name}', " . sql_json($shape->{definition}) . ')', $accept,
		sub { $self->problem("$function: $_[0]\n" . $json->encode($shape->{definition})) if $_[0] !~ $refusals });
	return;
}

sub change_shapes
{
	my ($self) = @_;
	my @names = sort keys %{ $self->{shapes} };
	my $kind = number(4);

	if ($kind == 0 && @names > 3)
	{
		my $name = pick(@names);
		$self->change("SELECT tide.drop_shape('$name')",
			sub { delete $self->{shapes}{$name}; delete $_->{params}{$name} for $self->clients; },
			sub { $self->problem("drop_shape: $_[0]") });
	}
	elsif ($kind == 1 && @names) { $self->define('replace_shape', shape_new($self->{world}, pick(@names))); }
	elsif (@names < $per_world * 1.5) { $self->define('create_shape', shape_new($self->{world}, 's' . ++$self->{shape_number})); }
	return;
}

sub change_tables
{
	my ($self) = @_;
	my $definitions = join ' ', map { $json->encode($_->{definition}) } values %{ $self->{shapes} };
	my $ddl = world_ddl($self->{world}, sub { return $definitions =~ /\b$_[0]\b/ });

	if ($ddl->{sql} =~ /VACUUM/)
	{
		my $main = $self->session('main') or return;
		$main->try_query($ddl->{sql});
		return;
	}
	$self->change($ddl->{sql} =~ s/;\n\z//r =~ s/;\nCOMMIT\z/;\nCOMMIT;\n/r, sub { $ddl->{done}->(); $self->{count}{ddl}++; },
		sub { $self->problem("DDL: $_[0]\n$ddl->{sql}") if $_[0] !~ /ERROR: +(?:23|40|25P02)/ });
	return;
}

# ---- what goes on

sub step
{
	my ($self) = @_;

	$self->{world}{now} = time;
	my @busy = grep { $self->begin_writer($_) } 1 .. $writers;
	$self->pull_once($self->{clients}{ pick(qw(A A B C)) }) for 1 .. number(2);
	$self->pull_once($self->{fixed}) if chance(0.3);
	if ($self->resolve)
	{
		$self->change_tables if chance(0.06);
		$self->change_shapes if !$self->{pending} && chance(0.05);
	}
	$self->end_writer($_) for @busy;
	return;
}

sub begin_writer
{
	my ($self, $w) = @_;
	my $session = $self->session("writer $w") or return 0;
	my $sql = "ROLLBACK;\n";

	for (1 .. 1 + number(4))
	{
		my $text = world_transaction($self->{world});
		my $n = ++$self->{ledger_number};
		my $body = chance(0.05) ? "(SELECT string_agg(md5(i::text), '') FROM generate_series(" . number(500) . ', 1400) i)' : "'body $n'";
		my $forget = chance(0.1) ? "DELETE FROM public.soak_ledger WHERE w = 50 + $w;\nINSERT INTO public.soak_ledger SELECT 50 + $w, i, 'of $n' FROM generate_series(1, " . (chance(0.1) ? 3000 : number(40)) . ") i;\n" : '';
		$text =~ s/COMMIT;\n\z/${forget}INSERT INTO public.soak_ledger VALUES ($w, $n, $body);\nCOMMIT;\nSELECT 'acknowledged $n' FROM public.soak_ledger WHERE w = $w AND n = $n;\n/;
		$sql .= $text;
		$self->{count}{transactions}++;
	}
	$session->begin_query($sql);
	return 1;
}

sub end_writer
{
	my ($self, $w) = @_;
	my $session = $self->{session}{"writer $w"} or return;
	my ($out, $err) = $session->wait_query;

	while ($out =~ /^acknowledged (\d+)$/mg)
	{
		$self->{acked}{"$w $1"} = 1;
		$self->{count}{acknowledged}++;
	}
	for my $line (grep { /ERROR|FATAL|PANIC/ } split /\n/, $err)
	{
		$self->problem("transaction: $line") if $line !~ $passing && $line !~ $allowed;
	}
	return;
}

# one page; false if there was none
sub pull_once
{
	my ($self, $client) = @_;
	my $where = $self->{standby} && chance(0.5) ? 'standby' : 'main';
	my $session = $self->session($where) or return 0;
	my $state = $client->{state};
	my $shapes = $self->{shapes};
	my $is_fixed = $client == $self->{fixed};
	my %request = (
		client => '00000000-0000-4000-8000-00000000000' . lc $client->{name},
		claims => $is_fixed ? {} : $self->json_claims($client),
		shapes => { map { my $name = $_; $name => [ map { $is_fixed ? {} : json_params($shapes->{$name}{params}, $_) } @{ $client->{params}{$name} } ] } keys %{ $client->{params} } });

	if ($client->{name} eq 'B' && $state->{complete} && chance(0.15))
	{
		$state = $client->{state} = new_state();
		$self->{count}{resynced}++;
	}
	$request{resync} = [ map { 0 + $_ } (sort keys %{ $state->{rows} })[0] ] if chance(0.02) && %{ $state->{rows} };
	my $limit = chance(0.3) ? 10_000 : 1 + number(60);
	my ($before, $dropped) = ($state->{changes} // 0, $state->{drops} // 0);
	my $done = eval { pull_page($self->{node}, \%request, $state, limit => $limit, session => $session); 1 };
	$self->{count}{ $where eq 'main' ? 'pages' : 'standby_pages' }++ if $done;
	$self->{count}{pulled} += ($state->{changes} // 0) - $before;
	$self->{count}{drops} += ($state->{drops} // 0) - $dropped;
	return 1 if $done;

	# a shape that is not known whether it was dropped may be asked for, and one that a standby does not know yet
	return 0 if $@ =~ $passing || $self->{pending} || ($where eq 'standby' && $@ =~ /ERROR: +(?!XX)/);
	$self->problem("pull of client $client->{name}: $@" . $self->failed_shapes);
	return 0;
}

sub failed_shapes
{
	my ($self) = @_;
	my $main = $self->session('main') or return '';
	return ($main->try_query("SELECT 'shape ' || name || ' failed: ' || error || ' ' || definition::text FROM tide.shapes WHERE state = 'failed'"))[0];
}

# ---- comparing

# Everything stored and every client, when no fault is injected any more; what is wrong. May run while others push.
sub settle
{
	my ($self) = @_;
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;

	until ($self->resolve)
	{
		die 'no answer in time' if time > $until;
		usleep(100_000);
	}
	my $failed = $self->failed_shapes;
	$self->problem($failed) if $failed ne '';
	$self->ledger_check if !@{ $self->{problems} };
	$self->client_check($_) for $self->clients;
	$self->fixed_check if !@{ $self->{problems} };
	$self->verify_check if !@{ $self->{problems} };
	if (!@{ $self->{problems} })
	{
		my $stored = store_problems($self->{node});
		$self->problem("stored data: $stored") if $stored ne '';
	}
	my @problems = @{ $self->{problems} };
	$self->{problems} = [];
	return @problems;
}

# each acknowledged transaction is there
sub ledger_check
{
	my ($self) = @_;
	my %there = map { (s/\|/ /r => 1) } split /\n/, $self->session('main')->query('SELECT w, n FROM soak_ledger');
	my @lost = grep { !$there{$_} } sort keys %{ $self->{acked} };

	$self->{count}{lost} += @lost;
	$self->problem('acknowledged but lost: transactions ' . join(', ', @lost[ 0 .. ($#lost < 20 ? $#lost : 20) ])) if @lost;
	return;
}

# the ledger's rows of a round have been looked at; nobody writes
sub begin_round
{
	my ($self) = @_;
	$self->session('main')->query('DELETE FROM soak_ledger WHERE w < 50 OR w = 99; DELETE FROM soak_memory WHERE id % 5 <> 0');
	$self->{acked} = {};
	return;
}

sub complete
{
	my ($self, $client) = @_;
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;

	$client->{state}{complete} = 0;
	$client->{now} = '';
	while ($client->{now} eq '' && !@{ $self->{problems} })
	{
		$self->pull_once($client);

		# what now() meant at the client's checkpoint, if that is still the newest
		$client->{now} = ($self->session('main') // die 'the server is gone')->query("SELECT \"now\" FROM tide_internal.checkpoints WHERE at = '$client->{state}{checkpoint}{at}'")
		  if $client->{state}{complete};
		if (time > $until)
		{
			$self->problem("client $client->{name} is not complete in time");
			return;
		}
	}
	return;
}

sub fixed_check
{
	my ($self) = @_;
	my $client = $self->{fixed};

	$self->complete($client);
	return if @{ $self->{problems} };
	for my $table (qw(soak_ledger soak_memory))
	{
		my @want = query_rows($self->{node}, "SELECT * FROM $table");
		my @have = state_rows($client->{state}, "public.$table");
		$self->{count}{rows} += @want;
		$self->problem("client D has " . @have . " rows of $table that differ from the table's " . @want) if join("\n", @want) ne join("\n", @have);
	}
	return;
}

# {shape path}{table key} = row
sub held_rows
{
	my ($self, $client) = @_;
	my $state = $client->{state};
	my %held;
	for my $id (sort { $a <=> $b } keys %{ $state->{rows} })
	{
		my $bucket = $state->{buckets}{$id};
		if (!$bucket)
		{
			$self->problem("client $client->{name} has rows of bucket $id, which no answer lists");
			next;
		}
		my $rows = $held{"$bucket->{shape} " . ($bucket->{path} // '')} //= {};
		while (my ($key, $entry) = each %{ $state->{rows}{$id} })
		{
			$self->problem("two versions of $key in $bucket->{shape}: $rows->{$key} and $entry->{row}")
			  if defined $rows->{$key} && $rows->{$key} ne $entry->{row};
			$rows->{$key} = $entry->{row};
		}
	}
	return \%held;
}

sub client_check
{
	my ($self, $client) = @_;

	return if @{ $self->{problems} };
	$self->complete($client);
	return if @{ $self->{problems} };
	my $held = $self->held_rows($client);
	for my $name (sort keys %{ $client->{params} })
	{
		my $shape = $self->{shapes}{$name};
		my %want;
		for my $params (@{ $client->{params}{$name} })
		{
			my $query = shape_query($shape, $params, $client->{claims}, "'$client->{now}'::timestamptz");
			for my $line (split /\n/, $self->session('main')->query("SELECT path, chr(9) || key, chr(9) || row FROM ($query) q"))
			{
				my ($path, $key, $row) = split /\|?\t/, $line, 3;
				my ($of) = grep { $_->{path} eq $path } @{ $shape->{nodes} };
				$want{"$name $path"}{"$self->{world}{schema}.$of->{table}{quoted} $key"} = $row;
				$self->{count}{rows}++;
			}
		}
		my $differences = join '', map { differences($_->{path}, $want{"$name $_->{path}"} // {}, $held->{"$name $_->{path}"} // {}) } @{ $shape->{nodes} };
		next if $differences eq '';
		$self->problem("client $client->{name} at $client->{state}{checkpoint}{at}:\n" . substr($differences, 0, 1500) . "\nshape $name: "
			  . $json->encode($shape->{definition}) . ' params ' . $json->encode($client->{params}{$name}) . ' claims ' . $json->encode($self->json_claims($client)));
	}
	return;
}

sub differences
{
	my ($path, $want, $have) = @_;
	return join '', (map { "  '$path' lacks $_: $want->{$_}\n" } grep { !defined $have->{$_} } sort keys %$want),
	  (map { "  '$path' has $_: $have->{$_}\n" } grep { !defined $want->{$_} } sort keys %$have),
	  (map { "  '$path' has $_: $have->{$_}, wants $want->{$_}\n" } grep { defined $have->{$_} && $have->{$_} ne $want->{$_} } sort keys %$want);
}

sub verify_check
{
	my ($self) = @_;
	my $client = $self->{clients}{ pick(qw(A C)) };

	for my $name (sort keys %{ $self->{shapes} })
	{
		for my $params (@{ $client->{params}{$name} // [] })
		{
			my $found = $self->session('main')->query("SELECT v FROM tide.verify('$name', " . sql_json(json_params($self->{shapes}{$name}{params}, $params))
				  . ', ' . sql_json($self->json_claims($client)) . ') v LIMIT 5');
			$self->{count}{verified}++;
			$self->problem("tide.verify of $name finds $found") if $found ne '';
		}
	}
	for my $name (qw(ledger memory))
	{
		my $found = $self->session('main')->query("SELECT v FROM tide.verify('$name', '{}', '{}') v LIMIT 5");
		$self->{count}{verified}++;
		$self->problem("tide.verify of $name finds $found") if $found ne '';
	}
	return;
}

1;
