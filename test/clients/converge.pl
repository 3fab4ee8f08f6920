# Ten PGlite databases and ten SQLite files do random work through their views, with every conflict policy, while
# requests and answers are lost, doubled and reordered, and clients, backends, worker and postmaster are killed.
# converge.client.mjs checks each step of a client against what the app knows: what is written shows at once and
# alone, what is applied leaves the server's rows with the writes not confirmed on top, a write acknowledged does
# not go and come back. When all is quiet, converge.laws.mjs replays all that happened to each row of the server
# by the policies' laws; all clients have the rows they are entitled to, and nothing is pending.
#
#   TIDE_SEED              repeats the choices of a run (not the moments)
#   TIDE_CLIENT_MUTATIONS  how many mutations the clients write (default 1000)
#   TIDE_CLIENTS           how many clients (default 20)
#   TIDE_CLIENT_CRASHES    how many kill -9 (default 3)
#   TIDE_CLIENT_FAULT      plants one of the faults of converge.faults.mjs, which must be found. Shown to be: taken, late
#                          (in the clients' schemas), set, counter, keep, custom (in the server's policies), ahead (on the wire)
#
# What it has found: clocks in a form the server does not read, retries without base or of tables with a column v, late answers.
use strict;
use warnings;
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $seed = $ENV{TIDE_SEED} // int(rand(2**31));
my $mutations = $ENV{TIDE_CLIENT_MUTATIONS} // 1000;
my $crashes = $ENV{TIDE_CLIENT_CRASHES} // 3;
diag "converge.pl: $mutations mutations, TIDE_SEED=$seed";
my $node = tide_new('converge', conf => "fsync = off\ndeadlock_timeout = 100ms\nlog_min_messages = warning\nmax_wal_size = 2GB\n");
$node->safe_psql('postgres', <<'SQL');
-- (columns of one letter: the schemas use such names, too)
CREATE TABLE projects (id int PRIMARY KEY, team int NOT NULL, s text);
CREATE TABLE docs (id int PRIMARY KEY, project int NOT NULL REFERENCES projects, shelf int NOT NULL DEFAULT 1,
	title text CHECK (title <> 'bad'), kept text, guarded text, stamp text, voice text, hits int NOT NULL DEFAULT 0,
	tags text[], labels jsonb, best int NOT NULL DEFAULT 0);
CREATE TABLE notes (doc int REFERENCES docs ON DELETE CASCADE, p text, body text CHECK (body <> 'bad'), PRIMARY KEY (doc, p));
CREATE TABLE marks (id int PRIMARY KEY, team int NOT NULL, v text);
CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL DEFAULT 0 CHECK (balance > -200));
CREATE TABLE transfers (source int, target int, amount int, client uuid, mutation bigint);
-- so that the WAL tells which columns plain SQL changes
ALTER TABLE docs REPLICA IDENTITY FULL;
CREATE TABLE history (seq int GENERATED ALWAYS AS IDENTITY, tbl text, old jsonb, new jsonb, client uuid, mutation bigint);
CREATE FUNCTION note_history() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	INSERT INTO history (tbl, old, new, client, mutation) VALUES (TG_TABLE_NAME, CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
		CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END, tide.current_client(), tide.current_mutation());
	RETURN NULL;
