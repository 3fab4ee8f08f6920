#!/usr/bin/env bash
# Initial copy: rows per second from tide.create_shape() until the shape is live, for a shape of one bucket and for one
# of 100, beside two bounds: COPY of the table into another with a primary key, through a pipe, and CREATE TABLE AS
# with a primary key after it. Also the worker's CPU and the peak of its own memory while it copies.
#
#   bench/copy.sh [ROWS] [ROUNDS]      default 2000000 rows, 3 rounds
set -euo pipefail
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
rows=${1:-2000000}
rounds=${2:-3}
declare -A where=(['one bucket']='' ['100 buckets']=', "where": "part = params.part"')

worker() { sql 'SELECT pid FROM tide.status'; }
create() {
  sql "SELECT tide.create_shape('s', '{\"table\": \"items\"$1}')" >/dev/null
  wait_live s
}
by_copy() {
  sql 'COPY items TO STDOUT' | psql -Xq -v ON_ERROR_STOP=1 -c 'COPY other FROM STDIN' >/dev/null
}
by_create() {
  sql 'CREATE TABLE another AS SELECT * FROM items; ALTER TABLE another ADD PRIMARY KEY (id)' >/dev/null
}

round() {
  local kind pid from peak
  for kind in "${!where[@]}"; do
    pid=$(worker)
    from=$(cpu "$pid")
    peak=$TIDE_CLUSTER/peak
    echo 0 >"$peak"
    watch_memory "$pid" "$peak" &
    watcher=$!
    seconds create "${where[$kind]}" >>"$TIDE_CLUSTER/wall.$kind"
    kill $watcher && wait $watcher 2>/dev/null || :
    awk -v a="$from" -v b="$(cpu "$pid")" 'BEGIN { print b - a }' >>"$TIDE_CLUSTER/cpu.$kind"
    tail -n 1 "$peak" >>"$TIDE_CLUSTER/memory.$kind"
    sql "SELECT tide.drop_shape('s')" >/dev/null
    sql "SELECT tide.sync('300s')" >/dev/null
  done
  sql 'CREATE TABLE other (LIKE items INCLUDING ALL)' >/dev/null
  seconds by_copy >>"$TIDE_CLUSTER/wall.COPY"
  sql 'DROP TABLE other; CHECKPOINT' >/dev/null
  seconds by_create >>"$TIDE_CLUSTER/wall.CREATE"
  sql 'DROP TABLE another; CHECKPOINT' >/dev/null
}

bench_start
sql "CREATE TABLE items (id bigint PRIMARY KEY, part int, title text, body text, n int, at timestamptz);
     INSERT INTO items SELECT i, i % 100, 'title of row ' || i, repeat(md5(i::text), 5), i % 1000,
       '2026-01-01'::timestamptz + i * interval '1 second' FROM generate_series(1, $rows) i" >/dev/null
sql 'VACUUM (ANALYZE) items' >/dev/null
sql 'CHECKPOINT' >/dev/null
sql 'SELECT tide.start()' >/dev/null
sql "SELECT tide.sync('300s')" >/dev/null
printf '# %s rows of %s bytes on average\n' "$rows" "$(sql 'SELECT round(avg(pg_column_size(items))) FROM (SELECT * FROM items LIMIT 1000) items')"
for ((i = 0; i < rounds; i++)); do round; done

wall() { median <"$TIDE_CLUSTER/wall.$1"; }
row 'COPY out and into a table with a primary key' "$(per_second "$rows" "$(wall COPY)")" rows/s
row 'CREATE TABLE AS, then its primary key' "$(per_second "$rows" "$(wall CREATE)")" rows/s
point copy rows/s COPY "$(per_second "$rows" "$(wall COPY)")"
point copy rows/s 'CREATE TABLE AS' "$(per_second "$rows" "$(wall CREATE)")"
for kind in 'one bucket' '100 buckets'; do
  rate=$(per_second "$rows" "$(wall "$kind")")
  by_cpu=$(per_second "$rows" "$(median <"$TIDE_CLUSTER/cpu.$kind")")
  row "initial copy, $kind" "$rate" rows/s "$(ratio "$(wall COPY)" "$(wall "$kind")") x COPY; $by_cpu for each second of the worker's CPU"
  point copy rows/s "$kind" "$rate"
  row "worker memory of its own at most, $kind" "$(percentile 100 <"$TIDE_CLUSTER/memory.$kind")" MB
done
need "initial copy of $rows rows, one bucket" "$(per_second "$rows" "$(wall 'one bucket')")" ge 200000 rows/s \
  "$(per_second "$rows" "$(median <"$TIDE_CLUSTER/cpu.one bucket")") for each second of the worker's CPU; COPY $(per_second "$rows" "$(wall COPY)")"
need 'worker memory of its own while it copies' "$(percentile 100 <"$TIDE_CLUSTER/memory.one bucket")" le 100 MB
bench_end
