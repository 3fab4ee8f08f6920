# The queries for exporters run with the privileges they ask for and give what they say; alerts are over metrics that are
# there. Every setting, function and view of pg_tide is documented.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('monitored');
my $yaml = slurp_file('examples/monitoring/queries.yaml');
my @grants = $yaml =~ /^# (GRANT .*;)$/mg;
is(scalar @grants, 2, 'the privileges are in the file');
$node->safe_psql('postgres', join "\n", 'CREATE ROLE monitor LOGIN;', @grants, <<'SQL');
CREATE TABLE tasks (id int PRIMARY KEY, n int);
CREATE TABLE fails (id int PRIMARY KEY, n int);
SELECT tide.create_shape('tasks', '{"table": "tasks"}'), tide.create_shape('fails', '{"table": "fails", "where": "1 / n = 1"}'), tide.allow_writes('tasks');
SELECT tide.add_jwt_key('one', 'HS256', '0123456789abcdef0123456789abcdef', now() + interval '1 day'), tide.add_jwt_key('old', 'HS256', '0123456789abcdef0123456789abcdex', now() - interval '1 day');
SQL
tide_sync($node);
$node->safe_psql('postgres', <<'SQL');
INSERT INTO tasks VALUES (1, 1), (2, 2);
SELECT tide.push('{"client": "a0000000-0000-4000-8000-000000000001", "mutations": [
	{"id": 1, "op": "insert", "table": "tasks", "key": {"id": 3}, "values": {"n": 3}}, {"id": 2, "op": "insert", "table": "fails", "key": {"id": 3}, "values": {}}]}');
SQL
tide_sync($node);
$node->safe_psql('postgres', 'INSERT INTO fails VALUES (1, 0)');
wait_for_sql($node, q{SELECT count(*) = 1 FROM tide.shapes WHERE state = 'failed'});
wait_for_sql($node, q{SELECT pid IS NOT NULL AND lag_bytes = 0 FROM tide.status});

# ---- queries, as the role with these privileges only

