package TideWorld;

=head1 NAME

TideWorld - random tables with foreign keys, and random transactions on them

=head1 SYNOPSIS

    seed_random(17);
    my $world = world_new(1, unit => 'minute', now => time);
    $session->query(world_sql($world));      # schema w1 with tables and rows
    my $sql = world_transaction($world);     # text of one random transaction
    my $ddl = world_ddl($world, sub { 0 });  # { sql, done }: call done->() when it was executed

=head1 NOTES

Values come from small domains, so that conditions and joins hit. The random numbers are
the module's own: what the test does besides, by its timing, does not change the transactions.

A domain is { type, values } or { type, elem => domain } of an array; values are Perl scalars.
A table is { name, quoted, key => [names], columns => [{ name, domain, notnull, ref }] }.

=cut

use strict;
use warnings;
use Exporter 'import';
use JSON::PP ();
use POSIX qw(strftime);

our @EXPORT = qw(seed_random chance number pick some world_new world_sql world_transaction world_ddl
  literal typed_literal json_value random_value column domain_is key_column);

# ---- random numbers: drand48

my $state = 1;

sub seed_random { $state = $_[0] * 65536 + 0x330E; return; }

sub random
{
	use integer;
	$state = ($state * 25214903917 + 11) & ((1 << 48) - 1);
	my $high = $state >> 16;
	no integer;
	return $high / 4294967296;
}

sub chance { return random() < $_[0]; }
sub number { return int(random() * $_[0]); }
sub pick { return $_[ number(scalar @_) ]; }

# $n of the list, in its order
sub some
{
	my ($n, @list) = @_;
	splice @list, number(scalar @list), 1 while @list > $n;
	return @list;
}

# ---- domains and values

sub domain_is { return $_[0]{type} eq $_[1]; }

sub random_value
{
	my ($domain) = @_;
	return pick(@{ $domain->{values} }) if !$domain->{elem};
	my @elements = map { random_value($domain->{elem}) } 1 .. number(4);
	push @elements, undef if chance(0.05);
	return \@elements;
}

