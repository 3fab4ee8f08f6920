package TideCluster;

=head1 NAME

TideCluster - PostgreSQL::Test::Cluster nodes that run pg_tide

=head1 SYNOPSIS

    use TideCluster;
    my $node = tide_new('main');            # started, extension made, tide.start() called
    $node->safe_psql('postgres', q{...});
    tide_sync($node);
    my $state = pull_all($node, { client => $uuid, claims => {}, shapes => { open => [{}] } });
    is_deeply([ state_rows($state, 'public.issues') ], [ query_rows($node, q{SELECT ... FROM issues}) ], 'synced');
    verify_empty($node, 'open', {}, {});

=head1 NOTES

Rows are compared as the text of jsonb, which the server makes on both sides: no number
passes through Perl. Helpers die with what they saw; only verify_empty is an assertion.

=cut

use strict;
use warnings;
use Exporter 'import';
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(tide_new tide_configure tide_standby tide_sync tide_worker_pid wait_worker
  restart_after_crash wait_for_sql limit_memory pull_page pull_all new_state state_rows query_rows
  verify_empty sql_json sql_text);

my $json = JSON::PP->new->canonical->allow_nonref->utf8(0);

# tide_new($name, %opts): a started node.
#   conf    => "more lines of postgresql.conf\n"
#   preload => 0      without shared_preload_libraries
#   extension => 0    without CREATE EXTENSION (and so without start)
#   start   => 0      without tide.start()
#   db      => name   database of the extension (default postgres)
sub tide_new
{
	my ($name, %opts) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my $db = $opts{db} // 'postgres';

	$node->init(allows_streaming => 'logical', extra => [ '-E', 'UTF8', '--locale=C' ]);
	tide_configure($node, %opts);
	$node->start;
	$node->safe_psql('postgres', "CREATE DATABASE $db") if $db ne 'postgres';
	return $node if defined $opts{extension} && !$opts{extension};
	$node->safe_psql($db, 'CREATE EXTENSION pg_tide');
	$node->safe_psql($db, 'SELECT tide.start()') if $opts{start} // 1;
	return $node;
}

# the settings pg_tide needs, in a node that has been initialised but not started
sub tide_configure
{
	my ($node, %opts) = @_;

	$node->append_conf('postgresql.conf', <<"CONF");
max_worker_processes = 16
max_connections = 60
shared_buffers = 16MB
log_min_messages = info
log_statement = none
timezone = 'UTC'
CONF
	# a crash of one process restarts the others, as on a real server
	$node->append_conf('postgresql.conf', "restart_after_crash = on\n");
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_tide'\n")
	  if $opts{preload} // 1;

	# minors before the setting existed refuse to start with it
	my ($out, $err) = run_command(
		[ 'postgres', '-D', $node->data_dir, '-C', 'output_plugin_libraries' ]);
	$node->append_conf('postgresql.conf',
		"output_plugin_libraries = 'pgoutput, test_decoding, wal2json, pg_tide'\n")
	  if $err !~ /unrecognized configuration parameter/;
	$node->append_conf('postgresql.conf', $opts{conf}) if defined $opts{conf};
	return;
}

# a started streaming standby of $primary, caught up
sub tide_standby
{
	my ($primary, $name, %opts) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$primary->backup("$name-base");
	$node->init_from_backup($primary, "$name-base", has_streaming => 1);
	$node->append_conf('postgresql.conf', $opts{conf}) if defined $opts{conf};
	$node->start;
	$primary->wait_for_catchup($node, 'replay', $primary->lsn('insert'));
	return $node;
}

# wait until everything committed so far is in the change log; returns the op_id
sub tide_sync
{
	my ($node, %opts) = @_;
	my $db = $opts{db} // 'postgres';
	my $timeout = $opts{timeout} // $PostgreSQL::Test::Utils::timeout_default;
	return $node->safe_psql($db, "SELECT op_id FROM tide.sync('$timeout s')");
}

# pid of this database's running worker, or ''
sub tide_worker_pid
{
	my ($node, %opts) = @_;
	return $node->safe_psql($opts{db} // 'postgres',
		"SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type LIKE '%tide%'"
		  . ' ORDER BY backend_start LIMIT 1');
}

# wait until a worker runs whose pid is not $not_pid; returns its pid
sub wait_worker
{
	my ($node, $not_pid, %opts) = @_;
	$not_pid ||= 0;
	wait_for_sql($node,
		"SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()"
		  . " AND backend_type LIKE '%tide%' AND pid <> $not_pid", %opts);
	return tide_worker_pid($node, %opts);
}

