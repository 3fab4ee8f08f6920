#!/usr/bin/env bash
# Commit to visible in tide.pull: a writer commits one row at a time at a given rate; a
# reader blocks in tide.wait and pulls. Latency = when the pull's answer is there, minus the time
# the writer read just before its commit (so the commit itself is in it). Also the CPU
# an idle worker uses.
#
#   bench/latency.sh [RATE]... [-t SECONDS]     default: 100 commits/s, then 1000, 20 s each
set -euo pipefail
. "$(dirname "$0")/lib.sh"

duration=20
rates=()
while [ $# -gt 0 ]; do
  if [ "$1" = -t ]; then duration=$2; shift 2; else rates+=("$1"); shift; fi
done
[ ${#rates[@]} -gt 0 ] || rates=(100 1000)

observe() {
  psql -XqAt -v ON_ERROR_STOP=1 <<SQL
CREATE TEMP TABLE latency (ms float8);
DO \$\$
DECLARE
  until timestamptz := clock_timestamp() + interval '$duration s';
  op bigint := (SELECT op_id FROM tide.status);
  request jsonb := '{"shapes": {"all": [{}]}, "limit": 100000, "cookie": null}';
  answer json;
BEGIN
  LOOP
    answer := tide.pull(request);
    request := jsonb_set(request, '{cookie}', (answer->'cookie')::jsonb);
    EXIT WHEN (answer->>'complete')::boolean;
  END LOOP;
  WHILE clock_timestamp() < until LOOP
    op := tide.wait(op, '100ms');
    answer := tide.pull(request);
    request := jsonb_set(request, '{cookie}', (answer->'cookie')::jsonb);
    INSERT INTO latency SELECT extract(epoch FROM clock_timestamp() - (c->'row'->>'at')::timestamptz) * 1000
      FROM json_array_elements(answer->'changes') c WHERE c->>'op' = 'put';
  END LOOP;
END \$\$;
SELECT count(*), round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 2),
  round(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)::numeric, 2), round(max(ms)::numeric, 2) FROM latency;
SQL
}

worker_ticks() { awk '{ print $14 + $15 }' "/proc/$(sql 'SELECT pid FROM tide.status')/stat"; }

bench_start
sql "CREATE TABLE items (id int PRIMARY KEY, at timestamptz, s text);
     INSERT INTO items SELECT i, now(), repeat('x', 250) FROM generate_series(1, 10000) i;
     SELECT tide.create_shape('all', '{\"table\": \"items\"}'); SELECT tide.start()" >/dev/null
sql "SELECT tide.sync()" >/dev/null

for rate in "${rates[@]}"; do
  observe >"$TIDE_CLUSTER.out" &
  reader=$!
  sleep 1
  pgbench -n -M prepared -c 1 -R "$rate" -T $((duration - 2)) -f - bench >/dev/null 2>&1 <<'SQL'
\set id random(1, 10000)
UPDATE items SET at = clock_timestamp() WHERE id = :id;
SQL
  wait $reader
  IFS='|' read -r n p50 p99 max <"$TIDE_CLUSTER.out"
  rm -f "$TIDE_CLUSTER.out"
  row "$rate commits/s: p50" "$p50" ms "$n commits seen"
  row "$rate commits/s: p99" "$p99" ms "max $max ms"
done

sql "SELECT tide.sync()" >/dev/null
before=$(worker_ticks)
sleep 10
row "idle worker's CPU in 10 s" "$(($(worker_ticks) - before))" ticks "of $((10 * $(getconf CLK_TCK)))"
