-- Groups of mutations ("tx"), limits, expired clients, what clients say they know.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_tide;
CREATE SCHEMA push_groups;
SET search_path = push_groups, public;
RESET client_min_messages;
\pset format unaligned
CREATE TABLE parents (id int PRIMARY KEY, v text CHECK (v <> 'bad'));
CREATE TABLE children (id int PRIMARY KEY, parent int NOT NULL REFERENCES parents);
CREATE TABLE late (id int PRIMARY KEY, parent int NOT NULL REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE unique_late (id int PRIMARY KEY, n int UNIQUE DEFERRABLE INITIALLY DEFERRED);
SELECT tide.allow_writes(t::regclass) FROM unnest('{parents,children,late,unique_late}'::text[]) t;

-- rows of (id, tx, op, table, key, values) as a push; answers one result per line, or the error
CREATE FUNCTION m(id int, tx int, op text, tab text, key int, val jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object('id', id, 'tx', tx, 'op', op, 'table', tab,
		'key', jsonb_build_object('id', key), 'values', val))
$$;
CREATE FUNCTION push(client int, more jsonb, VARIADIC mutations jsonb[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	answer json;
	detail text;
	hint text;
BEGIN
	answer := tide.push(jsonb_build_object('client', '96000000-0000-4000-8000-' || lpad(client::text, 12, '0'),
		'mutations', mutations) || more);
	RETURN QUERY SELECT r::text FROM json_array_elements(answer -> 'results') r;
	RETURN NEXT 'last ' || (answer ->> 'last_mutation_id') || coalesce(', expired ' || (answer ->> 'expired') || ' ' || (answer ->> 'client'), '');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN NEXT concat_ws(' | ', SQLSTATE, SQLERRM, nullif(detail, ''), nullif(hint, ''));
END $$;

-- all or nothing, in order; foreign keys between mutations of a push
SELECT push(1, '{}',
	m(1, 1, 'insert', 'parents', 1, '{"v": "a"}'), m(2, 1, 'insert', 'children', 1, '{"parent": 1}'),
	m(3, NULL, 'insert', 'children', 2, '{"parent": 2}'),
	m(4, 2, 'insert', 'children', 3, '{"parent": 3}'), m(5, 2, 'insert', 'parents', 3, '{"v": "c"}'),
	m(6, 3, 'insert', 'parents', 4, '{"v": "d"}'), m(7, 3, 'insert', 'parents', 5, '{"v": "bad"}'), m(8, 3, 'insert', 'parents', 6, '{"v": "f"}'),
	m(9, 4, 'insert', 'parents', 5, '{"v": "e"}'),
	m(10, NULL, 'insert', 'parents', 6, '{"v": "f"}'));
SELECT * FROM parents ORDER BY id;
SELECT * FROM children ORDER BY id;
SELECT mutation_id AS id, "table", status, code, message FROM tide.mutation_log
WHERE client_id = '96000000-0000-4000-8000-000000000001' ORDER BY mutation_id;
-- sent again: answered alike
SELECT push(1, '{}', m(6, 3, 'insert', 'parents', 4, '{"v": "d"}'), m(7, 3, 'insert', 'parents', 5, '{"v": "bad"}'));

-- what is deferred is due at the end of a group: its last mutation bears it
SELECT push(2, '{}',
	m(1, 1, 'insert', 'late', 10, '{"parent": 10}'), m(2, 1, 'insert', 'parents', 10, '{"v": "x"}'),
	m(3, NULL, 'insert', 'late', 11, '{"parent": 11}'), m(4, NULL, 'insert', 'parents', 11, '{"v": "x"}'),
	m(5, 2, 'insert', 'late', 12, '{"parent": 12}'), m(6, 2, 'update', 'parents', 10, '{"v": "changed"}'), m(7, 2, 'insert', 'late', 13, '{"parent": 10}'),
	m(8, 3, 'insert', 'unique_late', 1, '{"n": 1}'), m(9, 3, 'insert', 'unique_late', 2, '{"n": 2}'),
	m(10, 4, 'update', 'unique_late', 1, '{"n": 2}'), m(11, 4, 'update', 'unique_late', 2, '{"n": 1}'),
	m(12, NULL, 'update', 'unique_late', 1, '{"n": 1}'));
SELECT * FROM late ORDER BY id;
SELECT * FROM unique_late ORDER BY id;
SELECT id, v FROM parents WHERE id >= 10 ORDER BY id;

-- deferred triggers fire once for each event, and what is deferred after a push is as declared:
-- at the end of the mutation if all deferrable constraints are initially deferred, else at commit
CREATE TABLE fired (id int, at_end bool);
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO fired VALUES (NEW.id, current_setting('push_groups.at_end', true) = 'yes');
	IF NEW.id = 99 THEN
		RAISE EXCEPTION 'not this one';
	END IF;
	RETURN NULL;
END $$;
CREATE TABLE firing (id int PRIMARY KEY);
CREATE CONSTRAINT TRIGGER fire AFTER INSERT ON firing DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fire();
SELECT tide.allow_writes('firing');
SELECT count(*) FROM pg_constraint WHERE condeferrable AND NOT condeferred;
BEGIN;
SELECT push(9, '{}', m(1, NULL, 'insert', 'firing', 1), m(2, NULL, 'insert', 'firing', 99), m(3, 1, 'insert', 'firing', 2), m(4, 1, 'insert', 'firing', 3));
INSERT INTO late VALUES (30, 30);
INSERT INTO parents VALUES (30);
SET LOCAL push_groups.at_end = 'yes';
COMMIT;
SELECT * FROM fired ORDER BY id;
CREATE TABLE at_once (id int PRIMARY KEY DEFERRABLE);
TRUNCATE fired;
BEGIN;
SELECT push(9, '{}', m(5, NULL, 'insert', 'firing', 4), m(6, NULL, 'insert', 'firing', 99), m(7, 1, 'insert', 'firing', 5), m(8, 1, 'insert', 'firing', 6));
INSERT INTO late VALUES (31, 31);
INSERT INTO parents VALUES (31);
SET LOCAL push_groups.at_end = 'yes';
INSERT INTO at_once VALUES (1);
SAVEPOINT s;
INSERT INTO at_once VALUES (1);
ROLLBACK TO s;
COMMIT;
SELECT * FROM fired ORDER BY id;
SELECT id, parent FROM late WHERE id >= 30;
DROP TABLE at_once;
DELETE FROM late WHERE id >= 30;
DELETE FROM parents WHERE id >= 30;

-- an atomic push is one group, whatever groups are in it
SELECT push(3, '{"atomic": true}',
	m(1, 1, 'insert', 'parents', 20), m(2, 2, 'insert', 'parents', 21, '{"v": "bad"}'), m(3, 2, 'insert', 'parents', 22));
SELECT push(3, '{"atomic": true}',
	m(4, 1, 'insert', 'late', 20, '{"parent": 20}'), m(5, 2, 'insert', 'parents', 20), m(6, NULL, 'insert', 'late', 21, '{"parent": 21}'));
SELECT push(3, '{"atomic": true}',
	m(7, 1, 'insert', 'late', 20, '{"parent": 20}'), m(8, 2, 'insert', 'parents', 20));
SELECT id FROM parents WHERE id BETWEEN 20 AND 29;

-- more rejections than are tried one by one
SELECT push(4, '{}', VARIADIC array_agg(m(i, nullif(i / 4 * (i % 8 / 4), 0), 'insert', 'parents', 100 + i,
	jsonb_build_object('v', CASE WHEN i % 3 = 0 THEN 'bad' ELSE 'good' END)) ORDER BY i))
FROM generate_series(1, 24) i;
SELECT array_agg(id ORDER BY id) FROM parents WHERE id > 100;

-- groups that are not whole
SELECT push(5, '{}', m(1, 1, 'insert', 'parents', 30), m(2, NULL, 'insert', 'parents', 31), m(3, 1, 'insert', 'parents', 32));
SELECT push(5, '{}', m(1, 1, 'insert', 'parents', 30), m(2, 2, 'insert', 'parents', 31), m(3, 1, 'insert', 'parents', 32));
SELECT push(5, '{}', m(1, 1, 'insert', 'parents', 30), m(2, 1, 'insert', 'parents', 31));
SELECT push(5, '{}', m(3, 1, 'insert', 'parents', 32));
SELECT push(5, '{}', m(2, 1, 'insert', 'parents', 31), m(3, 1, 'insert', 'parents', 32));
-- sent twice in one push is no group that comes back; another number, or none, may follow
SELECT push(5, '{}', m(1, 1, 'insert', 'parents', 30), m(2, 1, 'insert', 'parents', 31), m(3, 2, 'insert', 'parents', 32), m(1, 1, 'insert', 'parents', 30));
SELECT push(5, '{}', m(4, 1, 'insert', 'parents', 33));
SELECT push(5, '{}', m(5, NULL, 'insert', 'parents', 34));
SELECT push(5, '{}', m(6, NULL, 'insert', 'parents', 35));

-- limits
SET tide.max_push_mutations = 2;
SELECT push(6, '{}', m(1, NULL, 'insert', 'parents', 40), m(2, NULL, 'insert', 'parents', 41), m(3, NULL, 'insert', 'parents', 42));
SELECT push(6, '{}', m(1, NULL, 'insert', 'parents', 40), m(2, NULL, 'insert', 'parents', 41));
RESET tide.max_push_mutations;
SET tide.max_push_size = '1kB';
SELECT regexp_replace(push(6, '{}', m(3, NULL, 'insert', 'parents', 42, jsonb_build_object('v', repeat('x', 2000)))), '\d{4,} bytes', 'N bytes');
SELECT push(6, '{}', m(3, NULL, 'insert', 'parents', 42));
RESET tide.max_push_size;

-- what the client knows: never back, never beyond what it has pushed
SELECT push(6, '{"rejected_seen": 99}', m(4, NULL, 'insert', 'parents', 43));
SELECT rejected_seen FROM tide.clients WHERE client_id = '96000000-0000-4000-8000-000000000006';
SELECT push(6, '{"rejected_seen": 1}', m(5, NULL, 'insert', 'parents', 44));
SELECT rejected_seen FROM tide.clients WHERE client_id = '96000000-0000-4000-8000-000000000006';
SELECT tide.push('{"client": "96000000-0000-4000-8000-000000000006", "mutations": [], "rejected_seen": 5}');
SELECT rejected_seen FROM tide.clients WHERE client_id = '96000000-0000-4000-8000-000000000006';
SELECT tide.push('{"client": "96000000-0000-4000-8000-000000000007", "mutations": [], "rejected_seen": 5}');
SELECT count(*) FROM tide.clients WHERE client_id = '96000000-0000-4000-8000-000000000007';

-- expired: nothing happens any more
UPDATE tide_internal.clients SET expired_at = now() WHERE client_id = '96000000-0000-4000-8000-000000000006';
SELECT push(6, '{"rejected_seen": 5}', m(5, NULL, 'insert', 'parents', 44), m(6, NULL, 'insert', 'parents', 45));
SELECT push(6, '{}', m(9, NULL, 'insert', 'parents', 45));
SELECT push(6, '{"claims": {"sub": "eve"}}', m(6, NULL, 'insert', 'parents', 45));
SELECT tide.push('{"client": "96000000-0000-4000-8000-000000000006", "mutations": []}');
SELECT count(*) FROM parents WHERE id = 45;
SELECT json_object_agg(k, v) FROM json_each(tide.pull('{"client": "96000000-0000-4000-8000-000000000006", "shapes": {}}')) AS a(k, v)
WHERE k IN ('last_mutation_id', 'rejected', 'expired', 'client');

-- errors of many kinds do not say what is in the rows
CREATE TABLE secrets (id int PRIMARY KEY, v text UNIQUE, during int4range, EXCLUDE USING gist (during WITH &&), CHECK (v <> 'forbidden'));
INSERT INTO secrets VALUES (1, 'hidden value', '[1,5)');
SELECT tide.allow_writes('secrets');
SELECT push(8, '{}',
	m(1, NULL, 'insert', 'secrets', 2, '{"v": "hidden value"}'), m(2, NULL, 'insert', 'secrets', 3, '{"during": "[2,3)"}'),
	m(3, NULL, 'insert', 'secrets', 4, '{"v": "forbidden"}'), m(4, NULL, 'delete', 'parents', 1));

SELECT tide.disallow_writes(t::regclass) FROM unnest('{parents,children,late,unique_late,secrets,firing}'::text[]) t;
\pset tuples_only on
SET client_min_messages = warning;
DELETE FROM tide_internal.mutations WHERE client_id::text LIKE '96000000%';
DELETE FROM tide_internal.clients WHERE client_id::text LIKE '96000000%';
DROP SCHEMA push_groups CASCADE;
