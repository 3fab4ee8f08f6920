-- tide.pull: pages, cookies, drops, resync, checksums, acknowledgements.
-- Shown without what differs from run to run: bucket ids, op_ids, hashes.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_tide;
RESET client_min_messages;
CREATE SCHEMA pull_answer;
SET search_path = pull_answer, public;
\pset format unaligned
\pset tuples_only on

-- a client: its cookie and the rows it holds
CREATE TABLE cookies (client text PRIMARY KEY, cookie jsonb);
CREATE TABLE held (client text, bucket bigint, "table" text, key jsonb, "row" jsonb, hash bigint,
	PRIMARY KEY (client, bucket, "table", key));

-- pull a page as the client, apply it, say what was in it
CREATE FUNCTION page(who text, request jsonb) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
	change jsonb;
	part jsonb;
	ids bigint[];
BEGIN
	answer := tide.pull(jsonb_build_object('cookie', (SELECT cookie FROM cookies WHERE client = who)) || request);
	INSERT INTO cookies VALUES (who, answer -> 'cookie')
		ON CONFLICT (client) DO UPDATE SET cookie = excluded.cookie;
	SELECT array_agg(value::bigint) INTO ids FROM jsonb_array_elements_text(answer -> 'drop');
	RETURN NEXT format('complete %s, remaining %s, dropped %s', answer ->> 'complete', answer ->> 'remaining',
		(SELECT count(DISTINCT bucket) FROM held WHERE client = who AND bucket = ANY (ids)));
	DELETE FROM held WHERE client = who AND bucket = ANY (ids);
	FOR change IN SELECT value FROM jsonb_array_elements(answer -> 'changes') LOOP
		RETURN NEXT concat_ws(' ', change ->> 'op', change ->> 'table', change ->> 'key', change ->> 'row');
		DELETE FROM held WHERE client = who AND bucket = (change ->> 'bucket')::bigint
			AND "table" = change ->> 'table' AND key = change -> 'key';
		IF change ->> 'op' = 'put' THEN
			INSERT INTO held VALUES (who, (change ->> 'bucket')::bigint, change ->> 'table', change -> 'key',
				change -> 'row', (change ->> 'hash')::bigint);
		END IF;
	END LOOP;
	FOR part IN SELECT value FROM jsonb_array_elements(answer -> 'buckets') LOOP
		RETURN NEXT format('%s %s: %s', part ->> 'shape', part ->> 'params',
			CASE WHEN part ->> 'bucket' IS NULL THEN concat_ws(' ', 'no bucket', part ->> 'count', part ->> 'checksum')
				WHEN NOT part ? 'count' THEN 'to come'
				ELSE (SELECT format('%s rows, count %s, checksum %s', count(*),
						CASE WHEN count(*) = (part ->> 'count')::bigint THEN 'ok' ELSE 'WRONG' END,
						CASE WHEN coalesce(sum(hash), 0) % 4294967296 = (part ->> 'checksum')::bigint THEN 'ok' ELSE 'WRONG' END)
					FROM held WHERE client = who AND bucket = (part ->> 'bucket')::bigint) END);
	END LOOP;
END $$;

CREATE TABLE issues (
	id    int PRIMARY KEY,
	team  text,
	title text,
	price numeric,
	big   bigint,
	at    timestamptz,
	tags  text[],
	data  jsonb
);
INSERT INTO issues VALUES
	(1, 'a', 'one', 1.50, 9223372036854775807, '2026-01-02 03:04:05.678+01', '{x,NULL}', '{"a": [1, null]}'),
	(2, 'a', E'quote " backslash \\ tab \t', 'NaN', -1, 'infinity', '{}', NULL),
	(3, 'b', NULL, NULL, NULL, NULL, NULL, NULL),
	(4, NULL, 'no team', 0, 0, NULL, NULL, '"text"'),
	(5, 'a', 'five', 5, 5, NULL, NULL, '5');
SELECT tide.create_shape('team', '{"table": "pull_answer.issues", "where": "team = params.team"}');
SELECT tide.create_shape('titles', '{"table": "pull_answer.issues", "columns": ["title"], "where": "price >= 0"}');

-- a shape that is not built yet: nothing, and not complete
SELECT page('early', '{"shapes": {"titles": {}}}');
SELECT tide.ingest() IS NOT NULL;
SELECT name, state FROM tide.shapes WHERE name IN ('team', 'titles') ORDER BY 1;

-- a first sync in two pages; a team without rows has no bucket
SELECT page('ann', '{"shapes": {"team": [{"team": "a"}, {"team": "zz"}]}, "limit": 2}');
SELECT page('ann', '{"shapes": {"team": [{"team": "a"}, {"team": "zz"}]}, "limit": 2}');
SELECT page('ann', '{"shapes": {"team": [{"team": "a"}, {"team": "zz"}]}, "limit": 2}');

-- the same shape asked for twice is one bucket; its order among others does not matter
SELECT page('bob', '{"shapes": {"team": [{"team": "b"}, {"team": "b"}], "titles": [{}]}}');

-- changes: update, leaving, entering, delete, key change; a row that comes and goes between pulls
UPDATE issues SET title = 'ONE' WHERE id = 1;
UPDATE issues SET team = 'b' WHERE id = 2;
UPDATE issues SET id = 50 WHERE id = 5;
DELETE FROM issues WHERE id = 3;
INSERT INTO issues (id, team, title, price) VALUES (6, 'zz', 'six', 6), (7, 'a', 'seven', 7);
DELETE FROM issues WHERE id = 7;
SELECT tide.ingest() > 0;
SELECT page('ann', '{"shapes": {"team": [{"team": "a"}, {"team": "zz"}]}}');
SELECT page('bob', '{"shapes": {"team": [{"team": "b"}], "titles": [{}]}, "limit": 3}');
SELECT page('bob', '{"shapes": {"team": [{"team": "b"}], "titles": [{}]}, "limit": 3}');

