# DROP EXTENSION leaves nothing: catalogs, slots, origins and files are as they were before CREATE EXTENSION. Also what DROP
# DATABASE, DROP OWNED and CASCADE do, and that schemas of others are neither taken nor dropped.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('drop', extension => 0);

# everything that the catalogs have names for, and the files that are not relations
sub catalogs
{
	my ($db) = @_;
	my $sql = <<'SQL';
SELECT 'object ' || type || ' ' || identity FROM (
  SELECT 'pg_namespace'::regclass AS c, oid FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'
  UNION ALL SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relnamespace::regnamespace::text !~ '^pg_(toast_)?temp_'
  UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace::regnamespace::text !~ '^pg_(toast_)?temp_'
  UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass
  UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily UNION ALL SELECT 'pg_cast'::regclass, oid FROM pg_cast
  UNION ALL SELECT 'pg_event_trigger'::regclass, oid FROM pg_event_trigger UNION ALL SELECT 'pg_extension'::regclass, oid FROM pg_extension
  UNION ALL SELECT 'pg_trigger'::regclass, oid FROM pg_trigger UNION ALL SELECT 'pg_policy'::regclass, oid FROM pg_policy
  UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint UNION ALL SELECT 'pg_publication'::regclass, oid FROM pg_publication) o,
  pg_identify_object(o.c, o.oid, 0)
UNION ALL SELECT 'role ' || rolname FROM pg_roles
UNION ALL SELECT 'slot ' || slot_name FROM pg_replication_slots
UNION ALL SELECT 'origin ' || roname FROM pg_replication_origin
UNION ALL SELECT 'setting ' || setconfig::text FROM pg_db_role_setting
UNION ALL SELECT 'default acl ' || defaclacl::text FROM pg_default_acl
UNION ALL SELECT 'shared dependencies ' || count(*) FROM pg_shdepend WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL SELECT 'initial privileges ' || count(*) FROM pg_init_privs
UNION ALL SELECT 'comments ' || count(*) FROM pg_description
UNION ALL SELECT 'attributes ' || count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid WHERE relnamespace::regnamespace::text !~ '^pg_(toast_)?temp_'
UNION ALL SELECT 'dependencies ' || count(*) FROM pg_depend WHERE classid <> 0
UNION ALL SELECT 'file ' || d || '/' || f FROM unnest('{pg_replslot,pg_logical/mappings,base/pgsql_tmp,pg_stat_tmp}'::text[]) d, pg_ls_dir(d, true, false) f
SQL
	return join "\n", sort split /\n/, $node->safe_psql($db, $sql);
}

# files of relations that nothing in the catalogs speaks of
my $stray = q{SELECT count(*) FROM pg_ls_dir('base/' || (SELECT oid FROM pg_database WHERE datname = current_database())) f
	WHERE f ~ '^\d+' AND NOT EXISTS (SELECT FROM pg_class c WHERE pg_relation_filenode(c.oid) = substring(f FROM '^\d+')::oid)};

$node->safe_psql('postgres', <<'SQL');
CREATE ROLE author;
GRANT CREATE ON SCHEMA public TO author;
SET ROLE author;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE tasks (id int PRIMARY KEY, title text, mood mood, tags text[]);
CREATE TABLE notes (text text);
ALTER TABLE notes REPLICA IDENTITY FULL;
INSERT INTO tasks SELECT i, 'task', 'ok' FROM generate_series(1, 100) i;
SQL
$node->safe_psql('postgres', 'VACUUM; CHECKPOINT');
my $before = catalogs('postgres');

sub use_it
{
	$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_tide;
SELECT tide.start();
SELECT tide.create_shape('tasks', '{"table": "tasks", "where": "mood = params.mood", "order_by": "id", "limit": 10}');
SELECT tide.create_shape('notes', '{"table": "notes"}'), tide.create_shape('own', '{"table": "tide.devices"}');
SELECT tide.allow_writes('tasks', 'hlc'), tide.set_conflict_policy('tasks', 'tags', 'set'), tide.trust_role('author');
SELECT tide.push('{"client": "a0000000-0000-4000-8000-000000000001", "mutations": [{"id": 1, "op": "update", "table": "tasks", "key": {"id": 1}, "values": {"tags": ["a"]}, "base": {"tags": null}}]}');
SQL
	tide_sync($node);
	$node->safe_psql('postgres', q{UPDATE tasks SET title = 'changed'; INSERT INTO notes VALUES ('x'), ('x'); ALTER TABLE tasks ADD COLUMN more int; ALTER TABLE tasks DROP COLUMN more});
	tide_sync($node);
	return;
}

# ---- with its worker running
use_it();
my $worker = tide_worker_pid($node);
$node->safe_psql('postgres', 'DROP EXTENSION pg_tide');
wait_for_sql($node, 'SELECT count(*) = 0 FROM pg_replication_slots');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_tide ingest'}), 0, 'the worker is gone');
# the column that was added and dropped is ours
(my $expected = $before) =~ s/^attributes (\d+)$/'attributes ' . ($1 + 1)/me;
is(catalogs('postgres'), $expected, 'DROP EXTENSION has left nothing');
$node->safe_psql('postgres', 'CHECKPOINT');
is($node->safe_psql('postgres', $stray), 0, 'nor files of relations');

# ---- without
use_it();
$node->safe_psql('postgres', 'SELECT tide.stop()');
$node->safe_psql('postgres', 'DROP EXTENSION pg_tide');
is($node->safe_psql('postgres', 'SELECT slot_name FROM pg_replication_slots'), 'tide_postgres', 'a slot without a worker stays');
$node->safe_psql('postgres', q{SELECT pg_drop_replication_slot('tide_postgres')});
$expected =~ s/^attributes (\d+)$/'attributes ' . ($1 + 1)/me;
is(catalogs('postgres'), $expected, 'and is all that does');

