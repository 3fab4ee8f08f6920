#!/usr/bin/env perl
# Fuzzes push requests, on the server of PGHOST/PGPORT: random ones, made from those below, must be taken or
# refused with a fitting SQLSTATE; a rejected mutation has one, too; encrypted columns hold envelopes, or nothing,
# afterwards; a canonical form is JSON equal to what it was made of; and the server must live. Run it through `make fuzz`
# (sanitizers) or test/cluster.sh run.
#
#   TIDE_SEED          repeats a run
#   TIDE_FUZZ_SECONDS  how long (20)
use strict;
use warnings;
use File::Temp 'tempdir';
use Time::HiRes 'time';

my $seconds = $ENV{TIDE_FUZZ_SECONDS} || 20;
my $seed = $ENV{TIDE_SEED} || int(rand(2**31));
srand $seed;
print "push_request.pl: $seconds s, TIDE_SEED=$seed\n";

my $dir = tempdir(CLEANUP => 1);
my $db = 'tide_fuzz_push';
psql_ok('postgres', "DROP DATABASE IF EXISTS $db", "CREATE DATABASE $db ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0");
psql_ok($db, split /;\n/, <<'SQL');
CREATE EXTENSION pg_tide;
CREATE TABLE t (id int PRIMARY KEY, title text, raw bytea, doc jsonb, n int);
CREATE TABLE s (id int PRIMARY KEY, v text);
SELECT tide.create_shape('t', '{"table": "t", "encrypted": ["title", "raw", "doc"]}');
SELECT tide.allow_writes('t'), tide.allow_writes('s'), tide.require_signatures('s')
SQL
my $secret = psql_ok($db, q{SELECT tide.generate_device_secret()});
my $device = '00000000-0000-4000-8000-0000000000d1';
psql_ok($db, "INSERT INTO tide.devices SELECT (d).* FROM (SELECT tide.make_device('$device', 'fuzz', '$secret') d OFFSET 0) x");
my $envelope = psql_ok($db, q{SELECT tide.encrypt_text('x', tide.generate_data_key(), 't', 'title', '{"id": 1}')});
my $hex = psql_ok($db, q{SELECT tide.encrypt('x', tide.generate_data_key(), 't', 'raw', '{"id": 1}')});
$hex =~ s/\\/\\\\/;

# a client for each case, so that ids always begin at 1
my $cases = 0;
sub client { return sprintf '00000000-0000-4000-8000-%012x', $cases; }
my @samples = (
	qq[{"client": "CLIENT", "claims": {"sub": "fuzz"}, "mutations": [{"id": 1, "op": "insert", "table": "t", "key": {"id": 1}, "values": {"title": "$envelope", "raw": "$hex", "doc": "$envelope", "n": 1}}]}],
	qq[{"client": "CLIENT", "claims": {"sub": "fuzz"}, "mutations": [{"id": 1, "op": "update", "table": "public.t", "key": {"id": 1}, "values": {"title": "$envelope"}, "base": {"title": null}, "hlc": "1-2-3", "seen": "0/1"}]}],
	qq[{"client": "CLIENT", "claims": {"sub": "fuzz"}, "mutations": [{"id": 1, "op": "update", "table": "t", "key": {"id": 1}, "values": {"raw": "$hex", "doc": null}}, {"id": 2, "op": "delete", "table": "t", "key": {"id": 7}}], "atomic": true}],
	q[{"client": "CLIENT", "claims": {"sub": "fuzz"}, "mutations": [SIGNED]}],
	q[{"client": "CLIENT", "claims": {"sub": "fuzz"}, "mutations": [SIGNED, {"id": 2, "call": "none", "args": {}, "signature": {"device": "00000000-0000-4000-8000-0000000000d1", "value": ""}, "tx": 3}], "rejected_seen": 0}]);
