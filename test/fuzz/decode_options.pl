#!/usr/bin/env perl
# Fuzzes the options of the output plugin, on the server of PGHOST/PGPORT: random ones, made
# from those of decode_options.corpus, must be taken or refused with a fitting SQLSTATE, an
# unknown one by a list of all valid ones; what is then streamed must be JSON; and the server
# must live. Run it through `make fuzz` (sanitizers) or test/cluster.sh run.
#
#   TIDE_SEED          repeats a run
#   TIDE_FUZZ_SECONDS  how long (20)
# Failing cases are printed in the corpus's form: add them there.
use strict;
use warnings;
use File::Basename 'dirname';
use File::Temp 'tempdir';
use Time::HiRes 'time';

my $seconds = $ENV{TIDE_FUZZ_SECONDS} || 20;
my $seed = $ENV{TIDE_SEED} || int(rand(2**31));
srand $seed;
print "decode_options.pl: $seconds s, TIDE_SEED=$seed\n";

my $top = dirname($0) . '/../..';
my @names = documented_options("$top/doc/stream.md");
# what mutations put in
my @tokens = (',', '.', '*', '"', '""', "'", '\\', '{', '}', '[', ']', ':', ' ', "\t", "\n", "\r", "\x01", "\xc3\xa4", "\xf0\x9f\x98\x80", "\xe2\x80\xa8",
	'null', 'true', 'off', '1e9', '-', '0', '$1', '%s', '%n', '--', '/*', ';', 'insert', 'one', 'fuzz.t', '"id"', '\\u0000', '\\ud800', 'NaN', '..', '","');
my $dir = tempdir(CLEANUP => 1);
my $db = 'tide_fuzz';

my $setup = <<'SQL';
CREATE EXTENSION pg_tide;
CREATE SCHEMA fuzz;
CREATE TABLE fuzz.t (id int PRIMARY KEY, v text, owner text, team int);
ALTER TABLE fuzz.t REPLICA IDENTITY FULL;
CREATE TABLE fuzz.u (id int PRIMARY KEY, n numeric, a text[]);
SELECT tide.create_shape('one', '{"table": "fuzz.t", "where": "id = params.id"}'), tide.create_shape('plain', '{"table": "fuzz.u"}'),
	tide.create_shape('many', '{"table": "fuzz.t", "where": "v = ANY (params.names) AND id > 0"}'),
	tide.create_shape('mine', '{"table": "fuzz.t", "where": "owner = claims.sub AND team = ANY (claims.teams)"}');
SELECT pg_create_logical_replication_slot('tide_fuzz', 'pg_tide');
INSERT INTO fuzz.t VALUES (1, 'a', 'x', 1), (2, E'"\n\\', 'y', 2);
UPDATE fuzz.t SET id = 3 WHERE id = 1;
DELETE FROM fuzz.t WHERE id = 2;
INSERT INTO fuzz.u VALUES (1, 'NaN', '{a,NULL}');
TRUNCATE fuzz.u;
SELECT pg_logical_emit_message(true, 'p', 'x'), pg_logical_emit_message(true, 'tide.x', 'y');
SQL
psql_ok('postgres', "DROP DATABASE IF EXISTS $db", "CREATE DATABASE $db ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0");
psql_ok($db, split /;\n/, $setup);

