package TideKinds;

=head1 NAME

TideKinds - random tables of every type of column, and random transactions on them

=head1 SYNOPSIS

    $session->query(kinds_types());            # schema kinds: enum, composites, domains
    my @tables = kinds_tables();               # see there
    $session->query($_->{sql}) for @tables;
    $session->try_query(kinds_transaction(\@tables)) for 1 .. 100;

=head1 NOTES

Choices come from rand(): srand() before repeats them. What a column holds is chosen so that the
JSON of a value gives the value again by json_populate_record(): no json 'null', no arrays in
arrays of jsonb, no arrays that begin at another index than 1.

=cut

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(kinds_types kinds_tables kinds_transaction kinds_column);

my $types = <<'SQL';
CREATE SCHEMA kinds;
CREATE TYPE kinds.mood AS ENUM ('glad', 'so "so"', E'back\\slash', 'it''s', 'ünï');
CREATE TYPE kinds.pair AS (a int, "b c" text);
CREATE TYPE kinds.nested AS (p kinds.pair, list kinds.pair[], at timestamptz, j jsonb);
CREATE DOMAIN kinds.positive AS int CHECK (VALUE > 0);
CREATE DOMAIN kinds.short AS varchar(30);
CREATE DOMAIN kinds.positives AS kinds.positive[];
CREATE TYPE kinds.floatrange AS RANGE (subtype = float8);
SQL

sub kinds_types { return $types; }

sub pick { return $_[ rand @_ ]; }
sub number { return int(rand $_[0]); }

my @texts = (
	q{''}, q{' '}, q{'plain'}, q{'it''s'}, q{'say "hi"'}, q{E'back\\\\slash'}, q{E'\\\\\\\\x41'}, q{E'tab\\there'}, q{E'line\\nfeed\\r\\n'},
	q{E'\\x01\\x02\\x1b\\x1f\\x7f'}, q{E'\\b\\f'}, q{'NULL'}, q{'null'}, q{'{}'}, q{'é'}, q{'👩‍👩‍👧 🏳️‍🌈'}, q{E'e\\u0301'}, q{E'\\u2028\\u2029\\ufeff'}, q{'日本語 العربية'},
	q{'</script><!--'}, q{'%s %d %n'}, q{'$1 $$ $t$'}, q{'-- ; /*'}, q{E'\\\\u0000'}, q{'unchanged-toast-datum'}, q{''' old-key: id[integer]:1 new-tuple: '},
	q{E'\\U0010ffff\\ufffd\\ue000'}, q{repeat('"', 40)}, q{E'a[text]:''x'''});

sub text { return rand() < 0.3 ? "'v" . number(50) . "'" : pick(@texts); }

# beyond the limit of TOAST: compressed, and not
sub long
{
	my $kind = rand();
	return "repeat(" . text() . " || 'long', " . (300 + number(1500)) . ')' if $kind < 0.3;
	return "(SELECT string_agg(md5(i::text), '') FROM generate_series(" . number(1000) . ", " . (90 + number(400)) . ") i)" if $kind < 0.7;
	return text();
}

sub digits { return join '', map { number(10) } 1 .. $_[0]; }

sub numeric
{
	return pick("'NaN'", "'Infinity'", "'-Infinity'", '0.00', '-0.0', '1e-30', '1e300', '-7', '1e-1000') if rand() < 0.5;
	return pick('', '-') . '1' . digits(number(60)) . '.' . digits(1 + number(60));
}

