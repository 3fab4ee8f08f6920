# ALTER EXTENSION pg_tide UPDATE: the scripts of sql/upgrade lead from the first version to the same objects as CREATE
# EXTENSION makes, and a database with data, clients and a worker goes through it without losing anything.
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
	q{COMMENT ON VIEW tide.shapes IS 'other'}, 'CREATE INDEX ON tide_internal.shapes (owner)', 'ALTER EVENT TRIGGER tide_drop DISABLE',
	q{UPDATE pg_extension SET extcondition = '{x,x,x,x,x}' WHERE extname = 'pg_tide'})
{
	$node->safe_psql('postgres', 'DROP DATABASE IF EXISTS changed');
	$node->safe_psql('postgres', 'CREATE DATABASE changed TEMPLATE updated');
	$node->safe_psql('changed', $change);
	isnt(scalar(differences('changed')), 0, "noticed: $change");
}

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
UPDATE pg_extension SET extversion = '$first' WHERE extname = 'pg_tide';
SQL
	return;
}

sub push_one
{
	my ($id, $key, $title, $mutation) = @_;
	$mutation //= qq({"id": $id, "op": "update", "table": "tasks", "key": $key, "values": {"title": "$title"}, "hlc": "$clock"});
	return $node->safe_psql('postgres', qq{SELECT tide.push('{"client": "$request->{client}", "claims": {"team": 1, "sub": "ann"}, "mutations": [$mutation]}')});
}
