-- Laws of the CRDTs on random states. The states are what replicas reach that write at
-- random and merge with one another at random moments; next to each runs a naive model that never
-- forgets (all adds and all removals by tag), against which values are compared.
--   TIDE_SEED     repeats a run
--   TIDE_STATES   triples of states of each kind (2000)
BEGIN;
\getenv seed TIDE_SEED
\if :{?seed} \else
	SELECT (random() * 2147483647)::int AS seed \gset
\endif
\getenv states TIDE_STATES
\if :{?states} \else
	\set states 2000
\endif
SELECT plan(54);
SELECT diag('crdt_laws.sql: TIDE_SEED=' || :seed);
SELECT setseed(:seed / 2147483648.0) \g /dev/null

-- a random value of few, so that they meet; 1 and 1.0 are equal
CREATE FUNCTION pg_temp.value() RETURNS jsonb LANGUAGE sql AS $$
	SELECT ('["a","b","",1,1.0,2,null,true,[1,{"x":[]}],{"k":"v","l":null}]'::jsonb) -> floor(random() * 10)::int $$;
-- a random clock of replica r: few times, so that there are ties of all but the node
CREATE FUNCTION pg_temp.clock(r int) RETURNS tide.hlc LANGUAGE sql AS $$
	SELECT (lpad(to_hex(floor(random() * 4)::int), 12, '0') || '-' || lpad(to_hex(floor(random() * 3)::int), 4, '0')
		|| '-' || lpad(to_hex(r), 16, '0'))::tide.hlc $$;

-- One random write of replica r on a state of some kind, and on its model.
CREATE FUNCTION pg_temp.write(kind text, r int, INOUT state jsonb, INOUT model jsonb) LANGUAGE plpgsql AS $$
DECLARE
	v jsonb := pg_temp.value();
	k text := ('["b","aa",""]'::jsonb) ->> floor(random() * 3)::int;
	node text := ('["c","bb","a"]'::jsonb) ->> r - 1;
	h tide.hlc := pg_temp.clock(r);
	n int := floor(random() * 7)::int - 3;
	tag text := r || '.' || (random() * 1e15)::bigint;
	removal bool := random() < 0.3;
BEGIN
	CASE kind
		WHEN 'vclock' THEN
			state := tide.vclock_increment(state, node);
			model := model || jsonb_build_object(tag, node);
		WHEN 'lww_register' THEN
			state := CASE WHEN removal THEN tide.lww_register_remove(state, h) ELSE tide.lww_register_set(state, v, h) END;
			model := model || jsonb_build_object(tag, jsonb_build_object('h', h) || CASE WHEN removal THEN '{}' ELSE jsonb_build_object('v', v) END);
		WHEN 'lww_map' THEN
			state := CASE WHEN removal THEN tide.lww_map_remove(state, k, h) ELSE tide.lww_map_set(state, k, v, h) END;
			model := model || jsonb_build_object(tag, jsonb_build_object('h', h, 'k', k) || CASE WHEN removal THEN '{}' ELSE jsonb_build_object('v', v) END);
		WHEN 'pn_counter' THEN
			state := tide.pn_counter_add(state, node, n);
			model := model || jsonb_build_object(tag, n);
		WHEN 'g_set' THEN
			state := tide.g_set_add(state, v);
			model := model || jsonb_build_object(tag, v);
		WHEN 'or_set' THEN
			IF removal THEN
				state := tide.or_set_remove(state, v);
				model := model || coalesce((SELECT jsonb_object_agg('-' || t, true) FROM jsonb_each(model) m(t, e)
					WHERE e = v AND left(t, 1) <> '-'), '{}');
			ELSE
				state := tide.or_set_add(state, v, node);
				model := model || jsonb_build_object(tag, v);
			END IF;
	END CASE;
END $$;

