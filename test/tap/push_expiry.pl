# Clients that stay away for too long, with a real SQLite client: it expires, comes back under
# another id, and each of its writes has taken effect once, whatever answers were lost. What is
# not told of rejections is never trimmed.
use strict;
use warnings;
use IPC::Run;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;
use TideSession;

my $seed = $ENV{TIDE_SEED} // time;
my $rounds = $ENV{TIDE_EXPIRY_ROUNDS} // 60;
srand($seed);
note("seed $seed");

my $node = tide_new('expiry');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE items (id int PRIMARY KEY, note text CHECK (note NOT LIKE 'bad%'));
INSERT INTO items SELECT i, 'begin' FROM generate_series(1, 3) i;
CREATE TABLE effects (note text);
CREATE FUNCTION note_effect() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO effects VALUES (NEW.note);
	RETURN NEW;
END $$;
CREATE TRIGGER note_effect AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION note_effect();
SELECT tide.allow_writes('items'), tide.create_shape('items', '{"table": "items"}');
SQL
tide_sync($node);

my $file = PostgreSQL::Test::Utils::tempdir() . '/app.db';
sqlite($node->safe_psql('postgres', q{SELECT tide.client_schema('{items}', 'sqlite')}));
sqlite(q{INSERT INTO tide_subscription (shape) VALUES ('items')});
hop('pull');

# ---- the worker expires a client, once a checkpoint has all of it and its time has come

my $client = sqlite('SELECT client FROM tide_client');
app_write('first');
hop('push');
app_write('second');
hop('push', lost => 1);
app_write('third');
tide_sync($node);
$node->safe_psql('postgres', q{ALTER SYSTEM SET tide.client_retention = 1});
$node->reload;
wait_for_sql($node, "SELECT is_trimmed FROM tide_internal.clients WHERE client_id = '$client'");
is($node->safe_psql('postgres', "SELECT count(*) FROM tide.mutation_log WHERE client_id = '$client'"), 0, 'its log is gone');
is($node->safe_psql('postgres', "SELECT last_mutation_id, acknowledged_mutation_id, expired_at IS NOT NULL FROM tide.clients WHERE client_id = '$client'"),
	'2|2|t', 'its last mutation is kept');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET tide.client_retention});
$node->reload;
wait_for_sql($node, q{SELECT current_setting('tide.client_retention') = '90d'});

my $answer = hop('push');
like($answer, qr/"last_mutation_id":2,"results":\[\],"expired":true,"client":"$client"/, 'its push is told so');
isnt(sqlite('SELECT client FROM tide_client'), $client, 'it goes on under another id');
is(sqlite('SELECT count(*) FROM tide_outbox'), 3, 'nothing of what it wrote is lost');
is(sqlite('SELECT note FROM items WHERE id = 1'), 'third', 'and shows as before');
my $request = JSON::PP::decode_json(sqlite('SELECT request FROM tide_push_request'));
is(join(' ', map { "$_->{id}=$_->{values}{note}" } @{ $request->{mutations} }), '1=third', 'only what was not taken is pending, from 1 on');
settle();
is($node->safe_psql('postgres', 'SELECT note FROM effects'), "first\nsecond\nthird", 'each took effect once');
is(sqlite('SELECT count(*) FROM tide_outbox'), 0, 'and is confirmed');

# ---- a push and its client's expiry at the same time: one of the two is first

$client = sqlite('SELECT client FROM tide_client');
app_write('race');
my $racing = TideSession->new($node);
$racing->query('BEGIN');
$racing->query('SELECT tide.push(' . sql_text(sqlite('SELECT request FROM tide_push_request')) . ')');
$node->safe_psql('postgres', q{ALTER SYSTEM SET tide.client_retention = 1});
$node->safe_psql('postgres', "INSERT INTO tide_internal.clients (client_id, role, last_push_at) VALUES ('00000000-0000-4000-8000-0000000000ee', 'postgres', 'epoch')");
$node->safe_psql('postgres', "INSERT INTO tide_internal.acks VALUES ('00000000-0000-4000-8000-0000000000ee', 0) ON CONFLICT DO NOTHING");
$node->reload;
wait_for_sql($node, q{SELECT expired_at IS NOT NULL FROM tide.clients WHERE client_id = '00000000-0000-4000-8000-0000000000ee'});
is($node->safe_psql('postgres', "SELECT expired_at IS NULL FROM tide.clients WHERE client_id = '$client'"), 't', 'a client that is pushing does not expire');
$node->safe_psql('postgres', q{ALTER SYSTEM RESET tide.client_retention});
$node->reload;
wait_for_sql($node, q{SELECT current_setting('tide.client_retention') = '90d'});
$racing->query('COMMIT');
$racing->quit;
settle();
is($node->safe_psql('postgres', q{SELECT count(*) FROM effects WHERE note = 'race'}), 1, 'and its push counts, once');

# ---- random losses and expiries

my ($n, $expired, %good, %bad) = (0, 0);
for my $round (1 .. $rounds)
{
	my $dice = rand(10);
	if ($dice < 4)
	{
		for (0 .. rand(3))
		{
			my $note = (rand() < 0.2 ? 'bad' : 'good') . ++$n;
			app_write($note);
			$note =~ /^bad/ ? $bad{$note}++ : $good{$note}++;
		}
	}
	elsif ($dice < 9)
	{
		hop($dice < 7 ? 'push' : 'pull', lost => rand() < 0.4);
	}
	else
	{
		# as the worker does it
		tide_sync($node);
		$expired += $node->safe_psql('postgres', <<'SQL');
WITH e AS (UPDATE tide_internal.clients c SET expired_at = now() FROM tide_internal.acks a
	WHERE a.client_id = c.client_id AND a.last_mutation_id >= c.last_mutation_id AND c.last_mutation_id > 0 AND c.expired_at IS NULL RETURNING 1)
SELECT count(*) FROM e;
SQL
	}
}
settle();
note("$expired expiries");
is($node->safe_psql('postgres', q{SELECT note FROM effects WHERE note LIKE 'good%' ORDER BY note COLLATE "C"}), join("\n", sort keys %good),
	"each of the writes took effect once (seed $seed)");
