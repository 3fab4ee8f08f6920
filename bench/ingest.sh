#!/usr/bin/env bash
# Source changes per second that the ingest takes in from a backlog, for transactions of
# 1,000 rows and of one row of about 300 bytes, beside two bounds measured in the same
# run: the time PostgreSQL needs to decode the same WAL with a plugin that prints
# nothing (this plugin with no table selected), and a plain INSERT ... SELECT of as many
# rows. Then: whether it keeps up with pgbench (4 clients, single-row commits).
#
#   bench/ingest.sh [ROWS] [ROUNDS]      default 500000 rows, 3 rounds
set -euo pipefail
. "$(dirname "$0")/lib.sh"

rows=${1:-500000}
rounds=${2:-3}
singles=$((rows / 5))

setup() {
  sql "CREATE TABLE items (id int PRIMARY KEY, a int, b int, at timestamptz DEFAULT now(),
         s1 text, s2 text, s3 text) WITH (fillfactor = 80);
       INSERT INTO items SELECT i, i % 100, 0, now(), repeat('a', 80), repeat('b', 80), repeat('c', 80)
         FROM generate_series(1, $rows) i;
       CREATE TABLE copy (LIKE items);
       SELECT tide.create_shape('all', '{\"table\": \"items\"}'); SELECT tide.start()" >/dev/null
  sql "SELECT tide.sync('300s')" >/dev/null
}

# a backlog of $rows changes in transactions of 1,000 rows
load_thousands() {
  sql "DO \$\$ BEGIN FOR i IN 1 .. $rows / 1000 LOOP
         UPDATE items SET b = b + 1, s1 = repeat(chr(97 + (b + i) % 26), 80)
          WHERE id > (i - 1) * 1000 AND id <= i * 1000;
         COMMIT; END LOOP; END \$\$" >/dev/null
}

# a backlog of $singles changes in transactions of one row
load_singles() {
  pgbench -n -M prepared -c 2 -t $((singles / 2)) -f - bench >/dev/null 2>&1 <<SQL
\set id random(1, $rows)
UPDATE items SET b = b + 1, at = clock_timestamp() WHERE id = :id;
SQL
}

decode_nothing() {
  pg_recvlogical -d bench -S bench_null --start -f /dev/null -E "$1" --no-loop -o tables=no.table >&2
}

drain() {
  sql "SELECT tide.start()" >/dev/null
  sql "SELECT tide.sync('600s')" >/dev/null
}

insert_select() { sql "INSERT INTO copy SELECT * FROM items WHERE id <= $1" >/dev/null; }

# cpu seconds of the worker since it started
worker_cpu() {
  awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) / hz }' \
    "/proc/$(sql 'SELECT pid FROM tide.status')/stat"
}

# one measured backlog: LOAD CHANGES; prints "ingest null insert cpu" seconds
round() {
  local load=$1 n=$2 null ingest insert
  sql "SELECT tide.stop(); TRUNCATE copy" >/dev/null
  sql "SELECT pg_create_logical_replication_slot('bench_null', 'pg_tide')" >/dev/null
  $load
  sql "CHECKPOINT" >/dev/null
  null=$(seconds decode_nothing "$(sql 'SELECT pg_current_wal_flush_lsn()')")
  sql "SELECT pg_drop_replication_slot('bench_null')" >/dev/null
  ingest=$(seconds drain)
  insert=$(seconds insert_select "$n")
  echo "$ingest $null $insert $(worker_cpu)"
}

report() {
  local name=$1 load=$2 n=$3 out ingest null insert cpu
  out=$(repeat "$rounds" round "$load" "$n")
  ingest=$(awk '{ print $1 }' <<<"$out" | median)
  null=$(awk '{ print $2 }' <<<"$out" | median)
  insert=$(awk '{ print $3 }' <<<"$out" | median)
  cpu=$(awk '{ print $4 }' <<<"$out" | median)
  row "$name: ingest" "$(per_second "$n" "$ingest")" changes/s "median of $rounds, $ingest s"
  row "$name: worker CPU" "$(awk -v c="$cpu" -v n="$n" 'BEGIN { printf "%.2f", c / n * 1e6 }')" us/change
  row "$name: decoding alone, prints nothing" "$(per_second "$n" "$null")" changes/s "ingest takes $(ratio "$ingest" "$null") x its time"
  row "$name: INSERT ... SELECT" "$(per_second "$n" "$insert")" rows/s "ingest takes $(ratio "$ingest" "$insert") x its time"
}

live() {
  local tps lag after
  sql "SELECT tide.sync('600s')" >/dev/null
  tps=$(pgbench -n -M prepared -c 4 -j 2 -T 15 -f - bench 2>/dev/null <<SQL | awk '/^tps/ { print $3 }'
\set id random(1, $rows)
UPDATE items SET b = b + 1, at = clock_timestamp() WHERE id = :id;
SQL
)
  lag=$(sql "SELECT lag_bytes FROM tide.status")
  after=$(seconds sql "SELECT tide.sync('600s')")
  row "live: pgbench, 4 clients" "$tps" commits/s
  row "live: backlog at its end" "$lag" bytes "taken in after $after s"
  row "worker memory of its own" "$(awk '/^Private_Dirty/ { s += $2 } END { printf "%.1f", s / 1024 }' \
    "/proc/$(sql 'SELECT pid FROM tide.status')/smaps_rollup")" MB
}

bench_start
setup
report "1,000-row transactions" load_thousands "$rows"
report "1-row transactions" load_singles "$singles"
live
