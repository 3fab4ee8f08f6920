#!/usr/bin/env bash
# The very same WAL decoded by pg_tide, wal2json (format versions 1 and 2), pgoutput,
# test_decoding and a plugin that prints nothing (bench/null_plugin), by pg_recvlogical to
# /dev/null. Every run starts from a copy of one slot made before the workload, and the
# plugins take turns, each round in another order. For each plugin the medians of
# wall seconds, of the walsender's CPU seconds, and of its peak memory; then the ratios
# pg_tide has to reach. Workloads:
#
#   W1  narrow inserts in transactions of 1,000 rows                         1,000,000
#   W2  updates of 10 columns, about 300 bytes, REPLICA IDENTITY FULL          500,000
#   W3  updates beside an unchanged 20 kB TOASTed column                       200,000
#   W4  narrow inserts in one transaction                                    2,000,000
#   W5  inserts into 10 tables, 1 % of them into the table that is wanted    1,000,000
#   W6  inserts in transactions of one row                                     200,000
#   W7  inserts with a fresh 20 kB value                                        20,000
#
#   bench/decode.sh [SCALE] [ROUNDS] [WORKLOAD]...      default 1 5 and all of them
#
# Below scale 1, W3 and W5 to W7 have three times the scale (at most 1), as they are short.
#
# Ends with status 3 if a ratio is missed. Without wal2json its ratios are left out.
set -euo pipefail
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"

