#!/usr/bin/env bash
# Installs what building, testing and the demo need and this machine lacks.
#
# On Debian as root it uses apt and npm as they are configured; elsewhere it
# prints what is missing and exits 1. A second run changes nothing and is quick.
# TIDE_NO_CHECKS=1: without the programs of `make checks`.
# Existing PostgreSQL clusters stay as they are, and none is created. Where only part of
# PostgreSQL is here, all of it is brought to one minor version, because
# headers and server must agree.
set -euo pipefail
cd "$(dirname "$0")/.."

debian=false
[ -f /etc/debian_version ] && command -v apt-get >/dev/null && debian=true

# a PG_CONFIG that works decides the major version; else what the release has
PG_CONFIG=${PG_CONFIG:-pg_config}
major_of_config() { "$PG_CONFIG" --version 2>/dev/null | sed -n 's/^PostgreSQL \([0-9]*\).*/\1/p'; }
release_major() {
  case "$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null)" in
    trixie) echo 17 ;;
    forky | sid) echo 18 ;;
    *) echo 15 ;;
  esac
}

# need NAME PACKAGE TEST...: one line per thing that must be there
missing=() packages=()
need() {
  local name=$1 package=$2
  shift 2
  "$@" >/dev/null 2>&1 && return
  missing+=("$name (Debian package $package)")
  packages+=("$package")
}
pg_file() { # a file below the directory that pg_config names
  local dir
  dir=$("$PG_CONFIG" "$1") && test -e "$dir/$2"
}
pgxs_there() { test -f "$("$PG_CONFIG" --pgxs)"; }
# from 16 on PostgreSQL brings it
indent_there() { command -v pg_bsd_indent || pg_file --bindir pg_bsd_indent; }
sodium_there() { printf '#include <sodium.h>\n' | ${CC:-gcc} -E -x c - ; }
openssl_there() { printf '#include <openssl/core_names.h>\n' | ${CC:-gcc} -E -x c - ; }
pgbouncer_there() { command -v pgbouncer || test -x /usr/sbin/pgbouncer; }
# client, server and headers of one minor version
same_minor() {
  local v s
  v=$("$PG_CONFIG" --version) || return 1
  for s in postgres psql; do
    "$("$PG_CONFIG" --bindir)/$s" --version | grep -qF "${v#PostgreSQL }" || return 1
  done
  grep -qF "\"${v#PostgreSQL }\"" "$("$PG_CONFIG" --includedir-server)/pg_config.h" ||
    grep -rqF "\"${v#PostgreSQL }\"" "$("$PG_CONFIG" --includedir-server)"/pg_config*.h
}
# Debian: libpq and the server package belong to the same source version
same_packages() {
  $debian || return 0
  dpkg-query -W -f '${db:Status-Status} ${Version}\n' "postgresql-$major" "postgresql-client-$major" \
    "postgresql-server-dev-$major" libpq5 libpq-dev 2>/dev/null |
    awk '$1 != "installed" { next } !($2 in seen) { seen[$2]; n++ } END { exit n > 1 }'
}