is(sqlite('SELECT id, note FROM items ORDER BY id'), $node->safe_psql('postgres', 'SELECT id, note FROM items ORDER BY id'), 'the client has what the server has');
is(sqlite('SELECT count(*) FROM tide_outbox'), 0, 'nothing is left to send');
# rejections of a client that expired before it heard of them are the one thing lost
is(sqlite(q{SELECT count(*) FROM tide_rejected WHERE json_extract(changed, '$.note') NOT LIKE 'bad%'}), 0, 'what it takes for refused was refused');

# ---- rejections are told until the client says that it knows

my $raw = '00000000-0000-4000-8000-0000000000aa';
sub raw_push { return $node->safe_psql('postgres', 'SELECT tide.push(' . sql_json({ client => $raw, mutations => [], @_ }) . ')'); }
sub raw_pull
{
	my ($cookie, @more) = @_;
	return JSON::PP::decode_json($node->safe_psql('postgres', 'SELECT tide.pull(' . sql_json({ client => $raw, shapes => { items => {} }, cookie => $cookie, @more }) . ')'));
}
sub told { return join(' ', map { $_->{id} } @{ $_[0]->{rejected} }); }
my @mutations = map { { id => $_, op => 'update', table => 'items', key => { id => 2 }, values => { note => ($_ % 2 ? 'bad' : 'raw') . $_ } } } 1 .. 6;
raw_push(mutations => [ @mutations[0 .. 2] ]);
tide_sync($node);
my $first = raw_pull(undef);
is(told($first), '1 3', 'a pull tells of rejections');
is(told(raw_pull(undef)), '1 3', 'again, if its answer was lost');
is(told(raw_pull($first->{cookie})), '', 'but not to who sends its cookie');
raw_push(mutations => [ @mutations[3 .. 5] ]);
tide_sync($node);
my $second = raw_pull($first->{cookie});
is(told($second), '5', 'the next one tells of the next');
is(told(raw_pull($first->{cookie})), '5', 'again, if its answer was lost');

$node->safe_psql('postgres', q{ALTER SYSTEM SET tide.mutation_retention = 1});
$node->reload;
wait_for_sql($node, "SELECT string_agg(mutation_id::text, ' ' ORDER BY mutation_id) = '1 3 5' FROM tide.mutation_log WHERE client_id = '$raw'");
pass('the log keeps what is not known to be told, and nothing else');
is(told(raw_pull(undef)), '1 3 5', 'so it is told still');
raw_push(rejected_seen => 3);
wait_for_sql($node, "SELECT string_agg(mutation_id::text, ' ') = '5' FROM tide.mutation_log WHERE client_id = '$raw'");
pass('what a push says is known goes');
is(told(raw_pull(undef)), '5', 'and is told no more');
# trimming and the same push again at the same time: what is trimmed was applied
like(raw_push(mutations => [ @mutations[3 .. 5] ]), qr/"last_mutation_id":6,"results":\[\{"id":4,"status":"applied"\},\{"id":5,"status":"rejected".*\{"id":6,"status":"applied"\}\]/,
	'a push sent again is answered from what is left');
# a cookie is of one client: another gets nothing of it, nor on the way to the checkpoint
$node->safe_psql('postgres', q{UPDATE items SET note = 'more'});
tide_sync($node);
$raw = '00000000-0000-4000-8000-0000000000ab';
my $other = raw_pull($second->{cookie}, limit => 1);
is("$other->{last_mutation_id} [" . told($other) . '] ' . @{ $other->{changes} } . ' ' . @{ $other->{drop} }, '0 [] 1 0',
	'with the cookie of another id, positions go on and mutations begin anew');

is($node->safe_psql('postgres', q{SELECT last_error FROM tide.status}), '', 'no error in the worker');
$node->stop;
done_testing();

sub sqlite
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'sqlite3', '-bail', '-batch', $file ], '<', \$sql, '>', \$out, '2>', \$err) or die "$err\n$sql";
	die "$err\n$sql" if $err ne '';
	chomp $out;
	return $out;
}

sub app_write { sqlite("UPDATE items SET note = '$_[0]' WHERE id = 1"); return; }

# one trip; the answer
sub hop
{
	my ($kind, %opts) = @_;
	my $sent = sqlite("SELECT request FROM tide_${kind}_request");
	return '' if $sent eq '';
	my $got = $node->safe_psql('postgres', "SELECT tide.$kind(" . sql_text($sent) . ')');
	(my $quoted = $got) =~ s/'/''/g;
	sqlite("INSERT INTO tide_inbox (response) VALUES ('$quoted')") unless $opts{lost};
	return $got;
}

sub settle
{
	for (1 .. 50)
	{
		hop('push');
		tide_sync($node);
		hop('pull');
		return if sqlite(q{SELECT state = 'synced' AND pending = 0 FROM tide_status});
	}
	die 'the client does not come to rest: ' . sqlite('SELECT * FROM tide_status');
}
