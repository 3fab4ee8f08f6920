#!/usr/bin/env bash
# What a row, a bucket, a change, a pull and a waiting client cost, and from that what N clients need.
# CPU seconds of the server's processes, not wall seconds: a busy machine blurs them, but does not multiply them.
#   bench/sizing.sh [ROWS] [RUNS]
set -euo pipefail
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
rows=${1:-100000}
runs=${2:-3}

bench_start max_connections=80 autovacuum=off
postmaster=$(head -n 1 "$TIDE_CLUSTER/data/postmaster.pid")

# CPU seconds of the processes that have ended; the postmaster hears of the last one a moment later
ended_cpu() {
  sleep 0.5
  awk -v hz="$(getconf CLK_TCK)" '{ print ($16 + $17) / hz }' "/proc/$postmaster/stat"
}
calc() { awk "BEGIN { printf \"%.${2:-2}f\\n\", $1 }"; }
# not in one call: that would be one transaction
change() {
  sql "$1" >/dev/null
  sql "SELECT tide.sync('10min')" >/dev/null
}
worker() { sql "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_tide ingest'"; }
live() { until [ "$(sql "SELECT bool_and(state = 'live') FROM tide.shapes")" = t ]; do sleep 0.5; done; }

# ---- storage
sql "CREATE TABLE t (id bigint PRIMARY KEY, team int NOT NULL, owner uuid NOT NULL, title text, body text, n int, done bool, at timestamptz);
     INSERT INTO t SELECT i, i % 100, md5((i % 1000)::text)::uuid, 'Title of row ' || i, repeat(md5(i::text), 3), i % 1000, i % 2 = 0,
       '2026-01-01'::timestamptz + i * interval '1 second' FROM generate_series(1, $rows) i;
     SELECT tide.create_shape('team', '{\"table\": \"t\", \"where\": \"team = params.team\"}');
     SELECT tide.start()" >/dev/null
live
printf '# %s rows of %s bytes, medians of %s runs\n' "$rows" "$(sql 'SELECT round(avg(pg_column_size(t))) FROM t')" "$runs"
table_row=$(sql "SELECT pg_total_relation_size('t')::numeric / $rows")
shadow_row=$(sql "SELECT pg_total_relation_size('tide_shadow.t1')::numeric / $rows")
entry=$(sql "SELECT pg_total_relation_size('tide_shadow.log1')::numeric / $rows")
before=$(sql "SELECT pg_total_relation_size('tide_internal.buckets')")
sql "SELECT tide.create_shape('own', '{\"table\": \"t\", \"where\": \"id = params.id\"}')" >/dev/null
live
bucket=$(sql "SELECT (pg_total_relation_size('tide_internal.buckets') - $before)::numeric / $rows")
change 'UPDATE t SET n = n + 1 WHERE id % 10 = 0'
member=$(sql 'SELECT avg(pg_column_size(_members)) / 2 FROM tide_shadow.t1 WHERE _members IS NOT NULL')
row 'table itself' "$(calc "$table_row" 0)" 'bytes/row'
row 'shadow table, with its key' "$(calc "$shadow_row" 0)" 'bytes/row'
row 'entry of the change log, with its index' "$(calc "$entry" 0)" 'bytes/row' 'for each bucket that holds the row'
row 'membership of a row that has changed' "$(calc "$member" 0)" 'bytes/row' 'for each bucket that holds the row'
row 'bucket, with its index' "$(calc "$bucket" 0)" 'bytes'
sql "SELECT tide.drop_shape('own')" >/dev/null
sql 'SELECT tide.sync()' >/dev/null

