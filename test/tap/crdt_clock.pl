# The server's clock: it grows across sessions, databases and restarts, also while many
# sessions ask at once; without preload each session has its own. Clocks survive a binary copy.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('clock', start => 0);
$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->safe_psql('second', 'CREATE EXTENSION pg_tide');

sub now { return $node->safe_psql($_[0] // 'postgres', 'SELECT tide.hlc_now()'); }

# a session after the other, here and there; text order is clock order
my @clocks = map { now($_ % 2 ? 'second' : 'postgres') } 1 .. 6;
is_deeply([ sort @clocks ], \@clocks, 'the clock grows across sessions and databases');

# many at once: every clock is given once, and grows in each session
$node->safe_psql('postgres', 'CREATE TABLE given (session int, i bigserial, h tide.hlc)');
my $script = $node->basedir . '/now.sql';
append_to_file($script, "INSERT INTO given (session, h) SELECT :client_id, tide.hlc_now() FROM generate_series(1, 100);\n");
$node->command_ok([ 'pgbench', '-n', '-c', '8', '-j', '2', '-t', '20', '-f', $script, 'postgres' ], '8 sessions ask at once');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT h) FROM given'), '16000|16000', 'no clock is given twice');
is($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT tide.hlc_compare(h, lag(h) OVER (PARTITION BY session ORDER BY i)) AS step FROM given) x WHERE step <= 0'),
	'0', 'each session saw it grow');

# one session takes in a clock that is ahead, all are after it
my $ahead = $node->safe_psql('postgres', q{SELECT tide.make_hlc(clock_timestamp() + interval '20 s', 9, '00000000-0000-0000-0000-000000000001')});
$node->safe_psql('second', "SELECT tide.hlc_observe('$ahead')");
cmp_ok(now(), 'gt', $ahead, 'what one session observed counts for all');

my $before = $clocks[-1];
$node->restart;
cmp_ok(now(), 'gt', $before, 'it goes on after a restart');
$before = now();
$node->kill9;
restart_after_crash($node);
cmp_ok(now(), 'gt', $before, 'and after a crash');

# out and in again, by the binary forms
my $file = $node->basedir . '/given.copy';
$node->safe_psql('postgres', 'CREATE TABLE copied (LIKE given)');
$node->safe_psql('postgres', "\\copy given TO '$file' (FORMAT binary)");
$node->safe_psql('postgres', "\\copy copied FROM '$file' (FORMAT binary)");
is($node->safe_psql('postgres', 'SELECT count(*) FROM given g JOIN copied c USING (session, i) WHERE g.h OPERATOR(tide.=) c.h'),
	'16000', 'a binary copy has the same clocks');
$node->safe_psql('postgres', q{CREATE TABLE narrow (h bytea); INSERT INTO narrow VALUES ('\x0102'); CREATE TABLE wide (h tide.hlc)});
$node->safe_psql('postgres', "\\copy narrow TO '$file' (FORMAT binary)");
my ($rc, $out, $err) = $node->psql('postgres', "\\copy wide FROM '$file' (FORMAT binary)");
like($err, qr/insufficient data left in message/, 'a binary clock that is too short is refused');

# without shared memory: a session's own
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->restart;
is($node->safe_psql('postgres', <<'SQL'), 't', 'without preload it grows within a session');
CREATE TABLE mine AS SELECT i, tide.hlc_now() AS h FROM generate_series(1, 10000) i;
SELECT bool_and(step > 0) FROM (SELECT tide.hlc_compare(h, lag(h) OVER (ORDER BY i)) AS step FROM mine) x
SQL
cmp_ok(now(), 'gt', $before, 'and goes on');

$node->stop;
done_testing();
