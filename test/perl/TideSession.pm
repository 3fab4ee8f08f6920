package TideSession;

=head1 NAME

TideSession - a psql that stays connected

=head1 SYNOPSIS

    my $s = TideSession->new($node, db => 'postgres', user => 'app');
    my $out = $s->query('SELECT 1');      # dies on an SQL error, as safe_psql does
    $s->begin_query('SELECT pg_sleep(1)'); # sent, not waited for
    $out = $s->end_query;
    my ($out2, $err) = $s->try_query('SELECT 1/0');
    $s->quit;

=head1 NOTES

Thousands of statements per second, which a psql process for each could not do. Several
sessions work at the same time: begin_query() on each, then end_query() on each.

=cut

use strict;
use warnings;
use IPC::Open3;
use IO::Select;
use PostgreSQL::Test::Utils ();
use Symbol 'gensym';
use Time::HiRes 'time';

my $counter = 0;

sub new
{
	my ($class, $node, %opts) = @_;
	my $connstr = $node->connstr($opts{db} // 'postgres');
	$connstr .= " user=$opts{user}" if defined $opts{user};
	$connstr .= " options='$opts{options}'" if defined $opts{options};
	my $err = gensym;
	my $pid = open3(my $in, my $out, $err, 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $connstr, '-f', '-');
	binmode $_ for $in, $out, $err;
	my $self = bless { pid => $pid, in => $in, out => $out, err => $err, buffer => '', errors => '' }, $class;
	$self->query($opts{setup}) if defined $opts{setup};
	return $self;
}

# send statements without waiting for them; "-- ..." and \commands are allowed
sub begin_query
{
	my ($self, $sql) = @_;
	local $SIG{PIPE} = 'IGNORE';
	utf8::downgrade($sql);    # bytes, as all text in these tests
	$self->{mark} = 'end of query ' . ++$counter;
	$self->{sql} = $sql;
	$self->{sent} = syswrite_all($self->{in}, "$sql\n;\n\\echo $self->{mark}\n\\warn $self->{mark}\n");
	return;
}

sub syswrite_all
{
	my ($handle, $data) = @_;
	my $done = 0;
	while ($done < length $data)
	{
		my $n = syswrite($handle, $data, length($data) - $done, $done);
		return 0 if !defined $n;
		$done += $n;
	}
	return 1;
}

# (output, errors) of the statements sent last; errors is 'lost' when the connection is
sub wait_query
{
	my ($self) = @_;
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;
	my $mark = delete $self->{mark};
	my $select = IO::Select->new($self->{out}, $self->{err});
	my %buffer = (out => delete $self->{buffer}, err => delete $self->{errors});
	my %done;

	while (keys %done < 2)
	{
		my $left = $until - time;
		die "timed out: $self->{sql}" if $left <= 0;
		for my $handle ($select->can_read($left))
		{
			my $name = $handle == $self->{out} ? 'out' : 'err';
			my $n = sysread $handle, $buffer{$name}, 65536, length $buffer{$name};
			if (!$n)
			{
				$select->remove($handle);
				$done{$name} = 1;
				$self->{lost} = 1;
			}
		}
		for my $name (qw(out err))
		{
			my $at = rindex $buffer{$name}, "$mark\n";
			next if $at < 0;
			$done{$name} = 1;
			substr $buffer{$name}, $at, length("$mark\n"), '';
		}
	}
	$self->{buffer} = $self->{errors} = '';
	$buffer{out} =~ s/\n\z//;

	# psql may say so, go on to the mark, and only then exit
	$self->{lost} = 1 if $buffer{err} =~ /server closed the connection|connection to server was lost|no connection to the server/;
	$buffer{err} .= 'lost' if $self->{lost};
	return ($buffer{out}, $buffer{err});
}

sub end_query
{
	my ($self) = @_;
	my ($out, $err) = $self->wait_query;
	die "$err\nin: " . substr($self->{sql}, 0, 2000) if $err =~ /ERROR:|FATAL:|PANIC:|lost/;
	return $out;
}

sub query
{
	my ($self, $sql) = @_;
	$self->begin_query($sql);
	return $self->end_query;
}

sub try_query
{
	my ($self, $sql) = @_;
	$self->begin_query($sql);
	return $self->wait_query;
}

# SQLSTATE of a statement that should fail, or '' if it did not
sub error_code
{
	my ($self, $sql) = @_;
	my (undef, $err) = $self->try_query($sql);
	return $err =~ /(?:ERROR|FATAL): +(\w{5}):/ ? $1 : '';
}

sub quit
{
	my ($self) = @_;
	return if !defined $self->{pid};
	local $SIG{PIPE} = 'IGNORE';
	close $self->{in};
	waitpid delete $self->{pid}, 0;
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $!, $@);
	$self->quit;
	return;
}

1;
