# A type is dropped in the transaction that writes values of it: the worker, which cannot read them any more, goes on
# with the table as it is now, without an error, and no shape is said to have failed.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('type_dropped');
my $request = { claims => {}, shapes => { mood => [ { m => 'a' }, { m => 'b' } ], all => [ {} ] } };

sub sql { return $node->safe_psql('postgres', $_[0]); }

# what is told of shapes that fail, even for a moment
sql(q{CREATE TABLE failures (name text, error text);
	CREATE FUNCTION note_failure() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN INSERT INTO public.failures VALUES (NEW.name, NEW.error); RETURN NULL; END $$;
	CREATE TRIGGER note_failure AFTER UPDATE ON tide_internal.shapes FOR EACH ROW WHEN (NEW.state = 'failed') EXECUTE FUNCTION note_failure();
	CREATE TYPE mood0 AS ENUM ('a', 'b');
	CREATE TABLE t (id int PRIMARY KEY, m mood0, n int);
	INSERT INTO t SELECT i, 'a', 0 FROM generate_series(1, 300) i;
	SELECT tide.create_shape('mood', '{"table": "t", "where": "m = params.m AND n >= 0"}'), tide.create_shape('all', '{"table": "t"}')});
tide_sync($node);
my $state = pull_all($node, $request);
my $pid = tide_worker_pid($node);

for my $i (1 .. 3)
{
	my $before = $i - 1;

	# the first time nothing is known of the type's output; later it is
	sql("BEGIN; UPDATE t SET n = n + 1, m = CASE id % 3 WHEN 0 THEN 'b' ELSE 'a' END::mood$before; CREATE TYPE mood$i AS ENUM ('a', 'b');
		ALTER TABLE t ALTER m TYPE mood$i USING m::text::mood$i; DROP TYPE mood$before; COMMIT");
	tide_sync($node);
	pull_all($node, $request, state => $state);
	is_deeply([ state_rows($state, 'public.t') ], [ query_rows($node, 'SELECT * FROM t') ], "$i: the client has the rows");
	verify_empty($node, 'mood', { m => 'b' }, {}, name => "$i: tide.verify finds nothing");
	sql('UPDATE t SET n = n + 1');
	tide_sync($node);
}
is(sql('SELECT name, error FROM failures'), '', 'no shape has failed');
is(tide_worker_pid($node), $pid, 'nor has the worker ended');
is(sql('SELECT last_error FROM tide.status'), '', 'nor has the ingest');
is(sql('SELECT name, state FROM tide.shapes ORDER BY name'), "all|live\nmood|live", 'both are live');
$node->stop;
done_testing();
