# A standby made with pg_basebackup serves pulls equal to the primary's at the same op_id.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $primary = tide_new('primary', conf => "wal_keep_size = 64MB\n");
my $client = 'ba51c000-0000-4000-8000-000000000001';

$primary->safe_psql('postgres', q{
	CREATE TABLE issues (id int PRIMARY KEY, team text, title text, data jsonb);
	INSERT INTO issues SELECT i, 'team ' || i % 3, 'issue ' || i, jsonb_build_object('n', i)
		FROM generate_series(1, 300) i;
	SELECT tide.create_shape('team', '{"table": "issues", "where": "team = params.team"}');
	SELECT tide.create_shape('few', '{"table": "issues", "columns": ["title"], "where": "id < 100"}');
	SELECT tide.allow_writes('issues');
	-- of several tables, entitled by a subquery
	CREATE TABLE members (team text, member text, PRIMARY KEY (team, member));
	CREATE TABLE notes (id int PRIMARY KEY, team text, issue int REFERENCES issues DEFERRABLE);
	INSERT INTO members VALUES ('team 0', 'ann'), ('team 2', 'ann'), ('team 1', 'bob');
	INSERT INTO notes SELECT i, 'team ' || i % 3, i + 100 FROM generate_series(1, 9) i;
	SELECT tide.create_shape('notes', '{"table": "notes", "where": "team IN (SELECT team FROM members WHERE member = claims.sub)",
		"include": {"issue": {"table": "issues", "columns": ["title"]}}}');
});
tide_sync($primary);
wait_for_sql($primary, q{SELECT bool_and(state = 'live') FROM tide.shapes});
my $standby = tide_standby($primary, 'standby');

sub push_one
{
	my ($id, $title) = @_;
	$primary->safe_psql('postgres', qq{SELECT tide.push('{"client": "$client", "claims": {"sub": "ann"}, "mutations":
		[{"id": $id, "op": "update", "table": "issues", "key": {"id": 1}, "values": {"title": "$title"}}]}')});
	return;
}

sub catch_up
{
	tide_sync($primary);
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	return;
}

my $shapes = '{"team": [{"team": "team 0"}, {"team": "team 1"}, {"team": "none"}], "few": {}, "notes": {}}';
my $cookie = 'null';

# a node's answer as text
sub pull_text
{
	my ($node, $with, $limit) = @_;
	return $node->safe_psql('postgres', sprintf q{SELECT tide.pull('{"client": "%s", "shapes": %s, "limit": %d, "cookie": %s, "claims": {"sub": "ann"}}')},
		$client, $shapes, $limit // 1000, $with);
}

# the same request answered by both; the answer. The checkpoint may move between the two where
# nothing of the shapes has changed: its LSN and time are not compared
sub pull_both
{
	my ($name, %opts) = @_;
	my ($from_primary, $from_standby) = map { pull_text($_, $cookie, $opts{limit}) } $primary, $standby;

	my ($want, $have) = map { s/"lsn":"[^"]*","at":"[^"]*"/-/r } $from_primary, $from_standby;
	is($have, $want, $name);
	my $answer = JSON::PP::decode_json($from_standby);
	$cookie = JSON::PP->new->canonical->encode($answer->{cookie});
	return $answer;
}

is($standby->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', 'the standby is one');
catch_up();
my $pages = 0;
my $answer;
do { $answer = pull_both('first sync, page ' . ++$pages, limit => 120) } until $answer->{complete} || $pages > 9;
is($pages, 3, 'in three pages');

push_one(1, 'pushed');
$primary->safe_psql('postgres', q{
	UPDATE issues SET team = 'team 1' WHERE id % 30 = 0;
	DELETE FROM issues WHERE id % 50 = 7 AND id NOT IN (SELECT issue FROM notes);
	INSERT INTO issues VALUES (1000, 'none', 'a bucket made later', NULL);
	INSERT INTO members VALUES ('team 1', 'ann');
	DELETE FROM members WHERE (team, member) = ('team 0', 'ann');
});
catch_up();
$answer = pull_both('changes');
is($answer->{last_mutation_id}, 1, 'the write checkpoint came along');
ok(scalar(@{ $answer->{changes} }) > 10, 'there were changes');
ok($answer->{complete}, 'complete');
is(scalar(grep { $_->{table} eq 'public.notes' } @{ $answer->{changes} }), 3, 'a subquery gave the notes of another team');
is(scalar(@{ $answer->{drop} }), 2, 'and took those of one, with their issues');

# the log has moved its rows since: superseded entries, vacuumed and rewritten tables
$primary->safe_psql('postgres', q{UPDATE issues SET title = title || '!'});
catch_up();
$primary->safe_psql('postgres', "VACUUM tide_shadow.t1");
$primary->safe_psql('postgres', q{UPDATE issues SET title = title || '?' WHERE id < 50});
catch_up();
$primary->safe_psql('postgres', "VACUUM FULL tide_shadow.t1");
catch_up();
pull_both('after VACUUM FULL of the shadow table');
$cookie = 'null';
$answer = pull_both('from the start');
my $n = grep { $_->{op} eq 'put' } @{ $answer->{changes} };
my $want = $primary->safe_psql('postgres',
	q{SELECT count(*) FILTER (WHERE team <> 'team 2') + count(*) FILTER (WHERE id < 100) + 2 * 6 FROM issues});
is($n, $want, 'every row once, six notes and their issues too');

# a standby that lags: nothing, incomplete, the cookie as it was
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$primary->safe_psql('postgres', q{UPDATE issues SET title = 'newer' WHERE id < 20});
tide_sync($primary);
$answer = JSON::PP::decode_json(pull_text($primary, $cookie));
my $ahead = JSON::PP->new->canonical->encode($answer->{cookie});
$answer = JSON::PP::decode_json(pull_text($standby, $ahead));
is_deeply($answer->{changes}, [], 'lagging: no changes');
is_deeply($answer->{drop}, [], 'lagging: nothing dropped');
ok(!$answer->{complete}, 'lagging: not complete');
is(JSON::PP->new->canonical->encode($answer->{cookie}), $ahead, 'lagging: cookie unchanged');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
catch_up();
$cookie = $ahead;
$answer = pull_both('caught up');
ok($answer->{complete}, 'caught up: complete');

# promoted: the cookies of the primary still count
$primary->stop;
$standby->promote;
# the slot is not there: the worker finds that out by itself
tide_sync($standby);
is($standby->safe_psql('postgres', q{SELECT last_error ~ 'compared' FROM tide.status}), 't', 'promoted: the ingest goes on');
$answer = JSON::PP::decode_json(pull_text($standby, $ahead));
ok($answer->{complete}, 'promoted: the cookie still counts');
is_deeply($answer->{drop}, [], 'promoted: nothing dropped');
is_deeply($answer->{changes}, [], 'promoted: nothing sent again');
$standby->stop;

done_testing();
