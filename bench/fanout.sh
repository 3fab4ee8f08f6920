#!/usr/bin/env bash
# One committed change and N clients that wait for it: the server's CPU (all processes of PostgreSQL, the ingest
# included) until every client has pulled the change by a request of its own (own uuid, own cookie, all of one
# bucket), how much of that is waking them, and when the clients have it.
#   direct   each client has a session of its own, which sleeps in tide.wait, then pulls
#   hop      each client has a socket and a long poll of its own to the HTTP hop of examples/sync. The hop holds one
#            session for all that wait for the same op_id, and has ten for their pulls.
#
#   bench/fanout.sh [ROUNDS] [HOP-CLIENTS]... [-d DIRECT-CLIENTS]...   default 3; 1 100 1000 10000 -d 1 100 500
set -euo pipefail
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"

rounds=${1:-3}
hop=() direct=()
list=hop
for word in "${@:2}"; do
  if [ "$word" = -d ]; then list=direct; elif [ "$list" = hop ]; then hop+=("$word"); else direct+=("$word"); fi
done
[ ${#hop[@]} -gt 0 ] || hop=(1 100 1000 10000)
[ ${#direct[@]} -gt 0 ] || direct=(1 100 500)

clients() {
  (cd "$bench_root" && PGDATA=$TIDE_CLUSTER/data node bench/fanout/clients.mjs "$@")
}

# field OUT NUMBER
of() { awk -v f="$2" '{ print $f }' <<<"$1" | median | awk '{ printf "%.4g\n", $1 }'; }

report() {
  local name=$1 way=$2 n=$3 out=$4
  row "$name: server CPU" "$(of "$out" 2)" s "of it to wake them $(of "$out" 3); median of $rounds"
  row "$name: server CPU for each" "$(awk -v s="$(of "$out" 2)" -v n="$n" 'BEGIN { printf "%.1f", s / n * 1e6 }')" us
  row "$name: clients have it, p50" "$(of "$out" 5)" ms "p99 $(of "$out" 6), last $(of "$out" 7)"
  [ "$way" = direct ] || row "$name: CPU of the hop" "$(of "$out" 4)" s
  point fanout "$way" "$n" "$(of "$out" 2)"
}

bench_start max_connections=1100
sql "CREATE TABLE items (id int PRIMARY KEY, room int, at timestamptz, s text);
     INSERT INTO items SELECT i, i % 100, now(), repeat('x', 250) FROM generate_series(1, 10000) i;
     SELECT tide.create_shape('room', '{\"table\": \"items\", \"where\": \"room = params.room\"}')" >/dev/null
sql 'SELECT tide.start()' >/dev/null
sql 'SELECT tide.sync()' >/dev/null

for n in "${direct[@]}"; do
  out=$(clients direct - - "$n" "$rounds")
  report "$n sessions in tide.wait" direct "$n" "$out"
done

mkfifo "$TIDE_CLUSTER/url"
(cd "$bench_root" && exec node examples/sync/hop.mjs 0) >"$TIDE_CLUSTER/url" &
hop_pid=$!
read -r url <"$TIDE_CLUSTER/url"
for n in "${hop[@]}"; do
  out=$(clients hop "$url" "$hop_pid" "$n" "$rounds")
  report "$n long polls at the hop" hop "$n" "$out"
  [ "$n" -ne 10000 ] || need "one change to 10,000 waiting clients: server CPU" "$(of "$out" 2)" le 1 s
done
kill "$hop_pid"
bench_end
