# The JSON stream through pg_recvlogical: batching, restart and resume, crash, encodings,
# a database without the extension.

use strict;
use warnings;
use Encode ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;
use Time::HiRes qw(usleep);

my $node = tide_new('stream', extension => 0);
my $folder = PostgreSQL::Test::Utils::tempdir();

sub slot
{
	my ($name, $db) = @_;
	$node->safe_psql($db // 'postgres',
		"SELECT 1 FROM pg_create_logical_replication_slot('$name', 'pg_tide')");
	return;
}

sub recvlogical_command
{
	my ($slot, $file, $db, @more) = @_;
	return ('pg_recvlogical', '-d', $node->connstr($db // 'postgres'), '--slot', $slot,
		'--start', '--no-loop', '-f', $file, @more);
}

# receive into the file everything up to now
sub receive
{
	my ($slot, $file, $db, @more) = @_;
	my $end = $node->safe_psql($db // 'postgres', 'SELECT pg_current_wal_flush_lsn()');
	command_ok([ recvlogical_command($slot, $file, $db, '--endpos', $end, @more) ],
		"receive from $slot");
	return;
}

# lines of a file, as bytes
sub lines_of
{
	my ($file) = @_;
	my @lines = split /\n/, slurp_file($file);
	return @lines;
}

my $json = JSON::PP->new->utf8;

# ---------- a workload of small and large transactions ----------

$node->safe_psql('postgres', q{
	CREATE TABLE items (id int PRIMARY KEY, title text, body text);
	ALTER TABLE items ALTER body SET STORAGE external;
});
slot($_) for qw(whole parts crash sql);
srand(my $seed = $ENV{TIDE_SEED} // 4711);
note "seed $seed";
my $next = 1;
for my $i (1 .. 120)
{
	my $rows = $i % 40 == 0 ? 20_000 : 1 + int rand 30;
	my $last = $next + $rows - 1;
	my $old = 1 + int rand $last;
	$node->safe_psql('postgres', qq{
		BEGIN;
		INSERT INTO items SELECT g, 'title "' || g || E'"\\n', CASE WHEN g % 500 = 0 THEN repeat('b', 20000) END
			FROM generate_series($next, $last) g;
		UPDATE items SET title = 'changed' WHERE id BETWEEN $old AND $old + 5;
		DELETE FROM items WHERE id = $old + 7;
		COMMIT;
	});
	$next = $last + 1;
}

# ---------- lines, batched ----------

receive('whole', "$folder/whole");
my @whole = lines_of("$folder/whole");
my ($open, $bad, %types) = (0, 0);
for my $line (@whole)
{
	my $object = eval { $json->decode($line) } or $bad++;
	my $type = $object->{type};
	$types{$type}++;
	$bad++ if $type eq 'begin' ? $open++ : !$open;
	$open = 0 if $type eq 'commit';
}
is($bad, 0, 'every line is a JSON object inside its transaction');
is($open, 0, 'the last transaction is complete');
is($types{begin}, 120, 'one begin line for each transaction');
is($types{insert}, $next - 1, 'one insert line for each row');

my @sql = split /\n/, $node->safe_psql('postgres',
	q{SELECT data FROM pg_logical_slot_get_changes('sql', NULL, NULL)});
is_deeply(\@sql, \@whole, 'the SQL function gives the same lines, one in each row');

# ---------- stopped in the middle, resumed by LSN ----------

# cut a file after its last complete transaction; returns where that ended
sub cut_after_commit
{
	my ($file) = @_;
	my $text = slurp_file($file);
	my $cut = 0;
	my $lsn;

	while ($text =~ /^(\{"type":"commit".*\})\n/mg)
	{
		$cut = pos $text;
		$lsn = $json->decode($1)->{end_lsn};
	}
	truncate $file, $cut or die "could not cut $file: $!";
	return $lsn;
}

# let a receiver run until its file has grown to so many bytes, then kill it
sub receive_some
{
	my ($slot, $file, $bytes, @more) = @_;
	my $receiver = IPC::Run::start(
		[ recvlogical_command($slot, $file, 'postgres', '--fsync-interval', 0, @more) ],
		'2>', "$folder/receiver.log");
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default * 10)
	{
		last if (-s $file // 0) >= $bytes;
		usleep(10_000);
	}
	my $size = -s $file // 0;
	$receiver->kill_kill(grace => 0);
	$node->poll_query_until('postgres',
		"SELECT NOT active FROM pg_replication_slots WHERE slot_name = '$slot'");
	return $size;
}

my $size = -s "$folder/whole";
for my $part (1 .. 3)
{
	my $at = receive_some('parts', "$folder/parts", $size * $part / 5,
		$part == 1 ? () : ('--startpos', cut_after_commit("$folder/parts")));
	cmp_ok($at, '>=', $size * $part / 5, "received a part, killed ($part)");
}
receive('parts', "$folder/parts", 'postgres', '--startpos', cut_after_commit("$folder/parts"));
is_deeply([ lines_of("$folder/parts") ], \@whole, 'parts resumed by end_lsn make the whole');

# ---------- the server crashes in the middle ----------

receive_some('crash', "$folder/crash", $size / 3);
$node->stop('immediate');
$node->start;
receive('crash', "$folder/crash", 'postgres', '--startpos', cut_after_commit("$folder/crash"));
is_deeply([ lines_of("$folder/crash") ], \@whole, 'after a crash the rest is the same');

# ---------- encodings ----------

sub database
{
	my ($name, $encoding) = @_;
	$node->safe_psql('postgres',
		"CREATE DATABASE $name ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	slot($name, $name);
	$node->safe_psql($name, 'CREATE TABLE texts (id int PRIMARY KEY, t text)');
	return;
}

database('latin1', 'LATIN1');
$node->safe_psql('latin1', q{
	SET client_encoding = 'LATIN1';
	SELECT pg_logical_emit_message(false, 'p' || chr(228), 'x' || chr(252));
	INSERT INTO texts VALUES (1, chr(228) || chr(246))});
receive('latin1', "$folder/latin1", 'latin1', '-o', 'include-lsn=false');
my @latin1 = map { $json->decode($_) } lines_of("$folder/latin1");
is_deeply([ map { $_->{row}{t} // () } @latin1 ], ["\x{e4}\x{f6}"], 'LATIN1 leaves as UTF-8');
is_deeply([ map { $_->{content} // () } @latin1 ], ["x\x{fc}"], 'messages outside of transactions too');

database('bytes', 'SQL_ASCII');
$node->safe_psql('bytes', q{INSERT INTO texts VALUES (1, E'a\\xffb'), (2, E'\\xc3\\xa9')});
receive('bytes', "$folder/bytes", 'bytes');
my @bytes = map { $json->decode($_) } lines_of("$folder/bytes");
is_deeply([ map { $_->{row}{t} // () } @bytes ], [ "a\x{fffd}b", "\x{e9}" ],
	'SQL_ASCII leaves as UTF-8, what is none as U+FFFD');

# ---------- shapes through a walsender, which has settings of its own ----------

slot('early');
$node->safe_psql('postgres', q{
	CREATE EXTENSION pg_tide;
	CREATE TABLE tasks (id int PRIMARY KEY, team int, at timestamptz, span tstzrange, cost money, took interval);
	ALTER TABLE tasks REPLICA IDENTITY FULL;
	SELECT tide.create_shape('team_tasks', '{"table": "tasks", "where": "team = params.team"}');
	ALTER SYSTEM SET TimeZone = 'Asia/Kolkata';
	ALTER SYSTEM SET IntervalStyle = 'iso_8601';
	SELECT pg_reload_conf()});
slot('shapes');
$node->safe_psql('postgres', q{
	INSERT INTO tasks VALUES (1, 1, '2026-01-01 00:00+00', '[2026-01-01 00:00+00,]', 5, '1 mon 2 days'), (2, 2, NULL, NULL, NULL, NULL);
	UPDATE tasks SET team = 1 WHERE id = 2;
	SELECT tide.replace_shape('team_tasks', '{"table": "tasks", "where": "team = params.team AND id > 1", "columns": ["id"]}');
	UPDATE tasks SET team = 2;
	UPDATE tasks SET team = 1;
	SELECT tide.replace_shape('team_tasks', '{"table": "tasks", "where": "team = params.team AND id > 1", "columns": ["id", "took"]}');
	UPDATE tasks SET took = '1 day';
	ALTER TABLE tasks RENAME COLUMN cost TO price;
	ALTER TABLE tasks DROP COLUMN took;
	UPDATE tasks SET price = 1});
command_fails_like([ recvlogical_command('shapes', "$folder/shapes", 'postgres', '-o', 'shapes=team_tasks') ],
	qr/parameter "team" of shape "team_tasks" is missing/, 'a missing parameter is told at start-up');
command_fails_like([ recvlogical_command('shapes', "$folder/shapes", 'postgres', '-o', 'shape=x') ],
	qr/Valid options are: actions, claims/, 'so are unknown options');
receive('shapes', "$folder/shapes", 'postgres', '-o', 'shapes=team_tasks', '-o', 'params={"team": 1}',
	'-o', 'include-lsn=false', '-o', 'include-xid=false');
receive('early', "$folder/early", 'postgres', '-o', 'shapes=team_tasks', '-o', 'params={"team": 1}',
	'-o', 'include-lsn=false', '-o', 'include-xid=false');
is_deeply([ lines_of("$folder/early") ], [ lines_of("$folder/shapes") ],
	'a stream may start before the extension and the shape were made');
is_deeply([ grep { !/"begin"|"commit"/ } lines_of("$folder/shapes") ],
	[
		'{"type":"insert","shape":"team_tasks","table":"public.tasks","key":{"id":1},"row":{"id":1,"team":1,'
		  . '"at":"2026-01-01T00:00:00+00:00","span":"[\"2026-01-01 00:00:00+00\",)","cost":"$5.00","took":"1 mon 2 days"}}',
		'{"type":"insert","shape":"team_tasks","table":"public.tasks","key":{"id":2},"row":{"id":2,"team":1,'
		  . '"at":null,"span":null,"cost":null,"took":null}}',
		'{"type":"delete","shape":"team_tasks","table":"public.tasks","key":{"id":2}}',
		'{"type":"insert","shape":"team_tasks","table":"public.tasks","key":{"id":2},"row":{"id":2}}',
		'{"type":"update","shape":"team_tasks","table":"public.tasks","key":{"id":2},"row":{"id":2,"took":"1 day"}}',
		'{"type":"update","shape":"team_tasks","table":"public.tasks","key":{"id":2},"row":{"id":2}}',
	],
	'rows enter and leave the shape as it was at the time');

# ---------- memory does not grow with the transaction ----------

slot('large');
$node->safe_psql('postgres', q{INSERT INTO items SELECT g, repeat('x', 100) FROM generate_series(1000001, 1300000) g});
receive('large', "$folder/large", 'postgres', '-o', 'include-lsn=false', '-o', 'include-xid=false');
my @large = lines_of("$folder/large");
is(scalar @large, 300_002, 'a large transaction is streamed whole');

$node->stop;
done_testing();
