#!/usr/bin/env bash
# The benchmarks' report is made of what was measured, and says what failed.
. "$(dirname "$0")/lib/tap.sh"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/in"
lines() { printf '%s\n' "$@" | sed 's/;/\t/g'; }
lines 'fact;date;2026-01-01' 'fact;cpus;2' 'fact;cpu;none' 'fact;memory;1 MB' 'fact;kernel;none' 'fact;load;0' \
  'fact;pg_tide;1.0' 'fact;commit;abc' 'fact;scale;1' >"$dir/in/machine.tsv"
lines 'fact;command;bench/pull.sh 10' 'fact;PostgreSQL;15.0' 'row;pulled;1234567.5;rows/s;3.00 x COPY' \
  'row;pull / COPY;1.1;x;required >= 1.2: missed' 'need;pull / COPY;1.1;ge;1.2;x;missed;beside' \
  'need;memory;99;le;100;MB;reached;' 'fact;seconds;7' 'fact;status;3' >"$dir/in/pull.tsv"
lines 'fact;command;bench/push.sh' 'row;before it failed;5;s;' 'fact;seconds;1' 'fact;status;1' >"$dir/in/push.tsv"
lines 'fact;command;bench/copy.sh' 'fact;seconds;60' 'fact;status;124' >"$dir/in/copy.tsv"
lines pull push copy never >"$dir/in/order"
mkdir "$dir/out"
made=$(bench/report.pl "$dir/in" "$dir/out" 2>&1)
report=$(cat "$dir/out/benchmarks.md" 2>/dev/null)
has() { grep -qF -- "$1" <<<"$report" || printf '%s\n' "not in the report: $1" "$made"; }

check "a figure that missed what is required is marked" "$(has '| pull / COPY | ≥ 1.2 x | 1.1 x | **no** | beside |')"
check "one that reached it says so" "$(has '| memory | ≤ 100 MB | 99 MB | yes |  |')"
check "what was measured is in the table" "$(has '| pulled | 1,234,567.5 rows/s | 3.00 x COPY |')"
check "a benchmark that failed is marked and keeps its figures" "$(has '| bench/push.sh |  |  | **failed (status 1)** |'; has '| before it failed | 5 s |  |')"
check "one that took too long is marked" "$(has '**took too long and was ended**')"
check "every benchmark has a time limit and a title of its own" "$(for script in bench/*.sh; do
  name=$(basename "$script" .sh)
  case $name in lib | all) continue ;; esac
  grep -qE "^    $name\) echo [0-9]+" bench/all.sh || echo "bench/all.sh: $name"
  grep -qE "^	$name +=> '|^	$name +=> \"" bench/BenchText.pm || echo "bench/BenchText.pm: $name"
done)"
finish
