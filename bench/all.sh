#!/usr/bin/env bash
# Runs every benchmark and writes doc/benchmarks.md with its plots. A benchmark that fails, or takes too long, is marked
# as such in the report; the others go on. Those that would begin after 19.5 minutes are ended at once: on two quiet
# CPUs there are none.
#
#   bench/all.sh [NAME]...      default: all of bench/*.sh
#
# TIDE_BENCH_SCALE (1) scales the rows; TIDE_BENCH_DIR keeps what the benchmarks printed (default: a directory that is
# removed); TIDE_BENCH_DOC (doc) is where the report goes.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
scale=${TIDE_BENCH_SCALE:-1}
kept=${TIDE_BENCH_DIR:-}
out=${kept:-$(mktemp -d "${TMPDIR:-/tmp}/tide-bench.XXXXXX")}
mkdir -p "$out"
rm -f "$out"/*.tsv "$out"/*.txt

# seconds for all of them
longest=$(awk -v s="$scale" 'BEGIN { print int(1170 * (s > 1 ? s : 1)) }')

scaled() { awk -v n="$1" -v s="$scale" -v least="${2:-1}" 'BEGIN { n = int(n * s + 0.5); print n < least ? least : n }'; }

# NAME: its arguments, at this scale, one word each; the first is the longest it may take, in seconds
arguments() {
  local few
  few=$(scaled 3 1)
  case $1 in
    ingest) echo 240 "$(scaled 200000 2000)" "$few" "$(scaled 10 2)" ;;
    latency) echo 220 100 5000 500x10 -t "$(scaled 6 2)" -r "$(scaled 2 1)" ;;
    fanout) echo 180 "$few" 1 100 1000 "$(scaled 10000 50)" -d 1 100 "$(scaled 500 10)" ;;
    pull) echo 90 "$(scaled 300000 10000)" "$few" ;;
    copy) echo 240 "$(scaled 2000000 1000)" "$(scaled 2 1)" ;;
    memory) echo 90 "$(scaled 300000 1000)" ;;
    decode) echo 400 "$(awk -v s="$scale" 'BEGIN { print 0.2 * s }')" "$(scaled 5 1)" ;;
    push) echo 100 "$(scaled 6000 200)" "$few" 1 10 100 1000 ;;
    storage) echo 60 "$(scaled 100000 1000)" ;;
    client_sync) echo 90 "$(scaled 50000 1000)" "$few" ;;
    shapes) echo 120 "$(scaled 100000 2000)" "$(scaled 20000 1000)" 1 1000 ;;
    sizing) echo 120 "$(scaled 20000 1000)" 1 ;;
    trees) echo 90 "$(scaled 10000 1000)" 1 ;;
    churn) echo 120 1 one toggle ;;
    *) echo 120 ;;
  esac
}

run_one() {
  local name=$1 words status=0 from left
  read -ra words < <(arguments "$name")
  left=$((started + longest - $(date +%s)))
  [ "${words[0]}" -le "$left" ] || words[0]=$((left > 1 ? left : 1))
  printf 'fact\tcommand\tbench/%s.sh %s\n' "$name" "${words[*]:1}" >"$out/$name.tsv"
  echo "== bench/$name.sh ${words[*]:1}"
  from=$(date +%s)
  TIDE_BENCH_OUT=$out/$name.tsv timeout -k 20 "${words[0]}" "bench/$name.sh" "${words[@]:1}" >"$out/$name.txt" 2>"$out/$name.err" || status=$?
  cat "$out/$name.txt"
  [ "$status" -eq 0 ] || [ "$status" -eq 3 ] || { tail -n 5 "$out/$name.err"; echo "== bench/$name.sh failed, status $status"; }
  printf 'fact\tseconds\t%s\nfact\tstatus\t%s\n' $(($(date +%s) - from)) "$status" >>"$out/$name.tsv"
}

machine() {
  printf 'fact\tdate\t%s\n' "$(date -u +%Y-%m-%d)"
  printf 'fact\tcpu\t%s\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
  printf 'fact\tcpus\t%s\n' "$(nproc)"
  printf 'fact\tmemory\t%s MB\n' "$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)"
  printf 'fact\tkernel\t%s\n' "$(uname -sr)"
  printf 'fact\tload\t%s\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
  printf 'fact\tpg_tide\t%s\n' "$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" pg_tide.control)"
  printf 'fact\tcommit\t%s\n' "$(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
  printf 'fact\tscale\t%s\n' "$scale"
}

started=$(date +%s)
names=("$@")
# those with a requirement first
[ ${#names[@]} -gt 0 ] || mapfile -t names < <(
  { printf '%s\n' ingest latency fanout pull copy memory decode push storage
    for script in bench/*.sh; do basename "$script" .sh; done; } | grep -vx -e lib -e all | awk '!seen[$0]++')
machine >"$out/machine.tsv"
printf '%s\n' "${names[@]}" >"$out/order"
for name in "${names[@]}"; do run_one "$name"; done
printf 'fact\ttotal\t%s\nfact\tload afterwards\t%s\n' $(($(date +%s) - started)) "$(cut -d' ' -f1-3 /proc/loadavg)" >>"$out/machine.tsv"
status=0
bench/report.pl "$out" "${TIDE_BENCH_DOC:-doc}" || status=$?
[ -n "$kept" ] || rm -rf "$out"
exit $status
