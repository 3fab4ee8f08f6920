# Enemies: an author of shapes and owner of tables whose types, casts, operators, functions and settings are
# traps, and clients with forged cookies and temporary objects. A trap writes down whose rights it ran
# with: nobody's but its maker's may be there, unless he himself had asked for it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;
use TideToken;

my $json = JSON::PP->new->canonical->allow_nonref;
my $node = tide_new('attack');
$node->safe_psql('postgres', <<"SQL");
SELECT tide.add_jwt_key('one', 'HS256', '$SECRET');
CREATE ROLE mallory LOGIN;
CREATE ROLE ann LOGIN;
CREATE ROLE boss LOGIN SUPERUSER;
CREATE SCHEMA m AUTHORIZATION mallory;
GRANT EXECUTE ON FUNCTION tide.create_shape, tide.replace_shape, tide.drop_shape, tide.explain_shape TO mallory;
CREATE TABLE trapped (who text, backend text, what text);
GRANT INSERT ON trapped TO PUBLIC;
CREATE TABLE secrets (id int PRIMARY KEY, owner text, secret text);
INSERT INTO secrets VALUES (1, 'ann', 'of ann'), (2, 'bob', 'of bob');
SELECT tide.create_shape('secrets', '{"table": "secrets", "where": "owner = claims.sub"}');
SQL

sub as
{
	my ($user, $sql, %opts) = @_;
	my ($out, $err) = ('', '');
	$node->psql('postgres', "\\set VERBOSITY verbose\n\\set SHOW_CONTEXT never\n$sql", stdout => \$out, stderr => \$err,
		on_error_stop => 0, extra_params => [ '-U', $user ]);
	return wantarray ? ($out, $err) : $out . $err;
}

sub trapped
{
	my ($name, $allowed) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$allowed //= 'mallory';
	return is($node->safe_psql('postgres', "SELECT DISTINCT who, backend, what FROM trapped WHERE who <> ALL ('{$allowed}')"), '', $name);
}

