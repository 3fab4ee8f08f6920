#!/usr/bin/env bash
# A short run through ingest, pull, push and stream on the server of PGHOST/PGPORT, for
# test/sanitize.sh. It checks what arrives only roughly; what counts is that the code runs.
set -eu
sql() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }
sql -d postgres -c 'DROP DATABASE IF EXISTS tide_workload' -c 'CREATE DATABASE tide_workload'
export PGDATABASE=tide_workload

sql >/dev/null <<'SQL'
CREATE EXTENSION pg_tide;
CREATE TYPE mood AS ENUM ('open', 'done');
CREATE TABLE issues (id int PRIMARY KEY, team int, title text, body text, state mood DEFAULT 'open',
	price numeric(8,2), at timestamptz DEFAULT now(), tags text[], data jsonb, raw bytea);
CREATE TABLE notes (issue int, no text, score float8, flag bool, day date, span interval, PRIMARY KEY (issue, no));
ALTER TABLE issues ALTER body SET STORAGE external;
INSERT INTO issues SELECT i, i % 7, 'issue ' || i, repeat(md5(i::text), i % 200), 'open', i, now(), ARRAY['a', NULL, 'b"c'],
	jsonb_build_object('n', i, 'l', ARRAY[1.5, NULL]), decode(md5(i::text), 'hex') FROM generate_series(1, 500) i;
SELECT tide.create_shape('team', '{"table": "issues", "where": "team = params.team"}');
SELECT tide.create_shape('open', '{"table": "issues", "where": "state = ''open''", "columns": ["title", "tags"]}');
SELECT tide.create_shape('notes', '{"table": "notes", "where": "issue = params.issue AND score > 0.5"}');
SELECT tide.start();
SELECT tide.sync();
SELECT pg_create_logical_replication_slot('workload', 'pg_tide'), pg_create_logical_replication_slot('prepared', 'pg_tide', false, true);
SQL

pull() { # pull COOKIE: prints the next cookie
  sql -v cookie="$1" <<'SQL'
SELECT tide.pull(jsonb_build_object('client', '0b8c6c6e-0000-4000-8000-000000000001', 'claims', '{}'::jsonb, 'limit', 200,
	'shapes', '{"team": [{"team": 1}, {"team": 2}], "open": [{}], "notes": [{"issue": 3}]}'::jsonb,
	'cookie', :'cookie'::jsonb)) AS answer \gset
SELECT :'answer'::jsonb -> 'cookie';
SQL
}
cookie=null
for _ in 1 2 3 4 5; do cookie=$(pull "$cookie"); done

sql >/dev/null <<'SQL'
-- TOAST that stays, changes, moves with its key, within and across transactions
UPDATE issues SET title = title || '!' WHERE id % 3 = 0;
UPDATE issues SET id = id + 10000 WHERE id % 50 = 0;
BEGIN;
UPDATE issues SET team = 1 WHERE id % 11 = 0;
UPDATE issues SET id = id + 20000 WHERE id % 11 = 0;
UPDATE issues SET body = reverse(body), raw = NULL WHERE id > 20000;
SAVEPOINT a;
DELETE FROM issues WHERE team = 3;
ROLLBACK TO a;
DELETE FROM issues WHERE team = 4;
COMMIT;
INSERT INTO notes SELECT i, 'n' || j, random(), i % 2 = 0, current_date + i, make_interval(hours => j)
	FROM generate_series(1, 300) i, generate_series(1, 10) j;
UPDATE notes SET no = no || 'x', score = 1 WHERE issue = 3;
-- larger than the spool's memory
UPDATE issues SET body = repeat(md5(id::text), 300), state = 'done' WHERE id % 2 = 0;
SELECT tide.sync();
SQL
for _ in 1 2 3; do cookie=$(pull "$cookie"); done

