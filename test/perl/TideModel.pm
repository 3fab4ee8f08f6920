package TideModel;

=head1 NAME

TideModel - random transactions, and an oracle that knows what clients should have

=head1 SYNOPSIS

    model_schema($session);               # tables, history triggers, a slot for the commit order
    my $sql = model_transaction($n);      # text of the n-th random transaction
    my $oracle = oracle_new($session);
    oracle_advance($oracle, '0/1234567'); # to the state after all commits up to there
    my $rows = $oracle->{state}{'A.all'}; # { key => row }

=head1 NOTES

The oracle shares nothing with pg_tide: row triggers write each change with the shapes it
belongs to into a history table, by conditions of their own; a slot of plugin
test_decoding tells in which order, and where in the WAL, transactions committed. The state at
an LSN is the fold of the history of the transactions that committed up to it.

Rows are the text of to_jsonb(); long ones are cut to their beginning and a digest.

=cut

use strict;
use warnings;
use Exporter 'import';
use Time::HiRes qw(usleep);

our @EXPORT = qw(model_schema model_transaction model_fill oracle_new oracle_advance lsn_number
  %model_shapes %model_requests $model_row);

# what pull_page keeps of a row
our $model_row = q{model.digest(c->'row')};

our %model_shapes = (
	ints => '{"table": "ints"}',
	part => '{"table": "ints", "where": "part = params.part"}',
	some => '{"table": "ints", "where": "n % 3 = 0 AND ok AND v <> \'\'", "columns": ["v", "n"]}',
	mine => '{"table": "uuids", "where": "owner = claims.sub AND title IS NOT NULL"}',
	uuids => '{"table": "uuids", "columns": ["num", "title"]}',
	pairs => '{"table": "pairs"}',
	kinds => '{"table": "pairs", "where": "part IN (params.a, params.b) AND kind <> \'odd\'"}',
	tagged => '{"table": "ints", "where": "tags @> ARRAY[\'x\'] AND (j ->> \'a\') = ANY (params.list)"}');

# two clients: A goes on and on, B begins anew every now and then
our %model_requests = (
	A => {
		client => '00000000-0000-4000-8000-00000000000a',
		claims => { sub => 2 },
		shapes => {
			ints => [ {} ], part => [ { part => 1 }, { part => 3 } ], some => [ {} ], mine => [ {} ],
			pairs => [ {} ], kinds => [ { a => 0, b => 2 } ] } },
	B => {
		client => '00000000-0000-4000-8000-00000000000b',
		claims => { sub => 3 },
		shapes => {
			part => [ { part => 0 }, { part => 1 }, { part => 4 } ], uuids => [ {} ], mine => [ {} ],
			kinds => [ { a => 1, b => 1 } ], tagged => [ { list => [ '1', 'é' ] } ] } });

my $schema = <<'SQL';
CREATE SCHEMA model;
CREATE TYPE kind AS ENUM ('odd', 'even', 'none');
CREATE TABLE ints (
	id int PRIMARY KEY, part int, n bigint, v text, big text, f8 float8, f4 float4, at timestamptz,
	tags text[], j jsonb, ok boolean, b bytea, span interval, dropped int);
ALTER TABLE ints DROP COLUMN dropped;
CREATE TABLE uuids (
	title text, id uuid PRIMARY KEY, owner int, num numeric, body text, js json, day date,
	moment timestamp, net inet, span int4range, nums int[], small smallint, fixed char(6));
ALTER TABLE uuids REPLICA IDENTITY FULL;
CREATE TABLE pairs (part int, no int, kind kind, note varchar(50), code text, body text, PRIMARY KEY (code, no)) PARTITION BY RANGE (no);
CREATE TABLE pairs_low PARTITION OF pairs FOR VALUES FROM (MINVALUE) TO (6);
CREATE TABLE pairs_mid (gone text, code text NOT NULL, note varchar(50), body text, kind kind, part int, no int NOT NULL);
ALTER TABLE pairs_mid DROP COLUMN gone, REPLICA IDENTITY FULL;
ALTER TABLE pairs ATTACH PARTITION pairs_mid FOR VALUES FROM (6) TO (1000);
CREATE TABLE pairs_high PARTITION OF pairs DEFAULT PARTITION BY HASH (code);
CREATE TABLE pairs_high_0 PARTITION OF pairs_high FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE pairs_high_1 PARTITION OF pairs_high FOR VALUES WITH (MODULUS 2, REMAINDER 1);

