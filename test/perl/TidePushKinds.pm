package TidePushKinds;

=head1 NAME

TidePushKinds - what simulated clients write, and what must have become of it

=head1 SYNOPSIS

    $session->query(push_schema());
    $first->write(push_first($first));             # before anybody else
    my @mutations = push_mutations($client);       # one to four new ones, for $client->write()
    my $sql = push_server_write($n);               # a transaction of another app
    my @problems = push_problems($node, @clients); # at the end, when all is answered

=head1 NOTES

Every kind has an oracle that shares nothing with pg_tide. It knows what each client wrote, what the
server answered, and what the other app logged in its own transactions (server_log):

 hits    counter     sum of all amounts
 tags    set         elements are unique: those added and not removed by anybody (labels: jsonb)
 kept    keep        each value written names the one before: accepted writes form one chain
 guarded reject      the same, and every update that does not fit was rejected with TD001
 stamp   hlc         value of the highest clock
 marks   hlc         the same with inserts and deletes
 voice   vclock      clocks that know nothing of each other: last write of the highest client id
 best    custom      greatest value of all
 money   mutator     balances are the sums of transfers that were answered applied
 notes   overwrite   no oracle but the effects: each mutation touches its row once or, rejected, never

The table effects is written by triggers: the row and tide.current_mutation() of every change.

=cut

use strict;
use warnings;
use Exporter 'import';
use JSON::PP ();
use TideCluster ();

our @EXPORT = qw(set_element_id push_schema push_first push_mutations push_server_write push_problems push_tables push_shapes);

my $json = JSON::PP->new->canonical->allow_nonref;
my ($docs, $notes, $marks, $guards, $accounts) = (30, 60, 20, 10, 12);
my @tables = qw(docs notes marks guarded accounts transfers);
my $server_writes = 0;

sub push_tables { return @tables; }

sub push_shapes { return map { ($_ => [ {} ]) } @tables; }

sub push_schema
{
	my $triggers = join "\n", map { "CREATE TRIGGER note_effect AFTER INSERT OR UPDATE OR DELETE ON $_ FOR EACH ROW EXECUTE FUNCTION note_effect();" } @tables;
	my $shapes = join "\n", map { qq(SELECT tide.create_shape('$_', '{"table": "$_"}');) } @tables;

	return <<"SQL";
CREATE TABLE docs (id int PRIMARY KEY, title text NOT NULL DEFAULT '', hits int NOT NULL DEFAULT 0 CHECK (hits > -100000),
	kept text NOT NULL DEFAULT 'first', tags text[] NOT NULL DEFAULT '{}', labels jsonb NOT NULL DEFAULT '[]',
	stamp text, voice text, best int NOT NULL DEFAULT 0);
CREATE TABLE notes (id int PRIMARY KEY, body text NOT NULL CHECK (body <> 'bad'), doc int REFERENCES docs DEFERRABLE);
CREATE TABLE marks (id int PRIMARY KEY, v text);
CREATE TABLE guarded (id int PRIMARY KEY, v text NOT NULL DEFAULT 'first');
CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL DEFAULT 0 CHECK (balance > -1000));
CREATE TABLE transfers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, source int, target int, amount int, client uuid, mutation bigint);
-- so that the WAL tells which columns plain SQL changes
ALTER TABLE docs REPLICA IDENTITY FULL;
INSERT INTO docs (id) SELECT generate_series(1, $docs);
INSERT INTO guarded (id) SELECT generate_series(1, $guards);
INSERT INTO accounts (id) SELECT generate_series(1, $accounts);
INSERT INTO notes SELECT i, 'old' FROM generate_series(1, $notes, 2) i;