sql >/dev/null <<'SQL'
TRUNCATE notes;
INSERT INTO notes VALUES (3, 'after', 1, NULL, NULL, NULL), (3, 'inf', 'Infinity', true, '-infinity', '-1 mon 3 days');
ALTER TABLE issues ADD COLUMN extra int DEFAULT 7;
UPDATE issues SET extra = 8 WHERE id < 20;
ALTER TABLE issues ALTER team TYPE bigint;
SELECT tide.sync();
BEGIN;
ALTER TABLE issues RENAME price TO cost;
ALTER TABLE issues ALTER cost TYPE text USING cost || ' EUR', DROP extra;
UPDATE issues SET cost = NULL WHERE id < 30;
COMMIT;
SELECT tide.sync();
ALTER TABLE notes RENAME TO remarks;
SELECT tide.sync();
ALTER TABLE remarks RENAME TO notes;
ALTER TABLE issues ALTER cost TYPE numeric(8,2) USING replace(cost, ' EUR', '')::numeric;
ALTER TABLE issues RENAME cost TO price;
ALTER TABLE issues REPLICA IDENTITY FULL;
UPDATE issues SET title = 'full' WHERE id BETWEEN 20 AND 60;
SELECT tide.replace_shape('open', '{"table": "issues", "where": "state = ''done'' AND team = ANY (claims.teams)"}');
SELECT tide.create_shape('late', '{"table": "notes"}');
SELECT tide.drop_shape('team');
SELECT tide.sync();
SELECT tide.create_shape('team', '{"table": "issues", "where": "team = params.team"}');
SELECT tide.sync();
SELECT tide.allow_writes('issues'), tide.allow_writes('notes');
SELECT tide.push('{"client": "0b8c6c6e-0000-4000-8000-000000000001", "claims": {}, "mutations": [
	{"id": 1, "op": "insert", "table": "issues", "key": {"id": 77777}, "values": {"team": 1, "title": "pushed", "tags": ["x", null], "data": {"a": [1]}}},
	{"id": 2, "op": "update", "table": "issues", "key": {"id": 77777}, "values": {"price": 1.5, "state": "done"}},
	{"id": 3, "op": "update", "table": "issues", "key": {"id": 77777}, "values": {"price": "much"}},
	{"id": 4, "op": "delete", "table": "notes", "key": {"issue": 3, "no": "inf"}},
	{"id": 5, "op": "delete", "table": "nothing", "key": {"id": 1}}]}');
-- conflict policies, and clocks of what plain SQL writes: partitions, TOAST, other keys, deleted rows
CREATE TABLE timed (b text, id numeric PRIMARY KEY, body text, n int, tags text[], v jsonb) PARTITION BY RANGE (id);
CREATE TABLE timed_low (id numeric NOT NULL, gone int, b text, body text, n int, tags text[], v jsonb);
ALTER TABLE timed_low DROP gone;
ALTER TABLE timed_low ALTER body SET STORAGE external;
ALTER TABLE timed ATTACH PARTITION timed_low FOR VALUES FROM (0) TO (10000);
SELECT tide.allow_writes('timed', 'hlc'), tide.set_conflict_policy('timed', 'n', 'counter'), tide.set_conflict_policy('timed', 'tags', 'set'),
	tide.set_conflict_policy('timed', 'v', 'vclock');
SELECT tide.sync();
INSERT INTO timed SELECT 'b', i, repeat(md5(i::text), 100), i, ARRAY['a'], '{}' FROM generate_series(1, 3000) i;
UPDATE timed SET b = 'c' WHERE id < 1500;
UPDATE timed SET id = id + 5000 WHERE id BETWEEN 100 AND 200;
DELETE FROM timed WHERE id BETWEEN 50 AND 60;
SELECT tide.sync();
SELECT tide.push(jsonb_build_object('client', '0b8c6c6e-0000-4000-8000-000000000001', 'claims', '{}'::jsonb, 'mutations', jsonb_agg(
	jsonb_build_object('id', 5 + n, 'op', (ARRAY['update', 'insert', 'update', 'delete', 'insert'])[1 + n % 5], 'table', 'timed', 'key', jsonb_build_object('id', n),
		'hlc', CASE n % 3 WHEN 0 THEN '0190000000ff-0000-0000000000000001' ELSE tide.hlc_now()::text END, 'vclock', jsonb_build_object('x', n % 4), 'seen', '0/1',
		'base', '{"n": 1, "tags": ["a"], "v": {}}'::jsonb) ||
	CASE WHEN n % 5 = 3 THEN '{}' ELSE '{"values": {"b": "x", "n": 3, "tags": ["b", "b"], "v": [1], "body": null}}'::jsonb END ORDER BY n)))
