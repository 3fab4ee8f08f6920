#!/usr/bin/env perl
# Fuzzes the reader of tokens: millions of mutated headers, claims and signatures, made and judged in the
# server by token.c. Meant for a server with sanitizers (test/sanitize.sh), works with any.
#   TIDE_FUZZ_SECONDS   how long (8)
#   TIDE_FUZZ_COUNT     how many at least, however long it takes (0)
#   TIDE_FUZZ_SEED      of the first round (the time)
use strict;
use warnings;
use File::Basename qw(dirname);
use File::Temp qw(tempdir);

my $here = dirname(__FILE__);
my $seconds = $ENV{TIDE_FUZZ_SECONDS} // 8;
my $wanted = $ENV{TIDE_FUZZ_COUNT} // 0;
my $seed = $ENV{TIDE_FUZZ_SEED} // time;
my $config = $ENV{PG_CONFIG} // 'pg_config';
my $round = 20_000;
my $db = 'tide_fuzz_token';
my $dir = tempdir(CLEANUP => 1);
chmod 0755, $dir;

chomp(my $include = `$config --includedir-server`);
chomp(my $cppflags = `$config --cppflags`);
system(($ENV{CC} // 'gcc') . " -shared -fPIC -O1 -Wall $cppflags -I$include -o $dir/token.so $here/token.c") == 0 or die "token.pl: could not compile token.c\n";

sub psql
{
	my ($database, $sql) = @_;
	open my $in, '-|', 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $database, '-c', $sql or die "psql: $!\n";
	my $out = do { local $/; <$in> };
	close $in or die "token.pl: failed: seed $seed\n";
	return $out // '';
}

psql('postgres', "DROP DATABASE IF EXISTS $db");
psql('postgres', "CREATE DATABASE $db ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0");
psql($db, $_) for ('CREATE EXTENSION pg_tide',
	"SELECT tide.add_jwt_key('hs', 'HS256', 'thirty-two bytes of the fuzzer..')",
	q(SELECT tide.add_jwt_key('ed', 'EdDSA', '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}')),
	q(SELECT tide.add_jwt_key('es', 'ES256', '{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}')),
	q(SELECT tide.add_jwt_key('rs', 'RS256', '{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}')),
	"ALTER DATABASE $db SET tide.jwt_audience = 'tide'",
	"CREATE FUNCTION fuzz_tokens(oid, bigint, bigint, timestamptz) RETURNS text LANGUAGE c AS '$dir/token.so', 'fuzz_tokens'");

my (%causes, $cases);
my $until = time + $seconds;
for ($cases = 0; $cases < $wanted || time < $until; $cases += $round, $seed++)
{
	my $said = psql($db, "SELECT fuzz_tokens('tide_internal.token_claims'::regproc, $seed, $round, '2026-01-01')");
	$causes{$2} += $1 while $said =~ /^(\d+) (.+)$/mg;
}
psql('postgres', "DROP DATABASE $db");
print "$cases tokens: ", join(', ', map { "$causes{$_} $_" } sort { $causes{$b} <=> $causes{$a} } keys %causes), "\n";
my $thin = $causes{taken} < $cases / 50 || keys %causes < 20;
print "too few are taken, or for too few reasons refused\n" if $thin;
exit($thin ? 1 : 0);
