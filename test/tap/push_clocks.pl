# Clocks of what plain SQL writes, for policies hlc and vclock: ingested, and not yet.
use strict;
use warnings;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('clocks');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE t (id int PRIMARY KEY, a text, b text, big text);
CREATE TABLE full_t (LIKE t INCLUDING ALL);
ALTER TABLE full_t REPLICA IDENTITY FULL;
CREATE TABLE v (LIKE t INCLUDING ALL);
CREATE TABLE "Parts" (b text, "Id" numeric, a text, PRIMARY KEY ("Id")) PARTITION BY RANGE ("Id");
CREATE TABLE low (a text, gone int, "Id" numeric NOT NULL, b text);
ALTER TABLE low DROP gone;
ALTER TABLE "Parts" ATTACH PARTITION low FOR VALUES FROM (0) TO (10);
CREATE TABLE other (id int PRIMARY KEY, a text);
INSERT INTO t SELECT n, 'a', 'b', repeat(md5(n::text), 5) FROM generate_series(1, 9) n;
ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
UPDATE t SET big = repeat(big, 100) WHERE id = 5;
INSERT INTO full_t SELECT * FROM t;
INSERT INTO v SELECT * FROM t;
INSERT INTO "Parts" VALUES ('b', 1, 'a'), ('b', 2, 'a');
SELECT tide.allow_writes('t', 'hlc');
SELECT tide.allow_writes('full_t', 'hlc');
SELECT tide.allow_writes('v', 'vclock');
SELECT tide.allow_writes('"Parts"', 'hlc');
SELECT tide.allow_writes('other');
CREATE FUNCTION stamp(at timestamptz) RETURNS text LANGUAGE sql AS $$
	SELECT lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '-0000-0000000000000001'
$$;
SQL
tide_sync($node) for 1 .. 2;

my %last;
my $before = now();

sub now { return $node->safe_psql('postgres', 'SELECT clock_timestamp()'); }
sub hlc { return "jsonb_build_object('hlc', stamp('$_[0]'))"; }

# the answer to one mutation: status and the columns kept
sub push_one
{
	my ($client, $op, $table, $key, $values, $more) = @_;
	my $id = ++$last{$client};
	my $mutation = "jsonb_build_object('id', $id, 'op', '$op', 'table', '$table', 'key', '$key'::jsonb)";

	$mutation .= " || jsonb_build_object('values', '$values'::jsonb)" if defined $values;
	$mutation .= " || $more" if defined $more;
	return $node->safe_psql('postgres', <<"SQL");
SELECT concat_ws(' ', r ->> 'status', r ->> 'code', r ->> 'columns') FROM json_array_elements(tide.push(jsonb_build_object(
	'client', 'c10c0000-0000-4000-8000-' || lpad('$client', 12, '0'), 'mutations', jsonb_build_array($mutation))) -> 'results') r
SQL
}

sub put { my ($client, $table, $id, $values, $at) = @_; return push_one($client, 'update', $table, qq({"id": $id}), $values, hlc($at)); }
my $kept_a = 'conflict {"a": "kept"}';

# what is older than all clocks
is(put(1, 't', 1, '{"a": "x"}', '2020-01-01'), 'applied', 'a value from before the policy loses against any clock');
is(put(2, 't', 1, '{"b": "x"}', '2020-01-01'), 'applied', 'and so does one whose row a push has written since');
tide_sync($node);
is(put(2, 't', 2, '{"a": "x"}', '2020-01-02'), 'applied', 'and after more has been ingested');
is(put(1, 't', 2, '{"b": "x"}', '2020-01-01'), 'applied', 'a push counts for the columns it has written only');

# ingested
$node->safe_psql('postgres', q(UPDATE t SET a = 'server' WHERE id IN (1, 3)));
tide_sync($node);
my $after = now();
is(put(1, 't', 1, '{"a": "older"}', $before), $kept_a, 'ingested, over a push: an older write loses');
is(put(1, 't', 3, '{"a": "older"}', $before), $kept_a, 'ingested, first write: an older write loses');
is(put(1, 't', 1, '{"b": "older than the update"}', '2020-01-02'), 'applied', 'a column with a clock that the update left alone has its own');
is(put(1, 't', 3, '{"a": "newer"}', $after), 'applied', 'a newer write wins');
$node->safe_psql('postgres', q(UPDATE t SET b = 'server' WHERE id = 3));
tide_sync($node);
is(put(2, 't', 3, '{"a": "newer still"}', $after), $kept_a, 'the same time of another client does not');
is(put(1, 't', 3, '{"a": "the same client again"}', $after), 'applied', 'of the same client it does');

# a value that comes back is a write
$node->safe_psql('postgres', q(UPDATE t SET a = 'between' WHERE id = 3; UPDATE t SET a = 'the same client again' WHERE id = 3));
tide_sync($node);
is(put(1, 't', 3, '{"a": "older"}', $after), $kept_a, 'a value written again by the server has the later clock');

