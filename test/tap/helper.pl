# TideCluster's replay of pulls: canned pages in, client state out, and what is wrong is noticed.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('helper', extension => 0, preload => 0);

# stands in for tide.pull: page number = the cookie
$node->safe_psql('postgres', <<'SQL');
CREATE SCHEMA tide;
CREATE TABLE pages (n int PRIMARY KEY, page jsonb);
CREATE FUNCTION tide.pull(request jsonb) RETURNS json STABLE LANGUAGE sql AS
$$ SELECT page::json FROM pages WHERE n = coalesce((request->'cookie'->>'n')::int, 0) $$;
INSERT INTO pages VALUES
(0, '{"cookie": {"n": 1}, "complete": false, "checkpoint": {"op_id": 5}, "last_mutation_id": 0, "changes": [
  {"bucket": 1, "table": "public.t", "op": "put", "op_id": 1, "key": {"id": 1}, "row": {"id": 1, "v": 0.12345678901234567890123}, "hash": 4294967295},
  {"bucket": 1, "table": "public.t", "op": "put", "op_id": 2, "key": {"id": 2}, "row": {"v": "tab\tline\n\\", "id": 2}, "hash": 7}]}'),
(1, '{"cookie": {"n": 2}, "complete": true, "checkpoint": {"op_id": 5}, "last_mutation_id": 3, "changes": [
  {"bucket": 1, "table": "public.t", "op": "remove", "op_id": 3, "key": {"id": 2}, "hash": 0},
  {"bucket": 1, "table": "public.t", "op": "put", "op_id": 4, "key": {"id": 3}, "row": {"id": 3, "v": null}, "hash": 2},
  {"bucket": 2, "table": "public.t", "op": "put", "op_id": 5, "key": {"id": 3}, "row": {"id": 3, "v": null}, "hash": 9}],
  "buckets": [{"bucket": 1, "shape": "s", "params": {}, "count": 2, "checksum": 1}, {"bucket": 2, "count": 1, "checksum": 9}]}'),
(2, '{"cookie": {"n": 3}, "complete": true, "checkpoint": {"op_id": 6}, "changes": [], "drop": [1], "buckets": [{"bucket": 2, "count": 1, "checksum": 8}]}');
SQL

my $request = { client => '00000000-0000-4000-8000-000000000001', shapes => { s => [ {} ] } };
my $state = pull_all($node, $request);
is($state->{pages}, 2, 'pulled until complete');
is($state->{last_mutation_id}, 3, 'the write checkpoint is kept');
is_deeply(
	[ state_rows($state, 'public.t') ],
	[ query_rows($node, "SELECT 1 AS id, 0.12345678901234567890123 AS v UNION ALL SELECT 3, NULL") ],
	'rows of overlapping buckets once, numbers to the last digit');
is_deeply([ state_rows($state, 'public.other') ], [], 'none of another table');

ok(!eval { pull_all($node, $request, state => $state); 1 }, 'a wrong checksum dies');
like($@, qr/checksum 9, told 8/, 'saying what was seen');
ok(!defined $state->{rows}{1}, 'a dropped bucket is gone');
ok(!eval { pull_all($node, $request, limit => 1); 1 }, 'a page beyond the limit dies');
$node->safe_psql('postgres', q{UPDATE pages SET page = jsonb_set(page, '{checkpoint,op_id}', '4') WHERE n = 1});
ok(!eval { pull_all($node, $request); 1 }, 'an op_id beyond the checkpoint dies');
is($node->safe_psql('postgres', 'SELECT ' . sql_text(q{a'b$t$c\\})), q{a'b$t$c\\}, 'text of any kind as a literal');

$node->stop;
done_testing();
