-- tide.push: what it answers, and what it does to the tables.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_tide;
RESET client_min_messages;
SET TimeZone = 'UTC';
CREATE SCHEMA push_basic;
SET search_path = push_basic, public;
\pset format unaligned

-- a client's id, for short; answers one result per line
CREATE FUNCTION push(client int, mutations text, more jsonb DEFAULT '{}') RETURNS SETOF text
LANGUAGE sql AS $$
	SELECT coalesce(r.result::text, 'last ' || (a.answer ->> 'last_mutation_id'))
	FROM (SELECT tide.push(jsonb_build_object(
			'client', 'ba51c000-0000-4000-8000-' || lpad(client::text, 12, '0'),
			'mutations', mutations::jsonb) || more) AS answer) a,
		LATERAL (SELECT value AS result FROM json_array_elements(a.answer -> 'results')
			UNION ALL SELECT NULL) r
$$;

CREATE TYPE mood AS ENUM ('open', 'done');
CREATE DOMAIN short AS text NOT NULL CHECK (length(VALUE) <= 5);
CREATE TABLE issues (
	id      int PRIMARY KEY,
	title   text NOT NULL DEFAULT 'none',
	state   mood DEFAULT 'open',
	tag     short DEFAULT 'x',
	price   numeric(6,2) CHECK (price >= 0),
	at      timestamptz,
	data    jsonb,
	nums    int[],
	title_length int GENERATED ALWAYS AS (length(title)) STORED
);
CREATE TABLE notes (
	issue   int REFERENCES issues DEFERRABLE INITIALLY DEFERRED,
	"No"    varchar(4) COLLATE "C",
	body    text,
	PRIMARY KEY (issue, "No")
);

-- tables are opened one by one
SELECT push(1, '[{"id": 1, "op": "insert", "table": "issues", "key": {"id": 1}}]');
SELECT tide.allow_writes('issues');
SELECT tide.allow_writes('notes', 'overwrite');
SELECT tide.allow_writes('issues');

-- insert, insert of what exists, update, delete
SELECT push(1, '[
	{"id": 2, "op": "insert", "table": "issues", "key": {"id": 1},
	 "values": {"title": "first", "at": "2026-11-21T09:00:00.123456+00:00", "data": {"a": [1, null]}, "nums": [1, null, 3]}},
	{"id": 3, "op": "insert", "table": "push_basic.issues", "key": {"id": 1}, "values": {"price": 1.25}},
	{"id": 4, "op": "update", "table": "issues", "key": {"id": 1}, "values": {"state": "done", "id": 1}, "base": {"state": "open"}, "hlc": "1"},
	{"id": 5, "op": "update", "table": "issues", "key": {"id": 1}, "values": {}},
	{"id": 6, "op": "insert", "table": "issues", "key": {"id": 2}},
	{"id": 7, "op": "delete", "table": "issues", "key": {"id": 2}},
	{"id": 8, "op": "delete", "table": "issues", "key": {"id": 2}},
	{"id": 9, "op": "insert", "table": "notes", "key": {"No": "a", "issue": 1}, "values": {"body": "quote \" and \\"}},
	{"id": 10, "op": "insert", "table": "notes", "key": {"No": "a", "issue": 1}, "values": {}},
	{"id": 11, "op": "update", "table": "notes", "key": {"No": "a", "issue": 1}, "values": {"body": null}}]');
SELECT to_jsonb(i) FROM issues i;
SELECT to_jsonb(n) FROM notes n;

-- sent again: answered from the log, nothing happens
SELECT push(1, '[
	{"id": 1, "op": "insert", "table": "issues", "key": {"id": 1}},
	{"id": 3, "op": "delete", "table": "issues", "key": {"id": 1}},
	{"id": 10, "op": "delete", "table": "issues", "key": {"id": 1}},
	{"id": 12, "op": "update", "table": "issues", "key": {"id": 1}, "values": {"title": "twelve"}},
	{"id": 12, "op": "update", "table": "issues", "key": {"id": 1}, "values": {"title": "again"}}]');
SELECT title FROM issues;
SELECT push(1, '[]');

