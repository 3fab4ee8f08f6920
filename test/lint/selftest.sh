#!/usr/bin/env bash
# Each lint check notices what it is for: a good small tree passes, and each planted fault fails
# exactly the check it is meant for.
. "$(dirname "$0")/lib/tap.sh"

lint=$PWD/test/lint
sample=$(mktemp -d) || exit 1
trap 'rm -rf "$sample"' EXIT

make_sample() {
  rm -rf "${sample:?}"/*
  mkdir -p "$sample"/src/{util,catalog,crypto} "$sample"/sql/upgrade "$sample"/test "$sample"/doc
  cd "$sample" || exit 1
  printf '%s\n' '| `util/` | 0 | x |' '| `crypto/` | 1 | x |' '| `catalog/` | 2 | x |' >src/README.md
  printf '%s\n' '#ifndef TIDE_A_H' '#define TIDE_A_H' '#endif' >src/util/a.h
  printf '%s\n' '#ifndef TIDE_B_H' '#define TIDE_B_H' '#endif' >src/catalog/b.h
  printf '%s\n' '#include "postgres.h"' '#include "catalog/pg_class.h"' '#include "util/a.h"' 'void' 'tide_b(void)' '{' \
    '	ereport(ERROR,' '			(errcode(ERRCODE_INTERNAL_ERROR),' '			 errmsg("could not do (%s", "it;")));' '	ereport(LOG, (errmsg("well")));' '}' >src/catalog/b.c
  printf '%s\n' '#include "postgres.h"' '#include <sodium.h>' >src/crypto/c.c
  printf "default_version = '1.2.3'\n" >pg_tide.control
  printf '{"version": "1.2.3", "provides": {"pg_tide": {"version": "1.2.3", "file": "pg_tide.control", "docfile": "README.md"}}}' >META.json
  printf '# Changelog\n\n## 1.2.3 (unreleased)\n' >CHANGELOG.md
  printf 'Run `make test`, read `src/README.md` and [this](CHANGELOG.md).\n\n    make install\n' >README.md
  printf 'test:\n\ttrue\n' >Makefile
}
run_check() { TIDE_ROOT=$sample bash "$lint/$1.sh" 2>/dev/null; }

make_sample
for name in includes errors sizes versions docs; do
  check "$name: a good tree passes" "$(run_check "$name" | grep '^not ok')"
done

# fault LINT "CHECK" COMMAND...: after COMMAND in a fresh sample just this check fails
fault() {
  local lint_name=$1 wanted=$2 got
  shift 2
  make_sample
  "$@"
  got=$(run_check "$lint_name" | sed -n 's/^not ok [0-9]* - //p')
  check "$lint_name notices: $*" "$([ "$got" = "$wanted" ] || echo "failing checks: '$got', wanted '$wanted'")"
}
add() { printf '%s\n' "${@:2}" >>"$1"; }
long() { { echo '#include "postgres.h"'; printf 'void\ntide_long(void)\n{\n'; seq -f '	x(%g);' "$2"; echo '}'; } >"$1"; }

fault includes "include direction" add src/util/a.h '#include "catalog/b.h"'
fault includes "include direction" bash -c 'mkdir src/unknown && cp src/util/a.h src/unknown/'
fault includes "only crypto/ includes <sodium.h>" add src/catalog/b.c '#include <sodium.h>'
fault includes "headers have guards and no postgres.h" add src/util/a.h '#include "postgres.h"'
fault includes "every .c includes postgres.h first" sed -i 1d src/catalog/b.c
fault includes "PG_VERSION_NUM only in util/compat*.h" add src/catalog/b.c '#if PG_VERSION_NUM >= 160000' '#endif'
fault errors "ereport(ERROR) has an errcode" add src/catalog/b.c 'ereport(ERROR, (errmsg("errcode(1)")));'
fault errors "ereport(ERROR) has an errcode" add src/catalog/b.c 'ereport(elevel,' '  (errmsg("could not")));'
fault errors "no unfinished work is marked" add src/catalog/b.c '/* TODO later */'
fault errors "messages do not end in a period or start with a capital" add src/catalog/b.c 'errmsg("could not do it."),'
fault errors "no unbounded string functions" add src/catalog/b.c 'strcpy(a, b);'
fault sizes "no function over 100 lines" long src/catalog/long.c 120
fault sizes "no file over 600 lines" bash -c 'seq 601 >>src/catalog/b.c'
fault sizes "no header over 200 lines" bash -c 'seq 201 >>src/util/a.h'
fault versions "pg_tide.control has a semantic version" bash -c 'sed -i "s/1[.]2[.]3/1.2/" pg_tide.control CHANGELOG.md && sed -i "s/1[.]2[.]3/1.2/g" META.json'
fault versions "META.json is JSON with this version, twice" sed -i 's/{"version": "1.2.3", "file"/{"version": "1.2.4", "file"/' META.json
fault versions "CHANGELOG.md has a heading for it" sed -i 's/^## .*/## 1.2.2/' CHANGELOG.md
fault versions "no other file repeats it" add README.md 'This is 1.2.3.'
fault docs "make targets named in the documentation exist" add README.md '`make nothing`'
fault docs "make targets named in the documentation exist" add README.md '    make nothing'
fault docs "files named in the documentation exist" add README.md 'see `test/nothing.sh`'
fault docs "links in the documentation lead somewhere" add README.md '[x](nothing.md)'
fault docs "the documentation names no machine of ours" add README.md 'in /work/main'

# symbols: a library with a foreign export
if command -v "${CC:-gcc}" >/dev/null; then
  make_sample
  echo 'int Pg_magic_func, _PG_init, tide_x, pg_finfo_tide_sql_x;' >good.c
  echo 'int Pg_magic_func, _PG_init, helper, pg_finfo_tide_x;' >bad.c
  ${CC:-gcc} -shared -fPIC -o good.so good.c && ${CC:-gcc} -shared -fPIC -o bad.so bad.c
  check "symbols: a good library passes" "$(TIDE_LIBRARY=good.so run_check symbols | grep '^not ok')"
  check "symbols notices foreign names" "$([ "$(TIDE_LIBRARY=bad.so run_check symbols | grep -c '^not ok')" -eq 2 ] || echo "not noticed")"
fi
cd / || exit 1
finish