# ---- the worker: microseconds of a change, for statements of many rows and for commits of one
worker_us() { # SQL CHANGES
  local pid from
  pid=$(worker)
  change 'CHECKPOINT'
  from=$(cpu "$pid")
  change "$1"
  calc "($(cpu "$pid") - $from) * 1e6 / $2" 1
}
n=$((rows / 5))
many() { # NAME SQL UNDO
  local out
  out=$(for ((r = 0; r < runs; r++)); do
    worker_us "$2" "$n"
    sql "$3" >/dev/null
  done | median)
  row "worker: $1, many rows a commit" "$out" 'us/change' "$(calc "1e6 / $out" 0) changes/s a core"
  printf -v "us_${1%% *}" '%s' "$out"
}
many 'insert' "INSERT INTO t SELECT -i, 1, md5('1')::uuid, 'new', 'new', 1, true, now() FROM generate_series(1, $n) i" 'DELETE FROM t WHERE id < 0'
many 'update' "UPDATE t SET n = n + 1 WHERE id <= $n" 'SELECT 1'
many 'move to another bucket' "UPDATE t SET team = (team + 1) % 100 WHERE id <= $n" 'SELECT 1'
many 'delete' "DELETE FROM t WHERE id <= $n" "INSERT INTO t SELECT i, i % 100, md5((i % 1000)::text)::uuid, 'Title of row ' || i, repeat(md5(i::text), 3), i % 1000, true, now() FROM generate_series(1, $n) i"
printf '%s\n' "\\set id random(1, $rows)" 'UPDATE t SET n = n + 1 WHERE id = :id;' >"$TIDE_CLUSTER/one.sql"
singles() { # yes: the worker is behind and takes them in together
  local pid from n=5000
  pid=$(worker)
  sql 'SELECT tide.sync()' >/dev/null
  from=$(cpu "$pid")
  if [ "$1" = yes ]; then hold "$pid"; fi
  pgbench -n -c 2 -t $((n / 2)) -f "$TIDE_CLUSTER/one.sql" >/dev/null
  if [ "$1" = yes ]; then let_go "$pid"; fi
  sql 'SELECT tide.sync()' >/dev/null
  calc "($(cpu "$pid") - $from) * 1e6 / $n" 1
}
single=$(repeat "$runs" singles no | median)
behind=$(repeat "$runs" singles yes | median)
row 'worker: update, one row a commit, at once' "$single" 'us/change' 'a checkpoint for each, or two'
row 'worker: update, one row a commit, when behind' "$behind" 'us/change' "$(calc "1e6 / $behind" 0) changes/s a core"

# ---- pushes: one insert each, over a connection
printf '%s\n' '\set id :id + 1' '\set row :id + 100000000' \
  "SELECT tide.push('{\"client\": \"5121406e-0000-4000-8000-000000000001\", \"mutations\": [{\"id\": :id, \"op\": \"update\", \"table\": \"t\", \"key\": {\"id\": 77}, \"values\": {\"n\": :id}}]}');" >"$TIDE_CLUSTER/push.sql"
sql "SELECT tide.allow_writes('t')" >/dev/null
pushes() {
  local from last n=2000
  last=$(sql "SELECT coalesce(max(last_mutation_id), 0) FROM tide.clients")
  from=$(ended_cpu)
  pgbench -n -c 1 -t $n -D id="$last" -f "$TIDE_CLUSTER/push.sql" >/dev/null
  calc "($(ended_cpu) - $from) * 1e6 / $n" 1
}
push=$(repeat "$runs" pushes | median)
row 'push of one mutation' "$push" 'us'

# ---- pulls, over a connection: nothing new in K buckets; D changes; a first sync
sql "SELECT tide.sync()" >/dev/null
request() { # BUCKETS COOKIE
  sql "SELECT jsonb_build_object('shapes', jsonb_build_object('team', (SELECT jsonb_agg(jsonb_build_object('team', i)) FROM generate_series(0, $1 - 1) i)),
    'cookie', '$2'::jsonb, 'limit', 10000)"
}
# the cookie of a client that has everything
caught_up() {
  sql "CREATE TEMP TABLE answer AS SELECT NULL::jsonb AS a;
    DO \$\$ DECLARE a jsonb; c jsonb := 'null'; BEGIN
      LOOP
        a := tide.pull('$(request "$1" null)'::jsonb || jsonb_build_object('cookie', c));
        c := a -> 'cookie';
        EXIT WHEN (a ->> 'complete')::bool;
      END LOOP;
      UPDATE answer SET a = c;
    END \$\$;
    SELECT a FROM answer"
}
pull_us() { # REQUEST TIMES
  local from
  echo "SELECT length(tide.pull('$1')::text);" >"$TIDE_CLUSTER/pull.sql"
  from=$(ended_cpu)
  pgbench -n -c 1 -t "$2" -f "$TIDE_CLUSTER/pull.sql" >/dev/null
  calc "($(ended_cpu) - $from) * 1e6 / $2" 1
}
times() { repeat "$runs" pull_us "$@" | median; }
cookie1=$(caught_up 1)
cookie100=$(caught_up 100)
empty1=$(times "$(request 1 "$cookie1")" 3000)
empty100=$(times "$(request 100 "$cookie100")" 500)
row 'pull, nothing new, 1 bucket' "$empty1" us "$(calc "1e6 / $empty1" 0) pulls/s a core"
row 'pull, nothing new, 100 buckets' "$empty100" us
change 'UPDATE t SET n = n + 1 WHERE team = 0 AND id = 100'
few=$(sql "SELECT json_array_length(tide.pull('$(request 1 "$cookie1")') -> 'changes')")
one=$(times "$(request 1 "$cookie1")" 2000)
row "pull, $few change(s) of 1 bucket" "$one" us "$(calc "1e6 / $one" 0) pulls/s a core"
change "UPDATE t SET n = n + 1 WHERE id IN (SELECT id FROM t WHERE team = 0 AND id % 100 = 0 LIMIT 100)"
hundred=$(sql "SELECT json_array_length(tide.pull('$(request 1 "$cookie1")') -> 'changes')")
more=$(times "$(request 1 "$cookie1")" 1000)
row "pull, $hundred changes of 1 bucket" "$more" us
all=$(times "$(request 10 null)" 20)
first_rows=$(sql "SELECT json_array_length(tide.pull('$(request 10 null)') -> 'changes')")
row "first sync, $first_rows rows a page" "$(calc "$all / $first_rows")" us/row "$(calc "1e6 * $first_rows / $all" 0) rows/s a core"

