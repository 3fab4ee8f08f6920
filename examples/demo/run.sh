#!/usr/bin/env bash
# The demo: Debian's package index in PostgreSQL, and two offline clients that sync a part of it.
#
# Starts a cluster of its own (port and folder of its own, removed at the end), loads
# the package index of this machine, and lets the sqlite3 shell and PGlite each sync some
# sections, go offline, edit, meet each other's and the server's edits, and come
# back. Ends with an error if anything does not converge.
#
# What a client needs is the script tide.client_schema() gives, and the two statements
# in `sync` below; psql is the wire.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
here=$PWD
root=$(cd ../.. && pwd)
# shellcheck source=../../test/cluster.sh
source "$root/test/cluster.sh"

work=$(mktemp -d "${TMPDIR:-/tmp}/tide-demo.XXXXXX")
pglite_pid=
finish() {
  [ -z "$pglite_pid" ] || kill "$pglite_pid" 2>/dev/null || true
  tide_cluster_stop
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

step=0
say() {
  step=$((step + 1))
  if [ -t 1 ]; then printf '\n\033[1m%d. %s\033[0m\n' "$step" "$*"; else printf '\n%d. %s\n' "$step" "$*"; fi
}
progress() {
  if [ -t 1 ]; then printf '\r\033[K   %s' "$*"; fi
}
progress_end() {
  if [ -t 1 ]; then printf '\r\033[K'; fi
  printf '   %s\n' "$*"
}
fail() {
  printf '\n   FAILED: %s\n' "$*" >&2
  [ -z "${TIDE_CLUSTER:-}" ] || grep -E 'ERROR|FATAL|PANIC' "$TIDE_CLUSTER/log" | tail -5 >&2 || true
  exit 1
}
server() {
  psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"
}
# text as an SQL string on one line's worth of quoting: quotes doubled
quoted() {
  sed "s/'/''/g"
}

# ---- the two clients: run statements, give rows as a|b|c ----
# (never in the background: answers of pglite come in the order of the questions)

ask_sqlite() {
  sqlite3 -bail -batch "$work/sqlite.db"
}
ask_pglite() {
  local line
  { cat; printf '\n\\g\n'; } >&"$to_pglite"
  while IFS= read -r line <&"$from_pglite"; do
    case $line in
      ok) return 0 ;;
      'error '*) echo "pglite: ${line#error }" >&2; return 1 ;;
      *) printf '%s\n' "$line" ;;
    esac
  done
  echo "pglite ended" >&2
  return 1
}
ask() { # client, statements
  local client=$1
  shift
  if [ $# -gt 0 ]; then "ask_$client" <<<"$*"; else "ask_$client"; fi
}

# ---- sync: two statements, and psql between them ----

declare -A pull_request=([sqlite]='SELECT request FROM tide_pull_request;' [pglite]='SELECT tide_pull_request();')
declare -A push_request=([sqlite]='SELECT request FROM tide_push_request;' [pglite]='SELECT tide_push_request();')
declare -A apply_head=([sqlite]="INSERT INTO tide_inbox(response) VALUES ('" [pglite]="SELECT tide_apply('")

hop() { # client, push or pull: what the client asks is sent, the answer applied
  local client=$1 kind=$2 request=${pull_request[$1]}
  [ "$kind" = pull ] || request=${push_request[$client]}
  ask "$client" "$request" >"$work/request"
  [ -s "$work/request" ] && [ "$(wc -c <"$work/request")" -gt 1 ] || return 0
  { printf "SELECT tide.%s('" "$kind"; quoted <"$work/request"; printf "');"; } |
    psql -X -q -A -t -v ON_ERROR_STOP=1 -U app >"$work/response" || fail "$client could not $kind"
  { printf '%s' "${apply_head[$client]}"; quoted <"$work/response"; printf "');"; } | ask "$client" >"$work/applied" ||
    fail "$client could not apply a $kind"
}

sync() { # client: until it has everything and nothing is left to send
  local client=$1 status state pending remaining rounds=0
  while :; do
    hop "$client" push
    hop "$client" pull
    status=$(ask "$client" 'SELECT state, pending, remaining FROM tide_status;')
    IFS='|' read -r state pending remaining <<<"$status"
    progress "$client: $state, $(ask "$client" 'SELECT count(*) FROM packages_synced;') packages, about ${remaining:-0} changes to come, $pending edits waiting"
    [ "$state" != synced ] || [ "$pending" -gt 0 ] || break
    rounds=$((rounds + 1))
    [ "$rounds" -lt 500 ] || fail "$client does not come to rest: $state, $pending pending"
    # edits are confirmed once their effects come back through the change log
    [ "$state" != synced ] || sleep 0.02
  done
}

# ---- what both sides must agree on ----

columns='name, section, version, maintainer_id, installed_size, description, homepage, stars, note'
declare -A sections=([sqlite]="'games', 'editors'" [pglite]="'games', 'mail'")

rows() { # client or server, sections: every package and dependency, as text
  local wanted=$2 by='ORDER BY name'
  local dependencies="SELECT package, n, depends_on, clause FROM dependencies WHERE section IN ($wanted) ORDER BY package, n;"
  if [ "$1" != sqlite ]; then
    by='ORDER BY name COLLATE "C"'
    dependencies=${dependencies/ORDER BY package/ORDER BY package COLLATE \"C\"}
  fi
  local packages="SELECT $columns FROM packages WHERE section IN ($wanted) $by;"
  local maintainers="SELECT id, name, mail FROM maintainers ORDER BY id;"
  if [ "$1" = server ]; then
    server -c "$packages" -c "$dependencies" -c "$maintainers"
  else
    ask "$1" "$packages"; ask "$1" "$dependencies"; ask "$1" "$maintainers"
  fi
}
converged() { # client
  rows "$1" "${sections[$1]}" >"$work/$1.rows"
  rows server "${sections[$1]}" >"$work/server.rows"
  if ! cmp -s "$work/$1.rows" "$work/server.rows"; then
    diff "$work/server.rows" "$work/$1.rows" | head -20 >&2
    fail "$1 and the server differ"
  fi
  # nothing beyond what was asked for
  [ "$(ask "$1" "SELECT count(*) FROM packages WHERE section NOT IN (${sections[$1]});")" = 0 ] || fail "$1 has rows of other sections"
  progress_end "$1 = server: $(wc -l <"$work/server.rows") rows compared, 0 differences"
}

# ================================================================

started=$SECONDS
say "A PostgreSQL cluster with pg_tide preloaded"
tide_cluster_start || fail "cluster did not start"
server -c 'CREATE EXTENSION pg_tide'
progress_end "$(server -c "SELECT 'PostgreSQL ' || current_setting('server_version') || ', pg_tide ' || extversion FROM pg_extension WHERE extname = 'pg_tide'")"

say "The package index of this machine, as an ordinary database"
index() {
  if [ "$(apt-cache dumpavail 2>/dev/null | head -c 1 | wc -c)" -gt 0 ]; then apt-cache dumpavail; else cat /var/lib/dpkg/status; fi
}
index | perl packages.pl "$work"
server -f schema.sql
for table in maintainers packages dependencies; do
  case $table in
    packages) list='(name, section, version, maintainer_id, installed_size, description, homepage)' ;;
    *) list= ;;
  esac
  server -c "\\copy $table $list FROM '$work/$table.tsv'"
  progress_end "$table: $(server -c "SELECT count(*) FROM $table") rows"
