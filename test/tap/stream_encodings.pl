# Databases in other encodings: what leaves through a walsender is UTF-8 and JSON, whatever
# stands in names, values, labels and messages.

use strict;
use warnings;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('encodings', extension => 0);
my $folder = PostgreSQL::Test::Utils::tempdir();
my $json = JSON::PP->new->utf8;

# Runs the SQL, given as bytes of the database's encoding, and returns the objects streamed.
# Dies if a line is not UTF-8 or not JSON.
sub streamed
{
	my ($encoding, $sql, @options) = @_;
	my $db = lc $encoding;
	my $file = "$folder/$db";

	$node->safe_psql('postgres', "CREATE DATABASE $db ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	$node->safe_psql($db, "SELECT pg_create_logical_replication_slot('$db', 'pg_tide')");
	append_to_file("$file.sql", "SET client_encoding = '$encoding';\n$sql");
	$node->command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($db), '-f', "$file.sql" ], "$encoding: workload");
	my $end = $node->safe_psql($db, 'SELECT pg_current_wal_flush_lsn()');
	$node->command_ok([ 'pg_recvlogical', '-d', $node->connstr($db), '--slot', $db, '--start', '--no-loop', '-f', $file,
			'--endpos', $end, '-o', 'include-lsn=false', '-o', 'include-xid=false', '-o', 'include-types=true', @options ], "$encoding: received");
	my @lines = split /\n/, slurp_file($file);
	my @objects = map { my $line = $_; eval { utf8::decode(my $copy = $line) or die 'not UTF-8'; $json->decode($line) } // die "$encoding: $@ in $line" } @lines;
	return grep { $_->{type} !~ /^(?:begin|commit)$/ } @objects;
}

# ---------- LATIN1: every byte is a character ----------

my $latin1 = join '', map { chr } 0xa0 .. 0xff;
my @lines = streamed('LATIN1', <<"SQL");
CREATE TYPE "\xe9tat" AS ENUM ('\xe4', 'b');
CREATE TABLE "t\xe4ble" (id int PRIMARY KEY, "\xfcber" text, e "\xe9tat", j json, b jsonb, a text[], x xml, c "char");
INSERT INTO "t\xe4ble" VALUES (1, '$latin1', '\xe4', '{"\xe9": "\xe8"}', '{"\xe9": "\\u00e8"}', '{\xe4,\xf6}', '<a>\xe4</a>', (-56)::"char");
UPDATE "t\xe4ble" SET "\xfcber" = repeat('\xe4\x80\x9f"', 10000);
SELECT pg_logical_emit_message(false, 'p\xe4', '\xfc'), pg_logical_emit_message(true, 'p\xe4', '\xfc');
SELECT pg_logical_emit_message(true, 'bytes', '\\x00ff'::bytea);
SQL
is($lines[0]{table}, qq{public."t\x{e4}ble"}, 'LATIN1: name of a table');
is_deeply($lines[0]{row}, { id => 1, "\x{fc}ber" => $latin1, e => "\x{e4}", j => { "\x{e9}" => "\x{e8}" }, b => { "\x{e9}" => "\x{e8}" },
		a => [ "\x{e4}", "\x{f6}" ], x => "<a>\x{e4}</a>", c => '\\310' }, 'values and names of columns');
is($lines[0]{types}{e}, qq{public."\x{e9}tat"}, 'types');
is($lines[1]{row}{"\x{fc}ber"}, "\x{e4}\x{80}\x{9f}\"" x 10000, 'a long value');
is_deeply([ map { [ @{$_}{qw(prefix content content_base64)} ] } @lines[ 2 .. 4 ] ],
	[ [ "p\x{e4}", "\x{fc}", undef ], [ "p\x{e4}", "\x{fc}", undef ], [ 'bytes', undef, 'AP8=' ] ], 'messages');

# ---------- WIN1252: some bytes are no character of Unicode ----------