-- each its own reason, none of them stops the next
SELECT push(1, '[
	{"id": 13, "op": "update", "table": "issues", "key": {"id": 99}, "values": {"title": "x"}},
	{"id": 14, "op": "insert", "table": "issues", "key": {"id": 3}, "values": {"price": -1}},
	{"id": 15, "op": "insert", "table": "issues", "key": {"id": 3}, "values": {"price": "much"}},
	{"id": 16, "op": "insert", "table": "issues", "key": {"id": 3}, "values": {"nothing": 1}},
	{"id": 17, "op": "insert", "table": "issues", "key": {"id": 3}, "values": {"title_length": 1}},
	{"id": 18, "op": "insert", "table": "issues", "key": {"id": 3}, "values": {"xmin": 1}},
	{"id": 19, "op": "insert", "table": "issues", "key": {"id": 3}, "values": {"title": null}},
	{"id": 20, "op": "insert", "table": "issues", "key": {"id": 3}, "values": {"tag": "too long"}},
	{"id": 21, "op": "insert", "table": "issues", "key": {"id": 3}, "values": {"state": "lost"}},
	{"id": 22, "op": "insert", "table": "issues", "key": {}},
	{"id": 23, "op": "insert", "table": "issues", "key": {"id": 3, "title": "x"}},
	{"id": 24, "op": "insert", "table": "issues", "key": {"id": null}},
	{"id": 25, "op": "update", "table": "issues", "key": {"id": 1}, "values": {"id": 2}},
	{"id": 26, "op": "delete", "table": "issues", "key": {"id": 1}},
	{"id": 27, "op": "insert", "table": "notes", "key": {"issue": 42, "No": "b"}},
	{"id": 28, "op": "insert", "table": "notes", "key": {"issue": 1, "No": "too long"}},
	{"id": 29, "op": "delete", "table": "nothing", "key": {"id": 1}},
	{"id": 30, "op": "delete", "table": "no.such.table.at.all", "key": {"id": 1}},
	{"id": 31, "op": "delete", "table": "pg_class", "key": {"oid": 1}},
	{"id": 32, "call": "create_issue", "args": {"title": "x"}},
	{"id": 33, "op": "insert", "table": "issues", "key": {"id": 3}, "values": {"title": "went on"}}]');
SELECT id, title FROM issues ORDER BY id;

-- all or nothing
SELECT push(2, '[
	{"id": 1, "op": "insert", "table": "issues", "key": {"id": 20}},
	{"id": 2, "op": "insert", "table": "issues", "key": {"id": 21}, "values": {"price": -1}},
	{"id": 3, "op": "insert", "table": "issues", "key": {"id": 22}}]', '{"atomic": true}');
SELECT push(2, '[
	{"id": 3, "op": "insert", "table": "issues", "key": {"id": 22}},
	{"id": 4, "op": "insert", "table": "issues", "key": {"id": 20}},
	{"id": 5, "op": "insert", "table": "issues", "key": {"id": 20}, "values": {"title": "merged"}}]', '{"atomic": true}');
SELECT id, title FROM issues WHERE id >= 20 ORDER BY id;

-- constraint modes of the transaction are as they were, and its own triggers still fire
BEGIN;
SELECT push(3, '[
	{"id": 1, "op": "insert", "table": "notes", "key": {"issue": 77, "No": "b"}},
	{"id": 2, "op": "insert", "table": "notes", "key": {"issue": 1, "No": "b"}}]');
INSERT INTO notes VALUES (78, 'c');
INSERT INTO issues VALUES (78);
COMMIT;
SELECT issue, "No" FROM notes ORDER BY issue, "No";

-- the name of a table means one writable table, whatever the search path
CREATE SCHEMA push_other;
CREATE TABLE push_other.issues (a int PRIMARY KEY DEFERRABLE, b text UNIQUE);
CREATE TABLE push_other."Odd.Name" ("K e y" int PRIMARY KEY, t int, k int, v int);
SELECT tide.allow_writes('push_other.issues');
SELECT tide.allow_writes('push_other."Odd.Name"');
SELECT push(4, '[
	{"id": 1, "op": "insert", "table": "issues", "key": {"id": 30}},
	{"id": 2, "op": "insert", "table": "push_other.issues", "key": {"a": 1}, "values": {"b": "x"}},
	{"id": 3, "op": "insert", "table": "push_other.issues", "key": {"a": 2}, "values": {"b": "x"}},
	{"id": 4, "op": "insert", "table": "push_other.issues", "key": {"a": 1}, "values": {"b": "y"}},
	{"id": 5, "op": "insert", "table": "Odd.Name", "key": {"K e y": 1}, "values": {"t": 1, "k": 2, "v": 3}},
	{"id": 6, "op": "update", "table": "push_other.Odd.Name", "key": {"K e y": 1}, "values": {"t": 4}},
	{"id": 7, "op": "update", "table": "push_other.\"Odd.Name\"", "key": {"K e y": 1}, "values": {"k": 5}},
	{"id": 8, "op": "insert", "table": "\"Odd.Name\"", "key": {"K e y": 1}, "values": {"v": 6}}]');
