-- Conflict policies: what becomes of a write when others have written, too.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_tide;
RESET client_min_messages;
SET TimeZone = 'UTC';
SET IntervalStyle = postgres;
CREATE SCHEMA push_conflicts;
SET search_path = push_conflicts, public;
\pset format unaligned

-- a client's mutations, numbered from its last one; answers status, SQLSTATE, row, columns
CREATE FUNCTION push(client int, VARIADIC mutations jsonb[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	id uuid := 'c0f11c70-0000-4000-8000-' || lpad(client::text, 12, '0');
	last bigint := coalesce((tide.push(jsonb_build_object('client', id, 'mutations', '[]'::jsonb)) ->> 'last_mutation_id')::bigint, 0);
BEGIN
	RETURN QUERY SELECT concat_ws(' ', r ->> 'status', r ->> 'code', regexp_replace(r ->> 'message', 'by \d+ ms', 'by n ms'), r -> 'row',
			'columns ' || (r -> 'columns')::text)
		FROM json_array_elements(tide.push(jsonb_build_object('client', id, 'mutations',
			(SELECT jsonb_agg(m || jsonb_build_object('id', last + n) ORDER BY n)
			 FROM unnest(mutations) WITH ORDINALITY AS u (m, n)))) -> 'results') r;
END $$;
CREATE FUNCTION m(op text, tab text, key int, vals jsonb, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object('op', op, 'table', 'push_conflicts.' || tab)) ||
		jsonb_build_object('key', jsonb_build_object('id', key)) ||
		CASE WHEN vals IS NULL THEN '{}' ELSE jsonb_build_object('values', vals) END || more
$$;

-- which policy where
CREATE TABLE plain (id int PRIMARY KEY, a text, n int, tags text[], gen int GENERATED ALWAYS AS (n + 1) STORED);
CREATE FUNCTION fits(jsonb, jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $3';
CREATE FUNCTION fits_not(jsonb, jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $2';
SELECT tide.set_conflict_policy('plain', 'a', 'keep');
SELECT tide.allow_writes('plain', 'first');
SELECT tide.allow_writes('plain', 'counter');
SELECT tide.allow_writes('plain', 'keep');
SELECT tide.set_conflict_policy('plain', 'b', 'keep');
SELECT tide.set_conflict_policy('plain', 'ctid', 'keep');
SELECT tide.set_conflict_policy('plain', 'id', 'keep');
SELECT tide.set_conflict_policy('plain', 'gen', 'keep');
SELECT tide.set_conflict_policy('plain', 'a', 'counter');
SELECT tide.set_conflict_policy('plain', 'a', 'set');
SELECT tide.set_conflict_policy('plain', 'a', 'custom');
SELECT tide.set_conflict_policy('plain', 'a', 'keep', 'fits(jsonb,jsonb,jsonb)');
SELECT tide.set_conflict_policy('plain', 'a', 'custom', 'fits_not(jsonb,jsonb)');
SELECT tide.set_conflict_policy('plain', NULL, 'set');
SELECT tide.set_conflict_policy(NULL, 'a', 'keep');
SELECT tide.set_conflict_policy('plain', 'n', 'counter');
SELECT tide.set_conflict_policy('plain', 'a', 'custom', 'fits(jsonb,jsonb,jsonb)');
SELECT tide.set_conflict_policy('plain', 'a', NULL);
SELECT attnum, policy, function FROM tide_internal.conflict_policies WHERE relid = 'plain'::regclass ORDER BY 1;
ALTER TABLE plain RENAME n TO number;
SELECT push(1, m('insert', 'plain', 1, '{"a": "x", "number": 1}'), m('update', 'plain', 1, '{"number": 3}', '{"base": {"number": 2}}'));
ALTER TABLE plain DROP number CASCADE;
SELECT tide.set_conflict_policy('plain', NULL, 'overwrite');
SELECT count(*) FROM tide_internal.conflict_policies WHERE relid = 'plain'::regclass;
SELECT push(1, m('update', 'plain', 1, '{"a": "y"}'));
SELECT tide.disallow_writes('plain');

-- keep
CREATE DOMAIN short AS text CHECK (length(VALUE) <= 5);
CREATE TABLE kept (id int PRIMARY KEY, a text, b short, c text COLLATE "C", j json, p point, x xml);
SELECT tide.allow_writes('kept', 'keep');
INSERT INTO kept VALUES (1, 'a', 'b', 'c', '{"k": [1,   2]}', '(1,2)', '<x/>');
SELECT push(2,
	m('update', 'kept', 1, '{"a": "a1"}', '{"base": {"a": "a"}}'),
	m('update', 'kept', 1, '{"a": "a2"}', '{"base": {"a": "a"}}'),
	m('update', 'kept', 1, '{"a": "a1"}', '{"base": {"a": "a"}}'),
	m('update', 'kept', 1, '{"a": "a2", "b": "b2"}', '{"base": {"a": "a", "b": "b"}}'),
	m('update', 'kept', 1, '{"a": "a2"}'),
	m('update', 'kept', 1, '{"a": "a2"}', '{"base": {"b": "b2"}}'),
	m('update', 'kept', 1, '{"a": null}', '{"base": {"a": "a1"}}'),
	m('update', 'kept', 1, '{"a": "n"}', '{"base": {"a": "a1"}}'),
	m('update', 'kept', 1, '{"a": "n"}', '{"base": {"a": null}}'),
	m('update', 'kept', 1, '{"j": {"k": []}, "p": "(3,4)", "x": "<y/>"}', '{"base": {"j": {"k": [1, 2]}, "p": "(1,2)", "x": "<x/>"}}'),
	m('update', 'kept', 1, '{"j": 1, "p": "(5,6)"}', '{"base": {"j": {"k": [1, 2]}, "p": "(1,2)"}}'),
	m('update', 'kept', 1, '{}'),
	m('update', 'kept', 1, '{"b": "too long"}', '{"base": {"b": "b2"}}'),
	m('update', 'kept', 1, '{"b": "x"}', '{"base": {"b": "too long"}}'),
	m('update', 'kept', 9, '{"a": "a2"}', '{"base": {"a": "a"}}'));
-- an insert meets a row
SELECT push(2,
	m('insert', 'kept', 1, '{"a": "n"}'),
	m('insert', 'kept', 1, '{"a": "other", "c": "c"}'),
	m('insert', 'kept', 1, '{"a": "other"}'),
	m('insert', 'kept', 1, '{"a": "other"}', '{"base": {"a": "n"}}'),
	m('insert', 'kept', 1, '{}'),
	m('insert', 'kept', 2, '{"a": "two"}', '{"base": {"a": "n"}}'));
-- deletes
SELECT push(2,
	m('delete', 'kept', 1, NULL, '{"base": {"a": "x"}}'),
	m('delete', 'kept', 1, NULL, '{"base": {"a": "other", "nothing": 1}}'),
	m('delete', 'kept', 1, NULL, '{"base": {"a": "other", "id": 1}}'),
	m('delete', 'kept', 1, NULL, '{"base": {"a": "other"}}'),
	m('delete', 'kept', 2, NULL));
SELECT * FROM kept;

-- reject
CREATE TABLE strict (id int PRIMARY KEY, a text, b numeric, "C c" text);
SELECT tide.allow_writes('strict', 'reject');
INSERT INTO strict VALUES (1, 'secret', 1.0, 'c');
SELECT push(3,
	m('update', 'strict', 1, '{"a": "a1", "b": 2}', '{"base": {"a": "secret", "b": 1.000}}'),
	m('update', 'strict', 1, '{"a": "a2", "b": 3}', '{"base": {"a": "a1", "b": 1}}'),
	m('update', 'strict', 1, '{"a": "a2", "b": 3, "C c": "x"}', '{"base": {"a": "a", "b": 1, "C c": ""}}'),
	m('update', 'strict', 1, '{"a": "a1", "b": 2}', '{"base": {"a": "x", "b": 1}}'),
	m('update', 'strict', 1, '{"a": "a2"}'),
	m('update', 'strict', 1, '{"a": "a2"}', '{"base": {"b": 2}}'),
	m('insert', 'strict', 1, '{"a": "a1"}'),
	m('insert', 'strict', 1, '{"a": "a2"}'),
	m('insert', 'strict', 2, '{"a": "two"}'),
	m('update', 'strict', 9, '{"a": "a2"}', '{"base": {"a": "a1"}}'),
	m('delete', 'strict', 1, NULL),
	m('delete', 'strict', 1, NULL, '{"base": {"a": "a1", "b": 1}}'),
	m('delete', 'strict', 1, NULL, '{"base": {"a": "a1", "b": 2}}'),
	m('delete', 'strict', 2, NULL, '{"base": {}}'),
	m('delete', 'strict', 2, NULL, '{"base": {"a": "two"}}'));
SELECT * FROM strict;

-- what a client's own insert left to the server, in the same push, is no conflict; all else is
CREATE TABLE defaulted (id int PRIMARY KEY, a text, k text DEFAULT 'open', r text DEFAULT 'new');
SELECT tide.allow_writes('defaulted', 'keep'), tide.set_conflict_policy('defaulted', 'r', 'reject');
SELECT push(31,
	m('insert', 'defaulted', 1, '{"a": "a"}'),
	m('update', 'defaulted', 1, '{"k": "done", "r": "old"}', '{"base": {"k": null, "r": null}}'),
	m('update', 'defaulted', 1, '{"k": "again"}', '{"base": {"k": "done"}}'),
	m('update', 'defaulted', 1, '{"a": "b"}', '{"base": {"a": null}}'),
	m('insert', 'defaulted', 2, '{"k": "mine"}'),
	m('update', 'defaulted', 2, '{"k": "x"}', '{"base": {"k": null}}'),
	m('update', 'defaulted', 2, '{"r": "x"}', '{"base": {"r": "y"}}'),
	m('delete', 'defaulted', 2, NULL, '{"base": {"a": null, "k": "mine", "r": null}}'),
	m('update', 'defaulted', 3, '{"k": "x"}', '{"base": {"k": null}}'),
	m('insert', 'defaulted', 3, '{"a": "a"}'),
	m('insert', 'defaulted', 3, '{"a": "a", "k": "open"}'),
	m('insert', 'defaulted', 4, NULL));
-- in another push others may have written the same
SELECT push(31,
	m('update', 'defaulted', 4, '{"k": "x"}', '{"base": {"k": null}}'),
	m('delete', 'defaulted', 4, NULL, '{"base": {"k": null}}'),
	m('insert', 'defaulted', 5, '{"a": "a"}', '{"tx": 1}'),
	m('update', 'defaulted', 5, '{"k": "x"}', '{"tx": 1, "base": {"k": null}}'),
	m('insert', 'defaulted', 5, '{"nothing": 1}', '{"tx": 1}'));
SELECT * FROM defaulted;
-- an insert that is only sent again is not of this push
CREATE FUNCTION send_insert(more jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT tide.push(jsonb_build_object('client', 'c0f11c70-0000-4000-8000-000000000032', 'mutations',
		jsonb_build_array(m('insert', 'defaulted', 6, '{"a": "a"}') || '{"id": 1}') || more)) -> 'results'
$$;
SELECT send_insert('[]');
UPDATE defaulted SET k = 'others' WHERE id = 6;
SELECT send_insert(jsonb_build_array(m('update', 'defaulted', 6, '{"k": "mine"}', '{"id": 2, "base": {"k": null}}')));

-- counter
CREATE DOMAIN whole AS int CHECK (VALUE >= 0);
CREATE TABLE counted (id int PRIMARY KEY, i int, s smallint, f float8, n numeric(5,1), t interval, d whole DEFAULT 7, o text);
SELECT tide.allow_writes('counted');
SELECT tide.set_conflict_policy('counted', c, 'counter') FROM unnest('{i,s,f,n,t,d}'::name[]) c;
SELECT tide.set_conflict_policy('counted', 'o', 'counter');
INSERT INTO counted VALUES (1, 10, 10, 10, 10, '10 s');
SELECT push(4,
	m('update', 'counted', 1, '{"i": 12}', '{"base": {"i": 11}}'),
	m('update', 'counted', 1, '{"i": 12}', '{"base": {"i": 11}}'),
	m('update', 'counted', 1, '{"i": 5, "o": "over"}'),
	m('update', 'counted', 1, '{"i": null}', '{"base": {"i": 17}}'),
	m('update', 'counted', 1, '{"i": 2147483647}'),
	m('update', 'counted', 1, '{"s": 0, "f": 0.5, "n": 0.25, "t": "1 m"}', '{"base": {"s": 1, "f": 0.25}}'),
	m('update', 'counted', 1, '{"d": 0}', '{"base": {"d": 3}}'),
	m('update', 'counted', 1, '{"d": 0}', '{"base": {"d": 5}}'),
	m('insert', 'counted', 1, '{"i": 3}'),
	m('insert', 'counted', 2, '{"i": 3}', '{"base": {"i": 1}}'),
	m('update', 'counted', 2, '{"s": 1}'),
	m('update', 'counted', 9, '{"i": 1}'),
	m('delete', 'counted', 2, NULL));
SELECT * FROM counted;

-- set
CREATE TABLE sets (id int PRIMARY KEY, tags text[], nums numeric[], j jsonb);
SELECT tide.allow_writes('sets');
SELECT tide.set_conflict_policy('sets', c, 'set') FROM unnest('{tags,nums,j}'::name[]) c;
INSERT INTO sets VALUES (1, '{a,b,c}', '{1.0,2}', '[1, "x", {"k": [1]}, null]');
SELECT push(5,
	m('update', 'sets', 1, '{"tags": ["a", "d"]}', '{"base": {"tags": ["a", "b"]}}'),
	m('update', 'sets', 1, '{"tags": ["e", "e", "d"]}'),
	m('update', 'sets', 1, '{"tags": ["a", "c", "d", "e", "f"]}', '{"base": {"tags": ["a", "c", "d", "e"]}}'),
	m('update', 'sets', 1, '{"tags": null}', '{"base": {"tags": ["a", "c", "d", "e"]}}'),
	m('update', 'sets', 1, '{"tags": null}', '{"base": {"tags": ["f"]}}'),
	m('update', 'sets', 1, '{"nums": [2, 3]}', '{"base": {"nums": [1, 2.00]}}'),
	m('update', 'sets', 1, '{"j": [{"k": [1]}, [1, 2]]}', '{"base": {"j": [{"k": [1]}, 1, null]}}'),
	m('update', 'sets', 1, '{"j": 5}'),
	m('insert', 'sets', 1, '{"tags": ["g"]}'),
	m('insert', 'sets', 2, '{"tags": ["x", "y"]}'),
	m('update', 'sets', 9, '{"tags": ["x"]}'));
-- an element that another client has added and this one has not seen stays
SELECT push(6, m('update', 'sets', 2, '{"tags": ["x"]}'));
SELECT pg_current_wal_insert_lsn() AS before_add \gset
SELECT push(7, m('update', 'sets', 2, '{"tags": ["y"]}'));
SELECT push(6, m('update', 'sets', 2, '{"tags": []}', format('{"base": {"tags": ["x", "y"]}, "seen": "%s"}', :'before_add')::jsonb));
SELECT push(7, m('update', 'sets', 2, '{"tags": ["z"]}', format('{"base": {"tags": ["y"]}, "seen": "%s"}', :'before_add')::jsonb));
SELECT count(*) FROM tide_internal.set_elements WHERE relid = 'sets'::regclass;
SELECT push(7, m('delete', 'sets', 1, NULL), m('delete', 'sets', 2, NULL));
SELECT count(*) FROM tide_internal.set_elements WHERE relid = 'sets'::regclass;

-- custom, of columns
CREATE FUNCTION longest(current jsonb, base jsonb, new jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	IF new = '"raise"' THEN
		RAISE EXCEPTION 'not so' USING ERRCODE = 'P1234', DETAIL = current::text;
	END IF;
	RETURN CASE WHEN length(new #>> '{}') >= coalesce(length(current #>> '{}'), 0) THEN new
		WHEN base IS NOT NULL THEN to_jsonb(concat(current #>> '{}', '+', new #>> '{}')) END;
END $$;
CREATE FUNCTION never(jsonb, jsonb, jsonb) RETURNS jsonb LANGUAGE sql STRICT AS $$ SELECT 'null'::jsonb $$;
CREATE TABLE customs (id int PRIMARY KEY, a text, b int);
SELECT tide.allow_writes('customs');
SELECT tide.set_conflict_policy('customs', 'a', 'custom', 'longest(jsonb,jsonb,jsonb)');
SELECT tide.set_conflict_policy('customs', 'b', 'custom', 'never(jsonb,jsonb,jsonb)');
SELECT push(8,
	m('insert', 'customs', 1, '{"a": "one", "b": 1}'),
	m('update', 'customs', 1, '{"a": "three"}'),
	m('update', 'customs', 1, '{"a": "two"}'),
	m('update', 'customs', 1, '{"a": "two"}', '{"base": {"a": "x"}}'),
	m('update', 'customs', 1, '{"a": "raise"}'),
	m('update', 'customs', 1, '{"a": null}', '{"base": {"a": null}}'),
	m('update', 'customs', 1, '{"b": 2}'),
	m('update', 'customs', 1, '{"b": 2}', '{"base": {"b": 1}}'),
	m('insert', 'customs', 1, '{"a": "a longer one"}'));
DROP FUNCTION longest;
SELECT push(8, m('update', 'customs', 1, '{"a": "two"}'));
CREATE FUNCTION longest(current jsonb, base jsonb, new jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $3';
SELECT push(8, m('update', 'customs', 1, '{"a": "two"}'));
SELECT * FROM customs;

-- custom, of a table
CREATE TABLE rows (id int PRIMARY KEY, a text, n int, own text, touched int, gen text GENERATED ALWAYS AS (a || '!') STORED);
CREATE FUNCTION merge_rows(current jsonb, base jsonb, new jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT CASE new ->> 'a'
		WHEN 'null' THEN NULL
		WHEN 'all' THEN current || new
		WHEN 'text' THEN '"x"'
		WHEN 'own' THEN '{"own": "mine"}'
		WHEN 'nothing' THEN '{"nothing": 1}'
		WHEN 'show' THEN jsonb_build_object('a', concat_ws('|', current, base, new))
		ELSE new || jsonb_build_object('n', greatest((current ->> 'n')::int, (new ->> 'n')::int), 'touched', (current -> 'touched')::int + 1)
		END
$$;
SELECT tide.allow_writes('rows', 'custom');
INSERT INTO rows VALUES (1, 'a', 1, 'o', 0);
SELECT push(9, m('update', 'rows', 1, '{"a": "b"}'));
SELECT tide.set_conflict_policy('rows', NULL, 'custom', 'merge_rows(jsonb,jsonb,jsonb)');
SELECT tide.set_conflict_policy('rows', 'own', 'keep');
SELECT push(9,
	m('update', 'rows', 1, '{"a": "b", "n": 0}'),
	m('update', 'rows', 1, '{"a": "null", "n": 5}'),
	m('update', 'rows', 1, '{"a": "null", "own": "p"}', '{"base": {"own": "o"}}'),
	m('update', 'rows', 1, '{"a": "all", "n": 1}'),
	m('update', 'rows', 1, '{"a": "text"}'),
	m('update', 'rows', 1, '{"a": "own"}'),
	m('update', 'rows', 1, '{"a": "nothing"}'),
	m('update', 'rows', 1, '{"a": "show", "own": "q"}', '{"base": {"a": "all", "own": "p", "n": 1}}'),
	m('insert', 'rows', 1, '{"n": 9}'),
	m('insert', 'rows', 2, '{"a": "null"}'),
	m('delete', 'rows', 1, NULL, '{"base": {"a": "x"}}'));
SELECT * FROM rows ORDER BY id;

-- hlc: ms since 1970, counter, node; the client's node is the end of its uuid
CREATE FUNCTION hlc(at timestamptz, node int DEFAULT 0, counter int DEFAULT 0) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('hlc', lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '-' ||
		lpad(to_hex(counter), 4, '0') || '-' || lpad(to_hex(node), 16, '0'))
$$;
CREATE TABLE timed (id numeric PRIMARY KEY, a text, b text DEFAULT 'b', n int, j json, over text);
SELECT tide.allow_writes('timed', 'hlc');
SELECT tide.set_conflict_policy('timed', 'n', 'counter');
SELECT tide.set_conflict_policy('timed', 'over', 'overwrite');
SELECT push(10,
	m('insert', 'timed', 1, '{"a": "x"}'),
	m('insert', 'timed', 1, '{"a": "x"}', '{"hlc": "soon"}'),
	m('insert', 'timed', 1, '{"a": "x"}', hlc(now() + '1 hour')),
	m('insert', 'timed', 1, '{"a": "2026-01-01", "n": 1}', hlc('2026-01-01')),
	m('update', 'timed', 1, '{"a": "older"}', hlc('2025-12-31')),
	m('update', 'timed', 1, '{"b": "older", "a": "older"}', hlc('2025-12-31')),
	m('update', 'timed', 1, '{"b": "newer", "a": "older"}', hlc('2026-01-01', 1)),
	m('update', 'timed', 1, '{"a": "older", "n": 3}', hlc('2026-01-01', 0)),
	m('update', 'timed', 1, '{"a": "same clock, same client"}', hlc('2026-01-01', 1)),
	m('update', 'timed', 1, '{"j": {"a":   1}}', hlc('2026-01-02')),
	m('update', 'timed', 1, '{"j": {"a":   2}}', hlc('2026-01-01')),
	m('update', 'timed', 1, '{"j": {"a":   3}, "a": null}', hlc('2026-01-03')),
	m('update', 'timed', 1, '{"a": "over null"}', hlc('2026-01-02')),
	m('update', 'timed', 1, '{"n": 4, "over": "no clock needed"}'),
	m('update', 'timed', 1, '{"a": "none"}'));
SELECT push(11,
	m('update', 'timed', 1, '{"a": "other client, same clock"}', hlc('2026-01-03')),
	m('insert', 'timed', 1, '{"a": "merged", "b": "merged"}', hlc('2026-01-02')),
	m('update', 'timed', 1, '{"a": "later"}', hlc('2026-01-04')));
-- deletes and tombstones; keys that are equal are the same row
SELECT push(11,
	m('delete', 'timed', 1, NULL),
	m('delete', 'timed', 1, NULL, hlc('2026-01-03')),
	m('delete', 'timed', 1, NULL, hlc('2026-01-05')),
	m('delete', 'timed', 1, NULL, hlc('2026-01-04')),
	m('update', 'timed', 1, '{"a": "older"}', hlc('2026-01-04')),
	m('update', 'timed', 1, '{"a": "newer"}', hlc('2026-01-06')),
	m('insert', 'timed', 1, '{"a": "older"}', hlc('2026-01-04')),
	m('insert', 'timed', 1, '{"a": "older"}', hlc('2026-01-04') || '{"key": {"id": 1.00}}'),
	m('insert', 'timed', 1, '{"a": "newer"}', hlc('2026-01-06') || '{"key": {"id": 1.0}}'),
	m('update', 'timed', 1, '{"a": "older"}', hlc('2026-01-04')),
	m('delete', 'timed', 1, NULL, hlc('2026-01-07')),
	m('delete', 'timed', 2, NULL, hlc('2026-01-07')),
	m('insert', 'timed', 2, '{"n": 1}', hlc('2026-01-06')));
SELECT push(11, m('insert', 'timed', 2, '{"over": "no column that needs a clock"}'));
SELECT * FROM timed;
-- of what the server wrote before it was known nothing is known: any clock is after it
INSERT INTO timed VALUES (3, 'server', 'server');
SELECT push(11, m('update', 'timed', 3, '{"a": "x"}', hlc('2025-01-01')));
-- what it wrote over a client's is after that
UPDATE timed SET a = 'server again' WHERE id = 3;
SELECT push(11, m('update', 'timed', 3, '{"a": "y", "b": "y"}', hlc('2025-01-01')),
	m('update', 'timed', 3, '{"a": "y", "b": "y"}', hlc('2026-01-01', 2)),
	m('update', 'timed', 3, '{"a": "newer"}', hlc(clock_timestamp() + '10 s')));
SELECT count(*) FILTER (WHERE attnum = 0) AS deleted, count(DISTINCT key_id) FROM tide_internal.row_clocks WHERE relid = 'timed'::regclass;

-- vclock
CREATE FUNCTION vc(VARIADIC counts int[]) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('vclock', coalesce(jsonb_object_agg('c0f11c70-0000-4000-8000-' || lpad(n::text, 12, '0'), c) FILTER (WHERE c > 0), '{}'))
	FROM unnest(counts) WITH ORDINALITY AS u (c, n)
$$;
CREATE TABLE vectors (id int PRIMARY KEY, a text, b text);
SELECT tide.allow_writes('vectors', 'vclock');
SELECT push(1,
	m('insert', 'vectors', 1, '{"a": "x"}'),
	m('insert', 'vectors', 1, '{"a": "one"}', vc(1, 0)),
	m('update', 'vectors', 1, '{"a": "one two"}', vc(2, 0)),
	m('update', 'vectors', 1, '{"a": "one two again"}', vc(2, 0)),
	m('update', 'vectors', 1, '{"a": "before"}', vc(1, 0)),
	m('update', 'vectors', 1, '{"a": "nothing seen"}', vc(0, 0)));
SELECT push(2,
	m('update', 'vectors', 1, '{"a": "equal, not mine"}', vc(2, 0)),
	m('update', 'vectors', 1, '{"a": "concurrent, higher"}', vc(1, 1)));
SELECT push(1,
	m('update', 'vectors', 1, '{"a": "concurrent, lower"}', vc(3, 0)),
	m('update', 'vectors', 1, '{"a": "now before, as both were merged"}', vc(2, 1)),
	m('update', 'vectors', 1, '{"a": "before, but seen", "b": "b"}', vc(3, 0) || '{"base": {"a": "concurrent, higher"}}'),
	m('update', 'vectors', 1, '{"a": "after"}', vc(4, 1)));
SELECT vclock - 'server' AS vclock FROM tide_internal.row_clocks WHERE relid = 'vectors'::regclass ORDER BY attnum;
SELECT push(2,
	m('delete', 'vectors', 1, NULL),
	m('delete', 'vectors', 1, NULL, vc(0, 2)),
	m('update', 'vectors', 1, '{"a": "before"}', vc(2, 1)),
	m('insert', 'vectors', 1, '{"a": "before"}', vc(3, 1)),
	m('insert', 'vectors', 1, '{"a": "after"}', vc(4, 3)));
-- the server's writes are above all clients' that have not seen them
UPDATE vectors SET a = 'server';
SELECT push(2,
	m('update', 'vectors', 1, '{"a": "x"}', vc(4, 4)),
	m('update', 'vectors', 1, '{"a": "seen"}', vc(4, 5) || '{"base": {"a": "server"}}'),
	m('update', 'vectors', 1, '{"a": "next"}', vc(4, 6) || '{"base": {"a": "seen"}}'));
SELECT * FROM vectors;

-- composite keys, partitions, names that need quotes, defaults, identity; triggers that change what is written
CREATE TABLE "Odd Parts" ("K 1" int, k2 text COLLATE "C", "t" text DEFAULT 'dflt', v int, b text[], gen int GENERATED ALWAYS AS (v * 2) STORED,
	ident int GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (k2, "K 1")) PARTITION BY LIST (k2);
CREATE TABLE odd_a PARTITION OF "Odd Parts" FOR VALUES IN ('a');
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.t = 'skip' THEN
		RETURN NULL;
	END IF;
	NEW.t := upper(NEW.t);
	RETURN NEW;
END $$;
CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON "Odd Parts" FOR EACH ROW EXECUTE FUNCTION shout();
SELECT tide.allow_writes('"Odd Parts"', 'hlc');
SELECT tide.set_conflict_policy('"Odd Parts"', 'v', 'counter');
SELECT tide.set_conflict_policy('"Odd Parts"', 'b', 'set');
CREATE FUNCTION odd(op text, vals jsonb, at text, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT m(op, 'Odd Parts', 0, vals, hlc(at::timestamptz) || '{"key": {"k2": "a", "K 1": 1}}' || more)
$$;
SELECT push(12,
	odd('insert', '{"t": "one", "v": 1, "b": ["x"]}', '2026-01-01'),
	odd('update', '{"t": "older"}', '2025-12-31'),
	odd('update', '{"t": "two", "v": 2, "b": ["y"], "k2": "a"}', '2026-01-02', '{"base": {"v": 1, "b": ["x"]}}'),
	odd('update', '{"t": "older"}', '2026-01-01'),
	odd('update', '{"t": "skip"}', '2026-01-03'),
	odd('update', '{"t": "after skip"}', '2026-01-02'),
	odd('update', '{"ident": 7}', '2026-01-04'),
	odd('update', '{"gen": 7}', '2026-01-04'),
	odd('update', '{"k2": "b"}', '2026-01-04'),
	odd('delete', NULL, '2026-01-01'),
	odd('delete', NULL, '2026-01-05'),
	odd('insert', '{}', '2026-01-04'),
	odd('insert', '{}', '2026-01-06'));
SELECT * FROM "Odd Parts";

-- deferred constraints are checked with the mutation, whatever its policy
CREATE TABLE parents (id int PRIMARY KEY);
CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents DEFERRABLE INITIALLY DEFERRED, n int);
SELECT tide.allow_writes('children', 'keep');
INSERT INTO parents VALUES (1);
SELECT push(13,
	m('insert', 'children', 1, '{"parent": 1}'),
	m('update', 'children', 1, '{"parent": 2}', '{"base": {"parent": 1}}'),
	m('insert', 'children', 2, '{"parent": 3}'),
	m('update', 'children', 1, '{"n": 1}', '{"base": {"n": null}}'));

-- sent again, a conflict is answered as before
SELECT tide.push(jsonb_build_object('client', 'c0f11c70-0000-4000-8000-000000000099', 'mutations', jsonb_build_array(
	m('update', 'children', 1, '{"n": 2}', '{"id": 1, "base": {"n": 0}}'), m('update', 'children', 1, '{"n": 3}', '{"id": 2, "base": {"n": 1}}'))));
SELECT tide.push(jsonb_build_object('client', 'c0f11c70-0000-4000-8000-000000000099', 'mutations', jsonb_build_array(
	m('update', 'children', 1, '{"n": 2}', '{"id": 1, "base": {"n": 0}}'), m('update', 'children', 1, '{"n": 3}', '{"id": 2, "base": {"n": 1}}'))));
SELECT * FROM children;
-- an atomic push: one that is rejected takes the others with it, and what they have noted
SELECT count(*) FROM tide_internal.row_clocks WHERE relid = '"Odd Parts"'::regclass;
SELECT tide.push(jsonb_build_object('client', 'c0f11c70-0000-4000-8000-000000000098', 'atomic', true, 'mutations', jsonb_build_array(
	odd('delete', NULL, '2026-02-01') || '{"id": 1}', m('update', 'strict', 9, '{"a": "2"}', '{"id": 2, "base": {"a": "0"}}'))));
SELECT count(*) FROM tide_internal.row_clocks WHERE relid = '"Odd Parts"'::regclass;

-- what is not needed any more is forgotten
SELECT tide.set_conflict_policy('timed', NULL, 'keep');
SELECT tide.disallow_writes('vectors');
SELECT count(*) FROM tide_internal.row_clocks WHERE relid IN ('timed'::regclass, 'vectors'::regclass);
SELECT push(7, m('insert', 'sets', 1, '{"tags": ["a"], "j": []}'));
ALTER TABLE sets DROP tags;
SELECT tide.allow_writes('sets');
SELECT count(*) FROM tide_internal.set_elements WHERE relid = 'sets'::regclass;
SELECT tide.disallow_writes(t::regclass) FROM unnest('{kept,strict,defaulted,counted,sets,customs,rows,timed,children,"\"Odd Parts\""}'::text[]) t;
SELECT count(*) FROM tide_internal.conflict_policies;
SET client_min_messages = warning;
DROP SCHEMA push_conflicts CASCADE;
