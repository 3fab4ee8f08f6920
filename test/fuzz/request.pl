#!/usr/bin/env perl
# Fuzzes the parsers of pull and push requests and of cookies: millions of them, mutated from request.corpus, made and
# judged in the server by request.c. Meant for a server with sanitizers (test/sanitize.sh), works with any.
#   TIDE_SEED           of the first round
#   TIDE_FUZZ_SECONDS   how long (8)
#   TIDE_FUZZ_COUNT     how many at least, however long it takes (0)
use strict;
use warnings;
use File::Basename qw(dirname);
use File::Temp qw(tempdir);

my $here = dirname(__FILE__);
my $seconds = $ENV{TIDE_FUZZ_SECONDS} // 8;
my $wanted = $ENV{TIDE_FUZZ_COUNT} // 0;
my $seed = $ENV{TIDE_SEED} || int(rand(2**31));
my $config = $ENV{PG_CONFIG} // 'pg_config';
my $round = 20_000;
my $db = 'tide_fuzz_request';
my $dir = tempdir(CLEANUP => 1);
chmod 0755, $dir;
print "request.pl: $seconds s, at least $wanted, TIDE_SEED=$seed\n";

chomp(my $include = `$config --includedir-server`);
chomp(my $cppflags = `$config --cppflags`);
system(($ENV{CC} // 'gcc') . " -shared -fPIC -O1 -g -Wall $cppflags -I$include -I$here/../../src -o $dir/request.so $here/request.c") == 0
  or die "request.pl: could not compile request.c\n";
open my $in, '<', "$here/request.corpus" or die "request.pl: request.corpus: $!\n";
chomp(my @corpus = <$in>);
my $corpus = join ', ', map { "\$corpus\$$_\$corpus\$" } @corpus;

sub psql
{
	my ($database, @sql) = @_;
	local $ENV{PGOPTIONS} = '-c client_min_messages=warning';
	open my $said, '-|', 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $database, map { ('-c', $_) } @sql or die "psql: $!\n";
	my $out = do { local $/; <$said> };
	close $said or die "request.pl: failed: TIDE_SEED=$seed\n";
	return $out // '';
}

# requests of 6 mutations are too many; history e0 ended at operation 700 and went on as e1
psql('postgres', "DROP DATABASE IF EXISTS $db");
psql('postgres', "CREATE DATABASE $db ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0");
psql($db, 'CREATE EXTENSION pg_tide',
	"ALTER DATABASE $db SET tide.max_push_mutations = 5",
	q(INSERT INTO tide_internal.epochs VALUES ('00000000-0000-4000-8000-0000000000e0', 700)),
	"CREATE FUNCTION fuzz_requests(text[], uuid, bigint, bigint) RETURNS text LANGUAGE c AS '$dir/request.so', 'fuzz_requests'");

my (%outcomes, $cases);
my $begin = time;
# pg_tide first: its functions are the library's
for ($cases = 0; $cases < $wanted || time < $begin + $seconds; $cases += $round, $seed++)
{
	my $said = psql($db, q(LOAD 'pg_tide'), "SELECT fuzz_requests(ARRAY[$corpus], '00000000-0000-4000-8000-0000000000e1', $seed, $round)");
	$outcomes{$2} += $1 while $said =~ /^(\d+) (.+)$/mg;
}
my $took = time - $begin || 1;
psql('postgres', "DROP DATABASE $db");
print "$cases requests in $took s: ", join(', ', map { "$outcomes{$_} $_" } sort { $outcomes{$b} <=> $outcomes{$a} } keys %outcomes), "\n";
my @thin = grep { ($outcomes{$_} // 0) < $cases / 100 } 'pull taken', 'pull taken, cookie too', 'pull taken, cookie not', 'push taken';
print "too few: @thin\n" if @thin;
print 'too few kinds of refusals: ', scalar(keys %outcomes), "\n" if keys %outcomes < 30;
exit(@thin || keys %outcomes < 30 ? 1 : 0);
