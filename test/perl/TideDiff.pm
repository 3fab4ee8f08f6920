package TideDiff;

=head1 NAME

TideDiff - what test_decoding, wal2json and pg_tide say of the same WAL, in one form

=head1 SYNOPSIS

    my @a = diff_test_decoding($session, $slot);
    my @b = diff_wal2json($session, $slot);
    my @c = diff_pg_tide($session, $slot, $tables, 'include-old' => 'true');

=head1 NOTES

Each returns a list of hashes { kind, xid, … } in the order of the stream: kind begin, commit,
insert, update, delete, truncate or message. row, old and key are { column => text or undef },
where text is that of the type's output function; columns the plugin does not know are missing.

No value passes through a parser of ours: test_decoding gives the text as it is; of wal2json
and pg_tide the server takes it out of the JSON, of pg_tide's by json_populate_record(), so
by the input function of the column's type.

=cut

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(diff_settings diff_test_decoding diff_wal2json diff_pg_tide);

# what pg_tide's text does not depend on, the others' does
sub diff_settings
{
	return q{SET client_min_messages = error; SET timezone = 'UTC'; SET datestyle = 'ISO, MDY'; SET intervalstyle = 'postgres';
		SET extra_float_digits = 1; SET bytea_output = 'hex'; SET lc_monetary = 'C'};
}

# rows of a query, each a list of text or undef (a decoder of JSON in Perl would be too slow)
sub rows
{
	my ($session, $query) = @_;
	my %escapes = (b => "\b", f => "\f", n => "\n", r => "\r", t => "\t", v => "\x0b", '\\' => '\\');
	return map {
		[ map { $_ eq '\N' ? undef : s/\\(.)/$escapes{$1} \/\/ die "escape $1"/ger } split /\t/, $_, -1 ]
	} split /\n/, $session->query("COPY ($query) TO STDOUT");
}

# rows of n, member, column, text go into the changes that have that n
sub add_values
{
	my ($changes, @rows) = @_;
	$changes->{ $_->[0] }{ $_->[1] }{ $_->[2] } = $_->[3] for @rows;
	return;
}

sub peek
{
	my ($slot, %options) = @_;
	my $list = join '', map { ", '$_', '$options{$_}'" } sort keys %options;
	return "pg_logical_slot_peek_changes('$slot', NULL, NULL$list)";
}

# add a commit, or take away the begin of a transaction of nothing
sub end_transaction
{
	my ($changes, $commit) = @_;
	if ($changes->[-1]{kind} eq 'begin') { pop @$changes; }
	else                                 { push @$changes, $commit; }
	return;
}

# ---------- test_decoding ----------