sub literal
{
	my ($domain, $value) = @_;
	return 'NULL' if !defined $value;
	if ($domain->{elem})
	{
		return "ARRAY[" . join(', ', map { literal($domain->{elem}, $_) } @$value) . "]::$domain->{type}";
	}
	return $value if $domain->{type} eq 'int' || $domain->{type} eq 'bool';
	return "'" . ($value =~ s/'/''/gr) . "'";
}

sub typed_literal
{
	my ($domain, $value) = @_;
	return '(' . literal($domain, $value) . ")::$domain->{type}";
}

# as a request has it
sub json_value
{
	my ($domain, $value) = @_;
	return undef if !defined $value;
	return [ map { json_value($domain->{elem}, $_) } @$value ] if $domain->{elem};
	return 0 + $value if $domain->{type} eq 'int';
	return $value eq 'true' ? JSON::PP::true : JSON::PP::false if $domain->{type} eq 'bool';
	return "$value";
}

sub uuids { my ($from, $n) = @_; return map { sprintf '%08x-0000-4000-8000-%012x', $from, $_ } 1 .. $n; }

sub plain_domains
{
	my ($schema) = @_;
	my %d = (
		n => { type => 'int', values => [ 0 .. 5 ] },
		t => { type => 'text', values => [ qw(a b c ab), '', "it's" ] },
		u => { type => 'uuid', values => [ uuids(0, 6) ] },
		b => { type => 'bool', values => [qw(true false)] },
		e => { type => "$schema.mood", values => [qw(low mid high)] });
	$d{ia} = { type => 'int[]', elem => $d{n} };
	$d{ta} = { type => 'text[]', elem => $d{t} };
	$d{j} = { type => 'jsonb', values => [ '{}', 'null', map { my $k = $_; map { qq({"k": "$k", "n": $_}) } 0 .. 3 } qw(a b c) ] };
	return \%d;
}

sub key_domain
{
	my ($i) = @_;
	my $type = pick(qw(int int int uuid text));
	my @values = $type eq 'int' ? 1 .. 40 : $type eq 'uuid' ? uuids($i + 1, 40) : map { "k$_" } 1 .. 40;
	return { type => $type, values => \@values };
}

# ---- tables

sub column { my ($table, $name) = @_; return (grep { $_->{name} eq $name } @{ $table->{columns} })[0]; }
sub key_column { my ($table) = @_; return @{ $table->{key} } == 1 ? column($table, $table->{key}[0]) : undef; }

sub quote { return $_[0] =~ /^[a-z_0-9]+$/ ? $_[0] : qq("$_[0]"); }

# a column that refers to another table's key, or only holds such values
sub add_reference
{
	my ($table, $name, $ref, %more) = @_;
	push @{ $table->{columns} },
	  { name => $name, domain => key_column($ref)->{domain}, ref => $ref, enforced => chance(0.55), action => pick('CASCADE', 'SET NULL'), %more };
	return;
}

sub new_table
{
	my ($world, $name) = @_;
	my $table = { name => $name, quoted => quote($name), columns => [], full => chance(0.25) };
	push @{ $world->{tables} }, $table;
	return $table;
}

sub add_plain_columns
{
	my ($world, $table, $likely) = @_;
	for my $name (qw(n n2 t b e u ia ta j))
	{
		next if !chance($name eq 'n' || $name eq 't' ? 0.95 : $likely);
		push @{ $table->{columns} }, { name => $name, domain => $world->{domains}{ $name =~ s/2//r }, notnull => chance(0.25) };
	}
	push @{ $table->{columns} }, { name => 'at', domain => $world->{time}, notnull => chance(0.3) } if chance($likely + 0.2);
	push @{ $table->{columns} }, { name => 'pad', domain => $world->{pad} } if chance(0.3);
	return;
}

sub world_new
{
	my ($n, %opts) = @_;
	my $schema = "w$n";
	my $world = { n => $n, schema => $schema, unit => $opts{unit}, now => $opts{now}, tables => [] };
	$world->{domains} = plain_domains($schema);
	$world->{time} = { type => 'timestamptz', values => [] };
	$world->{pad} = { type => 'text', values => [ '', 'x', 'y' ], long => 1 };

	my @names = some(5, qw(users teams posts items tags), 'Notes', 'odd-name');
	my @entities;
	for my $i (0 .. 2 + number(3))
	{
		my $table = new_table($world, splice @names, number(scalar @names), 1);
		push @{ $table->{columns} }, { name => 'id', domain => key_domain($i), notnull => 1 };
		$table->{key} = ['id'];
		push @entities, $table;
	}
	my $lonely = @entities > 3 ? 1 : 0;
	for my $i ($lonely .. $#entities)
	{
		my @linked = @entities[ $lonely .. $#entities ];
		for my $k (1 .. number(3))
		{
			my $ref = chance(0.25) ? $entities[$i] : pick(@linked);
			add_reference($entities[$i], "ref$k", $ref);
		}
		if (chance(0.3))
		{
			my $ref = pick(@linked);
			push @{ $entities[$i]{columns} },
			  { name => 'refs', domain => { type => key_column($ref)->{domain}{type} . '[]', elem => key_column($ref)->{domain} }, refs => $ref };
		}
	}
	for my $k (1 .. 1 + number(2))
	{
		my $join = new_table($world, "join$k");
		add_reference($join, 'l', pick(@entities), notnull => 1, action => 'CASCADE');
		add_reference($join, 'r', pick(@entities), notnull => 1, action => 'CASCADE');
		$join->{key} = [ 'l', 'r' ];
	}
	add_plain_columns($world, $_, $_->{key}[0] eq 'l' ? 0.15 : 0.5) for @{ $world->{tables} };
	return $world;
}

sub world_sql
{
	my ($world) = @_;
	my $sql = "CREATE SCHEMA $world->{schema};\nSET search_path = $world->{schema}, public;\nCREATE TYPE mood AS ENUM ('low', 'mid', 'high');\n";
	for my $table (@{ $world->{tables} })
	{
		my @lines = map { "$_->{name} $_->{domain}{type}" . ($_->{notnull} ? ' NOT NULL' : '') } @{ $table->{columns} };
		$sql .= "CREATE TABLE $table->{quoted} (" . join(', ', @lines, 'PRIMARY KEY (' . join(', ', @{ $table->{key} }) . ')') . ");\n";
		$sql .= "ALTER TABLE $table->{quoted} REPLICA IDENTITY FULL;\n" if $table->{full};
	}
	for my $table (@{ $world->{tables} })
	{
		for my $c (grep { $_->{ref} && $_->{enforced} } @{ $table->{columns} })
		{
			$sql .= "ALTER TABLE $table->{quoted} ADD FOREIGN KEY ($c->{name}) REFERENCES $c->{ref}{quoted} ON UPDATE CASCADE ON DELETE $c->{action};\n";
		}
	}
	for my $table (@{ $world->{tables} }, @{ $world->{tables} })
	{
		$sql .= insert($world, $table) . ";\n" for 1 .. 18;
	}
	return $sql;
}

# ---- transactions

sub time_text
{
	my ($world, $offset) = @_;
	my $at = $world->{now} + $offset * ($world->{unit} eq 'minute' ? 60 : 1);
	return "'" . strftime('%Y-%m-%d %H:%M:%S+00', gmtime $at) . "'";
}

sub key_of
{
	my ($table) = @_;
	return map { ($_ => literal(column($table, $_)->{domain}, random_value(column($table, $_)->{domain}))) } @{ $table->{key} };
}

# a value, as SQL
sub value
{
	my ($world, $c) = @_;
	return 'NULL' if !$c->{notnull} && chance(0.12);
	return time_text($world, number(81) - 40) if $c->{domain} == $world->{time};
	return "(SELECT string_agg(md5(i::text), '') FROM generate_series(" . number(500) . ', 1400) i)' if $c->{domain}{long} && chance(0.15);
	my $text = literal($c->{domain}, random_value($c->{domain}));
	my $found = $c->{notnull} ? ">= $text ORDER BY id LIMIT 1" : "= $text";
	return "(SELECT id FROM $c->{ref}{quoted} WHERE id $found)" if $c->{ref} && $c->{enforced};
	return $text;
}

sub where { my %k = @_; return join ' AND ', map { "$_ = $k{$_}" } sort keys %k; }

sub other_columns
{
	my ($table, $share) = @_;
	my %key = map { $_ => 1 } @{ $table->{key} };
	my @columns = grep { !$key{ $_->{name} } } @{ $table->{columns} };
	my @picked = grep { chance($share) } @columns;
	return @picked || !@columns ? @picked : pick(@columns);
}

sub insert
{
	my ($world, $table) = @_;
	my @columns = @{ $table->{columns} };
	my @others = other_columns($table, 0.4);
	my $conflict = @others && chance(0.4) ? 'UPDATE SET ' . join(', ', map { "$_->{name} = excluded.$_->{name}" } @others) : 'NOTHING';
	return "INSERT INTO $table->{quoted} (" . join(', ', map { $_->{name} } @columns) . ') VALUES (' . join(', ', map { value($world, $_) } @columns)
	  . ') ON CONFLICT (' . join(', ', @{ $table->{key} }) . ") DO $conflict";
}

sub update
{
	my ($world, $table) = @_;
	my @columns = other_columns($table, 0.3);
	return "DELETE FROM $table->{quoted} WHERE " . where(key_of($table)) if !@columns;
	return "UPDATE $table->{quoted} SET " . join(', ', map { "$_->{name} = " . value($world, $_) } @columns) . ' WHERE ' . where(key_of($table));
}

sub update_key
{
	my ($world, $table) = @_;
	my %new = key_of($table);
	return "UPDATE $table->{quoted} SET " . join(', ', map { "$_ = $new{$_}" } sort keys %new) . ' WHERE ' . where(key_of($table))
	  . " AND NOT EXISTS (SELECT FROM $table->{quoted} WHERE " . where(%new) . ')';
}

# children of one parent to another
sub move
{
	my ($world, $table) = @_;
	my @refs = grep { $_->{ref} && !$_->{notnull} } @{ $table->{columns} };
	return update($world, $table) if !@refs;
	my $c = pick(@refs);
	return "UPDATE $table->{quoted} SET $c->{name} = " . value($world, $c) . " WHERE $c->{name} = " . literal($c->{domain}, random_value($c->{domain}));
}

sub many_rows
{
	my ($world, $table) = @_;
	my @columns = other_columns($table, 0.2);
	my @int = grep { $_->{domain}{type} eq 'int' && $_->{name} =~ /^n/ } @{ $table->{columns} };
	my $cond = @int ? pick(@int)->{name} . ' = ' . number(6) : where(key_of($table));
	return "DELETE FROM $table->{quoted} WHERE $cond" if !@columns || chance(0.2);
	return "UPDATE $table->{quoted} SET n = (n + 1) % 6 WHERE $cond" if @int && $int[0]{name} eq 'n' && chance(0.3);
	return "UPDATE $table->{quoted} SET " . join(', ', map { "$_->{name} = " . value($world, $_) } @columns) . " WHERE $cond";
}

sub statements
{
	my ($world) = @_;
	my $table = pick(@{ $world->{tables} });
	my $kind = random();
	return map { insert($world, $table) } 1 .. pick(1, 1, 2, 4) if $kind < 0.4;
	return update($world, $table) if $kind < 0.66;
	return move($world, $table) if $kind < 0.74;
	return update_key($world, $table) if $kind < 0.8;
	return "DELETE FROM $table->{quoted} WHERE " . where(key_of($table)) if $kind < 0.9;
	return many_rows($world, $table) if $kind < 0.997;
	my @truncated = map { $_->{quoted} } some(1 + number(2), @{ $world->{tables} });
	return ('TRUNCATE ' . join(', ', @truncated) . ' CASCADE', map { my $t = $_; map { insert($world, $t) } 1 .. 12 } @{ $world->{tables} });
}

sub world_transaction
{
	my ($world) = @_;
	return join '', map { "$_;\n" } 'BEGIN', statements($world), 'COMMIT' if chance(0.5);

	my $sql = "BEGIN;\n";
	for (1 .. 1 + number(5))
	{
		my $text = join '', map { "$_;\n" } statements($world);
		$text = "SAVEPOINT s;\n$text" . (chance(0.4) ? "ROLLBACK TO s;\n" : "RELEASE s;\n") if chance(0.15);
		$sql .= $text;
	}
	return $sql . (chance(0.07) ? "ROLLBACK;\n" : "COMMIT;\n");
}

# ---- DDL: of columns called x1, x2 …, which come and go; $is_used->(name) for those that must stay as they are

sub column_ddl
{
	my ($world, $table, @own) = @_;
	my $name = 'x' . ++$world->{added};
	my $domain = $world->{domains}{ pick(qw(n n t u ia)) };
	my $default = chance(0.5) ? ' DEFAULT ' . literal($domain, random_value($domain)) . pick('', ' NOT NULL') : '';
	my $c = @own ? pick(@own) : undef;
	my $kind = $c ? pick(qw(add drop drop rename type)) : 'add';
	return ("ADD COLUMN $name $domain->{type}$default", sub { push @{ $table->{columns} }, { name => $name, domain => $domain, notnull => $default =~ /NOT NULL/ } })
	  if $kind eq 'add';
	return ("DROP COLUMN $c->{name}", sub { @{ $table->{columns} } = grep { $_ != $c } @{ $table->{columns} } }) if $kind eq 'drop';
	return ("RENAME COLUMN $c->{name} TO $name", sub { $c->{name} = $name }) if $kind eq 'rename';
	return ("ALTER COLUMN $c->{name} DROP DEFAULT, ALTER COLUMN $c->{name} TYPE text USING 'v' || $c->{name}::text", sub { $c->{domain} = $world->{domains}{t} });
}

sub world_ddl
{
	my ($world, $is_used) = @_;
	my $table = pick(@{ $world->{tables} });
	my @own = grep { $_->{name} =~ /^x/ && !$is_used->($_->{name}) } @{ $table->{columns} };
	my $kind = number(10);
	return { sql => "VACUUM FULL $table->{quoted};\n", done => sub { } } if $kind == 0;
	if ($kind == 1)
	{
		my $value = 'e' . ++$world->{added};
		return { sql => "ALTER TYPE mood ADD VALUE '$value';\n", done => sub { push @{ $world->{domains}{e}{values} }, $value } };
	}
	my ($command, $done) = $kind < 4 ? ('REPLICA IDENTITY ' . pick('FULL', 'DEFAULT'), sub { }) : column_ddl($world, $table, @own);
	my $sql = "ALTER TABLE $table->{quoted} $command;\n";
	return { sql => $sql, done => $done } if chance(0.5);
	return { sql => join('', map { "$_;\n" } 'BEGIN', update($world, $table)) . $sql . "UPDATE $table->{quoted} SET n = n;\nCOMMIT;\n", done => $done }
	  if column($table, 'n');
	return { sql => "BEGIN;\n$sql" . insert($world, pick(grep { $_ != $table } @{ $world->{tables} })) . ";\nCOMMIT;\n", done => $done };
}

1;
