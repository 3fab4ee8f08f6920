#!/usr/bin/env bash
# make sanitize: runs the tests with pg_tide built for AddressSanitizer and
# UndefinedBehaviorSanitizer, its assertions on, and fails on any report of theirs.
#
# Tree and PostgreSQL are copied below a temporary directory, so neither the installed
# pg_tide nor the build of this tree is touched. The sanitizers' libraries are loaded
# into servers only. Last line: "sanitize: N passed, N failed, N reports"; stages are counted,
# and coverage where it is wanted.
#   PG_CONFIG              the PostgreSQL to copy
#   TIDE_SANITIZE_STAGES   only these of: regress isolation pgtap workload fuzz token request crypto push tap
#                          (all but tap)
#   TIDE_FUZZ_SECONDS      how long to fuzz, each of those from fuzz to push (8)
#   TIDE_COVERAGE          measure line coverage too, and fail below so many percent
#   TIDE_FUZZ_COUNT        how many tokens, and requests, to make at least (0)
#   TIDE_SANITIZE_SECONDS  a stage is ended after so many seconds (1800)
#   TIDE_TEST_OUTPUT       where to keep the logs of a failed run (tmp_check/sanitize)
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=test/cluster.sh
. test/cluster.sh

pg_config=${PG_CONFIG:-pg_config}
make=${MAKE:-make}
limit=${TIDE_SANITIZE_SECONDS:-1800}
top=$PWD
output=${TIDE_TEST_OUTPUT:-$PWD/tmp_check/sanitize}
stages=${TIDE_SANITIZE_STAGES:-regress isolation pgtap workload fuzz token request crypto push}
passed=0 failed=0
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
export LC_ALL=C.UTF-8

work=$(mktemp -d "${TMPDIR:-/tmp}/tide-sanitize.XXXXXX") || exit 1
chmod 755 "$work"
finish() {
  tide_cluster_stop
  # servers that TAP tests which were ended left behind
  find "$work/tree" -name postmaster.pid 2>/dev/null | while read -r pidfile; do
    (cd / && tide_as_user "$("$PG_CONFIG" --bindir)/pg_ctl" -s -w -m immediate -D "${pidfile%/*}" stop) >/dev/null 2>&1
  done
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

stage() { # stage NAME COMMAND...: with a time limit, as the unprivileged user, in the copy
  local name=$1 status
  shift
  case " $stages " in *" $name "*) ;; *) return ;; esac
  SECONDS=0
  (cd "$work/tree" && HOME=$work/home TMPDIR=$work/home \
    timeout -k 10 "$limit" "${as_user[@]}" "$@") >"$work/$name.out" 2>&1 </dev/null
  status=$?
  if [ "$status" -eq 0 ]; then
    passed=$((passed + 1))
    echo "$name: passed (${SECONDS}s)"
    case "$name" in fuzz | token | request | crypto | push) cat "$work/$name.out" ;; esac
  else
    failed=$((failed + 1))
    tail -n 40 "$work/$name.out"
    echo "$name: failed with status $status (${SECONDS}s)"
  fi
}

# PostgreSQL finds its own parts relative to its programs: a copy of them is another one
copy_postgres() {
  local dir
  for dir in bindir pkglibdir sharedir; do
    dir=$("$pg_config" --$dir) || return 1
    mkdir -p "$work/root$dir" &&
      tar -C "$dir" -chf - --exclude=./bitcode . | tar -C "$work/root$dir" -xf - || return 1
  done
  dir=$("$pg_config" --includedir-server)
  mkdir -p "$work/root${dir%/*}" && ln -s "$dir" "$work/root$dir" || return 1
  PG_CONFIG=$work/root$("$pg_config" --bindir)/pg_config
  export PG_CONFIG
}

# libgpg-error, which the server needs, calls malloc so early that ASan would wait for itself
# for ever; the shim makes it start before
build_shim() {
  cat >"$work/shim.c" <<'C'
#include <stdlib.h>
__attribute__((constructor)) static void
start(void)
{
	void	   *volatile p = malloc(1);

	free(p);
}
C
  "${CC:-gcc}" -shared -fPIC -Wl,-z,initfirst -o "$work/shim.so" "$work/shim.c"
}

# In the place of the server a script that starts it with the sanitizers, whoever starts it, also of a copy.
# What initdb and pg_ctl only ask of it needs none. "pg_ctl restart" starts what ran before,
# which is the server itself: so that one has them, too.
wrap_server() {
  local lib libs='' bin environment
  bin=$("$PG_CONFIG" --bindir)
  environment='ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1'
  for lib in libasan.so libubsan.so; do
    libs+=$(realpath -e "$("${CC:-gcc}" -print-file-name=$lib)"): || return 1
  done
  environment+=" LD_PRELOAD=$libs$work/shim.so"
  mv "$bin/postgres" "$bin/postgres-sanitized" && mv "$bin/pg_ctl" "$bin/pg_ctl-plain" || return 1
  cat >"$bin/pg_ctl" <<SH && chmod 755 "$bin/pg_ctl" || return 1
#!/bin/sh
for word; do
  case "\$word" in
    restart) export $environment ;;
  esac
done
exec "\${0%/*}/pg_ctl-plain" "\$@"
SH
  cat >"$bin/postgres" <<SH && chmod 755 "$bin/postgres"
#!/bin/sh
case "\${1:-} \${2:-} \${3:-}" in
  '--single -F -D') export $environment ;; # of pg_rewind: a server with our library
  --boot* | --single* | --check* | -V*) ;;
  *) export $environment ;;