# wait until the query returns t; connection failures (a server in recovery) are waited out too
sub wait_for_sql
{
	my ($node, $sql, %opts) = @_;
	my $until = time + $PostgreSQL::Test::Utils::timeout_default;
	while (1)
	{
		my $reached = eval { $node->poll_query_until($opts{db} // 'postgres', $sql) };
		return if $reached;

		# a psql that is refused may be gone before it is given its query
		die $@ if $@ ne '' && $@ !~ /Broken pipe/;
		die "timed out waiting for: $sql" if $@ eq '' || time > $until;
		usleep(100_000);
	}
	return;
}

# Start a node whose postmaster was killed (or stopped immediately). The dead process's
# lock file is honoured until the system has reaped it: some seconds.
sub restart_after_crash
{
	my ($node, %opts) = @_;
	my $pidfile = $node->data_dir . '/postmaster.pid';
	my $tries = ($opts{timeout} // $PostgreSQL::Test::Utils::timeout_default) * 2;

	for my $try (1 .. $tries)
	{
		# pg_ctl, not $node->start: that one takes a stale pid file for a running server
		my $status = PostgreSQL::Test::Utils::system_log('pg_ctl', '-w', '-s', '-D', $node->data_dir,
			'-l', $node->logfile, '-o', '--cluster-name=' . $node->name, 'start');
		if ($status == 0)
		{
			$node->_update_pid(1);
			return $try;
		}
		usleep(500_000);
	}
	die 'node ' . $node->name . " did not start again in $tries tries";
}

# let a process have so many bytes more than it has now; false where that cannot be
sub limit_memory
{
	my ($pid, $more) = @_;
	open my $status, '<', "/proc/$pid/status" or return 0;
	my ($size) = grep { defined } map { /^VmSize:\s+(\d+)/ ? $1 : undef } <$status>;
	return system("prlimit --pid $pid --as=" . ($size * 1024 + $more) . ': 2>/dev/null') == 0;
}

# a JSON value as an SQL literal of type jsonb; any string as an SQL text literal
sub sql_json { return sql_text($json->encode($_[0])) . '::jsonb'; }

sub sql_text
{
	my ($text) = @_;
	my $tag = 't';
	$tag .= 'x' while index($text, "\$$tag\$") >= 0;
	return "\$$tag\$$text\$$tag\$";
}

# the state of a client that has pulled nothing:
#   rows     {bucket}{"table key"} = { row => jsonb text, hash => number }
#   buckets  {bucket} = { shape, params, count, checksum } as last told
#   cookie, checkpoint, last_mutation_id, rejected (all so far), pages, complete
sub new_state
{
	return {
		rows => {}, buckets => {}, cookie => undef, checkpoint => undef,
		last_mutation_id => undef, rejected => [], pages => 0, complete => 0 };
}

# Pull one page and apply it to $state. Checks what every page must hold. opts: limit, db,
# session => a TideSession to ask, row_text => SQL for what to keep of a row, c->'row'.
sub pull_page
{
	my ($node, $request, $state, %opts) = @_;
	my %body = (%$request, cookie => $state->{cookie});
	$body{limit} = $opts{limit} if defined $opts{limit};
	my $call = sql_json(\%body);

	# changes one a line, already as canonical text; the rest as one JSON value
	my $row = $opts{row_text} // q{(c->'row')::text};
	my $sql = <<"SQL";
WITH page AS MATERIALIZED (SELECT tide.pull($call)::jsonb AS p),
lines AS (
  SELECT 0 AS n, (p - 'changes')::text AS line FROM page
  UNION ALL
  SELECT n, concat_ws(E'\\t', c->>'bucket', c->>'op', c->>'op_id', coalesce(c->>'hash', ''),
                      c->>'table', (c->'key')::text, $row)
    FROM page, jsonb_array_elements(p->'changes') WITH ORDINALITY e(c, n))
SELECT line FROM lines ORDER BY n
SQL
	my $out = $opts{session} ? $opts{session}->query($sql) : $node->safe_psql($opts{db} // 'postgres', $sql);
	my ($head, @lines) = split /\n/, $out;
	my $page = $json->decode($head);
	my $max_op = $page->{checkpoint}{op_id};

	for my $bucket (@{ $page->{drop} // [] })
	{
		$state->{drops}++;
		delete $state->{rows}{$bucket};
		delete $state->{buckets}{$bucket};
	}
	my %last_op;
	for my $line (@lines)
	{
		my ($bucket, $op, $op_id, $hash, $table, $key, $row) = split /\t/, $line, 7;

		die "op_id $op_id after $last_op{$bucket} in bucket $bucket" if $op_id < ($last_op{$bucket} // 0);
		die "op_id $op_id beyond the checkpoint's $max_op" if $op_id > $max_op;
		$last_op{$bucket} = $op_id;
		if ($op eq 'put')
		{
			die "put without row: $line" if !defined $row || $row eq '';
			$state->{rows}{$bucket}{"$table $key"} = { row => $row, hash => $hash };
		}
		elsif ($op eq 'remove') { delete $state->{rows}{$bucket}{"$table $key"}; }
		else                    { die "unknown op: $line"; }
	}
	my $limit = $body{limit} // 1000;
	die 'page of ' . @lines . " changes, limit was $limit" if @lines > $limit;
	die "checkpoint went back from $state->{checkpoint}{op_id} to $max_op"
	  if $state->{checkpoint} && $state->{checkpoint}{op_id} > $max_op;

	$state->{$_} = $page->{$_} for qw(cookie checkpoint last_mutation_id);
	push @{ $state->{rejected} }, @{ $page->{rejected} // [] };
	$state->{complete} = $page->{complete} ? 1 : 0;
	$state->{pages}++;
	$state->{changes} += @lines;    # and drops: buckets it was told to drop
	for my $bucket (@{ $page->{buckets} // [] })
	{
		# null: there is none yet
		next if !defined $bucket->{bucket};
		$state->{buckets}{ $bucket->{bucket} } = $bucket;
		_check_bucket($state, $bucket) if $state->{complete};
	}
	return scalar @lines;
}

# count and checksum of a bucket agree with what was replayed
sub _check_bucket
{
	my ($state, $bucket) = @_;
	my @rows = values %{ $state->{rows}{ $bucket->{bucket} } // {} };
	my $sum = 0;

	$sum = ($sum + $_->{hash}) % 4294967296 for @rows;
	die "bucket $bucket->{bucket}: " . @rows . " rows, told $bucket->{count}" if @rows != $bucket->{count};
	die "bucket $bucket->{bucket}: checksum $sum, told $bucket->{checksum}" if $sum != $bucket->{checksum};
	return;
}

# Pull until complete and return the state. opts: state => to go on from, limit => changes
# per page (a number, or a code reference that gives one), max_pages, db.
sub pull_all
{
	my ($node, $request, %opts) = @_;
	my $state = $opts{state} // new_state();
	my $max = $opts{max_pages} // 100_000;

	for (1 .. $max)
	{
		my $limit = ref $opts{limit} eq 'CODE' ? $opts{limit}->() : $opts{limit};
		pull_page($node, $request, $state, %opts, limit => $limit);
		return $state if $state->{complete};
	}
	die "not complete after $max pages";
}

# sorted distinct rows a client holds of a table ("schema.name"), as jsonb text; a row is
# held while any bucket holds it. Dies if two buckets hold different versions of a row.
sub state_rows
{
	my ($state, $table) = @_;
	my %held;

	for my $bucket (sort keys %{ $state->{rows} })
	{
		while (my ($id, $entry) = each %{ $state->{rows}{$bucket} })
		{
			next if index($id, "$table ") != 0;
			die "two versions of $id: $held{$id} and $entry->{row}"
			  if defined $held{$id} && $held{$id} ne $entry->{row} && !$state->{columns_differ};
			$held{$id} = $entry->{row};
		}
	}
	return sort values %held;
}

# sorted rows of a query, as jsonb text: what state_rows gives when in sync
sub query_rows
{
	my ($node, $sql, %opts) = @_;
	my $out = $node->safe_psql($opts{db} // 'postgres',
		"SET timezone = 'UTC'; SELECT to_jsonb(q)::text FROM ($sql) q");
	return sort split /\n/, $out;
}

# assertion: tide.verify finds no difference
sub verify_empty
{
	my ($node, $shape, $params, $claims, %opts) = @_;
	my $differences = $node->safe_psql($opts{db} // 'postgres',
		'SELECT to_jsonb(v) FROM tide.verify(' . sql_text($shape) . ', ' . sql_json($params // {}) . ', '
		  . sql_json($claims // {}) . ') v LIMIT 10');
	return is($differences, '', $opts{name} // "tide.verify('$shape') finds nothing");
}

1;
