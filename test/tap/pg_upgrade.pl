# pg_upgrade keeps tables, but not the OIDs of functions and operators, of which mutators and compiled shapes are made,
# nor (before 17) the slot. Nothing is served or taken by the OIDs of the old server; then the worker
# builds everything anew, and clients go on under their ids. From this version to itself.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $old = tide_new('old');
$old->safe_psql('postgres', <<'SQL');
CREATE ROLE author;
GRANT CREATE ON SCHEMA public TO author;
GRANT EXECUTE ON FUNCTION tide.create_shape(text, jsonb) TO author;
CREATE TYPE mood AS ENUM ('sad', 'ok');
-- takes up OIDs that the new server gives to others
DO $$BEGIN FOR i IN 1 .. 50 LOOP EXECUTE format('CREATE FUNCTION filler%s(args jsonb, claims jsonb) RETURNS text LANGUAGE sql AS %L', i, 'SELECT ''filler'''); END LOOP; END$$;
SET ROLE author;
CREATE TABLE tasks (gone int, id int PRIMARY KEY, team int, title text, mood mood);
ALTER TABLE tasks DROP COLUMN gone;
INSERT INTO tasks SELECT i, i % 3, 'task ' || i, 'ok' FROM generate_series(1, 30) i;
CREATE TABLE notes (text text);
ALTER TABLE notes REPLICA IDENTITY FULL;
INSERT INTO notes VALUES ('same'), ('same');
CREATE FUNCTION is_open(mood) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$SELECT $1 = 'ok'$$;
SELECT tide.create_shape('tasks', '{"table": "tasks", "where": "team = claims.team AND is_open(mood)"}'), tide.create_shape('notes', '{"table": "notes"}');
RESET ROLE;
SELECT tide.allow_writes('tasks', 'hlc');
CREATE FUNCTION finish(args jsonb, claims jsonb) RETURNS text LANGUAGE sql AS $$UPDATE tasks SET title = 'done' WHERE id = (args ->> 'id')::int RETURNING title$$;
CREATE FUNCTION pick(mine jsonb, base jsonb, theirs jsonb) RETURNS jsonb LANGUAGE sql AS $$SELECT to_jsonb('picked'::text)$$;
SELECT tide.create_mutator('finish', 'finish(jsonb, jsonb)'), tide.set_conflict_policy('tasks', 'title', 'custom', 'pick(jsonb, jsonb, jsonb)');
DO $$BEGIN FOR i IN 1 .. 40 LOOP EXECUTE format('DROP FUNCTION filler%s', i); END LOOP; END$$;
SQL
my $client = 'f0000000-0000-4000-8000-000000000001';
my $request = { client => $client, claims => { team => 1, sub => 'ann' }, shapes => { tasks => [{}], notes => [{}] } };
sub push_all
{
	my ($node, @mutations) = @_;
	my $body = qq({"client": "$client", "claims": {"team": 1, "sub": "ann"}, "mutations": [) . join(', ', @mutations) . ']}';
	return $node->safe_psql('postgres', "SELECT tide.push('$body')");
}
my $call = '{"id": 1, "call": "finish", "args": {"id": 4}}';
my $answer = push_all($old, $call);
like($answer, qr/"result":"done"|"result": "done"/, 'a mutator before');
tide_sync($old);
my $state = pull_all($old, $request);
my $function = $old->safe_psql('postgres', 'SELECT function FROM tide_internal.mutators');
my $shadows = $old->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relnamespace = 'tide_shadow'::regnamespace});

