# Many users, one session: pushes and pulls with tokens through pgbouncer in transaction mode leave nothing
# of one user for the next, whatever becomes of them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use TideCluster;
use TideToken;

my $json = JSON::PP->new->canonical;
my $node = tide_new('pooler');
$node->safe_psql('postgres', <<"SQL");
SELECT tide.add_jwt_key('one', 'HS256', '$SECRET');
CREATE ROLE app_user;
CREATE ROLE app_admin;
CREATE ROLE outsider;
CREATE ROLE authenticator LOGIN NOINHERIT;
GRANT app_user, app_admin TO authenticator;
GRANT EXECUTE ON FUNCTION tide.claim TO app_user, app_admin;
CREATE TABLE docs (id int PRIMARY KEY, owner text NOT NULL DEFAULT tide.claim('sub'), body text, seen text);
ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON docs TO app_user USING (owner = tide.claim('sub'));
CREATE POLICY every ON docs TO app_admin USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON docs TO app_user, app_admin;
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
	NEW.seen := concat_ws(' ', current_user, session_user, tide.claim('sub'), current_setting('request.jwt.claims')::jsonb ->> 'sub');
	CASE NEW.body
	WHEN 'raise' THEN RAISE EXCEPTION 'no';
	WHEN 'sleep' THEN PERFORM pg_sleep(60);
	WHEN 'set' THEN PERFORM set_config('request.jwt.claims', '{"sub": "left behind"}', false);
	WHEN 'set role' THEN SET ROLE app_admin;
	WHEN 'reset role' THEN RESET ROLE;
	WHEN 'become' THEN SET SESSION AUTHORIZATION authenticator;
	WHEN 'set claims' THEN PERFORM set_config('tide.request_claims', '{"sub": "forged"}', true);
	ELSE
	END CASE;
	RETURN NEW;
END \$\$;
CREATE TRIGGER see BEFORE INSERT OR UPDATE ON docs FOR EACH ROW EXECUTE FUNCTION see();
SELECT tide.allow_writes('docs');
SELECT tide.create_shape('docs', '{"table": "docs", "columns": ["body", "seen"], "where": "owner = claims.sub"}');
SQL

# ---- one server session for all clients
my $dir = PostgreSQL::Test::Utils::tempdir();
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $bouncer = (grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin')[0] or die "no pgbouncer\n";
append_to_file("$dir/users", qq("authenticator" ""\n"$ENV{USER}" ""\n)) if $ENV{USER};
append_to_file("$dir/users", qq("authenticator" ""\n)) if !$ENV{USER};

sub start_bouncer
{
	my ($size) = @_;
	open my $conf, '>', "$dir/bouncer.ini" or die $!;
	print {$conf} <<"CONF";
[databases]
postgres = host=${\ $node->host } port=${\ $node->port } dbname=postgres
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $dir
auth_type = trust
auth_file = $dir/users
pool_mode = transaction
default_pool_size = $size
logfile = $dir/log
ignore_startup_parameters = extra_float_digits, options
CONF
	close $conf;
	my $out = '';
	my $handle = IPC::Run::start([ $bouncer, "$dir/bouncer.ini" ], '<', \undef, '>', \$out, '2>&1', IPC::Run::timeout(600));
	for (1 .. 100)
	{
		return $handle if -S "$dir/.s.PGSQL.$port";
		usleep(100_000);
	}
	die "pgbouncer did not start: $out";
}

# each call is a client that connects anew; [ output, errors ]
sub ask
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', "host=$dir port=$port dbname=postgres user=authenticator" ],
		'<', \$sql, '>', \$out, '2>', \$err);
	chomp $out;
	return wantarray ? ($out, $err) : $out;
}

my %next;
sub push_text
{
	my ($user, $role, @mutations) = @_;
	my $client = sprintf '9001e000-0000-4000-8000-%012x', unpack('%32C*', $user) * 1000 + length $user;
	my @numbered = map { { id => ++$next{$user}, op => 'insert', table => 'docs', %$_ } } @mutations;
	return "SELECT tide.push(" . sql_json({ client => $client, mutations => \@numbered,
			token => token(sub => $user, defined $role ? (role => $role) : ()) }) . ')';
}

