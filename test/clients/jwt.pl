# Tokens made by jose: all four algorithms, every form of key, and what an attacker makes of them.
use strict;
use warnings;
use File::Basename qw(dirname);
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('jose', start => 0, conf => qq(tide.jwt_audience = 'other, tide'\ntide.jwt_issuer = 'https://issuer.example'\n));
open my $run, '-|', 'node', dirname(__FILE__) . '/jwt.mjs' or die "node: $!\n";
my @lines = map { JSON::PP::decode_json($_) } <$run>;
ok(close($run), 'node ended well');
my @tokens = grep { $_->{token} } @lines;
cmp_ok(scalar(grep { !$_->{good} } @tokens), '>=', 70, 'that many hostile tokens');

for my $key (grep { $_->{key} } @lines)
{
	my ($out, $err);
	my $status = $node->psql('postgres', "SELECT tide.add_jwt_key('$key->{key}', '$key->{alg}', '\\x$key->{bytes}')", stdout => \$out, stderr => \$err);
	if ($key->{bad})
	{
		like($err, qr/cannot use the key/, "refused: $key->{key}");
	}
	else
	{
		is($status, 0, "taken: $key->{key}") or diag($err);
		is($node->safe_psql('postgres', "SELECT thumbprint FROM tide.jwt_keys WHERE kid = '$key->{key}'"), $key->{thumbprint} // '', 'with its thumbprint');
	}
}

for my $token (@tokens)
{
	my ($out, $err);
	$node->psql('postgres', "SELECT c ->> 'sub', c ->> 'role', c -> 'teams' FROM tide_internal.token_claims('$token->{token}') c",
		stdout => \$out, stderr => \$err);
	if ($token->{good}) { is($out . $err, 'ada|app_user|[1, 2]', "good: $token->{name}"); }
	else { is($out . ($err =~ /^psql:<stdin>:1: (.*)/)[0], 'ERROR:  could not authenticate the request', "hostile: $token->{name}"); }
}

# the hostile ones are refused for what they are: as many bad signatures as were made
my $log = slurp_file($node->logfile);
my %causes;
$causes{$_}++ for $log =~ /DETAIL:  (The token.*|There is no key.*)/g;
note(map { "$causes{$_} $_\n" } sort keys %causes);
cmp_ok($causes{"The token's signature is wrong."} // 0, '>=', 40, 'bad signatures');
is($causes{"The token's \"iss\" is none of tide.jwt_issuer."}, undef, 'none for its issuer');
is($causes{"The token has no \"exp\"."}, undef, 'nor for want of exp');
$node->stop;
done_testing();
