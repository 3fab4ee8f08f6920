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
SELECT pg_create_logical_replication_slot('workload', 'pg_tide');
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
SELECT tide.sync();
SQL
for _ in 1 2 3; do cookie=$(pull "$cookie"); done
# cookies that nobody gave out
for forged in '{}' '{"epoch": 1}' '[]' '"x"' '{"v": 1e400}' "$(sed 's/[0-9]/9/g' <<<"$cookie")"; do
  pull "$forged" >/dev/null || true
done
[ "$(sql -c "SELECT count(*) FROM tide.shapes WHERE state <> 'live'")" = 0 ]
[ "$(sql -c "SELECT last_mutation_id FROM tide.mutation_log, LATERAL (SELECT mutation_id AS last_mutation_id) l ORDER BY 1 DESC LIMIT 1")" = 5 ]

end=$(sql -c 'SELECT pg_current_wal_flush_lsn()')
for options in "-o tables=*.* -o include-types=true -o include-old=true" "-o shapes=late" "-o format=transaction -o numbers=string"; do
  # shellcheck disable=SC2086
  timeout 60 pg_recvlogical -d "$PGDATABASE" -S workload --start --endpos "$end" -f - $options >/dev/null || true
done

# the same without a worker
sql >/dev/null <<'SQL'
SELECT tide.stop();
UPDATE issues SET title = 'by hand' WHERE id % 5 = 0;
SELECT tide.ingest(10);
SELECT tide.ingest();
SELECT tide.client_schema('{team,late}', d) FROM unnest('{postgres,sqlite}'::text[]) d;
SELECT pg_drop_replication_slot('workload');
SELECT tide.reset();
DROP EXTENSION pg_tide CASCADE;
SQL
