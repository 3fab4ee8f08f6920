# Transactions before their commit, through pg_recvlogical: a consumer that drops what is
# rolled back, and is killed now and then, ends up with what the plain stream says; prepared transactions; a row too
# large for a line. All in a database without the extension.

use strict;
use warnings;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;
use Time::HiRes qw(usleep);

my $node = tide_new('in_progress', extension => 0,
	conf => "max_prepared_transactions = 10\nlogical_decoding_work_mem = 64kB\nautovacuum = off\n");
my $folder = PostgreSQL::Test::Utils::tempdir();
my $json = JSON::PP->new->utf8->canonical;

sub slot
{
	my ($name, $two_phase) = @_;
	$node->safe_psql('postgres', "SELECT 1 FROM pg_create_logical_replication_slot('$name', 'pg_tide', false, "
		  . ($two_phase ? 'true' : 'false') . ')');
	return;
}

sub recvlogical
{
	my ($slot, $file, @more) = @_;
	return ('pg_recvlogical', '-d', $node->connstr('postgres'), '--slot', $slot, '--start',
		'--no-loop', '-f', $file, @more);
}

# receive into the file everything up to now
sub receive
{
	my ($slot, $file, @more) = @_;
	my $end = $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
	$node->safe_psql('postgres', "SELECT pg_logical_emit_message(false, 'tide.flush', ''), txid_current()");
	command_ok([ recvlogical($slot, $file, '--endpos', $end, @more) ], "receive from $slot");
	return;
}

sub objects_of
{
	my ($file) = @_;
	return map { $json->decode($_) } split /\n/, slurp_file($file);
}

# lines that the SQL function gives, without what changes from run to run
sub changes
{
	my ($slot, @options) = @_;
	my $options = join ', ', map { "'$_'" } 'include-lsn', 'off', 'include-xid', 'off', @options;
	return [ split /\n/, $node->safe_psql('postgres',
		"SELECT data FROM pg_logical_slot_get_changes('$slot', NULL, NULL, $options)") ];
}

is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_extension WHERE extname = 'pg_tide'}), 0,
	'there is no extension in the database');

# ---------- streaming: sessions that commit, roll back, and do so in part ----------

srand(my $seed = $ENV{TIDE_SEED} // 4711);
note "seed $seed";

# one session's statements on a table of its own; transactions last a while
my (%next, %column);
sub script
{
	my ($table) = @_;
	my ($next, $column, $sql) = ($next{$table} // 1, $column{$table} // 0, '');

	for my $transaction (1 .. 12)
	{
		my $depth = 0;
		$sql .= "BEGIN;\n";
		for my $step (1 .. 2 + int rand 8)
		{
			my $choice = int rand 12;
			my $last = $next + int rand 700;

			if ($choice < 5)
			{
				$sql .= "INSERT INTO $table (id, t) SELECT g, repeat('x', 30) FROM generate_series($next, $last) g;\n";
				$next = $last + 1;
			}
			elsif ($choice == 5) { $sql .= "UPDATE $table SET t = 'changed' WHERE id % 7 = $step;\n"; }
			elsif ($choice == 6) { $sql .= "DELETE FROM $table WHERE id % 11 = $step;\n"; }
			elsif ($choice == 7)
			{
				$last = $next + 900;
				$sql .= 'SAVEPOINT s' . ++$depth . ";\n";
				$sql .= "INSERT INTO $table (id, t) SELECT g, repeat('s', 30) FROM generate_series($next, $last) g;\n";
				$next = $last + 1;
			}
			elsif ($choice == 8 && $depth) { $sql .= "ROLLBACK TO s$depth;\n"; }
			elsif ($choice == 9 && $depth) { $sql .= 'RELEASE s' . $depth-- . ";\n"; }
			elsif ($choice == 10) { $sql .= "ALTER TABLE $table ADD c" . ++$column . " int DEFAULT $step;\n"; }
			else { $sql .= "SELECT pg_logical_emit_message(true, '$table', '$step');\n"; }
			$sql .= "SELECT pg_sleep(0.02);\n";
		}
		$sql .= rand() < 0.3 ? "ROLLBACK;\n" : "COMMIT;\n";
	}
	($next{$table}, $column{$table}) = ($next, $column);
	return $sql;
}

my @tables = qw(one two three);
$node->safe_psql('postgres', join '', map { "CREATE TABLE $_ (id int PRIMARY KEY, t text);" } @tables);
slot($_) for qw(plain streamed);

sub session
{
	my ($name) = @_;
	return IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-v', 'ON_ERROR_STOP=1',
			'-f', "$folder/$name.sql" ], '<', '/dev/null', '>', '/dev/null', '2>', "$folder/$name.log");
}

