package TidePushClient;

=head1 NAME

TidePushClient - a simulated client that writes while it is offline

=head1 SYNOPSIS

    my $client = TidePushClient->new(3);                       # 0 has the lowest id of all
    my $row = $client->view('public.docs', { id => 5 });       # replica and pending writes
    $client->write({ kind => 'hits', body => { op => 'update', ... }, ... });
    my ($text, $last) = $client->request(20);                  # a push of what is unanswered
    $client->take_answer($lines);                              # its results, in any order, any number of times
    $client->took_pull;                                        # after pull_page() into $client->{state}

=head1 NOTES

A mutation keeps what its kind (TidePushKinds) remembers of it, and gets status, code and lost
columns from the first answer that tells. Later answers must say the same. A mutation is pending, and
shows in view(), until a pull says that the server has taken it.

=cut

use strict;
use warnings;
use JSON::PP ();
use TideCluster ();
use Time::HiRes 'time';

my $json = JSON::PP->new->canonical->allow_nonref;

sub new
{
	my ($class, $number) = @_;
	my $node = sprintf '%04x%012x', 0x8000 + int(rand(0x4000)), $number;
	return bless {
		number => $number,
		uuid   => sprintf('%s%07x-0000-4000-%s-%s', $number ? 'c' : 'b', int(rand(2**28)), substr($node, 0, 4), substr($node, 4)),
		node   => $node,
		state  => TideCluster::new_state(),
		skew    => $number ? int(rand(4001)) - 2000 : 0,    # of the client's wall clock, ms
		clock   => [ 0, 0 ],
		writes  => 0,                         # for the vector clock
		log     => [],                        # all mutations; the one of id n is at n - 1
		answered => 0,                        # ids up to here have been answered
		acked    => 0,                        # and up to here pulled
		problems => [] }, $class;
}

# a clock of this client, ms ahead of what it believes the time to be
sub clock
{
	my ($self, $ahead) = @_;
	my $now = int(time * 1000) + $self->{skew};
	my $last = $self->{clock};

	return sprintf '%012x-%04x-%s', $now + $ahead, 0, $self->{node} if $ahead;
	$self->{clock} = $now > $last->[0] ? [ $now, 0 ] : [ $last->[0], $last->[1] + 1 ];
	return sprintf '%012x-%04x-%s', @{ $self->{clock} }, $self->{node};
}

# the id the next mutation written will have
sub next_id { return @{ $_[0]{log} } + 1; }

# queue mutations: { body => {...}, kind => ..., and what the kind remembers }
sub write
{
	my ($self, @mutations) = @_;

	for my $mutation (@mutations)
	{
		my $body = $mutation->{body};
		$body->{id} = $mutation->{id} = $self->next_id;
		$mutation->{client} = $self->{number};
		$mutation->{text} = $json->encode($body);
		push @{ $self->{log} }, $mutation;
	}
	return;
}

# what the user sees of a row: the replica's with the pending writes over it, or undef
sub view
{
	my ($self, $table, $key) = @_;
	my $name = "$table " . $self->key_text($key);
	my $row;

	for my $rows (values %{ $self->{state}{rows} })
	{
		my $entry = $rows->{$name} or next;
		$entry->{value} //= $json->decode($entry->{row});
		$row = { %{ $entry->{value} } };
	}
	for my $id ($self->{acked} + 1 .. @{ $self->{log} })
	{
		my $body = $self->{log}[ $id - 1 ]{body};
		next if !defined $body->{table} || "public.$body->{table}" ne $table || $body->{key}{id} != $key->{id};
		if ($body->{op} eq 'delete') { $row = undef; }
		elsif ($row || $body->{op} eq 'insert')
		{
			$row = { %{ $row // $key }, %{ $body->{values} } };
		}
	}
	return $row;
}

# as jsonb writes it; keys are small integers
sub key_text { return qq({"id": $_[1]{id}}); }

sub pending { return @{ $_[0]{log} } - $_[0]{acked}; }

sub unanswered { return @{ $_[0]{log} } - $_[0]{answered}; }

# Text of a push of about $size mutations, and the last id in it. Groups are sent whole. Some of
# those answered before come again.
sub request
{
	my ($self, $size, %opts) = @_;
	my $log = $self->{log};
	my $first = $opts{first} // $self->{answered} + 1;
	my $last = $first + $size - 1;

	$first-- while $first > 1 && defined $log->[ $first - 1 ] && _same_group($log->[ $first - 2 ], $log->[ $first - 1 ]);
	$last = @$log if $last > @$log;
	$last++ while $last < @$log && _same_group($log->[ $last - 1 ], $log->[$last]);

	my $text = qq({"client":"$self->{uuid}",);
	$text .= '"atomic":true,' if $opts{atomic};
	$text .= qq("rejected_seen":$self->{rejected_seen},) if $opts{seen} && $self->{rejected_seen};
	$text .= '"mutations":[' . join(',', map { $_->{text} } @$log[ $first - 1 .. $last - 1 ]) . ']}';
	return ($text, $last);
}

sub _same_group { return ($_[0]{body}{tx} // 0) == ($_[1]{body}{tx} // -1); }

# lines "id status code columns-as-json", tabs between
sub take_answer
{
	my ($self, $lines) = @_;
	my $log = $self->{log};

	for my $line (split /\n/, $lines)
	{
		my ($id, $status, $code, $columns) = split /\t/, $line, 4;
		my $mutation = $log->[ $id - 1 ];

		if (!defined $mutation->{status})
		{
			@$mutation{qw(status code columns)} = ($status, $code, $columns);
			$mutation->{lost} = $columns ? $json->decode($columns) : {};
		}
		elsif (join(' ', @$mutation{qw(status code columns)}) ne "$status $code $columns")
		{
			push @{ $self->{problems} }, "client $self->{number} mutation $id: answered "
			  . "'$mutation->{status} $mutation->{code} $mutation->{columns}', then '$status $code $columns'";
		}
	}
	$self->{answered}++ while $self->{answered} < @$log && defined $log->[ $self->{answered} ]{status};
	return;
}

# after a pull: what the server has taken is no longer pending
sub took_pull
{
	my ($self) = @_;
	my $state = $self->{state};
	my $last = $state->{last_mutation_id};

	# before that, a replica that begins anew is told of none
	return if !$state->{complete} || !defined $last;
	push @{ $self->{problems} }, "client $self->{number}: last_mutation_id went back from $self->{acked} to $last"
	  if $last < $self->{acked};
	push @{ $self->{problems} }, "client $self->{number}: last_mutation_id $last was never written"
	  if $last > @{ $self->{log} };
	$self->{acked} = $last;
	for my $rejected (@{ $state->{rejected} })
	{
		push @{ $self->{problems} }, "client $self->{number}: told of rejection $rejected->{id}, taken are $last" if $rejected->{id} > $last;
		push @{ $self->{problems} }, "client $self->{number}: told again of rejection $rejected->{id}" if $rejected->{id} <= ($self->{rejected_sent} // 0);
		$self->{told}{ $rejected->{id} } = $rejected->{code};
		$self->{rejected_seen} = $rejected->{id} if $rejected->{id} > ($self->{rejected_seen} // 0);
	}
	$state->{rejected} = [];
	return;
}

1;