done

say "Shapes by section; start; tide.client_schema() for both clients"
server -f shapes.sql >/dev/null
slot=$(server -c 'SELECT tide.start()')
tries=0
while [ "$(server -c "SELECT count(*) FROM tide.shapes WHERE state <> 'live'")" != 0 ]; do
  progress "$(server -c "SELECT string_agg(format('%s %s %s%%', name, state, round(progress::numeric * 100)), ', ' ORDER BY name) FROM tide.shapes")"
  [ "$(server -c "SELECT count(*) FROM tide.shapes WHERE state = 'failed'")" = 0 ] || fail "$(server -c "SELECT string_agg(name || ': ' || error, '; ') FROM tide.shapes WHERE state = 'failed'")"
  tries=$((tries + 1))
  [ "$tries" -lt 600 ] || fail 'shapes are not built within a minute'
  sleep 0.1
done
progress_end "slot $slot; $(server -c "SELECT string_agg(format('%s: %s rows in %s buckets', name, rows, buckets), ', ' ORDER BY name) FROM tide.shapes")"

server -c "SELECT tide.client_schema('{packages,dependencies,maintainers}', 'sqlite')" | ask sqlite
coproc PGLITE { exec node "$here/pglite.mjs"; }
pglite_pid=$PGLITE_PID
exec {from_pglite}<&"${PGLITE[0]}" {to_pglite}>&"${PGLITE[1]}"
server -c "SELECT tide.client_schema('{packages,dependencies,maintainers}', 'postgres')" | ask pglite
progress_end "sqlite: SQLite $(ask sqlite 'SELECT sqlite_version();'), pglite: PostgreSQL $(ask pglite 'SHOW server_version') in Node"

say "First sync: sqlite takes games and editors, pglite takes games and mail"
for client in sqlite pglite; do
  if [ "$client" = sqlite ]; then second=editors; else second=mail; fi
  for section in games "$second"; do
    for shape in packages dependencies; do
      ask "$client" "INSERT INTO tide_subscription (shape, params) VALUES ('$shape', '{\"section\": \"$section\"}');"
    done
  done
  ask "$client" "INSERT INTO tide_subscription (shape) VALUES ('maintainers');"
  sync "$client"
  converged "$client"
done

# five games both clients have, and one of each client's own section
mapfile -t game < <(server -c "SELECT name FROM packages WHERE section = 'games' ORDER BY name COLLATE \"C\" LIMIT 8")
editor=$(server -c "SELECT min(name COLLATE \"C\") FROM packages WHERE section = 'editors'")
mail=$(server -c "SELECT min(name COLLATE \"C\") FROM packages WHERE section = 'mail'")

