#!/usr/bin/env bash
# The tracker against a throw-away cluster: builds the page, serves it on loopback until Ctrl-C.
# TRACKER_PORT chooses the port.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
root=$(cd ../.. && pwd)
# shellcheck source=../../test/cluster.sh
source "$root/test/cluster.sh"

work=$(mktemp -d "${TMPDIR:-/tmp}/tide-tracker.XXXXXX")
node_pid=
finish() {
  [ -z "$node_pid" ] || kill "$node_pid" 2>/dev/null || true
  tide_cluster_stop
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
server() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

tide_cluster_start
server -o /dev/null -c 'CREATE EXTENSION pg_tide' -f schema.sql -c 'SELECT tide.start()'
for _ in {1..300}; do
  [ "$(server -c "SELECT count(*) FROM tide.shapes WHERE state <> 'live'")" != 0 ] || break
  sleep 0.1
done
TRACKER_SECRET=$(node -p "require('crypto').randomBytes(32).toString('hex')")
export TRACKER_SECRET
server -o /dev/null -f - <<<"SELECT tide.add_jwt_key('tracker', 'HS256', decode('$TRACKER_SECRET', 'hex'))"
server -o "$work/client.json" -f client.sql
"$root/node_modules/.bin/vite" build --config vite.config.mjs --outDir "$work/dist"
PGUSER=hop node serve.mjs "$work/dist" "$work/client.json" "${TRACKER_PORT:-0}" &
node_pid=$!
wait "$node_pid"
