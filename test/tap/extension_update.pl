# ALTER EXTENSION pg_tide UPDATE: the scripts of sql/upgrade lead from the first version to the same objects as CREATE
# EXTENSION makes, and a database with data, clients and a worker goes through it without losing anything. Dumps of before and
# after can be restored.
use strict;
use warnings;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCatalog;
use TideCluster;

my $first = '0.1.0';
my $node = PostgreSQL::Test::Cluster->new('update', install_path => install_with_old_scripts());
$node->init(allows_streaming => 'logical', extra => [ '-E', 'UTF8', '--locale=C' ]);
tide_configure($node);
$node->start;
my $version = $node->safe_psql('postgres', q{SELECT default_version FROM pg_available_extensions WHERE name = 'pg_tide'});

# ---- the objects

$node->safe_psql('postgres', "CREATE DATABASE $_") for 'fresh', 'updated';
$node->safe_psql('fresh', 'CREATE EXTENSION pg_tide');
$node->safe_psql('updated', "CREATE EXTENSION pg_tide VERSION '$first'");
my @first = catalog_of($node, 'updated');
$node->safe_psql('updated', 'ALTER EXTENSION pg_tide UPDATE');
is_deeply([ differences('updated') ], [], "an updated extension has the objects of a new one"
  . " (what differs belongs into the last script of sql/upgrade, as well as into sql/install)");
# the comparison sees what it is for
for my $change ('ALTER TABLE tide_internal.acks ADD COLUMN more int', 'ALTER FUNCTION tide.pull(jsonb) PARALLEL SAFE', 'GRANT SELECT ON tide.shapes TO PUBLIC',
	'ALTER EXTENSION pg_tide DROP SCHEMA tide', q{COMMENT ON VIEW tide.shapes IS 'other'}, 'CREATE INDEX ON tide_internal.shapes (owner)', 'ALTER EVENT TRIGGER tide_drop DISABLE',
	q{UPDATE pg_extension SET extcondition = '{x,x,x,x,x}' WHERE extname = 'pg_tide'})
{
	$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS changed');
	$node->safe_psql('postgres', 'CREATE DATABASE changed TEMPLATE updated');
	$node->safe_psql('changed', $change);
	isnt(scalar(differences('changed')), 0, "noticed: $change");
}

# ---- schema tide: the extension is in it in the first version, and it belongs to the extension in the next

