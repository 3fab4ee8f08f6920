#!/usr/bin/env bash
# What tide.push costs: rows per second by size of the batch, against the same rows written by
# plain prepared statements in transactions of the same size, on one connection over the socket, by one C
# program (bench/push_client), fsync on. For each size the ways take turns, each round in another order:
#
#   plain      a prepared statement for each row, one round trip each
#   pipeline   the same statements in libpq's pipeline mode, one round trip for each transaction
#   push       one tide.push for each transaction
#
# Each round inserts, updates and deletes the same rows; "mix" is the three together. Reported are medians of
# wall time and of the backend's CPU, then the ratios of the mix. With policies (counter, hlc): updates.
#
#   bench/push.sh [ROWS] [ROUNDS] [BATCH]...       default 20000 rows, 5 rounds, batches of 1 to 10,000
#
# Runs with batches of 1 and 10 write fewer rows, as each commit waits for the disk. Ends with status 3 if pushes in
# batches of 100 are slower than half of plain.
set -euo pipefail
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"

rows=${1:-20000}
rounds=${2:-5}
batches=("${@:3}")
[ ${#batches[@]} -gt 0 ] || batches=(1 10 100 1000 10000)
ops=(insert update delete)
ways=(plain pipeline push)
policies=(counter hlc)

setup() {
  local policy
  client=$TIDE_CLUSTER/push_client
  "${CC:-gcc}" -O2 -Wall -Wextra -I "$("${PG_CONFIG:-pg_config}" --includedir)" -o "$client" \
    "$bench_root/bench/push_client/push_client.c" -L "$("${PG_CONFIG:-pg_config}" --libdir)" -lpq
  sql "CREATE TABLE items (id bigint PRIMARY KEY, owner text NOT NULL, title text NOT NULL, n int NOT NULL DEFAULT 0,
         note text, at timestamptz)" >/dev/null
  sql "SELECT tide.allow_writes('items')" >/dev/null
  for policy in "${policies[@]}"; do
    sql "CREATE TABLE items_$policy (LIKE items INCLUDING ALL)" >/dev/null
    sql "SELECT tide.allow_writes('items_$policy')" >/dev/null
  done
  sql "SELECT tide.set_conflict_policy('items_counter', 'n', 'counter')" >/dev/null
  sql "SELECT tide.allow_writes('items_hlc', 'hlc')" >/dev/null
}

# rows to write in batches of this size
rows_of() {
  case $1 in
    1) echo $((rows / 20 > 0 ? rows / 20 : 1)) ;;
    10) echo $((rows / 4)) ;;
    *) echo "$rows" ;;
  esac
}

# one WAY through a table: its lines "op wall cpu" go to the file of way and batch
turn() {
  local way=$1 batch=$2 n op
  n=$(rows_of "$batch")
  sql "TRUNCATE items; TRUNCATE tide_internal.mutations; CHECKPOINT" >/dev/null
  for op in "${ops[@]}"; do
    echo "$op $("$client" "$way" "$op" 1 "$n" "$batch" items)"
  done >>"$TIDE_CLUSTER/$way.$batch"
}

# figure WAY BATCH OP COLUMN: median seconds (column 2 wall, 3 CPU); OP mix is the sum of a round
figure() {
  awk -v op="$3" -v c="$4" -v all="${#ops[@]}" '
    op != "mix" { if ($1 == op) print $c; next }
    { sum += $c } NR % all == 0 { print sum; sum = 0 }' "$TIDE_CLUSTER/$1.$2" | median
}

us_each() { awk -v s="$1" -v n="$2" 'BEGIN { printf "%.1f", s / n * 1e6 }'; }

report_batch() {
  local batch=$1 n way op
  n=$(rows_of "$batch")
  for op in "${ops[@]}" mix; do
    [ "$op" != mix ] || n=$((n * ${#ops[@]}))
    for way in "${ways[@]}"; do
      row "$op, batches of $batch, $way" "$(per_second "$n" "$(figure "$way" "$batch" "$op" 2)")" rows/s \
        "$(us_each "$(figure "$way" "$batch" "$op" 3)" "$n") us of CPU each"
      [ "$op" != mix ] || point push "$way" "$batch" "$(per_second "$n" "$(figure "$way" "$batch" "$op" 2)")"
    done
  done
  for way in plain pipeline; do
    row "push / $way, batches of $batch" "$(ratio "$(figure "$way" "$batch" mix 2)" "$(figure push "$batch" mix 2)")" x \
      "$(ratio "$(figure "$way" "$batch" mix 3)" "$(figure push "$batch" mix 3)") x by CPU"
  done
}

bench_batch() {
  local batch=$1 i j
  for ((i = 0; i < rounds; i++)); do
    for ((j = 0; j < ${#ways[@]}; j++)); do
      turn "${ways[(i + j) % ${#ways[@]}]}" "$batch"
    done
  done
  report_batch "$batch"
  if [ "$batch" -eq 100 ]; then
    need 'push / plain prepared statements, batches of 100' "$(ratio "$(figure plain 100 mix 2)" "$(figure push 100 mix 2)")" ge 0.5 x \
      "$(ratio "$(figure plain 100 mix 3)" "$(figure push 100 mix 3)") x by CPU"
  fi
}

# updates under a policy, against plain updates of the same table
bench_policy() {
  local policy=$1 i way n
  n=$(rows_of 100)
  for ((i = 0; i < rounds; i++)); do
    for way in plain push; do
      sql "TRUNCATE items_$policy; TRUNCATE tide_internal.mutations;
           INSERT INTO items_$policy SELECT i, 'user', 'title', i % 1000 FROM generate_series(1, $n) i" >/dev/null
      sql "CHECKPOINT" >/dev/null
      echo "update $("$client" "$way" update 1 "$n" 100 "items_$policy" "$policy")" >>"$TIDE_CLUSTER/$way.$policy"
    done
  done
  for way in plain push; do
    row "update, batches of 100, $policy, $way" "$(per_second "$n" "$(figure "$way" "$policy" update 2)")" rows/s \
      "$(us_each "$(figure "$way" "$policy" update 3)" "$n") us of CPU each"
  done
  row "push / plain, $policy" "$(ratio "$(figure plain "$policy" update 2)" "$(figure push "$policy" update 2)")" x \
    "$(ratio "$(figure plain "$policy" update 3)" "$(figure push "$policy" update 3)") x by CPU"
}

bench_start
setup
for batch in "${batches[@]}"; do
  bench_batch "$batch"
done
for policy in "${policies[@]}"; do
  bench_policy "$policy"
done
bench_end
