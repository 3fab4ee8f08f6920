#!/usr/bin/env bash
# Rows per second of a generated client's first sync, beside loading the same JSON into a plain table by one statement.
#   bench/client_sync.sh [ROWS] [RUNS] [PAGE]
set -euo pipefail
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
rows=${1:-100000}
runs=${2:-3}
page=${3:-10000}

bench_start
sql "CREATE TABLE t (id bigint PRIMARY KEY, grp uuid NOT NULL, title text, body text, n int, price numeric(12,2),
       done bool, at timestamptz);
     INSERT INTO t SELECT i, md5((i % 100)::text)::uuid, 'Title of row ' || i, repeat(md5(i::text), 6), i % 1000,
       (i % 100000) / 100.0, i % 2 = 0, '2026-01-01'::timestamptz + i * interval '1 second'
       FROM generate_series(1, $rows) i;
     SELECT tide.create_shape('all', '{\"table\": \"t\"}')" >/dev/null
sql 'SELECT tide.start()' >/dev/null
until [ "$(sql "SELECT state FROM tide.shapes WHERE name = 'all'")" = live ]; do sleep 1; done
for dialect in sqlite postgres; do
  sql "SELECT tide.client_schema('{all}', '$dialect')" >"$TIDE_CLUSTER/client_$dialect.sql"
done
cookie=null
n=0
while :; do
  answer=$TIDE_CLUSTER/page_$(printf '%04d' $n).json
  printf "SELECT tide.pull('{\"shapes\": {\"all\": {}}, \"limit\": %s, \"cookie\": %s}')" "$page" "$cookie" | psql -XqAt >"$answer"
  n=$((n + 1))
  cookie=$(head -c 4000 "$answer" | sed 's/^{"cookie"://; s/,"checkpoint":.*//')
  grep -q '"complete":true' <(head -c 4000 "$answer") && break
done
printf '# %s rows in %s pages\n' "$rows" "$n"

for dialect in sqlite postgres; do
  out=$(node "$(dirname "$0")/client_sync.mjs" "$dialect" "$TIDE_CLUSTER" "$runs")
  field() { awk -v name="$1" -v n="$2" '$1 == name { print $n }' <<<"$out" | median; }
  row "$dialect: one plain statement a page" "$(per_second "$rows" "$(field plain 2)")" rows/s "$(field plain 3) s of CPU"
  row "$dialect: the client's apply" "$(per_second "$rows" "$(field client 2)")" rows/s \
    "$(ratio "$(field client 2)" "$(field plain 2)") x its time; $(field client 3) s of CPU, $(ratio "$(field client 3)" "$(field plain 3)") x"
done
