#!/usr/bin/env bash
# What the number of shapes, and of buckets, costs: source changes per second that the ingest takes in
# from a backlog of transactions of 1,000 rows, each row in one bucket of one shape, with
#  - 1 to 10,000 shapes that differ in a constant,
#  - 1 to 100 shapes whose plans have nothing in common,
#  - one shape with 1 to as many buckets as there are rows; at last with changes of rows, and in
#    buckets, that the ones before have not touched: none of them is in the worker's cache,
# and how long 10,000 shapes take to create, one transaction each, with the ingest running,
# and to be read when it starts.
#
#   bench/shapes.sh [ROWS] [CHANGES] [ROUNDS] [SHAPES]
#                      default 1000000 rows, 100000 changes, 3 rounds, at most 10000 shapes
set -euo pipefail
. "$(dirname "$0")/lib.sh"

rows=${1:-1000000}
changes=${2:-100000}
rounds=${3:-3}
most=${4:-10000}
other_rows=

setup() {
  sql "CREATE TABLE items (id int PRIMARY KEY, v int, m1 int, m10 int, m100 int, m1000 int, m10000 int)
         WITH (fillfactor = 80);
       CREATE SEQUENCE rounds;
       INSERT INTO items SELECT i, 0, i % 1, i % 10, i % 100, i % 1000, i % 10000 FROM generate_series(1, $rows) i;
       SELECT tide.create_shape('base', '{\"table\": \"items\", \"where\": \"false\"}'); SELECT tide.start()" >/dev/null
  sql "SELECT tide.sync('300s')" >/dev/null
}

# shapes NUMBER WHERE: WHERE as a format() with the shape's number, in place of those before
shapes() {
  sql "SELECT tide.drop_shape(name) FROM tide.shapes WHERE name <> 'base'" >/dev/null
  sql "SELECT tide.create_shape('s' || i, jsonb_build_object('table', 'items', 'where', format('$2', i)))
         FROM generate_series(0, $1 - 1) i" >/dev/null
  sql "SELECT tide.sync('600s')" >/dev/null
}

# the rows that change are spread over all buckets, or are the rows' buckets; the same in each round, or the next ones
load() {
  local from=0
  if [ -n "$other_rows" ]; then
    from="$(sql "SELECT nextval('rounds') % ($rows / $changes) * $changes")"
  fi
  sql "DO \$\$ BEGIN FOR i IN 1 .. $changes / 1000 LOOP
         UPDATE items SET v = v + 1 WHERE id > $from + (i - 1) * 1000 AND id <= $from + i * 1000;
         COMMIT; END LOOP; END \$\$" >/dev/null
}

drain() {
  let_go "$1"
  sql "SELECT tide.sync('600s')" >/dev/null
}

# prints "wall cpu" seconds; the worker, idle, is held while the backlog grows: a start would read the shapes anew
round() {
  local pid before wall
  sql "SELECT tide.sync('600s')" >/dev/null
  pid=$(sql "SELECT pid FROM tide.status")
  hold "$pid"
  load
  sql "CHECKPOINT" >/dev/null
  before=$(cpu "$pid")
  wall=$(seconds drain "$pid")
  awk -v w="$wall" -v a="$before" -v b="$(cpu "$pid")" 'BEGIN { print w, b - a }'
}

restart() {
  sql "SELECT tide.stop(); SELECT tide.start()" >/dev/null
  sql "SELECT tide.sync('600s')" >/dev/null
}

# report NAME: a line, with the ratio to the first line of the same kind
first=
report() {
  local out wall spent
  round >/dev/null # what only the first change of a row costs is not meant
  out=$(repeat "$rounds" round)
  wall=$(awk '{ print $1 }' <<<"$out" | median)
  spent=$(awk '{ print $2 }' <<<"$out" | median)
  first=${first:-$spent}
  row "$1" "$(per_second "$changes" "$wall")" changes/s \
    "$(awk -v c="$spent" -v n="$changes" 'BEGIN { printf "%.2f", c / n * 1e6 }') us/change of CPU, $(ratio "$spent" "$first") x the first"
}

create_many() {
  sql "DO \$\$ BEGIN FOR i IN 0 .. $most - 1 LOOP
         PERFORM tide.create_shape('s' || i, jsonb_build_object('table', 'items', 'where', format('m10000 = %s', i)));
         COMMIT; END LOOP; END \$\$" >/dev/null
  sql "SELECT tide.sync('600s')" >/dev/null
}

bench_start
setup
for n in 1 10 100 1000 10000; do
  [ "$n" -le "$most" ] || continue
  shapes "$n" "m$n = %s"
  report "$n shapes that differ in a constant"
done
first=
for n in 1 10 100; do
  shapes "$n" "abs(m$n - %s) < 1"
  report "$n shapes of different plans"
done
first=
for column in m1 m100 m10000 id; do
  shapes 1 "$column = params.x"
  report "one shape with $(sql "SELECT buckets FROM tide.shapes WHERE name = 's0'") buckets"
done
other_rows=yes
sql "UPDATE items SET v = v + 1" >/dev/null
report "the same, none used lately"
sql "SELECT tide.drop_shape('s0')" >/dev/null
row "$most shapes, one after the other" "$(seconds create_many)" s
row "restart with them" "$(repeat "$rounds" seconds restart | median)" s
