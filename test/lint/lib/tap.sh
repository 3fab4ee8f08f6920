# shellcheck shell=bash
# Shared by the lint checks, which print TAP. Sourced, not run.
# TIDE_ROOT is the tree to look at (the self-test gives a bad one).
root=${TIDE_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)}
cd "$root" || exit 1
number=0

# check NAME [OFFENDERS]: one test line; fails if there is text in OFFENDERS
check() {
  number=$((number + 1))
  if [ -z "${2:-}" ]; then
    echo "ok $number - $1"
  else
    echo "not ok $number - $1"
    sed 's/^/#   /' <<<"$2"
    sed 's/^/  /' <<<"$2" >&2
    failures=1
  fi
}
finish() {
  echo "1..$number"
  exit "${failures:-0}"
}