scale=${1:-1}
rounds=${2:-5}
workloads=("${@:3}")
[ ${#workloads[@]} -gt 0 ] || workloads=(W1 W2 W3 W4 W5 W6 W7)
plugins=(pg_tide null pgoutput wal2json-2 wal2json-1 test_decoding)
declare -A names=([W1]='narrow inserts, 1,000 a transaction' [W2]='wide updates, REPLICA IDENTITY FULL'
  [W3]='updates beside unchanged TOAST' [W4]='one large transaction' [W5]='1 % wanted'
  [W6]='1-row transactions' [W7]='fresh 20 kB values')

# N at this scale
scaled() { awk -v n="$1" -v s="$scale" 'BEGIN { print int(n * s + 0.5) }'; }

setup() {
  local built=$TIDE_CLUSTER/null_plugin libraries
  cp -r "$bench_root/bench/null_plugin" "$built"
  make -s -C "$built" PG_CONFIG="${PG_CONFIG:-pg_config}" >&2
  sql "ALTER SYSTEM SET dynamic_library_path = '$built:\$libdir'"
  # minors before the setting existed have none
  libraries=$(sql "SELECT setting FROM pg_settings WHERE name = 'output_plugin_libraries'")
  [ -z "$libraries" ] || sql "ALTER SYSTEM SET output_plugin_libraries = bench_null, $libraries"
  sql "SELECT pg_reload_conf()" >/dev/null
  [ -e "$("${PG_CONFIG:-pg_config}" --pkglibdir)/wal2json.so" ] || {
    echo "# wal2json is not installed"
    plugins=(pg_tide null pgoutput test_decoding)
  }
  sql "CREATE TABLE narrow (id int PRIMARY KEY, team int, title text);
       CREATE TABLE wide (id int PRIMARY KEY, a int, b bigint, price numeric, done bool, at timestamptz,
         uid uuid, s1 text, s2 text, s3 text);
       ALTER TABLE wide REPLICA IDENTITY FULL;
       INSERT INTO wide SELECT i, i % 100, i * 1000000::bigint, i * 1.01, i % 2 = 0, now(),
         md5(i::text)::uuid, repeat('a', 60), repeat('b', 60), repeat('c', 60) FROM generate_series(1, 1000) i;
       CREATE TABLE toasted (id int PRIMARY KEY, n int, body text);
       ALTER TABLE toasted ALTER body SET STORAGE EXTERNAL;
       INSERT INTO toasted SELECT i, 0, repeat('0123456789', 2000) FROM generate_series(1, 1000) i;
       CREATE PUBLICATION bench_all FOR ALL TABLES" >/dev/null
  for i in 0 1 2 3 4 5 6 7 8 9; do
    sql "CREATE TABLE part_$i (id int PRIMARY KEY, team int, title text)"
  done
  sql "CREATE PUBLICATION bench_wanted FOR TABLE part_0"
}

# COUNT STATEMENT: for i in 1 .. COUNT, each committed
commits() {
  PGOPTIONS='-c synchronous_commit=off' sql "DO \$\$ BEGIN FOR i IN 1 .. $1 LOOP $2; COMMIT; END LOOP; END \$\$" >/dev/null
}

load_W1() {
  commits "$(scaled 1000)" "INSERT INTO narrow SELECT n, n % 100, 'title of ' || n
    FROM generate_series((i - 1) * 1000 + 1, i * 1000) n"
}
load_W2() {
  commits "$(scaled 500)" "UPDATE wide SET a = a + 1, price = price + 0.01, done = NOT done,
    at = clock_timestamp(), s1 = repeat(chr(97 + i % 26), 60)"
}
load_W3() { commits "$(scaled 200)" "UPDATE toasted SET n = n + 1"; }
load_W4() {
  sql "INSERT INTO narrow SELECT n, n % 100, 'title of ' || n FROM generate_series(1, $(scaled 2000000)) n" >/dev/null
}
load_W5() {
  commits "$(scaled 1000)" "$(for t in 1 2 3 4 5 6 7 8 9; do
    echo "INSERT INTO part_$t SELECT n, i, 'title of ' || n FROM generate_series(i * 110 + 1, i * 110 + 110) n;"
  done)
  INSERT INTO part_0 SELECT n, i, 'title of ' || n FROM generate_series(i * 10 + 1, i * 10 + 10) n"
}
load_W6() { commits "$(scaled 200000)" "INSERT INTO narrow VALUES (i, i % 100, 'title of ' || i)"; }
load_W7() {
  commits "$(scaled 200)" "INSERT INTO toasted SELECT n, 0, repeat('Text that nobody has seen before, with a line end every hundred bytes: ' || left(md5(n::text), 28) || E'\\n', 200)
    FROM generate_series((i - 1) * 100 + 10001, i * 100 + 10000) n"
}

# the slot's plugin, and pg_recvlogical's options, one a line
plugin_library() {
  case $1 in
    null) echo bench_null ;;
    wal2json-*) echo wal2json ;;
    *) echo "$1" ;;
  esac
}
plugin_options() {
  case $1-$2 in
    pg_tide-W5) printf '%s\n' -o tables=public.part_0 ;;
    pgoutput-W5) printf '%s\n' -o proto_version=1 -o publication_names=bench_wanted ;;
    pgoutput-*) printf '%s\n' -o proto_version=1 -o publication_names=bench_all ;;
    wal2json-?-*)
      printf '%s\n' -o "format-version=${1#*-}"
      [ "$2" != W5 ] || printf '%s\n' -o add-tables=public.part_0
      ;;
  esac
}

# Sample a process until it is gone, without starting any other: the last line of
# FILE is its CPU seconds and its peak memory in MB.
watch_process() {
  local pid=$1 file=$2 stat line mb=0 idle tick
  tick=$(getconf CLK_TCK)
  exec {idle}<> <(:)
  while read -r stat <"/proc/$pid/stat"; do
    while read -r line; do
      case $line in VmHWM:*) mb=${line//[^0-9]/}; break ;; esac
    done <"/proc/$pid/status"
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    echo "$((${12} + ${13})) $tick $mb"
    read -rt 0.01 -u "$idle" || :
  done 2>/dev/null | awk '{ c = $1 / $2; m = $3 / 1024 } END { printf "%.2f %.0f\n", c, m }' >"$file"
}

# one run of PLUGIN over WORKLOAD up to an LSN; prints "PLUGIN seconds cpu mb"
decode() {
  local plugin=$1 workload=$2 end=$3 options from to client pid='' used=$TIDE_CLUSTER/used
  sql "SELECT pg_copy_logical_replication_slot('bench_base', 'bench', false, '$(plugin_library "$plugin")')" >/dev/null
  mapfile -t options < <(plugin_options "$plugin" "$workload")
  echo '0 0' >"$used"
  from=$(date +%s%N)
  pg_recvlogical -d bench -S bench --start --no-loop -E "$end" -f /dev/null "${options[@]}" &
  client=$!
  while [ -z "$pid" ] && kill -0 "$client" 2>/dev/null; do
    pid=$(sql "SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'bench'")
  done
  [ -z "$pid" ] || watch_process "$pid" "$used" &
  wait "$client"
  to=$(date +%s%N)
  wait
  echo "$plugin $(awk -v ns=$((to - from)) 'BEGIN { printf "%.3f", ns / 1e9 }') $(cat "$used")"
  sql "SELECT pg_drop_replication_slot('bench')" >/dev/null
}