sub finish
{
	my ($name, $session) = @_;
	return $session->finish || !diag slurp_file("$folder/$name.log");
}

# there is a session on each table; once it has ended, another
my %sessions;
sub keep_writing
{
	for my $table (@tables)
	{
		next if $sessions{$table} && $sessions{$table}->pumpable;
		ok(finish($table, $sessions{$table}), "a session on $table") if $sessions{$table};
		unlink "$folder/$table.sql";
		append_to_file("$folder/$table.sql", script($table));
		$sessions{$table} = session($table);
	}
	return;
}

# a receiver killed several times meanwhile: its file is cut after the last transaction, and goes on there, behind a line
# that says so
sub reconnect
{
	my ($file) = @_;
	my $text = -e $file ? slurp_file($file) : '';
	my ($cut, $lsn) = (0, '0/0');

	while ($text =~ /^(\{"type":"(?:stream_)?commit".*\})\n/mg)
	{
		$cut = pos $text;
		$lsn = $json->decode($1)->{end_lsn};
	}
	truncate $file, $cut if $cut < length $text;
	append_to_file($file, qq({"type":"reconnection"}\n));
	return (-s $file, $lsn);
}

# start a receiver, and stop it once its file has what is looked for, after so many bytes; call the sub meanwhile
sub receive_until
{
	my ($file, $pattern, $signal, $meanwhile) = @_;
	my ($size, $lsn) = reconnect($file);
	my $receiver = IPC::Run::start(
		[ recvlogical('streamed', $file, '-o', 'streaming', '--fsync-interval', 0, '--startpos', $lsn) ],
		'2>', "$folder/receiver.log");
	my $found = 0;

	for (1 .. 20 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if $found = -e $file && substr(slurp_file($file), $size) =~ $pattern;
		$meanwhile->() if $meanwhile;
		usleep(10_000);
	}
	$receiver->signal($signal);
	eval { $receiver->finish };
	$node->poll_query_until('postgres', q{SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'streamed'});
	return $found;
}

for my $part (1 .. 3)
{
	ok(receive_until("$folder/streamed", qr/"stream_start".*"stream_start"/s, 'KILL', \&keep_writing),
		"killed within streamed transactions ($part)");
}
ok(finish($_, $sessions{$_}), "the last session on $_") for @tables;
# rolled back, in part and as a whole, when received in part: 18 streams nothing that was rolled back before
my $received = sub { "DO \$\$ BEGIN WHILE pg_read_file('$folder/streamed') !~ '$_[0]' LOOP PERFORM pg_sleep(0.1); END LOOP; END \$\$;" };
append_to_file("$folder/last.sql", <<"SQL");
BEGIN;
INSERT INTO one (id, t) SELECT -g, 'in part' FROM generate_series(10001, 13000) g;
SAVEPOINT s;
INSERT INTO one (id, t) SELECT -g, 'dropped' FROM generate_series(20001, 23000) g;
${\ $received->('dropped')}
ROLLBACK TO s;
COMMIT;
BEGIN;
INSERT INTO one (id, t) SELECT -g, 'will not be' FROM generate_series(30001, 33000) g;
${\ $received->('will not be')}
ROLLBACK;
INSERT INTO one (id, t) VALUES (-1, 'the end');
SQL
my $last = session('last');
ok(receive_until("$folder/streamed", qr/the end.*\n.*"commit"/, 'INT'), 'received to the end');
ok(finish('last', $last), 'the last session');
receive('plain', "$folder/plain");