esac
exec "\${0%/*}/postgres-sanitized" "\$@"
SH
}

build() {
  local coverage=''
  [ -z "${TIDE_COVERAGE:-}" ] || coverage=--coverage
  mkdir "$work/tree" "$work/home" &&
    tar -cf - --exclude=./.git --exclude=./tmp_check --exclude='*.o' --exclude='*.so' --exclude=./.build-flags . |
    tar -xf - -C "$work/tree" || return 1
  # -fwrapv, which PostgreSQL builds with, would hide signed overflow
  "$make" -s -j2 -C "$work/tree" PG_CONFIG="$PG_CONFIG" install COPT="-fsanitize=address,undefined $coverage \
    -fno-omit-frame-pointer -O1 -fno-wrapv -U_FORTIFY_SOURCE -DUSE_ASSERT_CHECKING" || return 1
  [ "$(id -u)" -ne 0 ] || chown -R "$TIDE_USER" "$work/tree" "$work/home"
}

# a program of its own: src/crypto without the server
build_crypto() {
  "${CC:-gcc}" -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1 -g -I"$("$PG_CONFIG" --includedir-server)" \
    -I"$work/tree/src" -o "$work/crypto" "$work/tree/test/fuzz/crypto.c" "$work"/tree/src/crypto/{base64url,device,envelope,passphrase}.c -lsodium
}

as_user=()
[ "$(id -u)" -ne 0 ] || as_user=(runuser -u "$TIDE_USER" --)
copy_postgres && build_shim && build && wrap_server && build_crypto || {
  echo "sanitize: could not build" >&2
  exit 1
}
timeout -k 5 30 "$("$PG_CONFIG" --bindir)/postgres" --version || {
  echo "sanitize: the server does not start with the sanitizers" >&2
  exit 1
}
tide_cluster_start tide.spool_memory=64kB logical_decoding_work_mem=64kB max_prepared_transactions=5 || exit 1
grep -q libasan "/proc/$(head -n 1 "$TIDE_CLUSTER/data/postmaster.pid")/maps" || {
  echo "sanitize: the server runs without libasan" >&2
  exit 1
}

stage regress "$make" -s PG_CONFIG="$PG_CONFIG" installcheck-regress
stage isolation "$make" -s PG_CONFIG="$PG_CONFIG" installcheck-isolation
# shellcheck disable=SC2046
stage pgtap test/pgtap.sh $(cd "$work/tree" && "$make" -s --no-print-directory PG_CONFIG="$PG_CONFIG" list-PGTAP_FILES)
stage workload test/sanitize_workload.sh
stage fuzz env TIDE_FUZZ_SECONDS="${TIDE_FUZZ_SECONDS:-8}" test/fuzz/decode_options.pl
stage token env TIDE_FUZZ_SECONDS="${TIDE_FUZZ_SECONDS:-8}" TIDE_FUZZ_COUNT="${TIDE_FUZZ_COUNT:-0}" test/fuzz/token.pl
stage request env TIDE_FUZZ_SECONDS="${TIDE_FUZZ_SECONDS:-8}" TIDE_FUZZ_COUNT="${TIDE_FUZZ_COUNT:-0}" test/fuzz/request.pl
stage crypto "$work/crypto" "${TIDE_FUZZ_SECONDS:-8}"
stage push env TIDE_FUZZ_SECONDS="${TIDE_FUZZ_SECONDS:-8}" test/fuzz/push_request.pl

stage tap env TIDE_SANITIZED=1 PERL5LIB="$work/tree/test/perl" "$make" -s PG_CONFIG="$PG_CONFIG" \
  TEST_FORMATTER='--formatter TideCount' installcheck-tap
tide_cluster_shut

# counters of processes that end are written as they do; a killed one's are lost
if [ -n "${TIDE_COVERAGE:-}" ]; then
  mkdir -p "$output"
  if (cd "$work/tree" && "$top/test/coverage.pl" "$TIDE_COVERAGE" "$output/uncovered"); then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
fi

# TAP tests kill servers' processes on purpose
pattern='runtime error:|AddressSanitizer|TRAP: |was terminated by signal'
reports=$(grep -cE "$pattern" "$TIDE_CLUSTER/log")
tap_pattern='runtime error:|AddressSanitizer|TRAP: |was terminated by signal (4|6|7|8|11):'
shopt -s nullglob
for log in "$work"/tree/tmp_check/log/*.log; do
  reports=$((reports + $(grep -cE "$tap_pattern" "$log")))
done
if [ "$failed" -gt 0 ] || [ "$reports" -gt 0 ]; then
  mkdir -p "$output" && cp "$TIDE_CLUSTER/log" "$output/server.log" && cp "$work"/*.out "$output/"
  grep -hE -A 12 "$pattern" "$TIDE_CLUSTER/log" | head -n 200
  for log in "$work"/tree/tmp_check/log/*.log; do
    grep -qE "$tap_pattern" "$log" || continue
    echo "in $(basename "$log"):"
    grep -E -A 12 "$tap_pattern" "$log" | head -n 60
  done
  [ ! -d "$work/tree/tmp_check/log" ] || cp -r "$work/tree/tmp_check/log" "$output/"
  find "$work/tree" -maxdepth 2 -name regression.diffs -size +0 | while read -r diffs; do
    cat "$diffs"
  done >"$output/diffs"
  echo "logs: $output"
fi
echo "sanitize: $passed passed, $failed failed, $reports reports"
[ "$failed" -eq 0 ] && [ "$reports" -eq 0 ]