# the median of a column (2 seconds, 3 cpu, 4 mb) of a plugin's runs of this workload
figure() { awk -v p="$1" -v c="$2" '$1 == p { print $c }' "$runs" | median; }

report() {
  local plugin tide
  tide=$(figure pg_tide 2)
  for plugin in "${plugins[@]}"; do
    printf '%-4s %-14s %9.2f %9.2f %9.2f %9.0f\n' "$1" "$plugin" "$(figure "$plugin" 2)" \
      "$(ratio "$(figure "$plugin" 2)" "$tide")" "$(figure "$plugin" 3)" "$(figure "$plugin" 4)"
    record row "$1 ${names[$1]}: $plugin" "$(figure "$plugin" 2)" s \
      "$(ratio "$(figure "$plugin" 2)" "$tide") x pg_tide's time; CPU $(figure "$plugin" 3) s, peak memory $(figure "$plugin" 4) MB"
    point decode "$plugin" "$1" "$(ratio "$(figure "$plugin" 2)" "$tide")"
  done
}

# WORKLOAD PLUGIN FACTOR: the plugin takes at least so many times pg_tide's time
require() {
  grep -q "^$2 " "$runs" || return 0
  need "decode, $1 ${names[$1]}: time of $2 / pg_tide's" "$(ratio "$(figure "$2" 2)" "$(figure pg_tide 2)")" ge "$3" x \
    "by CPU $(ratio "$(figure "$2" 3)" "$(figure pg_tide 3)")" >>"$verdicts"
}

requirements() {
  local null=0 wal2json=1.01 pgoutput=1.01
  case $1 in
    # 1.8 x the time of the plugin that prints nothing
    W1) null=0.556 wal2json=2.5 pgoutput=1.5 ;;
    W2) wal2json=3 pgoutput=1.8 ;;
    W7) pgoutput=0.8 ;;
  esac
  [ "$null" = 0 ] || require "$1" null "$null"
  require "$1" wal2json-2 "$wal2json"
  require "$1" wal2json-1 1.01
  require "$1" pgoutput "$pgoutput"
  require "$1" test_decoding 1.01
}

measure() {
  local workload=$1 scale=$scale end round i n=${#plugins[@]}
  case $workload in W3 | W[567]) scale=$(awk -v s="$scale" 'BEGIN { t = (s >= 1 ? s : (s > 1 / 3 ? 1 : 3 * s)); print t }') ;; esac
  sql "TRUNCATE narrow; CHECKPOINT"
  sql "SELECT pg_create_logical_replication_slot('bench_base', 'pg_tide')" >/dev/null
  "load_$workload"
  sql "CHECKPOINT"
  end=$(sql "SELECT pg_current_wal_flush_lsn()")
  : >"$runs"
  for ((round = 0; round < rounds; round++)); do
    for ((i = 0; i < n; i++)); do
      decode "${plugins[(i + round) % n]}" "$workload" "$end" >>"$runs"
    done
  done
  sql "SELECT pg_drop_replication_slot('bench_base')" >/dev/null
  report "$workload"
  requirements "$workload"
}

# shellcheck disable=SC2119
bench_start
runs=$TIDE_CLUSTER/runs verdicts=$TIDE_CLUSTER/verdicts
: >"$verdicts"
setup
printf '# scale %s, medians of %s\n' "$scale" "$rounds"
printf '%-4s %-14s %9s %9s %9s %9s\n' '' plugin seconds 'x pg_tide' 'CPU s' 'peak MB'
for workload in "${workloads[@]}"; do measure "$workload"; done
echo
cat "$verdicts"
bench_end
