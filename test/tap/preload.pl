# A server starts with the library preloaded, and the extension can be made there
# and in a second database; a crash of the postmaster is survived.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('preload', start => 0);

like($node->safe_psql('postgres', 'SHOW shared_preload_libraries'), qr/pg_tide/, 'the library is preloaded');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_extension WHERE extname = 'pg_tide'"),
	'1', 'the extension is there');
$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->safe_psql('second', 'CREATE EXTENSION pg_tide');
is($node->safe_psql('second', 'SELECT op_id FROM tide_internal.checkpoints'), '0', 'a second database has its own state');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots'), '0', 'no slot before tide.start');

# committed before the kill, so there after it
$node->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)');
$node->kill9;
restart_after_crash($node);
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), '100', 'back after kill -9 of the postmaster');
like($node->safe_psql('postgres', 'SHOW shared_preload_libraries'), qr/pg_tide/, 'with the library');

# a standby made of it has all of it
my $standby = tide_standby($node, 'standby');
is($standby->safe_psql('postgres', 'SELECT pg_is_in_recovery() AND EXISTS (SELECT FROM tide_internal.checkpoints)'),
	't', 'a standby has the tables');
$standby->stop;

$node->stop;
done_testing();
