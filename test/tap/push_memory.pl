# Memory that ends anywhere in a push, at the copy of an error that was to be its outcome among others: the push
# is refused as a whole, and the session is in no transaction and holds no lock afterwards.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;
use TideSession;

plan skip_all => q{the sanitizers' shadow memory is beyond all limits} if $ENV{TIDE_SANITIZED};

my $node = tide_new('push_memory');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE hungry (id int PRIMARY KEY);
-- an error with a long context, when there is no memory left even for small things
CREATE FUNCTION eat(depth int, n int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	eaten text[] := '{}';
BEGIN
	IF depth > 0 THEN
		RETURN eat(depth - 1, n);
	END IF;
	FOR i IN 1 .. n LOOP
		eaten := eaten || repeat('x', 50);
	END LOOP;
	RETURN 0;
END $$;
CREATE FUNCTION eat() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM eat(30, 5000);
	RETURN NEW;
END $$;
CREATE TRIGGER eat BEFORE INSERT ON hungry FOR EACH ROW EXECUTE FUNCTION eat();
CREATE TABLE careful (id int PRIMARY KEY);
CREATE FUNCTION eat_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 3 LOOP
		BEGIN
			PERFORM eat(30, 5000);
			EXIT;
		EXCEPTION WHEN out_of_memory THEN
			NULL;
		END;
	END LOOP;
	RETURN NEW;
END $$;
CREATE TRIGGER eat BEFORE INSERT ON careful FOR EACH ROW EXECUTE FUNCTION eat_again();
SELECT tide.allow_writes('hungry');
SELECT tide.allow_writes('careful');
SQL

my $client = '3e300000-0000-4000-8000-000000000001';
my $id = 0;
for my $table (qw(hungry careful))
{
	my ($refused, $open, @strange) = (0, 0);
	for my $step (0 .. 149)
	{
		my $session = TideSession->new($node);
		$session->query('SELECT eat(1, 1)');
		my $pid = $session->query('SELECT pg_backend_pid()');
		my $next = $id + 1;
		my $push = qq(SELECT r->>'status' FROM jsonb_array_elements(tide.push('{"client": "$client", "mutations": [{"id": $next, "op": "insert", "table": "$table", "key": {"id": $next}}]}')::jsonb->'results') r);
		if (!limit_memory($pid, $step < 149 ? $step * 12_000 : 1 << 30))
		{
			plan skip_all => 'the memory of a process cannot be limited here';
		}
		my ($status, $err) = $session->try_query($push);
		if ($err =~ /(ERROR|FATAL): +5[38]/) { $refused++; }
		elsif ($status eq 'applied' && $err eq '') { $id = $next; }
		else { push @strange, substr "$status $err", 0, 500; }
		# whatever it was, another statement is one of its own
		$open++ if ($session->try_query('SELECT 1'))[1] =~ /25P02/;
		$open++ if $node->safe_psql('postgres', "SELECT count(*) FROM pg_locks WHERE pid = $pid AND locktype = 'transactionid'");
		$session->quit;
	}
	is($open, 0, "$table: no transaction stays open");
	is("@strange", '', 'there are two outcomes');
	ok($refused > 2 && $refused < 150, "both were seen ($refused of 150 were refused)");
	is($node->safe_psql('postgres', "SELECT coalesce(max(last_mutation_id), 0) FROM tide.clients WHERE client_id = '$client'"), $id, 'what was refused was not done');
}

$node->stop;
done_testing();
