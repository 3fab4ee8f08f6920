# src/crypto against test vectors: builds test/crypto/known_answers.c with the compiler that built the server.
use strict;
use warnings;
use File::Basename qw(dirname);
use PostgreSQL::Test::Utils;
use Test::More;

my $top = dirname(__FILE__) . '/../..';
my $program = PostgreSQL::Test::Utils::tempdir() . '/known_answers';
my ($include) = run_command([ 'pg_config', '--includedir-server' ]);
my $cc = $ENV{CC} || 'gcc';
system($cc, '-Wall', '-Wextra', '-Wno-unused-parameter', '-Wno-sign-compare', "-I$include", "-I$top/src", '-o', $program,
	"$top/test/crypto/known_answers.c", (map { "$top/src/crypto/$_.c" } qw(base64url device envelope passphrase)), '-lsodium') == 0
  or die "could not build known_answers\n";

open my $run, '-|', $program or die "known_answers: $!\n";
my $planned;
while (my $line = <$run>)
{
	ok(!$1, $2) if $line =~ /^(not )?ok \d+ - (.*)/;
	$planned = $1 if $line =~ /^1\.\.(\d+)/;
}
ok(close($run), 'the program ended well');
is(Test::More->builder->current_test, ($planned // 0) + 1, 'and told all');
done_testing();
