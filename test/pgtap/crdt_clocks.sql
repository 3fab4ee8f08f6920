-- Laws of the clocks on random values: the order of hybrid logical clocks, their text and binary
-- forms, the rules of tick and receive; the order of vector clocks.
--   TIDE_SEED     repeats a run
--   TIDE_STATES   random clocks (3000)
BEGIN;
\getenv seed TIDE_SEED
\if :{?seed} \else
	SELECT (random() * 2147483647)::int AS seed \gset
\endif
\getenv states TIDE_STATES
\if :{?states} \else
	\set states 3000
\endif
SELECT plan(26);
SELECT diag('crdt_clocks.sql: TIDE_SEED=' || :seed);
SELECT setseed(:seed / 2147483648.0) \g /dev/null
SET LOCAL search_path = public, tide;
SET LOCAL tide.max_clock_drift = 60000;

-- digits at random, often all the same, so that neighbours and extremes are among them
CREATE FUNCTION pg_temp.digits(n int) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN random() < 0.5 THEN repeat(substr('0189af', 1 + floor(random() * 6)::int, 1), n)
		ELSE (SELECT string_agg(to_hex(floor(random() * 16)::int), '') FROM generate_series(1, n)) END $$;
CREATE TEMP TABLE clocks AS
SELECT i, t, t::hlc AS h FROM (SELECT i, pg_temp.digits(12) || '-' || pg_temp.digits(4) || '-' || pg_temp.digits(16) AS t
	FROM generate_series(1, :states) i) x;
CREATE TEMP VIEW pairs AS
SELECT a.t AS ta, b.t AS tb, c.t AS tc, a.h AS a, b.h AS b, c.h AS c FROM clocks a
	JOIN clocks b ON b.i = 1 + (a.i * 7919) % :states JOIN clocks c ON c.i = 1 + (a.i * 104729) % :states;

SELECT is_empty('SELECT * FROM clocks WHERE h::text <> t', 'a clock''s text is what it was made of');
SELECT is_empty('SELECT * FROM pairs WHERE sign(hlc_compare(a, b)) <> CASE WHEN ta COLLATE "C" < tb THEN -1 WHEN ta = tb THEN 0 ELSE 1 END',
	'clocks are in the order of their texts');
