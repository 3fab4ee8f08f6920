# pg_dump and pg_restore: what a dump takes along of pg_tide, into the same server and into another one whose OIDs,
# column numbers and WAL are others. Shapes come back live, clients go on under their ids, each write
# counts once, and what conflicts are decided by is remembered.
use strict;
use warnings;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $ann = 'd0000000-0000-4000-8000-00000000000a';
my $bob = 'd0000000-0000-4000-8000-00000000000b';
my $request = { client => $ann, claims => { sub => 'ann' }, shapes => { tasks => [{}], mine => [{}], plain => [{}], secrets => [{}] } };
my $dir = PostgreSQL::Test::Utils::tempdir();
my $json = JSON::PP->new->canonical;

my $node = tide_new('one');
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE author;
CREATE ROLE "App role";
GRANT CREATE ON SCHEMA public TO author;
GRANT EXECUTE ON FUNCTION tide.create_shape(text, jsonb) TO author;
SET ROLE author;
CREATE TABLE tasks (gone text, id int PRIMARY KEY, owner text, title text, tags text[], votes int, state text, note text);
ALTER TABLE tasks DROP COLUMN gone;
CREATE TABLE members (name text PRIMARY KEY, team int);
CREATE TABLE notes (text text);
ALTER TABLE notes REPLICA IDENTITY FULL;
INSERT INTO tasks SELECT i, CASE WHEN i % 2 = 0 THEN 'ann' ELSE 'bob' END, 'task ' || i, '{a}', 0, 'open', NULL FROM generate_series(1, 40) i;
INSERT INTO members VALUES ('ann', 1), ('bob', 2);
INSERT INTO notes VALUES ('same'), ('same'), ('other');
CREATE FUNCTION is_open(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$SELECT $1 = 'open'$$;
SELECT tide.create_shape('tasks', '{"table": "tasks", "where": "is_open(state)"}');
SELECT tide.create_shape('mine', '{"table": "members", "where": "name = claims.sub",
	"include": {"tasks": {"table": "tasks", "on": "tasks.owner = parent.name"}}}');
SELECT tide.create_shape('plain', '{"table": "notes"}');
RESET ROLE;
CREATE SCHEMA "My app";
CREATE TABLE "My app".secrets (id int PRIMARY KEY, body bytea);
SELECT tide.create_shape('secrets', '{"table": "\"My app\".secrets", "encrypted": ["body"]}');
CREATE TABLE orphan (id int PRIMARY KEY);
SELECT tide.create_shape('gone', '{"table": "orphan"}'), tide.drop_shape('gone'), tide.allow_writes('orphan');
DROP TABLE orphan;
CREATE FUNCTION pick(mine jsonb, base jsonb, theirs jsonb) RETURNS jsonb LANGUAGE sql AS $$SELECT greatest(mine, theirs)$$;
CREATE FUNCTION start(args jsonb, claims jsonb) RETURNS void LANGUAGE sql AS $$UPDATE tasks SET state = 'started' WHERE id = (args ->> 'id')::int$$;
SELECT tide.allow_writes('tasks', 'hlc'), tide.allow_writes('"My app".secrets'), tide.allow_writes('members');
SELECT tide.set_conflict_policy('tasks', 'tags', 'set'), tide.set_conflict_policy('tasks', 'votes', 'counter'),
	tide.set_conflict_policy('tasks', 'note', 'custom', 'pick(jsonb, jsonb, jsonb)'), tide.create_mutator('begin', 'start(jsonb, jsonb)');
-- functions are followed when they are renamed
ALTER FUNCTION start(jsonb, jsonb) RENAME TO start_task;
ALTER FUNCTION pick(jsonb, jsonb, jsonb) SET SCHEMA "My app";
SELECT tide.trust_role('"App role"'), tide.require_signatures('members');
SELECT tide.add_jwt_key('public', 'EdDSA', '\x3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c'::bytea),
	tide.add_jwt_key('secret', 'HS256', '0123456789abcdef0123456789abcdef');
SELECT tide.enable_encryption('"App role"');
-- grants of many devices, so that their order matters
CREATE TEMP TABLE d AS SELECT i, gen_random_uuid() AS id, tide.generate_device_secret() AS secret FROM generate_series(1, 5) i;
INSERT INTO tide.devices SELECT (tide.make_device(id, 'ann', secret)).* FROM d;
INSERT INTO tide.key_grants SELECT g.* FROM (SELECT tide.generate_data_key() AS k) k, d, d m,
	LATERAL tide.make_grant(k, 'team', 1, d.id, (tide.device_keys(d.secret)).box_key, m.id, m.secret) g WHERE m.i = 1;
INSERT INTO tide.key_backups SELECT id, tide.make_backup(secret, 'word', 1, 8192) FROM d;
-- of the user, in the extension's schema
GRANT CREATE ON SCHEMA tide TO author;
CREATE TABLE tide.extra AS SELECT 7 AS id;
SQL
tide_sync($node);


# ---- clients write; some of it is refused, some meets what others have written

my %begin = map { $_ => $node->safe_psql('postgres', "SELECT tide.make_hlc(now() - interval '$_ min', 0, '$ann')") } 60, 45, 30, 20, 10;
my @anns = (
	edit(1, 1, values => { title => 'ann' }, hlc => $begin{60}),
	edit(2, 2, values => { votes => 5 }, base => { votes => 0 }),
	edit(3, 4, values => { tags => [ 'a', 'b' ] }, base => { tags => ['a'] }),
	edit(4, 999, values => { title => 'nowhere' }, hlc => $begin{60}),
	{ id => 5, op => 'delete', table => 'tasks', key => { id => 3 }, hlc => $begin{30} });
my $anns_answer = push_as($node, 'postgres', $ann, @anns);
like($anns_answer, qr/"id":4,"status":"rejected"/, 'one mutation is rejected');
push_as($node, 'postgres', $bob,
	edit(1, 1, values => { title => 'bob' }, hlc => $begin{30}),
	edit(2, 4, values => { tags => [ 'a', 'c' ] }, base => { tags => ['a'] }));
$node->safe_psql('postgres', q{UPDATE tasks SET title = 'server' WHERE id = 6});
tide_sync($node);
my $before = pull_all($node, $request);
is($before->{last_mutation_id}, 5, 'the client knows of its mutations');
# sent, and the answer lost
my @later = (edit(6, 8, values => { title => 'sent' }, hlc => $begin{20}));
push_as($node, 'postgres', $ann, @later);
# while it was away it has seen nothing of this
push_as($node, 'postgres', $bob, edit(3, 4, values => { tags => [ 'a', 'b', 'c', 'd' ] }, base => { tags => [ 'a', 'b', 'c' ] }));
my $seen = $before->{checkpoint}{lsn};

# what the client has queued meanwhile, to be sent to each of the servers
push @later,
  edit(7, 1, values => { title => 'too old' }, hlc => $begin{45}),
  edit(8, 6, values => { title => 'older than the server' }, hlc => $begin{60}),
  { id => 9, op => 'insert', table => 'tasks', key => { id => 3 }, values => { title => 'dead' }, hlc => $begin{45} },
  edit(10, 4, values => { tags => ['b'] }, base => { tags => [ 'a', 'b', 'c' ] }, seen => $seen),
  edit(11, 2, values => { votes => 7 }, base => { votes => 5 }),
  edit(12, 7, values => { note => 'b' }, base => { note => undef }),
  { id => 13, call => 'begin', args => { id => 10 } },
  { id => 14, op => 'insert', table => 'secrets', key => { id => 1 }, values => { body => '\\x70' } },
  { id => 15, op => 'update', table => 'members', key => { name => 'ann' }, values => { team => 3 } };

# ---- dumps

my $save = q{SELECT step, kind, content - '{relid,attnum,xid,lsn,shape_id}'::text[] FROM tide_internal.to_save() ORDER BY 1, 2, 3::text COLLATE "C"};
my $to_save = $node->safe_psql('postgres', $save);
like($to_save, qr/"signature": "public.start_task\(jsonb,jsonb\)"/, 'a mutator\'s function is dumped under its present name');
like($to_save, qr/\\"My app\\".pick\(jsonb,jsonb,jsonb\)/, 'so is a conflict function');
unlike($to_save, qr/orphan|"gone"/, 'what is gone is not dumped');
unlike($to_save, qr/3031323334353637/, 'no secret that tokens can be made with is dumped');
(my $restorable = $to_save) =~ s/^7\|jwt key\|[^\n]*"kid": "secret"[^\n]*\n//m or die 'no secret key';
my @sizes = split /\n/, $node->safe_psql('postgres', 'SELECT kind, count(*) FROM tide_internal.to_save() GROUP BY 1, step ORDER BY step');
note("saved: @sizes");
is(scalar @sizes, 15, 'there is something of every kind but signed mutations');

$node->command_ok([ 'pg_dump', '-f', "$dir/plain.sql", $node->connstr('postgres') ], 'pg_dump, plain');
$node->command_ok([ 'pg_dump', '-Fd', '-j2', '-f', "$dir/dir", $node->connstr('postgres') ], 'pg_dump, directory, with two jobs');
$node->command_ok([ 'pg_dump', '-Fc', '--rows-per-insert=3', '-f', "$dir/inserts", $node->connstr('postgres') ], 'pg_dump, custom, INSERTs');
$node->command_ok([ 'pg_dump', '-s', '-f', "$dir/schema.sql", $node->connstr('postgres') ], 'pg_dump, schema only');
$node->command_ok([ 'pg_dump', '-t', 'tasks', '-f', "$dir/table.sql", $node->connstr('postgres') ], 'pg_dump of one table');
unlike(slurp_file("$dir/plain.sql"), qr/tide_shadow/, 'nothing of the change log is dumped');
unlike(slurp_file("$dir/plain.sql"), qr/CREATE SCHEMA tide/, 'nor the schemas, which the extension makes');
unlike(slurp_file("$dir/$_.sql"), qr/tide_internal/, "a dump of $_ has nothing of pg_tide's data") for 'schema', 'table';

# ---- restores

my $two = tide_new('two', extension => 0);
# other OIDs: of roles and, by objects that use some up, of tables and functions
$two->safe_psql('postgres', 'CREATE ROLE "App role"; CREATE ROLE somebody; CREATE ROLE author;');
$two->safe_psql('postgres', "CREATE TABLE filler$_ (id int)") for 1 .. 20;
my %restored = (
	'plain, same server' => [ $node, 'copy', [ 'psql', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql" ] ],
	'directory, other server' => [ $two, 'other', [ 'pg_restore', '-e', '-j2', "$dir/dir" ] ],
	'inserts, other server' => [ $two, 'other2', [ 'pg_restore', '-e', "$dir/inserts" ] ]);
for my $how (sort keys %restored)
{
	my ($on, $db, $command) = @{ $restored{$how} };

	# one as scripts do that keep triggers and foreign keys out of the way
	local $ENV{PGOPTIONS} = $how =~ /^inserts/ ? '-c session_replication_role=replica' : '';
	$on->safe_psql('postgres', "CREATE DATABASE $db");
	my $offset = -s $on->logfile;
	my ($out, $err) = run_command([ @$command, '-d', $on->connstr($db) ]);
	unlike($err, qr/ERROR|error/, "$how: restored without an error");
	# pg_restore keeps the server's warnings to itself, so the log has to have them
	is(join(' ', restore_warnings($on, $offset)), 'jwt key: the secret of key "secret" is not in dumps', "$how: and what is missing is said");
	is($on->safe_psql($db, $save), $restorable, "$how: everything is back, under its names");
	is($on->safe_psql($db, 'SELECT count(*) FROM tide_internal.saved'), 0, "$how: and nothing is kept twice");
	is($on->safe_psql($db, q{SELECT count(*) FROM tide_internal.shapes WHERE state <> 'building'}), 0, "$how: shapes wait to be built");
	is($on->safe_psql($db, q{SELECT has_schema_privilege('author', 'tide', 'CREATE'), id FROM tide.extra}), 't|7', "$how: so is what others have in schema tide");
}
# rights and owners go by name
is($two->safe_psql('other', q{SELECT string_agg(s.name || ' ' || r.rolname, ', ' ORDER BY s.name) FROM tide_internal.shapes s JOIN pg_roles r ON r.oid = s.owner}),
	'mine author, plain author, secrets ' . $two->safe_psql('other', 'SELECT current_user') . ', tasks author, tide_keys ' . $two->safe_psql('other', 'SELECT current_user'),
	'owners are those of the same name');

# ---- the same pushes to all of them have the same answers and effects, also before anything is started

my $answer = push_as($node, 'postgres', $ann, @anns, @later);
like($answer, qr/"id":7,"status":"conflict"/, 'a write older than another client\'s is kept off');
like($answer, qr/"id":8,"status":"conflict"/, 'and one older than the server\'s');
like($answer, qr/"id":9,"status":"conflict"/, 'and one older than the deletion');
like($answer, qr/"id":14,"status":"rejected","code":"23514"/, 'and plaintext where envelopes belong');
like($answer, qr/"id":15,"status":"rejected","code":"28000"/, 'and what is not signed');
my $table = 'SELECT * FROM tasks ORDER BY id';
for my $how (sort keys %restored)
{
	my ($on, $db) = @{ $restored{$how} };
	is(push_as($on, $db, $ann, @anns, @later), $answer, "$how: each mutation once, and decided as on the old server");
	is($on->safe_psql($db, $table), $node->safe_psql('postgres', $table), "$how: the same rows");
}
like($node->safe_psql('postgres', 'SELECT tags FROM tasks WHERE id = 4'), qr/d/, 'what was added meanwhile is kept');

# ---- started, they serve what there is, and take clients of the old server for new ones

for my $how (sort keys %restored)
{
	my ($on, $db) = @{ $restored{$how} };
	my $state = { %$before, rows => { %{ $before->{rows} } }, checkpoint => undef, drops => 0 };

	my $early = pull_page($on, { %$request, shapes => { tasks => [{}] } }, { %$state }, db => $db);
	is($early, 0, "$how: a pull before the start gives nothing");
	$on->safe_psql($db, 'SELECT tide.start()');
	tide_sync($on, db => $db);
	is($on->safe_psql($db, q{SELECT string_agg(name || ' ' || state, ', ' ORDER BY name) FROM tide.shapes}),
		'mine live, plain live, secrets live, tasks live, tide_keys live', "$how: all shapes are live");
	is($on->safe_psql($db, 'SELECT * FROM tide_internal.verify_all()'), '', "$how: and hold what they should");
	$state = pull_all($on, $request, state => $state, db => $db);
	ok($state->{drops} > 0, "$how: a client's buckets of before are dropped");
	is_deeply([ state_rows($state, 'public.tasks') ],
		[ query_rows($on, q{SELECT * FROM tasks WHERE state = 'open' OR owner = 'ann'}, db => $db) ], "$how: and it gets what there is");
	is($state->{last_mutation_id}, 15, "$how: with all of its mutations");
	is(join(' ', map { $_->{id} } @{ $state->{rejected} }[ -3 .. -1 ]), '4 14 15', "$how: and those that were rejected");
	$on->safe_psql($db, q{UPDATE tasks SET title = 'later' WHERE id = 2});
	tide_sync($on, db => $db);
	$state = pull_all($on, $request, state => $state, db => $db);
	is_deeply([ state_rows($state, 'public.tasks') ],
		[ query_rows($on, q{SELECT * FROM tasks WHERE state = 'open' OR owner = 'ann'}, db => $db) ], "$how: and what changes");
	is($on->safe_psql($db, 'SELECT slot FROM tide.status'), "tide_$db", "$how: by a slot of its own");
}
isnt($two->safe_psql('other', 'SELECT epoch FROM tide_internal.state'), $node->safe_psql('postgres', 'SELECT epoch FROM tide_internal.state'),
	'the history is another one');
is(push_as($two, 'other', $ann, { id => 16, call => 'begin', args => { id => 12 } }), '{"last_mutation_id":16,"results":[{"id":16,"status":"applied"}]}',
	'and clients go on pushing');

# what clients have pushed since the dump is lost, and not told to be: they number on from it
sub push_error
{
	my ($db, $id) = @_;
	return ($two->psql($db, "SELECT tide.push('{\"client\": \"$bob\", \"claims\": {\"sub\": \"bob\"}, \"mutations\": [{\"id\": $id, \"op\": \"delete\", \"table\": \"tasks\", \"key\": {\"id\": 999}}]}')"))[2];
}
is(push_error('other', 40), '', 'a client that has pushed since the dump goes on where it was');
like(push_error('other', 50), qr/mutation ids have a gap before 50/, 'once');
# as it does after the cure for a file system snapshot put back
sleep 2;
$two->safe_psql('other', 'SELECT tide.reset()');
is(push_error('other', 50), '', 'it does after tide.reset()');
like(push_error('other', 60), qr/mutation ids have a gap before 60/, 'once as well');

# a part of a dump: what cannot be is said, the rest is there
$two->safe_psql('postgres', 'CREATE DATABASE lone');
$two->safe_psql('lone', 'CREATE EXTENSION pg_tide');
my $offset = -s $two->logfile;
run_command([ 'pg_restore', '-d', $two->connstr('lone'), '--data-only', '-n', 'tide_internal', "$dir/dir" ]);
my $missing = join "\n", restore_warnings($two, $offset);
like($missing, qr/^writable table: table public.tasks does not exist$/m, 'tables that are not there are named');
like($missing, qr/^mutator: function public.start_task\(jsonb,jsonb\) does not exist$/m, 'and functions');
is($two->safe_psql('lone', 'SELECT count(*) FROM tide_internal.clients'), 2, 'and the rest is there');
is($two->safe_psql('lone', 'SELECT count(*) FROM tide_internal.row_clocks'), 0, 'but no clocks of tables that are not');

done_testing();

sub restore_warnings
{
	my ($on, $offset) = @_;
	return substr(slurp_file($on->logfile), $offset) =~ /WARNING: +pg_tide did not restore a (.*)/g;
}

sub push_as
{
	my ($on, $db, $client, @mutations) = @_;
	my $body = $json->encode({ client => $client, claims => { sub => $client eq $ann ? 'ann' : 'bob' }, mutations => \@mutations });
	return $on->safe_psql($db, "SELECT tide.push(\$p\$$body\$p\$)");
}

sub edit { my ($id, $key, %more) = @_; return { id => $id, op => 'update', table => 'tasks', key => { id => $key }, %more } }