# a literal at pos() of $$text: (text or undef, whether unchanged)
sub literal
{
	my ($text) = @_;
	if ($$text =~ /\GB?'/gc)
	{
		my $value = '';
		# each piece ends at a quote; two of them stand for one
		while ($$text =~ /\G([^']*)'/gc)
		{
			$value .= $1;
			last if $$text !~ /\G'/gc;
			$value .= "'";
		}
		return ($value, 0);
	}
	$$text =~ /\G(\S+)/gc or die 'no literal: ' . substr $$text, pos($$text) // 0, 200;
	return ($1 eq 'null' ? undef : $1, $1 eq 'unchanged-toast-datum');
}

# columns at pos() of $$text, up to what is none; unchanged ones go to @$unchanged
sub columns
{
	my ($text, $unchanged) = @_;
	my %columns;
	while ($$text =~ /\G ("(?:[^"]|"")+"|[^\s"\[:]+)\[(.+?)\]:/gc)
	{
		my $name = $1;
		my ($value, $is_unchanged) = literal($text);
		if ($is_unchanged) { push @$unchanged, $name; }
		else               { $columns{$name} = $value; }
	}
	return \%columns;
}

sub parse_change
{
	my ($text) = @_;
	my %change;
	my $name = qr/(?:"(?:[^"]|"")+"|\w+)\.(?:"(?:[^"]|"")+"|\w+)/;

	if ($text =~ /\Atable ($name(?:, $name)*): TRUNCATE: (.*)\z/)
	{
		my ($tables, $flags) = ($1, $2);
		return map { { kind => 'truncate', table => $_, cascade => $flags =~ /cascade/ ? 1 : 0, restart => $flags =~ /restart_seqs/ ? 1 : 0 } }
		  $tables =~ /($name)/g;
	}
	$text =~ /\Atable ($name): (INSERT|UPDATE|DELETE):/gc or die "not understood: $text";
	%change = (table => $1, kind => lc $2, unchanged => []);
	if ($text =~ /\G \(no-tuple-data\)/gc) { }
	elsif ($change{kind} eq 'delete') { $change{old} = columns(\$text, $change{unchanged}); }
	else
	{
		if ($text =~ /\G old-key:/gc)
		{
			$change{old} = columns(\$text, []);
			$text =~ /\G new-tuple:/gc or die "no new tuple: $text";
		}
		$change{row} = columns(\$text, $change{unchanged});
	}
	pos($text) == length $text or die 'not understood: ' . substr($text, pos $text, 200) . " of $text";
	return \%change;
}

sub diff_test_decoding
{
	my ($session, $slot) = @_;
	my @changes;
	my $xid;

	for my $row (rows($session, 'SELECT data FROM ' . peek($slot)))
	{
		my ($text) = @$row;
		if ($text =~ /\ABEGIN (\d+)\z/) { $xid = $1; push @changes, { kind => 'begin', xid => $xid }; }
		elsif ($text =~ /\ACOMMIT (\d+)\z/) { end_transaction(\@changes, { kind => 'commit', xid => $1 }); }
		elsif ($text =~ /\Amessage: transactional: (\d) prefix: (.*), sz: \d+ content:(.*)\z/s)
		{
			push @changes, { kind => 'message', xid => $1 ? $xid : undef, prefix => $2, content => $3 };
		}
		else { push @changes, map { { %$_, xid => $xid } } parse_change($text); }
	}
	return @changes;
}

# ---------- wal2json, format 2 ----------

my %wal2json_kinds = (B => 'begin', C => 'commit', I => 'insert', U => 'update', D => 'delete', T => 'truncate', M => 'message');

sub diff_wal2json
{
	my ($session, $slot) = @_;
	keep_lines($session, peek($slot, 'format-version' => 2, 'include-lsn' => 1, 'include-xids' => 1));
	my @names = qw(n kind xid lsn end_lsn table prefix content);
	my (%by_n, @changes);

	for my $row (rows($session, q{SELECT n, d ->> 'action', d ->> 'xid', d ->> 'lsn', d ->> 'nextlsn',
		quote_ident(d ->> 'schema') || '.' || quote_ident(d ->> 'table'), d ->> 'prefix', d ->> 'content' FROM pg_temp.lines ORDER BY n}))
	{
		my %change;
		@change{@names} = @$row;
		$change{kind} = $wal2json_kinds{ $change{kind} } or die "@$row";
		$by_n{ $change{n} } = \%change;
		if ($change{kind} eq 'commit') { end_transaction(\@changes, \%change); }
		else                           { push @changes, \%change; }
	}
	# json keeps the text of numbers, and strings lose their escapes
	add_values(\%by_n, rows($session, qq{SELECT n, '$_->[0]', quote_ident(c ->> 'name'), c ->> '$_->[2]'
		FROM pg_temp.lines, json_array_elements(d -> '$_->[1]') c}))
	  for [ row => 'columns', 'value' ], [ types => 'columns', 'type' ], [ old => 'identity', 'value' ];
	return @changes;
}

# the lines of a slot in a temporary table
sub keep_lines
{
	my ($session, $from) = @_;
	$session->query(<<"SQL");
DROP TABLE IF EXISTS pg_temp.lines;
CREATE TEMP TABLE lines AS SELECT row_number() OVER () AS n, data::json AS d FROM $from;
SQL
	return;
}

# ---------- pg_tide ----------

# each table's rows are asked for in terms of its row type; $tables: { "schema.table" => [ columns ] }
sub diff_pg_tide
{
	my ($session, $slot, $tables, %options) = @_;
	my @names = qw(n kind xid lsn end_lsn table prefix content cascade restart);
	my (%by_n, @changes);

	keep_lines($session, peek($slot, %options));
	for my $row (rows($session, q{SELECT n, d ->> 'type', d ->> 'xid', d ->> 'lsn', d ->> 'end_lsn', d ->> 'table', d ->> 'prefix', d ->> 'content',
		d ->> 'cascade', d ->> 'restart_identity' FROM pg_temp.lines ORDER BY n}))
	{
		my %change;
		@change{@names} = @$row;
		push @changes, $by_n{ $change{n} } = \%change;
	}
	$session->query(<<'SQL');
DROP TABLE IF EXISTS pg_temp.members;
CREATE TEMP TABLE members AS SELECT n, key AS member, d ->> 'table' AS of, value AS object,
	(SELECT array_agg(quote_ident(k)) FROM json_object_keys(value) k) AS names
	FROM pg_temp.lines, json_each(d) WHERE key IN ('row', 'key', 'old');
SQL
	for my $table (sort keys %$tables)
	{
		my $name = "'" . ($table =~ s/'/''/gr) . "'";
		my $texts = join ', ', map { "('" . s/'/''/gr . "', CASE WHEN num_nulls(r.$_) = 0 THEN CASE pg_typeof(r.$_) WHEN 'bool'::regtype THEN r.$_\::text ELSE format('%s', r.$_) END END)" } @{ $tables->{$table} };
		add_values(\%by_n, rows($session, <<"SQL"));
SELECT m.n, m.member, v.name, v.value FROM pg_temp.members m, json_populate_record(NULL::$table, m.object) r,
	LATERAL (VALUES $texts) v (name, value) WHERE m.of = $name AND v.name = ANY (m.names)
SQL
	}
	add_values(\%by_n, rows($session, q{SELECT n, 'types', quote_ident(key), value FROM pg_temp.lines, json_each_text(d -> 'types')}));
	push @{ $by_n{ $_->[0] }{unchanged} }, $_->[1]
	  for rows($session, q{SELECT n, quote_ident(u) FROM pg_temp.lines, json_array_elements_text(d -> 'unchanged') u});
	return @changes;
}

1;