say "All three go their own ways: the clients are offline, the server goes on"
ask sqlite "
  UPDATE packages SET stars = 5, note = 'sqlite was here' WHERE name = '${game[0]}';
  UPDATE packages SET note = 'note by sqlite' WHERE name = '${game[1]}';
  UPDATE packages SET stars = 9 WHERE name = '${game[2]}';
  UPDATE packages SET note = 'fine, unlike the nine stars' WHERE name = '${game[2]}';
  DELETE FROM packages WHERE name = '${game[3]}';
  INSERT INTO packages (name, section, version, note) VALUES ('tide-sqlite', 'editors', '0.1', 'made offline');
  UPDATE packages SET stars = 4 WHERE name = 'tide-sqlite';
  INSERT INTO packages (name, section, version, stars) VALUES ('tide-doomed', 'games', '0.1', 7);
  UPDATE packages SET note = 'rests on the doomed insert' WHERE name = 'tide-doomed';
  UPDATE packages SET section = 'mail', note = 'moved by sqlite' WHERE name = '$editor';"
progress_end "sqlite edits offline and sees it at once: $(ask sqlite "SELECT name || ' has ' || stars || ' stars' FROM packages WHERE name = '${game[2]}'"), $(ask sqlite 'SELECT pending FROM tide_status') edits waiting"
ask pglite "
  UPDATE packages SET stars = 1, homepage = 'https://example.org/pglite' WHERE name = '${game[0]}';
  UPDATE packages SET stars = 3 WHERE name = '${game[1]}';
  UPDATE packages SET note = 'pglite edits what sqlite deletes' WHERE name = '${game[3]}';
  UPDATE packages SET note = 'pglite edits what the server moves' WHERE name = '${game[5]}';
  INSERT INTO packages (name, section, version) VALUES ('tide-pglite', 'mail', '0.1');
  DELETE FROM packages WHERE name = '$mail';"
progress_end "pglite edits offline: $(ask pglite 'SELECT pending FROM tide_status') edits waiting"
server -c "
  UPDATE packages SET version = version || '+tide1', note = 'note by the server' WHERE name IN ('${game[0]}', '${game[1]}');
  UPDATE packages SET section = 'editors' WHERE name = '${game[4]}';
  UPDATE packages SET section = 'mail' WHERE name = '${game[5]}';
  DELETE FROM packages WHERE name = '${game[6]}';
  UPDATE packages SET installed_size = installed_size + 1 WHERE section = 'games';
  UPDATE maintainers SET name = name || ' (met pg_tide)' WHERE id <= 10;"
progress_end "the server updates, moves and deletes $(server -c "SELECT count(*) FROM packages WHERE section = 'games'") games meanwhile"

say "Back online: push, pull, until all is quiet"
for client in sqlite pglite sqlite pglite; do
  sync "$client"
  progress_end "$client: synced, 0 edits waiting, $(ask "$client" 'SELECT count(*) FROM tide_rejected;') rejected so far"
done

say "Who won, and what was refused"
progress_end "${game[0]}: $(server -F ', ' -c "SELECT 'stars ' || stars, 'note ' || quote_literal(note), version, homepage FROM packages WHERE name = '${game[0]}'") (columns merge, the last writer of a column wins)"
for client in sqlite pglite; do
  refused=$(ask "$client" "SELECT 'refused mutation ' || id || ' (' || op || '): ' || code || ' ' || message FROM tide_rejected ORDER BY id;")
  while IFS= read -r line; do progress_end "$client: $line"; done <<<"$refused"
done
[ "$(ask sqlite "SELECT count(*) FROM packages WHERE name = 'tide-doomed';")" = 0 ] || fail 'a refused insert is still there'
[ "$(ask sqlite "SELECT count(*) FROM packages WHERE name = '${game[2]}' AND note = 'fine, unlike the nine stars' AND stars IS NULL;")" = 1 ] ||
  fail 'a refused edit was not undone, or took another with it'
[ "$(ask sqlite "SELECT count(*) FROM tide_rejected;")" -ge 3 ] || fail 'not every refusal came back'

say "Everyone has the same"
for client in sqlite pglite; do
  converged "$client"
done

say "tide.status, and tide.verify for every bucket the clients hold"
psql -X -x -c 'SELECT * FROM tide.status' | sed 's/^/   /'
differences=$(server -c "
  SELECT count(*)
  FROM unnest('{packages,dependencies}'::text[]) AS shape, unnest('{games,editors,mail}'::text[]) AS section,
  LATERAL tide.verify(shape, jsonb_build_object('section', section))")
differences=$((differences + $(server -c "SELECT count(*) FROM tide.verify('maintainers')")))
progress_end "tide.verify: $differences differences"
[ "$differences" = 0 ] || fail 'tide.verify found differences'
printf '\nDone in %d s: everything converged.\n' $((SECONDS - started))