# ---- traps
my $made = as('mallory', <<'SQL');
SET search_path = m, pg_catalog;
CREATE FUNCTION m.trap(what text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	INSERT INTO public.trapped SELECT current_user, a.backend_type, $1 FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a;
	RETURN true;
EXCEPTION WHEN OTHERS THEN
	RAISE WARNING 'trap % % %', $1, current_user, SQLERRM;
	RETURN true;
END $$;
CREATE FUNCTION m.quiet(what text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN m.trap($1); END $$;
CREATE FUNCTION m.per_row(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN m.trap('per row'); END $$;
CREATE DOMAIN m.dom AS int CHECK (m.trap('domain'));
CREATE DOMAIN m.tdom AS text CHECK (m.trap('text domain'));
CREATE TYPE m.comp AS (d m.dom, t m.tdom);
CREATE TYPE m.rng AS RANGE (SUBTYPE = m.dom);
CREATE TYPE m.en AS ENUM ('a', 'b');
CREATE FUNCTION m.en_json(m.en) RETURNS json LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM m.trap('cast to json'); RETURN '1'; END $$;
CREATE FUNCTION m.comp_json(m.comp) RETURNS json LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM m.trap('composite to json'); RETURN '1'; END $$;
CREATE FUNCTION m.comp_jsonb(m.comp) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM m.trap('composite to jsonb'); RETURN '1'; END $$;
CREATE FUNCTION m.en_text(m.en) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM m.trap('cast to text'); RETURN 'x'; END $$;
CREATE CAST (m.en AS json) WITH FUNCTION m.en_json(m.en);
CREATE CAST (m.comp AS json) WITH FUNCTION m.comp_json(m.comp) AS IMPLICIT;
CREATE CAST (m.comp AS jsonb) WITH FUNCTION m.comp_jsonb(m.comp) AS IMPLICIT;
CREATE CAST (m.en AS text) WITH FUNCTION m.en_text(m.en) AS IMPLICIT;
-- lookalikes in front of the real ones
CREATE FUNCTION m.eq(int, int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM m.trap('operator'); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
CREATE OPERATOR m.= (FUNCTION = m.eq, LEFTARG = int, RIGHTARG = int);
CREATE FUNCTION m.texteq(text, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM m.trap('text operator'); RETURN $1 OPERATOR(pg_catalog.=) $2; END $$;
CREATE OPERATOR m.= (FUNCTION = m.texteq, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION m.en_eq(m.en, m.en) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM m.trap('enum operator'); RETURN true; END $$;
CREATE OPERATOR m.= (FUNCTION = m.en_eq, LEFTARG = m.en, RIGHTARG = m.en);
CREATE FUNCTION m.lower(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM m.trap('function'); RETURN $1; END $$;
CREATE FUNCTION m.sqlf(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT m.quiet('inlined') $$;
CREATE TABLE m.t (id int PRIMARY KEY, n int, name text, d m.dom, c m.comp, r m.rng, a m.dom[], e m.en,
	v text DEFAULT m.quiet('default')::text, g int GENERATED ALWAYS AS (CASE WHEN m.quiet('generated') THEN 1 END) STORED);
CREATE TABLE m.dkey (id m.dom PRIMARY KEY, e m.en);
CREATE TABLE m.ckey (id m.comp, e m.en);
ALTER TABLE m.ckey REPLICA IDENTITY FULL;
CREATE TABLE m.members (t int, who m.tdom, PRIMARY KEY (t, who));
CREATE TABLE m.sub (id int PRIMARY KEY, t int REFERENCES m.t, e m.en, n int);
CREATE INDEX ON m.t (id) WHERE m.quiet('index predicate');
CREATE INDEX ON m.t ((m.lower(name)));
ALTER TABLE m.t ADD CHECK (m.quiet('check constraint'));
CREATE STATISTICS m.stat ON (m.lower(name)), n FROM m.t;
CREATE POLICY p ON m.t USING (m.quiet('policy'));
CREATE FUNCTION m.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM m.trap('trigger'); RETURN NEW; END $$;
CREATE TRIGGER note BEFORE INSERT OR UPDATE ON m.t FOR EACH ROW EXECUTE FUNCTION m.note();
INSERT INTO m.t SELECT i, i, 'N' || i, i, ROW(i, 'x')::m.comp, m.rng(i, i + 5), ARRAY[i]::m.dom[], 'a' FROM generate_series(1, 5) i;
INSERT INTO m.dkey SELECT i, 'a' FROM generate_series(1, 3) i;
INSERT INTO m.ckey SELECT ROW(i, 'x')::m.comp, 'b' FROM generate_series(1, 3) i;
INSERT INTO m.members VALUES (1, 'ann'), (2, 'ann');
INSERT INTO m.sub SELECT i, i, 'a', i FROM generate_series(1, 5) i;
SQL
is($made, '', 'traps are set');
is($node->safe_psql('postgres', q{SELECT count(*) > 10 FROM trapped WHERE who = 'mallory'}), 't', 'and work');

# a planner that meets the traps would run them: what the superuser does by hand shows it
as('boss', 'SELECT * FROM m.t WHERE id = 1');
is($node->safe_psql('postgres', q{SELECT count(*) > 0 FROM trapped WHERE who = 'boss'}), 't', 'a superuser who reads the table steps into one');
$node->safe_psql('postgres', 'TRUNCATE trapped');

# ---- shapes of it, in as many ways as there are
my %shapes = (
	all => '{"table": "m.t"}',
	by_id => '{"table": "m.t", "where": "id = params.id"}',
	by_name => '{"table": "m.t", "where": "name = params.name"}',
	by_lower => '{"table": "m.t", "where": "lower(name) = params.name"}',
	by_domain => '{"table": "m.t", "where": "d = params.d"}',
	by_domains => '{"table": "m.t", "where": "d = ANY (params.d)"}',
	by_element => '{"table": "m.t", "where": "params.d = ANY (a)"}',
	by_array => '{"table": "m.t", "where": "a = params.a"}',
	by_range => '{"table": "m.t", "where": "r = params.r"}',
	by_composite => '{"table": "m.t", "where": "c = params.c"}',
	by_field => '{"table": "m.t", "where": "(c).d = params.d"}',
	by_enum => '{"table": "m.t", "where": "e = params.e"}',
	by_enum_text => '{"table": "m.t", "where": "e::text = params.e"}',
	by_cast => '{"table": "m.t", "where": "n = params.n::m.dom"}',
	by_claim => '{"table": "m.t", "where": "d = claims.sub::m.dom"}',
	filtered => '{"table": "m.t", "where": "m.quiet(\'filter\') AND n > 0 AND n = 1"}',
	per_row => '{"table": "m.t", "where": "m.per_row(n)"}',
	per_row_key => '{"table": "m.t", "where": "m.lower(name) = params.name"}',
	per_row_sub => '{"table": "m.sub", "where": "n = params.n", "include": {"t": {"table": "m.t", "where": "m.per_row(n)"}}}',
	inlined => '{"table": "m.t", "where": "m.sqlf(n)"}',
	folded => '{"table": "m.t", "where": "m.quiet(\'folded\')"}',
	ordered => '{"table": "m.t", "order_by": "lower(name)", "limit": 2}',
	ordered_too => '{"table": "m.t", "order_by": "e", "limit": 2}',
	windowed => '{"table": "m.t", "where": "now() - interval \'1 day\' < (lower(name) || \'2000-01-01\')::timestamptz"}',
	dkey => '{"table": "m.dkey"}',
	dkey_id => '{"table": "m.dkey", "where": "id = params.id"}',
	ckey => '{"table": "m.ckey"}',
	subquery => '{"table": "m.t", "where": "id IN (SELECT t FROM m.members WHERE who = claims.sub)"}',
	subquery_not => '{"table": "m.t", "where": "id NOT IN (SELECT t FROM m.members WHERE m.quiet(\'subquery\'))"}',
	subquery_dom => '{"table": "m.t", "where": "d IN (SELECT t FROM m.members WHERE who = claims.sub::m.tdom)"}',
	exist => '{"table": "m.t", "where": "EXISTS (SELECT FROM m.sub WHERE sub.t = t.id AND sub.n = params.n)"}',
	tree => '{"table": "m.t", "include": {"sub": {"table": "m.sub", "order_by": "e", "limit": 1}}}',
	tree_on => '{"table": "m.t", "include": {"sub": {"table": "m.sub", "on": "sub.n = t.n AND m.quiet(\'join\')"}}}',
	tree_key => '{"table": "m.sub", "where": "n = params.n", "include": {"t": {"table": "m.t", "where": "lower(name) = \'n1\'"}}}');
my %refused;
for my $path ('m, pg_catalog, public', 'public')
{
	for my $name (sort keys %shapes)
	{
		my $shape = $name . ($path =~ /^m/ ? '_m' : '');
		my ($out, $err) = as('mallory', "SET search_path = $path; SELECT tide.create_shape('$shape', " . sql_json($json->decode($shapes{$name})) . ');');
		next if $err eq '';
		$refused{$shape} = $err =~ /ERROR:  (\w+)/ ? $1 : $err;
	}
}
note("refused: $_ $refused{$_}") for sort keys %refused;
is(join(' ', grep { $_ !~ /^(?:0A000|42P17|22023|42703|42883|42804|42501|42P10|42725)$/ } values %refused), '', 'shapes are made, or refused with a reason');
cmp_ok(2 * keys(%shapes) - keys(%refused), '>=', 30, 'most are made');
trapped('defining shapes');

$node->psql('postgres', q{SELECT tide.sync('10min')}, on_error_stop => 0);
wait_for_sql($node, q{SELECT bool_and(state IN ('live', 'failed')) FROM tide.shapes});
note($node->safe_psql('postgres', q{SELECT name, state, error FROM tide.shapes WHERE state = 'failed'}));
trapped('building them');
as('mallory', q{INSERT INTO m.t SELECT i, i, 'N' || i, i, ROW(i, 'x')::m.comp, m.rng(i, i + 5), ARRAY[i]::m.dom[], 'b' FROM generate_series(6, 9) i;
	UPDATE m.t SET n = n + 1, name = 'M', e = 'b' WHERE id < 4; DELETE FROM m.t WHERE id = 9; UPDATE m.dkey SET e = 'b'; UPDATE m.ckey SET e = 'a';
	INSERT INTO m.members VALUES (3, 'ann'); UPDATE m.sub SET n = n + 1});
$node->psql('postgres', q{SELECT tide.sync('10min')}, on_error_stop => 0);
trapped('following its changes');
is($node->safe_psql('postgres', q{SELECT DISTINCT who FROM trapped WHERE what = 'per row' AND backend IS DISTINCT FROM 'client backend'}), 'mallory',
	"the ingest runs the author's code with the author's rights");

# ---- who pulls them
my %params = (id => 1, name => 'N1', d => 1, a => '{1}', r => '[1,6)', c => '(1,x)', e => 'a', n => 2);
my $pulled = 0;
for my $shape (split /\n/, $node->safe_psql('postgres', q{SELECT name FROM tide.shapes ORDER BY name}))
{
	my ($definition) = map { $shapes{$_} // '' } $shape =~ s/_m$//r;
	my %p = map { $_ => $shape =~ /^by_domains/ ? [1] : $params{$_} } $definition =~ /params\.(\w+)/g;
	my %request = (shapes => { $shape => [ \%p ] });
	for my $user ('ann', 'boss')
	{
		my ($out, $err) = as($user, 'SELECT tide.pull(' . sql_json({ %request, token => token(sub => $user eq 'ann' ? 'ann' : '1') }) . ')');
		$pulled++ if $err eq '';
		note("$user $shape $err") if $err ne '';
	}
	as('boss', "SELECT * FROM tide.verify('$shape', " . sql_json(\%p) . q{, '{"sub": "ann"}')});
	as('boss', "SELECT tide.explain_shape('$shape')");
	as('boss', "SELECT tide.client_schema(ARRAY['$shape'], '$_')") for qw(sqlite postgres);
}
cmp_ok($pulled, '>=', 40, 'pulls were answered');
trapped('pulls, verify, explain_shape and client_schema');

# ---- changes under the shapes: what was harmless becomes a trap
as('mallory', q{SET search_path = m, public;
	CREATE TABLE m.late (id int PRIMARY KEY, n int, name text);
	INSERT INTO m.late VALUES (1, 1, 'a');
	SELECT tide.create_shape('late', '{"table": "m.late", "where": "n = params.n"}')});
$node->psql('postgres', q{SELECT tide.sync('10min')}, on_error_stop => 0);
as('mallory', q{ALTER TABLE m.late ALTER n TYPE m.dom; INSERT INTO m.late VALUES (2, 1, 'b')});
$node->psql('postgres', q{SELECT tide.sync('10min')}, on_error_stop => 0);
as('mallory', q{ALTER TABLE m.late ALTER name TYPE m.en USING 'a', ADD COLUMN c m.comp DEFAULT ROW(1, 'x')});
$node->psql('postgres', q{SELECT tide.sync('10min')}, on_error_stop => 0);
as('mallory', q{DROP TABLE m.late; CREATE VIEW m.late AS SELECT 1 AS id, 1 AS n, m.trap('view') AS name});
$node->psql('postgres', q{SELECT tide.sync('10min')}, on_error_stop => 0);
as($_, q{SELECT tide.pull('{"shapes": {"late": [{"n": 1}]}}')}) for qw(ann boss);
as('mallory', q{DROP VIEW m.late; CREATE TABLE m.late (id m.dom PRIMARY KEY, n m.dom, name m.en); CREATE INDEX ON m.late (n) WHERE m.quiet('late'); INSERT INTO m.late VALUES (1, 1, 'a')});
$node->psql('postgres', q{SELECT tide.sync('10min')}, on_error_stop => 0);
as($_, q{SELECT tide.pull('{"shapes": {"late": [{"n": 1}]}}')}) for qw(ann boss);
trapped('tables that change into traps');

# ---- rights over what is not his
like(as('mallory', q{SELECT tide.create_shape('steal', '{"table": "public.secrets"}')}), qr/42501/, 'a table he may not read');
like(as('mallory', q{SELECT tide.create_shape('steal', '{"table": "m.t", "where": "name IN (SELECT secret FROM public.secrets)"}')}), qr/42501/, 'not even in a subquery');
like(as('mallory', q{SELECT tide.create_shape('steal', '{"table": "m.t", "include": {"s": {"table": "public.secrets", "on": "s.id = t.id"}}}')}), qr/42501/, 'or by an include');
like(as('mallory', q{SELECT tide.replace_shape('secrets', '{"table": "m.t"}')}), qr/42501/, "another's shape cannot be replaced");
like(as('mallory', q{SELECT tide.drop_shape('secrets')}), qr/42501/, 'nor dropped');
like(as('mallory', q{SELECT tide.create_shape('steal', '{"table": "tide_internal.jwt_keys"}')}), qr/ERROR/, 'not the table of keys');
like(as('mallory', "SELECT tide.$_"), qr/42501/, "tide.$_ is not his")
  for ("add_jwt_key('x', 'HS256', repeat('x', 32)::bytea)", "drop_jwt_key('one')", "trust_role('mallory')", "allow_writes('public.secrets')", 'reset()', "verify('secrets')", "claim('sub')");
like(as('mallory', 'SELECT * FROM tide_internal.jwt_keys'), qr/42501/, 'nor is the table of keys');
like(as('mallory', 'SELECT * FROM tide_shadow.t1'), qr/42501/, 'nor are shadow tables');

# ---- lookalikes in the way of those who pull and push
$node->safe_psql('postgres', q{
	CREATE TABLE notes (id int PRIMARY KEY, owner text, body text);
	GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO ann, mallory;
	SELECT tide.allow_writes('notes');
	SELECT tide.allow_writes('m.t');
	GRANT USAGE ON SCHEMA m TO PUBLIC;
});
$node->safe_psql('postgres', 'TRUNCATE trapped');
my ($out, $err) = as('ann', q{SET search_path = m, public;
	CREATE TEMP TABLE clients (client_id uuid, last_mutation_id bigint, role name, subject text);
	CREATE TEMP TABLE mutations (x int);
	CREATE TEMP TABLE pg_class (x int);
	CREATE TEMP TABLE notes (id int PRIMARY KEY, owner text, body text);
	CREATE FUNCTION pg_temp.jsonb_to_record(jsonb) RETURNS record LANGUAGE plpgsql AS $$ BEGIN PERFORM m.trap('temp'); RETURN NULL; END $$;
	CREATE DOMAIN pg_temp.uuid AS text CHECK (m.trap('temp uuid'));
	SET search_path = pg_temp, m, public, pg_catalog;
	SELECT tide.push('{"client": "a77ac000-0000-4000-8000-000000000001", "mutations": [
		{"id": 1, "op": "insert", "table": "notes", "key": {"id": 1}, "values": {"body": "x"}},
		{"id": 2, "op": "insert", "table": "notes", "key": {"id": 1}, "values": {"body": "y"}},
		{"id": 3, "op": "update", "table": "notes", "key": {"id": 1}, "values": {"body": "z"}},
		{"id": 4, "op": "delete", "table": "notes", "key": {"id": 9}}]}');
	SELECT tide.pull('{"client": "a77ac000-0000-4000-8000-000000000001", "shapes": {"secrets": {}}}') IS NOT NULL;
	SELECT count(*) FROM pg_temp.notes;});
is(() = $out =~ /"(?:applied|merged)"/g, 4, 'temporary lookalikes are in nobody\'s way') or diag($out . $err);
is($node->safe_psql('postgres', 'SELECT * FROM public.notes'), '1||z', 'the real table was written');
trapped('temporary traps', '');

# a trigger that pushes for the same client in the midst of its push, or plays with settings
$node->safe_psql('postgres', q{
	CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF NEW.body = 'nested' THEN
			PERFORM tide.push('{"client": "a77ac000-0000-4000-8000-000000000002", "mutations": [{"id": 1, "op": "insert", "table": "notes", "key": {"id": 77}, "values": {"body": "inner"}}]}');
		ELSIF NEW.body = 'settings' THEN
			PERFORM set_config('search_path', 'm', false), set_config('TimeZone', 'Asia/Tokyo', false), set_config('row_security', 'off', false);
		END IF;
		RETURN NEW;
	END $$;
	CREATE TRIGGER meddle BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION meddle();
});
$out = as('ann', q{SELECT tide.push('{"client": "a77ac000-0000-4000-8000-000000000002", "mutations": [{"id": 1, "op": "insert", "table": "notes", "key": {"id": 70}, "values": {"body": "nested"}}]}')});
note($out);
is($node->safe_psql('postgres', q{SELECT count(*) = count(DISTINCT mutation_id) FROM tide_internal.mutations WHERE client_id::text LIKE '%02'}), 't', 'a nested push: still once each');
$out = as('ann', q{SELECT tide.push('{"client": "a77ac000-0000-4000-8000-000000000003", "mutations": [{"id": 1, "op": "insert", "table": "notes", "key": {"id": 71}, "values": {"body": "settings"}},
	{"id": 2, "op": "insert", "table": "notes", "key": {"id": 72}, "values": {"body": "after"}}]}')});
is(() = $out =~ /"applied"/g, 2, 'settings of a trigger do not disturb the push') or diag($out);

# ---- forged cookies
tide_sync($node);
sub pull_raw
{
	my ($sub, %request) = @_;
	return as('ann', 'SELECT tide.pull(' . sql_json({ shapes => { secrets => {} }, token => token(sub => $sub), %request }) . ')');
}
my $ann = $json->decode(pull_raw('ann'));
my $bob = $json->decode(pull_raw('bob'));
is($ann->{changes}[0]{row}{secret}, 'of ann', "ann's secret");
my ($bucket) = map { $_->{bucket} } @{ $ann->{buckets} };
my $forged = pull_raw('bob', cookie => $ann->{cookie});
unlike($forged, qr/of ann/, "ann's cookie does not open ann's bucket");
is_deeply($json->decode($forged)->{drop}, [$bucket], 'it is dropped');
my $text = $json->encode($bob->{cookie});
(my $other = $text) =~ s/\b$bob->{buckets}[0]{bucket}\b/$bucket/g;
unlike(pull_raw('bob', cookie => $json->decode($other)), qr/of ann/, "nor does his own with ann's bucket in it");
for my $number ('-1', '0', '9223372036854775807', '1e300', '"x"', 'null', '[]', '{}', '1.5', '99999999999999999999')
{
	(my $bad = $text) =~ s/\d{1,10}(?=[,\]}])/$number/g;
	my $answer = pull_raw('bob', cookie => eval { $json->decode($bad) } // $bad);
	unlike($answer, qr/of ann|XX000|server closed/, "numbers $number in a cookie");
}
unlike(pull_raw('bob', resync => [$bucket]), qr/of ann/, "a resync of ann's bucket");

# ---- another client's id
as('ann', 'SELECT tide.push(' . sql_json({ client => 'a77ac000-0000-4000-8000-00000000000a', token => token(sub => 'ann'),
			mutations => [ { id => 1, op => 'insert', table => 'notes', key => { id => 100 }, values => { body => 'private' } },
				{ id => 2, op => 'insert', table => 'nowhere', key => { id => 100 } } ] }) . ')');
tide_sync($node);
for my $sub ('bob', undef)
{
	my %who = defined $sub ? (token => token(sub => $sub)) : ();
	my $call = sql_json({ client => 'a77ac000-0000-4000-8000-00000000000a', %who, shapes => {} });
	like(as('ann', "SELECT tide.pull($call)"), qr/28000: could not authenticate the request/, "another's client is not pulled for");
	$call = sql_json({ client => 'a77ac000-0000-4000-8000-00000000000a', %who, mutations => [ { id => 1, op => 'delete', table => 'notes', key => { id => 100 } } ] });
	like(as('ann', "SELECT tide.push($call)"), qr/28000: could not authenticate the request/, 'nor pushed for, nor read from');
}

# ---- owners of shapes who lose their rights
$node->safe_psql('postgres', q{
	CREATE TABLE lent (id int PRIMARY KEY, a text, b text);
	CREATE TABLE lent_too (id int PRIMARY KEY, who text);
	INSERT INTO lent VALUES (1, 'a', 'b');
	INSERT INTO lent_too VALUES (1, 'ann');
	GRANT SELECT ON lent, lent_too TO mallory;
});
is(as('mallory', q{SELECT tide.create_shape('lent', '{"table": "lent", "columns": ["a"], "where": "id IN (SELECT id FROM lent_too WHERE who = claims.sub)"}')}), '', 'a shape of what was lent');
tide_sync($node);
wait_for_sql($node, q{SELECT state = 'live' FROM tide.shapes WHERE name = 'lent'});
sub lent { return as('ann', 'SELECT tide.pull(' . sql_json({ shapes => { lent => {} }, token => token(sub => 'ann') }) . ')'); }
like(lent(), qr/"row":/, 'is pulled');
my @cases = (
	[ 'SELECT taken', 'REVOKE SELECT ON lent FROM mallory', 'GRANT SELECT ON lent TO mallory' ],
	[ 'SELECT taken of a table in a subquery', 'REVOKE SELECT ON lent_too FROM mallory', 'GRANT SELECT ON lent_too TO mallory' ],
	[ 'a column shown taken', 'REVOKE SELECT ON lent FROM mallory; GRANT SELECT (id, b) ON lent TO mallory', 'GRANT SELECT (a) ON lent TO mallory' ],
	[ 'a column used taken', 'REVOKE SELECT ON lent_too FROM mallory; GRANT SELECT (id) ON lent_too TO mallory', 'GRANT SELECT (who) ON lent_too TO mallory' ],
	[ 'row-level security', 'ALTER TABLE lent ENABLE ROW LEVEL SECURITY', 'ALTER TABLE lent DISABLE ROW LEVEL SECURITY' ]);
for my $case (@cases)
{
	my ($name, $take, $give) = @$case;
	$node->safe_psql('postgres', $take);
	my $answer = lent();
	like($answer, qr/ERROR:  (?:42501|55000): shape "lent" is not available/, "$name: refused");
	$node->safe_psql('postgres', $give);
	tide_sync($node);
	wait_for_sql($node, q{SELECT state = 'live' FROM tide.shapes WHERE name = 'lent'}) if $name =~ /security/;
	like(lent(), qr/"row":/, "$name: and back");
}
ok(index(slurp_file($node->logfile), base64url($HEADER)) < 0, 'the log has not seen a token, whatever went wrong');

# ---- a server without preload, where a session may make up settings before the library knows better
my $late = tide_new('late', preload => 0, start => 0);
$late->safe_psql('postgres', 'CREATE ROLE ann LOGIN; GRANT EXECUTE ON FUNCTION tide.claim TO ann');
for my $how ([ q{ options='-c tide.request_claims={\"sub\":\"forged\"} -c tide.jwt_leeway=600 -c tide.jwt_require_exp=off'}, '' ],
	[ '', q{SET tide.request_claims = '{"sub": "forged"}'; SET tide.jwt_leeway = 600; SET tide.jwt_require_exp = off;} ],
	[ '', q{SELECT set_config('tide.request_claims', '{"sub": "forged"}', false);} ])
{
	my ($out, $err) = ('', '');
	$late->psql('postgres', "$how->[1] SELECT concat_ws('|', coalesce(tide.claim('sub'), 'none'), current_setting('tide.jwt_leeway'), current_setting('tide.jwt_require_exp'))",
		stdout => \$out, stderr => \$err, connstr => $late->connstr('postgres') . " user=ann$how->[0]");
	is((split /\n/, $out)[-1], 'none|30s|on', 'settings made before the library is loaded do not count') or diag($err);
}
done_testing();
