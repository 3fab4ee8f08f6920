# An encrypted session of several devices, and then all of the server searched for what it must not have: its
# dump, its WAL, its data files, its log, which has every statement.
use strict;
use warnings;
use File::Basename qw(dirname);
use File::Find qw(find);
use MIME::Base64 qw(encode_base64 encode_base64url);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('encryption', conf => <<'CONF');
log_statement = all
log_min_duration_statement = 0
log_min_error_statement = debug5
wal_keep_size = 1GB
wal_compression = off
CONF
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE issues (id uuid PRIMARY KEY, team int, title text, doc jsonb, raw bytea, big bigint);
CREATE TABLE control (id int PRIMARY KEY, body text);
SELECT tide.create_shape('team', '{"table": "issues", "where": "team = params.team", "encrypted": ["title", "doc", "raw"]}');
SELECT tide.create_shape('team_devices', '{"table": "tide.devices"}');
CREATE ROLE app LOGIN;
GRANT SELECT, INSERT, UPDATE, DELETE ON issues TO app;
SELECT tide.allow_writes('issues'), tide.trust_role('app'), tide.enable_encryption('app'), tide.require_signatures('issues');
INSERT INTO control VALUES (1, 'a value that is not secret');
SQL
wait_for_sql($node, q{SELECT count(*) = 0 FROM tide.shapes WHERE state <> 'live'});

local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{PGDATABASE} = 'postgres';
my $dir = PostgreSQL::Test::Utils::tempdir();
my $seed = $ENV{TIDE_SEED} // time;
open my $run, '-|', 'node', dirname(__FILE__) . '/encryption.mjs', $dir, "$dir/secrets", $seed or die "node: $!\n";
my $planned;
while (my $line = <$run>)
{
	if ($line =~ /^(not )?ok \d+ - (.*)/)
	{
		ok(!$1, $2);
	}
	elsif ($line =~ /^1\.\.(\d+)/)
	{
		$planned = $1;
	}
	else
	{
		diag($line);
	}
}
ok(close($run), "node ended well (seed $seed)");
is(Test::More->builder->current_test, ($planned // 0) + 1, 'all of the session was reached');

# a renamed column stays encrypted
$node->safe_psql('postgres', 'ALTER TABLE issues RENAME title TO subject');
wait_for_sql($node, q{SELECT state = 'live' AND definition -> 'encrypted' ? 'subject' FROM tide.shapes WHERE name = 'team'});
is($node->safe_psql('postgres', q{SELECT string_agg("column", ',' ORDER BY "column") FROM tide.encrypted_columns}), 'doc,raw,subject', 'a renamed column stays encrypted');
like($node->safe_psql('postgres', q{SELECT tide.push('{"client": "00000000-0000-4000-8000-0000000000ff", "mutations": [
	{"id": 1, "op": "insert", "table": "issues", "key": {"id": "00000000-0000-4000-8000-000000000009"}, "values": {"subject": "in the clear"}}]}')}),
	qr/"code":"23514","message":"column \\"subject\\" of table \\"issues\\" holds only encrypted values"/, 'under its new name, too');
$node->safe_psql('postgres', q{SELECT tide.drop_shape('team')});
is($node->safe_psql('postgres', 'SELECT count(*) FROM tide.encrypted_columns'), 0, 'as long as a shape says so');

# the session's second part calls SQL functions with literals of its own: what is searched for is of the first
open my $in, '<', "$dir/secrets" or die "secrets: $!\n";
my @secrets = map { chomp; pack 'H*', $_ } <$in>;
cmp_ok(scalar(@secrets), '>', 15, 'the session has secrets');

# a dump has the keys' tables, and can be restored: revoked devices, grants in any order
my $keys = q{SELECT (SELECT count(*) FROM tide.devices), (SELECT count(*) FROM tide.key_grants), (SELECT count(*) FROM tide.key_backups), (SELECT count(*) FROM tide.signed_mutations)};
my $keys_dump = "$dir/postgres.dump";
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_dump', '-f', $keys_dump, 'postgres' ], 'the database is dumped');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', 'restored', '-f', $keys_dump ], 'and restored');
is($node->safe_psql('restored', $keys), $node->safe_psql('postgres', $keys), 'with all keys');

$node->safe_psql('postgres', 'CHECKPOINT');
my $dump = $node->basedir . '/all.dump';
open my $out, '>', $dump or die "$dump: $!\n";
my ($text) = run_command([ 'pg_dumpall', '-h', $node->host, '-p', $node->port ]);
print {$out} $text;
close $out;
$node->stop;

# every form in which bytes may have been written down
sub forms
{
	my ($bytes) = @_;
	my $b64 = encode_base64($bytes, '') =~ s/=+$//r;
	my $url = encode_base64url($bytes);
	# the last character may go on with what follows
	return map { quotemeta } $bytes, unpack('H*', $bytes), uc unpack('H*', $bytes), substr($b64, 0, -1), substr($url, 0, -1);
}

# files that hold one of the values, by kind of place
sub places
{
	my (@values) = @_;
	my $pattern = join '|', map { forms($_) } @values;
	my $regex = qr/$pattern/;
	my %found;
	my $look = sub {
		return unless -f $_;
		open my $file, '<:raw', $_ or return;
		my $content = do { local $/; <$file> };
		return unless $content =~ $regex;
		my $kind = m{/pg_wal/} ? 'WAL' : m{/base/} ? 'data' : m{\.dump$} ? 'dump' : m{\.log$} ? 'log' : 'other';
		$found{$kind} .= " $_";
	};
	find({ wanted => $look, no_chdir => 1 }, $node->data_dir, $dump, $node->logfile);
	return \%found;
}

my $control = places('a value that is not secret');
is_deeply([ sort grep { $_ ne 'other' } keys %$control ], [ 'WAL', 'data', 'dump', 'log' ], 'the search finds what is in dump, WAL, data files and log');
is_deeply(places(@secrets), {}, 'and finds no plaintext, passphrase or secret key')
  or diag(join "\n", map { (my $shown = $_) =~ s/[^ -~]/./g; my $found = places($_); map { "$shown: $_ $found->{$_}" } sort keys %$found } @secrets);

done_testing();
