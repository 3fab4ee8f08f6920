#!/usr/bin/env bash
# A throw-away PostgreSQL cluster with pg_tide preloaded.
#
#   test/cluster.sh run [-c name=value]... COMMAND [ARG]...
#       start one, run COMMAND with PGHOST, PGPORT, PGUSER, PGDATABASE and PATH
#       set to it, stop and remove it (also on Ctrl-C); exit with COMMAND's status
#
# or `source test/cluster.sh` and call
#   tide_cluster_start [name=value]...   sets and exports the same, and TIDE_CLUSTER
#   tide_cluster_shut                    stops it
#   tide_cluster_stop                    stops and removes it
#   tide_cluster_crash / tide_cluster_restart   immediate stop; start again
# (the sourcing script traps EXIT INT TERM HUP itself; see tide_cluster_trap).
#
# It has a directory, socket and port of its own, so clusters that are already there are
# neither used nor disturbed. Servers refuse to run as root: then user postgres
# (TIDE_USER) runs it. PG_CONFIG chooses the PostgreSQL.

TIDE_CLUSTER=
TIDE_USER=${TIDE_USER:-postgres}

# prefix a command to run it as the unprivileged user
tide_as_user() {
  if [ "$(id -u)" -eq 0 ]; then
    runuser -u "$TIDE_USER" -- "$@"
  else
    "$@"
  fi
}

tide_free_port() {
  perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", ReuseAddr => 1)->sockport'
}

# settings every cluster of ours has; $1 is the data directory
tide_cluster_settings() {
  cat <<CONF
listen_addresses = ''
unix_socket_directories = '$TIDE_CLUSTER'
port = $PGPORT
wal_level = logical
shared_preload_libraries = 'pg_tide'
max_wal_senders = 10
max_replication_slots = 10
max_worker_processes = 16
fsync = off
log_line_prefix = '%m [%p] %q%d '
log_min_messages = info
timezone = 'UTC'
CONF
  # minors before the setting existed refuse to start with it
  if tide_as_user "$TIDE_BIN/postgres" -D "$1" -C output_plugin_libraries >/dev/null 2>&1; then
    echo "output_plugin_libraries = 'pgoutput, test_decoding, wal2json, pg_tide'"
  fi
}

tide_cluster_start() {
  local setting
  TIDE_BIN=$("${PG_CONFIG:-pg_config}" --bindir) || return 1
  unset PGSERVICE PGSSLMODE PGOPTIONS PGPASSWORD PGDATA PGHOSTADDR PGAPPNAME
  TIDE_CLUSTER=$(mktemp -d "${TMPDIR:-/tmp}/tide.XXXXXX") || return 1
  if [ "$(id -u)" -eq 0 ]; then
    chown "$TIDE_USER" "$TIDE_CLUSTER" && chmod 711 "$TIDE_CLUSTER" || return 1
  fi
  export TIDE_CLUSTER PGHOST=$TIDE_CLUSTER PGUSER=postgres PGDATABASE=postgres PATH="$TIDE_BIN:$PATH"
  PGPORT=$(tide_free_port) || return 1
  export PGPORT
  if ! (cd / && tide_as_user "$TIDE_BIN/initdb" -D "$TIDE_CLUSTER/data" -U postgres -A trust -E UTF8 \
    --locale=C -N) >"$TIDE_CLUSTER.initdb" 2>&1; then
    cat "$TIDE_CLUSTER.initdb" >&2
    rm -f "$TIDE_CLUSTER.initdb"
    return 1
  fi
  rm -f "$TIDE_CLUSTER.initdb"
  tide_cluster_settings "$TIDE_CLUSTER/data" >>"$TIDE_CLUSTER/data/postgresql.conf"
  for setting in "$@"; do
    printf "%s = '%s'\n" "${setting%%=*}" "${setting#*=}" >>"$TIDE_CLUSTER/data/postgresql.conf"
  done
  tide_cluster_restart
}

# (re)start after a stop or crash; a killed postmaster's lock file may take seconds to be stale
tide_cluster_restart() {
  local try
  for try in 1 2 3 4 5 6 7 8 9 10; do
    (cd / && tide_as_user "$TIDE_BIN/pg_ctl" -w -s -t 120 -D "$TIDE_CLUSTER/data" -l "$TIDE_CLUSTER/log" start) && return
    grep -q 'postmaster.pid' "$TIDE_CLUSTER/log" || break
    sleep 0.5
  done
  echo "cluster: server did not start after $try tries; end of its log:" >&2
  tail -n 20 "$TIDE_CLUSTER/log" >&2
  return 1
}

tide_cluster_crash() {
  (cd / && tide_as_user "$TIDE_BIN/pg_ctl" -w -s -D "$TIDE_CLUSTER/data" -m immediate stop)
}

tide_cluster_shut() {
  [ ! -f "$TIDE_CLUSTER/data/postmaster.pid" ] ||
    (cd / && tide_as_user "$TIDE_BIN/pg_ctl" -w -s -t 60 -D "$TIDE_CLUSTER/data" -m fast stop) ||
    (cd / && tide_as_user "$TIDE_BIN/pg_ctl" -w -s -D "$TIDE_CLUSTER/data" -m immediate stop)
}

tide_cluster_stop() {
  [ -n "$TIDE_CLUSTER" ] || return 0
  tide_cluster_shut
  rm -rf "$TIDE_CLUSTER"
  TIDE_CLUSTER=
}

# stop and remove the cluster when the calling script ends, however it ends
tide_cluster_trap() {
  trap tide_cluster_stop EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

tide_cluster_main() {
  local settings=() status=0 child
  [ "${1:-}" = run ] || { sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2; return 2; }
  shift
  while [ "${1:-}" = -c ]; do
    settings+=("$2")
    shift 2
  done
  tide_cluster_trap
  tide_cluster_start "${settings[@]}" || return 1
  # in the background, so that a signal is acted on at once
  "$@" </dev/null &
  child=$!
  trap 'kill -TERM $child 2>/dev/null; tide_cluster_stop' EXIT
  wait "$child" || status=$?
  if [ "$status" -ne 0 ] && [ -n "${TIDE_KEEP_LOG:-}" ]; then
    cp "$TIDE_CLUSTER/log" "$TIDE_KEEP_LOG"
  fi
  trap tide_cluster_stop EXIT
  return "$status"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -u
  tide_cluster_main "$@"
fi