# from 17 on pg_upgrade takes slots along that have read all WAL, and is refused if one has not
my $major = int($old->safe_psql('postgres', 'SHOW server_version_num') / 10000);
$old->safe_psql('postgres', q{SELECT tide.stop(); SELECT pg_drop_replication_slot('tide_postgres'); UPDATE tide_internal.state SET enabled = true}) if $major >= 17;
$old->stop;

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init(allows_streaming => 'logical', extra => [ '-E', 'UTF8', '--locale=C' ]);
tide_configure($new);
my ($bin) = map { chomp(my $b = $_); $b } `pg_config --bindir`;
{
	chdir PostgreSQL::Test::Utils::tempdir();
	command_ok([ 'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $bin, '-B', $bin, '-s', $new->host, '-p', $old->port, '-P', $new->port ],
		'pg_upgrade') or diag(map { slurp_file($_) } glob($new->data_dir . '/pg_upgrade_output.d/*/log/*'));
}

# ---- without the library preloaded no worker starts by itself: the moment between is as long as we like
$new->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$new->start;
isnt($new->safe_psql('postgres', q{SELECT 'finish(jsonb, jsonb)'::regprocedure::oid}), $function, 'functions have other OIDs');
is($new->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots'), 0, 'pg_upgrade has met no slot of ours');
for my $sql (q{tide.pull('{"shapes": {"tasks": [{}]}, "claims": {"team": 1}}')}, qq{tide.push('{"client": "$client", "claims": {"sub": "ann"}, "mutations": [$call]}')}, q{tide.verify('notes')})
{
	my (undef, undef, $err) = $new->psql('postgres', "\\set VERBOSITY verbose\nSELECT $sql");
	like($err, qr/55000: database was moved to this server, and pg_tide has not started here yet/, 'refused: ' . substr($sql, 0, 30));
}
# a function that is renamed now must not be taken for the one that had its OID
$new->safe_psql('postgres', "ALTER FUNCTION filler$_(jsonb, jsonb) RENAME TO other$_") for 41 .. 50;
is($new->safe_psql('postgres', 'SELECT signature FROM tide_internal.mutators'), 'public.finish(jsonb,jsonb)', 'names of functions stay');

# ---- the worker takes the database in
$new->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_tide'\n");
$new->restart;
wait_worker($new);
tide_sync($new);
like(slurp_file($new->logfile), qr/pg_tide database was moved to this server: all shapes are built anew/, 'it says so');
is($new->safe_psql('postgres', 'SELECT string_agg(state, $$ $$) FROM tide.shapes'), 'live live', 'shapes are live');
is($new->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relnamespace = 'tide_shadow'::regnamespace}), $shadows, 'with as many tables as before');
is($new->safe_psql('postgres', 'SELECT * FROM tide_internal.verify_all()'), '', 'and hold what they should');
is($new->safe_psql('postgres', 'SELECT count(*) FROM tide_internal.mutators m JOIN pg_proc p ON p.oid = m.function AND p.proname = $$finish$$'), 1, 'the mutator is that of its name');
is(push_all($new, $call), $answer, 'a push sent again counts once');
like(push_all($new, '{"id": 2, "call": "finish", "args": {"id": 7}}'), qr/"result": ?"done"/, 'the next is run by the right function');
like(push_all($new, '{"id": 3, "op": "update", "table": "tasks", "key": {"id": 10}, "values": {"title": "x"}, "base": {"title": "y"}}'), qr/picked/, 'so is a conflict');
$new->safe_psql('postgres', q{INSERT INTO tasks VALUES (100, 1, 'new', 'ok'); DELETE FROM notes WHERE ctid = (SELECT min(ctid) FROM notes)});
tide_sync($new);
$state = pull_all($new, $request, state => $state);
is_deeply([ state_rows($state, 'public.tasks') ], [ query_rows($new, 'SELECT * FROM tasks WHERE team = 1') ], 'a client of the old server has what there is');
is($state->{last_mutation_id}, 3, 'and its mutations');
$new->restart;
wait_worker($new);
tide_sync($new);
is(() = slurp_file($new->logfile) =~ /was moved to this server: all/g, 1, 'all that once');
is($new->safe_psql('postgres', 'SELECT * FROM tide_internal.verify_all()'), '', 'and still all is well');
$new->safe_psql('postgres', 'DROP EXTENSION pg_tide');
is($new->safe_psql('postgres', q{SELECT string_agg(nspname, ' ') FROM pg_namespace WHERE nspname LIKE 'tide%'}), '', 'and the extension can be dropped');

done_testing();