CREATE FUNCTION pg_temp.merge(kind text, a jsonb, b jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RETURN CASE kind
		WHEN 'vclock' THEN tide.vclock_merge(a, b)
		WHEN 'lww_register' THEN tide.lww_register_merge(a, b)
		WHEN 'lww_map' THEN tide.lww_map_merge(a, b)
		WHEN 'pn_counter' THEN tide.pn_counter_merge(a, b)
		WHEN 'g_set' THEN tide.g_set_merge(a, b)
		WHEN 'or_set' THEN tide.or_set_merge(a, b)
	END;
END $$;

-- what the model says the value is
CREATE FUNCTION pg_temp.model_value(kind text, model jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RETURN CASE kind
		WHEN 'vclock' THEN (SELECT coalesce(jsonb_object_agg(n, c), '{}')
			FROM (SELECT e #>> '{}' AS n, count(*) AS c FROM jsonb_each(model) m(t, e) GROUP BY 1) x)
		WHEN 'lww_register' THEN (SELECT e -> 'v' FROM jsonb_each(model) m(t, e) ORDER BY e ->> 'h' COLLATE "C" DESC, e -> 'v' DESC NULLS LAST LIMIT 1)
		WHEN 'lww_map' THEN (SELECT coalesce(jsonb_object_agg(k, v) FILTER (WHERE v IS NOT NULL), '{}')
			FROM (SELECT DISTINCT ON (e ->> 'k') e ->> 'k' AS k, e -> 'v' AS v FROM jsonb_each(model) m(t, e)
				ORDER BY e ->> 'k', e ->> 'h' COLLATE "C" DESC, e -> 'v' DESC NULLS LAST) x)
		WHEN 'pn_counter' THEN (SELECT to_jsonb(coalesce(sum(e::numeric), 0)) FROM jsonb_each(model) m(t, e))
		WHEN 'g_set' THEN (SELECT coalesce(jsonb_agg(e ORDER BY e), '[]') FROM (SELECT DISTINCT e FROM jsonb_each(model) m(t, e)) x)
		WHEN 'or_set' THEN (SELECT coalesce(jsonb_agg(e ORDER BY e), '[]') FROM (SELECT DISTINCT e FROM jsonb_each(model) m(t, e)
			WHERE left(t, 1) <> '-' AND NOT model ? ('-' || t)) x)
	END;
END $$;

-- Three replicas at random; one row each time.
CREATE TEMP TABLE triples (kind text, a jsonb, b jsonb, c jsonb, model_a jsonb, model_b jsonb, model_c jsonb);
CREATE FUNCTION pg_temp.run(i int, kind text, empty jsonb) RETURNS SETOF triples LANGUAGE plpgsql AS $$
DECLARE
	s jsonb[] := ARRAY[empty, empty, empty];
	m jsonb[] := '{"{}","{}","{}"}';
	r int;
	other int;
	w record;
BEGIN
	FOR step IN 1 .. floor(random() * 12)::int LOOP
		r := 1 + floor(random() * 3)::int;
		other := 1 + floor(random() * 3)::int;
		IF random() < 0.3 THEN
			s[r] := pg_temp.merge(kind, s[r], s[other]);
			m[r] := m[r] || m[other];
		ELSE
			SELECT * INTO w FROM pg_temp.write(kind, r, s[r], m[r]);
			s[r] := w.state;
			m[r] := w.model;
		END IF;
	END LOOP;
	RETURN QUERY SELECT kind, s[1], s[2], s[3], m[1], m[2], m[3];
END $$;

CREATE TEMP TABLE kinds (kind text, empty jsonb);
INSERT INTO kinds VALUES ('vclock', '{}'), ('lww_register', '{}'), ('lww_map', '{}'),
	('pn_counter', '{}'), ('g_set', '[]'), ('or_set', '{}');
INSERT INTO triples SELECT r.* FROM kinds k, generate_series(1, :states) i, LATERAL pg_temp.run(i, k.kind, k.empty) r;

SELECT is(count(*)::int, :states, k.kind || ': as many states as asked for') FROM kinds k JOIN triples USING (kind) GROUP BY k.kind;
SELECT ok(count(DISTINCT a) > 30 AND count(*) FILTER (WHERE a <> b AND b <> c AND a <> c) > :states / 4,
	kind || ': they differ') FROM triples GROUP BY kind;

-- each law of each kind: a row that breaks it
SELECT is_empty(format('SELECT * FROM triples WHERE kind = %L AND pg_temp.merge(kind, a, b) IS DISTINCT FROM pg_temp.merge(kind, b, a) LIMIT 3', kind),
	kind || ': merge is commutative') FROM kinds;
SELECT is_empty(format('SELECT * FROM triples WHERE kind = %L AND pg_temp.merge(kind, pg_temp.merge(kind, a, b), c)
	IS DISTINCT FROM pg_temp.merge(kind, a, pg_temp.merge(kind, b, c)) LIMIT 3', kind), kind || ': merge is associative') FROM kinds;
SELECT is_empty(format('SELECT * FROM triples WHERE kind = %L AND pg_temp.merge(kind, a, a) IS DISTINCT FROM a LIMIT 3', kind),
	kind || ': merge is idempotent') FROM kinds;
SELECT is_empty(format('SELECT * FROM triples WHERE kind = %L AND (pg_temp.merge(kind, a, %L) IS DISTINCT FROM a
	OR pg_temp.merge(kind, NULL, a) IS DISTINCT FROM a) LIMIT 3', kind, empty), kind || ': the empty state and NULL change nothing') FROM kinds;
-- a write leads to a state that has the one before in it
SELECT is_empty(format('SELECT a, w.state FROM triples, LATERAL pg_temp.write(kind, 1, a, model_a) w WHERE kind = %L
	AND pg_temp.merge(kind, w.state, a) IS DISTINCT FROM w.state LIMIT 3', kind), kind || ': writes are monotone') FROM kinds;

-- values are those of the models, before and after merging
CREATE FUNCTION pg_temp.value_of(kind text, state jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RETURN CASE kind
		WHEN 'vclock' THEN state
		WHEN 'lww_register' THEN tide.lww_register_value(state)
		WHEN 'lww_map' THEN tide.lww_map_value(state)
		WHEN 'pn_counter' THEN to_jsonb(tide.pn_counter_value(state))
		WHEN 'g_set' THEN tide.g_set_value(state)
		WHEN 'or_set' THEN tide.or_set_value(state)
	END;
END $$;
SELECT is_empty(format('SELECT * FROM triples WHERE kind = %L AND (pg_temp.value_of(kind, a) IS DISTINCT FROM pg_temp.model_value(kind, model_a)
	OR pg_temp.value_of(kind, pg_temp.merge(kind, pg_temp.merge(kind, c, a), b)) IS DISTINCT FROM pg_temp.model_value(kind, model_a || model_b || model_c)) LIMIT 3', kind),
	kind || ': values are those of a model that never forgets') FROM kinds;

-- the aggregates merge the same
CREATE FUNCTION pg_temp.merge_all(kind text, states jsonb[]) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE result jsonb;
BEGIN
	EXECUTE format('SELECT tide.%I(s) FROM unnest($1) s', kind || '_merge') INTO result USING states;
	RETURN result;
END $$;
SELECT is_empty(format('SELECT * FROM triples WHERE kind = %L AND pg_temp.merge_all(kind, ARRAY[c, NULL, a, b, a])
	IS DISTINCT FROM pg_temp.merge(kind, a, pg_temp.merge(kind, b, c)) LIMIT 3', kind), kind || ': so does the aggregate') FROM kinds;

SELECT * FROM finish();
ROLLBACK;
