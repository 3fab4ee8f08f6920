#!/usr/bin/env bash
# Commands and files that the documentation names exist.
. "$(dirname "$0")/lib/tap.sh"

docs=$(ls README.md CHANGELOG.md doc/*.md bench/README.md 2>/dev/null)
pgxs_targets="all install uninstall installcheck clean"
own_targets=$(sed -n 's/^\([a-z][a-z-]*\):.*/\1/p' Makefile)
check "make targets named in the documentation exist" "$(
  # in code only: `make x` and indented or fenced lines that start with make
  grep -nohE '(`|^ *(\$ )?|&& )(make( [A-Z_]+=[^ `]+)*( [a-z][a-z-]*)?)' $docs | grep -oE 'make( [A-Z_]+=[^ `]+)* [a-z][a-z-]*' |
    awk '{ print $NF }' | sort -u | while read -r target; do
    grep -qwx -- "$target" <<<"$(tr ' ' '\n' <<<"$pgxs_targets $own_targets")" || echo "make $target"
  done)"
check "files named in the documentation exist" "$(
  grep -nohE '(^|[ (`"])(\./)?(src|sql|test|bench|doc|examples|\.ci)/[A-Za-z0-9_./*-]*' $docs | sed -E 's/^[0-9]+://; s/^[ (`"]*//; s/[.,:]+$//' |
    sort -u | while read -r path; do
    compgen -G "$path" >/dev/null || echo "$path"
  done)"
check "links in the documentation lead somewhere" "$(for doc in $docs; do
  grep -oE '\]\([^)#: ]+' "$doc" | cut -c3- | while read -r path; do
    [ -e "$(dirname "$doc")/$path" ] || echo "$doc: $path"
  done
done)"
check "the documentation names no machine of ours" "$(grep -nE '/work/|/root/|https?://[^ )]*(registry|proxy|mirror)' -r README.md CHANGELOG.md doc src sql test bench examples Makefile META.json \
  package.json package-lock.json --include='*' 2>/dev/null | grep -vE '^(test/lint/(docs|selftest)\.sh|[^:]*node_modules/)')"
finish
