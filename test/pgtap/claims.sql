-- Claims and role of a token while it pushes, and that nothing of them is left. Through a pooler: test/tap/pooler.pl
BEGIN;
SELECT plan(38);

CREATE ROLE tide_test_web LOGIN NOINHERIT;
CREATE ROLE tide_test_user;
CREATE ROLE tide_test_other;
CREATE ROLE tide_test_maker;
GRANT tide_test_user TO tide_test_web;
GRANT tide_test_user, tide_test_other TO tide_test_maker;
GRANT EXECUTE ON FUNCTION tide.claim TO PUBLIC;
SELECT tide.add_jwt_key('test', 'HS256', 'thirty-two bytes of a test''s key');

CREATE SCHEMA ct;
GRANT USAGE ON SCHEMA ct TO PUBLIC;
CREATE FUNCTION ct.b64(bytea) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT rtrim(translate(encode($1, 'base64'), E'+/\n', '-_'), '=') $$;
CREATE FUNCTION ct.pad(key bytea, with_ int) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
	SELECT decode(string_agg(lpad(to_hex(with_ # CASE WHEN i < length(key) THEN get_byte(key, i) ELSE 0 END), 2, '0'), '' ORDER BY i), 'hex') FROM generate_series(0, 63) i
$$;
CREATE FUNCTION ct.token(claims jsonb, kid text DEFAULT 'test') RETURNS text LANGUAGE sql AS $$
	SELECT t || '.' || ct.b64(sha256(ct.pad(key, 92) || sha256(ct.pad(key, 54) || t::bytea)))
	FROM (SELECT 'thirty-two bytes of a test''s key'::bytea AS key,
		ct.b64(convert_to(jsonb_build_object('alg', 'HS256', 'kid', kid)::text, 'UTF8')) || '.' ||
		ct.b64(convert_to(('{"exp": 9e9}'::jsonb || claims)::text, 'UTF8')) AS t) x
$$;
CREATE TABLE ct.docs (id int PRIMARY KEY, owner text DEFAULT tide.claim('sub'), body text, seen text);
CREATE TABLE ct.later (n serial PRIMARY KEY, who text, claim text, setting text);
GRANT SELECT, INSERT, UPDATE, DELETE ON ct.docs TO tide_test_user, tide_test_other;
GRANT ALL ON ct.later, ct.later_n_seq TO PUBLIC;
ALTER TABLE ct.docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON ct.docs USING (owner = tide.claim('sub'));
CREATE FUNCTION ct.see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.seen := concat_ws('|', current_user, session_user, tide.claim('sub'), tide.claim('level'), tide.claim('teams'), coalesce(tide.claim('nothing'), '-'),
		current_setting('request.jwt.claims', true)::jsonb ->> 'sub');
	RETURN NEW;
END $$;
CREATE TRIGGER see BEFORE INSERT OR UPDATE ON ct.docs FOR EACH ROW EXECUTE FUNCTION ct.see();
CREATE FUNCTION ct.at_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.body = 'bad end' THEN RAISE EXCEPTION 'bad end'; END IF;
	INSERT INTO ct.later (who, claim, setting) VALUES (current_user, tide.claim('sub'), current_setting('request.jwt.claims', true)::jsonb ->> 'sub');
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER at_end AFTER INSERT ON ct.docs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ct.at_end();
SELECT tide.allow_writes('ct.docs');

CREATE SEQUENCE ct.clients;
GRANT USAGE ON SEQUENCE ct.clients TO PUBLIC;
-- one mutation by a client of its own: status, code
CREATE FUNCTION ct.try(claims jsonb, mutation jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', r ->> 'status', r ->> 'code')
	FROM (SELECT tide.push(jsonb_build_object('client', 'c1a1ac00-0000-4000-8000-' || lpad(nextval('ct.clients')::text, 12, '0'),
		'token', ct.token(claims), 'mutations', jsonb_build_array(mutation || '{"id": 1, "table": "ct.docs"}'))) -> 'results' -> 0) AS x(r)
$$;
CREATE FUNCTION ct.session() RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws('|', current_user, session_user, current_setting('role'), current_setting('request.jwt.claims', true), coalesce(tide.claim('sub'), '-'), current_setting('tide.request_claims'))
$$;

SET LOCAL SESSION AUTHORIZATION tide_test_web;
SELECT is(ct.session(), 'tide_test_web|tide_test_web|none|-|', 'before');
SELECT is(ct.try('{"sub": "ada", "role": "tide_test_user", "level": 3, "teams": [1, "x"], "nothing": null}', '{"op": "insert", "key": {"id": 1}, "values": {"body": "a"}}'),
	'applied', 'a push as the role of the token');
SELECT is(ct.session(), 'tide_test_web|tide_test_web|none||-|', 'after');
SELECT is(ct.try('{"sub": "ada", "role": "tide_test_user"}', '{"op": "insert", "key": {"id": 2}, "values": {"body": "bad end"}}'),
	'rejected P0001', 'a deferred trigger is its mutation''s');
SELECT is(ct.try('{"sub": "bob", "role": "tide_test_user"}', '{"op": "update", "key": {"id": 1}, "values": {"body": "b"}}'), 'rejected P0002', 'another user does not see it');
SELECT is(ct.try('{"sub": "bob", "role": "tide_test_user"}', '{"op": "insert", "key": {"id": 3}, "values": {"owner": "ada"}}'), 'rejected 42501', 'nor makes rows for her');
SELECT is(ct.try('{"sub": "bob"}', '{"op": "insert", "key": {"id": 3}}'), 'rejected 42501', 'without role: the rights of the session');
SELECT is(ct.try('{"sub": "bob", "role": null}', '{"op": "insert", "key": {"id": 3}}'), 'rejected 42501', 'null is none');

-- roles that are not the session's to take
SELECT throws_ok(format('SELECT ct.try(%L, ''{"op": "insert", "key": {"id": 4}}'')', c), '28000', 'could not authenticate the request', c)
FROM (VALUES ('{"role": "tide_test_other"}'), ('{"role": "no such role"}'), ('{"role": ""}'), ('{"role": "public"}'), ('{"role": "none"}'),
	('{"role": "TIDE_TEST_USER"}'), ('{"role": 1}'), ('{"role": ["tide_test_user"]}'), ('{"role": "pg_write_all_data"}'),
	('{"role": "' || repeat('x', 100) || '"}'), ('{"role": "tide_test_user' || repeat('_', 60) || '"}')) v(c);
SELECT is(ct.session(), 'tide_test_web|tide_test_web|none||-|', 'after what was refused');
-- a pull does not need the role
SELECT is(tide.pull(jsonb_build_object('shapes', '{}'::jsonb, 'token', ct.token('{"role": "tide_test_other"}')))::jsonb -> 'changes', '[]', 'a pull has no role');

-- the claims cannot be forged
SELECT throws_ok($$SET tide.request_claims = '{"sub": "ada"}'$$, '55P02', NULL, 'claims cannot be set');
SELECT throws_ok($$SELECT set_config('tide.request_claims', '{"sub": "ada"}', true)$$, '55P02', NULL, 'in no way');
SET LOCAL request.jwt.claims = '{"sub": "ada"}';
SELECT is(tide.claim('sub'), NULL, 'a setting that anybody can make does not count');
SELECT is(ct.try('{"sub": "bob", "role": "tide_test_user"}', '{"op": "update", "key": {"id": 1}, "values": {"body": "b"}}'), 'rejected P0002', 'not in a push either');
SELECT is(current_setting('request.jwt.claims'), '{"sub": "ada"}', 'and is as it was');
SELECT throws_ok($$SELECT tide.push('{"client": "c1a1ac00-0000-4000-8000-000000000999", "mutations": [], "claims": {"sub": "ada"}}')$$, '28000', NULL, 'claims of a session that is not trusted');

-- a SECURITY DEFINER function lends its caller's roles to nobody
RESET SESSION AUTHORIZATION;
CREATE FUNCTION ct.lure(request jsonb) RETURNS json LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT tide.push($1)';
ALTER FUNCTION ct.lure OWNER TO tide_test_user;
SET LOCAL SESSION AUTHORIZATION tide_test_maker;
SELECT throws_ok($$SELECT ct.lure(jsonb_build_object('client', 'c1a1ac00-0000-4000-8000-000000000998', 'mutations', '[]'::jsonb, 'token', ct.token('{"role": "tide_test_other"}')))$$,
	'28000', NULL, 'a role that the function''s owner may not take');
SELECT lives_ok($$SELECT ct.lure(jsonb_build_object('client', 'c1a1ac00-0000-4000-8000-000000000998', 'mutations', '[]'::jsonb, 'token', ct.token('{"role": "tide_test_user"}')))$$,
	'one that he may');
RESET SESSION AUTHORIZATION;

-- what was done, and by whom
SELECT results_eq('SELECT id, owner, seen FROM ct.docs ORDER BY id', $$VALUES (1, 'ada', 'tide_test_user|tide_test_web|ada|3|[1, "x"]|-|ada')$$, 'role, claims and session as a trigger sees them');
SELECT results_eq('SELECT who, claim, setting FROM ct.later', $$VALUES ('tide_test_user'::text, 'ada'::text, 'ada'::text)$$, 'a deferred trigger ran once, as the role of the token');
SET CONSTRAINTS ALL IMMEDIATE;
SELECT is((SELECT count(*)::int FROM ct.later), 1, 'and not again');
-- a mutator
CREATE FUNCTION ct.mutator(args jsonb, claims jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('who', current_user, 'claims', claims ->> 'sub', 'claim', tide.claim('sub'), 'args', args)
$$;
SELECT tide.create_mutator('ct_mutator', 'ct.mutator(jsonb, jsonb)');
SET LOCAL SESSION AUTHORIZATION tide_test_web;
SELECT is(tide.push(jsonb_build_object('client', 'c1a1ac00-0000-4000-8000-000000000997', 'token', ct.token('{"sub": "ada", "role": "tide_test_user"}'),
	'mutations', '[{"id": 1, "call": "ct_mutator", "args": {"sub": "eve"}}]'::jsonb))::jsonb -> 'results' -> 0 -> 'result',
	'{"who": "tide_test_user", "claims": "ada", "claim": "ada", "args": {"sub": "eve"}}', 'a mutator has the role and the claims of the token');
RESET SESSION AUTHORIZATION;
REVOKE EXECUTE ON FUNCTION ct.mutator FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ct.mutator TO tide_test_web;
SET LOCAL SESSION AUTHORIZATION tide_test_web;
SELECT is(tide.push(jsonb_build_object('client', 'c1a1ac00-0000-4000-8000-000000000996', 'token', ct.token('{"sub": "ada", "role": "tide_test_user"}'),
	'mutations', '[{"id": 1, "call": "ct_mutator", "args": {}}]'::jsonb))::jsonb -> 'results' -> 0 ->> 'code', '42501', 'and needs that role''s right to be called');
RESET SESSION AUTHORIZATION;
-- nothing is left to run at commit, when the session has its own rights again
CREATE FUNCTION ct.hold(args jsonb, claims jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN EXECUTE 'DECLARE held CURSOR WITH HOLD FOR SELECT current_user'; END $$;
CREATE FUNCTION ct.postpone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	SET CONSTRAINTS ALL DEFERRED;
	INSERT INTO ct.postponed VALUES (NEW.n + 1);
	RETURN NULL;
END $$;
CREATE TABLE ct.postponed (n int);
GRANT INSERT ON ct.postponed TO PUBLIC;
CREATE CONSTRAINT TRIGGER postpone AFTER INSERT ON ct.postponed DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ct.postpone();
CREATE FUNCTION ct.begin(args jsonb, claims jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO ct.postponed VALUES (1)';
SELECT tide.create_mutator('ct_' || n, format('ct.%I(jsonb, jsonb)', n)::regprocedure) FROM unnest(ARRAY['hold', 'begin']) n;
SET LOCAL SESSION AUTHORIZATION tide_test_web;
SELECT is(tide.push(jsonb_build_object('client', 'c1a1ac00-0000-4000-8000-000000000995', 'token', ct.token('{"sub": "ada", "role": "tide_test_user"}'),
	'mutations', '[{"id": 1, "call": "ct_hold"}]'::jsonb))::jsonb -> 'results' -> 0 ->> 'code', '42501', 'no cursor that outlives the transaction');
SELECT throws_ok($$SELECT tide.push(jsonb_build_object('client', 'c1a1ac00-0000-4000-8000-000000000994', 'token', ct.token('{"sub": "ada", "role": "tide_test_user"}'),
	'mutations', '[{"id": 1, "call": "ct_begin"}]'::jsonb))$$, '42501', 'cannot fire deferred trigger within security-restricted operation', 'no trigger that defers itself');
DECLARE mine CURSOR WITH HOLD FOR SELECT 1;
SELECT is((SELECT string_agg(name, ',') FROM pg_cursors WHERE is_holdable), 'mine', 'which the session itself can make');
CLOSE mine;
RESET SESSION AUTHORIZATION;
-- another name of the claim
SET LOCAL tide.jwt_role_claim = 'https://example.com/role';
SET LOCAL SESSION AUTHORIZATION tide_test_web;
SELECT is(ct.try('{"sub": "eve", "https://example.com/role": "tide_test_user", "role": "x"}', '{"op": "insert", "key": {"id": 5}}'), 'applied', 'the claim of the setting');
RESET SESSION AUTHORIZATION;
SELECT finish();
ROLLBACK;
