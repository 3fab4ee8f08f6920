# Random tables, random shapes over them, random transactions, random DDL: whenever all is quiet and a client's
# pull is complete, it has what the shapes' own queries give on the tables as of that checkpoint.
#
#   TIDE_SEED                  repeats tables, shapes and transactions of a run (not their timing)
#   TIDE_SHAPES                how many shapes at least (48)
#   TIDE_SHAPE_TRANSACTIONS    how many transactions (4000)
#   TIDE_SHAPE_STEP=1          compare after each transaction, and print it when something is wrong
#   TIDE_SHAPE_FIRST=n         begin with the n-th set of tables
use strict;
use warnings;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);
use TideCheck;
use TideCluster;
use TideSession;
use TideShapes;
use TideWorld;

my $shapes_wanted = $ENV{TIDE_SHAPES} || 48;
my $transactions = $ENV{TIDE_SHAPE_TRANSACTIONS} || 4000;
my $step = $ENV{TIDE_SHAPE_STEP};
my $seed = $ENV{TIDE_SEED} || int(rand(2**31));
my $per_world = 8;
my $checkpoints = 4;
my $worlds = int(($shapes_wanted + $per_world - 1) / $per_world);
my $first = $ENV{TIDE_SHAPE_FIRST} || 1;
my $json = JSON::PP->new->canonical->allow_nonref;
diag "shape_model.pl: $shapes_wanted shapes, $transactions transactions, TIDE_SEED=$seed";

# refusals of shapes that a definition may meet with
my %refusal = map { $_ => 1 } qw(22023 0A000 42P17 54000);

my $node = tide_new('shape_model', start => 0, conf => <<'CONF');
log_min_messages = warning
log_error_verbosity = verbose
max_wal_size = 4GB
shared_buffers = 128MB
fsync = off
autovacuum = off
deadlock_timeout = 10ms
tide.apply_memory = 256kB
tide.tick_interval = 200ms
CONF
install_check($node);
my ($main, @writers);
connect_all();
$main->query('SELECT tide.start()');

# time goes by as this test says in the first half of the worlds, by itself in the second
my $clock = time - 86400 * 20;
my $is_real;

my %count = map { $_ => 0 } qw(shapes refused nodes compared rows pages sent verified kills ddl);
my %reasons;
my (@problems, %is_bad);
my $last_text = '';
my $began = time;
my ($world, %shapes, %clients);
my $number = 0;    # of shape names given out

for my $n ($first .. $first + $worlds - 1)
{
	last if @problems >= ($ENV{TIDE_SHAPE_PROBLEMS} || 1);
	$is_real = $n > $first + $worlds / 2;
	seed_random($seed * 1000 + $n);
	set_clock();
	new_world($n);
	my $todo = int($transactions / $worlds / $checkpoints) + 1;
	for my $round (1 .. $checkpoints)
	{
		last if @problems;
		my $kill = !$step && chance(0.15) ? number($todo) : -1;
		for (my $done = 0; $done < $todo && !@problems;)
		{
			my $size = $step ? 1 : 1 + number(30);
			$done += run_transactions($size);
			if ($kill >= 0 && $done >= $kill)
			{
				kill_worker();
				$kill = -1;
			}
			change_shapes() if chance($step ? 0.01 : 0.06);
			check_all() if $step;
		}
		check_all() if !$step;
		# what single transactions do
		for (1 .. 2)
		{
			last if @problems || $step;
			run_transactions(1);
			check_all();
		}
	}
	end_world();
}

is(join("\n", @problems), '', 'complete means equal to the query at that checkpoint');
cmp_ok($count{shapes}, '>=', $shapes_wanted, "$count{shapes} shapes with $count{nodes} tables");
cmp_ok($count{refused}, '<=', $count{shapes} / 2, "$count{refused} definitions refused");
note "refused: $reasons{$_} x $_" for sort { $reasons{$b} <=> $reasons{$a} } keys %reasons;
cmp_ok($count{compared}, '>', 100, "$count{compared} comparisons of shapes with $count{rows} rows in all");
note sprintf '%d transactions sent, %d times DDL, %d pages, %d kills, %d times tide.verify, %.0f s', @count{qw(sent ddl pages kills verified)}, time - $began;
$_->quit for $main, @writers;
$node->stop('fast');
done_testing();