@lines = streamed('WIN1252', <<"SQL");
CREATE TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t VALUES (1, '\x80 \x9f'), (2, chr(129) || 'x' || chr(144) || chr(141) || '\xe4'), (3, repeat('1234567' || chr(129), 3000));
SQL
is_deeply([ map { $_->{row}{v} } @lines ], [ "\x{20ac} \x{178}", "\x{fffd}x\x{fffd}\x{fffd}\x{e4}", "1234567\x{fffd}" x 3000 ],
	'WIN1252: what has no equivalent is U+FFFD');

# ---------- EUC_JP: several bytes, some of them no character of Unicode ----------

# "日本" and a half-width kana; \xa9\xa1 and \x8f\xa1\xa1 are in no character set
@lines = streamed('EUC_JP', <<"SQL");
CREATE TABLE "\xc6\xfc" (id int PRIMARY KEY, "\xcb\xdc" text);
INSERT INTO "\xc6\xfc" VALUES (1, '\xc6\xfc\xcb\xdc\x8e\xb1'), (2, 'a\xa9\xa1b\xc6\xfc'), (3, '\x8f\xa1\xa1'), (4, repeat('\xc6\xfc', 20000) || '\xa9\xa1');
SQL
is($lines[0]{table}, qq{public."\x{65e5}"}, 'EUC_JP: name of a table');
is_deeply([ map { $_->{row}{"\x{672c}"} } @lines ], [ "\x{65e5}\x{672c}\x{ff71}", "a\x{fffd}b\x{65e5}", "\x{fffd}", "\x{65e5}" x 20000 . "\x{fffd}" ], 'values');

# ---------- SQL_ASCII: any bytes ----------

my $bytes = join '', map { chr } 0x80 .. 0xff;
@lines = streamed('SQL_ASCII', <<"SQL");
CREATE TABLE "n\xff" (id int PRIMARY KEY, "c\xfe" text, j json, b bytea);
INSERT INTO "n\xff" VALUES (1, '$bytes', '{"\xff": "\xc3"}', '\\x00ff'), (2, '\xc3\xa9 \xf0\x9f\x98\x80 \xed\xa0\x80 \xc0\xaf \xf4\x90\x80\x80 \xf0\x9f\x98', NULL, NULL);
SELECT pg_logical_emit_message(false, 'p\xff', '\xfe'), pg_logical_emit_message(true, 'p', '\xc3\xa9');
SQL
my $bad = "\x{fffd}";
is($lines[0]{table}, qq{public."n$bad"}, 'SQL_ASCII: name of a table');
is_deeply($lines[0]{row}, { id => 1, "c$bad" => $bad x 128, j => { $bad => $bad }, b => '\\x00ff' }, 'bytes that are no UTF-8');
is($lines[1]{row}{"c$bad"}, "\x{e9} \x{1f600} " . $bad x 3 . ' ' . $bad x 2 . ' ' . $bad x 4 . ' ' . $bad x 3, 'those that are stay');
is_deeply([ map { [ @{$_}{qw(prefix content content_base64)} ] } @lines[ 2 .. 3 ] ], [ [ "p$bad", undef, '/g==' ], [ 'p', "\x{e9}", undef ] ], 'messages');

# ---------- UTF8: the SQL functions of a client in another encoding ----------

$node->safe_psql('postgres', q{CREATE TABLE t (id int PRIMARY KEY, v text);
	SELECT pg_create_logical_replication_slot('utf8', 'pg_tide')});
$node->safe_psql('postgres', "INSERT INTO t VALUES (1, '\xc3\xa4')");
my ($out) = run_command([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', q{SET client_encoding = 'LATIN1'}, '-c',
		q{SELECT data FROM pg_logical_slot_get_changes('utf8', NULL, NULL, 'actions', 'insert')} ]);
like($out, qr/"v":"\xe4"/, 'the SQL functions give text like any other');

$node->stop;
done_testing();
