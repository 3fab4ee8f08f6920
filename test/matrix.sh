#!/usr/bin/env bash
# make test-matrix: the whole of `make test` on every major of PostgreSQL we support, each
# in the Debian release that has it, as a chroot. Warnings are errors there. Needs root
# on Debian and debootstrap (which it installs). The last line is
# "N passed, N failed, N skipped": assertions passed and failed, majors skipped.
#
# The newest major is in a release that moves: where that cannot be installed today, or has
# another major by now, it is skipped. So are all on a machine that permits no chroot or
# device files. All else that goes wrong is a failure.
# The chroots (1.5 GB each) are kept and used again. Processes started in them end with the
# run, whatever happens, unless the machine permits no namespaces; network and ports are the host's.
#   TIDE_MATRIX_MAJORS   which majors (15 17 18)
#   TIDE_MATRIX_SHORT    of these, which get a few of the TAP tests only, and no clients
#   TIDE_MATRIX_DIR      where the chroots are (/var/cache/pg_tide)
#   TIDE_MATRIX_FRESH    1: build the chroots anew
#   TIDE_MATRIX_MIRROR   Debian mirror (default: the one this machine uses)
# and those of test/run.sh and the tests, e.g. TIDE_STAGES. Logs: tmp_check/matrix.
set -u
cd "$(dirname "$0")/.." || exit 1

dir=${TIDE_MATRIX_DIR:-/var/cache/pg_tide}
logs=$PWD/tmp_check/matrix
all_stages='setup build install lint regress isolation pgtap tap clients fuzz'
# of a major that gets less: a life cycle, the ingest, decoding, crashes, standbys, pushes
short_stages='setup build install regress isolation pgtap tap'
short_tap_files='test/tap/crash.pl test/tap/ingest.pl test/tap/push_crash.pl test/tap/standby.pl test/tap/stream_in_progress.pl test/tap/worker.pl'
passed=0 failed=0 skipped=0 child='' plain=''
summary=()

suite_of() {
  case $1 in
    15) echo bookworm ;;
    17) echo trixie ;;
    18) echo sid ;;
    *) return 1 ;;
  esac
}
may_be_skipped() { [ "$(suite_of "$1")" = sid ]; }

finish() {
  trap '' INT TERM HUP
  # the first process of the namespace goes with it, and so do all others and the mounts
  if [ -n "$child" ]; then
    if [ -n "$plain" ]; then
      kill -TERM "$child" && wait "$child"
    else
      kill -KILL "$child"
    fi 2>/dev/null
  fi
}

# in_chroot ROOT COMMAND...: with mounts, processes and System V memory of its own, where permitted
in_chroot() {
  local root=$1 status vars
  shift
  mapfile -t vars < <(env | grep -E '^(TIDE_[A-Z_]+|PG_TEST_TIMEOUT_DEFAULT|[a-z]+_proxy)=' |
    grep -vE '^TIDE_(MATRIX_.*|TEST_OUTPUT|USER|STAGES|TAP_FILES)=')
  set -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive CI=1 TIDE_NO_CHECKS=1 \
    "${vars[@]}" "$@"
  if [ -n "$plain" ]; then
    chroot "$root" "$@" </dev/null &
  else
    unshare --mount --pid --ipc --fork --kill-child bash -c '
      root=$1; shift
      mount -t proc proc "$root/proc" && mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm" &&
        mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts" || exit 1
      chroot "$root" "$@"' in_chroot "$root" "$@" </dev/null &
  fi
  child=$!
  wait "$child"
  status=$?
  child=''
  return "$status"
}

# what a chroot needs of the machine; sets plain where it must do without mounts
permitted() {
  local try=$dir/permitted status=0
  rm -rf "$try"
  mkdir "$try" && mknod -m 666 "$try/null" c 1 3 && : 2>/dev/null >"$try/null" || status=1
  chroot / true || status=1
  rm -rf "$try"
  # shellcheck disable=SC2016
  unshare --mount --pid --ipc --fork bash -c 'mount -t proc proc /proc && mount -t tmpfs tmpfs /dev/shm' || plain=yes
  return "$status"
}

mirror() {
  if [ -n "${TIDE_MATRIX_MIRROR:-}" ]; then
    echo "$TIDE_MATRIX_MIRROR"
  else
    apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' | grep -v security | head -n 1
  fi
}