# ---- the world

sub connect_all
{
	$main = TideSession->new($node);
	@writers = map { TideSession->new($node, options => '-c synchronous_commit=off') } 1 .. 3;
	$_->query("SET search_path = $world->{schema}, public") for $world ? ($main, @writers) : ();
	return;
}

sub set_clock
{
	$clock = time if $is_real;
	$world->{now} = $clock if $world;
	my $value = $is_real ? '' : POSIX::strftime('%Y-%m-%d %H:%M:%S+00', gmtime $clock);
	$main->query("ALTER SYSTEM SET tide.clock = '$value'; SELECT pg_reload_conf();");
	return;
}

sub pass_time
{
	$clock += 60 * number(12) if !$is_real;
	set_clock() if chance(0.5) || $is_real;
	return;
}

sub new_world
{
	my ($n) = @_;
	$world = world_new($n, unit => $is_real ? 'second' : 'minute', now => $clock);
	my (undef, $errors) = $main->try_query(world_sql($world));
	push @problems, "world $n: $1" if $errors =~ /(ERROR: ++(?!23).*)/;
	$_->query("SET search_path = $world->{schema}, public") for @writers;
	%shapes = ();
	%clients = map { $_ => { name => $_, claims => world_claims($world), params => {}, state => new_state() } } qw(A B C);
	for (1 .. 100)
	{
		last if keys %shapes >= $per_world;
		run_transactions(1 + number(5)) if chance(0.3);
		add_shape();
	}
	return;
}

