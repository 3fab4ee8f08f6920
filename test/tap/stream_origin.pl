# Two nodes, one of which replicates from the other: what origin leaves out of the stream.
use strict;
use warnings;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $from = tide_new('origin_from', extension => 0);
my $to = tide_new('origin_to', extension => 0);
my $json = JSON::PP->new;

$_->safe_psql('postgres', 'CREATE TABLE items (id int PRIMARY KEY, title text)') for $from, $to;
$from->safe_psql('postgres', "INSERT INTO items VALUES (1, 'copied'); CREATE PUBLICATION items FOR TABLE items");
$to->safe_psql('postgres', "SELECT pg_create_logical_replication_slot(s, 'pg_tide') FROM unnest(ARRAY['any', 'none', 'default']) s");
$to->safe_psql('postgres', 'CREATE SUBSCRIPTION items CONNECTION ' . sql_text($from->connstr('postgres')) . ' PUBLICATION items');
$to->wait_for_subscription_sync($from, 'items');

$from->safe_psql('postgres', "INSERT INTO items VALUES (2, 'replicated'); UPDATE items SET title = 'replicated again' WHERE id = 1");
$from->wait_for_catchup('items');
$to->safe_psql('postgres', "INSERT INTO items VALUES (10, 'own')");
$from->safe_psql('postgres', "INSERT INTO items VALUES (3, 'replicated'); DELETE FROM items WHERE id = 2");
$from->wait_for_catchup('items');
$to->safe_psql('postgres', "UPDATE items SET title = 'own' WHERE id = 3");

# "insert 10", and so on, of the changes a slot has
sub changes
{
	my ($slot, @options) = @_;
	my $options = join '', map { ", '$_'" } @options;
	my @lines = split /\n/, $to->safe_psql('postgres', "SELECT data FROM pg_logical_slot_get_changes('$slot', NULL, NULL$options)");

	return [ map { "$_->{type} $_->{key}{id}" } grep { $_->{key} } map { $json->decode($_) } @lines ];
}

is_deeply(changes('none', origin => 'none'), [ 'insert 10', 'update 3' ], 'none: what was written here, also to a row that came from there');
is_deeply(changes('any', origin => 'any'),
	[ 'insert 1', 'insert 2', 'update 1', 'insert 10', 'insert 3', 'delete 2', 'update 3' ], 'any: all of it, in the order it was committed here');
is_deeply(changes('default'), [ 'insert 1', 'insert 2', 'update 1', 'insert 10', 'insert 3', 'delete 2', 'update 3' ], 'which is the default');

# a whole transaction
$from->safe_psql('postgres', "BEGIN; INSERT INTO items VALUES (4, 'x'); INSERT INTO items VALUES (5, 'x'); COMMIT");
$from->wait_for_catchup('items');
is_deeply(changes('none', origin => 'none'), [], 'nothing of a transaction that replication brought');

$to->safe_psql('postgres', 'DROP SUBSCRIPTION items');
$_->stop for $to, $from;
done_testing();