END $$;
CREATE TRIGGER note_history AFTER INSERT OR UPDATE OR DELETE ON projects FOR EACH ROW EXECUTE FUNCTION note_history();
CREATE TRIGGER note_history AFTER INSERT OR UPDATE OR DELETE ON docs FOR EACH ROW EXECUTE FUNCTION note_history();
CREATE TRIGGER note_history AFTER INSERT OR UPDATE OR DELETE ON notes FOR EACH ROW EXECUTE FUNCTION note_history();
CREATE TRIGGER note_history AFTER INSERT OR UPDATE OR DELETE ON marks FOR EACH ROW EXECUTE FUNCTION note_history();
INSERT INTO projects SELECT i, 1 + i % 2, 'project ' || i FROM generate_series(1, 4) AS i;
INSERT INTO docs (id, project, shelf, kept, guarded) SELECT i, 1 + i % 4, 1 + i % 3, 'first', 'first' FROM generate_series(1, 12) AS i;
INSERT INTO notes SELECT i, 'n' || i % 3, 'old' FROM generate_series(1, 12) AS i;
INSERT INTO accounts SELECT generate_series(1, 6);
CREATE FUNCTION highest(current jsonb, base jsonb, new jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
	'SELECT CASE WHEN current IS NULL OR new::int > current::int THEN new END';
CREATE FUNCTION transfer(args jsonb, claims jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	UPDATE accounts SET balance = balance - (args->>'amount')::int WHERE id = (args->>'source')::int;
	UPDATE accounts SET balance = balance + (args->>'amount')::int WHERE id = (args->>'target')::int;
	INSERT INTO transfers VALUES ((args->>'source')::int, (args->>'target')::int, (args->>'amount')::int, tide.current_client(), tide.current_mutation());
	IF args->>'amount' = '13' THEN RAISE EXCEPTION 'unlucky' USING ERRCODE = 'P0113'; END IF;
	RETURN args;
END $$;
CREATE ROLE app LOGIN;
GRANT SELECT, INSERT, UPDATE, DELETE ON projects, docs, notes, marks, accounts TO app;
GRANT INSERT ON transfers TO app;
GRANT USAGE ON SCHEMA tide TO app;
GRANT EXECUTE ON FUNCTION tide.current_client(), tide.current_mutation() TO app;
SELECT tide.trust_role('app');
SELECT tide.allow_writes('projects'), tide.allow_writes('docs'), tide.allow_writes('notes'), tide.allow_writes('marks', 'hlc');
SELECT tide.set_conflict_policy('docs', 'kept', 'keep'), tide.set_conflict_policy('docs', 'guarded', 'reject'),
	tide.set_conflict_policy('docs', 'stamp', 'hlc'), tide.set_conflict_policy('docs', 'voice', 'vclock'),
	tide.set_conflict_policy('docs', 'hits', 'counter'), tide.set_conflict_policy('docs', 'tags', 'set'),
	tide.set_conflict_policy('docs', 'labels', 'set'), tide.set_conflict_policy('docs', 'best', 'custom', 'highest(jsonb, jsonb, jsonb)');
SELECT tide.create_mutator('transfer', 'transfer(jsonb, jsonb)');
SELECT tide.create_shape('tree', '{"table": "projects", "where": "team = params.team", "include": {"docs": {"table": "docs", "include": {"notes": {"table": "notes"}}}}}');
SELECT tide.create_shape('shelf', '{"table": "docs", "where": "shelf = params.shelf"}');
SELECT tide.create_shape('marks', '{"table": "marks", "where": "team = claims.team"}');
SELECT tide.create_shape('accounts', '{"table": "accounts"}');
SQL
wait_for_sql($node, q{SELECT count(*) = 0 FROM tide.shapes WHERE state <> 'live'});
tide_sync($node);

local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'postgres';
open my $run, '-|', 'node', dirname(__FILE__) . '/converge.mjs', PostgreSQL::Test::Utils::tempdir(), $seed, $mutations, $crashes
  or die "node: $!\n";
my $planned;
while (my $line = <$run>)
{
	if ($line =~ /^(not )?ok \d+ - (.*)/) { ok(!$1, $2); }
	elsif ($line =~ /^1\.\.(\d+)/) { $planned = $1; }
	elsif ($line =~ /^crash (\w+)/) { crash($1); }
	else { diag($line =~ s/^# //r); }
}
ok(close($run), "node ended well (seed $seed)");
is(Test::More->builder->current_test, ($planned // 0) + 1, 'all of it was reached');
is($node->safe_psql('postgres', q{SELECT last_error FROM tide.status}), '', 'no error in the worker');
$node->stop;
done_testing();

# while the clients go on
sub crash
{
	my ($kind) = @_;
	my $pid = $kind eq 'postmaster' ? $node->{_pid} : eval
	{
		$kind eq 'worker' ? tide_worker_pid($node)
		  : $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE usename = 'app' ORDER BY state_change DESC LIMIT 1});
	};
	return if !$pid;
	kill 'KILL', $pid;
	note("killed $kind");
	restart_after_crash($node) if $kind eq 'postmaster';
	return;
}