sub end_world
{
	store_ok($node, "stored data of world $world->{n}") if !@problems;
	for my $name (sort keys %shapes)
	{
		last if @problems;
		for my $client (map { $clients{$_} } qw(A C))
		{
			for my $params (@{ $client->{params}{$name} // [] })
			{
				my $found = verify_problems($node, $name, json_params($shapes{$name}{params}, $params), json_claims($client));
				$count{verified}++;
				push @problems, "tide.verify of $name finds $found\n" . describe($name, $params, $client) if $found ne '';
			}
		}
	}
	return if @problems;
	$main->query("SELECT tide.drop_shape('$_')") for sort keys %shapes;
	$main->query("DROP SCHEMA $world->{schema} CASCADE");
	return;
}

# ---- shapes

sub json_params { my ($domains, $values) = @_; return { map { $_ => json_value($domains->{$_}, $values->{$_}) } keys %$values }; }
sub json_claims { return json_params($world->{claims}, $_[0]{claims}); }

# create or replace; false if it is refused
sub define
{
	my ($function, $shape) = @_;
	my $sql = "SELECT tide.$function('$shape->{name}', " . sql_json($shape->{definition}) . ')';
	my (undef, $errors) = $main->try_query($sql);
	if ($errors =~ /(?:ERROR|FATAL): +(\w{5}): (.*)/)
	{
		my ($code, $message) = ($1, $2);
		$count{refused}++;
		$reasons{ $message =~ s/"[^"]*"|\b(?:params|claims)\.\w+|\d+/*/gr }++;
		note "refused: $errors", $json->encode($shape->{definition}) if $ENV{TIDE_SHAPE_REFUSED};
		push @problems, "$function: $errors\n$sql" if !$refusal{$code};
		return 0;
	}
	$count{shapes}++;
	$count{nodes} += @{ $shape->{nodes} };
	$shapes{ $shape->{name} } = $shape;
	for my $client (map { $clients{$_} } sort keys %clients)
	{
		$client->{params}{ $shape->{name} } = [ map { shape_params($shape) } 1 .. (%{ $shape->{params} } ? 1 + number(3) : 1) ];
	}
	delete $clients{B}{params}{ $shape->{name} } if chance(0.4);
	return 1;
}

sub add_shape
{
	my $shape = shape_new($world, 's' . ++$number);
	return define('create_shape', $shape);
}

sub change_shapes
{
	my @names = sort keys %shapes;
	my $kind = number(4);
	if ($kind == 0 && @names > 3)
	{
		my $name = pick(@names);
		$main->query("SELECT tide.drop_shape('$name')");
		delete $shapes{$name};
		delete $_->{params}{$name} for values %clients;
	}
	elsif ($kind == 1) { define('replace_shape', shape_new($world, pick(@names))); }
	elsif (@names < $per_world * 1.5) { add_shape(); }
	return;
}

# ---- writing

# as many random transactions, by all writers at a time, and pulls meanwhile
sub run_transactions
{
	my ($n) = @_;
	my @texts = map { '' } @writers;
	for (1 .. $n)
	{
		my $text = world_transaction($world);
		$texts[ $step ? 0 : number(scalar @texts) ] .= $text;
		$last_text = $text;
	}
	$count{sent} += $n;
	$writers[$_]->begin_query($texts[$_]) for 0 .. $#writers;
	if (!$step && %clients)
	{
		pull_once($clients{ pick(qw(A A B C)) }) for 1 .. number(3);
		change_tables() if chance(0.04);
	}
	for my $writer (@writers)
	{
		my (undef, $errors) = $writer->wait_query;
		push @problems, "transaction: $1" if $errors =~ /(ERROR: ++(?!23|25P02|3B|40|42703|42804|22P02).*)/ || $errors =~ /(lost|FATAL.*)/;
	}
	pass_time() if chance(0.1);
	return $n;
}

# while the writers write
sub change_tables
{
	my $definitions = join ' ', map { $json->encode($_->{definition}) } values %shapes;
	my $ddl = world_ddl($world, sub { return $definitions =~ /\b$_[0]\b/ });
	my (undef, $errors) = $main->try_query($ddl->{sql});
	if ($errors =~ /ERROR: +(\w+)/)
	{
		push @problems, "DDL: $errors\n$ddl->{sql}" if $1 !~ /^(?:23|40|25P02)/;
		$main->try_query('ROLLBACK');
		return;
	}
	$ddl->{done}->();
	$count{ddl}++;
	$last_text .= $ddl->{sql};
	return;
}

# the worker's end is a restart of all
sub kill_worker
{
	my $pid = tide_worker_pid($node);
	return if $pid eq '';
	kill KILL => $pid;
	$count{kills}++;
	usleep(100_000);
	for (1 .. 300)
	{
		last if eval { connect_all(); 1 };
		usleep(100_000);
	}
	return;
}

# ---- pulling and comparing

sub pull_once
{
	my ($client, %opts) = @_;
	my %request = (
		client => "00000000-0000-4000-8000-00000000000" . lc $client->{name},
		claims => json_claims($client),
		shapes => { map { my $name = $_; $name => [ map { json_params($shapes{$name}{params}, $_) } @{ $client->{params}{$name} } ] } keys %{ $client->{params} } });
	$client->{state} = new_state() if $client->{name} eq 'B' && $client->{state}{complete} && rand() < 0.2;
	$request{resync} = [ map { 0 + $_ } (keys %{ $client->{state}{rows} })[0] ] if rand() < 0.02 && %{ $client->{state}{rows} };
	my $limit = rand() < 0.2 ? 10_000 : 1 + int(rand 60);
	for my $try (1 .. 20)
	{
		return if eval { pull_page($node, \%request, $client->{state}, limit => $limit, session => $main); $count{pages}++; 1 };
		my $error = $@;
		next if $error =~ /ERROR: +40001/;
		$error .= $main->query("SELECT name || ': ' || error FROM tide.shapes WHERE state = 'failed'") if $error =~ /not available/;
		push @problems, "pull of $client->{name}: $error" . ($error =~ /shape "(s\d+)"/ && $shapes{$1} ? describe($1) : '');
		last;
	}
	return;
}

sub check_all
{
	pass_time();
	my (undef, $errors) = $main->try_query("SELECT tide.sync('10min')");
	if ($errors =~ /ERROR|FATAL/)
	{
		push @problems, "sync: $errors" . $main->query('SELECT s FROM tide.status s');
		return;
	}
	my $failed = $main->query("SELECT name || ': ' || error FROM tide.shapes WHERE state = 'failed'");
	push @problems, "failed shape $failed\n" . describe($failed =~ /^(\w+)/) if $failed ne '';
	for my $client (map { $clients{$_} } sort keys %clients)
	{
		my $until = time + $PostgreSQL::Test::Utils::timeout_default;
		$client->{state}{complete} = 0;
		$client->{now} = '';
		while ($client->{now} eq '' && !@problems)
		{
			pull_once($client);
			# what now() meant at the client's checkpoint, if that is still the newest
			$client->{now} = $main->query("SELECT \"now\" FROM tide_internal.checkpoints WHERE at = '$client->{state}{checkpoint}{at}'")
			  if $client->{state}{complete};
			die "client $client->{name} is not complete in time" if time > $until;
		}
		compare($client) if !@problems;
	}
	return;
}

# {shape path}{table key} = row
sub held_rows
{
	my ($client) = @_;
	my $state = $client->{state};
	my %held;
	for my $id (sort { $a <=> $b } keys %{ $state->{rows} })
	{
		my $bucket = $state->{buckets}{$id};
		if (!$bucket)
		{
			push @problems, "client $client->{name} has rows of bucket $id, which no answer lists";
			next;
		}
		my $rows = $held{"$bucket->{shape} " . ($bucket->{path} // '')} //= {};
		while (my ($key, $entry) = each %{ $state->{rows}{$id} })
		{
			push @problems, "two versions of $key in $bucket->{shape}: $rows->{$key} and $entry->{row}"
			  if defined $rows->{$key} && $rows->{$key} ne $entry->{row};
			$rows->{$key} = $entry->{row};
		}
	}
	return \%held;
}

sub compare
{
	my ($client) = @_;
	my $held = held_rows($client);
	my $at = "'$client->{now}'::timestamptz";
	for my $name (sort keys %{ $client->{params} })
	{
		my $shape = $shapes{$name};
		my %want;
		for my $params (@{ $client->{params}{$name} })
		{
			for my $line (split /\n/, $main->query("SELECT path, chr(9) || key, chr(9) || row FROM (" . shape_query($shape, $params, $client->{claims}, $at) . ') q'))
			{
				my ($path, $key, $row) = split /\|?\t/, $line, 3;
				my ($of) = grep { $_->{path} eq $path } @{ $shape->{nodes} };
				$want{"$name $path"}{"$world->{schema}.$of->{table}{quoted} $key"} = $row;
				$count{rows}++;
			}
		}
		$count{compared}++;
		my $differences = '';
		for my $node (@{ $shape->{nodes} })
		{
			my $place = "$name $node->{path}";
			my ($w, $h) = ($want{$place} // {}, $held->{$place} // {});
			$differences .= "  '$node->{path}' lacks $_: $w->{$_}\n" for grep { !defined $h->{$_} } sort keys %$w;
			$differences .= "  '$node->{path}' has $_: $h->{$_}\n" for grep { !defined $w->{$_} } sort keys %$h;
			$differences .= "  '$node->{path}' has $_: $h->{$_}, wants $w->{$_}\n" for grep { defined $h->{$_} && $h->{$_} ne $w->{$_} } sort keys %$w;
		}
		next if $differences eq '';
		push @problems, "client $client->{name} at $client->{state}{checkpoint}{at}:\n" . substr($differences, 0, 1500) . describe($name, undef, $client);
	}
	return;
}

sub describe
{
	my ($name, $params, $client) = @_;
	return '' if !defined $name || !$shapes{$name};
	my $shape = $shapes{$name};
	my $text = "shape $name of world $world->{n}: " . JSON::PP->new->canonical->pretty->encode($shape->{definition});
	$params = $client->{params}{$name} if $client && !$params;
	$text .= 'params ' . $json->encode($params) . "\n" if $params;
	$text .= 'claims ' . $json->encode(json_claims($client)) . "\n" if $client;
	$text .= "last transaction: $last_text" if $step;
	return $text;
}
