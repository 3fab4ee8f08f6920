-- Named mutators: the app's own functions, called by clients.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_tide;
CREATE SCHEMA push_mutators;
SET search_path = push_mutators, public;
DROP ROLE IF EXISTS regress_tide_app;
CREATE ROLE regress_tide_app;
RESET client_min_messages;
\pset format unaligned
CREATE TABLE issues (id int PRIMARY KEY, title text NOT NULL CHECK (title <> 'bad'), author text);
CREATE TABLE audit (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, client uuid, mutation bigint, what text);
CREATE TABLE parts (id int PRIMARY KEY, issue int REFERENCES issues DEFERRABLE INITIALLY DEFERRED);
GRANT USAGE ON SCHEMA push_mutators TO regress_tide_app;

-- results and last id of a push; mutations of one client, by its number
CREATE FUNCTION push(client int, mutations jsonb, more jsonb DEFAULT '{}') RETURNS SETOF text LANGUAGE sql AS $$
	WITH a AS (SELECT tide.push(jsonb_build_object('client', 'ca110000-0000-4000-8000-' || lpad(client::text, 12, '0'),
		'mutations', mutations) || more) AS answer)
	SELECT r::text FROM a, json_array_elements(answer -> 'results') r
	UNION ALL SELECT 'last ' || (answer ->> 'last_mutation_id') FROM a
$$;

