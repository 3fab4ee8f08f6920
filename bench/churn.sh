#!/usr/bin/env bash
# The change log under churn: its entries per live row, its size, and what compaction costs the
# worker. Each kind of churn is taken in while it goes on, with tide.compaction on and off, in
# turns, in the same run; the change log is new each time.
#   one      50,000 updates of one row, a transaction each
#   zipf     single-row updates of 100,000 rows, some often, most seldom (Zipf, 1.1)
#   all      updates of all 100,000 rows, 1,000 a transaction
#   queue    rows inserted and deleted again, never more than 1,000 of them
#   toggle   one row in 1,000 leaves its bucket and enters it again
#
#   bench/churn.sh [ROUNDS] [KIND]...      default 3 rounds of all kinds
set -euo pipefail
. "$(dirname "$0")/lib.sh"

rounds=${1:-3}
[ $# -eq 0 ] || shift
kinds=${*:-one zipf all queue toggle}

setup() {
  sql "CREATE TABLE items (id int PRIMARY KEY, part int, n int, s text) WITH (fillfactor = 80)" >/dev/null
}

fill() {
  sql "TRUNCATE items;
       INSERT INTO items SELECT i, i % 10, 0, repeat('x', 200) FROM generate_series(1, $1) i" >/dev/null
  sql "ALTER SYSTEM SET tide.compaction = $2" >/dev/null
  sql "SELECT pg_reload_conf()" >/dev/null
  sql "SELECT count(tide.drop_shape(name)) FROM tide.shapes" >/dev/null
  sql "SELECT tide.start()" >/dev/null
  sql "SELECT tide.sync('300s')" >/dev/null
  sql "SELECT tide.create_shape('part', '{\"table\": \"items\", \"where\": \"part = params.part\"}')" >/dev/null
  sql "SELECT tide.sync('300s')" >/dev/null

  # what a build wrote is not what churn leaves: every row once
  sql "UPDATE items SET n = 1" >/dev/null
  sql "SELECT tide.sync('300s')" >/dev/null
  settle
}

# wait until compaction has nothing more to do
settle() {
  local before=-1 now=0
  while [ "$before" != "$now" ]; do
    before=$now
    sleep 0.3
    now=$(entries)
  done
}

log() { sql "SELECT 'tide_shadow.log' || max(source_id) FROM tide_internal.sources"; }
entries() { sql "SELECT count(*) FROM $(log)"; }

pgbench_run() { pgbench -n -M prepared -c 2 -t $(($1 / 2)) -f - bench >/dev/null 2>&1; }

churn_one() {
  sql "DO \$\$ BEGIN FOR i IN 1 .. 50000 LOOP UPDATE items SET n = i WHERE id = 1; COMMIT; END LOOP; END \$\$" >/dev/null
}
churn_zipf() {
  pgbench_run 100000 <<'SQL'
\set id random_zipfian(1, 100000, 1.1)
UPDATE items SET n = n + 1 WHERE id = :id;
SQL
}
churn_all() {
  sql "DO \$\$ BEGIN FOR i IN 0 .. 299 LOOP
         UPDATE items SET n = n + 1 WHERE id > (i % 100) * 1000 AND id <= (i % 100 + 1) * 1000;
         COMMIT; END LOOP; END \$\$" >/dev/null
}
churn_queue() {
  sql "DO \$\$ DECLARE m int := (SELECT max(id) FROM items); BEGIN FOR i IN 1 .. 50000 LOOP
         INSERT INTO items VALUES (m + i, i % 10, i, repeat('y', 200)); DELETE FROM items WHERE id = m - 1000 + i;
         COMMIT; END LOOP; END \$\$" >/dev/null
}
churn_toggle() {
  sql "DO \$\$ BEGIN FOR i IN 1 .. 50000 LOOP
         UPDATE items SET part = 9 - part WHERE id = 1 + i % 1000; COMMIT; END LOOP; END \$\$" >/dev/null
}
rows_of() { case $1 in zipf | all) echo 100000 ;; *) echo 1000 ;; esac; }
changes_of() { case $1 in zipf) echo 100000 ;; all) echo 300000 ;; queue) echo 100000 ;; *) echo 50000 ;; esac; }

us_per_change() { awk -v n="$(changes_of "$1")" -v s="$2" 'BEGIN { printf "%.2f", s / n * 1e6 }'; }

# cpu seconds of the worker since it started
worker_cpu() {
  awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) / hz }' \
    "/proc/$(sql 'SELECT pid FROM tide.status')/stat"
}

# one round: KIND on|off -> "worker-cpu-seconds entries kilobytes kilobytes-after-vacuum-and-as-much-again"
round() {
  local from cpu n size
  fill "$(rows_of "$1")" "$2"
  from=$(worker_cpu)
  "churn_$1"
  sql "SELECT tide.sync('600s')" >/dev/null
  settle
  cpu=$(awk -v a="$from" -v b="$(worker_cpu)" 'BEGIN { print b - a }')
  n=$(entries)
  size=$(sql "SELECT pg_total_relation_size('$(log)') / 1024")
  sql "VACUUM $(log)" >/dev/null
  "churn_$1"
  sql "SELECT tide.sync('600s')" >/dev/null
  settle
  echo "$cpu $n $size $(sql "SELECT pg_total_relation_size('$(log)') / 1024")"
}

report() {
  local kind=$1 i on='' off='' a b live
  for ((i = 0; i < rounds; i++)); do
    on+=$(round "$kind" on)$'\n'
    off+=$(round "$kind" off)$'\n'
  done
  live=$(sql "SELECT count(*) FROM items")
  a=$(awk 'NF { print $1 }' <<<"$on" | median)
  b=$(awk 'NF { print $1 }' <<<"$off" | median)
  for i in on off; do
    row "$kind: worker CPU, compaction $i" "$(us_per_change "$kind" "$([ $i = on ] && echo "$a" || echo "$b")")" us/change "median of $rounds"
  done
  row "$kind: cost of compaction" "$(ratio "$a" "$b")" x
  for i in on off; do
    a=$(awk 'NF { print $2 }' <<<"${!i}" | median)
    b=$(awk 'NF { print $3 }' <<<"${!i}" | median)
    row "$kind: entries per live row, $i" "$(ratio "$a" "$live")" '' "$a entries, $live rows"
    row "$kind: change log with indexes, $i" "$b" kB "$(awk 'NF { print $4 }' <<<"${!i}" | median) kB after VACUUM and as much churn again"
  done
}

bench_start tide.max_removed_rows=-1 synchronous_commit=off
setup
for kind in $kinds; do report "$kind"; done
