# shellcheck shell=bash
# Shared by the benchmarks: a throw-away cluster, timing, medians and ratios. Sourced.
#
#   . "$(dirname "$0")/lib.sh"
#   bench_start [setting=value]...   a cluster with fsync on, database bench, extension made
#   sql QUERY                        its result, unaligned; stops the benchmark on error
#   seconds COMMAND...               wall seconds of a command, 3 decimals, output to stderr
#   repeat N COMMAND...              COMMAND's last output line, N times
#   median < numbers; percentile P < numbers
#   ratio A B                        A / B, 2 decimals
#   row NAME VALUE UNIT [NOTE]       one line of the report
#   need NAME VALUE le|ge BOUND UNIT [NOTE]
#                                    the same, with what is required of VALUE and whether it is reached
#   point PLOT SERIES X Y            a bar or point of one of the plots of doc/benchmarks.md
#   fact NAME VALUE                  a circumstance of the run
#   wait_live SHAPE                  until it is
#   bench_end                        ends with status 3 if something required was missed
#   hold PID                         stop the ingest's worker while it sleeps, until let_go PID or the end
#   cpu PID                          CPU seconds of a process since it started
#   watch_memory PID FILE            in the background, until killed: adds to the file each new peak of its
#                                    memory but shared memory, in MB
#
# row, need, point and fact also write a tab-separated line to the file that TIDE_BENCH_OUT names, if any: the report
# (bench/report.pl) is made of these.
set -euo pipefail
bench_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=test/cluster.sh
. "$bench_root/test/cluster.sh"

bench_stop() {
  jobs -p | xargs -r kill 2>/dev/null || true
  # a stopped worker would keep the server from stopping
  if [ -n "$TIDE_CLUSTER" ] && [ -s "$TIDE_CLUSTER/held" ]; then
    kill -CONT "$(cat "$TIDE_CLUSTER/held")" 2>/dev/null || true
  fi
  tide_cluster_stop
}

bench_start() {
  tide_cluster_trap
  trap bench_stop EXIT
  tide_cluster_start fsync=on shared_buffers=512MB max_wal_size=4GB checkpoint_timeout=30min \
    log_min_messages=warning "$@"
  psql -Xqd postgres -c 'CREATE DATABASE bench'
  export PGDATABASE=bench
  sql 'CREATE EXTENSION pg_tide' >/dev/null
  printf '# %s, %s CPUs\n' "$(sql 'SHOW server_version')" "$(nproc)"
  fact PostgreSQL "$(sql 'SHOW server_version')"
}

# not while it is at work: it may hold a lock that others wait for
hold() {
  local i
  echo "$1" >"$TIDE_CLUSTER/held"
  for ((i = 0; i < 200; i++)); do
    kill -STOP "$1"
    if [ "$(timeout 5 psql -XqAt -c "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $1")" = Extension ]; then
      return 0
    fi
    kill -CONT "$1"
    sleep 0.02
  done
  echo "worker $1 does not come to rest" >&2
  return 1
}

let_go() {
  kill -CONT "$1"
  rm -f "$TIDE_CLUSTER/held"
}

cpu() { awk '{ print $1 / 1e9 }' "/proc/$1/schedstat"; }

watch_memory() {
  local peak=0 word kb rest idle
  exec {idle}<> <(:)
  while [ -d "/proc/$1" ]; do
    while read -r word kb rest; do
      [ "$word" != RssAnon: ] || [ "$kb" -le "$peak" ] || {
        peak=$kb
        echo "$((kb / 1024)).$((kb % 1024 * 10 / 1024))" >>"$2"
      }
    done 2>/dev/null <"/proc/$1/status" || :
    read -rt 0.05 -u "$idle" || :
  done
}

sql() { psql -XqAt -v ON_ERROR_STOP=1 -c "$1"; }

seconds() {
  local from to
  from=$(date +%s%N)
  "$@" >&2
  to=$(date +%s%N)
  awk -v ns=$((to - from)) 'BEGIN { printf "%.3f\n", ns / 1e9 }'
}

repeat() {
  local n=$1 i
  shift
  for ((i = 0; i < n; i++)); do "$@" | tail -n 1; done
}

percentile() {
  sort -g | awk -v p="$1" '{ v[NR] = $1 } END { if (!NR) exit 1; i = int(p / 100 * NR + 0.999999); print v[i < 1 ? 1 : i] }'
}
median() {
  sort -g | awk '{ v[NR] = $1 } END { if (!NR) exit 1; h = int(NR / 2); print NR % 2 ? v[h + 1] : (v[h] + v[h + 1]) / 2 }'
}

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b == 0) print "inf"; else printf "%.2f\n", a / b }'; }
per_second() { awk -v n="$1" -v s="$2" 'BEGIN { printf "%.0f\n", n / (s > 0 ? s : 1e-9) }'; }

record() {
  local IFS=$'\t'
  [ -z "${TIDE_BENCH_OUT:-}" ] || printf '%s\n' "$*" >>"$TIDE_BENCH_OUT"
}
row() {
  printf '%-50s %12s %-10s %s\n' "$1" "$2" "$3" "${4:-}"
  record row "$1" "$2" "$3" "${4:-}"
}
need() {
  local sign='>=' verdict
  [ "$3" = ge ] || sign='<='
  verdict=$(awk -v a="$2" -v op="$3" -v b="$4" 'BEGIN { print (op == "ge" ? a >= b : a <= b) ? "reached" : "missed" }')
  row "$1" "$2" "$5" "required $sign $4: $verdict"
  record need "$1" "$2" "$3" "$4" "$5" "$verdict" "${6:-}"
  [ "$verdict" = reached ] || touch "$TIDE_CLUSTER/missed"
}
point() { record point "$@"; }
fact() { record fact "$@"; }

wait_live() {
  local state
  until state=$(sql "SELECT state FROM tide.shapes WHERE name = '$1'") && [ "$state" = live ]; do
    [ "$state" != failed ] || { echo "shape $1 has failed" >&2; return 1; }
    sleep 0.05
  done
}

bench_end() { [ ! -e "$TIDE_CLUSTER/missed" ] || exit 3; }
