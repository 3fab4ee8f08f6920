#!/usr/bin/env bash
# The version is written once, in pg_tide.control; META.json must agree, nothing else repeats it
# but the report of a benchmark.
. "$(dirname "$0")/lib/tap.sh"

version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" pg_tide.control)
check "pg_tide.control has a semantic version" "$([[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || echo "default_version is '$version'")"
check "META.json is JSON with this version, twice" "$(perl -MJSON::PP -e '
  my ($version) = @ARGV;
  local $/;
  open my $in, "<", "META.json" or die "META.json: $!\n";
  my $meta = eval { JSON::PP->new->utf8->decode(<$in>) } or print "not JSON: $@";
  print "version is $meta->{version}\n" if $meta->{version} ne $version;
  print "provides.pg_tide.version is $meta->{provides}{pg_tide}{version}\n" if $meta->{provides}{pg_tide}{version} ne $version;
  for my $file ($meta->{provides}{pg_tide}{file}, $meta->{provides}{pg_tide}{docfile}) {
    print "provides.pg_tide names $file, which is not there\n" unless -e $file || $file =~ /^sql\/pg_tide/;
  }
' "$version" 2>&1)"
check "CHANGELOG.md has a heading for it" "$(grep -qE "^## ${version//./\\.}( |$)" CHANGELOG.md || echo "no '## $version' in CHANGELOG.md")"
check "no other file repeats it" "$(find . \( -name '.[!.]*' ! -name .ci ! -name .editorconfig ! -name .gitignore -o -name node_modules -o -name tmp_check -o -name results -o -name output_iso -o -name log \) -prune -o -type f \
  ! -name '*.o' ! -name '*.d' ! -name '*.so' ! -name '.build-flags*' ! -name 'pg_tide--*.sql' ! -name package-lock.json \
  ! -path './sql/upgrade/*' ! -path ./pg_tide.control ! -path ./META.json ! -path ./CHANGELOG.md ! -path ./doc/benchmarks.md -print |
  xargs grep -nIE "(^|[^0-9.])${version//./\\.}([^0-9.]|\.?$)")"
finish
