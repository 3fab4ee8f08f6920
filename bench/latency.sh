#!/usr/bin/env bash
# Commit to visible in tide.pull: writers commit single rows at a given rate; a reader sleeps in tide.wait and pulls.
# Latency = when the pull's answer is there, minus the time the writer read just before its commit (so the UPDATE's
# end and the commit itself are in it). Beside it, in turns: the same commits in the output of pg_recvlogical with
# test_decoding, a stream straight from the WAL. Also the CPU an idle worker uses.
#
#   bench/latency.sh [RATE[xROWS]]... [-t SECONDS] [-r ROUNDS]
#                      default: 100 commits/s (idle), 5000, and 500 of 10 rows each (500x10); 10 s each, 3 rounds
#
# Rates of 1000 and more have four writers, else one.
set -euo pipefail
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"

duration=10
rounds=3
rates=()
while [ $# -gt 0 ]; do
  case $1 in
    -t) duration=$2; shift 2 ;;
    -r) rounds=$2; shift 2 ;;
    *) rates+=("$1"); shift ;;
  esac
done
[ ${#rates[@]} -gt 0 ] || rates=(100 5000 500x10)
rows=100000

# writers at RATE for DURATION; prints the rate they reached
write_rows() {
  local clients=1 rate=${1%x*} more=0
  [ "$rate" -lt 1000 ] || clients=4
  [ "$rate" = "$1" ] || more=$((${1#*x} - 1))
  pgbench -n -M prepared -c $clients -j 1 -R "$rate" -T "$duration" -f - bench 2>/dev/null <<SQL | awk '/^tps/ { printf "%.0f\n", $3 }'
\set id random(1, $rows)
UPDATE items SET at = clock_timestamp() WHERE id BETWEEN :id AND :id + $more;
SQL
}

# until SECONDS from now; prints a latency in ms for each row seen
observe_pull() {
  psql -XqAt -v ON_ERROR_STOP=1 <<SQL
CREATE TEMP TABLE latency (ms float8);
DO \$\$
DECLARE
  until timestamptz := clock_timestamp() + interval '$1 s';
  op bigint := (SELECT op_id FROM tide.status);
  request jsonb := '{"shapes": {"all": [{}]}, "limit": 100000, "cookie": null}';
  answer json;
  received timestamptz;
BEGIN
  LOOP
    answer := tide.pull(request);
    request := jsonb_set(request, '{cookie}', (answer->'cookie')::jsonb);
    EXIT WHEN (answer->>'complete')::boolean;
  END LOOP;
  WHILE clock_timestamp() < until LOOP
    op := tide.wait(op, '100ms');
    answer := tide.pull(request);
    received := clock_timestamp();
    request := jsonb_set(request, '{cookie}', (answer->'cookie')::jsonb);
    INSERT INTO latency SELECT extract(epoch FROM received - (c->'row'->>'at')::timestamptz) * 1000
      FROM json_array_elements(answer->'changes') c WHERE c->>'op' = 'put';
  END LOOP;
END \$\$;
SELECT round(ms::numeric, 3) FROM latency;
SQL
}

observe_stream() {
  timeout "$1" pg_recvlogical -d bench -S bench_stream --start --no-loop -f - 2>/dev/null | perl -MTime::HiRes=time -MTime::Local -ne '
    next unless / at\[[^\]]*\]:\x27(\d+)-(\d+)-(\d+) (\d+):(\d+):(\d+)(\.\d+)?/;
    printf "%.3f\n", (time - timegm($6, $5, $4, $3, $2 - 1, $1) - ($7 // 0)) * 1000' || :
}

# RATE WAY: latencies go to the file of rate and way, the writers' rate to another
round() {
  local observer
  "observe_$2" $((duration + 3)) >>"$TIDE_CLUSTER/latency.$1.$2" &
  observer=$!
  sleep 2
  write_rows "$1" >>"$TIDE_CLUSTER/rate.$1.$2"
  wait $observer
}

at() { percentile "$3" <"$TIDE_CLUSTER/latency.$1.$2"; }

report() {
  local rate=$1 name="$1 commits/s" way seen
  case $rate in
    100) name='idle (100 commits/s)' ;;
    *x*) name="${rate%x*} commits/s of ${rate#*x} rows" ;;
  esac
  for way in pull stream; do
    seen=$(wc -l <"$TIDE_CLUSTER/latency.$rate.$way")
    row "$name, $way: p50" "$(at "$rate" $way 50)" ms "$seen changes seen, at $(median <"$TIDE_CLUSTER/rate.$rate.$way") commits/s"
    row "$name, $way: p99" "$(at "$rate" $way 99)" ms "max $(at "$rate" $way 100)"
    for p in 50 90 99; do point latency "$way, $name" "p$p" "$(at "$rate" $way $p)"; done
  done
  case $rate in
    100)
      need 'commit to visible when idle, p50' "$(at "$rate" pull 50)" le 2 ms "test_decoding streamed: $(at "$rate" stream 50) ms"
      need 'commit to visible when idle, p99' "$(at "$rate" pull 99)" le 8 ms "test_decoding streamed: $(at "$rate" stream 99) ms"
      ;;
    5000 | 500x10)
      need "commit to visible at 5,000 changes/s, $name, p99" "$(at "$rate" pull 99)" le 50 ms \
        "$(median <"$TIDE_CLUSTER/rate.$rate.pull") commits/s reached; test_decoding streamed: $(at "$rate" stream 99) ms"
      ;;
  esac
}

worker_ticks() { awk '{ print $14 + $15 }' "/proc/$(sql 'SELECT pid FROM tide.status')/stat"; }

bench_start
sql "CREATE TABLE items (id int PRIMARY KEY, at timestamptz, s text) WITH (fillfactor = 80);
     INSERT INTO items SELECT i, now(), repeat('x', 250) FROM generate_series(1, $rows) i;
     SELECT tide.create_shape('all', '{\"table\": \"items\"}')" >/dev/null
sql 'SELECT tide.start()' >/dev/null
sql "SELECT tide.sync('300s')" >/dev/null

for rate in "${rates[@]}"; do
  for ((i = 0; i < rounds; i++)); do
    round "$rate" pull
    sql "SELECT pg_create_logical_replication_slot('bench_stream', 'test_decoding')" >/dev/null
    # the worker's own changes would be in the stream as well
    sql 'SELECT tide.stop()' >/dev/null
    round "$rate" stream
    sql "SELECT pg_drop_replication_slot('bench_stream')" >/dev/null
    sql 'SELECT tide.start()' >/dev/null
    sql "SELECT tide.sync('300s')" >/dev/null
  done
  report "$rate"
done

before=$(worker_ticks)
sleep 10
row "idle worker's CPU in 10 s" "$(($(worker_ticks) - before))" ticks "of $((10 * $(getconf CLK_TCK)))"
bench_end