# TOAST that an update leaves alone
$node->safe_psql('postgres', q(UPDATE t SET a = 'server' WHERE id = 5));
tide_sync($node) for 1 .. 2;
is(put(1, 't', 5, '{"a": "older"}', $before), $kept_a, 'beside unchanged TOAST');
is(put(1, 't', 5, '{"big": "older"}', $before), 'applied', 'unchanged TOAST has no clock');

# inserted and deleted by plain SQL
$node->safe_psql('postgres', q(INSERT INTO t VALUES (20, 'server'); DELETE FROM t WHERE id = 9));
tide_sync($node);
is(push_one(1, 'insert', 't', '{"id": 20}', '{"a": "older"}', hlc($before)), $kept_a, 'an insert that meets the server\'s row');
is(push_one(1, 'insert', 't', '{"id": 9}', '{"a": "older"}', hlc($before)), $kept_a, 'the server\'s deletion leaves a tombstone');
is(push_one(1, 'insert', 't', '{"id": 9}', '{"a": "newer"}', hlc(now())), 'applied', 'a newer insert wins over it');
is($node->safe_psql('postgres', q(SELECT count(*) FROM tide_internal.server_clocks c JOIN tide_internal.server_clocks d
	USING (relid, key_id) WHERE d.attnum = 0 AND c.attnum > 0 AND c.lsn < d.lsn)), '0', 'clocks of deleted rows are forgotten');
$node->safe_psql('postgres', q(UPDATE t SET id = 30 WHERE id = 20));
tide_sync($node);
is(push_one(1, 'insert', 't', '{"id": 20}', '{"a": "older"}', hlc($before)), $kept_a, 'so does a changed key');
is(put(1, 't', 30, '{"a": "older"}', $before), $kept_a, 'and the row has its clocks under the new one');

# the old row in the WAL tells which columns an update has changed
$node->safe_psql('postgres', q(UPDATE full_t SET a = 'server' WHERE id = 1));
tide_sync($node) for 1 .. 2;
is(put(1, 'full_t', 1, '{"a": "older"}', $before), $kept_a, 'REPLICA IDENTITY FULL: the column that was written');
is(put(1, 'full_t', 1, '{"b": "older"}', $before), 'applied', 'and one that was not');

# partitions, other order of columns, keys that are equal without looking so
$node->safe_psql('postgres', q(UPDATE low SET a = 'server' WHERE "Id" = 1));
tide_sync($node);
is(push_one(1, 'update', 'Parts', '{"Id": 1.00}', '{"a": "older"}', hlc($before)), $kept_a, 'a partition written directly');
is(push_one(1, 'update', 'Parts', '{"Id": 1.0}', '{"a": "newer"}', hlc(now())), 'applied', 'and by a push');
is(push_one(1, 'delete', 'Parts', '{"Id": 1}', undef, hlc($before)), 'conflict {"a": "kept", "b": "kept"}', 'which wins over an older deletion');

# a column that comes later has the table's policy, too
$node->safe_psql('postgres', q(ALTER TABLE t ADD COLUMN later text; UPDATE t SET later = 'server' WHERE id = 2));
tide_sync($node);
$node->safe_psql('postgres', q(UPDATE t SET later = 'server' WHERE id = 4));
tide_sync($node) for 1 .. 2;
is(put(1, 't', 4, '{"later": "older"}', $before), 'conflict {"later": "kept"}', 'a column added since');
$node->safe_psql('postgres', q(CREATE TABLE gone (LIKE t INCLUDING ALL); SELECT tide.allow_writes('gone', 'hlc')));
tide_sync($node);
$node->safe_psql('postgres', q(INSERT INTO gone (id) VALUES (1)));
tide_sync($node);
my $of_gone = q(SELECT count(*) FROM tide_internal.server_clocks WHERE relid NOT IN (SELECT oid FROM pg_class));
$node->safe_psql('postgres', 'DROP TABLE gone');
tide_sync($node) for 1 .. 2;
is($node->safe_psql('postgres', $of_gone), '0', 'clocks of a dropped table are removed');

# triggers and whatever else writes within a push
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION too() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE t SET a = 'trigger' WHERE id = 6; RETURN NEW; END $$;
CREATE TRIGGER too AFTER INSERT ON other FOR EACH ROW EXECUTE FUNCTION too();
SQL
is(push_one(1, 'insert', 'other', '{"id": 1}', '{}'), 'applied', 'a push whose trigger writes a row');
is(put(1, 't', 6, '{"a": "older"}', $before), $kept_a, 'not ingested: that counts as a write of the server');
tide_sync($node);
is(put(1, 't', 6, '{"a": "older"}', $before), $kept_a, 'ingested');