SELECT * FROM push_other.issues;
SELECT * FROM push_other."Odd.Name";
SELECT tide.disallow_writes('push_other.issues');
SELECT push(4, '[
	{"id": 9, "op": "update", "table": "issues", "key": {"id": 1}, "values": {"title": "mine again"}},
	{"id": 10, "op": "delete", "table": "push_other.issues", "key": {"a": 1}}]');

-- a changed table is seen at once
ALTER TABLE issues RENAME COLUMN title TO headline;
ALTER TABLE issues DROP CONSTRAINT issues_price_check;
ALTER TABLE issues ALTER COLUMN price TYPE text;
ALTER TABLE issues RENAME TO tickets;
SELECT push(4, '[
	{"id": 11, "op": "update", "table": "issues", "key": {"id": 1}, "values": {"price": "a lot"}},
	{"id": 12, "op": "update", "table": "tickets", "key": {"id": 1}, "values": {"price": "a lot", "headline": "new name"}},
	{"id": 13, "op": "update", "table": "tickets", "key": {"id": 1}, "values": {"title": "old name"}}]');
SELECT headline, price FROM tickets WHERE id = 1;
ALTER TABLE notes DROP CONSTRAINT notes_pkey;
SELECT push(4, '[{"id": 14, "op": "delete", "table": "notes", "key": {"issue": 1, "No": "a"}}]');

-- partitions, identity, triggers
CREATE TABLE parts (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (1) TO (10);
CREATE TABLE always (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'INSERT' AND NEW.v = 'deny' THEN
		RAISE EXCEPTION 'denied' USING ERRCODE = 'TD001', DETAIL = 'not shown', HINT = 'not shown';
	ELSIF TG_OP = 'UPDATE' THEN
		RETURN NULL;
	ELSIF TG_OP = 'DELETE' THEN
		RETURN NULL;
	END IF;
	NEW.v := upper(NEW.v);
	RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON parts FOR EACH ROW EXECUTE FUNCTION guard();
SELECT tide.allow_writes('parts');
SELECT tide.allow_writes('always');
SELECT push(5, '[
	{"id": 1, "op": "insert", "table": "parts", "key": {"id": 1}, "values": {"v": "yes"}},
	{"id": 2, "op": "insert", "table": "parts", "key": {"id": 2}, "values": {"v": "deny"}},
	{"id": 3, "op": "insert", "table": "parts", "key": {"id": 10}, "values": {"v": "no partition"}},
	{"id": 4, "op": "update", "table": "parts", "key": {"id": 1}, "values": {"v": "b"}},
	{"id": 5, "op": "delete", "table": "parts", "key": {"id": 1}},
	{"id": 6, "op": "insert", "table": "parts", "key": {"id": 1}, "values": {"v": "merge"}},
	{"id": 7, "op": "insert", "table": "always", "key": {"id": 1}}]');
SELECT * FROM parts;

-- who, when, what
SELECT right(client_id::text, 1) AS client, mutation_id AS id, at <= now() AS at, role = session_user AS role,
	subject, op, "table", key, status, code, message
FROM tide.mutation_log WHERE client_id::text LIKE 'ba51c000%' AND right(client_id::text, 1) IN ('3', '5')
ORDER BY client_id, mutation_id;
SELECT right(client_id::text, 1) AS client, role = session_user AS role, subject, last_mutation_id,
	acknowledged_mutation_id AS acked, created_at <= last_push_at AS pushed
FROM tide.clients WHERE client_id::text LIKE 'ba51c000%' ORDER BY client_id;

SELECT tide.disallow_writes(t::regclass)
FROM unnest('{tickets,notes,parts,always,"push_other.\"Odd.Name\""}'::text[]) t;
SET client_min_messages = warning;
DROP SCHEMA push_basic, push_other CASCADE;