SELECT is_empty('SELECT * FROM pairs WHERE (a < b) <> (hlc_compare(a, b) < 0) OR (a <= b) <> (hlc_compare(a, b) <= 0)
	OR (a = b) <> (hlc_compare(a, b) = 0) OR (a <> b) <> (hlc_compare(a, b) <> 0)
	OR (a >= b) <> (hlc_compare(a, b) >= 0) OR (a > b) <> (hlc_compare(a, b) > 0)', 'the operators agree');
SELECT is_empty('SELECT * FROM pairs WHERE hlc_compare(a, b) <> -hlc_compare(b, a) OR hlc_compare(a, a) <> 0', 'antisymmetric, reflexive');
SELECT is_empty('SELECT * FROM pairs WHERE a <= b AND b <= c AND NOT a <= c', 'transitive');
SELECT is_empty('SELECT * FROM pairs WHERE a = b AND hlc_hash(a) <> hlc_hash(b) OR hlc_hash(a) <> hlc_hash(ta::hlc)
	OR hlc_hash_extended(a, 5) <> hlc_hash_extended(ta::hlc, 5)', 'equal clocks hash equal');
SELECT ok(count(DISTINCT hlc_hash(h)) > count(DISTINCT h) * 0.99, 'different ones rarely do') FROM clocks;
SELECT is_empty($$SELECT * FROM clocks WHERE hlc_send(h) <> decode(replace(t, '-', ''), 'hex')$$, 'the binary form is the digits in network order');
SELECT is_empty('SELECT * FROM clocks WHERE make_hlc(hlc_time(h), hlc_counter(h), (repeat(''0'', 16) || hlc_node(h))::uuid) <> h',
	'a clock is made of its parts again');
SELECT results_eq('SELECT max(h)::text, min(h)::text FROM clocks', 'SELECT max(t COLLATE "C") COLLATE "default", min(t COLLATE "C") COLLATE "default" FROM clocks', 'max and min');
SELECT results_eq('SELECT h::text FROM clocks ORDER BY h', 'SELECT t FROM clocks ORDER BY t COLLATE "C"', 'sorted');
SELECT is(count(DISTINCT h), count(DISTINCT t), 'grouped') FROM clocks;
CREATE INDEX ON clocks (h);
CREATE INDEX ON clocks USING hash (h);
SET LOCAL enable_seqscan = off;
SELECT is_empty('SELECT * FROM clocks a WHERE NOT EXISTS (SELECT FROM clocks b WHERE b.h = a.h)', 'found by an index');
RESET enable_seqscan;

-- tick and receive, at a time near the clocks
CREATE TEMP VIEW steps AS
SELECT l, r, at, hlc_tick(l, at) AS ticked, hlc_receive(l, r, at) AS received
  FROM (SELECT hlc_smaller(a, 'fffffffffff0-ffff-ffffffffffffffff') AS l,
		make_hlc(hlc_time(hlc_smaller(a, 'fffffffffff0-ffff-ffffffffffffffff')) + (random() * 20 - 10)::int * interval '1 ms', hlc_counter(b), '00000000-0000-0000-0000-00000000abcd') AS r,
		hlc_time(hlc_smaller(a, 'fffffffffff0-ffff-ffffffffffffffff')) + (random() * 20 - 10)::int * interval '1 ms' AS at
	FROM pairs WHERE hlc_time(a) > '1970-01-02') x;
CREATE TEMP TABLE stepped AS SELECT * FROM steps;
SELECT ok(count(*) > :states / 2, 'steps were made') FROM stepped;
SELECT is_empty('SELECT * FROM stepped WHERE NOT (ticked > l AND hlc_node(ticked) = hlc_node(l))', 'tick is after the clock, of its node');
SELECT is_empty('SELECT * FROM stepped WHERE NOT (received > l AND (received > r OR hlc_time(received) >= hlc_time(r)) AND hlc_node(received) = hlc_node(l))', 'receive is after both');
SELECT is_empty('SELECT * FROM stepped WHERE hlc_time(ticked) < at OR hlc_time(received) < at', 'neither is before the time');
SELECT is_empty('SELECT * FROM stepped WHERE (at > hlc_time(l)) <> (ticked = make_hlc(at, 0, (repeat(''0'', 16) || hlc_node(l))::uuid))
	AND at > hlc_time(l)', 'the counter starts anew when time has gone on');
-- the published rule, word for word, where no counter is full
SELECT is_empty($$SELECT * FROM (SELECT *, greatest(hlc_time(l), hlc_time(r), at) AS t FROM stepped
	WHERE hlc_counter(l) < 65535 AND hlc_counter(r) < 65535) x
	WHERE hlc_time(received) <> t OR hlc_counter(received) <> CASE
		WHEN t = hlc_time(l) AND t = hlc_time(r) THEN greatest(hlc_counter(l), hlc_counter(r)) + 1
		WHEN t = hlc_time(l) THEN hlc_counter(l) + 1
		WHEN t = hlc_time(r) THEN hlc_counter(r) + 1 ELSE 0 END$$, 'receive is what Kulkarni et al. say');

-- the server's clock
CREATE TEMP TABLE nows AS SELECT i, hlc_now() AS h FROM generate_series(1, 20000) i;
SELECT is_empty('SELECT * FROM (SELECT h, lag(h) OVER (ORDER BY i) AS before FROM nows) x WHERE h <= before', 'hlc_now only ever grows');
SELECT is(count(DISTINCT hlc_node(h))::int, 1, 'it is of one node') FROM nows;
SELECT ok(hlc_observe(make_hlc(clock_timestamp() + interval '1 s', 7, '00000000-0000-0000-0000-000000000001')) <
	hlc_now() AND hlc_time(hlc_now()) > clock_timestamp() + interval '0.5 s', 'it follows a clock that is ahead');
SELECT throws_ok($$SELECT hlc_observe(make_hlc(clock_timestamp() + interval '1000 s', 0, '00000000-0000-0000-0000-000000000001'))$$,
	'22008', NULL, 'but not by more than tide.max_clock_drift');
SELECT ok(hlc_time(hlc_now()) < clock_timestamp() + interval '100 s', 'which leaves it alone');

-- vector clocks: compare is the order that merge is the join of
CREATE TEMP TABLE vclocks AS
SELECT i, coalesce((SELECT jsonb_object_agg('n' || n, floor(random() * 3)::int) FROM generate_series(1, 4) n WHERE random() < 0.5 + 0 * i), '{}') AS v
  FROM generate_series(1, :states) i;
CREATE TEMP VIEW vpairs AS SELECT a.v AS a, b.v AS b FROM vclocks a JOIN vclocks b ON b.i = 1 + (a.i * 7919) % :states;
SELECT is_empty($$SELECT * FROM vpairs WHERE vclock_compare(a, b) <> CASE vclock_compare(b, a)
	WHEN 'before' THEN 'after' WHEN 'after' THEN 'before' ELSE vclock_compare(b, a) END$$, 'before is the converse of after');
SELECT is_empty($$SELECT * FROM vpairs, vclock_merge(a, b) m, vclock_merge(a, '{}') na, vclock_merge(b, '{}') nb WHERE
	(vclock_compare(a, b) IN ('before', 'equal')) <> (m = nb) OR (vclock_compare(a, b) IN ('after', 'equal')) <> (m = na)
	OR vclock_compare(a, vclock_increment(m, 'n1')) <> 'before'$$, 'a is before b if merging adds nothing to b');

SELECT * FROM finish();
ROLLBACK;
