#!/usr/bin/env bash
# make deb: the Debian package for the PostgreSQL of PG_CONFIG, in build/.
# Built by dpkg-buildpackage from a copy of the tree, with .ci/debian as its debian/.
#   DEBFULLNAME, DEBEMAIL   who builds it
#   DEB_OPTIONS             more options of dpkg-buildpackage
set -euo pipefail
cd "$(dirname "$0")/.."

export PG_CONFIG=${PG_CONFIG:-pg_config}
major=$("$PG_CONFIG" --version | sed -n 's/^PostgreSQL \([0-9]*\).*/\1/p')
version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" pg_tide.control)
maintainer="${DEBFULLNAME:-the pg_tide authors} <${DEBEMAIL:-pg-tide@localhost}>"
command -v dpkg-buildpackage >/dev/null || { echo "make deb needs Debian's dpkg-dev" >&2; exit 1; }
PG_CONFIG=$(command -v "$PG_CONFIG")

work=build/pg-tide-$version
rm -rf build/pg-tide-* build/postgresql-*-pg-tide*
mkdir -p "$work"
# objects come along: what make finds up to date it does not compile again
tar -cf - --exclude=./.git --exclude=./build --exclude=node_modules --exclude=./tmp_check . | tar -xf - -C "$work"
cp -r .ci/debian "$work/debian"
sed -i "s/@MAJOR@/$major/g; s/@MAINTAINER@/$maintainer/" "$work"/debian/control "$work"/debian/rules
chmod +x "$work/debian/rules"
cat >"$work/debian/changelog" <<CHANGES
pg-tide ($version) unstable; urgency=medium

  * See changelog.gz.

 -- $maintainer  $(date -uR -d "@${SOURCE_DATE_EPOCH:-$(stat -c %Y CHANGELOG.md)}")
CHANGES
cd "$work"
# shellcheck disable=SC2086
dpkg-buildpackage -b -us -uc --no-pre-clean ${DEB_OPTIONS:-} >../deb.log 2>&1 || { tail -n 30 ../deb.log >&2; exit 1; }
cd ..
rm -rf "pg-tide-$version"
ls ./postgresql-"$major"-pg-tide_*.deb | sed 's|^\./|build/|'
