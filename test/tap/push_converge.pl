# Twenty clients write offline with every conflict policy, mutators and groups; requests and answers are
# lost, doubled and reordered, backends, worker and postmaster are killed, and another app writes plain SQL: at the end
# all replicas and the server agree, and each mutation took effect once (TidePushKinds has the oracles).
#
#   TIDE_SEED            repeats the choices of a run (not the moments)
#   TIDE_PUSH_MUTATIONS  how many (default 4000)
#   TIDE_PUSH_CRASHES    how many (default 6)
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;
use TidePushKinds;
use TidePushWorld;
use Time::HiRes 'time';

my $mutations = $ENV{TIDE_PUSH_MUTATIONS} // 4000;
my $crashes   = $ENV{TIDE_PUSH_CRASHES}   // 6;
my $seed      = $ENV{TIDE_SEED}           // int(rand(2**31));
srand $seed;
diag "push_converge.pl: $mutations mutations, TIDE_SEED=$seed";

my $conf = "deadlock_timeout = 100ms\nlog_min_messages = warning\nmax_wal_size = 4GB\n";
my $started = time;
my $world = simulate('converge', $mutations, crashes => $crashes, clients => 20);
my @problems = $world->problems;
is(join("\n", @problems[ 0 .. ($#problems < 20 ? $#problems : 20) ]), '', 'server, replicas and oracles agree');
cmp_ok($world->{count}{$_} // 0, '>', 0, "it happened: $_") for qw(requests_lost answers_lost doubled again others elements_seen);
diag sprintf '%s; %.0f s', $world->summary, time - $started;
finish($world);

# the same must notice a server that breaks its promises
for my $fault (qw(double lost skip twice))
{
	$world = simulate("fault_$fault", 300, clients => 4, fault => $fault);
	ok($world->{planted}, "fault $fault was planted");
	@problems = $world->{refused} // $world->problems;
	cmp_ok(scalar @problems, '>', 0, "and found: " . ($problems[0] // ''));
	finish($world);
}
done_testing();

sub simulate
{
	my ($name, $size, %opts) = @_;
	my $node = tide_new($name, conf => $conf);
	$node->safe_psql('postgres', push_schema());
	tide_sync($node);
	my $w = TidePushWorld->new($node, %opts);

	# a push may be refused for a fault: of a group half of which is said to be taken, say
	my $done = eval { $w->run($size, crashes => $opts{crashes} // 0); $w->settle; 1 };
	die $@ if !$done && !$w->{planted};
	$w->{refused} = $@ if !$done;
	return $w;
}

sub finish
{
	my ($w) = @_;
	$w->stop;
	$w->{node}->stop;
	return;
}