# what a consumer holds at the end: changes of committed transactions in commit order
sub consume
{
	my %spool;
	my (@done, $block, $open, %seen);

	for my $line (@_)
	{
		my $type = $line->{type};
		my $xid = delete $line->{xid};
		$seen{ $type . ($line->{subxid} ? ' of a subtransaction' : '') }++;
		# all transactions that are not done yet come again, perhaps in one piece, or not if they were rolled back meanwhile
		if ($type eq 'reconnection') { %spool = (); undef $block; }
		elsif ($type eq 'stream_start')
		{
			die 'a block in a block' if defined $block;
			$spool{ $block = $xid } = [] if $line->{first};
			die "a block of $xid without the first" if !$spool{ $block = $xid };
		}
		elsif ($type eq 'stream_stop') { undef $block; }
		elsif ($type eq 'stream_abort')
		{
			my $sub = $line->{subxid};
			die "an abort of unknown $xid" if !$spool{$xid};
			if ($sub)
			{
				my @kept = grep { $_->[0] != $sub } @{ $spool{$xid} };
				$seen{'line dropped'} += @{ $spool{$xid} } - @kept;
				$spool{$xid} = \@kept;
			}
			else { delete $spool{$xid}; }
		}
		elsif ($type eq 'stream_commit')
		{
			my $changes = delete $spool{$xid} or die "a commit of unknown $xid";
			push @done, [ $line->{lsn}, $line->{end_lsn}, map { $_->[1] } @$changes ] if @$changes;
		}
		elsif ($type eq 'begin') { $open = []; }
		elsif ($type eq 'commit') { push @done, [ $line->{lsn}, $line->{end_lsn}, @$open ]; undef $open; }
		elsif (defined $block) { push @{ $spool{$block} }, [ $xid, $json->encode($line) ]; }
		else { push @$open, $json->encode($line); }
	}
	return (\@done, \%seen, \%spool);
}

