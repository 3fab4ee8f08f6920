#!/usr/bin/env bash
# The zip of `make dist` holds what is committed and builds; META.json is valid for PGXN; the package of
# `make deb` installs, and its extension can be created. What cannot be checked here is said.
set -u
cd "$(dirname "$0")/.." || exit 1
. test/cluster.sh

export PG_CONFIG=${PG_CONFIG:-pg_config}
make=${MAKE:-make}
failures=0
work=$(mktemp -d "${TMPDIR:-/tmp}/tide-packages.XXXXXX") || exit 1
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT

fail() { echo "FAILED: $1"; failures=$((failures + 1)); }
git() { command git -c safe.directory='*' "$@"; }

# PGXN Meta Spec 1.0.0: what has to be there, and of what form
check_meta() {
  perl -MJSON::PP -e '
    local $/;
    my ($root) = @ARGV;
    open my $in, "<:raw", "$root/META.json" or die "META.json: $!\n";
    my $meta = JSON::PP->new->utf8->decode(<$in>);
    my $version = qr/^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$/;
    my @wrong = map { "no $_" } grep { !defined $meta->{$_} || $meta->{$_} eq "" } qw(name abstract version maintainer license provides meta-spec);
    push @wrong, "name" if ($meta->{name} // "") !~ /^[^\x00-\x20\/\\\x7f]{2,}$/;
    push @wrong, "version" if ($meta->{version} // "") !~ $version;
    push @wrong, "meta-spec" if ($meta->{"meta-spec"}{version} // "") ne "1.0.0";
    push @wrong, "license" if ref $meta->{license} || $meta->{license} !~ /^(agpl_3|apache_1_1|apache_2_0|artistic_1|artistic_2|bsd|freebsd|gfdl_1_2|gfdl_1_3|gpl_[123]|lgpl_2_1|lgpl_3_0|mit|mozilla_1_0|mozilla_1_1|openssl|perl_5|postgresql|qpl_1_0|ssleay|sun|zlib|open_source|restricted|unrestricted|unknown)$/;
    push @wrong, "release_status" if ($meta->{release_status} // "stable") !~ /^(stable|testing|unstable)$/;
    push @wrong, "provides nothing" if !%{ $meta->{provides} // {} };
    for my $name (sort keys %{ $meta->{provides} // {} })
    {
      my $provided = $meta->{provides}{$name};
      push @wrong, "version of $name" if ($provided->{version} // "") !~ $version;
      push @wrong, "$_ of $name" for grep { !defined $provided->{$_} || !-f "$root/$provided->{$_}" } "file", exists $provided->{docfile} ? "docfile" : ();
    }
    for my $phase (sort keys %{ $meta->{prereqs} // {} })
    {
      push @wrong, "phase $phase" if $phase !~ /^(configure|build|test|runtime|develop)$/;
      for my $relation (sort keys %{ $meta->{prereqs}{$phase} })
      {
        push @wrong, "relation $relation" if $relation !~ /^(requires|recommends|suggests|conflicts)$/;
        push @wrong, "prerequisite $_" for grep { $meta->{prereqs}{$phase}{$relation}{$_} !~ /^(0|([<>=!]=? *)?\d+\.\d+\.\d+(, *([<>=!]=? *)?\d+\.\d+\.\d+)*)$/ } keys %{ $meta->{prereqs}{$phase}{$relation} };
      }
    }
    push @wrong, "tags" if grep { ref || length > 255 || m{[/\\\x00-\x1f]} } @{ $meta->{tags} // [] };
    print map { "META.json: $_\n" } @wrong;
  ' "$1"
}

check_zip() {
  local zip dir wrong
  if ! git rev-parse --verify -q HEAD >/dev/null; then echo "not a clone: make dist is not tested"; return; fi
  if ! command -v unzip >/dev/null; then echo "no unzip: make dist is not tested"; return; fi
  zip=$(GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' "$make" -s dist) || { fail "make dist"; return; }
  unzip -q "$zip" -d "$work" || { fail "the zip cannot be unpacked"; return; }
  dir=$work/$(basename "$zip" .zip)
  wrong=$(diff <(git ls-tree -r --name-only HEAD | sort) <(cd "$dir" && find . -type f -o -type l | sed 's|^\./||' | sort)) || fail "the zip holds other files than the commit: $wrong"
  wrong=$(check_meta "$dir") || fail "META.json is not JSON"
  [ -z "$wrong" ] || fail "$wrong"
  # quickly: what the compiler makes of it is other tests' matter
  "$make" -s -j2 -C "$dir" PG_CONFIG="$PG_CONFIG" COPT=-O0 all >"$work/build.log" 2>&1 || { tail "$work/build.log"; fail "what the zip holds does not build"; }
  "$make" -s -C "$dir" PG_CONFIG="$PG_CONFIG" DESTDIR="$work/zip" install >"$work/build.log" 2>&1 || { tail "$work/build.log"; fail "what the zip holds does not install"; }
  [ -f "$work/zip$("$PG_CONFIG" --pkglibdir)/pg_tide.so" ] || fail "no library installed from the zip"
}

# a copy of the server's installation in which pg_tide is the package's
install_package() {
  local root=$1 major=$2 from to
  mkdir -p "$root"
  dpkg-deb -x build/postgresql-"$major"-pg-tide_*.deb "$root" || return 1
  cp -r "$("$PG_CONFIG" --bindir)" "$root/usr/lib/postgresql/$major/bin"
  for from in "$("$PG_CONFIG" --pkglibdir)" "$("$PG_CONFIG" --sharedir)" "$("$PG_CONFIG" --sharedir)/extension"; do
    case $from in
      */extension) to=$root/usr/share/postgresql/$major/extension ;;
      "$("$PG_CONFIG" --sharedir)") to=$root/usr/share/postgresql/$major ;;
      *) to=$root/usr/lib/postgresql/$major/lib ;;
    esac
    find "$from" -mindepth 1 -maxdepth 1 ! -name 'pg_tide*' ! -name extension -exec ln -s -t "$to" {} +
  done
}

check_deb() {
  local major root version
  if ! command -v dpkg-buildpackage >/dev/null; then echo "no dpkg-dev: make deb is not tested"; return; fi
  major=$("$PG_CONFIG" --version | sed -n 's/^PostgreSQL \([0-9]*\).*/\1/p')
  case "$("$PG_CONFIG" --bindir) $("$PG_CONFIG" --sharedir)" in
    */lib/postgresql/"$major"/bin*" "*/share/postgresql/"$major") ;;
    *) echo "not a PostgreSQL of Debian: make deb is not tested"; return ;;
  esac
  # -d: a PostgreSQL that is not a package serves as well
  DEB_OPTIONS=-d "$make" -s deb PG_CONFIG="$PG_CONFIG" || { fail "make deb"; return; }
  if command -v lintian >/dev/null; then
    # nobody's bug in Debian is closed by it
    lintian --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs build/postgresql-"$major"-pg-tide_*.deb || fail "lintian"
  fi
  root=$work/deb
  install_package "$root" "$major" || { fail "the package cannot be unpacked"; return; }
  chmod -R a+rX "$root"
  version=$(PG_CONFIG=$root/usr/lib/postgresql/$major/bin/pg_config test/cluster.sh run \
    psql -XqAt -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION pg_tide' -c "SELECT setting LIKE '$root/%' AND tide.start() = 'tide_' || current_database() FROM pg_config() WHERE name = 'PKGLIBDIR'" \
    -c 'SELECT tide.reset()' -c "SELECT extversion FROM pg_extension WHERE extname = 'pg_tide'" | tail -n 3 | tr -d '\n') || fail "CREATE EXTENSION of the package"
  [ "$version" = "t$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" pg_tide.control)" ] || fail "the package's extension says '$version'"
}

wrong=$(check_meta .) || fail "META.json is not JSON"
[ -z "$wrong" ] || fail "$wrong"
check_zip
check_deb
rm -rf build
[ "$failures" -eq 0 ] && echo "packages: all is well"
exit "$failures"
