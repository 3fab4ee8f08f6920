# The same WAL through pg_tide, test_decoding and wal2json, on random tables and transactions:
# the same changes in the same order, with the same values.
#
#   TIDE_SEED    repeats the tables and statements of a run (not their timing)
#   TIDE_ROUNDS  how many rounds of 120 transactions (3)
use strict;
use warnings;
use Test::More;
use TideCluster;
use TideDiff;
use TideKinds;
use TideSession;

my $rounds = $ENV{TIDE_ROUNDS} || 3;
my $seed = $ENV{TIDE_SEED} || int(rand(2**31));
srand $seed;
note "seed $seed";
diag "stream_diff.pl: $rounds rounds, TIDE_SEED=$seed";

my $node = tide_new('diff', extension => 0, conf => "log_min_messages = fatal\nlogical_decoding_work_mem = 64kB\nmax_wal_size = 4GB\n");
my @writers = map { TideSession->new($node, setup => q{\set ON_ERROR_ROLLBACK on
	SET lock_timeout = '200ms'; SET client_min_messages = error}) } 1 .. 2;
my $session = TideSession->new($node, setup => diff_settings());
$session->query(kinds_types());
my @tables = kinds_tables();
$session->query($_->{sql}) for @tables;
my %pk = map { my $t = $_; map { $_ => $t->{pk} } $t->{name}, @{ $t->{leaves} // [] } } @tables;

# one slot, and copies of it for the other plugins
my $version = $session->query('SHOW server_version_num');
$session->query(q{SELECT pg_create_logical_replication_slot('tide', 'pg_tide')});
$session->query("SELECT pg_copy_logical_replication_slot('tide', '$_->[0]', false, '$_->[1]')")
  for [ 'test', 'test_decoding' ], [ 'w2j', 'wal2json' ];

my ($changes, $failed, %kinds) = (0, 0);
for my $round (1 .. $rounds)
{
	my @sql = map { kinds_transaction(\@tables) } 1 .. 120;
	while (@sql)
	{
		$_->begin_query(join '', splice @sql, 0, 10) for @writers;
		$failed += () = ($_->wait_query)[1] =~ /ERROR:/g for @writers;
	}
	my $problem = eval { compare_round() } // $@;
	is($problem, '', "round $round: the three agree");
	last if $problem ne '';
	$session->query("SELECT count(*) FROM pg_logical_slot_get_changes('$_', NULL, NULL)") for qw(tide test w2j);
}
note "$changes changes, $failed statements failed: " . join ', ', map { "$_ $kinds{$_}" } sort keys %kinds;
cmp_ok($kinds{$_} // 0, '>', $rounds, "enough of it: $_") for qw(insert update delete unchanged filled rekeyed message);
$_->quit for @writers, $session;
$node->stop;
done_testing();

# ---- comparing

# every table that a change may name => its columns
sub columns_now
{
	my %columns;
	for my $line (split /\n/, $session->query(q{SELECT a.attrelid::regclass || E'\t' || string_agg(quote_ident(a.attname), E'\t' ORDER BY attnum)
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		WHERE relnamespace = 'kinds'::regnamespace AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped GROUP BY attrelid}))
	{
		my ($table, @names) = split /\t/, $line;
		$columns{$table} = \@names;
	}
	return \%columns;
}

sub compare_round
{
	my $columns = columns_now();
	# messages outside of transactions may not be flushed so far
	$session->query(q{SELECT pg_logical_emit_message(true, 'flush', '')});
	# pg_tide names the partitions only, which TRUNCATE names too
	my %roots = map { $_->{name} => 1 } grep { $_->{leaves} } @tables;
	my @test = grep { !($_->{kind} eq 'truncate' && $roots{ $_->{table} }) } diff_test_decoding($session, 'test');
	my @w2j = grep { !($_->{kind} eq 'truncate' && $roots{ $_->{table} }) } diff_wal2json($session, 'w2j');
	my @tide = diff_pg_tide($session, 'tide', $columns, 'include-old' => 'true', 'include-types' => 'true');
	my @plain = diff_pg_tide($session, 'tide', $columns, numbers => 'string');
	my $problem = same_order('test_decoding', \@test, \@tide);
	return $problem if $problem ne '';

	for my $i (0 .. $#tide)
	{
		$changes++;
		$kinds{ $tide[$i]{kind} }++;
		$problem = against_test($test[$i], $tide[$i]) || against_plain($tide[$i], $plain[$i]);
		return "$problem\n" . shown("change $i", $test[$i], $tide[$i], $plain[$i]) if $problem;
	}
	# wal2json has nothing of changes whose old row has no name
	my @known = grep { !($_->{kind} =~ /^(?:update|delete)$/ && !$_->{key}) } without_empty(\@tide);
	$problem = same_order('wal2json', \@w2j, \@known);
	return $problem if $problem ne '';
	for my $i (0 .. $#w2j)
	{
		$problem = against_wal2json($w2j[$i], $known[$i]);
		return "$problem\n" . shown("change $i", $w2j[$i], $known[$i]) if $problem;
	}
	return '';
}

# without transactions in which wal2json has nothing
sub without_empty
{
	my ($list) = @_;
	my @rest;
	for my $change (grep { !($_->{kind} =~ /^(?:update|delete)$/ && !$_->{key}) } @$list)
	{
		if ($change->{kind} eq 'commit' && $rest[-1]{kind} eq 'begin') { pop @rest; }
		else { push @rest, $change; }
	}
	return @rest;
}

sub shown
{
	my ($what, @all) = @_;
	require Data::Dumper;
	no warnings 'once';
	local $Data::Dumper::Sortkeys = 1;
	local $Data::Dumper::Indent = 1;
	return join "\n", $what, map { substr Data::Dumper::Dumper($_), 0, 3000 } @all;
}

sub same_order
{
	my ($name, $theirs, $ours) = @_;
	my $say = sub { return defined $_[0] ? join ' ', map { $_ // '-' } @{ $_[0] }{qw(kind table xid)} : 'nothing'; };
	for my $i (0 .. ($#$theirs > $#$ours ? $#$theirs : $#$ours))
	{
		next if $say->($theirs->[$i]) eq $say->($ours->[$i]);
		return "change $i: $name has " . $say->($theirs->[$i]) . ', pg_tide ' . $say->($ours->[$i]);
	}
	return '';
}

# a difference of { column => text }, or ''; what is not in the first is not looked at if $part
sub differ
{
	my ($theirs, $ours, $part) = @_;
	for my $column (sort keys %{ { %$theirs, ($part ? () : %$ours) } })
	{
		return "only pg_tide has $column" if !exists $theirs->{$column};
		return "pg_tide lacks $column" if !exists $ours->{$column};
		my ($a, $b) = ($theirs->{$column} // "\0null", $ours->{$column} // "\0null");
		# in text of type json blanks between tokens do not count
		s/\s+//g for (kinds_column($column) // '') eq 'json' ? ($a, $b) : ();
		return "$column: $a <> $b" if $a ne $b;
	}
	return '';
}

sub known { my ($row) = @_; return { map { $_ => $row->{$_} } grep { defined $row->{$_} } keys %$row }; }

# $t of test_decoding against $p of pg_tide
sub against_test
{
	my ($t, $p) = @_;
	if ($t->{kind} eq 'message')
	{
		return $t->{prefix} eq $p->{prefix} && $t->{content} eq $p->{content} ? '' : 'another message';
	}
	if ($t->{kind} eq 'truncate')
	{
		return !$t->{cascade} == !$p->{cascade} && !$t->{restart} == !$p->{restart} ? '' : 'other flags';
	}
	return '' if $t->{kind} =~ /^(?:begin|commit)$/;

	my ($row, $old) = ($t->{row}, $t->{old});
	my @unchanged;
	for my $column (@{ $t->{unchanged} })
	{
		# under FULL the value is in the old row
		if ($old && defined $old->{$column}) { $row->{$column} = $old->{$column}; $kinds{filled}++; }
		else { push @unchanged, $column; $kinds{unchanged}++; }
	}
	return 'other unchanged columns' if "@{[ sort @unchanged ]}" ne "@{[ sort @{ $p->{unchanged} // [] } ]}";
	return 'row' if !$row != !$p->{row};
	my $problem = $row ? differ($row, $p->{row}) : '';
	return "row: $problem" if $problem;
	if ($old)
	{
		$problem = differ($old, known($p->{old}));
		return "old: $problem" if $problem;
	}
	# the key is of the new row, a deletion's of the old one
	my $named = $t->{kind} eq 'delete' ? $p->{old} : { %{ $p->{old} // {} }, %{ $p->{row} } };
	$problem = $p->{key} ? differ($p->{key}, $named, 1) : '';
	return "key: $problem" if $problem;
	return 'no old row, but a key' if $t->{kind} ne 'insert' && !$p->{old} != !$p->{key};
	return '';
}

# without include-old there is old only if an update changed the key; numbers as
# strings are the same numbers
sub against_plain
{
	my ($p, $plain) = @_;
	return 'another order' if $p->{kind} ne $plain->{kind};
	for my $member (qw(row key))
	{
		next if !$p->{$member} && !$plain->{$member};
		return "plain $member is missing" if !$p->{$member} || !$plain->{$member};
		my $problem = differ($p->{$member}, $plain->{$member});
		return "plain $member: $problem" if $problem;
	}
	return '' if !$p->{key} || $p->{kind} ne 'update';
	my $rekeyed = differ($p->{key}, $p->{old}, 1) ne '';
	$kinds{rekeyed}++ if $rekeyed;
	return $rekeyed ? 'plain old is missing' : 'plain old is there' if $rekeyed != defined $plain->{old};
	return $rekeyed ? differ($plain->{old}, $p->{old}, 1) : '';
}

# wal2json: LSNs, types, the identity's columns; it gives no bytea prefix and no special numbers
sub against_wal2json
{
	my ($w, $p) = @_;
	for my $name (grep { defined $w->{$_} && $w->{kind} ne 'begin' } qw(lsn end_lsn))
	{
		return "$name: $w->{$name} <> " . ($p->{$name} // '') if $w->{$name} ne ($p->{$name} // '');
	}
	if ($w->{kind} eq 'message')
	{
		return $w->{prefix} eq $p->{prefix} && $w->{content} eq $p->{content} ? '' : 'another message';
	}
	my $types = $w->{types} // {};
	for my $member (qw(row old))
	{
		my ($theirs, $ours) = ($w->{$member}, $p->{$member});
		next if $member eq 'old' && $w->{kind} eq 'insert' || !$theirs && !$ours;
		return "$member is missing" if !$theirs || !$ours;
		for my $column (keys %$theirs)
		{
			my $type = kinds_column($column) // '';
			$theirs->{$column} = "\\x$theirs->{$column}" if $type eq 'bytea' && defined $theirs->{$column};
			$theirs->{$column} = $ours->{$column}
			  if !defined $theirs->{$column} && $type =~ /^(?:float|numeric)/ && ($ours->{$column} // '') =~ /^(?:NaN|-?Infinity)$/;
		}
		# unchanged columns that pg_tide took from the old row are not in wal2json's
		my $problem = differ($theirs, $ours, $member eq 'row');
		return "$member: $problem" if $problem;
	}
	for my $column (keys %{ $p->{types} // {} })
	{
		my $type = $types->{$column};
		$type = '"char"' if defined $type && $type eq 'char';
		return "type of $column: $type <> $p->{types}{$column}" if defined $type && $type ne $p->{types}{$column};
	}
	return '';
}