# make_root SUITE ROOT: a minimal Debian without services and documentation
make_root() {
  local suite=$1 root=$2
  rm -rf "$root.new"
  mkdir -p "$root.new" && debootstrap --variant=minbase --include=ca-certificates "$suite" "$root.new" "$(mirror)" || return 1
  # what this machine's apt was told about its mirror holds for the chroot's
  apt-config dump | grep -E '^Acquire::(Check-|Retries|https?::Proxy)' >"$root.new/etc/apt/apt.conf.d/50host"
  printf 'path-exclude=/usr/share/%s/*\n' doc man locale >"$root.new/etc/dpkg/dpkg.cfg.d/50small"
  printf '#!/bin/sh\nexit 101\n' >"$root.new/usr/sbin/policy-rc.d"
  chmod 755 "$root.new/usr/sbin/policy-rc.d"
  mv "$root.new" "$root"
}

# prepare MAJOR ROOT: the chroot, this tree in /tree, what test/setup.sh installs, the right major
prepare() {
  local major=$1 root=$2 found
  [ -z "${TIDE_MATRIX_FRESH:-}" ] || rm -rf "$root"
  [ -d "$root" ] || make_root "$(suite_of "$major")" "$root" || return 1
  cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null
  rm -rf "$root/tree" "$root"/tmp/tide*
  mkdir "$root/tree" && tar -cf - --exclude=./.git --exclude=./tmp_check --exclude='*.[od]' --exclude='*.so' --exclude='.build-flags*' . |
    tar -xf - --no-same-owner -C "$root/tree" || return 1
  in_chroot "$root" /tree/test/setup.sh || return 1
  found=$(in_chroot "$root" pg_config --version)
  echo "PostgreSQL here: $found"
  [[ $found == "PostgreSQL $major"[.\ a-z]* ]]
}

test_major() {
  local major=$1 root=$dir/pg$1 log=$logs/$1.log name p f stages tap_files
  name="$major ($(suite_of "$major"))"
  echo
  echo "##### PostgreSQL $name"
  echo "setting up $root, log in $log"
  if ! prepare "$major" "$root" >"$log" 2>&1; then
    tail -n 5 "$log"
    if may_be_skipped "$major"; then
      skipped=$((skipped + 1))
      summary+=("$name: skipped, could not be installed")
    else
      failed=$((failed + 1))
      summary+=("$name: 1 failed, could not be installed")
    fi
    return
  fi
  name="$major ($(sed -n 's/^PostgreSQL here: PostgreSQL \([^ ]*\).*/\1/p' "$log"), $(suite_of "$major"))"
  stages=$all_stages tap_files=''
  case " ${TIDE_MATRIX_SHORT:-} " in
    *" $major "*) stages=$short_stages tap_files=$short_tap_files ;;
  esac
  # in a process substitution, so that our trap knows the process to end
  in_chroot "$root" env TIDE_STAGES="${TIDE_STAGES:-$stages}" ${tap_files:+TIDE_TAP_FILES="$tap_files"} /tree/test/run.sh > >(tee -a "$log") 2>&1
  wait
  [ ! -d "$root/tree/tmp_check/output" ] || cp -r "$root/tree/tmp_check/output" "$logs/$major"
  read -r p f < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$log" | tail -n 1)
  # a run without its last line did not end
  p=${p:-0} f=${f:-1}
  passed=$((passed + p)) failed=$((failed + f))
  summary+=("$name: $p passed, $f failed")
}

if [ "$(id -u)" -ne 0 ] || [ ! -f /etc/debian_version ]; then
  echo "test-matrix: needs root on Debian, since it makes chroots" >&2
  exit 1
fi
majors=${TIDE_MATRIX_MAJORS:-15 17 18}
for major in $majors; do
  suite_of "$major" >/dev/null || { echo "test-matrix: no release known for PostgreSQL $major" >&2; exit 1; }
done
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$dir" || exit 1
exec 9>"$dir/lock"
flock -n 9 || { echo "test-matrix: $dir is in use by another run" >&2; exit 1; }
rm -rf "$logs" && mkdir -p "$logs" || exit 1
if ! permitted 2>"$logs/permitted"; then
  for major in $majors; do
    echo "$major: skipped, no chroots can be made here: $(paste -sd'; ' "$logs/permitted")"
  done
  echo
  # shellcheck disable=SC2086
  echo "0 passed, 0 failed, $(set -- $majors; echo $#) skipped"
  exit 0
fi
[ -z "$plain" ] || echo "no mounts or namespaces are permitted here: chroots without /proc"
if ! command -v debootstrap >/dev/null; then
  { apt-get -qq update && apt-get -qq -y --no-install-recommends install debootstrap; } </dev/null >&2 || exit 1
fi
# the npm packages are the host's, so that the chroots need no npm
cmp -s package-lock.json node_modules/.installed-lock || test/setup.sh || exit 1

for major in $majors; do
  test_major "$major"
done

echo
printf '%s\n' "${summary[@]}"
echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
