# What a pull says of a client's mutations is of one moment with the rows it brings: of mutators, groups
# and rejections, while the push is not committed yet, when the ingest is behind, and page by page.
use strict;
use warnings;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;
use TideSession;

my $node = tide_new('ack');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE items (id int PRIMARY KEY, v text CHECK (v <> 'bad'));
CREATE FUNCTION make(args jsonb, claims jsonb) RETURNS void LANGUAGE sql AS $$
	INSERT INTO items SELECT i, 'made' FROM generate_series((args ->> 'from')::int, (args ->> 'to')::int) i
$$;
SELECT tide.allow_writes('items'), tide.create_shape('items', '{"table": "items"}'), tide.create_mutator('make', 'make(jsonb, jsonb)');
SQL
tide_sync($node);

my $client = '00000000-0000-4000-8000-0000000000ac';
my $cookie;
sub push_sql { return 'SELECT tide.push(' . sql_json({ client => $client, mutations => [@_] }) . ')'; }
# "rows last rejected complete" of a pull, which is then taken as arrived
sub pull_it
{
	my (%more) = @_;
	my $answer = JSON::PP::decode_json($node->safe_psql('postgres',
		'SELECT tide.pull(' . sql_json({ client => $client, shapes => { items => {} }, cookie => $cookie, %more }) . ')'));
	$cookie = $answer->{cookie};
	return join ' ', scalar(@{ $answer->{changes} }), $answer->{last_mutation_id},
	  '[' . join(',', map { $_->{id} } @{ $answer->{rejected} }) . ']', $answer->{complete} ? 'complete' : 'more';
}
sub insert { my ($id, $key, $v, @tx) = @_; return { id => $id, op => 'insert', table => 'items', key => { id => $key }, values => { v => $v }, @tx }; }

is(pull_it(), '0 0 [] complete', 'a client that has pushed nothing');

# a mutator that writes ten rows, a group, a group that is rejected
my $session = TideSession->new($node);
$session->query('BEGIN');
$session->query(push_sql({ id => 1, call => 'make', args => { from => 1, to => 10 } },
	insert(2, 11, 'a', tx => 1), insert(3, 12, 'b', tx => 1),
	insert(4, 13, 'c', tx => 2), insert(5, 14, 'bad', tx => 2),
	{ id => 6, call => 'no_such' }));
$node->safe_psql('postgres', q{INSERT INTO items VALUES (100, 'by another')});
tide_sync($node);
is(pull_it(), '1 0 [] complete', 'a push that is not committed is not told of, nor its rows');
$session->query('COMMIT');
tide_sync($node);
is(pull_it(limit => 5), '5 0 [] more', 'a page of its rows: not told of yet');
is(pull_it(limit => 5), '5 0 [] more', 'nor with the next');
is(pull_it(limit => 5), '2 6 [4,5,6] complete', 'the last one tells of all of it');
is(pull_it(), '0 6 [] complete', 'once, for who sends the cookie back');

# the ingest is behind: pushes committed meanwhile are not told of
$node->safe_psql('postgres', 'SELECT tide.stop()');
$node->safe_psql('postgres', push_sql({ id => 7, call => 'make', args => { from => 20, to => 22 } }));
is(pull_it(), '0 6 [] complete', 'a push the ingest has not seen');
$node->safe_psql('postgres', 'SELECT tide.start()');
tide_sync($node);
is(pull_it(), '3 7 [] complete', 'comes with its rows');

# two pushes of a client in one transaction, one of them undone, and one with nothing but rejections
$session->query('BEGIN');
$session->query(push_sql(insert(8, 30, 'x')));
$session->query('SAVEPOINT s');
$session->query(push_sql(insert(9, 31, 'y')));
$session->query('ROLLBACK TO s');
$session->query(push_sql(insert(9, 32, 'z')));
$session->query('COMMIT');
$session->quit;
tide_sync($node);
is(pull_it(), '2 9 [] complete', 'what was rolled back was never told of');
$node->safe_psql('postgres', push_sql({ id => 10, call => 'no_such' }));
tide_sync($node);
is(pull_it(), '0 10 [10] complete', 'a push of rejections alone is told of');

$node->stop;
done_testing();
