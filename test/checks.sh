#!/usr/bin/env bash
# make checks: cppcheck and clang-tidy over src/, which must have nothing to say. What they
# look for, and what not and why, is in test/checks/. Last line: "checks: N passed, N failed".
set -u
cd "$(dirname "$0")/.." || exit 1
pg_config=${PG_CONFIG:-pg_config}
make=${MAKE:-make}
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
export LC_ALL=C.UTF-8
passed=0 failed=0

out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
trap 'exit 130' INT TERM HUP

check() { # check NAME COMMAND...: works, and prints nothing
  local name=$1
  shift
  SECONDS=0
  if "$@" >"$out" 2>&1 </dev/null && [ ! -s "$out" ]; then
    passed=$((passed + 1))
    echo "$name: nothing found (${SECONDS}s)"
  else
    failed=$((failed + 1))
    cat "$out"
    echo "$name: failed (${SECONDS}s)"
  fi
}

# without the server's headers, in which it finds most of what it says then
run_cppcheck() {
  cppcheck -q -j2 --error-exitcode=1 --enable=warning,performance,portability --std=c99 --inline-suppr \
    --suppressions-list=test/checks/cppcheck.suppress --include=test/checks/postgres.h -Isrc src
}

# its count of warnings in headers, which it does not show, is no finding
run_tidy() {
  local files
  files=$(printf '%s\n' src/*/*.c)
  [ $# -eq 0 ] || files=$(printf '%s\n' "$@")
  xargs -P2 -n4 bash -c 'clang-tidy --quiet --config-file=test/checks/clang-tidy.yaml "${@:2}" -- -std=gnu99 -D_GNU_SOURCE \
    -DUSE_ASSERT_CHECKING -DTIDE_VERSION=\"0\" -Isrc -I"$1" 2>&1' tidy "$("$pg_config" --includedir-server)" <<<"$files" |
    grep -vE '^[0-9]+ warnings? generated\.$'
  [ "${PIPESTATUS[0]}" -eq 0 ]
}

"$make" -s PG_CONFIG="$pg_config" src/client/sqlite.inc src/client/postgres.inc || exit 1
check cppcheck run_cppcheck
check clang-tidy run_tidy "$@"
echo "checks: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