my @corpus = read_corpus("$top/test/fuzz/decode_options.corpus");
my ($cases, $failures, %codes) = (0, 0);
my $until = time + $seconds;
run_batch(@corpus);
run_batch(map { mutant() } 1 .. 200) while time < $until && $failures < 10;
psql_ok($db, "SELECT pg_drop_replication_slot('tide_fuzz')", 'DROP EXTENSION pg_tide CASCADE') if $failures < 10;
psql_ok('postgres', "DROP DATABASE $db") if $failures < 10;
print "$cases cases, $failures failures; by SQLSTATE: ", join(', ', map { "$_ $codes{$_}" } sort keys %codes), "\n";
# a driver that only ever meets the first check proves nothing
my $thin = $cases > 500 && (($codes{'00000'} // 0) < $cases / 20 || ($codes{22023} // 0) < $cases / 20);
print "too few cases are taken, or refused\n" if $thin;
exit($failures || $thin ? 1 : 0);

# the names in the table of options, as the error message lists them
sub documented_options
{
	my ($file) = @_;
	open my $in, '<', $file or die "$file: $!";
	my ($section) = do { local $/; <$in> } =~ /^## Options\n(.*?)^##/ms or die "no options in $file";
	return sort map { /`([\w-]+)`/g } $section =~ /^\| (`.*?) \|/mg;
}

# ---- cases: lists of [ name, value or undef ]

sub read_corpus
{
	my ($file) = @_;
	open my $in, '<', $file or die "$file: $!";
	return map { chomp; [ map { [ map { unescape($_) } /^([^=]*)(?:=(.*))?$/s ] } split /\t/, $_, -1 ] } grep { !/^#/ } <$in>;
}

sub unescape
{
	my ($text) = @_;
	return undef if !defined $text;
	my %c = (t => "\t", n => "\n", '\\' => '\\');
	$text =~ s/\\(?:x([0-9a-f]{2})|(.))/defined $1 ? chr hex $1 : $c{$2} \/\/ die "bad escape in $text"/ge;
	return $text;
}

sub shown
{
	my ($case) = @_;
	return join "\t", map {
		join '=', map { s/([\\\t\n])/{ "\\" => '\\\\', "\t" => '\\t', "\n" => '\\n' }->{$1}/ger =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger } grep { defined } @$_
	} @$case;
}

sub pick { return $_[ rand @_ ]; }

# characters, so that what comes out is UTF-8 again
sub characters { return $_[0] =~ /([\x00-\x7f]|[\xc2-\xf4][\x80-\xbf]+)/g; }

sub mutate
{
	my ($text) = @_;
	for (1 .. 1 + rand 4)
	{
		my @c = characters($text // '');
		my $at = int rand(@c + 1);
		my $length = int rand 5;
		my $kind = rand();
		if    ($kind < 0.35) { splice @c, $at, 0, pick(@tokens); }
		elsif ($kind < 0.55) { splice @c, $at, 1 + $length; }
		elsif ($kind < 0.70) { splice @c, $at, 1, chr(1 + rand 127); }
		elsif ($kind < 0.80) { my @copy = @c[ grep { $_ < @c } $at .. $at + 3 * $length ]; splice @c, $at, 0, @copy; }
		elsif ($kind < 0.85) { @c = (@c, pick(@tokens), @c); }
		elsif ($kind < 0.88) { splice @c, $at, 0, pick(@tokens) x (10**(1 + rand 3.7)); }
		elsif ($kind < 0.95) { @c = characters((map { $_->[1] } @{ pick(@corpus) })[0] // ''); }
		else                 { @c = (); }
		$text = join '', @c;
	}
	return $text;
}

sub mutant
{
	my @case = map { [@$_] } @{ pick(@corpus) };
	push @case, map { [@$_] } @{ pick(@corpus) } if rand() < 0.4;
	splice @case, int rand @case, 1 if @case && rand() < 0.1;
	for my $option (@case)
	{
		$option->[1] = mutate($option->[1]) if rand() < 0.6;
		$option->[0] = mutate($option->[0]) if rand() < 0.03;
		$option->[0] = pick(@names) if rand() < 0.1;
	}
	return \@case;
}

# ---- asking the server

sub psql_ok
{
	my ($database, @sql) = @_;
	my @command = ('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $database, '-o', "$dir/out", map { ('-c', $_) } @sql);
	local $ENV{PGOPTIONS} = '-c client_min_messages=warning';
	system(@command) == 0 or die "decode_options.pl: @command failed\n";
	return;
}

sub literal
{
	my ($text) = @_;
	# a name alone is the same as an empty value
	return "E'" . (($text // '') =~ s/([\\'])/\\$1/gr =~ s/([\x00-\x1f\x7f])/sprintf '\\x%02x', ord $1/ger) . "'";
}

sub run_batch
{
	my @batch = @_;
	open my $script, '>', "$dir/sql" or die $!;
	print {$script} "\\set VERBOSITY verbose\n\\set SHOW_CONTEXT always\nSET client_encoding = 'UTF8';\n";
	for my $i (0 .. $#batch)
	{
		my $list = join ', ', map { literal($_->[0]), literal($_->[1]) } @{ $batch[$i] };
		print {$script} "SELECT count(data::json) FROM pg_logical_slot_peek_changes('tide_fuzz', NULL, NULL, VARIADIC ARRAY[$list]::text[]);\n\\warn case $i :SQLSTATE\n";
	}
	close $script or die $!;
	system("psql -XAtq -d $db -f '$dir/sql' >'$dir/out' 2>'$dir/err'");
	open my $in, '<', "$dir/err" or die $!;
	my $said = '';
	my $next = 0;
	while (my $line = <$in>)
	{
		if ($line =~ /^case (\d+) (\w{5})$/ && $1 == $next)
		{
			check($batch[ $next++ ], $2, $said);
			$said = '';
		}
		else { $said .= $line; }
	}
	fail($batch[$next], 'no answer', $said) if $next < @batch;
	return;
}

sub fail
{
	my ($case, $what, $said) = @_;
	$failures++;
	print "FAILED: $what\n  case: ", substr(shown($case), 0, 3000), "\n  said: ", substr($said, 0, 1500), "\n";
	return;
}

sub check
{
	my ($case, $code, $said) = @_;
	my %given;
	my %valid = map { $_ => 1 } @names;
	my ($unknown) = grep { !$valid{$_} } map { $_->[0] } @$case;
	my $twice = grep { $given{ $_->[0] }++ } @$case;

	$cases++;
	$codes{$code}++;
	return fail($case, "unknown or repeated option was taken", $said) if $code eq '00000' && (defined $unknown || $twice);
	return if $code eq '00000';
	# bad request; text, numbers or JSON that is none; nested too deep; no such shape; not with this shape
	return fail($case, "SQLSTATE $code", $said) if $code !~ /^(?:22\w{3}|54001|42704|0A000|55000)$/;
	# else it is what was streamed that is no JSON
	return fail($case, 'an error from elsewhere', $said) if $said !~ /output plugin "pg_tide", in the startup callback/;
	return if $said !~ /unrecognized option/;
	return fail($case, 'a valid option was not recognized', $said) if !defined $unknown;
	my ($list) = $said =~ /HINT:  Valid options are: (.*)\.$/m;
	return fail($case, 'not all valid options are listed', $said) if ($list // '') ne join ', ', @names;
	return;
}