my $remains = q{SELECT concat_ws('|', pg_backend_pid(), current_user, session_user, current_setting('role'), current_setting('request.jwt.claims', true),
	current_setting('tide.request_claims', true), current_setting('search_path'), (SELECT count(*) FROM pg_class WHERE relpersistence = 't'),
	(SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'))};

my $handle = start_bouncer(1);
ask('SELECT tide.pull(\'{"shapes": {}}\')');
my $pid = (split /\|/, ask($remains))[0];
my $clean = qq($pid|authenticator|authenticator|none|||"\$user", public|0|0|0);

sub leaves_nothing
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(ask($remains), $clean, "$name: nothing is left in the session");
}

is(ask('BEGIN; SELECT 1; COMMIT'), 1, 'through the pooler');
my ($out, $err) = ask(push_text('ada', 'app_user', { key => { id => 1 }, values => { body => 'a' } }));
is($out . $err, '{"last_mutation_id":1,"results":[{"id":1,"status":"applied"}]}', 'a push as the role of the token');
leaves_nothing('push');
is($node->safe_psql('postgres', 'SELECT owner, seen FROM docs WHERE id = 1'), 'ada|app_user authenticator ada ada', 'who it was for all concerned');

# another user in the same session
is(ask(push_text('bob', 'app_user', { op => 'update', key => { id => 1 }, values => { body => 'b' } })) =~ /"code":"(\w+)"/ && $1, 'P0002',
	"another user does not see the row");
is(ask(push_text('eve', 'app_admin', { op => 'update', key => { id => 1 }, values => { body => 'c' } })) =~ /"status":"(\w+)"/ && $1, 'applied',
	'but another role does');
leaves_nothing('other role');
is(ask(push_text('guest', undef, { key => { id => 9 }, values => { body => 'x' } })) =~ /"code":"(\w+)"/ && $1, '42501',
	"without a role it is the session's own");
is(ask('SELECT count(*) FROM docs') =~ /./, '', 'the session itself may not read the table');

# whatever becomes of a push
my $id = 10;
for my $case ([ 'raise', 'P0001' ], [ 'set role', '42501' ], [ 'reset role', '42501' ], [ 'become', '42501' ], [ 'set claims', '55P02' ], [ 'set', undef ])
{
	my ($body, $code) = @$case;
	($out, $err) = ask(push_text('ada', 'app_user', { key => { id => $id++ }, values => { body => $body } }));
	my ($got) = $out =~ /"code":"(\w+)"/;
	is($got, $code, "$body: " . ($code ? 'rejected' : 'applied')) or diag("$out $err");
	leaves_nothing($body);
}
is(ask(push_text('bob', 'app_user', { key => { id => 30 }, values => { body => 'b' } })) =~ /"status":"(\w+)"/ && $1, 'applied', 'the next user');
is($node->safe_psql('postgres', 'SELECT owner, seen FROM docs WHERE id = 30'), 'bob|app_user authenticator bob bob', 'is himself');

(undef, $err) = ask("BEGIN; SET LOCAL statement_timeout = '200ms'; " . push_text('ada', 'app_user', { key => { id => 40 }, values => { body => 'sleep' } }) . "; COMMIT;");
$next{ada}--;
like($err, qr/57014/, 'a push that is cancelled');
leaves_nothing('cancel');
for my $role ('outsider', 'nobody there', 'postgres', $node->safe_psql('postgres', 'SELECT current_user'))
{
	(undef, $err) = ask(push_text('ada', $role, { key => { id => 41 }, values => { body => 'x' } }));
	$next{ada}--;
	like($err, qr/28000: could not authenticate the request/, 'a role the session is no member of');
}
leaves_nothing('refused');
(undef, $err) = ask('BEGIN; ' . push_text('ada', 'app_user', { key => { id => 42 }, values => { body => 'x' } }) . '; SELECT 1/0; COMMIT;');
$next{ada}--;
like($err, qr/22012/, 'a transaction that fails after the push');
leaves_nothing('rollback');
(undef, $err) = ask('BEGIN; ' . push_text('ada', 'app_user', { key => { id => 43 }, values => { body => 'x' } }) . '; ROLLBACK;');
$next{ada}--;
leaves_nothing('rolled back');

# pulls
tide_sync($node);
wait_for_sql($node, q{SELECT bool_and(state = 'live') FROM tide.shapes});
tide_sync($node);
sub pulled
{
	my ($user) = @_;
	return join ' ', map { $_->{key}{id} } sort { $a->{key}{id} <=> $b->{key}{id} }
	  @{ $json->decode(scalar ask('SELECT tide.pull(' . sql_json({ shapes => { docs => {} }, token => token(sub => $user) }) . ')'))->{changes} };
}
is(pulled('ada'), '1 15', "ada's rows");
is(pulled('bob'), '30', "bob's rows");
is(ask(q{SELECT tide.pull('{"shapes": {"docs": {}}}')::jsonb -> 'changes'}), '[]', 'nobody has none');
leaves_nothing('pull');
like((ask(q{SELECT tide.pull('{"shapes": {"docs": {}}, "claims": {"sub": "ada"}}')}))[1], qr/28000/, 'claims without token are not taken');
$handle->kill_kill;
unlink "$dir/.s.PGSQL.$port";

# many at once on two sessions
$handle = start_bouncer(2);
my @runs;
for my $u (1 .. 8)
{
	my $user = chr(96 + $u) x $u;
	my $sql = join ";\n", map { push_text($user, $_ % 5 ? 'app_user' : 'app_admin',
			{ key => { id => 1000 * $u + $_ }, values => { body => $_ % 7 ? 'x' : 'raise' } }) } 1 .. 40;
	my $o = '';
	push @runs, [ $user, \$o, IPC::Run::start([ 'psql', '-XAtq', '-d', "host=$dir port=$port dbname=postgres user=authenticator" ], '<', \$sql, '>', \$o, '2>&1', IPC::Run::timeout(300)) ];
}
for my $run (@runs)
{
	$run->[2]->finish;
	is(scalar(() = ${ $run->[1] } =~ /"applied"/g), 35, "$run->[0]: applied");
}
is($node->safe_psql('postgres', q{SELECT count(*), count(*) FILTER (WHERE seen = concat_ws(' ',
	CASE WHEN id % 1000 % 5 = 0 THEN 'app_admin' ELSE 'app_user' END, 'authenticator', owner, owner)
	AND owner = repeat(chr(96 + id / 1000), id / 1000)) FROM docs WHERE id > 1000}), '280|280', 'each row was made by who it is of');
$handle->kill_kill;
done_testing();