-- what can be a mutator, and what cannot
CREATE FUNCTION create_issue(args jsonb, claims jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO issues VALUES ((args ->> 'id')::int, args ->> 'title', claims ->> 'sub');
	INSERT INTO audit (client, mutation, what) VALUES (tide.current_client(), tide.current_mutation(), 'create');
	RETURN jsonb_build_object('id', args -> 'id', 'count', (SELECT count(*) FROM issues));
END $$;
CREATE FUNCTION nothing(args jsonb, claims jsonb) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION null_result(args jsonb, claims jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
CREATE FUNCTION text_result(args jsonb, claims jsonb) RETURNS text LANGUAGE sql AS 'SELECT $1::text';
CREATE FUNCTION json_result(args jsonb, claims jsonb) RETURNS json LANGUAGE sql AS $$SELECT '[1, {"a": null}]'::json$$;
CREATE FUNCTION time_result(args jsonb, claims jsonb) RETURNS timestamptz LANGUAGE sql AS $$SELECT timestamptz '2026-11-21 09:00+00'$$;
CREATE FUNCTION row_result(args jsonb, claims jsonb) RETURNS issues LANGUAGE sql AS $$SELECT * FROM issues WHERE id = (args ->> 'id')::int$$;
CREATE FUNCTION fail(args jsonb, claims jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO issues VALUES (99, 'left behind');
	IF args ? 'code' THEN
		RAISE EXCEPTION 'the app says no' USING ERRCODE = args ->> 'code', DETAIL = 'secret detail', HINT = 'secret hint';
	END IF;
	PERFORM 1 / 0;
END $$;
CREATE FUNCTION later(args jsonb, claims jsonb) RETURNS void LANGUAGE sql AS $$INSERT INTO parts VALUES (($1 ->> 'id')::int, ($1 ->> 'issue')::int)$$;
CREATE FUNCTION again(args jsonb, claims jsonb) RETURNS json LANGUAGE sql AS $$
	SELECT tide.push('{"client": "ca110000-0000-4000-8000-000000000099", "mutations": []}')
$$;
CREATE FUNCTION whoami(args jsonb, claims jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('user', current_user, 'claims', claims, 'path', current_setting('search_path'),
		'setting', nullif(current_setting('request.jwt.claims', true), ''))
$$;
SELECT tide.create_mutator(name, (name || '(jsonb, jsonb)')::regprocedure)
FROM unnest('{create_issue,nothing,null_result,text_result,json_result,time_result,row_result,fail,later,again,whoami}'::text[]) name;
SELECT tide.create_mutator('a name: "any"', 'whoami(jsonb, jsonb)');
SELECT * FROM tide.mutators ORDER BY name COLLATE "C";

CREATE FUNCTION one_argument(args jsonb) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION set_result(args jsonb, claims jsonb) RETURNS SETOF int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION record_result(args jsonb, claims jsonb) RETURNS record LANGUAGE sql AS 'SELECT 1, 2';
CREATE FUNCTION json_arguments(args json, claims json) RETURNS void LANGUAGE sql AS '';
CREATE PROCEDURE procedure_(args jsonb, claims jsonb) LANGUAGE sql AS '';
SELECT tide.create_mutator('x', 'one_argument(jsonb)');
SELECT tide.create_mutator('x', 'set_result(jsonb, jsonb)');
SELECT tide.create_mutator('x', 'record_result(jsonb, jsonb)');
SELECT tide.create_mutator('x', 'json_arguments(json, json)');
SELECT tide.create_mutator('x', 'procedure_(jsonb, jsonb)');
SELECT tide.create_mutator('x', 0);
SELECT tide.create_mutator('', 'nothing(jsonb, jsonb)');
SELECT tide.create_mutator(NULL, 'nothing(jsonb, jsonb)');
SELECT tide.create_mutator('x', NULL);
SELECT tide.create_mutator('nothing', 'nothing(jsonb, jsonb)');
SELECT tide.drop_mutator('x');
SELECT tide.drop_mutator(NULL);

-- results; ids; what is written
SELECT tide.current_client(), tide.current_mutation();
SET timezone = 'Asia/Tokyo';
SELECT push(1, '[
	{"id": 1, "call": "create_issue", "args": {"id": 1, "title": "one"}},
	{"id": 2, "call": "nothing"},
	{"id": 3, "call": "null_result", "args": null},
	{"id": 4, "call": "text_result", "args": {"a": [1]}},
	{"id": 5, "call": "text_result"},
	{"id": 6, "call": "json_result"},
	{"id": 7, "call": "time_result"},
	{"id": 8, "call": "row_result", "args": {"id": 1}},
	{"id": 9, "call": "create_issue", "args": {"id": 2, "title": "two"}}]', '{"claims": {"sub": "ada"}}');
RESET timezone;
SELECT * FROM issues ORDER BY id;
SELECT right(client::text, 1) AS client, mutation, what FROM audit ORDER BY id;
SELECT tide.current_client(), tide.current_mutation();
-- sent again: the results are those of then
SELECT push(1, '[
	{"id": 1, "call": "create_issue", "args": {"id": 1, "title": "one"}},
	{"id": 8, "call": "row_result", "args": {"id": 1}}]', '{"claims": {"sub": "ada"}}');

-- errors: code and message, never detail or hint; nothing of it stays
SELECT push(2, '[
	{"id": 1, "call": "create_issue", "args": {"id": 3, "title": "three"}},
	{"id": 2, "call": "no_such"},
	{"id": 3, "call": "fail"},
	{"id": 4, "call": "fail", "args": {"code": "TD999"}},
	{"id": 5, "call": "create_issue", "args": {"id": 1, "title": "duplicate"}},
	{"id": 6, "call": "create_issue", "args": {"id": "x"}},
	{"id": 7, "call": "create_issue", "args": {"id": 4, "title": "bad"}},
	{"id": 8, "call": "later", "args": {"id": 1, "issue": 77}},
	{"id": 9, "call": "later", "args": {"id": 2, "issue": 3}},
	{"id": 10, "call": "again"},
	{"id": 11, "call": "create_issue", "args": {"id": 5, "title": "went on"}},
	{"id": 12, "call": "a name: \"any\""},
	{"id": 13, "call": "fail", "args": {"code": "55P04"}}]');
SELECT id, title FROM issues ORDER BY id;
SELECT * FROM parts ORDER BY id;
SELECT mutation_id AS id, op, mutator, "table", key, status, code, message FROM tide.mutation_log
WHERE client_id = 'ca110000-0000-4000-8000-000000000002' ORDER BY mutation_id;
-- the session is as it was
SELECT tide.current_client(), tide.current_mutation();

-- what is not a mutation's fault ends the push, and nothing has happened
CREATE FUNCTION slow(args jsonb, claims jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO issues VALUES (50, $$slow$$); SELECT pg_sleep(60)';
SELECT tide.create_mutator('slow', 'slow(jsonb, jsonb)');
SET statement_timeout = '100ms';
SELECT push(3, '[{"id": 1, "call": "create_issue", "args": {"id": 51, "title": "before"}}, {"id": 2, "call": "slow"}]');
RESET statement_timeout;
SELECT count(*) FROM issues WHERE id >= 50;
SELECT count(*) FROM tide.clients WHERE client_id = 'ca110000-0000-4000-8000-000000000003';
SELECT tide.current_client(), tide.current_mutation();
SELECT push(3, '[{"id": 1, "call": "create_issue", "args": {"id": 51, "title": "before"}}]');

-- it runs as the caller, who needs the right to, and under his search path
SET ROLE regress_tide_app;
SELECT push_mutators.push(4, '[{"id": 1, "call": "whoami"}, {"id": 2, "call": "create_issue", "args": {"id": 60, "title": "x"}}]');
SELECT tide.create_mutator('mine', 'whoami(jsonb, jsonb)');
SELECT tide.drop_mutator('whoami');
SELECT count(*) FROM tide.mutators;
SELECT tide.current_client();
RESET ROLE;
REVOKE EXECUTE ON FUNCTION whoami(jsonb, jsonb) FROM PUBLIC;
SET ROLE regress_tide_app;
SELECT push_mutators.push(4, '[{"id": 3, "call": "whoami"}]');
RESET ROLE;
GRANT EXECUTE ON FUNCTION tide.current_client(), tide.current_mutation() TO regress_tide_app;
GRANT SELECT, INSERT ON issues, audit TO regress_tide_app;
ALTER TABLE issues ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON issues TO regress_tide_app USING (author = 'eve') WITH CHECK (author = 'eve');
SET ROLE regress_tide_app;
SELECT push_mutators.push(5, '[
	{"id": 1, "call": "create_issue", "args": {"id": 60, "title": "hers"}},
	{"id": 2, "call": "row_result", "args": {"id": 1}}]', '{"claims": {"sub": "eve"}}');
SELECT push_mutators.push(6, '[
	{"id": 1, "call": "create_issue", "args": {"id": 61, "title": "not hers"}}]', '{"claims": {"sub": "mallory"}}');
RESET ROLE;
-- claims are those of the request: what a session says of itself is none
BEGIN;
SET LOCAL "request.jwt.claims" = '{"sub": "forged"}';
SELECT push(7, '[{"id": 1, "call": "whoami"}]');
SELECT push(8, '[{"id": 1, "call": "whoami"}]', '{"claims": {"sub": "real"}}');
COMMIT;

-- a function replaced is the same mutator; one dropped and made anew is not
CREATE OR REPLACE FUNCTION null_result(args jsonb, claims jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(42)';
SELECT push(9, '[{"id": 1, "call": "null_result"}]');
DROP FUNCTION null_result;
CREATE FUNCTION null_result(args jsonb, claims jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(43)';
SELECT push(9, '[{"id": 2, "call": "null_result"}]');
SELECT * FROM tide.mutators WHERE name = 'null_result';
SELECT tide.drop_mutator('null_result');
SELECT tide.create_mutator('null_result', 'null_result(jsonb, jsonb)');
SELECT push(9, '[{"id": 3, "call": "null_result"}]');

-- a trigger cannot push either
CREATE FUNCTION push_too() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM tide.push('{"client": "ca110000-0000-4000-8000-000000000098", "mutations": []}');
	RETURN NEW;
END $$;
CREATE TRIGGER push_too BEFORE INSERT ON issues FOR EACH ROW WHEN (NEW.id = 70) EXECUTE FUNCTION push_too();
SELECT push(10, '[{"id": 1, "call": "create_issue", "args": {"id": 70, "title": "x"}}]');

SELECT tide.drop_mutator(name) FROM tide.mutators;
\pset tuples_only on
SET client_min_messages = warning;
DELETE FROM tide_internal.mutations WHERE client_id::text LIKE 'ca110000%';
DELETE FROM tide_internal.clients WHERE client_id::text LIKE 'ca110000%';
DROP SCHEMA push_mutators CASCADE;
DROP OWNED BY regress_tide_app;
DROP ROLE regress_tide_app;
