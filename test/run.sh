#!/usr/bin/env bash
# make test: set up, build, install, then run every test, in throw-away clusters and
# as an unprivileged user. All stages run even when one fails. The last line is
# "N passed, N failed", counted over all stages; the exit code is 0 if none failed.
#
# As root the tests run as user postgres (TIDE_USER) in a copy of the tree that
# this user may write. Nothing else on the machine is touched but the installed pg_tide.
#
# In CI (CI=true) the stages are more: matrix and checks, in the background meanwhile; the
# fuzzers as a part of sanitize, which measures coverage; soak. What cannot be had on the
# machine is "skipped", in a line of its own before the last, and not passed.
#   PG_CONFIG            the PostgreSQL to build and test with
#   TIDE_STAGES          only these stages, e.g. "build install regress"
#   TIDE_STAGE_SECONDS   a stage is ended after so many seconds (2400)
#   TIDE_PROVE_JOBS      how many TAP tests run at a time (2)
#   TIDE_FUZZ_SECONDS    how long each of the five fuzzers runs (12; 60 in CI)
#   TIDE_SOAK_SECONDS    how long faults are injected under load (120)
#   TIDE_COVERAGE        percent of the lines of src/ that stage sanitize must run (90)
#   TIDE_TEST_OUTPUT     where to keep logs and diffs of a failed run (tmp_check/output)
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=test/cluster.sh disable=SC2046
. test/cluster.sh

export PG_CONFIG=${PG_CONFIG:-pg_config}
make=${MAKE:-make}
top=$PWD
limit=${TIDE_STAGE_SECONDS:-2400}
output=${TIDE_TEST_OUTPUT:-$top/tmp_check/output}
passed=0 failed=0 skipped=0 child='' background='' work='' tree=''
# the caller's make and server settings must not reach the tests
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES PGHOST PGPORT PGUSER PGDATABASE PGOPTIONS PGSERVICE PGDATA
export LC_ALL=C.UTF-8 TIDE_PROVE_JOBS=${TIDE_PROVE_JOBS:-2}

stages='setup build install packages lint regress isolation pgtap tap clients'
case ${CI:-} in
  1 | true | yes)
    stages="$stages sanitize soak matrix checks"
    fuzz_seconds=${TIDE_FUZZ_SECONDS:-60}
    # patience, as two runs share the machine
    export PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-600}
    ;;
  *)
    stages="$stages fuzz"
    fuzz_seconds=${TIDE_FUZZ_SECONDS:-12}
    ;;
esac
stages=${TIDE_STAGES:-$stages}

finish() {
  local pidfile pid
  trap '' INT TERM HUP
  # timeout passes the signal on to all of its stage
  for pid in $child $background; do
    kill -TERM "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
  done
  if [ -n "$work" ]; then
    # servers that a killed stage left behind
    find "$work" -name postmaster.pid 2>/dev/null | while read -r pidfile; do
      (cd / && tide_as_user "$("$PG_CONFIG" --bindir)/pg_ctl" -s -w -m immediate -D "${pidfile%/*}" stop) >/dev/null 2>&1
    done
    rm -rf "$work"
  fi
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

rm -rf "$top/tmp_check/output"
work=$(mktemp -d "${TMPDIR:-/tmp}/tide-test.XXXXXX") || exit 1
chmod 755 "$work"

# run COMMAND with a time limit, its output to the screen and to $work/log
run() {
  local status
  : >"$work/log"
  timeout -k 30 "$limit" "$@" >"$work/log" 2>&1 </dev/null &
  child=$!
  tail -n +1 -f --pid="$child" "$work/log" &
  wait "$child"
  status=$?
  child=''
  wait "$!"
  [ "$status" -ne 124 ] || echo "stage ended after $limit s"
  return "$status"
}

# the lines of a failed stage's log that name what failed: of TAP, prove, pg_regress, the
# sanitizers and the stages' own; and the seeds of these tests
what_failed() {
  local lines file
  local tests='^#? *(Failed test|at [^ ]+ line|(got|expected): |Looks like)|\(Wstat: [^0]|^not ok|\.\.\. FAILED'
  local others='ERROR: [A-Za-z]*Sanitizer|runtime error:|, [1-9][0-9]* failed|^stage ended|died|(warning|error): '
  lines=$(grep -E "$tests|$others" "$work/log")
  [ -n "$lines" ] || lines=$(tail -n 5 "$work/log")
  sed "s/^/$1: /; s/^\(.\{200\}\).*/\1.../" <<<"$lines" | tail -n 25
  for file in $(sed -n 's,^.*/\([a-z_]*\.pl\) .*(Wstat: [^0].*,\1,p' "$work/log" | sort -u); do
    grep -E "^# $file: .*TIDE_SEED" "$work/log"
  done
}

count() { # count STAGE PASSED FAILED
  passed=$((passed + $2)) failed=$((failed + $3))
  if [ "$3" -gt 0 ]; then
    keep_output "$1"
    what_failed "$1" >>"$work/failures"
  fi
  echo "--- $1: $2 passed, $3 failed (${SECONDS}s)"
}

is_wanted() { case " $stages " in *" $1 "*) ;; *) return 1 ;; esac }
wanted() {
  is_wanted "$1" || return 1
  echo
  echo "=== $1"
  SECONDS=0
}