# name => [ type, values, storage ]
my %columns = (
	i2 => [ 'int2', sub { pick(0, -32768, 32767) } ],
	i4 => [ 'int4', sub { pick(0, -2147483648, 2147483647, number(1000)) } ],
	i8 => [ 'int8', sub { pick('-9223372036854775808', '9223372036854775807', '9007199254740993') } ],
	n => [ 'numeric', \&numeric ],
	ns => [ 'numeric(12,3)', sub { pick("'NaN'", '1.5', '-123456789.125', '0') } ],
	f4 => [ 'float4', sub { pick("'NaN'", "'Infinity'", "'-Infinity'", '0.1', '3.4e38', '1e-45', '16777217', "'-0'") } ],
	f8 => [ 'float8', sub { pick("'NaN'", "'Infinity'", "'-Infinity'", '0', "'-0'", '1e308', '5e-324', '0.1', '1e22', '-1.5e-7', 'random()') } ],
	ok => [ 'bool', sub { pick('true', 'false') } ],
	t => [ 'text', \&text ],
	vc => [ 'varchar(60)', \&text ],
	c6 => [ 'char(6)', sub { pick("'ab'", "''", "'sixsix'", q{E'a"\\\\\\n'}, "'é'") } ],
	nm => [ 'name', \&text ],
	ch => [ '"char"', sub { pick("'a'", "''", q{'"'}, q{E'\\\\'}, "(-56)::\"char\"", "1::\"char\"") } ],
	bt => [ 'bytea', sub { pick("''", q{'\\x00ff5c270a'}, q{decode(md5(random()::text), 'hex')}, q{decode(repeat('00ff', 3000), 'hex')}) } ],
	d => [ 'date', sub { pick("'infinity'", "'-infinity'", "'2026-02-28'", "'0044-03-15 BC'", "'5874897-12-31'", "'4713-01-01 BC'") } ],
	tm => [ 'time', sub { pick("'00:00'", "'24:00'", "'23:59:59.999999'") } ],
	tz => [ 'timetz', sub { pick("'09:00+02'", "'00:00-12'", "'23:59:59.999999+14:30'") } ],
	ts => [ 'timestamp', sub { pick("'infinity'", "'-infinity'", "'2026-01-02 03:04:05.6'", "'0044-03-15 12:00 BC'", "'294276-12-31 23:59:59.999999'") } ],
	at => [ 'timestamptz', sub { pick("'infinity'", "'-infinity'", "'epoch'", "'2026-11-21 09:00:00.123456+05:30'", "'0001-01-01 00:00:00+00 BC'", "'294276-12-31 23:59:59+00'", "'1883-11-18 12:00:00-08'") } ],
	iv => [ 'interval', sub { pick("'1 year 2 mons -3 days 04:05:06.789'", "'0'", "'-178000000 years'", "'-1 day +00:00:00.000001'") } ],
	u => [ 'uuid', sub { pick('gen_random_uuid()', "'00000000-0000-0000-0000-000000000000'") } ],
	js => [ 'json', sub { pick(q{'{"b": 1, "a": [1,  2 ], "b": 2}'}, "' [ 1 , 2 ] '", q{E'{\\n"x":\\t1e5,\\r\\n"y":"\\\\u0001\\\\n"}'}, q{'"x"'}, '\'-0.10\'') } ],
	jb => [ 'jsonb', sub { pick("'{}'", "'[]'", "'1'", q{'"é"'}, q{'{"a": "é", "b": {"c": [1, [2, {"d": null}], "\\u0001"]}}'}, q{'{"a": 1.10, "z": 1e400, "n": -0.0, "": ""}'}, "to_jsonb(" . text() . '::text)') } ],
	x => [ 'xml', sub { pick("'<a>1</a>'", q{'<a b="c">&amp;</a>'}, q{E'<a>\\n</a>'}) } ],
	ia => [ 'int[]', sub { pick("'{}'", "'{1,NULL,3}'", "'{{1,2},{3,4}}'", "'{{{1},{2}},{{3},{NULL}}}'") } ],
	ta => [ 'text[]', sub { pick("'{}'", "'{x}'", q{'{NULL,"NULL","a,b","\\\\","\\""}'}, "'{{x,b},{c,d}}'", q{'{"",x," "}'}, 'ARRAY[' . text() . ', ' . text() . ']::text[]') } ],
	na => [ 'numeric[]', sub { 'ARRAY[' . numeric() . ', NULL, ' . numeric() . ']::numeric[]' } ],
	fa => [ 'float8[]', sub { pick("'{NaN,1.5,-Infinity}'", "'{}'") } ],
	ba => [ 'bool[]', sub { "'{t,f,NULL}'" } ],
	ya => [ 'bytea[]', sub { q{ARRAY['\\x00'::bytea, '\\xff5c', NULL]} } ],
	tza => [ 'timestamptz[]', sub { "'{infinity,2026-11-21 09:00+00,NULL}'" } ],
	jba => [ 'jsonb[]', sub { q{ARRAY['1', '{"a": [1]}', '"x"', NULL]::jsonb[]} } ],
	m => [ 'kinds.mood', sub { pick(q{'glad'}, q{'so "so"'}, q{E'back\\\\slash'}, q{'it''s'}, q{'ünï'}) } ],
	ma => [ 'kinds.mood[]', sub { q{ARRAY['so "so"', NULL, 'ünï']::kinds.mood[]} } ],
	p => [ 'kinds.pair', sub { 'ROW(' . pick(1, 'NULL') . ', ' . pick(text(), 'NULL') . ')' } ],
	pa => [ 'kinds.pair[]', sub { 'ARRAY[ROW(1, ' . text() . ')::kinds.pair, NULL]' } ],
	ne => [ 'kinds.nested', sub { "ROW(ROW(1, " . text() . ")::kinds.pair, ARRAY[ROW(2, 'b')::kinds.pair, ROW(NULL, NULL)::kinds.pair], '2026-11-21 09:00+00', '{\"a\": 1}')" } ],
	po => [ 'kinds.positive', sub { 1 + number(9) } ],
	sh => [ 'kinds.short', sub { 'left(' . text() . ', 30)' } ],
	pos => [ 'kinds.positives', sub { "'{1,2}'" } ],
	r4 => [ 'int4range', sub { pick("'empty'", "'[1,5)'", "'(,)'", "'[3,]'") } ],
	rn => [ 'numrange', sub { pick("'(,1.50]'", "'[-1e20,NaN)'") } ],
	rt => [ 'tstzrange', sub { pick("'[2026-01-01 00:00+00,infinity)'", "'(,2026-02-01 00:00+05]'") } ],
	rf => [ 'kinds.floatrange', sub { "'[0.1,Infinity]'" } ],
	mr => [ 'int8multirange', sub { pick("'{}'", "'{[1,2),[5,9)}'") } ],
	ip => [ 'inet', sub { pick("'::1'", "'192.168.1.1/24'") } ],
	ci => [ 'cidr', sub { pick("'10.0.0.0/8'", "'::/0'") } ],
	mac => [ 'macaddr', sub { "'08:00:2b:01:02:03'" } ],
	mo => [ 'money', sub { pick("'-1234.56'", "'92233720368547758.07'", '0') } ],
	bi => [ 'bit(5)', sub { pick("B'10101'", "B'00000'") } ],
	vb => [ 'varbit', sub { pick("B''", "B'1011'") } ],
	pt => [ 'point', sub { pick("'(1,2)'", "'(NaN,Infinity)'") } ],
	bx => [ 'box', sub { "'(3,4),(1,2.5)'" } ],
	tv => [ 'tsvector', sub { pick("''", q{'a:1 ''b c'':2A'}) } ],
	ls => [ 'pg_lsn', sub { pick("'0/0'", "'16/B3748'") } ],
	o => [ 'oid', sub { pick(0, 4294967295) } ],
	jp => [ 'jsonpath', sub { q{'$.a[*] ? (@ > 1)'} } ],
	big => [ 'text', \&long, 'EXTERNAL' ],
	long => [ 'text', \&long ],
	blob => [ 'bytea', sub { q{decode((SELECT string_agg(md5(i::text), '') FROM generate_series(1, } . (200 + number(300)) . q{) i), 'hex')} } ],
	doc => [ 'jsonb', sub { 'jsonb_build_object(' . text() . '::text, ' . long() . '::text)' } ],
	bigs => [ 'text[]', sub { 'ARRAY[' . long() . ', NULL]::text[]' }, 'EXTERNAL' ],
	made => [ 'kinds.nested', sub { 'ROW(ROW(1, ' . long() . ')::kinds.pair, NULL, NULL, NULL)' } ]);
