# What functions of end-to-end encryption decrypt and derive is gone from the backend's memory afterwards, after
# errors, too. Looks into /proc, so on Linux only.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;
use TideSession;

my $node = tide_new('memory', start => 0);

# writable memory of a process that is its own (shared memory is not), as one string
sub memory
{
	my ($pid) = @_;
	my $all = '';
	open my $maps, '<', "/proc/$pid/maps" or return undef;
	open my $mem, '<:raw', "/proc/$pid/mem" or return undef;
	while (<$maps>)
	{
		next unless /^([0-9a-f]+)-([0-9a-f]+) rw.p/;
		my ($from, $to) = (hex $1, hex $2);
		sysseek $mem, $from, 0 or next;
		while ($from < $to)
		{
			my $n = sysread $mem, my $part, $to - $from > 1 << 20 ? 1 << 20 : $to - $from;
			last if !$n;
			$all .= $part;
			$from += $n;
		}
		$all .= "\0";
	}
	return $all;
}

plan skip_all => q{the sanitizers' shadow memory is too large to look through} if $ENV{TIDE_SANITIZED};
plan skip_all => 'processes of the same user cannot be looked into' if !defined memory((split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0]);

# of this secret: seeds and private keys as Python's hashlib derives them
my $secret = q{'\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f'::bytea};
my %hidden = (
	'seed of the box key' => '2e78613bdf3446c13967f1071b679d33479757d1fe159b945e042681dbd67be1',
	'private box key' => '95ee0278e9ee266af98246879b5438d0ef2fadd098b090d74d62408a02e22af6',
	'seed of the signing key' => 'de1479e0a5abbef698864e8b3af0b67aa08c5eed4379d86b3fdd6b33167cbce2');
# plaintexts are made from their digits only where they are encrypted, in other sessions
sub marker { return join '', map { sprintf '%02x', int rand 256 } 1 .. 40; }
$hidden{$_} = marker() for 'plaintext', 'sealed message', 'plaintext of an error', 'plaintext that is no text', 'detoasted plaintext';
my $pad = '00' x 3000;
my $key = $node->safe_psql('postgres', 'SELECT tide.generate_data_key()');
my $place = q{'t', 'c', '{"id": 1}'};
my %sealed = map { $_ => $node->safe_psql('postgres', "SELECT tide.encrypt('\\x$hidden{$_}', '$key', $place)") } keys %hidden;
my $box = $node->safe_psql('postgres', "SELECT tide.seal('\\x$hidden{'sealed message'}', (tide.device_keys($secret)).box_key)");
$sealed{'plaintext that is no text'} = $node->safe_psql('postgres', "SELECT translate(encode(tide.encrypt('\\xff$hidden{'plaintext that is no text'}', '$key', $place), 'base64'), E'+/=\\n', '-_')");
$node->safe_psql('postgres', "CREATE TABLE stored AS SELECT decode('$hidden{'detoasted plaintext'}$pad', 'hex') AS plaintext");

my $session = TideSession->new($node);
my $pid = $session->query('SELECT pg_backend_pid()');
$session->query(q{SET application_name = 'what is not hidden'});
# each is looked for right after its statement, before its memory is used for something else
sub check
{
	my ($sql, $error, @names) = @_;
	my (undef, $err) = $session->try_query($sql);
	like($err, $error, "$names[0]: used");
	my $memory = memory($pid);
	is(index($memory, pack 'H*', $hidden{$_}), -1, "$_ is not there any more") for @names;
}
cmp_ok(index(memory($pid), 'what is not hidden'), '>', 0, 'the memory of the backend can be searched');
check("SELECT md5(tide.decrypt('$sealed{plaintext}', '$key', $place))", qr/^$/, 'plaintext');
check("SELECT md5(tide.unseal('$box', $secret))", qr/^$/, 'sealed message', 'private box key', 'seed of the box key');
check("SELECT length(tide.sign('x', $secret))", qr/^$/, 'seed of the signing key');
check("SELECT tide.device_keys($secret)", qr/^$/, 'private box key', 'seed of the box key', 'seed of the signing key');
check("SELECT 1 / (length(md5(tide.decrypt('$sealed{'plaintext of an error'}', '$key', $place))) - 32)", qr/division by zero/, 'plaintext of an error');
check("SELECT tide.decrypt_text('$sealed{'plaintext that is no text'}', '$key', $place)", qr/decrypted value is not text in UTF-8/, 'plaintext that is no text');
check("SELECT length(tide.encrypt(plaintext, '$key', $place)) FROM stored", qr/^$/, 'detoasted plaintext');
$session->quit;
$node->stop;
done_testing();