my ($plain) = consume(objects_of("$folder/plain"));
my ($streamed, $seen, $spool) = consume(objects_of("$folder/streamed"));
is_deeply($streamed, $plain, 'what is left after aborts is what the plain stream says');
is_deeply($spool, {}, 'nothing is left open');
for my $type ('stream_start', 'stream_stop', 'stream_commit', 'stream_abort', 'stream_abort of a subtransaction', 'line dropped', 'begin')
{
	cmp_ok($seen->{$type} // 0, '>', 0, "there were lines $type");
}
cmp_ok(scalar @$plain, '>', 10, 'transactions were compared');

# a receiver that asks for a table nobody changes sees nothing, not even commits
slot('nothing');
$node->safe_psql('postgres', q{
	BEGIN; INSERT INTO two (id, t) SELECT g, 'unseen' FROM generate_series(1000001, 1002000) g; COMMIT;
	BEGIN; INSERT INTO two (id, t) SELECT g, 'unseen' FROM generate_series(2000001, 2002000) g; ROLLBACK});
receive('nothing', "$folder/nothing", '-o', 'streaming', '-o', 'tables=public.three');
is(slurp_file("$folder/nothing"), '', 'transactions without a line are not seen');

# ---------- two-phase ----------

slot('two', 1);
slot('one_phase');
slot('by_option');
slot('walsender', 1);
$node->safe_psql('postgres', q{
	CREATE TABLE accounts (id int PRIMARY KEY, amount int);
	BEGIN;
	INSERT INTO accounts VALUES (1, 10);
	PREPARE TRANSACTION 'first "one"';
	INSERT INTO accounts VALUES (2, 20);
	COMMIT PREPARED 'first "one"';
	BEGIN;
	UPDATE accounts SET amount = 0;
	PREPARE TRANSACTION 'second';
	ROLLBACK PREPARED 'second';
	BEGIN;
	CREATE TABLE later (id int);
	PREPARE TRANSACTION 'no rows';
	COMMIT PREPARED 'no rows';
	BEGIN;
	INSERT INTO accounts VALUES (3, 30);
	PREPARE TRANSACTION 'pending'});
my $first = '{"type":"insert","table":"public.accounts","key":{"id":1},"row":{"id":1,"amount":10}}';
my $second = '{"type":"insert","table":"public.accounts","key":{"id":2},"row":{"id":2,"amount":20}}';
my $update = '{"type":"update","table":"public.accounts","key":{"id":%d},"row":{"id":%d,"amount":0}}';
my $third = '{"type":"insert","table":"public.accounts","key":{"id":3},"row":{"id":3,"amount":30}}';
my @two = (
	'{"type":"begin","gid":"first \"one\""}', $first, '{"type":"prepare","gid":"first \"one\""}',
	'{"type":"begin"}', $second, '{"type":"commit"}',
	'{"type":"commit_prepared","gid":"first \"one\""}',
	'{"type":"begin","gid":"second"}', sprintf($update, 2, 2), sprintf($update, 1, 1), '{"type":"prepare","gid":"second"}',
	'{"type":"rollback_prepared","gid":"second"}',
	'{"type":"begin","gid":"no rows"}', '{"type":"prepare","gid":"no rows"}', '{"type":"commit_prepared","gid":"no rows"}',
	'{"type":"begin","gid":"pending"}', $third, '{"type":"prepare","gid":"pending"}');
my @one = ('{"type":"begin"}', $second, '{"type":"commit"}', '{"type":"begin"}', $first, '{"type":"commit"}');
my @sorted = sort @two;
is_deeply([ sort @{ changes('two') } ], \@sorted, 'a slot for two-phase shows prepared transactions');
is_deeply(changes('one_phase'), \@one, 'without two-phase they come at their commit');
is_deeply([ sort @{ changes('by_option', 'two-phase', 'true') } ], \@sorted, 'the option turns two-phase on');
receive('walsender', "$folder/walsender", '-o', 'include-lsn=false', '-o', 'include-xid=false');
is_deeply([ sort split /\n/, slurp_file("$folder/walsender") ], \@sorted, 'so does a walsender');

$node->restart;
$node->safe_psql('postgres', q{COMMIT PREPARED 'pending'});
is_deeply(changes($_), ['{"type":"commit_prepared","gid":"pending"}'],
	"after a restart only the outcome follows ($_)") for qw(two by_option);
is_deeply(changes('one_phase'), [ '{"type":"begin"}', $third, '{"type":"commit"}' ], 'and the whole without two-phase');
$node->safe_psql('postgres', q{
	BEGIN; INSERT INTO accounts VALUES (4, 40); PREPARE TRANSACTION 'x'; COMMIT PREPARED 'x'});
my @whole = @{ changes('two', 'format', 'transaction') };
like($whole[0], qr/^\{"type":"prepare","gid":"x","changes":\[\{"type":"insert",.*\}\]\}$/, 'one object for what is prepared');
is_deeply([ @whole[ 1 .. $#whole ] ], ['{"type":"commit_prepared","gid":"x"}'], 'and one for what became of it');

# streamed and prepared
$node->safe_psql('postgres', q{
	BEGIN; INSERT INTO accounts SELECT g, 0 FROM generate_series(1001, 3000) g; PREPARE TRANSACTION 'large'});
receive('walsender', "$folder/large", '-o', 'streaming', '-o', 'include-lsn=false');
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'large'});
receive('walsender', "$folder/large", '-o', 'streaming', '-o', 'include-lsn=false');
my @large = grep { ($_->{gid} // '') eq 'large' } objects_of("$folder/large");
is_deeply([ map { $_->{type} } @large ], [ 'stream_prepare', 'rollback_prepared' ], 'a streamed transaction is prepared');

# ---------- a row that is too large ----------

slot('huge');
$node->safe_psql('postgres', q{
	CREATE TABLE huge (id int PRIMARY KEY, body text);
	INSERT INTO huge SELECT 1, repeat(E'\\x01', 190 * 1024 * 1024);
	INSERT INTO one (id, t) VALUES (-2, 'after it')});
my ($ret, $out, $err) = $node->psql('postgres', q{SELECT data FROM pg_logical_slot_peek_changes('huge', NULL, NULL)});
like($err, qr/row of table "huge" is too large for one line.*190 MB.*HINT/s, 'the error names the table');
unlike($err, qr/string buffer|out of memory/, 'and not the buffer');
($ret, $out, $err) = $node->psql('postgres', q{SELECT data FROM pg_logical_slot_peek_changes('huge', NULL, NULL, 'format', 'transaction')});
like($err, qr/row of table "huge" is too large/, 'also with one object per transaction');
is(scalar @{ changes('huge', 'tables', 'public.one') }, 3, 'without the table the stream goes on');

# ---------- what the extension would be needed for ----------

($ret, $out, $err) = $node->psql('postgres', q{SELECT data FROM pg_logical_slot_peek_changes('huge', NULL, NULL, 'shapes', 'x')});
like($err, qr/ERROR: .*(extension|shape)/, 'shapes need the extension, and the error says so');
note $err;

$node->stop;
done_testing();