FROM generate_series(1, 200) n;
SELECT tide.sync();
SELECT tide.set_conflict_policy('timed', NULL, 'keep');
SELECT tide.sync();
SQL
for _ in 1 2 3; do cookie=$(pull "$cookie"); done
[ "$(sql -c "SELECT count(*) > 50 FROM tide.mutation_log WHERE status = 'conflict'")" = t ]
# cookies that nobody gave out
for forged in '{}' '{"epoch": 1}' '[]' '"x"' '{"v": 1e400}' "$(sed 's/[0-9]/9/g' <<<"$cookie")"; do
  pull "$forged" >/dev/null || true
done
[ "$(sql -c "SELECT count(*) FROM tide.shapes WHERE state <> 'live'")" = 0 ]
[ "$(sql -c "SELECT last_mutation_id FROM tide.mutation_log, LATERAL (SELECT mutation_id AS last_mutation_id) l ORDER BY 1 DESC LIMIT 1")" = 205 ]

sql >/dev/null <<'SQL'
-- partitions that differ from their root
CREATE TABLE parts (id int PRIMARY KEY, gone int, body text) PARTITION BY RANGE (id);
ALTER TABLE parts DROP gone;
CREATE TABLE parts_low (body text, id int NOT NULL);
ALTER TABLE parts ATTACH PARTITION parts_low FOR VALUES FROM (0) TO (100);
CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (100) TO (1000);
INSERT INTO parts SELECT i, repeat('p', i * 20) FROM generate_series(0, 200) i;
UPDATE parts SET id = id + 300 WHERE id IN (5, 15, 25);
TRUNCATE parts_low;
TRUNCATE parts;
-- large enough to be streamed, in part rolled back, prepared
BEGIN;
INSERT INTO notes SELECT i, 's', 1, true, NULL, NULL FROM generate_series(5000, 6000) i;
SAVEPOINT a;
INSERT INTO notes SELECT i, 't', 1, true, NULL, NULL FROM generate_series(5000, 6000) i;
SELECT pg_logical_emit_message(true, 'tide.ddl', '{"command": "nothing", "in": ["a", {}]}'), pg_logical_emit_message(true, 'tide.ddl', '{"a":');
ROLLBACK TO a;
TRUNCATE parts;
COMMIT;
BEGIN;
UPDATE notes SET flag = false;
ROLLBACK;
BEGIN;
INSERT INTO parts VALUES (1, 'one');
PREPARE TRANSACTION 'small';
BEGIN;
INSERT INTO notes SELECT i, 'u', 1, true, NULL, NULL FROM generate_series(5000, 7000) i;
PREPARE TRANSACTION 'large';
COMMIT PREPARED 'small';
ROLLBACK PREPARED 'large';
SQL
end=$(sql -c 'SELECT pg_current_wal_flush_lsn()')
stream() { # stream SLOT OPTION...: into nothing
  local slot=$1 option args=()
  shift
  for option in "$@"; do args+=(-o "$option"); done
  timeout 60 pg_recvlogical -d "$PGDATABASE" -S "$slot" --start --endpos "$end" -s 0 -f - "${args[@]}" >/dev/null || true
}
calls="'include-types', 'on', 'ddl', 'on', 'partitions', 'root', 'streaming', 'on'"
for slot in workload prepared; do
  sql -c "SELECT count(*) FROM pg_logical_slot_peek_changes('$slot', NULL, NULL, $calls)" \
    -c "SELECT count(*) FROM pg_logical_slot_peek_changes('$slot', NULL, NULL, 'format', 'transaction', 'numbers', 'string')" >/dev/null
done
stream prepared streaming ddl partitions=root
stream workload 'tables=*.*' streaming two-phase include-types=true include-old=true
stream workload shapes=late streaming
stream workload format=transaction numbers=string

# the same without a worker
sql >/dev/null <<'SQL'
SELECT tide.stop();
UPDATE issues SET title = 'by hand' WHERE id % 5 = 0;
SELECT tide.ingest(10);
SELECT tide.ingest();
SELECT tide.client_schema('{team,late}', d) FROM unnest('{postgres,sqlite}'::text[]) d;
SELECT pg_drop_replication_slot('workload'), pg_drop_replication_slot('prepared');
SELECT tide.reset();
DROP EXTENSION pg_tide CASCADE;
SQL
