# Tokens: what is refused and why, what the settings demand, keys that come and go, standbys.
# The cause of each refusal is read from the server log, and the log must not have the token.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;
use TideToken;

my $now = 1_800_000_000;
my $at = "to_timestamp($now)";
my $node = tide_new('jwt', conf => "wal_keep_size = 64MB\nlog_error_verbosity = verbose\n");
$node->safe_psql('postgres', "SELECT tide.add_jwt_key('one', 'HS256', '$SECRET')");

# claims as text with the time filled in; then what a line of the table says
my $good = qq({"sub":"ada","exp":) . ($now + 60) . '}';
my $long = $now + 60;

sub claims { return qq({"sub":"ada","exp":$long,$_[0]}); }
sub header { return qq({"alg":"HS256","kid":"one",$_[0]}); }

# the part of a token that is neither header nor claims nor signature
my ($h, $c, $s) = split /\./, raw_token($good);

# what is wrong => token => cause in the log
my @hostile = (
	[ 'nothing', '', qr/three parts/ ],
	[ 'no dots', 'x', qr/three parts/ ],
	[ 'one dot', "$h.$c", qr/three parts/ ],
	[ 'three dots', "$h.$c.$s.", qr/three parts/ ],
	[ 'five parts, as a JWE has', "$h.$c.$s.$c.$s", qr/three parts/ ],
	[ 'three empty parts', '..', qr/malformed/ ],
	[ 'JSON serialization', qq({"payload":"$c","protected":"$h","signature":"$s"}), qr/three parts/ ],
	[ 'too long', raw_token(claims('"pad":"' . 'x' x 16384 . '"')), qr/longer than 16384/ ],
	[ 'header too long', raw_token($good, header('"pad":"' . 'x' x 2048 . '"')), qr/header is longer/ ],
	[ 'Bearer before it', "Bearer $h.$c.$s", qr/header is not base64url/ ],
	[ 'white space before it', " $h.$c.$s", qr/header is not base64url/ ],
	[ 'newline after it', "$h.$c.$s\n", qr/signature is wrong/ ],
	[ 'zero-width space after it', "$h.$c.$s\x{e2}\x{80}\x{8b}", qr/signature is wrong/ ],
	[ 'padding of the header', "$h=.$c.$s", qr/header is not base64url/ ],
	[ 'padding of the signature', "$h.$c.$s=", qr/signature is wrong/ ],
	[ 'base64 in place of base64url', sign('eyJhbGciOiJIUzI1NiIsImtpZCI6Im9uZSIsInAiOiI+Pz8/In0.' . $c), qr/header is not base64url/ ],
	[ 'left-over bits in the signature', "$h.$c." . left_over($s), qr/signature is wrong/ ],
	[ 'a letter that libsodium takes for _', underscored(), qr/signature is wrong/ ],
	[ 'no signature', "$h.$c.", qr/signature is wrong/ ],
	[ 'half a signature', "$h.$c." . substr($s, 0, 22), qr/signature is wrong/ ],
	[ 'two signatures', "$h.$c.$s$s", qr/signature is wrong/ ],
	[ 'other claims under it', "$h." . base64url(claims('"admin":true')) . ".$s", qr/signature is wrong/ ],
	[ 'other header over it', base64url(header('"x":1')) . ".$c.$s", qr/signature is wrong/ ],
	[ 'another secret', raw_token($good, undef, 'thirty-two bytes of an attacker.'), qr/signature is wrong/ ],
	[ 'empty secret', raw_token($good, undef, ''), qr/signature is wrong/ ],
	[ 'alg none', base64url('{"alg":"none"}') . ".$c.", qr/"alg" is none of/ ],
	[ 'alg none with kid', base64url('{"alg":"none","kid":"one"}') . ".$c.$s", qr/"alg" is none of/ ],
	[ 'alg None', base64url('{"alg":"None","kid":"one"}') . ".$c.", qr/"alg" is none of/ ],
	[ 'alg nOnE, signed', raw_token($good, '{"alg":"nOnE","kid":"one"}'), qr/"alg" is none of/ ],
	[ 'alg in small letters', raw_token($good, '{"alg":"hs256","kid":"one"}'), qr/"alg" is none of/ ],
	[ 'alg with a blank', raw_token($good, '{"alg":"HS256 ","kid":"one"}'), qr/"alg" is none of/ ],
	[ 'alg HS512', raw_token($good, '{"alg":"HS512","kid":"one"}'), qr/"alg" is none of/ ],
	[ 'alg PS256', raw_token($good, '{"alg":"PS256","kid":"one"}'), qr/"alg" is none of/ ],
	[ 'alg of another kind of key', raw_token($good, '{"alg":"RS256","kid":"one"}'), qr/not that of its key/ ],
	[ 'no alg', raw_token($good, '{"kid":"one"}'), qr/"alg" is none of/ ],
	[ 'alg null', raw_token($good, '{"alg":null,"kid":"one"}'), qr/"alg" is none of/ ],
	[ 'alg an array', raw_token($good, '{"alg":["HS256"],"kid":"one"}'), qr/"alg" is none of/ ],
	[ 'two algs', raw_token($good, '{"alg":"none","alg":"HS256","kid":"one"}'), qr/two members/ ],
	[ 'two algs, one escaped', raw_token($good, '{"alg":"HS256","\u0061lg":"none","kid":"one"}'), qr/header has escapes/ ],
	[ 'crit', raw_token($good, header('"crit":["exp"]')), qr/"crit"/ ],
	[ 'crit of nothing', raw_token($good, header('"crit":null')), qr/"crit"/ ],
	[ 'unencoded claims', raw_token($good, header('"b64":false,"crit":["b64"]')), qr/"crit"/ ],
	[ 'typ of another purpose', raw_token($good, header('"typ":"logout+jwt"')), qr/"typ"/ ],
	[ 'typ a number', raw_token($good, header('"typ":1')), qr/"typ"/ ],
	[ 'unknown kid', raw_token($good, '{"alg":"HS256","kid":"two"}'), qr/no key of the token's "kid"/ ],
	[ 'kid in other letters', raw_token($good, '{"alg":"HS256","kid":"ONE"}'), qr/no key of the token's "kid"/ ],
	[ 'kid with SQL', raw_token($good, q({"alg":"HS256","kid":"one' OR true --"})), qr/no key of the token's "kid"/ ],
	[ 'kid a path', raw_token($good, '{"alg":"HS256","kid":"../../dev/null"}', ''), qr/no key of the token's "kid"/ ],
	[ 'empty kid', raw_token($good, '{"alg":"HS256","kid":""}'), qr/no key of the token's "kid"/ ],
	[ 'kid a number', raw_token($good, '{"alg":"HS256","kid":1}'), qr/"kid" is not a string/ ],
	[ 'kid null', raw_token($good, '{"alg":"HS256","kid":null}'), qr/"kid" is not a string/ ],
	[ 'kid too long', raw_token($good, '{"alg":"HS256","kid":"' . 'k' x 257 . '"}'), qr/"kid" is not a string, or too long/ ],
	[ 'a key of its own', raw_token($good, '{"alg":"HS256","kid":"x","jwk":{"kty":"oct","k":"' . base64url($SECRET) . '"}}'), qr/no key of/ ],
	[ 'a URL of keys', raw_token($good, '{"alg":"HS256","kid":"x","jku":"https://evil.example/keys"}'), qr/no key of/ ],
	[ 'header an array', raw_token($good, '["HS256"]'), qr/not an object/ ],
	[ 'header a string', raw_token($good, '"HS256"'), qr/not an object/ ],
	[ 'header with a zero byte', raw_token($good, "$HEADER\0"), qr/not in UTF-8/ ],
	[ 'header not in UTF-8', raw_token($good, header(qq("x":"\xff"))), qr/not in UTF-8/ ],
	[ 'header with more behind', raw_token($good, "$HEADER {}"), qr/malformed/ ],
	[ 'header nested', raw_token($good, header('"x":' . '[' x 500 . ']' x 500)), qr/nested too deep/ ],
	[ 'claims not base64url', sign("$h.$c!"), qr/claims are not base64url/ ],
	[ 'claims empty', sign("$h."), qr/malformed/ ],
	[ 'claims an array', raw_token("[$good]"), qr/not an object/ ],
	[ 'claims no JSON', raw_token('sub=ada'), qr/malformed/ ],
	[ 'claims not in UTF-8', raw_token(claims(qq("x":"\xc3"))), qr/not in UTF-8/ ],
	[ 'claims with a surrogate in UTF-8', raw_token(claims(qq("x":"\xed\xa0\x80"))), qr/not in UTF-8/ ],
	[ 'claims with half a surrogate', raw_token(claims('"x":"\ud800"')), qr/malformed/ ],
	[ 'claims with a zero character', raw_token(claims('"x":"\u0000"')), qr/malformed/ ],
	[ 'claims nested', raw_token(claims('"x":' . '[' x 5000 . ']' x 5000)), qr/nested too deep/ ],
	[ 'two subs', raw_token(claims('"sub":"bob"')), qr/two members/ ],
	[ 'two subs, one escaped', raw_token(claims('"\u0073ub":"bob"')), qr/two members/ ],
	[ 'two members deep in it', raw_token(claims('"x":[{"a":1,"a":1}]')), qr/two members/ ],
	[ 'a number like a bomb', raw_token(claims('"x":1e999999999')), qr/number out of range/ ],
	[ 'a number like a small bomb', raw_token(claims('"x":1e-' . '7' x 30)), qr/number out of range/ ],
	[ 'NaN', raw_token(qq({"sub":"ada","exp":NaN})), qr/malformed/ ],
	[ 'no exp', raw_token('{"sub":"ada"}'), qr/no "exp"/ ],
	[ 'exp null', raw_token('{"sub":"ada","exp":null}'), qr/"exp" is not a number/ ],
	[ 'exp a string', raw_token(qq({"sub":"ada","exp":"$long"})), qr/"exp" is not a number/ ],
	[ 'exp true', raw_token('{"sub":"ada","exp":true}'), qr/"exp" is not a number/ ],
	[ 'exp in milliseconds', raw_token(qq({"sub":"ada","exp":${long}000})), qr/"exp" is no time/ ],
	[ 'exp at the end of time', raw_token('{"sub":"ada","exp":1e300}'), qr/"exp" is no time/ ],
	[ 'exp of many digits', raw_token('{"sub":"ada","exp":' . '9' x 5000 . '}'), qr/"exp" is no time/ ],
	[ 'exp before time began', raw_token('{"sub":"ada","exp":-1}'), qr/"exp" is no time/ ],
	[ 'expired', raw_token('{"sub":"ada","exp":' . ($now - 30) . '}'), qr/has expired/ ],
	[ 'not yet', raw_token(claims('"nbf":' . ($now + 31))), qr/not valid yet/ ],
	[ 'nbf a string', raw_token(claims('"nbf":"0"')), qr/"nbf" is not a number/ ],
	[ 'of the future', raw_token(claims('"iat":' . ($now + 31))), qr/issued in the future/ ],
	[ 'iat an object', raw_token(claims('"iat":{}')), qr/"iat" is not a number/ ],
	[ 'for somebody', raw_token(claims('"aud":"bank"')), qr/"aud" is none of/ ],
	[ 'for some', raw_token(claims('"aud":["bank"]')), qr/"aud" is none of/ ],
	[ 'for the empty name', raw_token(claims('"aud":""')), qr/"aud" is none of/ ],
	[ 'aud a number', raw_token(claims('"aud":1')), qr/"aud" is neither/ ],
	[ 'aud null', raw_token(claims('"aud":null')), qr/"aud" is neither/ ],
	[ 'aud an object', raw_token(claims('"aud":{"a":"b"}')), qr/"aud" is neither/ ],
	[ 'aud with a number', raw_token(claims('"aud":["bank",1]')), qr/element that is not a string/ ],
	[ 'iss a number', raw_token(claims('"iss":1')), qr/"iss" is not a string/ ],
	[ 'sub an object', raw_token(qq({"sub":{"id":"ada"},"exp":$long})), qr/"sub" is neither/ ],
	[ 'sub true', raw_token(qq({"sub":true,"exp":$long})), qr/"sub" is neither/ ]);

# a signature with two _, replaced by one letter beyond ASCII, which is two bytes
sub underscored
{
	for my $n (1 .. 100_000)
	{
		my ($head, $body, $signature) = split /\./, raw_token(claims(qq("n":$n)));
		return "$head.$body.$1\x{c3}\x{bf}$2" if $signature =~ /^(.*?)__(.*)/;
	}
	die 'no _';
}

# the last letter of 32 bytes in base64url has two bits to spare
sub left_over
{
	my ($text) = @_;
	my $letters = join '', 'A' .. 'Z', 'a' .. 'z', '0' .. '9', '-', '_';
	my $i = index $letters, substr($text, -1);
	return substr($text, 0, -1) . substr($letters, $i + 1, 1);
}

# [ code and message, cause in the log ] of each query
sub ask
{
	my ($server, @sql) = @_;
	my $offset = -s $server->logfile;
	my ($out, $err) = ('', '');
	$server->psql('postgres', join("\n", "\\set VERBOSITY verbose", (map { "$_;\n\\echo done" } @sql)),
		stdout => \$out, stderr => \$err, on_error_stop => 0);
	my $log = slurp_file($server->logfile, $offset);
	my @told = $err =~ /ERROR:  (.*)/g;
	my @causes = $log =~ /could not authenticate the request\n.*DETAIL:  (.*)/g;
	return ($out, \@told, \@causes, $log);
}

sub check { return "SELECT tide_internal.token_claims(" . sql_text($_[0]) . ", $at)"; }

# ---- the table
tide_sync($node);    # what the worker says of its start is in the log by now
my ($out, $told, $causes, $log) = ask($node, map { check($_->[1]) } @hostile);
is(@$told, @hostile, 'each is refused');
is_deeply([ grep { $_ ne '28000: could not authenticate the request' } @$told ], [], 'with one error for all');
is(@$causes, @hostile, 'and a cause each in the log');
like($causes->[$_] // '', $hostile[$_][2], $hostile[$_][0]) for 0 .. $#hostile;
unlike($log, qr/STATEMENT|CONTEXT/, 'the log has no statement');
unlike($log, qr/eyJ|\Q$SECRET\E/, 'nor any part of a token');

# ---- and what is good
my %good = (
	'plain' => $good,
	'exp of a fraction' => qq({"sub":"ada","exp":$long.5}),
	'exp with an exponent' => '{"sub":"ada","exp":1.9e9}',
	'within the leeway' => '{"sub":"ada","exp":' . ($now - 29) . ',"nbf":' . ($now + 29) . ',"iat":' . ($now + 29) . '}',
	'sub a number' => qq({"sub":7,"exp":$long}),
	'no sub' => qq({"exp":$long}),
	'other letters' => claims('"name":"\u00c5da \ud83d\ude00"'),
	'deep enough' => claims('"x":' . '[' x 31 . ']' x 31));
for my $name (sort keys %good)
{
	is($node->safe_psql('postgres', "SELECT tide_internal.token_claims(" . sql_text(raw_token($good{$name})) . ", $at) = "
			. sql_text($good{$name}) . '::jsonb'), 't', "good: $name");
}
is($node->safe_psql('postgres', check(raw_token($good, '{"alg":"HS256"}')) . q{->>'sub'}), 'ada', 'no kid, one key of the algorithm');
is($node->safe_psql('postgres', check(raw_token($good, '{"typ":"at+JWT","alg":"HS256","x5u":"x","kid":"one"}')) . q{->>'sub'}), 'ada', 'typ at+jwt');

# ---- settings
sub with_setting
{
	my ($set, $claims, $expected, $name) = @_;
	my ($out, $told, $causes) = ask($node, $set, check(raw_token($claims)) . q{->>'sub'});
	return like(@$causes ? $causes->[0] : $out, $expected, $name);
}
my $aud = 'SET tide.jwt_audience = "tide", "https://tide.example/a?b=c"';
with_setting($aud, claims('"aud":"tide"'), qr/^ada$/m, 'audience');
with_setting($aud, claims('"aud":"https://tide.example/a?b=c"'), qr/^ada$/m, 'another audience');
with_setting($aud, claims('"aud":["x","tide"]'), qr/^ada$/m, 'audience among others');
with_setting($aud, claims('"aud":"TIDE"'), qr/"aud" is none of/, 'other letters are another audience');
with_setting($aud, claims('"aud":["x","y"]'), qr/"aud" is none of/, 'other audiences');
with_setting($aud, claims('"aud":[]'), qr/"aud" is none of/, 'no audience in the array');
with_setting($aud, $good, qr/no "aud"/, 'no audience');
my $iss = 'SET tide.jwt_issuer = "https://a.example", "https://b.example"';
with_setting($iss, claims('"iss":"https://b.example"'), qr/^ada$/m, 'issuer');
with_setting($iss, claims('"iss":"https://b.example/"'), qr/"iss" is none of/, 'another issuer');
with_setting($iss, $good, qr/"iss" is none of/, 'no issuer');
with_setting('SET tide.jwt_require_exp = off', '{"sub":"ada"}', qr/^ada$/m, 'no exp, where none is required');
with_setting('SET tide.jwt_require_exp = off', '{"sub":"ada","exp":1}', qr/has expired/, 'but what it says counts');
with_setting('SET tide.jwt_leeway = 0', '{"sub":"ada","exp":' . $now . '}', qr/has expired/, 'no leeway');
with_setting("SET tide.jwt_leeway = '10min'", '{"sub":"ada","exp":' . ($now - 599) . '}', qr/^ada$/m, 'much leeway');

# ---- keys come and go
sub key_of { return qq({"alg":"HS256","kid":"$_[0]"}); }
my $second = 'another secret of thirty-two byte';
my $by_one = check(raw_token($good));
my $by_two = check(raw_token($good, key_of('two'), $second));
$node->safe_psql('postgres', "SELECT tide.add_jwt_key('two', 'HS256', '$second', $at)");
(undef, undef, $causes) = ask($node, $by_one, $by_two, check(raw_token($good, '{"alg":"HS256"}')),
	"SELECT tide.add_jwt_key('two', 'HS256', '$second', $at + interval '1 us')", $by_two, check(raw_token($good, '{"alg":"HS256"}')),
	"SELECT tide.drop_jwt_key('one')", $by_one, $by_two);
is_deeply($causes, [ q(The token's key has expired.), q(The token has no "kid", and there are several keys of its algorithm.),
		q(There is no key of the token's "kid".) ], 'rotation');
like(slurp_file($node->logfile), qr/tide_internal|28000/, 'the log is there');
unlike(slurp_file($node->logfile), qr/\Q$SECRET\E|\Q$second\E/, 'and has no secret');
$node->safe_psql('postgres', "SELECT tide.add_jwt_key('one', 'HS256', '$SECRET')");

# ---- databases of other encodings
for my $encoding (qw(LATIN1 SQL_ASCII))
{
	$node->safe_psql('postgres', "CREATE DATABASE \L$encoding\E_tokens ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	$node->safe_psql(lc($encoding) . "_tokens", "CREATE EXTENSION pg_tide; SELECT tide.add_jwt_key('one', 'HS256', '$SECRET')");
	my $in = sub { my ($out, $err) = ('', ''); $node->psql(lc($encoding) . "_tokens", check($_[0]) . $_[1], stdout => \$out, stderr => \$err); return $out . $err; };
	is($in->(raw_token(claims(qq("name":"\x{c3}\x{85}da"))), q{->>'name' = convert_from(decode('} . ($encoding eq 'LATIN1' ? 'c5' : 'c385') . q{6461', 'hex'), getdatabaseencoding())}),
		't', "$encoding: letters it has");
	like($in->(raw_token(claims(qq("name":"\x{e2}\x{82}\x{ac}"))), q{->>'sub'}), $encoding eq 'LATIN1' ? qr/could not authenticate the request/ : qr/^ada$/, "$encoding: one it has not");
	like($in->(raw_token(claims(qq("name":"\xff"))), ''), qr/could not authenticate the request/, "$encoding: not UTF-8");
}

# ---- pulls: by whom and from where
$node->safe_psql('postgres', q{
	CREATE TABLE notes (id int PRIMARY KEY, owner text, body text);
	CREATE TABLE members (team int, member text, PRIMARY KEY (team, member));
	CREATE TABLE tasks (id int PRIMARY KEY, team int);
	INSERT INTO notes VALUES (1, 'ada', 'a'), (2, 'bob', 'b');
	INSERT INTO members VALUES (1, 'ada'), (2, 'bob');
	INSERT INTO tasks SELECT i, 1 + i % 2 FROM generate_series(1, 10) i;
	SELECT tide.create_shape('mine', '{"table": "notes", "where": "owner = claims.sub"}');
	SELECT tide.create_shape('team', '{"table": "tasks", "where": "team IN (SELECT team FROM members WHERE member = claims.sub)"}');
	CREATE ROLE app LOGIN;
});
tide_sync($node);
wait_for_sql($node, q{SELECT bool_and(state = 'live') FROM tide.shapes});
my $standby = tide_standby($node, 'standby');

sub rows_for
{
	my ($server, $request, $user) = @_;
	return $server->safe_psql('postgres', "SELECT string_agg((c -> 'key' ->> 'id'), ' ' ORDER BY (c -> 'key' ->> 'id')::int) FROM jsonb_array_elements(tide.pull("
		  . sql_text($request) . ")::jsonb -> 'changes') c", extra_params => [ '-U', $user // 'app' ]);
}
for my $server ($node, $standby)
{
	my $name = $server->name;
	my $ada = token(sub => 'ada');
	is(rows_for($server, qq({"token": "$ada", "shapes": {"mine": {}}})), '1', "$name: ada's own");
	is(rows_for($server, qq({"token": "$ada", "shapes": {"team": {}}})), '2 4 6 8 10', "$name: of ada's team");
	is(rows_for($server, '{"token": "' . token(sub => 'bob') . '", "shapes": {"mine": {}}}'), '2', "$name: bob's own");
	is(rows_for($server, '{"token": "' . token(sub => 'eve') . '", "shapes": {"mine": {}, "team": {}}}'), '', "$name: eve has none");
	is(rows_for($server, '{"shapes": {"mine": {}, "team": {}}}'), '', "$name: nor has nobody");
	(undef, $told, $causes) = ask($server, map { "SELECT tide.pull(" . sql_text($_) . ')' }
		'{"token": "' . token(sub => 'ada', exp => time - 31) . '", "shapes": {"mine": {}}}',
		'{"token": 1, "shapes": {"mine": {}}}',
		qq({"token": "$ada", "claims": {"sub": "bob"}, "shapes": {"mine": {}}}),
		qq({"token": "$ada", "claims": {}, "shapes": {"mine": {}}}),
		'{"token": "", "shapes": {"mine": {}}}');
	is_deeply($told, [ '28000: could not authenticate the request',
			'22023: field "token" of the request must be a string',
			('22023: fields "token" and "claims" of the request exclude each other') x 2,
			'28000: could not authenticate the request' ], "$name: what is no token");
	unlike(slurp_file($server->logfile), qr/\Q$ada\E/, "$name: the log has not seen the token");
}

# ---- membership taken away in the database: the next pull drops the bucket
my $state = pull_all($node, { token => token(sub => 'ada'), shapes => { team => {} } });
is(scalar(() = state_rows($state, "public.tasks")), 5, 'five tasks');
$node->safe_psql('postgres', q{DELETE FROM members WHERE member = 'ada'});
tide_sync($node);
pull_all($node, { token => token(sub => 'ada'), shapes => { team => {} } }, state => $state);
is(scalar(() = state_rows($state, "public.tasks")), 0, 'none, once membership is taken away');
is($state->{drops}, 1, 'by a drop of the bucket');
# another user's token with ada's cookie gets his own, and drops hers
$node->safe_psql('postgres', q{INSERT INTO members VALUES (1, 'ada')});
tide_sync($node);
my $other = pull_all($node, { token => token(sub => 'ada'), shapes => { team => {} } });
pull_all($node, { token => token(sub => 'bob'), shapes => { team => {} } }, state => $other);
is(join(' ', map { /"id": (\d+)/ } state_rows($other, 'public.tasks')), '1 3 5 7 9', "another's cookie is of no use");

done_testing();
