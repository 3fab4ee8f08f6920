#!/usr/bin/env bash
# Memory of the processes concerned beyond shared buffers (RssAnon, in MB, its peak as seen 20 times a second): the
# worker at rest, while it takes in one transaction of many rows, many transactions of 1,000, rows in 10,000 buckets;
# a session that has pulled pages of 10,000 rows, one that sleeps in tide.wait, and, as what any session has, one that
# has read the table.
#
#   bench/memory.sh [ROWS]      default 500000 rows
set -euo pipefail
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
rows=$((${1:-500000} / 1000 * 1000))
highest=0

worker() { sql 'SELECT pid FROM tide.status'; }
in_one() { sql "UPDATE items SET n = n + 1" >/dev/null; }
in_thousands() {
  sql "DO \$\$ BEGIN FOR i IN 1 .. $rows / 1000 LOOP
         UPDATE items SET n = n + 1 WHERE id > (i - 1) * 1000 AND id <= i * 1000; COMMIT; END LOOP; END \$\$" >/dev/null
}

# NAME COMMAND...: the worker's peak until what the command wrote is taken in
peak() {
  local watcher mb file=$TIDE_CLUSTER/peak
  echo 0 >"$file"
  watch_memory "$(worker)" "$file" &
  watcher=$!
  "${@:2}"
  sql "SELECT tide.sync('600s')" >/dev/null
  kill $watcher && wait $watcher 2>/dev/null || :
  mb=$(tail -n 1 "$file")
  row "worker: $1" "$mb" MB
  point memory MB "$1" "$mb"
  highest=$(awk -v a="$highest" -v b="$mb" 'BEGIN { print (a > b ? a : b) }')
}

# NAME STATEMENT: a session that has run it
session() {
  local mb
  mb=$(psql -XqAt -v ON_ERROR_STOP=1 <<SQL | tail -n 1
$2 \g /dev/null
SELECT pg_backend_pid() AS pid \gset
\setenv BENCH_PID :pid
\! awk '/^RssAnon/ { printf "%.1f\n", \$2 / 1024 }' /proc/\$BENCH_PID/status
SQL
)
  row "session: $1" "$mb" MB
}

bench_start
sql "CREATE TABLE items (id int PRIMARY KEY, n int, s text) WITH (fillfactor = 80);
     INSERT INTO items SELECT i, 0, repeat(md5(i::text), 7) FROM generate_series(1, $rows) i;
     SELECT tide.create_shape('all', '{\"table\": \"items\"}')" >/dev/null
sql 'SELECT tide.start()' >/dev/null
peak "first copy of $rows rows" :
sql "SELECT tide.stop()" >/dev/null
sql "SELECT tide.start()" >/dev/null
peak 'at rest' :
peak "$rows rows in one transaction" in_one
peak "$rows rows in 1,000-row transactions" in_thousands
sql "SELECT tide.create_shape('many', '{\"table\": \"items\", \"where\": \"id % 10000 = params.x\"}')" >/dev/null
peak '10,000 buckets' in_thousands
session 'has read the table' 'SELECT count(s) FROM items'
session 'slept in tide.wait' "SELECT tide.wait(1000000000, '0.2s')"
session 'pulled 10,000 rows' "SELECT tide.pull('{\"shapes\": {\"all\": {}}, \"limit\": 10000}')"
need 'worker memory beyond shared buffers at most' "$highest" le 100 MB
bench_end
