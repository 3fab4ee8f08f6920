# Shapes that differ in constants only, evaluated as one: rows find the shapes that hold them,
# whatever the constants' types; an error is the fault of those it would have happened to alone.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCheck;
use TideCluster;
use TideSession;

my $node = tide_new('sharing', start => 0);
my $s = TideSession->new($node);
install_check($node);

sub create { my ($name, $where, $table) = @_; return $s->query('SELECT tide.create_shape(' . sql_text($name) . ', ' . sql_json({ table => $table // 't', where => $where }) . ')'); }
sub plan_of { my ($name) = @_; return ($s->query("SELECT tide.explain_shape('$name')") =~ /plan: (.*)/)[0] // ''; }
sub held { my ($name) = @_; return $s->query("SELECT coalesce(sum(rows), 0) FROM tide.shapes WHERE name = '$name'"); }

sub all_well
{
	my ($what) = @_;
	store_ok($node, "$what: what is stored");
	return is($s->query('SELECT v FROM tide_internal.verify_all() v LIMIT 5'), '', "$what: tide.verify");
}

$s->query(<<'SQL');
CREATE TYPE colour AS ENUM ('red', 'green');
CREATE DOMAIN short AS text CHECK (length(VALUE) < 9);
CREATE TABLE t (id int PRIMARY KEY, team int, i2 smallint, i8 bigint, status text, u uuid, c colour,
	n numeric, f float8, b char(5), v varchar(9), d short, day date, at timestamptz, bin bytea, extra text);
CREATE FUNCTION fill(int) RETURNS SETOF t LANGUAGE sql AS $$
	SELECT $1, $1 % 20, $1 % 7, $1 % 7, 's' || $1 % 5, ('00000000-0000-0000-0000-00000000000' || $1 % 3)::uuid,
		(ARRAY['red', 'green']::colour[])[1 + $1 % 2], ($1 % 4)::numeric(4, 2), CASE $1 % 3 WHEN 0 THEN '-0' WHEN 1 THEN 'NaN' ELSE '1.5' END::float8,
		'b' || $1 % 2, 'v' || $1 % 3, 'd' || $1 % 3, '2026-01-01'::date + $1 % 3, '2026-01-01 00:00Z'::timestamptz + $1 % 3 * interval '1 day',
		decode('0' || $1 % 3, 'hex'), NULL $$;
INSERT INTO t SELECT f.* FROM generate_series(1, 400) i, fill(i) f;
SELECT tide.start();
SQL

# ---- which comparisons share a plan, by kind: those that do, and what they differ in
my @kinds = (
	[ 'team',           'team = 3', '4 = team', 'team IN (5, 6, NULL)', 'team = ANY (ARRAY[7])', 'team = 8::bigint', 'team = 9::smallint' ],
	[ 'team, status',   "team = 3 AND status = 's3'", "status = 's4' AND team = 4", "team IN (1, 2) AND status IN ('s1', 's2')" ],
	[ 'i2',             'i2 = 3', 'i2 = 4::bigint' ],
	[ 'i8',             'i8 = 3', 'i8 = 9999999999' ],
	[ 'status',         "status = 's1'", "status = 's2'" ],
	[ 'u',              "u = '00000000-0000-0000-0000-000000000001'", "u = '00000000-0000-0000-0000-000000000002'" ],
	[ 'c',              "c = 'red'", "c = 'green'" ],
	[ 'n',              'n = 1.0', 'n = 1.00', 'n = 2', 'n IN (3.000, 0)' ],
	[ 'f',              'f = 0', "f = 'NaN'", 'f = 1.5' ],
	[ 'b',              "b = 'b1'", "b = 'b0  '" ],
	[ 'v',              "v = 'v1'", "v = 'v2'" ],
	[ 'd',              "d = 'd1'", "d = 'd2'" ],
	[ 'day',            "day = '2026-01-01'", "day = '2026-01-02'" ],
	[ 'at',             "at = '2026-01-01 00:00Z'", "at = '2026-01-02 01:00+01'" ],
	[ 'bin',            "bin = '\\x00'", "bin = '\\x01'" ],
	[ 'lower(status)',  "lower(status) = 's1'", "lower(status) = 's2'" ],
	[ '(team % 3)',     'i8 > 2 AND team % 3 = 1', 'i8 > 2 AND team % 3 = 2' ],
	[ 'id, team',       'team = 0 AND id = 20', 'id = 41 AND team = 1', 'id = 42 AND team = 7' ],
);
for my $k (0 .. $#kinds)
{
	my ($columns, @where) = @{ $kinds[$k] };
	create("k${k}_$_", $where[$_]) for 0 .. $#where;
}
# those that do not, two of each
my @others = ('team <> 3', 'team <> 4', 'extra IS NULL', 'team = i2', 'f = 1.5::real', 'f = 0::real', 'NOT team = 1', 'team = 1 OR i2 = 1', 'team IN (1, 2) IS NULL');
create("o$_", $others[$_]) for 0 .. $#others;
all_well('over rows that were there');
for my $k (0 .. $#kinds)
{
	my ($columns, @where) = @{ $kinds[$k] };
	is(plan_of("k${k}_0"), sprintf('shared by %d shapes that differ in constants of (%s)', scalar @where, $columns), "shared: @where");
}
is(plan_of("o$_"), '', "not shared: $others[$_]") for 0 .. $#others;
is(held('k0_0'), '20', 'rows of one');
is(join(',', map { held("k7_$_") } 0 .. 3), '100,100,100,200', '1.0 and 1.00 are the same number');
is(join(',', map { held("k8_$_") } 0 .. 2), '133,134,133', 'minus zero is zero, NaN is NaN');
is(held('k17_2'), '0', 'none');

# ---- moves between them; rows that were last written before the shapes were built, and after
for my $round (1 .. 3)
{
	$s->query("UPDATE t SET (team, i2, i8, status, u, c, n, f, b, v, d, day, at, bin) =
		(SELECT team, i2, i8, status, u, c, n, f, b, v, d, day, at, bin FROM fill(t.id + $round)) WHERE id % 3 <> $round % 3");
	$s->query("UPDATE t SET team = NULL, n = 'NaN', status = NULL, c = NULL WHERE id % 11 = $round");
	$s->query("UPDATE t SET n = n + 0.000, extra = 'same' WHERE id % 5 = $round");
	$s->query("DELETE FROM t WHERE id % 17 = $round; UPDATE t SET id = id + 1000 WHERE id % 19 = $round; INSERT INTO t SELECT * FROM fill(500 + $round)");
	all_well("moves $round");
}

# ---- a template with key parts; equal shapes; another owner's
$s->query(<<'SQL');
CREATE ROLE alice; GRANT SELECT ON t TO alice; GRANT USAGE ON SCHEMA tide TO alice;
GRANT EXECUTE ON FUNCTION tide.create_shape TO alice;
SQL
create('p1', "status = 's1' AND team = params.team");
create('p2', "status = 's2' AND team = params.team");
create('same1', 'team = 3');
$s->query('SET SESSION AUTHORIZATION alice');
create('alice', 'team = 3');
$s->query('RESET SESSION AUTHORIZATION');
all_well('late ones');
is(plan_of('p1'), 'shared by 2 shapes that differ in constants of (status)', 'with a parameter');
is(plan_of('same1'), 'shared by 7 shapes that differ in constants of (team)', 'an equal one');
is(plan_of('alice'), 'its own, to be shared by shapes that differ in constants of (team)', 'not with those of another owner');
$s->query('UPDATE t SET team = team + 1');
all_well('all of them');
is($s->query("SELECT count(*) FROM tide.shapes WHERE state <> 'live'"), '0', 'all are live');

# ---- errors
$s->query('CREATE TABLE e (id int PRIMARY KEY, kind text, n int, m int)');
create("kind_$_", "10 / n = 5 AND kind = '$_'", 'e') for qw(a b);
create("guarded_$_", "kind <> 'c' AND n <> 0 AND 10 / n = $_", 'e') for 2, 5;
create("after_$_", "kind = '$_' AND 10 / m > 1", 'e') for qw(a b);
create('bare_2', '10 / n = 2', 'e');
create('bare_5', '10 / n = 5', 'e');
create('deep_2', "10 / n = 2 AND 10 / m = 3", 'e');
create('deep_5', "10 / n = 5 AND 10 / m = 3", 'e');
my $failed = "SELECT string_agg(name, ' ' ORDER BY name) FROM tide.shapes WHERE state = 'failed'";
$s->query("INSERT INTO e VALUES (1, 'a', 2, 5), (2, 'c', 3, 0), (3, 'b', 2, 4)");
all_well('no error yet');
is($s->query($failed), '', 'a row that no member wants is not evaluated further');
$s->query("INSERT INTO e VALUES (4, 'c', 2, 0)");
all_well('an error behind a constant');
is($s->query($failed), 'deep_5', 'fails those whose constant it is');
$s->query("INSERT INTO e VALUES (5, 'a', 4, 0)");
all_well('an error behind a dispatch');
is($s->query($failed), 'after_a deep_2 deep_5', 'fails those it led to');
$s->query("INSERT INTO e VALUES (6, 'c', 0, 1)");
all_well('an error in what all evaluate');
is($s->query($failed), 'after_a bare_2 bare_5 deep_2 deep_5', 'fails them all');
$s->query("UPDATE e SET n = 0, kind = 'b' WHERE id = 1");
all_well('an error before a column');
is($s->query($failed), 'after_a bare_2 bare_5 deep_2 deep_5 kind_b', 'fails those of that column');
is($s->query("SELECT string_agg(DISTINCT error, ';') FROM tide.shapes WHERE state = 'failed'"), 'division by zero', 'and says why');

# ---- user functions run as the owner, of each group its own
$s->query(<<'SQL');
GRANT SELECT ON e TO alice;
CREATE FUNCTION who(int) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN current_user; END';
SQL
create("mine_$_", "public.who(id) = '$_'", 'e') for qw(alice postgres);
$s->query('SET SESSION AUTHORIZATION alice');
create("hers_$_", "public.who(id) = '$_'", 'public.e') for qw(alice postgres);
$s->query('RESET SESSION AUTHORIZATION');
store_ok($node, 'functions');
my ($me, $rows) = ($s->query('SELECT current_user'), $s->query('SELECT count(*) FROM e'));
is(held("mine_$me"), $rows, 'as me') if $me eq 'postgres';
is(held('mine_alice'), '0', 'not as alice');
is(held('hers_alice'), $rows, 'as alice');
is(held('hers_postgres'), '0', 'not as me');

# ---- equality that is not of bytes
SKIP:
{
	skip 'no ICU', 3 if ($s->try_query("CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"))[1] =~ /ERROR/;
	$s->query("CREATE TABLE ci (id int PRIMARY KEY, name text COLLATE ci); INSERT INTO ci VALUES (1, 'Ann'), (2, 'ann'), (3, 'Bob')");
	create("ci_$_", "name = '$_'", 'ci') for qw(ann bob);
	store_ok($node, 'case-insensitive');
	is(plan_of('ci_ann'), '', 'not shared');
	is(held('ci_ann') . held('ci_bob'), '21', 'but right');
}

# ---- many; then some go
$s->query("SELECT count(tide.create_shape('m' || i, jsonb_build_object('table', 't', 'where', format('id = %s AND team IS NOT NULL', i)))) FROM generate_series(1, 2000) i");
all_well('many');
is(plan_of('m7'), 'shared by 2000 shapes that differ in constants of (id)', 'one plan');
$s->query("UPDATE t SET team = CASE WHEN team % 2 = 0 THEN NULL ELSE team + 1 END");
$s->query("SELECT count(tide.drop_shape('m' || i)) FROM generate_series(1, 1000) i");
all_well('half of them');
is($s->query("SELECT count(*) FROM tide.shapes WHERE name LIKE 'm%' AND state = 'live' AND name NOT LIKE 'mine%'"), '1000', 'are left');
is(plan_of('m1007'), 'shared by 1000 shapes that differ in constants of (id)', 'and share a plan');
$s->quit;
$node->stop;
done_testing();