CREATE TABLE server_log (seq int GENERATED ALWAYS AS IDENTITY, col text, id int, base text, value text,
	at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE effects (client uuid, mutation bigint, tbl text, id int, op text);
CREATE FUNCTION note_effect() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS \$\$
BEGIN
	IF tide.current_client() IS NOT NULL THEN
		INSERT INTO effects VALUES (tide.current_client(), tide.current_mutation(), TG_TABLE_NAME, coalesce(NEW.id, OLD.id), TG_OP);
	END IF;
	-- so that pushes meet
	IF random() < 0.15 THEN PERFORM pg_sleep(0.006); END IF;
	RETURN NULL;
END \$\$;
CREATE FUNCTION highest(current jsonb, base jsonb, new jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
	'SELECT CASE WHEN new::int > current::int THEN new END';
CREATE FUNCTION transfer(args jsonb, claims jsonb) RETURNS jsonb LANGUAGE plpgsql AS \$\$
DECLARE amount int := args->>'amount';
BEGIN
	UPDATE accounts SET balance = balance - amount WHERE id = (args->>'source')::int;
	UPDATE accounts SET balance = balance + amount WHERE id = (args->>'target')::int;
	INSERT INTO transfers (source, target, amount, client, mutation) VALUES ((args->>'source')::int, (args->>'target')::int,
		amount, tide.current_client(), tide.current_mutation());
	IF amount = 13 THEN RAISE EXCEPTION 'unlucky' USING ERRCODE = 'P0113'; END IF;
	RETURN jsonb_build_object('moved', amount);
END \$\$;
$triggers
CREATE ROLE app LOGIN;
GRANT SELECT, INSERT, UPDATE, DELETE ON docs, notes, marks, guarded, accounts TO app;
GRANT SELECT, INSERT ON transfers TO app;
GRANT USAGE ON SCHEMA tide TO app;
GRANT EXECUTE ON FUNCTION tide.current_client(), tide.current_mutation() TO app;
SELECT tide.allow_writes('docs'), tide.allow_writes('notes'), tide.allow_writes('marks', 'hlc'), tide.allow_writes('guarded', 'reject');
SELECT tide.set_conflict_policy('docs', 'hits', 'counter'), tide.set_conflict_policy('docs', 'kept', 'keep'),
	tide.set_conflict_policy('docs', 'tags', 'set'), tide.set_conflict_policy('docs', 'labels', 'set'),
	tide.set_conflict_policy('docs', 'stamp', 'hlc'), tide.set_conflict_policy('docs', 'voice', 'vclock'),
	tide.set_conflict_policy('docs', 'best', 'custom', 'highest(jsonb, jsonb, jsonb)');
SELECT tide.create_mutator('transfer', 'transfer(jsonb, jsonb)');
$shapes
-- the other app's writes, each with a line in its log
CREATE FUNCTION other_write(col text, doc int, new text) RETURNS void LANGUAGE plpgsql AS \$\$
DECLARE old docs; last text;
BEGIN
	SELECT * INTO old FROM docs WHERE id = doc FOR UPDATE;
	IF col = 'guarded' THEN
		SELECT v INTO last FROM guarded WHERE id = doc FOR UPDATE;
		UPDATE guarded SET v = new WHERE id = doc;
	ELSIF col = 'hits' THEN UPDATE docs SET hits = hits + new::int WHERE id = doc;
	ELSIF col = 'kept' THEN last := old.kept; UPDATE docs SET kept = new WHERE id = doc;
	ELSIF col = 'tags' THEN UPDATE docs SET tags = tags || new WHERE id = doc;
	ELSIF col = 'untag' THEN last := old.tags[1]; UPDATE docs SET tags = tags[2:] WHERE id = doc;
	ELSIF col = 'labels' THEN UPDATE docs SET labels = labels || to_jsonb(new) WHERE id = doc;
	ELSIF col = 'unlabel' THEN last := old.labels->>0; UPDATE docs SET labels = labels - 0 WHERE id = doc;
	ELSIF col = 'stamp' THEN UPDATE docs SET stamp = new WHERE id = doc;
	ELSIF col = 'voice' THEN UPDATE docs SET voice = new WHERE id = doc;
	ELSIF col = 'best' THEN UPDATE docs SET best = greatest(best, new::int) WHERE id = doc;
	ELSE UPDATE docs SET title = new WHERE id = doc;
	END IF;
	INSERT INTO server_log (col, id, base, value) VALUES (col, doc, last, new);
END \$\$;
SQL
}

# What the first client writes before all others: stamps and voices, so that those of even documents are the
# clients' alone. (Against what the server wrote first, a vector clock that has not seen it loses.)
sub push_first
{
	my ($client) = @_;
	my @mutations;

	for my $id (1 .. $docs)
	{
		my $clock = $client->clock(0);
		my %values = (stamp => "$clock first", voice => "$client->{uuid} " . sprintf '%06d', ++$client->{writes});
		push @mutations, { kind => 'docs', row => $id, cols => {%values}, body => { op => 'update', table => 'docs', key => { id => $id },
			values => \%values, base => { voice => undef }, hlc => $clock, vclock => { $client->{uuid} => $client->{writes} } } };
	}
	return @mutations;
}

# One to four new mutations of a client.
sub push_mutations
{
	my ($client) = @_;
	my $what = rand;

	return _doc($client) if $what < 0.5;
	return _note($client) if $what < 0.68;
	return _mark($client) if $what < 0.78;
	return _guarded($client) if $what < 0.86;
	return _money() if $what < 0.93;
	return _group($client);
}

# a value nobody else writes
sub _unique { return "$_[0]{number}:" . ($_[0]->next_id + ($_[1] // 0)) . (defined $_[2] ? ":$_[2]" : ''); }

# an update of one to three columns of a document
sub _doc
{
	my ($client, $offset) = @_;
	my $id = rand() < 0.3 && $client->{doc} ? $client->{doc} : 1 + int(rand($docs));
	my $row = $client->view('public.docs', { id => $id }) or return ();
	$client->{doc} = $id;
	my %chosen = map { (qw(title hits hits kept tags labels stamp voice best))[ int(rand(9)) ] => 1 } 1 .. 1 + int(rand(3));
	my (%values, %base, %more);
	my $mutation = { kind => 'docs', row => $id, cols => {} };

	for my $col (sort keys %chosen)
	{
		my $unique = _unique($client, $offset);
		if ($col eq 'hits')
		{
			my $amount = int(rand(21)) - 8 || 3;
			($base{hits}, $values{hits}) = ($row->{hits}, $row->{hits} + $amount);
			$mutation->{cols}{hits} = $amount;
		}
		elsif ($col eq 'kept')
		{
			($base{kept}, $values{kept}) = ($row->{kept}, $unique);
			$mutation->{cols}{kept} = [ $row->{kept}, $unique ];
		}
		elsif ($col eq 'tags' || $col eq 'labels')
		{
			my @new = @{ $row->{$col} };
			my @gone = @new && rand() < 0.3 + @new / 15 ? splice(@new, rand() < 0.3 ? -1 : int(rand(@new)), 1 + int(@new / 8)) : ();
			my @added = map { _unique($client, $offset, "$col$_") } 1 .. (@gone ? int(rand(3)) : 1);
			($base{$col}, $values{$col}) = ($row->{$col}, [ @new, @added ]);
			$mutation->{cols}{$col} = { add => \@added, remove => \@gone };
			$more{seen} = $client->{state}{checkpoint}{lsn};
		}
		elsif ($col eq 'stamp')
		{
			$mutation->{ahead} = 1 if rand() < 0.02;
			$more{hlc} = $client->clock($mutation->{ahead} ? 3_600_000 : 0);
			$values{stamp} = $mutation->{cols}{stamp} = "$more{hlc} $unique";
		}
		elsif ($col eq 'voice')
		{
			$more{vclock} = { $client->{uuid} => ++$client->{writes} };
			$values{voice} = $mutation->{cols}{voice} = "$client->{uuid} " . sprintf '%06d', $client->{writes};
			$base{voice} = $row->{voice} if $id % 2;
		}
		elsif ($col eq 'best') { $values{best} = $mutation->{cols}{best} = int(rand(1_000_000)); $base{best} = $row->{best}; }
		else                   { $values{title} = "title $unique"; }
	}
	$mutation->{body} = { op => 'update', table => 'docs', key => { id => $id }, values => \%values, base => \%base, %more };
	return $mutation;
}

# inserts, updates and deletes that meet each other's rows, break constraints, or miss
sub _note
{
	my ($client) = @_;
	my $id = 1 + int(rand($notes));
	my $op = (qw(insert update delete))[ int(rand(3)) ];
	my %values = (body => rand() < 0.07 ? 'bad' : 'note ' . _unique($client));

	$values{doc} = 1 + int(rand($docs * 1.05)) if rand() < 0.3;
	$values{nothing} = 1 if rand() < 0.02;
	my $table = rand() < 0.02 ? 'nowhere' : 'notes';
	return { kind => 'notes', row => $id,
		body => { op => $op, table => $table, key => { id => $id }, $op eq 'delete' ? () : (values => \%values) } };
}

sub _mark
{
	my ($client) = @_;
	my $id = 1 + int(rand($marks));
	my $op = (qw(insert insert update delete))[ int(rand(4)) ];
	my $clock = $client->clock(0);
	my $value = "$clock " . _unique($client);

	return { kind => 'marks', row => $id, clock => $clock, op => $op, value => $value,
		body => { op => $op, table => 'marks', key => { id => $id }, hlc => $clock, $op eq 'delete' ? () : (values => { v => $value }) } };
}

sub _guarded
{
	my ($client) = @_;
	my $id = 1 + int(rand($guards));
	my $row = $client->view('public.guarded', { id => $id }) or return ();
	my $unique = _unique($client);

	return { kind => 'guarded', row => $id, chain => [ $row->{v}, $unique ],
		body => { op => 'update', table => 'guarded', key => { id => $id }, values => { v => $unique }, base => { v => $row->{v} } } };
}

sub _money
{
	my %args = (source => 1 + int(rand($accounts)), target => 1 + int(rand($accounts)), amount => 1 + int(rand(20)));

	# mutators that are not there, and amounts that are none
	return { kind => 'nothing', body => { call => 'transfre', args => \%args } } if rand() < 0.03;
	return { kind => 'nothing', body => { call => 'transfer', args => { %args, amount => 'all' } } } if rand() < 0.03;
	return { kind => 'money', args => \%args, body => { call => 'transfer', args => \%args } };
}

# two to four mutations that happen together or not at all; some have one that cannot
sub _group
{
	my ($client) = @_;
	my $tx = $client->next_id;
	my $amount = 1 + int(rand(9));
	my @members;

	for my $part ($amount, -$amount)
	{
		my $id = 1 + int(rand($docs));
		my $row = $client->view('public.docs', { id => $id }) or return ();
		push @members, { kind => 'docs', row => $id, cols => { hits => $part }, body => { op => 'update', table => 'docs',
			key => { id => $id }, values => { hits => $row->{hits} + $part }, base => { hits => $row->{hits} } } };
	}
	push @members, _money() if rand() < 0.4;
	splice @members, int(rand(@members + 1)), 0, { kind => 'notes', row => 1, body => { op => 'insert', table => 'notes',
		key => { id => 1 }, values => { body => 'bad' } } } if rand() < 0.3;
	$_->{body}{tx} = $tx for @members;
	return @members;
}

# a transaction of an app that knows nothing of pg_tide
sub push_server_write
{
	my $sql = '';

	for (1 .. 1 + int(rand(3)))
	{
		my $n = ++$server_writes;
		my $col = (qw(hits kept tags untag labels unlabel stamp voice best title guarded note))[ int(rand(12)) ];
		my $id = 1 + int(rand($col eq 'guarded' ? $guards : $docs));
		my $value = $col eq 'hits' ? int(rand(9)) - 4 : $col eq 'best' ? int(rand(1_000_000)) : "s:$n";
		my $note = 1 + int(rand($notes));

		$id += $id % 2 ? 0 : $id < $docs ? 1 : -1 if $col eq 'stamp' || $col eq 'voice';
		if ($col ne 'note') { $sql .= "SELECT other_write('$col', $id, '$value');"; }
		elsif (rand() < 0.5) { $sql .= "DELETE FROM notes WHERE id = $note;"; }
		else { $sql .= "INSERT INTO notes VALUES ($note, 's:$n') ON CONFLICT (id) DO UPDATE SET body = excluded.body;"; }
	}
	return "BEGIN; $sql COMMIT";
}

# what is wrong with the server's tables, given all that was answered
sub push_problems
{
	my ($node, @clients) = @_;
	my @log = map { @{ $_->{log} } } @clients;
	my @done = grep { ($_->{status} // '') =~ /^(?:applied|merged|conflict)$/ } @log;
	my %docs = map { $_->{id} => $_ } _rows($node, 'SELECT * FROM docs');
	my @other = _rows($node, 'SELECT seq, col, id, base, value, floor(extract(epoch FROM at) * 1000) AS at FROM server_log ORDER BY seq');

	return (_answer_problems(@log), _doc_problems($node, \%docs, \@done, \@other),
		_chain_problems('guarded', { map { $_->{id} => $_->{v} } _rows($node, 'SELECT * FROM guarded') },
			[ map { [ $_->{row}, @{ $_->{chain} } ] } grep { $_->{kind} eq 'guarded' && $_->{status} ne 'conflict' } @done ],
			[ grep { $_->{col} eq 'guarded' } @other ]),
		_mark_problems({ map { $_->{id} => $_->{v} } _rows($node, 'SELECT * FROM marks') }, grep { $_->{kind} eq 'marks' } @done),
		_money_problems($node, grep { $_->{kind} eq 'money' && $_->{status} eq 'applied' } @done),
		_effect_problems($node, @clients));
}

sub _rows
{
	my ($node, $sql) = @_;
	return map { $json->decode($_) } split /\n/, $node->safe_psql('postgres', "SELECT to_jsonb(q)::text FROM ($sql) q");
}

# statuses every mutation may have, and groups of one fate
sub _answer_problems
{
	my @problems;
	my %codes = (docs => '22008|25P02', notes => '23514|23503|42703|42P01|P0002|25P02', marks => 'P0002|25P02',
		guarded => 'TD001|25P02', money => 'P0113|23514|25P02', nothing => '42883|22P02|25P02');
	my %group;

	for (@_)
	{
		my $name = "client $_->{client} mutation $_->{id} ($_->{text})";
		my $status = $_->{status} // 'nothing';
		push @problems, "$name: answered $status" if $status !~ /^(?:applied|merged|conflict|rejected)$/;
		push @problems, "$name: rejected with $_->{code}" if $status eq 'rejected' && $_->{code} eq '22008' && !$_->{ahead};
		push @problems, "$name: $status, with a clock from the future" if $status ne 'rejected' && $_->{ahead};
		push @problems, "$name: rejected with $_->{code}" if $status eq 'rejected' && $_->{code} !~ /^(?:$codes{$_->{kind}})$/;
		push @problems, "$name: $status" if $_->{kind} eq 'nothing' && $status ne 'rejected';
		$group{"$_->{client} $_->{body}{tx}"}{ $status eq 'rejected' ? 'rejected' : 'taken' }++ if defined $_->{body}{tx};
	}
	push @problems, map { "group $_ was taken in part" } grep { keys %{ $group{$_} } > 1 } sort keys %group;
	return @problems;
}

sub _doc_problems
{
	my ($node, $docs, $done, $other) = @_;
	my (@problems, %hits, %best, %stamp, %voice, %chain, %alive, %gone);

	for my $mutation (grep { $_->{kind} eq 'docs' } @$done)
	{
		my ($id, $cols) = @$mutation{qw(row cols)};
		my $won = sub { defined $cols->{ $_[0] } && !exists $mutation->{lost}{ $_[0] } && $mutation->{status} ne 'conflict' };

		$hits{$id} += $cols->{hits} // 0;
		$best{$id} = $cols->{best} if ($cols->{best} // 0) > ($best{$id} // 0);
		push @{ $chain{kept} }, [ $id, @{ $cols->{kept} } ] if $won->('kept');
		$stamp{$id} = $cols->{stamp} if ($cols->{stamp} // '') gt ($stamp{$id} // '') && ($id % 2 == 0 || $won->('stamp'));
		$voice{$id} = $cols->{voice} if ($cols->{voice} // '') gt ($voice{$id} // '');
		for my $set (grep { defined $cols->{$_} } qw(tags labels))
		{
			$alive{$set}{$id}{$_} = 1 for @{ $cols->{$set}{add} };
			$gone{$set}{$id}{$_} = 1 for @{ $cols->{$set}{remove} };
		}
		push @problems, "client $mutation->{client} mutation $mutation->{id}: a counter or set lost"
		  if grep { defined $cols->{$_} && !$won->($_) } qw(hits tags labels);
	}
	my %last_stamp;
	for my $write (@$other)
	{
		my ($col, $id, $value) = @$write{qw(col id value)};
		$hits{$id} += $value if $col eq 'hits';
		$best{$id} = $value if $col eq 'best' && $value > ($best{$id} // 0);
		$alive{$col}{$id}{$value} = 1 if $col eq 'tags' || $col eq 'labels';
		$gone{ substr($col, 2) . 's' }{$id}{ $write->{base} } = 1 if $col =~ /^un/ && defined $write->{base};
		$last_stamp{$id} = $write if $col eq 'stamp';
	}
	for my $id (sort { $a <=> $b } keys %$docs)
	{
		my $row = $docs->{$id};
		my %want = (hits => $hits{$id} // 0, best => $best{$id} // 0);
		@want{qw(stamp voice)} = ($stamp{$id}, $voice{$id}) if $id % 2 == 0;
		for my $set (qw(tags labels))
		{
			$want{$set} = join ' ', sort grep { !$gone{$set}{$id}{$_} } keys %{ $alive{$set}{$id} // {} };
			$row->{$set} = join ' ', sort @{ $row->{$set} };
		}
		push @problems, map { "docs $id: $_ is '" . ($row->{$_} // 'null') . "', not '" . ($want{$_} // 'null') . "'" . _set_story($node, $_, $id, $row->{$_}, $done, $other) }
		  grep { ($row->{$_} // '') ne ($want{$_} // '') } sort keys %want;
		push @problems, _stamp_problem($id, $row->{stamp} // '', $stamp{$id} // '', $last_stamp{$id}) if $id % 2;
	}
	return (@problems, _chain_problems('kept', { map { $_ => $docs->{$_}{kept} } keys %$docs }, $chain{kept} // [],
		[ grep { $_->{col} eq 'kept' } @$other ]));
}

# SQL of the id that conflict_set.c gives an element
sub set_element_id
{
	return "encode((SELECT string_agg(substr(int8send(jsonb_hash_extended($_[0], i)), 9 - n, 1), '' ORDER BY i, n)
		FROM generate_series(1, 2) i, generate_series(1, 8) n), 'hex')::uuid";
}

# of a set that is wrong: who added and removed its elements, and had seen what
sub _set_story
{
	my ($node, $col, $id, $is, $done, $other) = @_;
	my $story = '';

	return '' if $col ne 'tags' && $col ne 'labels';
	for my $element (split / /, $is)
	{
		for my $mutation (grep { $_->{kind} eq 'docs' && $_->{row} == $id } @$done)
		{
			my $did = $mutation->{cols}{$col} or next;
			for my $what (qw(add remove))
			{
				$story .= "\n$what $element: client $mutation->{client} $mutation->{status} $mutation->{text}" if grep { $_ eq $element } @{ $did->{$what} };
			}
		}
		$story .= join '', map { "\nremembered of $element: $_->{client_id} $_->{lsn}" } _rows($node, "SELECT client_id, lsn FROM tide_internal.set_elements, to_jsonb('$element'::text) e
			WHERE relid = 'docs'::regclass AND element_id = " . set_element_id('e'));
		$story .= join '', map { "\n$_->{col} $element: server, $_->{seq}, $_->{at}" } grep { $_->{id} == $id && $element eq ($_->{col} =~ /^un/ ? $_->{base} // '' : $_->{value}) } @$other;
	}
	return $story;
}

# A document the other app stamps, too: the last of its stamps, or the highest winner of the clients'. Neither
# may be older than the other by more than the clients' clocks are wrong.
sub _stamp_problem
{
	my ($id, $stamp, $client, $server) = @_;
	my $client_ms = $client eq '' ? 0 : hex substr $client, 0, 12;

	return () if $stamp eq '' && $client eq '' && !$server;
	if ($server && $stamp eq $server->{value})
	{
		return $client_ms > $server->{at} + 5000 ? "docs $id: the stamp is $server->{at} of the server, the client's was $client" : ();
	}
	return "docs $id: stamp is '$stamp', not '$client'" if $stamp ne $client;
	return $server && $server->{at} > $client_ms + 5000 ? "docs $id: stamp $client has won over $server->{at} of the server" : ();
}

# Accepted writes [row, base, value] and the other app's: from 'first' each value leads to the next,
# none is left over, and the last is the row's.
sub _chain_problems
{
	my ($name, $rows, $accepted, $other) = @_;
	my (%next, %count, @problems);

	for my $link (@$accepted, map { [ @$_{qw(id base value)} ] } @$other)
	{
		my ($id, $base, $value) = @$link;
		push @problems, "$name $id: both '$next{$id}{$base}' and '$value' were written over '$base'" if exists $next{$id}{$base};
		$next{$id}{$base} = $value;
		$count{$id}++;
	}
	for my $id (sort { $a <=> $b } keys %$rows)
	{
		my ($value, $steps) = ('first', 0);
		while (exists $next{$id}{$value})
		{
			$value = $next{$id}{$value};
			$steps++;
		}
		push @problems, "$name $id: is '$rows->{$id}', not '$value'" if $rows->{$id} ne $value;
		push @problems, "$name $id: $steps writes in the chain, accepted were $count{$id}" if $steps != ($count{$id} // 0);
	}
	return @problems;
}

# the row is what the mutation of the highest clock made of it
sub _mark_problems
{
	my ($rows, @mutations) = @_;
	my (%last, @problems);

	for my $mutation (@mutations)
	{
		my $last = $last{ $mutation->{row} };
		$last{ $mutation->{row} } = $mutation if !$last || $mutation->{clock} gt $last->{clock};
	}
	for my $id (1 .. $marks)
	{
		my $last = $last{$id};
		my $want = !$last || $last->{op} eq 'delete' ? 'no row' : $last->{value};
		my $is = exists $rows->{$id} ? $rows->{$id} : 'no row';
		push @problems, "marks $id: is '$is', not '$want'" . ($last ? " (client $last->{client} mutation $last->{id})" : '') if $is ne $want;
	}
	return @problems;
}

sub _money_problems
{
	my ($node, @mutations) = @_;
	my (%balance, @problems);

	for my $args (map { $_->{args} } @mutations)
	{
		$balance{ $args->{source} } -= $args->{amount};
		$balance{ $args->{target} } += $args->{amount};
	}
	my %is = map { $_->{id} => $_->{balance} } _rows($node, 'SELECT * FROM accounts');
	push @problems, map { "account $_: $is{$_}, not " . ($balance{$_} // 0) } grep { $is{$_} != ($balance{$_} // 0) } sort keys %is;
	my $transfers = $node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT (client, mutation)) FROM transfers');
	my $want = @mutations . '|' . @mutations;
	push @problems, "transfers: $transfers, not $want" if $transfers ne $want;
	return @problems;
}

# each mutation has touched its rows once, those that were refused none
sub _effect_problems
{
	my ($node, @clients) = @_;
	my %client = map { $_->{uuid} => $_ } @clients;
	my (@problems, %touched);

	for my $line (split /\n/, $node->safe_psql('postgres', 'SELECT client, mutation, tbl, id, count(*) FROM effects GROUP BY 1, 2, 3, 4'))
	{
		my ($uuid, $id, $table, $row, $count) = split /\|/, $line;
		my $mutation = $client{$uuid} ? $client{$uuid}{log}[ $id - 1 ] : undef;
		my $name = $mutation ? "client $mutation->{client} mutation $id ($mutation->{text})" : "$uuid mutation $id";
		my $status = $mutation ? $mutation->{status} // 'nothing' : 'never sent';

		# a transfer from an account to itself touches it twice
		my $wanted = $mutation && $mutation->{kind} eq 'money' && $table eq 'accounts'
		  && $mutation->{args}{source} == $mutation->{args}{target} ? 2 : 1;
		push @problems, "$name: $status, but touched $table $row" if $status !~ /^(?:applied|merged)$/;
		push @problems, "$name: touched $table $row $count times" if $count != $wanted;
		$touched{"$uuid $id"} = 1;
	}
	for my $client (@clients)
	{
		push @problems, map { "client $client->{number} mutation $_->{id} ($_->{text}): $_->{status}, but touched nothing" }
		  grep { ($_->{status} // '') eq 'applied' && ($_->{body}{op} // '') ne 'delete' && !$touched{"$client->{uuid} $_->{id}"} } @{ $client->{log} };
	}
	return @problems;
}

1;
