# A shape that failed while rows were stored is built from nothing when DDL has it compiled again: what it missed
# meanwhile is not in its old buckets, and clients get the new ones.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('failed_shape');
my $request = { claims => {}, shapes => { odd => [ { m => 0 }, { m => 1 } ] } };

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql(q{CREATE TABLE t (id int PRIMARY KEY, m int, n int);
	INSERT INTO t SELECT i, 0, 1 FROM generate_series(1, 300) i;
	SELECT tide.create_shape('odd', '{"table": "t", "where": "m = params.m AND 10 / n > 0"}'), tide.create_shape('all', '{"table": "t"}')});
tide_sync($node);
my $state = pull_all($node, $request);
for my $i (1 .. 2)
{
	sql('UPDATE t SET n = 0 WHERE id = 5');
	wait_for_sql($node, q{SELECT state = 'failed' FROM tide.shapes WHERE name = 'odd'});
	is(sql(q{SELECT error FROM tide.shapes WHERE name = 'odd'}), 'division by zero', "$i: the shape fails");
	sql("UPDATE t SET n = 1, m = (id + $i) % 3; ALTER TABLE t ADD COLUMN x$i int");
	wait_for_sql($node, q{SELECT state = 'live' FROM tide.shapes WHERE name = 'odd'});
	tide_sync($node);
	pull_all($node, $request, state => $state);
	is_deeply([ state_rows($state, 'public.t') ], [ query_rows($node, 'SELECT * FROM t WHERE m < 2') ], "$i: the client has the rows");
	verify_empty($node, 'odd', { m => $_ }, {}, name => "$i: tide.verify finds nothing for m = $_") for 0 .. 2;
}
$node->stop;
done_testing();