-- a column that the shape does not show changes nothing in it
UPDATE issues SET data = '{}' WHERE id = 1;
SELECT tide.ingest() > 0;
SELECT page('bob', '{"shapes": {"team": [{"team": "b"}], "titles": [{}]}}');

-- rows that go while a first sync is under way
SELECT page('cat', '{"shapes": {"titles": {}}, "limit": 2}');
DELETE FROM issues WHERE id IN (SELECT (key ->> 'id')::int FROM held WHERE client = 'cat' ORDER BY 1 LIMIT 1);
UPDATE issues SET price = -1 WHERE id = 50;
SELECT tide.ingest() > 0;
SELECT page('cat', '{"shapes": {"titles": {}}, "limit": 2}');
SELECT page('cat', '{"shapes": {"titles": {}}, "limit": 2}');

-- no longer asked for: dropped
SELECT page('bob', '{"shapes": {"titles": [{}]}}');
SELECT page('bob', '{"shapes": {}}');

-- resync: dropped and sent again
SELECT page('ann', jsonb_build_object('resync', (SELECT jsonb_agg(DISTINCT bucket) FROM held WHERE client = 'ann'),
	'shapes', '{"team": [{"team": "a"}]}'::jsonb));

-- cookies of others, forged and broken ones: what they name is dropped, all comes again
SELECT page('ann', '{"shapes": {"team": [{"team": "a"}]}, "cookie": {}}');
SELECT page('ann', jsonb_build_object('shapes', '{"team": [{"team": "a"}]}'::jsonb,
	'cookie', jsonb_set(cookie, '{epoch}', '"00000000-0000-0000-0000-000000000000"'))) FROM cookies WHERE client = 'ann';
SELECT tide.pull(jsonb_build_object('shapes', '{}'::jsonb, 'cookie', c.cookie)) -> 'drop'
FROM (VALUES ('[]'::jsonb), ('7'), ('"x"'), ('{"v": 1}'), ('{"v": 1, "at": [[5, [7, 3, -4, "x", 1e30]]], "first": 3}'),
	('{"at": {"a": 1}, "first": [[9], [], [3, "x"]]}')) c (cookie);
-- a forged position in a bucket not asked for gives nothing of it
SELECT page('eve', jsonb_build_object('shapes', '{"team": [{"team": "b"}]}'::jsonb, 'cookie', jsonb_set(b.cookie, '{at}',
	(SELECT jsonb_build_array(jsonb_build_array(0, jsonb_agg(DISTINCT bucket))) FROM held WHERE client = 'ann'))))
FROM cookies b WHERE client = 'ann';
-- beyond this server's history: not of this server
SELECT page('ann', jsonb_build_object('shapes', '{"team": [{"team": "a"}]}'::jsonb, 'cookie',
	jsonb_set(cookie, '{at,0,0}', '9007199254740991'))) FROM cookies WHERE client = 'ann';

-- bytes end a page, but not before one change
SET tide.max_page_size = '1kB';
UPDATE issues SET title = repeat('long ', 200) WHERE team = 'a';
INSERT INTO issues (id, team, title) VALUES (8, 'a', repeat('wide ', 300));
SELECT tide.ingest() > 0;
SELECT left(page, 60) FROM page('ann', '{"shapes": {"team": [{"team": "a"}]}}');
SELECT left(page, 60) FROM page('ann', '{"shapes": {"team": [{"team": "a"}]}}');
RESET tide.max_page_size;

-- a replaced shape sends what differs
SELECT tide.replace_shape('titles', '{"table": "pull_answer.issues", "columns": ["title"], "where": "id < 3"}');
SELECT page('cat', '{"shapes": {"titles": {}}}');
SELECT tide.ingest() IS NOT NULL;
SELECT page('cat', '{"shapes": {"titles": {}}}');

-- the settings of the session do not matter
SET TimeZone = 'Asia/Tokyo';
SET DateStyle = 'German';
SET extra_float_digits = 0;
SELECT value -> 'row' ->> 'at' FROM json_array_elements(tide.pull('{"shapes": {"team": [{"team": "a"}]}}') -> 'changes')
WHERE value -> 'row' ->> 'at' IS NOT NULL;
RESET TimeZone;
RESET DateStyle;
RESET extra_float_digits;

-- row equals to_jsonb() under UTC
SET TimeZone = 'UTC';
SELECT count(*), count(*) FILTER (WHERE to_jsonb(i.*) = c.value -> 'row')
FROM jsonb_array_elements(tide.pull('{"shapes": {"team": [{"team": "a"}, {"team": "b"}]}}')::jsonb -> 'changes') c
	JOIN issues i ON i.id = (c.value -> 'key' ->> 'id')::int;
RESET TimeZone;

SELECT * FROM tide.verify('team', '{"team": "a"}');
SELECT * FROM tide_internal.verify_all();
SELECT tide_internal.verify_query('team');

SELECT tide.drop_shape('team');
SELECT tide.drop_shape('titles');
SELECT tide.ingest() IS NOT NULL;
SELECT tide.reset();
SET client_min_messages = warning;
DROP SCHEMA pull_answer CASCADE;
