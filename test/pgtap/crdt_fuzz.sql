-- Damaged states and clocks: taken or refused with a fitting SQLSTATE, and what is taken is a state.
--   TIDE_SEED     repeats a run
--   TIDE_CASES    damaged texts (3000)
BEGIN;
\getenv seed TIDE_SEED
\if :{?seed} \else
	SELECT (random() * 2147483647)::int AS seed \gset
\endif
\getenv cases TIDE_CASES
\if :{?cases} \else
	\set cases 3000
\endif
SELECT plan(7);
SELECT diag('crdt_fuzz.sql: TIDE_SEED=' || :seed);
SELECT setseed(:seed / 2147483648.0) \g /dev/null

CREATE TEMP TABLE corpus AS SELECT row_number() OVER () - 1 AS i, t FROM (VALUES ('{}'), ('[]'), ('{"a": 1, "bb": 9223372036854775807}'),
	('{"hlc": "01a1fd8c697b-0003-8000000000000001", "value": {"x": [1]}}'), ('{"hlc": "01a1fd8c697b-0003-8000000000000001"}'),
	('{"k": {"hlc": "01a1fd8c697b-0003-8000000000000001", "value": null}, "j": {"hlc": "000000000001-0000-0000000000000000"}}'),
	('{"added": {"a": 3}, "removed": {"b": 4, "a": 0}}'), ('["a", 1, null, [[]], {"k": 1.0}]'),
	('{"clock": {"a": 3, "b": 1}, "elements": [{"value": "x", "dots": {"a": 1, "b": 1}}, {"value": [1], "dots": {"a": 3}}]}')) v(t);
CREATE FUNCTION pg_temp.damage(t text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	tokens text[] := ARRAY['{}', '[]', '""', '"a"', '"hlc"', '"value"', '"clock"', '"elements"', '"dots"', '"added"', 'null', 'true', '-1', '0', '0.5', '2.000',
		'9223372036854775807', '9223372036854775808', '1e400', '1e-400', ',', ':', '{"a": 1}', '{"value": 1, "dots": {"a": 1}}', '\u0001', 'é', '-', 'f', '', '', ''];
	at int;
	len int;
BEGIN
	FOR n IN 0 .. floor(random() * 3)::int LOOP
		IF random() < 0.6 THEN		-- a token for another one, so that it stays JSON
			t := regexp_replace(t, '"[^"]*"|[0-9]+|null|\{\}|\[\]', replace(tokens[1 + floor(random() * array_length(tokens, 1))::int], '\', '\\'),
				1, 1 + floor(random() * 8)::int);
		ELSE
			at := 1 + floor(random() * length(t))::int;
			len := floor(random() * 3)::int;
			t := overlay(t PLACING tokens[1 + floor(random() * array_length(tokens, 1))::int] FROM at FOR len);
		END IF;
	END LOOP;
	RETURN t;
END $$;

SELECT set_config('tide_test.cases', :'cases', true) \g /dev/null
CREATE TEMP TABLE outcomes (function text, input text, code text, wrong text);
CREATE TEMP TABLE kinds AS SELECT k AS kind, CASE k WHEN 'g_set' THEN '[]'::jsonb ELSE '{}' END AS empty
	FROM unnest('{vclock,lww_register,lww_map,pn_counter,g_set,or_set}'::text[]) k;
DO $$
DECLARE
	c record;
	k record;
	t text;
	state jsonb;
	merged jsonb;
	again jsonb;
BEGIN
	FOR c IN SELECT corpus.t FROM generate_series(1, current_setting('tide_test.cases')::int) n JOIN corpus ON i = n % (SELECT count(*) FROM corpus) LOOP
		t := pg_temp.damage(c.t);
		BEGIN
			state := t::jsonb;
		EXCEPTION WHEN invalid_text_representation OR untranslatable_character THEN
			INSERT INTO outcomes VALUES ('jsonb', t, '22P02');
			CONTINUE;
		WHEN numeric_value_out_of_range THEN
			CONTINUE;
		END;
		FOR k IN SELECT * FROM kinds LOOP
			BEGIN
				EXECUTE format('SELECT tide.%I($1, $2)', k.kind || '_merge') INTO merged USING state, k.empty;
				EXECUTE format('SELECT tide.%I($1, $1)', k.kind || '_merge') INTO again USING merged;
				IF k.kind <> 'vclock' THEN
					EXECUTE format('SELECT tide.%I($1)', k.kind || '_value') USING merged;
				END IF;
				INSERT INTO outcomes VALUES (k.kind, t, '00000', CASE WHEN again IS DISTINCT FROM merged THEN merged::text || ' is not ' || again::text END);
			EXCEPTION WHEN OTHERS THEN
				INSERT INTO outcomes VALUES (k.kind, t, SQLSTATE, CASE WHEN SQLSTATE <> '22023' THEN SQLERRM END);
			END;
		END LOOP;
	END LOOP;
END $$;
CREATE FUNCTION pg_temp.damage_clock(i int) RETURNS text LANGUAGE sql AS $$
	SELECT overlay('01a1fd8c697b-0003-8000000000000001' PLACING (ARRAY['a', '0', 'f', '-', 'g', 'F', ' ', E'\n', 'é', '', '00', '-0'])[1 + floor(random() * 12 + 0 * i)::int]
		FROM 1 + floor(random() * 34)::int FOR 1 - (random() * 0.6)::int) $$;
CREATE FUNCTION pg_temp.try_clock(t text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN t::tide.hlc::text;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT is_empty('SELECT * FROM outcomes WHERE wrong IS NOT NULL LIMIT 5', 'a damaged state is refused with 22023, or is merged into a state');
SELECT ok(count(*) FILTER (WHERE code = '00000') > :cases / 10, 'many were taken: ' || count(*) FILTER (WHERE code = '00000')) FROM outcomes;
SELECT ok(count(*) FILTER (WHERE code = '22023') > :cases / 2, 'many were refused: ' || count(*) FILTER (WHERE code = '22023')) FROM outcomes;
SELECT ok(bool_and(taken > 10), 'some of each kind were taken') FROM (SELECT count(*) FILTER (WHERE code = '00000') AS taken FROM outcomes WHERE function <> 'jsonb' GROUP BY function) x;

-- clocks: what is taken is what the form says, and comes out as it went in
CREATE TEMP TABLE texts AS SELECT pg_temp.damage_clock(i) AS t FROM generate_series(1, :cases) i;
SELECT is_empty('SELECT t, pg_temp.try_clock(t) FROM texts WHERE pg_temp.try_clock(t) IS DISTINCT FROM
	CASE WHEN t ~ ''^[0-9a-f]{12}-[0-9a-f]{4}-[0-9a-f]{16}$'' AND t !~ ''\n'' THEN t ELSE ''22P02'' END LIMIT 5', 'a damaged clock is refused with 22P02, or comes out as it went in');
SELECT ok(count(*) FILTER (WHERE length(pg_temp.try_clock(t)) > 5) > :cases / 10, 'many were taken') FROM texts;
SELECT ok(count(*) FILTER (WHERE length(pg_temp.try_clock(t)) = 5) > :cases / 10, 'many were refused') FROM texts;

SELECT * FROM finish();
ROLLBACK;