my $home = q{SELECT n.nspname, (SELECT string_agg(i.identity, ' ' ORDER BY i.identity COLLATE "C") FROM pg_depend d, pg_identify_object(d.classid, d.objid, 0) i
	WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.classid = 'pg_namespace'::regclass AND d.deptype = 'e')
	FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_tide'};
my $dir = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', 'CREATE ROLE guest');
$node->safe_psql('postgres', "CREATE DATABASE $_") for 'used', 'restored', 'of_first', 'refused';
$node->safe_psql('used', <<"SQL");
CREATE EXTENSION pg_tide VERSION '$first';
GRANT CREATE ON SCHEMA tide TO guest;
CREATE TABLE tide.mine (id int);
INSERT INTO tide.mine VALUES (1);
INSERT INTO tide.devices SELECT d.* FROM tide.make_device('e0000000-0000-4000-8000-00000000000d', 'ann', tide.generate_device_secret()) d;
SQL
is($node->safe_psql('used', $home), 'tide|tide_internal tide_shadow', 'the first version is in schema tide');
$node->command_ok([ 'pg_dump', '-f', "$dir/first.sql", $node->connstr('used') ], 'a dump of it');
$node->safe_psql('used', 'ALTER EXTENSION pg_tide UPDATE');
is($node->safe_psql('used', $home), 'pg_catalog|tide tide_internal tide_shadow', 'an update makes the schema a member');
$node->command_ok([ 'pg_dump', '-f', "$dir/updated.sql", $node->connstr('used') ], 'a dump after the update');
$node->command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/updated.sql", $node->connstr('restored') ], 'can be restored');
# of before: doc/operations.md
$node->command_fails_like([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/first.sql", $node->connstr('refused') ],
	qr/extension "pg_tide" must be installed in schema "pg_catalog"/, 'one of the first version cannot as it is');
$node->safe_psql('of_first', 'CREATE EXTENSION pg_tide');
my (undef, $said) = run_command([ 'psql', '-X', '-f', "$dir/first.sql", $node->connstr('of_first') ]);
is(join("\n", $said =~ /(ERROR: .*)/g), 'ERROR:  schema "tide" already exists', 'but into a database with the extension');
for my $db ('used', 'restored', 'of_first')
{
	is($node->safe_psql($db, $home), 'pg_catalog|tide tide_internal tide_shadow', "$db: the schema is a member");
	is($node->safe_psql($db, q{SELECT has_schema_privilege('guest', 'tide', 'CREATE'), has_schema_privilege('public', 'tide', 'CREATE'), has_schema_privilege('public', 'tide', 'USAGE')}),
		't|f|t', "$db: with the privileges it had");
	is($node->safe_psql($db, 'SELECT id, (SELECT count(*) FROM tide.devices) FROM tide.mine'), '1|1', "$db: and what was in it");
	my (undef, undef, $err) = $node->psql($db, 'DROP EXTENSION pg_tide');
	like($err, qr/table tide\.mine depends on schema tide/, "$db: tables of others hold it");
	$node->safe_psql($db, 'DROP TABLE tide.mine; DROP EXTENSION pg_tide');
	is($node->safe_psql($db, q{SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tide%'}), 0, "$db: DROP EXTENSION leaves no schema");
}
is($node->safe_psql('used', q{SELECT count(*) FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND NOT EXISTS (SELECT FROM pg_namespace n WHERE n.oid = d.objid)}),
	0, 'nor a dependency');

# ---- data: a database as the first version leaves it. The library of today has made the data, so what the scripts
# add is taken away again.

$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_tide;
CREATE TABLE tasks (id int PRIMARY KEY, team int, title text, tags text[]);
INSERT INTO tasks SELECT i, i % 3, 'task ' || i, '{a}' FROM generate_series(1, 300) i;
SELECT tide.create_shape('tasks', '{"table": "tasks", "where": "team = claims.team"}');
SELECT tide.allow_writes('tasks', 'hlc'), tide.set_conflict_policy('tasks', 'tags', 'set');
CREATE FUNCTION finish(args jsonb, claims jsonb) RETURNS void LANGUAGE sql AS $$UPDATE tasks SET title = 'done' WHERE id = (args ->> 'id')::int$$;
SELECT tide.create_mutator('finish', 'finish(jsonb, jsonb)');
SELECT tide.start();
SQL
tide_sync($node);
my $clock = $node->safe_psql('postgres', q{SELECT tide.make_hlc(now() + interval '1 second', 0, 'e0000000-0000-4000-8000-000000000001')});
my $request = { client => 'e0000000-0000-4000-8000-000000000001', claims => { team => 1, sub => 'ann' }, shapes => { tasks => [{}] } };
like(push_one(1, '{"id": 1}', 'pushed'), qr/applied/, 'a client pushes');
$node->safe_psql('postgres', q{UPDATE tasks SET title = 'by the server' WHERE id = 4});
tide_sync($node);
my $state = pull_all($node, $request);
my $answer = push_one(2, '{"id": 7}', 'answer lost');
$node->safe_psql('postgres', 'SELECT tide.stop()');
take_away('postgres');
is_deeply([ names(catalog_of($node, 'postgres')) ], [ names(@first) ], 'the objects are those of the first version')
  or diag('what else an update adds to the first version: take_away() has to undo it');
$node->safe_psql('postgres', 'UPDATE tide_internal.state SET enabled = true');

# ---- the library is newer than the objects

$node->restart;
wait_for_sql($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'pg_tide ingest' AND datname = 'postgres'});
my $worker = tide_worker_pid($node);
$node->safe_psql('postgres', q{UPDATE tasks SET title = 'before the update' WHERE id = 10; DELETE FROM tasks WHERE id = 13});
for my $call (q{tide.pull('{"shapes": {}}')}, q{tide.push('{"client": "e0000000-0000-4000-8000-000000000001", "mutations": []}')}, 'tide.sync()', 'tide.start()',
	q{tide.create_shape('x', '{"table": "tasks"}')}, q{tide.verify('tasks')}, q{tide.allow_writes('tasks')})
{
	my (undef, undef, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");
	like($err, qr/55000: extension "pg_tide" is of version \Q$first\E in this database, its library of version \Q$version\E\nHINT: +Run ALTER EXTENSION pg_tide UPDATE/,
		"$call says what to do");
}
wait_for_sql($node, 'SELECT pg_sleep(1.5) IS NOT NULL');
is(tide_worker_pid($node), $worker, 'the worker waits');
is(() = slurp_file($node->logfile) =~ /pg_tide ingest waits/g, 1, 'and says so once');

# ---- the update, while others write

my @writers = map {
	my $from = $_ * 100;
	my $text = join '', map { "UPDATE tasks SET title = title || '.' WHERE id = " . ($from + $_ % 50) . ";\n" } 1 .. 400;
	IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ], '<', \$text)
} 1, 2;
$node->safe_psql('postgres', 'ALTER EXTENSION pg_tide UPDATE');
ok($_->finish, 'a writer is not disturbed') for @writers;
is($node->safe_psql('postgres', q{SELECT extversion FROM pg_extension WHERE extname = 'pg_tide'}), $version, 'updated');
is_deeply([ differences('postgres') ], [], 'to the objects of a new one');

tide_sync($node);
is(tide_worker_pid($node), $worker, 'the worker goes on');
is($node->safe_psql('postgres', 'SELECT last_error FROM tide.status'), '', 'without an error');
is($node->safe_psql('postgres', 'SELECT * FROM tide_internal.verify_all()'), '', 'and has missed nothing');
is(push_one(2, '{"id": 7}', 'answer lost'), $answer, 'a push sent again counts once');
like(push_one(3, undef, undef, '{"id": 3, "call": "finish", "args": {"id": 16}}'), qr/"last_mutation_id":3.*applied/, 'the next one, too');
tide_sync($node);
my $changes = $state->{changes};
$state = pull_all($node, $request, state => $state);
is($state->{drops} // 0, 0, 'a client goes on with its buckets');
ok($state->{changes} - $changes < 80, 'and gets what has changed');
is_deeply([ state_rows($state, 'public.tasks') ], [ query_rows($node, 'SELECT * FROM tasks WHERE team = 1') ], 'and has what there is');
is($state->{last_mutation_id}, 3, 'and its mutations');
is($node->safe_psql('postgres', q{SELECT string_agg(content ->> 'signature', '') FROM tide_internal.to_save() WHERE kind = 'mutator'}), 'public.finish(jsonb,jsonb)',
	'what was there is part of dumps');

done_testing();

# lines that only one of a database's objects and those of a new installation have
sub differences
{
	my ($db) = @_;
	my %in;
	$in{$_} .= 'missing: ' for catalog_of($node, 'fresh');
	$in{$_} .= 'superfluous: ' for catalog_of($node, $db);
	my @different = map { length $in{$_} > 13 ? () : substr("$in{$_}$_", 0, 300) } sort keys %in;
	diag($_) for $db eq 'changed' ? () : @different;
	return @different;
}

# objects and columns of tables; what CREATE OR REPLACE changes may be so already
sub names
{
	my %names = map { (split /: /)[0] => 1 } grep { !/^dumped|^extension|^view .* column / } @_;
	return sort keys %names;
}

# from today's objects back to those of the first version
sub take_away
{
	my ($db) = @_;
	$node->safe_psql($db, <<"SQL");
ALTER EXTENSION pg_tide DROP EVENT TRIGGER tide_function; DROP EVENT TRIGGER tide_function;
ALTER EXTENSION pg_tide DROP FUNCTION tide_internal.note_function(); DROP FUNCTION tide_internal.note_function();
ALTER EXTENSION pg_tide DROP TABLE tide_internal.saved; DROP TABLE tide_internal.saved;
ALTER EXTENSION pg_tide DROP TABLE tide_internal.home; DROP TABLE tide_internal.home;
ALTER EXTENSION pg_tide DROP FUNCTION tide_internal.restore(); DROP FUNCTION tide_internal.restore();
ALTER EXTENSION pg_tide DROP FUNCTION tide_internal.restore_memory(text, jsonb); DROP FUNCTION tide_internal.restore_memory(text, jsonb);
ALTER EXTENSION pg_tide DROP FUNCTION tide_internal.to_save(); DROP FUNCTION tide_internal.to_save();
ALTER TABLE tide_internal.mutators DROP COLUMN signature;
ALTER TABLE tide_internal.conflict_policies DROP COLUMN signature;
CREATE OR REPLACE VIEW tide.mutation_log WITH (security_barrier) AS
	SELECT m.client_id, m.mutation_id, m.at, m.role, c.subject, m.op, m.table_name AS "table", m.key, m.status, m.code, m.message, NULL::text AS mutator
	FROM tide_internal.mutations m JOIN tide_internal.clients c USING (client_id);
ALTER TABLE tide_internal.mutations DROP COLUMN mutator;
UPDATE pg_depend d SET classid = d.refclassid, objid = d.refobjid, refclassid = d.classid, refobjid = d.objid, deptype = 'n'
	FROM pg_extension e WHERE e.extname = 'pg_tide' AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	AND d.classid = 'pg_namespace'::regclass AND d.objid = 'tide'::regnamespace AND d.deptype = 'e';
UPDATE pg_extension SET extversion = '$first', extnamespace = 'tide'::regnamespace WHERE extname = 'pg_tide';
SQL
	return;
}

sub push_one
{
	my ($id, $key, $title, $mutation) = @_;
	$mutation //= qq({"id": $id, "op": "update", "table": "tasks", "key": $key, "values": {"title": "$title"}, "hlc": "$clock"});
	return $node->safe_psql('postgres', qq{SELECT tide.push('{"client": "$request->{client}", "claims": {"team": 1, "sub": "ann"}, "mutations": [$mutation]}')});
}