# a stage that just works or does not
simple_stage() {
  local name=$1
  shift
  wanted "$name" || return 0
  if run "$@"; then count "$name" 1 0; else count "$name" 0 1; return 1; fi
}

# stages whose assertions TideCount counts; ran nothing, or crashed = 1 failure
tap_stage() {
  local name=$1 files=$2 status p f
  shift 2
  wanted "$name" || return 0
  if [ -z "$files" ]; then
    echo "no test file found"
    count "$name" 0 1
    return
  fi
  rm -f "$work/share/count"
  run "$@"
  status=$?
  read -r p f < <(awk '{ p += $1; f += $2 } END { print p + 0, f + 0 }' "$work/share/count" 2>/dev/null)
  count_or_fail "$name" "$status" "${p:-0}" "${f:-0}"
}

# pg_regress and pg_isolation_regress, in the formats of 15 and of 16 and later
regress_stage() {
  local name=$1 tests=$2 status total p f
  shift 2
  wanted "$name" || return 0
  # shellcheck disable=SC2086
  total=$(set -- $tests; echo $#)
  if [ "$total" -eq 0 ]; then
    echo "no test found"
    count "$name" 0 1
    return
  fi
  run "$@"
  status=$?
  p=$(grep -cE '^(test .*|     .*)\.\.\. ok( |$)|^ok +[0-9]+ ' "$work/log")
  f=$((total - p))
  [ "$f" -ge 0 ] || f=0
  if [ "$f" -eq 0 ] && [ "$status" -ne 0 ]; then f=1; fi
  if [ "$f" -gt 0 ]; then
    find "$tree" -maxdepth 2 -name regression.diffs -exec cat {} +
  fi
  count "$name" "$p" "$f"
}

# test/sanitize.sh; each of its stages is one test, so is the coverage. What serves the
# sanitizers is of PostgreSQL 15.
sanitize_stage() {
  local name=$1 status p f
  shift
  wanted "$name" || return 0
  case $("$PG_CONFIG" --version) in
    *' 15.'*) ;;
    *) skip "$name" 'not PostgreSQL 15'; return ;;
  esac
  run env PG_CONFIG="$PG_CONFIG" MAKE="$make" TIDE_FUZZ_SECONDS="$fuzz_seconds" TIDE_TEST_OUTPUT="$output/$name" "$@" test/sanitize.sh
  status=$?
  read -r p f < <(sed -n 's/^sanitize: \([0-9]*\) passed, \([0-9]*\) failed, .*/\1 \2/p' "$work/log")
  count_or_fail "$name" "$status" "${p:-0}" "${f:-0}"
}

# count, but what failed without saying so, or passed nothing, has one failure
count_or_fail() {
  local f=$4
  if [ "$f" -eq 0 ] && { [ "$2" -ne 0 ] || [ "$3" -eq 0 ]; }; then f=1; fi
  count "$1" "$3" "$f"
}

skip() { # skip STAGE REASON
  skipped=$((skipped + 1))
  echo "--- $1: skipped: $2"
}

# matrix and checks, beside the other stages
start_background() {
  is_wanted matrix || is_wanted checks || return 0
  # shellcheck disable=SC2016
  env -u TIDE_STAGES TIDE_MATRIX_MAJORS="${TIDE_MATRIX_MAJORS:-17 18}" TIDE_MATRIX_SHORT="${TIDE_MATRIX_SHORT-18}" \
    PG_CONFIG="$PG_CONFIG" MAKE="$make" timeout -k 30 "$((2 * limit))" bash -c '
    trap "kill -TERM \$child 2>/dev/null; wait; exit 143" TERM
    for stage in $1; do
      case " $2 " in *" $stage "*) ;; *) continue ;; esac
      SECONDS=0
      "test/$stage.sh" >"$3/$stage.log" 2>&1 </dev/null &
      child=$!
      wait "$child"
      echo "$? $SECONDS" >"$3/$stage.status"
    done' background 'matrix checks' "$stages" "$work" &
  background=$!
}

