#!/usr/bin/env bash
# The library exports tide_* and what PostgreSQL looks for, nothing that could clash.
. "$(dirname "$0")/lib/tap.sh"

library=${TIDE_LIBRARY:-pg_tide.so}
if [ ! -f "$library" ]; then
  check "pg_tide.so is built" "$library is missing"
  finish
fi
exported=$(nm -D --defined-only "$library" | awk '{ sub(/@.*/, "", $3); print $3 }')
check "exports start with tide_" "$(grep -vE '^(tide_.*|pg_finfo_tide_.*|Pg_magic_func|_PG_init|_PG_output_plugin_init|_init|_fini)$' <<<"$exported")"
check "exports the module magic and _PG_init" \
  "$(for s in Pg_magic_func _PG_init; do grep -qx "$s" <<<"$exported" || echo "$s is missing"; done)"
check "SQL-callable functions are tide_sql_*" "$(grep '^pg_finfo_' <<<"$exported" | grep -v '^pg_finfo_tide_sql_')"
finish
