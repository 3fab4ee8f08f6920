#!/usr/bin/env bash
# Storage: bytes per row of a table that pg_tide keeps for it (shadow table, change log, both with indexes and TOAST),
# beside the table itself with its indexes: for narrow, middling and wide rows in one shape, for five shapes, for 10,000
# buckets, and after each row was updated five times, with autovacuum as it is.
#
#   bench/storage.sh [ROWS]      default 200000 rows
set -euo pipefail
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
rows=${1:-200000}

shape() { sql "SELECT tide.create_shape('$1', '{\"table\": \"items\"${2:+, \"where\": \"$2\"}}')" >/dev/null; }
bytes() { sql "SELECT round(sum(pg_total_relation_size(c.oid)) / $rows::numeric, 1) FROM pg_class c WHERE $1"; }

report() {
  local own table shadow log
  sql "SELECT tide.sync('600s')" >/dev/null
  table=$(bytes "c.oid = 'items'::regclass")
  shadow=$(bytes "c.relnamespace = 'tide_shadow'::regnamespace AND c.relkind = 'r' AND c.relname LIKE 't%'")
  log=$(bytes "c.relnamespace = 'tide_shadow'::regnamespace AND c.relkind = 'r' AND c.relname LIKE 'log%'")
  own=$(bytes "c.relnamespace = 'tide_internal'::regnamespace AND c.relname = 'buckets'")
  row "$1: the table" "$table" bytes/row
  row "$1: pg_tide" "$(awk -v a="$shadow" -v b="$log" -v c="$own" 'BEGIN { print a + b + c }')" bytes/row \
    "shadow $shadow, change log $log, buckets $own; $(awk -v t="$table" -v a="$shadow" -v b="$log" -v c="$own" 'BEGIN { printf "%.2f", (a + b + c) / t }') x the table"
  point storage table "$1" "$table"
  point storage shadow "$1" "$shadow"
  point storage 'change log' "$1" "$log"
}

# TEXT-BYTES: a new table with rows of that, and a shape of all of it
fill() {
  sql "SELECT tide.drop_shape(name) FROM tide.shapes" >/dev/null
  sql "SELECT tide.sync('60s')" >/dev/null
  sql "DROP TABLE IF EXISTS items" >/dev/null
  sql "CREATE TABLE items (id int PRIMARY KEY, a int, at timestamptz, s text) WITH (fillfactor = 100);
       INSERT INTO items SELECT i, i % 100, now(), left(repeat(md5(i::text), $1 / 32 + 1), $1) FROM generate_series(1, $rows) i" >/dev/null
  shape all
}

bench_start
sql 'SELECT tide.start()' >/dev/null
fill 1000
report 'rows with 1,000 bytes of text'
fill 20
report 'rows with 20 bytes of text'
fill 200
report 'rows with 200 bytes of text'
shape b 'a = params.a'
shape c 'a < 1000'
shape d 'id % 10 = params.m'
shape e 'a IS NOT NULL'
report 'the same, five shapes'
fill 200
for i in 1 2 3 4 5; do
  sql "DO \$\$ BEGIN FOR i IN 0 .. $rows / 1000 LOOP
         UPDATE items SET at = now() WHERE id >= i * 1000 AND id < (i + 1) * 1000; COMMIT; END LOOP; END \$\$" >/dev/null
done
report 'the same, one shape, each row updated five times'
fill 200
shape many 'id % 10000 = params.x'
report 'the same, two shapes, 10,000 buckets'
bench_end