# vclock
sub vput { my ($client, $values, $vclock, $base) = @_;
	return push_one($client, 'update', 'v', '{"id": 1}', $values,
		"jsonb_build_object('vclock', '$vclock'::jsonb)" . ($base ? " || jsonb_build_object('base', '$base'::jsonb)" : '')); }
is(vput(1, '{"a": "one"}', '{"x": 1}'), 'applied', 'vclock: a value without clock');
$node->safe_psql('postgres', q(UPDATE v SET a = 'server' WHERE id = 1));
tide_sync($node);
is(vput(2, '{"a": "two"}', '{"x": 1, "y": 1}'), $kept_a, 'ingested: concurrent with the server\'s write');
is(vput(2, '{"a": "two"}', '{"x": 1, "y": 2}', '{"a": "server"}'), 'applied', 'which it has seen');
is(vput(1, '{"a": "one"}', '{"x": 2}'), $kept_a, 'and brings into the clock');

# nothing is ingested any more
$node->safe_psql('postgres', 'SELECT tide.stop()');
$after = now();
$node->safe_psql('postgres', q(UPDATE t SET a = 'not ingested' WHERE id IN (1, 4, 7); UPDATE v SET a = 'not ingested' WHERE id = 1));
is(put(1, 't', 1, '{"a": "older"}', $after), $kept_a, 'not ingested, over a push: the server wins');
is(put(1, 't', 4, '{"a": "older"}', $after), $kept_a, 'not ingested, first write: the server wins');
is(put(1, 't', 8, '{"a": "any"}', '2020-01-01'), 'applied', 'a row it has not written is not concerned');
is(vput(2, '{"a": "two"}', '{"x": 2, "y": 3}'), $kept_a, 'vclock: the server wins');
is(vput(2, '{"a": "two"}', '{"x": 2, "y": 4}', '{"a": "not ingested"}'), 'applied', 'unless it was seen');
$node->safe_psql('postgres', 'SELECT tide.start()');
tide_sync($node);
is(put(1, 't', 7, '{"a": "older"}', $after), $kept_a, 'ingested later: the clock is of the commit');
is(put(1, 't', 7, '{"a": "newer"}', now()), 'applied', 'and not after it');

# what it says survives a crash, and is not said twice
my $clocks = 'SELECT md5(string_agg(c::text, chr(10) ORDER BY c::text)) FROM tide_internal.server_clocks c';
my $was = $node->safe_psql('postgres', $clocks);
$node->stop('immediate');
restart_after_crash($node);
tide_sync($node);
is($node->safe_psql('postgres', $clocks), $was, 'clocks are the same after a crash');

# a policy that is set along with rows which the ingest stores
$node->safe_psql('postgres', q(CREATE TABLE late (id int PRIMARY KEY, a text); INSERT INTO late VALUES (1, 'a'), (2, 'a')));
$node->safe_psql('postgres', q(SELECT tide.create_shape('late', '{"table": "late"}')));
tide_sync($node);
$node->safe_psql('postgres', q(BEGIN; UPDATE late SET a = 'b' WHERE id = 2; SELECT tide.allow_writes('late', 'hlc'); COMMIT));
tide_sync($node);
$before = now();
$node->safe_psql('postgres', q(UPDATE late SET a = 'server' WHERE id = 1));
tide_sync($node);
is(put(1, 'late', 1, '{"a": "older"}', $before), $kept_a, 'a policy set along with rows of a shape counts for what follows');
$node->safe_psql('postgres', q(SELECT tide.disallow_writes('late')));

# many in one transaction, more than are stored at once
$node->safe_psql('postgres', q(INSERT INTO t SELECT n, 'many' FROM generate_series(1000, 6999) n; UPDATE t SET a = 'again' WHERE id >= 4000));
tide_sync($node);
is(put(1, 't', 6999, '{"a": "older"}', $after), $kept_a, 'one of many rows');

# tables without such columns are not looked at any more
$node->safe_psql('postgres', q(SELECT tide.disallow_writes(x::regclass) FROM unnest('{t,v,full_t,"\"Parts\""}'::text[]) x));
tide_sync($node) for 1 .. 2;
$node->safe_psql('postgres', q(UPDATE t SET a = 'nobody minds'));
tide_sync($node);
is($node->safe_psql('postgres', 'SELECT count(*) FROM tide_internal.server_clocks'), '0', 'clocks of tables taken back are removed');

# with track_commit_timestamp the time of a write is known without the ingest
$node->append_conf('postgresql.conf', "track_commit_timestamp = on\n");
$node->restart;
$node->safe_psql('postgres', q(SELECT tide.allow_writes('t', 'hlc'); SELECT tide.stop()));
$before = now();
$node->safe_psql('postgres', q(UPDATE t SET a = 'timed' WHERE id = 8));
$after = now();
is(put(1, 't', 8, '{"a": "older"}', $before), $kept_a, 'commit timestamps: an older write loses');
is(put(1, 't', 8, '{"a": "newer"}', $after), 'applied', 'a newer one wins');

done_testing();
