# What is bounded: rows of a bucket, rows of a shape, the mutation log, buckets of a pull.
# A shape that becomes too large fails and says why; others go on, and the app writes all the time.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCheck;
use TideCluster;
use TideSession;

my $node = tide_new('limits', conf => "tide.max_bucket_rows = 100\ntide.max_shape_rows = 250\n");
install_check($node);
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE items (id int PRIMARY KEY, part int, n int DEFAULT 0);
INSERT INTO items SELECT i, i % 4 FROM generate_series(1, 90) i;
SELECT tide.create_shape('all', '{"table": "items"}');
SELECT tide.create_shape('part', '{"table": "items", "where": "part = params.part"}');
SELECT tide.create_shape('few', '{"table": "items", "where": "id <= 10"}');
SQL
tide_sync($node);

sub shapes
{
	return $node->safe_psql('postgres', q{SELECT string_agg(name || ' ' || state || coalesce(': ' || error, ''), E'\n' ORDER BY name) FROM tide.shapes});
}
sub row_count { return $node->safe_psql('postgres', "SELECT coalesce(sum(rows), 0) FROM tide.shapes WHERE name = '$_[0]'"); }

is(shapes(), "all live\nfew live\npart live", 'all within the limits');

# on the way through a transaction it may be more
$node->safe_psql('postgres', 'BEGIN; INSERT INTO items SELECT i, 0 FROM generate_series(91, 105) i; DELETE FROM items WHERE id > 95; COMMIT');
tide_sync($node);
is(shapes(), "all live\nfew live\npart live", 'what a transaction passes through does not count');

$node->safe_psql('postgres', 'INSERT INTO items SELECT i, i % 4 FROM generate_series(101, 120) i');
$node->safe_psql('postgres', 'UPDATE items SET n = 1 WHERE id = 5');
wait_for_sql($node, q{SELECT state = 'failed' FROM tide.shapes WHERE name = 'all'});
tide_sync($node);
is(shapes(), qq{all failed: a bucket of shape "all" has more than 100 rows\nfew live\npart live}, 'one bucket too large: its shape fails, with the reason');
is(row_count('part'), 115, 'others have what was written meanwhile');
my ($ret, $out, $err) = $node->psql('postgres', q{SELECT tide.pull('{"shapes": {"all": {}}, "claims": {}}')});
like($err, qr/shape "all" is not available/, 'it cannot be pulled');
verify_empty($node, $_->[0], $_->[1], {}) for [ 'few', {} ], [ 'part', { part => 1 } ];

# the failed shape has its bucket still: fewer or more rows of it are no matter any more
$node->safe_psql('postgres', 'DELETE FROM items WHERE id = 120; INSERT INTO items VALUES (121, 3)');
tide_sync($node);
is(row_count('part'), 115, 'and they go on');

$node->safe_psql('postgres', 'INSERT INTO items SELECT i, i % 4 FROM generate_series(200, 350) i');
wait_for_sql($node, q{SELECT state = 'failed' FROM tide.shapes WHERE name = 'part'});
tide_sync($node);
like(shapes(), qr/^part failed: shape "part" has more than 250 rows in all its buckets$/m, 'a shape too large in all');
like(shapes(), qr/^few live$/m, 'the third goes on');

# a build is refused as well, and a larger limit or a narrower shape is the way out
$node->safe_psql('postgres', q{SELECT tide.create_shape('again', '{"table": "items"}')});
wait_for_sql($node, q{SELECT state = 'failed' FROM tide.shapes WHERE name = 'again'});
like(shapes(), qr/^again failed: a bucket of shape "again" has more than 100 rows$/m, 'a shape that is too large from the beginning');
$node->safe_psql('postgres', q{SELECT tide.replace_shape('again', '{"table": "items", "where": "id <= 50"}')});
$node->safe_psql('postgres', 'ALTER SYSTEM SET tide.max_bucket_rows = 0');
$node->safe_psql('postgres', 'ALTER SYSTEM SET tide.max_shape_rows = 0');
$node->reload;
$node->safe_psql('postgres', qq{SELECT tide.replace_shape('all', '{"table": "items"}')});
wait_for_sql($node, q{SELECT bool_and(state = 'live') FROM tide.shapes WHERE name IN ('all', 'again')});
tide_sync($node);
is(row_count('all'), $node->safe_psql('postgres', 'SELECT count(*) FROM items'), 'without a limit it is built');
is($node->safe_psql('postgres', 'SELECT count(*) FROM items'), 266, 'the app was never held up');
store_ok($node, 'everything stored is right');

# ---- buckets of a pull

($ret, $out, $err) = $node->psql('postgres',
	q{SET tide.max_buckets_per_pull = 3; SELECT tide.pull('{"shapes": {"few": {}, "all": {}, "again": {}}, "claims": {}}') IS NULL});
is("$out$err", 'f', 'as many buckets as may be pulled at once');
$node->safe_psql('postgres', q{SELECT tide.replace_shape('part', '{"table": "items", "where": "part = params.part"}')});
tide_sync($node);
($ret, $out, $err) = $node->psql('postgres',
	q{SET tide.max_buckets_per_pull = 3; SELECT tide.pull('{"shapes": {"part": [{"part": 0}, {"part": 1}, {"part": 2}, {"part": 3}]}, "claims": {}}')});
like($err, qr/request asks for more than 3 buckets/, 'one more is refused');

# ---- the mutation log

$node->safe_psql('postgres', q{SELECT tide.allow_writes('items')});
my $client = '00000000-0000-4000-8000-000000000009';
my $push = 'SELECT tide.push(' . sql_json({ client => $client, claims => {}, mutations => [
		{ id => 1, op => 'update', table => 'items', key => { id => 1 }, values => { n => 7 } } ] }) . ')';
$node->safe_psql('postgres', $push);
is($node->safe_psql('postgres', 'SELECT count(*) FROM tide.mutation_log'), 1, 'a mutation is logged');
$node->safe_psql('postgres', q{UPDATE items SET n = 8 WHERE id = 1});
$node->safe_psql('postgres', q{ALTER SYSTEM SET tide.mutation_retention = 1});
$node->reload;
wait_for_sql($node, 'SELECT count(*) = 0 FROM tide.mutation_log');
pass('and forgotten after its retention');
like($node->safe_psql('postgres', $push), qr/"last_mutation_id": ?1\b/, 'sent again it is still taken for done');
is($node->safe_psql('postgres', 'SELECT n FROM items WHERE id = 1'), 8, 'and not done twice');
# ---- clients that push no more

my $other = '00000000-0000-4000-8000-00000000000a';
(my $push_other = $push) =~ s/$client/$other/;
my $holder = TideSession->new($node);
$holder->query("BEGIN; $push");
$node->safe_psql('postgres', $push_other);
tide_sync($node);
is($node->safe_psql('postgres', 'SELECT count(*) FROM tide_internal.acks'), 2, 'two clients are acknowledged');
$node->safe_psql('postgres', q{ALTER SYSTEM SET tide.client_retention = 1});
$node->reload;
wait_for_sql($node, "SELECT is_trimmed FROM tide_internal.clients WHERE client_id = '$other'");
is($node->safe_psql('postgres', 'SELECT client_id FROM tide.clients WHERE expired_at IS NULL'), $client, 'one has expired; one is pushing');
$holder->query('COMMIT');
$holder->quit;
tide_sync($node);
is($node->safe_psql('postgres', 'SELECT last_error FROM tide.status WHERE last_error NOT LIKE \'%rows%\''), '', 'no other error of the worker than the limits');
$node->stop('fast');
done_testing();