my (%metrics, %value);
while ($yaml =~ /^(\w+):\n  query: "((?:[^"\\]|\\.)*)"\n  metrics:\n((?:    - .*\n)+)/mg)
{
	my ($name, $query, $metrics) = ($1, $2, $3);
	my %usage = $metrics =~ /^    - (\w+): \{ usage: "(\w+)", description: "[^"]+" \}$/mg;
	$query =~ s/\\(.)/$1/g;
	is(scalar(keys %usage), scalar(() = $metrics =~ /\n/g), "$name: metrics can be read");
	is(join(' ', grep { !/^(LABEL|GAUGE|COUNTER)$/ } values %usage), '', "$name: kinds are known");
	my $rows = eval { $node->safe_psql('postgres', "SET ROLE monitor; SELECT to_jsonb(q) FROM ($query) q") };
	ok(defined $rows, "$name: runs as a role with the privileges it asks for") or diag($@);
	for my $line (split /\n/, $rows // '')
	{
		my $row = JSON::PP::decode_json($line);
		is(join(' ', sort keys %$row), join(' ', sort keys %usage), "$name: columns are the metrics");
		my $label = join ' ', map { $row->{$_} } grep { $usage{$_} eq 'LABEL' } sort keys %usage;
		is(join(' ', grep { $usage{$_} ne 'LABEL' && ($row->{$_} // '') !~ /^-?[\d.]+$/ } sort keys %usage), '', "$name $label: all are numbers");
		$value{"${name}_$_" . ($label eq '' ? '' : " $label")} = $row->{$_} for keys %$row;
	}
	$metrics{"${name}_$_"} = $usage{$_} for keys %usage;
}
is(scalar(() = $yaml =~ /^\w+:$/mg), scalar(keys %{ { map { /^(pg_tide_[a-z]+)_/; $1 => 1 } keys %metrics } }), 'no query was overlooked');
is_deeply([ @value{qw(pg_tide_ingest_up pg_tide_ingest_slot_lost pg_tide_clients_known pg_tide_clients_mutations_not_acknowledged pg_tide_keys_good pg_tide_keys_to_rotate)} ],
	[ 1, 0, 1, 0, 1, 0 ], 'single values are right');
is_deeply([ @value{ 'pg_tide_shapes_count failed', 'pg_tide_shapes_count live', 'pg_tide_shapes_count building', 'pg_tide_shape_live fails', 'pg_tide_shape_rows tasks',
		'pg_tide_mutations_hourly applied', 'pg_tide_mutations_hourly rejected' } ], [ 1, 1, 0, 0, 3, 1, 1 ], 'so are those with labels');
ok($value{pg_tide_keys_last_expiry_seconds} > 86000 && $value{pg_tide_keys_last_expiry_seconds} < 86401, 'and when keys expire');
is($metrics{pg_tide_ingest_changes}, 'COUNTER', 'totals are counters');

# a worker that is stopped, a slot that is lost
$node->safe_psql('postgres', 'SELECT tide.stop()');
my ($up) = $yaml =~ /^pg_tide_ingest:\n  query: "(.*)"$/m;
is($node->safe_psql('postgres', "SET ROLE monitor; SELECT up, slot_lost FROM ($up) q"), '0|0', 'a worker that is stopped shows');
$node->safe_psql('postgres', q{SELECT pg_drop_replication_slot('tide_postgres')});
is($node->safe_psql('postgres', "SET ROLE monitor; SELECT up, slot_lost FROM ($up) q"), '0|1', 'so does a lost slot');

# ---- alerts and dashboards

my $alerts = slurp_file('examples/monitoring/alerts.yaml');
my $operations = slurp_file('doc/operations.md');
for my $rule ($alerts =~ /^      - alert: (\w+)\n/mg)
{
	my ($expr) = $alerts =~ /alert: $rule\n        expr: (.*)/;
	is(join(' ', grep { !defined $metrics{$_} } $expr =~ /\b(pg_tide_\w+)/g), '', "alert $rule is over metrics that are there");
	ok($operations =~ /\b$rule\b/, 'and is in the runbook');
}
is(join(' ', grep { !defined $metrics{$_} } $operations =~ /\b(pg_tide_(?:ingest|shapes?|table|clients|mutations|keys|horizon)_\w+)/g), '', 'so are the queries for dashboards');

# ---- all is documented

my $docs = join '', map { slurp_file($_) } 'README.md', glob('doc/*.md');
is(join(' ', grep { $docs !~ /\Q$_\E\b/ } split /\n/, $node->safe_psql('postgres', q{SELECT name FROM pg_settings WHERE name LIKE 'tide.%'})), '', 'every setting is documented');
is(join(' ', grep { $docs !~ /\btide\.\Q$_\E\b|`\Q$_\E\b/ } split /\n/, $node->safe_psql('postgres',
	q{SELECT DISTINCT relname FROM pg_class WHERE relnamespace = 'tide'::regnamespace AND relkind IN ('v', 'r')})), '', 'every view and table');
# operators' and types' support functions are not called by name
my $functions = q{SELECT DISTINCT proname FROM pg_proc p WHERE pronamespace = 'tide'::regnamespace
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid AND d.classid IN ('pg_type'::regclass, 'pg_operator'::regclass, 'pg_amproc'::regclass, 'pg_opclass'::regclass))
	AND proname !~ '^hlc_(in|out|recv|send|larger|smaller|hash|hash_extended|compare)$'};
is(join(' ', grep { $docs !~ /\btide\.\Q$_\E\b|\b\Q$_\E\(|`\Q$_\E\b/ } split /\n/, $node->safe_psql('postgres', $functions)), '', 'every function');
my $source = join '', map { slurp_file($_) } glob('src/*/*.c'), glob('src/*/errors.h');
my %codes = map { $_ => 1 } map { join '', /'(.)'/g } $source =~ /MAKE_SQLSTATE\(('T','D'(?:,'.'){3})\)/g;
is(join(' ', grep { $docs !~ /\b$_\b/ } sort keys %codes), '', 'and SQLSTATEs of our own');

done_testing();
