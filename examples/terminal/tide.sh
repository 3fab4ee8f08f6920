#!/usr/bin/env bash
# A sync client in the terminal: psql and sqlite3, nothing else. psql connects as its environment says.
#
#   tide.sh app.db make shape...          a new app.db for these shapes (as a role that may call tide.client_schema)
#   tide.sh app.db want shape [params]    what to pull: params is a JSON object
#   tide.sh app.db sync                   push and pull until there is nothing more
#   tide.sh app.db watch                  the same, and again whenever there is news
#   sqlite3 app.db                        read and write, on line or not
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '/^set/d' >&2; exit 2; }
db=$1 verb=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ask() { sqlite3 -bail -batch -list -noheader "$db" "$@"; } # whatever ~/.sqliterc says
server() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

hop() { # push or pull: psql reads the request from a file, so it may be long and hold anything
  ask "SELECT request FROM tide_$1_request WHERE request IS NOT NULL" >"$work/request"
  [ -s "$work/request" ] || return 0
  server -o "$work/answer" <<<"\\set request \`cat '$work/request'\`
    SELECT tide.$1(:'request');"
  ask "INSERT INTO tide_inbox (response) VALUES (CAST(readfile('$work/answer') AS text))"
}
sync() {
  local status last=''
  while :; do
    hop push
    hop pull
    status=$(ask "SELECT state, pending, remaining FROM tide_status")
    case $status in 'synced|0|'*) break ;; esac
    # no news: what was pushed comes back with the next checkpoint
    [ "$status" != "$last" ] || server -o /dev/null -c "SELECT tide.wait($(ask 'SELECT checkpoint FROM tide_client'), '1s')"
    last=$status
  done
  ask "SELECT state || ', ' || rejected || ' writes refused' FROM tide_status"
}

case $verb in
  make) server -v shapes="{$(IFS=,; echo "$*")}" <<<"SELECT tide.client_schema(:'shapes', 'sqlite')" | ask ;;
  want) params=${2:-'{}'}
    ask "INSERT INTO tide_subscription (shape, params) VALUES ('${1//\'/\'\'}', '${params//\'/\'\'}')" ;;
  sync) sync ;;
  watch) while :; do
      sync
      server -o /dev/null -c "SELECT tide.wait($(ask 'SELECT checkpoint FROM tide_client'))"
    done ;;
  *) echo "tide.sh: make, want, sync or watch, not $verb" >&2; exit 2 ;;
esac