my @tokens = (',', '"', '\\\\', '{', '}', '[', ']', ':', ' ', 'null', 'true', '1e9', '-', '0', '1.50', '""', '{}', '[]', '"title"', '"signature"', '"value"', '"device"', '"id"',
	'\\\\x01', '\\x01', '=', '\\u0000', '\\u00c0', '\\ud800', "\xc3\x80", "\xf0\x9f\x98\x80", '"AQ"', 'plaintext', '"plaintext"', $envelope, $hex, '1e131071', '99999999999999999999');

my @values = ('null', 'true', '0', '-1', '1', '2', '1.50', '1e3', '""', '{}', '[]', '[[]]', '"t"', '"s"', '"insert"', '"delete"', '"plaintext"', '"AQ"', qq["$envelope"], qq["$hex"], qq["$device"],
	'"\\\\x01"', qq["${envelope}A"], qq["$envelope="], qq["\\u00c0$envelope"], '"\\u00e9"', '1e400', '99999999999999999999', '{"device": 1, "value": 2}', qq[{"device": "$device", "value": "${\('00' x 64)}"}]);
my ($failures, %codes, %outcomes) = (0);
my $until = time + $seconds;
run_batch(map { mutant($_, 0) } @samples);
run_batch(map { mutant(pick(@samples), 1 + int rand 3) } 1 .. 300) while time < $until && $failures < 10;
my $plain = psql_ok($db, q{SELECT count(*) FROM t WHERE NOT (tide.is_envelope(title) AND tide.is_envelope(raw) AND tide.is_envelope(doc))});
fail('plaintext in an encrypted column', '', "$plain rows") if $plain;
my $unsigned = psql_ok($db, "SELECT count(*) FROM tide.signed_mutations WHERE NOT tide.verify_mutation(client_id, mutation, (SELECT sign_key FROM tide.devices))");
fail('a mutation that is not signed was kept', '', "$unsigned rows") if $unsigned;
my $signed = psql_ok($db, 'SELECT count(*) FROM tide.signed_mutations');
psql_ok('postgres', "DROP DATABASE $db") if !$failures;
print "$cases cases, $failures failures; by SQLSTATE: ", join(', ', map { "$_ $codes{$_}" } sort keys %codes),
  '; mutations: ', join(', ', map { "$_ $outcomes{$_}" } sort keys %outcomes), "; $signed signed\n";