CREATE FUNCTION model.digest(r jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE WHEN length(r::text) > 600 THEN left(r::text, 150) || ' ... ' || md5(r::text) ELSE r::text END $$;

CREATE SEQUENCE model.seq;
CREATE TABLE model.history (
	xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
	seq bigint NOT NULL DEFAULT nextval('model.seq'),
	source text NOT NULL, old_key text, new_key text, shapes jsonb);
CREATE INDEX ON model.history (xid);

-- shapes: {shape: row}, by the shapes' conditions written once more
CREATE FUNCTION model.note_ints() RETURNS trigger LANGUAGE plpgsql
SET timezone = 'UTC' SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET bytea_output = 'hex' SET extra_float_digits = 1 AS $$
DECLARE r jsonb; d jsonb;
BEGIN
	IF TG_OP <> 'DELETE' THEN
		r := to_jsonb(NEW);
		d := to_jsonb(model.digest(r));
	END IF;
	INSERT INTO model.history (source, old_key, new_key, shapes) VALUES ('ints',
		CASE WHEN TG_OP <> 'INSERT' THEN jsonb_build_object('id', OLD.id) END,
		CASE WHEN TG_OP <> 'DELETE' THEN jsonb_build_object('id', NEW.id) END,
		CASE WHEN TG_OP <> 'DELETE' THEN jsonb_strip_nulls(jsonb_build_object(
			'A.ints', d,
			'A.part', CASE WHEN NEW.part = 1 OR NEW.part = 3 THEN d END,
			'A.some', CASE WHEN mod(NEW.n, 3) = 0 AND NEW.ok AND length(NEW.v) > 0
				THEN to_jsonb(model.digest(jsonb_build_object('id', NEW.id, 'n', NEW.n, 'v', NEW.v))) END,
			'B.part', CASE WHEN NEW.part = 0 OR NEW.part = 1 OR NEW.part = 4 THEN d END,
			'B.tagged', CASE WHEN 'x' = ANY (NEW.tags) AND NEW.j ->> 'a' IN ('1', 'é') THEN d END)) END);
	RETURN NULL;
END $$;
CREATE FUNCTION model.note_uuids() RETURNS trigger LANGUAGE plpgsql
SET timezone = 'UTC' SET datestyle = 'ISO, MDY' SET intervalstyle = 'postgres' SET bytea_output = 'hex' SET extra_float_digits = 1 AS $$
DECLARE r jsonb; d jsonb;
BEGIN
	IF TG_OP <> 'DELETE' THEN
		r := to_jsonb(NEW);
		d := to_jsonb(model.digest(r));
	END IF;
	INSERT INTO model.history (source, old_key, new_key, shapes) VALUES ('uuids',
		CASE WHEN TG_OP <> 'INSERT' THEN jsonb_build_object('id', OLD.id) END,
		CASE WHEN TG_OP <> 'DELETE' THEN jsonb_build_object('id', NEW.id) END,
		CASE WHEN TG_OP <> 'DELETE' THEN jsonb_strip_nulls(jsonb_build_object(
			'A.mine', CASE WHEN NEW.owner = 2 AND NEW.title IS NOT NULL THEN d END,
			'B.mine', CASE WHEN NEW.owner = 3 AND NEW.title IS NOT NULL THEN d END,
			'B.uuids', to_jsonb(model.digest(jsonb_build_object('id', NEW.id, 'num', NEW.num, 'title', NEW.title))))) END);
	RETURN NULL;
END $$;
CREATE FUNCTION model.note_pairs() RETURNS trigger LANGUAGE plpgsql
SET timezone = 'UTC' AS $$
DECLARE r jsonb; d jsonb;
BEGIN
	IF TG_OP <> 'DELETE' THEN
		r := to_jsonb(NEW);
		d := to_jsonb(model.digest(r));
	END IF;
	INSERT INTO model.history (source, old_key, new_key, shapes) VALUES ('pairs',
		CASE WHEN TG_OP <> 'INSERT' THEN jsonb_build_object('no', OLD.no, 'code', OLD.code) END,
		CASE WHEN TG_OP <> 'DELETE' THEN jsonb_build_object('no', NEW.no, 'code', NEW.code) END,
		CASE WHEN TG_OP <> 'DELETE' THEN jsonb_strip_nulls(jsonb_build_object(
			'A.pairs', d,
			'A.kinds', CASE WHEN NEW.part IN (0, 2) AND NEW.kind IN ('even', 'none') THEN d END,
			'B.kinds', CASE WHEN NEW.part = 1 AND NEW.kind IN ('even', 'none') THEN d END)) END);
	RETURN NULL;
END $$;
CREATE FUNCTION model.note_truncate() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO model.history (source) VALUES (TG_TABLE_NAME); RETURN NULL; END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON ints FOR EACH ROW EXECUTE FUNCTION model.note_ints();
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON uuids FOR EACH ROW EXECUTE FUNCTION model.note_uuids();
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON pairs FOR EACH ROW EXECUTE FUNCTION model.note_pairs();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON ints EXECUTE FUNCTION model.note_truncate();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON uuids EXECUTE FUNCTION model.note_truncate();
CREATE TRIGGER note_truncate AFTER TRUNCATE ON pairs EXECUTE FUNCTION model.note_truncate();
SQL

sub model_schema
{
	my ($session) = @_;
	$session->query($schema);
	$session->query(q{SELECT pg_create_logical_replication_slot('model', 'test_decoding')});
	return;
}

# ---- random transactions

sub pick { return $_[ rand @_ ]; }
sub number { return int(rand $_[0]); }

my @texts = (
	q{''}, q{' '}, q{'plain'}, q{'it''s'}, q{'say "hi"'}, q{E'back\\\\slash'}, q{E'\\\\\\\\x41'}, q{E'tab\\there'}, q{E'line\\nfeed\\r\\n'},
	q{E'\\x01\\x02\\x1b\\x1f\\x7f'}, q{E'\\b\\f'}, q{'NULL'}, q{'null'}, q{'{}'}, q{'é'}, q{'👩‍👩‍👧 🏳️‍🌈'}, q{E'e\\u0301'}, q{E'\\u2028\\u2029\\ufeff'}, q{'日本語 العربية'},
	q{'</script><!--'}, q{'%s %d %n'}, q{'$1 $$ $t$'}, q{'-- ; /*'}, q{E'\\\\u0000'}, q{'x' || repeat('é', 300)}, q{'true'}, q{'0'});
my @bigints = qw(0 3 -1 9223372036854775807 -9223372036854775808 9007199254740993 -9007199254740993 NULL);
my @floats = ("'NaN'", "'Infinity'", "'-Infinity'", '0', "'-0'", '1e308', '5e-324', '0.1', '1e22', '123456.789', '-1.5e-7', 'NULL');
my @float4s = ("'NaN'", "'Infinity'", '0.1', '3.4e38', '1e-45', '16777217', '-2.5', 'NULL');
my @numerics = ("'NaN'", "'Infinity'", "'-Infinity'", '0.00', '-0.0', '1.50', '1e-30', '1e40', '123456789012345678901234567890.123456789', '-7', 'NULL');
my @times = ("'infinity'", "'-infinity'", "'epoch'", "'2026-11-21 09:00:00.123456+02'", "'0001-01-01 00:00:00 BC'", "'294276-12-31 23:59:59+00'",
	"'1883-11-18 12:00:00+00'", "'2026-03-29 01:30:00+01'", 'now()', 'NULL');
my @arrays = ("'{}'", "'{x}'", q{'{NULL,"NULL","a,b","\\\\","\\""}'}, "'{{x,b},{c,d}}'", "'[2:3]={x,2}'", q{'{"",x," "}'}, "ARRAY['x', 'é']", 'NULL');
my @jsonbs = ("'{}'", "'[]'", "'null'", "'1'", q{'"é"'}, q{'{"a": 1}'}, q{'{"a": "é", "b": {"c": [1, [2, {"d": null}], "\\u0001"]}}'},
	q{'{"a": 1.10, "z": 1e400, "n": -0.0}'}, q{'{"": "", "k k": [true, false]}'}, q{'[[[[[[1]]]]]]'}, 'NULL');
my @jsons = (q{'{"b": 1, "a": [1,  2 ], "b": 2}'}, "' [ 1 , 2 ] '", q{E'{\\n"x":\\t1}'}, "'null'", 'NULL');
my @byteas = ("''", q{'\\x00ff5c27'}, q{decode(md5(random()::text), 'hex')}, 'NULL');
my @intervals = ("'1 year 2 mons -3 days 04:05:06.789'", "'0'", "'-178000000 years'", 'NULL');
my @dates = ("'infinity'", "'2026-02-28'", "'0044-03-15 BC'", "'5874897-12-31'", 'NULL');
my @nets = ("'::1'", "'192.168.1.1/24'", "'10.0.0.0/8'", 'NULL');
my @ranges = ("'empty'", "'[1,5)'", "'(,)'", "'[3,]'", 'NULL');
my @ints = ("'{}'", "'{1,NULL,3}'", "'{{1,2},{3,4}}'", "'[0:1]={7,8}'", 'NULL');
my @codes = (q{'a'}, q{'A'}, q{'ä'}, q{''}, q{'o''c'}, q{E'x\\ty'}, q{'😀'}, q{E'\\\\'});
my @kinds = ("'odd'", "'even'", "'none'", 'NULL');

sub text_value { return rand() < 0.1 ? 'NULL' : rand() < 0.5 ? pick(@texts) : "'v" . number(50) . "'"; }

# mostly small, sometimes TOASTed: compressed or (md5) not
sub big_value
{
	my $kind = rand();
	return 'NULL' if $kind < 0.15;
	return "repeat('long ', " . (2000 + number(6000)) . ')' if $kind < 0.25;
	return "(SELECT string_agg(md5(i::text), '') FROM generate_series(" . number(1000) . ", " . (1300 + number(1000)) . ") i)" if $kind < 0.4;
	return text_value();
}

sub int_part { return rand() < 0.1 ? 'NULL' : number(6); }
sub uuid { return sprintf q{'%08x-0000-4000-8000-0000000000ff'}, number(80); }
sub code { return pick(@codes); }

my %row = (
	ints => sub {
		return (
			part => int_part(), n => rand() < 0.3 ? pick(@bigints) : number(60), v => text_value(), big => big_value(), f8 => pick(@floats), f4 => pick(@float4s),
			at => pick(@times), tags => pick(@arrays), j => pick(@jsonbs), ok => pick('true', 'true', 'false', 'NULL'), b => pick(@byteas),
			span => pick(@intervals));
	},
	uuids => sub {
		return (
			title => text_value(), owner => rand() < 0.1 ? 'NULL' : number(5), num => pick(@numerics), body => big_value(), js => pick(@jsons), day => pick(@dates),
			moment => pick("'infinity'", "'2026-01-02 03:04:05.6'", 'NULL'), net => pick(@nets), span => pick(@ranges), nums => pick(@ints),
			small => pick(-32768, 32767, 'NULL'), fixed => pick("'ab'", "''", "'sixsix'", 'NULL'));
	},
	pairs => sub {
		return (part => int_part(), kind => pick(@kinds), note => "left(" . text_value() . ", 50)", body => big_value());
	});
my %key = (
	ints => sub { return (id => 1 + number(120)); },
	uuids => sub { return (id => uuid()); },
	pairs => sub { return (code => code(), no => number(12)); });
my %wide_key = (    # outside of the usual keys, then back
	ints => sub { return (id => 1000 + number(100000)); },
	uuids => sub { return (id => 'gen_random_uuid()'); },
	pairs => sub { return (code => code(), no => 1000 + number(100000)); });

sub where { my %k = @_; return join ' AND ', map { "$_ = $k{$_}" } sort keys %k; }
sub assign { my %v = @_; return join ', ', map { "$_ = $v{$_}" } sort keys %v; }

sub insert
{
	my ($table) = @_;
	my %v = ($key{$table}->(), $row{$table}->());
	my @columns = sort keys %v;
	my $names = join ', ', keys %{ { $key{$table}->() } };
	my $update = rand() < 0.3 ? 'NOTHING' : 'UPDATE SET ' . assign(map { $_ => "excluded.$_" } pick_columns($table));
	return "INSERT INTO $table (" . join(', ', @columns) . ') VALUES (' . join(', ', @v{@columns}) . ") ON CONFLICT ($names) DO $update";
}

sub pick_columns
{
	my ($table) = @_;
	my %v = $row{$table}->();
	my @columns = grep { rand() < 0.3 } sort keys %v;
	return @columns ? @columns : pick(sort keys %v);
}

sub update
{
	my ($table) = @_;
	my %v = $row{$table}->();
	my @columns = pick_columns($table);
	my %k = $key{$table}->();
	return "UPDATE $table SET " . assign(map { $_ => $v{$_} } @columns) . ' WHERE ' . where(%k);
}

sub update_key
{
	my ($table) = @_;
	my %new = rand() < 0.3 ? $wide_key{$table}->() : $key{$table}->();
	my %set = %new;
	if (rand() < 0.3)
	{
		my %v = $row{$table}->();
		$set{$_} = $v{$_} for pick_columns($table);
	}
	my $free = $new{id} && $new{id} eq 'gen_random_uuid()' ? '' : " AND NOT EXISTS (SELECT FROM $table WHERE " . where(%new) . ')';
	return "UPDATE $table SET " . assign(%set) . ' WHERE ' . where($key{$table}->()) . $free;
}

# keys a and b exchanged, by way of a third
sub swap_keys
{
	my ($a, $b) = (1 + number(120), 1 + number(120));
	return () if $a == $b;
	my $c = -1 - number(1_000_000);
	return ("UPDATE ints SET id = $c WHERE id = $a", "UPDATE ints SET id = $a WHERE id = $b", "UPDATE ints SET id = $b WHERE id = $c");
}

sub many_rows
{
	my $from = number(110);
	return pick(
		"UPDATE ints SET n = n / 2 + 1 WHERE id BETWEEN $from AND " . ($from + 12),
		"UPDATE ints SET part = (part + 1) % 6 WHERE id BETWEEN $from AND " . ($from + 8),
		"UPDATE pairs SET no = no + 20 WHERE no < 12 AND code = " . code() . " AND no + 20 NOT IN (SELECT no FROM pairs)",
		"DELETE FROM ints WHERE id BETWEEN $from AND " . ($from + 6),
		'DELETE FROM ints WHERE id NOT BETWEEN 1 AND 120',
		'DELETE FROM pairs WHERE no > 12',
		'DELETE FROM uuids WHERE id::text NOT LIKE \'0000%\'',
		'UPDATE uuids SET title = title WHERE owner = ' . number(5),
		"INSERT INTO ints (id, part, n, v, ok) SELECT i, i % 6, i, 'm' || i, true FROM generate_series($from, " . ($from + 15) . ') i ON CONFLICT DO NOTHING');
}

sub statements
{
	my $table = pick(qw(ints ints uuids pairs));
	my $kind = rand();
	return insert($table) if $kind < 0.35;
	return update($table) if $kind < 0.7;
	return update_key($table) if $kind < 0.8;
	return "DELETE FROM $table WHERE " . where($key{$table}->()) if $kind < 0.9;
	return swap_keys() if $kind < 0.92;
	return many_rows() if $kind < 0.997;
	return 'ALTER TABLE ' . pick(qw(ints uuids pairs_low pairs_high_0)) . ' REPLICA IDENTITY ' . pick(qw(DEFAULT DEFAULT FULL NOTHING)) if $kind < 0.9985;
	return 'TRUNCATE ' . pick('ints', 'uuids', 'pairs', 'uuids, pairs');
}

# the text of one transaction; $n only decides about the session's settings
sub model_transaction
{
	my ($n) = @_;
	my $sql = '';
	$sql .= "SET timezone = '" . pick('UTC', 'Asia/Tokyo', 'America/St_Johns') . "'; SET datestyle = '" . pick('ISO', 'German', 'SQL, DMY')
	  . "'; SET intervalstyle = '" . pick('postgres', 'iso_8601') . "'; SET bytea_output = '" . pick('hex', 'escape') . "'; SET extra_float_digits = " . pick(0, 1, 3) . ";\n"
	  if $n % 50 == 0;
	return $sql . join '', map { "$_;\n" } statements() if rand() < 0.5;

	$sql .= "BEGIN;\n";
	for (1 .. 1 + number(4))
	{
		my $text = join '', map { "$_;\n" } statements();
		$text = "SAVEPOINT s;\n$text" . (rand() < 0.4 ? "ROLLBACK TO s;\n" : rand() < 0.5 ? "RELEASE s;\n" : '') if rand() < 0.3;
		$sql .= $text;
	}
	return $sql . (rand() < 0.12 ? 'ROLLBACK' : 'COMMIT') . ";\n";
}

# rows to begin with
sub model_fill { return join '', map { my $t = $_; map { insert($t) . ";\n" } 1 .. 100 } qw(ints uuids pairs); }

# ---- the oracle

sub lsn_number
{
	my ($high, $low) = split m{/}, $_[0];
	return hex($high) * 2**32 + hex($low);
}

sub oracle_new
{
	my ($session) = @_;
	return { session => $session, state => {}, queue => [], transactions => 0, changes => 0 };
}

# read what has committed since the last time
sub oracle_read
{
	my ($oracle) = @_;
	my $session = $oracle->{session};
	my @commits = map { [ split /\|/ ] } split /\n/, $session->query(<<'SQL');
SELECT lsn, substr(data, 8)
  FROM pg_logical_slot_get_changes('model', NULL, NULL, 'only-local', '1', 'include-xids', '1', 'skip-empty-xacts', '1')
 WHERE data LIKE 'COMMIT %'
SQL
	return if !@commits;

	# a commit is in the WAL a moment before its rows can be seen
	my $xids = "'{" . join(',', map { $_->[1] } @commits) . "}'::bigint[]";
	usleep(1000)
	  until $session->query("SELECT bool_and(pg_visible_in_snapshot(x::text::xid8, pg_current_snapshot())) FROM unnest($xids) x") eq 't';
	my %history;
	for my $line (split /\n/, $session->query(<<"SQL"))
SELECT concat_ws(E'\\t', xid, seq, source, coalesce(old_key, ''), coalesce(new_key, ''), s.key, s.value)
  FROM model.history h LEFT JOIN LATERAL jsonb_each_text(h.shapes) s ON true
 WHERE xid = ANY ($xids) ORDER BY xid, seq
SQL
	{
		my ($xid, $seq, $source, $old, $new, $shape, $row) = split /\t/, $line, 7;
		my $change = $history{$xid} && $history{$xid}[-1]{seq} == $seq ? $history{$xid}[-1] : undef;
		push @{ $history{$xid} }, $change = { seq => $seq, source => $source, old => $old, new => $new, rows => {} } if !$change;
		$change->{rows}{$shape} = $row if defined $shape;
	}
	push @{ $oracle->{queue} }, map { { lsn => lsn_number($_->[0]), changes => $history{ $_->[1] } } } grep { $history{ $_->[1] } } @commits;
	return;
}

my %shapes_of = (
	ints => [qw(A.ints A.part A.some B.part B.tagged)],
	uuids => [qw(A.mine B.mine B.uuids)],
	pairs => [qw(A.pairs A.kinds B.kinds)]);

# move on to the state after every transaction whose commit record ends at or before $lsn
sub oracle_advance
{
	my ($oracle, $lsn) = @_;
	my $to = lsn_number($lsn);
	my $queue = $oracle->{queue};

	oracle_read($oracle) if !@$queue || $queue->[-1]{lsn} <= $to;
	while (@$queue && $queue->[0]{lsn} <= $to)
	{
		my $transaction = shift @$queue;
		$oracle->{transactions}++;
		for my $change (@{ $transaction->{changes} })
		{
			$oracle->{changes}++;
			for my $shape (@{ $shapes_of{ $change->{source} } })
			{
				my $rows = $oracle->{state}{$shape} //= {};
				if    ($change->{old} ne '') { delete $rows->{ $change->{old} }; }
				elsif ($change->{new} eq '') { %$rows = (); }    # TRUNCATE
				$rows->{ $change->{new} } = $change->{rows}{$shape} if exists $change->{rows}{$shape};
			}
		}
	}
	return;
}

1;