check() {
  missing=() packages=()
  major=$(major_of_config) || true
  major=${major:-$(release_major)}
  indent_package=pg-bsd-indent
  [ "$major" -lt 16 ] || indent_package=postgresql-server-dev-$major
  need "gcc" gcc command -v "${CC:-gcc}"
  need "GNU make" make command -v make
  need "libsodium headers" libsodium-dev sodium_there
  need "headers of OpenSSL 3" libssl-dev openssl_there
  need "PostgreSQL $major server" "postgresql-$major" pg_file --bindir postgres
  need "PostgreSQL $major headers and PGXS" "postgresql-server-dev-$major" pgxs_there
  need "PostgreSQL $major test programs" "postgresql-client-$major" pg_file --pkglibdir pgxs/src/test/regress/pg_regress
  if [ ${#packages[@]} -eq 0 ]; then
    need "server, client and headers of one minor version" "postgresql-$major" same_minor
    need "PostgreSQL packages of one version" "postgresql-$major" same_packages
  fi
  need "pgTAP for PostgreSQL $major" "postgresql-$major-pgtap" pg_file --sharedir extension/pgtap.control
  need "wal2json for PostgreSQL $major" "postgresql-$major-wal2json" pg_file --pkglibdir wal2json.so
  need "prove" perl command -v prove
  need "Perl's IPC::Run" libipc-run-perl perl -MIPC::Run -e1
  need "pg_prove" libtap-parser-sourcehandler-pgtap-perl command -v pg_prove
  need "pgbouncer" pgbouncer pgbouncer_there
  need "sqlite3" sqlite3 command -v sqlite3
  need "unzip" unzip command -v unzip
  need "node" nodejs command -v node
  npm_there || need "npm" npm command -v npm
  need "chromium" chromium command -v chromium
  need "jq" jq command -v jq
  need "nm" binutils command -v nm
  [ "$(id -u)" -ne 0 ] || need "runuser" util-linux command -v runuser
  need "pg_bsd_indent" "$indent_package" indent_there
  [ -z "${TIDE_BENCH:-}" ] || need "gnuplot" gnuplot-nox command -v gnuplot
  if [ -z "${TIDE_NO_CHECKS:-}" ]; then
    need "cppcheck" cppcheck command -v cppcheck
    need "clang-tidy" clang-tidy command -v clang-tidy
  fi
}

report() {
  printf 'missing: %s\n' "${missing[@]}" >&2
}

install_packages() {
  local all=("${packages[@]}") dropin=/etc/postgresql-common/createcluster.d/pg_tide_setup.conf made_dir=false
  local policy=/usr/sbin/policy-rc.d made_policy=false
  if printf '%s\n' "${packages[@]}" | grep -q '^postgresql-'; then
    all+=("postgresql-$major" "postgresql-client-$major" "postgresql-server-dev-$major" libpq5 libpq-dev)
  fi
  echo "setup: installing $(printf '%s\n' "${all[@]}" | sort -u | tr '\n' ' ')" >&2
  # while we install, a new server package must not create a cluster
  mkdir -p /etc/postgresql-common
  mkdir /etc/postgresql-common/createcluster.d 2>/dev/null && made_dir=true
  echo 'create_main_cluster = false' > "$dropin"
  # nor may a service be started (pgbouncer)
  [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' > "$policy" && chmod 755 "$policy" && made_policy=true; }
  # shellcheck disable=SC2064
  trap "rm -f '$dropin'; $made_policy && rm -f '$policy'; $made_dir && rmdir /etc/postgresql-common/createcluster.d 2>/dev/null; true" EXIT
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2046
  apt-get -qq -o DPkg::Lock::Timeout=600 update </dev/null >&2 &&
    apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 \
      install $(printf '%s\n' "${all[@]}" | sort -u) </dev/null >&2
}

npm_there() { # the packages of the lock file, at its versions
  [ ! -f package-lock.json ] || cmp -s package-lock.json node_modules/.installed-lock
}
install_npm() { # not npm ci: it wants optional packages of all platforms in the lock file, of which a mirror may have ours only
  echo "setup: installing the npm packages of package.json" >&2
  npm install --no-save --ignore-scripts --no-audit --no-fund --loglevel=error --no-update-notifier </dev/null >&2 &&
    cp package-lock.json node_modules/.installed-lock
}

check
if [ ${#missing[@]} -gt 0 ]; then
  report
  if ! $debian || [ "$(id -u)" -ne 0 ]; then
    echo "setup: install these, or run this as root on Debian" >&2
    exit 1
  fi
  install_packages || { echo "setup: apt-get failed" >&2; exit 1; }
  hash -r
  check
  if [ ${#missing[@]} -gt 0 ]; then
    echo "setup: still missing after installing:" >&2
    report
    exit 1
  fi
fi
if ! npm_there && ! install_npm; then
  echo "missing: npm packages of package-lock.json (npm ci failed)" >&2
  exit 1
fi