# wait for those, and show what they said
background_stage() { # background_stage NAME PATTERN...: sed's for the line with what passed, failed and was skipped
  local name=$1 pattern=$2 status seconds p f s
  wanted "$name" || return 0
  while [ ! -f "$work/$name.status" ] && kill -0 "$background" 2>/dev/null; do
    sleep 1
  done
  cp "$work/$name.log" "$work/log"
  grep -E "$3" "$work/log"
  read -r status seconds < <(cat "$work/$name.status" 2>/dev/null || echo "143 $((2 * limit))")
  read -r p f s < <(sed -n "$pattern" "$work/log" | tail -n 1)
  skipped=$((skipped + ${s:-0}))
  SECONDS=$seconds
  if [ "$status" -eq 0 ] && [ "${p:-0}" -eq 0 ] && [ "${s:-0}" -gt 0 ]; then
    count "$name" 0 0
  else
    count_or_fail "$name" "$status" "${p:-0}" "${f:-0}"
  fi
}

# what a failed stage leaves, before the next one clears it away
keep_output() {
  [ -d "$tree" ] || return 0
  mkdir -p "$output/$1" && (
    cd "$tree" && find . -path ./tmp_check/output -prune -o -type f \( -name regression.diffs -o -path './tmp_check/log/*' \
      -o -path './results/*' -o -path './output_iso/results/*' \) -print | tar -cf - -T -
  ) | tar -xf - -C "$output/$1"
  cp -f "$work/log" "$output/$1/output" 2>/dev/null
  cp -f "$work/share/$1.log" "$output/$1/server.log" 2>/dev/null
}

lists() { "$make" -s --no-print-directory "list-$1"; }

# set command to run the arguments as the unprivileged user in the copied tree, with
# nothing of the caller's home
as_tester() {
  command=(env -C "$tree" HOME="$work/share" TMPDIR="$work/share" TIDE_COUNT_FILE="$work/share/count"
    TIDE_KEEP_LOG="$work/share/$1.log" TEST_FORMATTER='--formatter TideCount'
    PERL5LIB="$tree/test/perl${PERL5LIB:+:$PERL5LIB}" "${@:2}")
  [ "$(id -u)" -ne 0 ] || command=(runuser -u "$TIDE_USER" -- "${command[@]}")
}

simple_stage setup test/setup.sh
simple_stage build "$make" -s -j2 PG_CONFIG="$PG_CONFIG" all
if [ "$(id -u)" -ne 0 ] && [ ! -w "$("$PG_CONFIG" --pkglibdir)" ]; then
  echo "cannot write $("$PG_CONFIG" --pkglibdir): run as root, or set PG_CONFIG to a PostgreSQL of your own" >&2
fi
simple_stage install "$make" -s PG_CONFIG="$PG_CONFIG" install
simple_stage packages test/packages.sh

tree=$work/tree
mkdir "$tree" "$work/share" &&
  tar -cf - --exclude=./.git --exclude=./build --exclude=./tmp_check --exclude='*.o' . | tar -xf - -C "$tree" || exit 1
if [ "$(id -u)" -eq 0 ]; then
  chown -R "$TIDE_USER" "$tree" "$work/share" || exit 1
fi

start_background

as_tester lint prove --exec bash -I test/perl --formatter TideCount $(lists LINT_FILES)
tap_stage lint "$(lists LINT_FILES)" "${command[@]}"

as_tester regress test/cluster.sh run "$make" -s PG_CONFIG="$PG_CONFIG" installcheck-regress
regress_stage regress "$(lists REGRESS)" "${command[@]}"

as_tester isolation test/cluster.sh run "$make" -s PG_CONFIG="$PG_CONFIG" installcheck-isolation
regress_stage isolation "$(lists ISOLATION)" "${command[@]}"

as_tester pgtap test/cluster.sh run test/pgtap.sh $(lists PGTAP_FILES)
tap_stage pgtap "$(lists PGTAP_FILES)" "${command[@]}"

as_tester tap "$make" -s PG_CONFIG="$PG_CONFIG" installcheck-tap
tap_stage tap "$(lists TAP_FILES)" "${command[@]}"

as_tester clients "$make" -s PG_CONFIG="$PG_CONFIG" installcheck-clients
tap_stage clients "$(lists CLIENT_FILES)" "${command[@]}"

sanitize_stage fuzz TIDE_SANITIZE_STAGES='fuzz token request crypto push'
sanitize_stage sanitize TIDE_COVERAGE="${TIDE_COVERAGE:-90}" \
  TIDE_SANITIZE_STAGES='regress isolation pgtap workload tap fuzz token request crypto push'
as_tester soak "$make" -s PG_CONFIG="$PG_CONFIG" installcheck-soak
tap_stage soak "$(lists SOAK_FILES)" "${command[@]}"

background_stage matrix 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' \
  '^(#####|---|Failed|not ok|.* (passed|skipped)[,:])|Failed test'
background_stage checks 's/^checks: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' .

if [ "$failed" -gt 0 ]; then
  echo
  echo "=== what failed"
  cat "$work/failures"
  echo "logs and diffs: $output"
fi
echo
[ "$skipped" -eq 0 ] || echo "$skipped skipped"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
