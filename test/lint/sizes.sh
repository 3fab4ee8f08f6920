#!/usr/bin/env bash
# Sizes: files over 600 lines and functions over 100 fail; functions over 60 are told only.
. "$(dirname "$0")/lib/tap.sh"

# functions that may be long, with the reason: file:name
exceptions=""

functions=$(find src -name '*.c' | sort | xargs -r awk '
  FNR == 1 { name = ""; start = 0 }
  /^[A-Za-z_][A-Za-z0-9_]*\(/ { name = $0; sub(/\(.*/, "", name) }
  /^{/ { start = FNR }
  /^}/ && start && name != "" { print FNR - start + 1, FILENAME ":" name; start = 0; name = "" }')
files=$(find src -name '*.[ch]' | sort | xargs -r wc -l | awk '$2 != "total" { print $1, $2 }')

awk '$1 > 60 { print "# long function: " $0 }' <<<"$functions"
check "no file over 600 lines" "$(awk '$1 > 600' <<<"$files")"
check "no function over 100 lines" "$(awk '$1 > 100' <<<"$functions" | grep -vwF "${exceptions:-none}")"
check "no header over 200 lines" "$(grep '\.h$' <<<"$files" | awk '$1 > 200')"
finish