my $thin = $cases > 500 && (($codes{'00000'} // 0) < $cases / 20 || ($outcomes{applied} // 0) < $cases / 50 || ($outcomes{23514} // 0) == 0 || ($outcomes{28000} // 0) == 0);
print "too few cases are taken, or refused\n" if $thin;
exit($failures || $thin ? 1 : 0);

sub pick { return $_[ rand @_ ]; }

sub psql_ok
{
	my ($database, @sql) = @_;
	my @command = ('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $database, '-o', "$dir/out", map { ('-c', $_) } @sql);
	local $ENV{PGOPTIONS} = '-c client_min_messages=warning';
	system(@command) == 0 or die "push_request.pl: @command failed\n";
	open my $in, '<', "$dir/out" or die $!;
	my $text = do { local $/; <$in> } // '';
	chomp $text;
	return $text;
}

sub characters { return $_[0] =~ /([\x00-\x7f]|[\xc2-\xf4][\x80-\xbf]+)/g; }

sub mutant
{
	my ($text, $changes) = @_;
	for (1 .. $changes)
	{
		my @c = characters($text);
		my $at = int rand(@c + 1);
		# structure is what parsers are about
		if (rand() < 0.5)
		{
			my @places = grep { $c[$_] =~ /[\[\]{}:,"]/ } 0 .. $#c;
			$at = @places ? pick(@places) : $at;
		}
		my $kind = rand(2.2) - 1.2;
		# values for others, so that it is still JSON
		if ($kind < 0)
		{
			$text =~ s/("(?:[^"\\]|\\.)*"|\b\d+)(?=\s*[,}\]])/rand() < 0.15 ? pick(@values) : $1/ge;
			next;
		}
		if    ($kind < 0.35) { splice @c, $at, 0, pick(@tokens); }
		elsif ($kind < 0.55) { splice @c, $at, 1 + int rand 6; }
		elsif ($kind < 0.75) { splice @c, $at, 1, chr(32 + rand 95); }
		elsif ($kind < 0.85) { my @copy = @c[ grep { $_ < @c } $at .. $at + int rand 60 ]; splice @c, $at, 0, @copy; }
		elsif ($kind < 0.88) { splice @c, $at, 0, pick('[', '{"a":', '[{"a":') x (10**(1 + rand 3)); }
		else                 { @c = characters($text =~ s/"(\w+)"(?=:)/rand() < 0.1 ? '"' . pick('id', 'op', 'table', 'key', 'values', 'title', 'signature', 'x') . '"' : qq["$1"]/ger); }
		$text = join '', @c;
	}
	return $text;
}

sub literal
{
	my ($text) = @_;
	return "E'" . ($text =~ s/([\\'])/\\$1/gr =~ s/([\x00-\x1f\x7f])/sprintf '\\x%02x', ord($1) || 1/ger) . "'";
}

sub run_batch
{
	my @batch = @_;
	open my $script, '>', "$dir/sql" or die $!;
	print {$script} "\\set VERBOSITY verbose\n\\set SHOW_CONTEXT always\nSET client_encoding = 'UTF8';\n";
	my $first = $cases;
	for my $i (0 .. $#batch)
	{
		my $client = client();
		my $case = $batch[$i];
		$case =~ s/CLIENT/$client/g;
		my $value = literal($case);
		$value = "replace($value, 'SIGNED', tide.sign_mutation('$client', '{\"id\": 1, \"op\": \"insert\", \"table\": \"s\", \"key\": {\"id\": 1}, \"values\": {\"v\": \"x\"}}', '$device', '$secret')::text)";
		print {$script} "\\unset answer\nSELECT tide.push(q) AS answer FROM (SELECT $value\::jsonb AS q) q \\gset\n\\warn case $i :SQLSTATE\n\\if :{?answer}\n\\warn :answer\n\\endif\n",
		  "SELECT 1 / (convert_from(tide.canonical_json(q), 'UTF8')::jsonb = q)::int FROM (SELECT $value\::jsonb AS q) q \\g /dev/null\n\\warn canonical $i :SQLSTATE\n";
		$cases++;
	}
	close $script or die $!;
	system("psql -XAtq -d $db -f '$dir/sql' >'$dir/out' 2>'$dir/err'");
	open my $in, '<', "$dir/err" or die $!;
	my ($said, $done) = ('', 0);
	while (my $line = <$in>)
	{
		if ($line =~ /^case (\d+) (\w{5})$/)
		{
			check($batch[$1], $2, $said);
			$said = '';
		}
		elsif ($line =~ /^canonical (\d+) (\w{5})$/)
		{
			fail('a canonical form of another value', $batch[$1], $said) if $2 eq '22012';
			$done++;
			$said = '';
		}
		elsif ($line =~ /^\{"last_mutation_id"/)
		{
			$outcomes{$_}++ for $line =~ /"status":"(applied|merged)"/g;
			while ($line =~ /"code":"(\w{5})"/g)
			{
				$outcomes{$1}++;
				fail("mutation rejected with $1", $line, '') if $1 =~ /^(XX|53|57|58)/;
			}
		}
		else { $said .= $line; }
	}
	fail('no answer', $batch[$done], $said) if $done < @batch;
	return;
}

sub fail
{
	my ($what, $case, $said) = @_;
	$failures++;
	print "FAILED: $what\n  case: ", substr($case, 0, 3000), "\n  said: ", substr($said, 0, 1500), "\n";
	return;
}

sub check
{
	my ($case, $code, $said) = @_;
	$codes{$code}++;
	# no JSON, or none that PostgreSQL keeps; malformed; nested too deep; too large; who is it
	fail("SQLSTATE $code", $case, $said) if $code !~ /^(?:00000|22P02|22P05|22003|22023|54001|54000|28000)$/;
	return;
}