# ---- waiting clients: a connection each
waiters=20
echo "SELECT tide.wait(:last, '60s') AS last \\gset" >"$TIDE_CLUSTER/wait.sql"
pgbench -n -c $waiters -T 25 -D last=0 -f "$TIDE_CLUSTER/wait.sql" >/dev/null 2>&1 &
waiting=$!
sleep 3
pids=$(sql "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE query LIKE 'SELECT tide.wait%' AND pid <> pg_backend_pid()")
sum_cpu() { for p in $pids; do cpu "$p"; done | awk '{ s += $1 } END { print s }'; }
from=$(sum_cpu)
for ((i = 0; i < 20; i++)); do change 'UPDATE t SET n = n + 1 WHERE id = 5000'; done
wake=$(calc "($(sum_cpu) - $from) * 1e6 / 20 / $waiters" 1)
memory=$(for p in $pids; do awk '/^Pss_Anon|^Private_/ { s += $2 } END { print s / 1024 }' "/proc/$p/smaps_rollup"; done | median)
kill $waiting 2>/dev/null || true
wait $waiting 2>/dev/null || true
row 'waking a waiting connection' "$wake" us
row 'memory of a waiting connection' "$(calc "$memory" 1)" MB 'private'

# ---- the model
per_bucket=$(calc "($empty100 - $empty1) / 99" 3)
per_change=$(calc "($more - $one) / ($hundred - $few)" 3)
per_row=$(calc "$all / $first_rows" 3)
cat <<MODEL

# The model
bytes   = rows x ($(calc "$shadow_row" 0) + M x $(calc "$entry + $member" 0)) + buckets x $(calc "$bucket" 0)     M: buckets that hold a row
worker  = changes/s x $single us at one row a commit and no hurry, x $behind us when that is a core or more; x $us_update us in bulk
push    = mutations/s x $push us
pull    = $empty1 us + buckets asked x $per_bucket us + changes x $per_change us
first   = rows x $per_row us

# On paper: a client online changes a row once a minute; each change is pulled by 5 clients online (one change a pull, 10 buckets asked);
# a tenth of all clients is online; each client begins anew once in 30 days with 5,000 rows; 100 rows and 1 bucket of its own a client,
# M = 2; standbys with 8 cores used to 60 %; CPU of the apps' own work not counted
MODEL
printf '%10s %10s %10s %14s %14s %14s %10s %10s\n' clients changes/s pulls/s 'worker cores' 'push cores' 'pull cores' standbys 'GB'
for clients in 1000 10000 100000 1000000; do
  awk -v c="$clients" -v single="$single" -v bulk="$us_update" -v push="$push" -v empty="$empty1" -v bucket="$per_bucket" -v change="$per_change" -v first="$per_row" \
    -v shadow="$shadow_row" -v entry="$entry" -v member="$member" -v b="$bucket" 'BEGIN {
    changes = c / 10 / 60; pulls = changes * 5
    w = changes * single / 1e6; p = changes * push / 1e6
    l = pulls * (empty + 10 * bucket + change) / 1e6 + c * 5000 * first / 1e6 / (30 * 86400)
    s = l / (8 * 0.6); s = s == int(s) ? s : int(s) + 1
    gb = (c * 100 * (shadow + 2 * (entry + member)) + c * b) / 1e9
    printf "%10d %10.1f %10.1f %14.3f %14.3f %14.3f %10d %10.1f\n", c, changes, pulls, w, p, l, s, gb }'
done
