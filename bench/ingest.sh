#!/usr/bin/env bash
# Source changes per second that the ingest takes in from a backlog, for transactions of 1,000 rows and of one row of
# about 300 bytes, with one shape and with five (each row in all five of them), beside two bounds measured in the same
# run: the time PostgreSQL needs to decode the same WAL with a plugin that prints nothing (this plugin with no table
# selected), and a plain INSERT ... SELECT of as many rows. Then: whether it keeps up with pgbench (4 clients,
# single-row commits) when pgbench and its backends have one CPU and the worker the other.
#
#   bench/ingest.sh [ROWS] [ROUNDS] [SECONDS]      default 500000 rows, 3 rounds, 15 s of pgbench
set -euo pipefail
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"

rows=$((${1:-500000} / 1000 * 1000))
rounds=${2:-3}
duration=${3:-15}
singles=$((rows / 5))

setup() {
  sql "CREATE TABLE items (id int PRIMARY KEY, a int, b int, at timestamptz DEFAULT now(),
         s1 text, s2 text, s3 text) WITH (fillfactor = 80);
       INSERT INTO items SELECT i, i % 100, 0, now(), repeat('a', 80), repeat('b', 80), repeat('c', 80)
         FROM generate_series(1, $rows) i;
       CREATE TABLE copy (LIKE items);
       SELECT tide.create_shape('all', '{\"table\": \"items\"}')" >/dev/null
  sql "SELECT tide.start()" >/dev/null
  sync
}

# four shapes more, with plans of their own, that hold every row: in one of 100 buckets, in one, in one of ten, in one
more_shapes() {
  local where i=1
  for where in 'a = params.a' 'a < 1000' 'id % 10 = params.m' 'b >= 0 AND a IS NOT NULL'; do
    i=$((i + 1))
    sql "SELECT tide.create_shape('s$i', '{\"table\": \"items\", \"where\": \"$where\"}')" >/dev/null
  done
  sync
}

sync() { sql "SELECT tide.sync('600s')" >/dev/null; }
worker() { sql 'SELECT pid FROM tide.status'; }

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
  let_go "$1"
  sync
}

insert_select() { sql "INSERT INTO copy SELECT * FROM items WHERE id <= $1" >/dev/null; }

# one measured backlog: LOAD CHANGES; prints "ingest null insert cpu" seconds; the worker, idle, is held while the backlog grows
round() {
  local load=$1 n=$2 null ingest insert pid from
  pid=$(worker)
  sync
  sql "TRUNCATE copy" >/dev/null
  hold "$pid"
  sql "SELECT pg_create_logical_replication_slot('bench_null', 'pg_tide')" >/dev/null
  $load
  sql "CHECKPOINT" >/dev/null
  null=$(seconds decode_nothing "$(sql 'SELECT pg_current_wal_flush_lsn()')")
  sql "SELECT pg_drop_replication_slot('bench_null')" >/dev/null
  from=$(cpu "$pid")
  ingest=$(seconds drain "$pid")
  insert=$(seconds insert_select "$n")
  echo "$ingest $null $insert $(awk -v a="$from" -v b="$(cpu "$pid")" 'BEGIN { print b - a }')"
}

# NAME LOAD CHANGES [REQUIRED]
report() {
  local name=$1 load=$2 n=$3 out ingest null insert cpu rate
  round "$load" "$n" >/dev/null # what only the first change of a row costs is not meant
  out=$(repeat "$rounds" round "$load" "$n")
  ingest=$(awk '{ print $1 }' <<<"$out" | median)
  null=$(awk '{ print $2 }' <<<"$out" | median)
  insert=$(awk '{ print $3 }' <<<"$out" | median)
  cpu=$(awk '{ print $4 }' <<<"$out" | median)
  rate=$(per_second "$n" "$ingest")
  row "$name: ingest" "$rate" changes/s "median of $rounds, $ingest s"
  row "$name: worker CPU" "$(awk -v c="$cpu" -v n="$n" 'BEGIN { printf "%.2f", c / n * 1e6 }')" us/change \
    "$(per_second "$n" "$cpu") changes for each second of it"
  row "$name: decoding alone, prints nothing" "$(per_second "$n" "$null")" changes/s "ingest takes $(ratio "$ingest" "$null") x its time"
  row "$name: INSERT ... SELECT" "$(per_second "$n" "$insert")" rows/s "ingest takes $(ratio "$ingest" "$insert") x its time"
  point ingest "ingest" "$name" "$rate"
  point ingest "decoding alone" "$name" "$(per_second "$n" "$null")"
  point ingest "INSERT ... SELECT" "$name" "$(per_second "$n" "$insert")"
  [ -z "${4:-}" ] || need "ingest, $name" "$rate" ge "$4" changes/s \
    "$(per_second "$n" "$cpu") for each second of the worker's CPU"
}

# commits/s of pgbench with 4 clients on the first CPU
pgbench_rate() {
  $1 pgbench -n -M prepared -c 4 -j 1 -T "$duration" -f - bench 2>/dev/null <<SQL | awk '/^tps/ { printf "%.0f\n", $3 }'
\set id random(1, $rows)
UPDATE items SET b = b + 1, at = clock_timestamp() WHERE id = :id;
SQL
}

# new backends inherit the postmaster's CPU
pin() {
  [ "$(nproc)" -ge 2 ] && taskset -pc "$1" "$2" >/dev/null
}

live() {
  local alone tps lag after pid postmaster all on=
  all=$(awk '/^Cpus_allowed_list/ { print $2 }' /proc/self/status)
  postmaster=$(head -n 1 "$TIDE_CLUSTER/data/postmaster.pid")
  pid=$(worker)
  sync
  if pin 1 "$pid" && pin 0 "$postmaster"; then on='taskset -c 0'; fi
  tps=$(pgbench_rate "$on")
  lag=$(sql "SELECT lag_bytes FROM tide.status")
  after=$(seconds sync)
  [ -z "$on" ] || { pin "$all" "$postmaster"; pin "$all" "$pid"; }
  sql 'SELECT tide.stop()' >/dev/null
  [ -z "$on" ] || pin 0 "$postmaster"
  alone=$(pgbench_rate "$on")
  [ -z "$on" ] || pin "$all" "$postmaster"
  sql 'SELECT tide.start()' >/dev/null
  sync
  row "live: pgbench, 4 clients on the other CPU" "$tps" commits/s "without the ingest $alone"
  row "live: backlog at its end" "$lag" bytes "taken in after $after s"
  need "every single-row commit of pgbench, 4 clients on the other CPU: what is left at its end is taken in after" \
    "$after" le 0.5 s "$tps commits/s, $lag bytes left; without the ingest $alone commits/s"
}

bench_start
setup
report "1,000-row transactions, one shape" load_thousands "$rows" 80000
report "1-row transactions, one shape" load_singles "$singles"
live
row "worker memory of its own" "$(awk '/^RssAnon/ { printf "%.1f", $2 / 1024 }' "/proc/$(worker)/status")" MB
more_shapes
report "1,000-row transactions, five shapes" load_thousands "$rows" 40000
row "worker memory of its own, five shapes" "$(awk '/^RssAnon/ { printf "%.1f", $2 / 1024 }' "/proc/$(worker)/status")" MB
bench_end
