package TideDdl;

=head1 NAME

TideDdl - random schema changes of a table, with changes of its rows around them

=head1 SYNOPSIS

    use TideDdl;
    ddl_schema($session);                     # tables r and p
    $writer->query(pair_transaction($w, $writers));
    $session->query(ddl_transaction($session));

=head1 NOTES

Two tables: r is altered all the time, p never. Every transaction leaves the same (id, n) in both,
so a client that holds both at a complete checkpoint must see the same pairs: whatever is
lost, invented, or of another moment shows. Columns id, grp and n of r stay, all others come,
go, and change name, type and values. Writers keep to ids of their own.

Uses rand(): srand() repeats a run.

=cut

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(ddl_schema ddl_transaction pair_transaction);

my $ids = 60;
my $next_n = 1;
my $next_name = 1;

my @types = ('int', 'bigint', 'numeric(12,2)', 'text', 'varchar(40)', 'timestamptz', 'boolean', 'mood', 'jsonb', 'int[]', 'low_int');
my %default = (
	int => 7, bigint => 8, 'numeric(12,2)' => '1.50', text => "'x'", 'varchar(40)' => "'y'", timestamptz => "'2026-01-02 03:04:05+00'",
	boolean => 'true', mood => "'merry'", jsonb => q('{"a": [1]}'), 'int[]' => "'{1,2}'", low_int => 3);

sub pick   { return $_[ rand @_ ]; }
sub number { return int(rand $_[0]); }

sub ddl_schema
{
	my ($session) = @_;
	$session->query(<<"SQL");
CREATE TYPE mood AS ENUM ('calm', 'merry');
CREATE DOMAIN low_int AS int CHECK (value < 1000);
CREATE SEQUENCE counted;
CREATE SCHEMA elsewhere;
CREATE TABLE r (id int PRIMARY KEY, grp int, n int, a text, b int);
CREATE TABLE p (id int PRIMARY KEY, n int);
INSERT INTO r SELECT i, i % 3, 0, 'a' || i, i FROM generate_series(1, $ids) i;
INSERT INTO p SELECT i, 0 FROM generate_series(1, $ids) i;
SQL
	return;
}

# one change of a pair with this id
sub pair_change
{
	my ($id) = @_;
	my $n = $next_n++;

	return "DELETE FROM r WHERE id = $id; DELETE FROM p WHERE id = $id" if rand() < 0.2;
	return "INSERT INTO r (id, grp, n) VALUES ($id, " . number(3) . ", $n) ON CONFLICT (id) DO UPDATE SET n = excluded.n, grp = excluded.grp; "
	  . "INSERT INTO p VALUES ($id, $n) ON CONFLICT (id) DO UPDATE SET n = excluded.n";
}

# a transaction of writer $w of $writers, on ids of its own
sub pair_transaction
{
	my ($w, $writers) = @_;
	my @changes = map { pair_change(1 + $w + $writers * number(int($ids / $writers))) } 0 .. number(4);
	return join '; ', 'BEGIN', @changes, rand() < 0.1 ? 'ROLLBACK' : 'COMMIT';
}

# columns of r that may be changed, name => type
sub columns_of
{
	my ($session) = @_;
	my $out = $session->query("SELECT attname || E'\\t' || format_type(atttypid, atttypmod) FROM pg_attribute"
		  . " WHERE attrelid = 'r'::regclass AND attnum > 3 AND NOT attisdropped AND attname NOT IN ('id', 'grp', 'n')");
	return map { split /\t/, $_, 2 } split /\n/, $out;
}

# one command; keeps %$columns true
sub ddl_command
{
	my ($columns) = @_;
	my $c = pick(sort keys %$columns);
	my $kind = number(12);

	if (!defined $c || ($kind < 4 && keys %$columns < 8))
	{
		my $type = pick(@types);
		my $name = pick('', 'C ') . 'c' . $next_name++;
		$columns->{$name} = $type;
		my $default = pick('', '', " DEFAULT $default{$type}", $type eq 'int' ? " DEFAULT nextval('counted')" : '');
		return qq{ALTER TABLE r ADD COLUMN "$name" $type$default};
	}
	if ($kind < 6)
	{
		delete $columns->{$c};
		return qq{ALTER TABLE r DROP COLUMN "$c"};
	}
	if ($kind < 8)
	{
		my $name = 'd' . $next_name++;
		$columns->{$name} = delete $columns->{$c};
		return qq{ALTER TABLE r RENAME COLUMN "$c" TO "$name"};
	}
	if ($kind < 10)
	{
		# a wider type, or text, or the same with other values
		my $type = $columns->{$c};
		my $to = $type eq 'integer' || $type eq 'int' ? pick('bigint', 'numeric(12,2)', 'text') : $type =~ /^(character varying|varchar)/ ? 'text' : pick($type, 'text');
		$columns->{$c} = $to;
		my $using = $to eq 'text' ? pick(qq{"$c"::text}, qq{"$c"::text || id}) : qq{CASE WHEN id % 4 = 0 THEN NULL ELSE "$c" END::$to};
		return qq{ALTER TABLE r ALTER "$c" DROP DEFAULT, ALTER "$c" TYPE $to USING $using};
	}
	return pick('ALTER TABLE r REPLICA IDENTITY ' . pick('FULL', 'DEFAULT'), 'CREATE INDEX ON r (n)', 'ALTER TABLE r ALTER grp SET DEFAULT 1',
		'ALTER TABLE r SET SCHEMA elsewhere; ALTER TABLE elsewhere.r SET SCHEMA public',
		'ALTER TABLE r RENAME TO r_old; CREATE TABLE r (LIKE r_old INCLUDING ALL); INSERT INTO r SELECT * FROM r_old; DROP TABLE r_old; ALTER TABLE r RENAME CONSTRAINT r_pkey TO r_key',
		'TRUNCATE r, p', 'ALTER TABLE r DROP CONSTRAINT ' . 'r_key, ADD CONSTRAINT r_key PRIMARY KEY (id)');
}

# a transaction with commands and changes; ids are anybody's, since the table is locked first
sub ddl_transaction
{
	my ($session) = @_;
	my %columns = columns_of($session);
	my @parts = ('BEGIN', 'LOCK TABLE r, p IN ACCESS EXCLUSIVE MODE');

	for (0 .. number(4))
	{
		push @parts, rand() < 0.5 ? ddl_command(\%columns) : pair_change(1 + number($ids));
		my $c = pick(sort keys %columns);
		push @parts, qq{UPDATE r SET "$c" = NULL WHERE id % 5 = } . number(5) if defined $c && rand() < 0.2;
	}
	return join '; ', @parts, rand() < 0.1 ? 'ROLLBACK' : 'COMMIT';
}

1;