# ---- a schema that is there before: its owner could replace what is in it
$node->safe_psql('postgres', 'CREATE ROLE mallory; GRANT CREATE ON DATABASE postgres TO mallory');
for my $schema ('tide', 'tide_internal', 'tide_shadow')
{
	$node->safe_psql('postgres', "SET ROLE mallory; CREATE SCHEMA $schema; CREATE FUNCTION $schema.theirs() RETURNS int LANGUAGE sql AS 'SELECT 1'");
	my (undef, undef, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nCREATE EXTENSION pg_tide");
	like($err, qr/42P06: schema "$schema" already exists\nDETAIL: .* belongs to role "mallory"\.\nHINT: +Drop the schema if nothing is in it/, "schema $schema of another is not taken");
	is($node->safe_psql('postgres', "SELECT $schema.theirs()"), 1, 'nor touched');
	$node->safe_psql('postgres', "DROP SCHEMA $schema CASCADE");
}
$node->safe_psql('postgres', 'REVOKE CREATE ON DATABASE postgres FROM mallory; DROP ROLE mallory');
is(catalogs('postgres'), $expected, 'and nothing is left of the attempt');

# ---- a table of somebody's in the extension's schema
$node->safe_psql('postgres', 'CREATE EXTENSION pg_tide; CREATE TABLE tide.mine (id int)');
my (undef, undef, $err) = $node->psql('postgres', 'DROP EXTENSION pg_tide');
like($err, qr/cannot drop extension pg_tide because other objects depend on it\nDETAIL: +table tide\.mine depends on schema tide/, 'a table in schema tide holds it');
(undef, undef, $err) = $node->psql('postgres', 'DROP SCHEMA tide CASCADE');
like($err, qr/cannot drop schema tide because extension pg_tide requires it/, 'the schema cannot be dropped by itself');
$node->safe_psql('postgres', 'DROP EXTENSION pg_tide CASCADE');
is(catalogs('postgres'), $expected, 'CASCADE takes the table along');

# ---- under a worker that is at work: of a deadlock it is the one that ends, and the next one finds nothing to do
my $fails = '';
for my $i (1 .. 8)
{
	$node->safe_psql('postgres', q{CREATE EXTENSION pg_tide; SELECT tide.create_shape('tasks', '{"table": "tasks"}')});
	$node->safe_psql('postgres', 'SELECT tide.start()');
	tide_sync($node) if $i % 2;
	(undef, undef, $err) = $node->psql('postgres', "UPDATE tasks SET title = 'task $i'; DROP EXTENSION pg_tide");
	$fails .= $err if $err =~ /ERROR/;
	$node->psql('postgres', 'DROP EXTENSION IF EXISTS pg_tide') if $err =~ /ERROR/;
}
is($fails, '', 'it can be dropped while the worker builds and follows');
wait_for_sql($node, q{SELECT count(*) = 0 FROM pg_replication_slots});

# a drop that is rolled back
use_it();
$node->safe_psql('postgres', 'BEGIN; DROP EXTENSION pg_tide; ROLLBACK');
$node->safe_psql('postgres', q{INSERT INTO notes VALUES ('after')});
tide_sync($node);
is($node->safe_psql('postgres', 'SELECT * FROM tide_internal.verify_all()'), '', 'a drop that is rolled back changes nothing');

# ---- what others have made of it
$node->safe_psql('postgres', 'CREATE TABLE clocks (id int, at tide.hlc); CREATE VIEW states AS SELECT name, state FROM tide.shapes');
(undef, undef, $err) = $node->psql('postgres', 'DROP EXTENSION pg_tide');
like($err, qr/cannot drop extension pg_tide because other objects depend on it/, 'others hold it');
$node->safe_psql('postgres', 'BEGIN; DROP EXTENSION pg_tide CASCADE; SELECT id FROM clocks; ROLLBACK');
$node->safe_psql('postgres', 'DROP VIEW states; DROP TABLE clocks');

# ---- an author goes
$node->safe_psql('postgres', q{GRANT EXECUTE ON FUNCTION tide.create_shape(text, jsonb) TO author; SET ROLE author; SELECT tide.create_shape('mine', '{"table": "tasks"}')});
tide_sync($node);
$node->safe_psql('postgres', 'DROP OWNED BY author; DROP ROLE author');
wait_for_sql($node, q{SELECT count(*) = 3 FROM tide.shapes WHERE state = 'failed'});
tide_sync($node);
is($node->safe_psql('postgres', 'SELECT name FROM tide.shapes WHERE state = $$live$$'), 'own', 'shapes of tables that are gone fail, and the worker goes on');
$node->safe_psql('postgres', q{SELECT tide.drop_shape('mine'), tide.drop_shape('tasks'), tide.drop_shape('notes')});
tide_sync($node);
is($node->safe_psql('postgres', 'SELECT count(*) FROM tide.shapes'), 1, 'an administrator can drop those of an author who is gone');

# ---- a database goes
(undef, undef, $err) = $node->psql('template1', 'DROP DATABASE postgres WITH (FORCE)');
like($err, qr/database "postgres" is (used by an active logical replication slot|being accessed by other users)/, 'a database whose worker runs cannot be dropped');
$node->safe_psql('postgres', 'SELECT tide.stop()');
$node->safe_psql('template1', 'DROP DATABASE postgres');
is($node->safe_psql('template1', 'SELECT count(*) FROM pg_replication_slots'), 0, 'after tide.stop() it can, and takes its slot along');

done_testing();