my @toasted = qw(big long blob doc bigs made);

# a column's type, for those of the random tables
sub kinds_column { return $columns{ $_[0] } && $columns{ $_[0] }[0]; }

# Random tables of all kinds of replica identity. Each { name, sql, columns => [ all names in
# order ], pk => [ names ] or undef, leaves => [ names of partitions ] or undef }; names
# are as SQL writes them. Every type occurs in some table.
sub kinds_tables
{
	my @plan = (
		[ 'kinds.plain', 'DEFAULT' ], [ 'kinds.whole', 'FULL' ], [ 'kinds.by_index', 'USING INDEX by_code' ],
		[ 'kinds.nothing', 'NOTHING' ], [ 'kinds.keyless', 'DEFAULT', 1 ], [ 'kinds.keyless_whole', 'FULL', 1 ],
		[ 'kinds."Odd ""Table"""', 'DEFAULT' ], [ 'kinds.parts', 'DEFAULT' ]);
	my @names = sort { $a->[1] <=> $b->[1] } map { [ $_, rand ] } sort keys %columns;
	my @tables;

	for my $i (0 .. $#plan)
	{
		my ($name, $identity, $keyless) = @{ $plan[$i] };
		# a share of all, so that none is missing, and some more
		my %chosen = map { $names[$_][0] => 1 } grep { $_ % @plan == $i || rand() < 0.15 } 0 .. $#names;
		$chosen{ pick(@toasted) } = 1;
		my @order = sort { $chosen{$a} <=> $chosen{$b} } map { $chosen{$_} = rand; $_ } sort keys %chosen;
		my $odd = $name =~ /Odd/;
		my $id = $odd ? '"the ""id"""' : 'id';
		my @lines = ("$id int NOT NULL", 'code text NOT NULL', 'n_ int NOT NULL DEFAULT 0', 'twice int GENERATED ALWAYS AS (n_ * 2) STORED',
			map { "$_ $columns{$_}[0]" } @order);
		my $partitioned = $name =~ /parts/;
		my $sql = "CREATE TABLE $name (" . join(', ', @lines, 'dropped int', ($keyless ? () : "PRIMARY KEY ($id)")) . ')'
		  . ($partitioned ? ' PARTITION BY HASH (id)' : '') . ";\n";
		my @leaves = $partitioned ? ('kinds.leaf_a', 'kinds."Leaf B"') : ();
		$sql .= "CREATE TABLE $leaves[$_] PARTITION OF $name FOR VALUES WITH (MODULUS 2, REMAINDER $_);\n" for 0 .. $#leaves;
		$sql .= "ALTER TABLE $name DROP dropped;\n";
		$sql .= "ALTER TABLE $name ALTER $_ SET STORAGE $columns{$_}[2];\n" for grep { $columns{$_}[2] } @order;
		$sql .= "CREATE UNIQUE INDEX by_code ON $name (code, n_);\nALTER TABLE $name REPLICA IDENTITY $identity;\n" if $name =~ /by_index/;
		$sql .= "ALTER TABLE $name REPLICA IDENTITY $identity;\n" if $identity =~ /FULL|NOTHING/;
		push @tables, {
			name => $name, sql => $sql, id => $id, random => \@order, columns => [ $id, 'code', 'n_', 'twice', @order ],
			pk => $keyless ? undef : [$id], leaves => @leaves ? \@leaves : undef };
	}
	return @tables;
}

sub value
{
	my ($column) = @_;
	return rand() < 0.1 ? 'NULL' : $columns{$column}[1]->();
}

my $next_code = 0;
sub code { return "'c" . number(20) . ($_[0]{name} =~ /by_index/ ? '-' . $next_code++ : '') . "'"; }

sub insert
{
	my ($t) = @_;
	my @rows = map {
		'(' . join(', ', number(150), code($t), number(100), map { value($_) } @{ $t->{random} }) . ')'
	} 1 .. 1 + number(3);
	return "INSERT INTO $t->{name} ($t->{id}, code, n_, " . join(', ', @{ $t->{random} }) . ') VALUES ' . join(', ', @rows)
	  . ($t->{pk} ? ' ON CONFLICT DO NOTHING' : '');
}

sub update
{
	my ($t) = @_;
	my @columns = grep { rand() < 0.15 } @{ $t->{random} };
	my @set = map { "$_ = " . value($_) } @columns;
	push @set, 'n_ = n_ + 1' if rand() < 0.5 || !@set;
	push @set, "$t->{id} = $t->{id} + 1000" if rand() < 0.15;
	push @set, 'code = ' . code($t) if rand() < 0.1;
	my $from = number(150);
	return "UPDATE $t->{name} SET " . join(', ', @set) . " WHERE $t->{id} BETWEEN $from AND $from + 5";
}

sub del
{
	my ($t) = @_;
	return "DELETE FROM $t->{name} WHERE $t->{id} " . (rand() < 0.5 ? '> 1000' : '= ' . number(150));
}

sub message
{
	my $content = text();
	return 'SELECT 1 FROM pg_logical_emit_message(' . pick('true', 'true', 'false') . ", 'p' || " . text() . ", $content)";
}

sub alter
{
	my ($t) = @_;
	return "ALTER TABLE $t->{name} REPLICA IDENTITY " . pick('FULL', 'DEFAULT', 'NOTHING') if !$t->{leaves} && rand() < 0.5;
	return "ALTER TABLE $t->{name} ALTER n_ SET STATISTICS " . number(100) if rand() < 0.5;
	return "ALTER TABLE $t->{name} ADD COLUMN added" . $next_code++ . " int DEFAULT 7";
}

sub statement
{
	my ($tables) = @_;
	my $t = pick(@$tables);
	my $kind = rand();
	return insert($t) if $kind < 0.42;
	return update($t) if $kind < 0.78;
	return del($t) if $kind < 0.90;
	return message() if $kind < 0.96;
	return alter($t) if $kind < 0.985;
	return 'TRUNCATE ' . join(', ', map { $_->{name} } $t, grep { $_ != $t && rand() < 0.2 } @$tables) . pick('', ' CASCADE', ' RESTART IDENTITY');
}

# The text of one transaction: statements, savepoints released and rolled back to; sometimes
# rolled back as a whole. A statement that fails ends its subtransaction only.
sub kinds_transaction
{
	my ($tables) = @_;
	my $sql = "BEGIN;\n";
	my @open;

	for my $i (1 .. 1 + number(rand() < 0.1 ? 40 : 6))
	{
		my $kind = rand();
		if ($kind < 0.15 && @open < 4)
		{
			push @open, "s$i";
			$sql .= "SAVEPOINT s$i;\n";
		}
		elsif ($kind < 0.25 && @open)
		{
			$sql .= pick('ROLLBACK TO ', 'ROLLBACK TO ', 'RELEASE ') . $open[-1] . ";\n";
			$sql .= 'RELEASE ' . $open[-1] . ";\n" if $sql =~ /ROLLBACK TO \w+;\n\z/;
			pop @open;
		}
		else { $sql .= statement($tables) . ";\n"; }
	}
	return $sql . (rand() < 0.08 ? 'ROLLBACK' : 'COMMIT') . ";\n";
}

1;
