#!/usr/bin/env bash
# A file includes headers of its own folder or of a folder of lower rank; the
# ranks are the table in src/README.md.
. "$(dirname "$0")/lib/tap.sh"

check "include direction" "$(perl -e '
  use strict; use warnings;
  my %rank;
  open my $readme, "<", "src/README.md" or die "src/README.md: $!\n";
  while (<$readme>) {
    next unless /^\|((?: *`\w+\/`)+) *\| *(\d+) *\|/;
    my ($folders, $rank) = ($1, $2);
    $rank{$_} = $rank for $folders =~ /(\w+)\//g;
  }
  for my $file (glob "src/*/*.[ch]") {
    my ($own) = $file =~ m{^src/(\w+)/};
    if (!defined $rank{$own}) { print "$file: folder $own/ has no rank in src/README.md\n"; next; }
    open my $in, "<", $file or die "$file: $!\n";
    while (<$in>) {
      next unless /^\s*#\s*include\s+"([\w\/.]+)"/;
      my $header = $1;
      print "$file:$.: \"$header\" without its folder\n" if $header !~ m{/} && -e "src/$own/$header";
      next unless $header =~ m{^(\w+)/} && -e "src/$header";
      my $other = $1;
      next if $other eq $own || (defined $rank{$other} && $rank{$other} < $rank{$own});
      print "$file:$.: rank $rank{$own} includes \"$header\" of rank ", $rank{$other} // "unknown", "\n";
    }
  }')"
check "only crypto/ includes <sodium.h>" \
  "$(grep -nE '#[[:space:]]*include[[:space:]]*[<"]sodium' -r src --include='*.[ch]' | grep -v '^src/crypto/')"
check "headers have guards and no postgres.h" "$(for h in src/*.h src/*/*.h; do
  [ -e "$h" ] || continue
  grep -qE '^#ifndef TIDE_[A-Z0-9_]+_H$' "$h" || echo "$h: no TIDE_..._H guard"
  grep -nE '#[[:space:]]*include[[:space:]]*"postgres.h"' "$h" | sed "s|^|$h:|"
done)"
check "every .c includes postgres.h first" "$(for c in src/*.c src/*/*.c; do
  [ -e "$c" ] || continue
  grep -m1 -E '#[[:space:]]*include' "$c" | grep -q '"postgres.h"' || echo "$c"
done)"
check "PG_VERSION_NUM only in util/compat*.h" \
  "$(grep -n PG_VERSION_NUM -r src --include='*.[ch]' | grep -vE '^src/(util/compat[_a-z]*\.h|init\.c):')"
finish
