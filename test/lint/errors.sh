#!/usr/bin/env bash
# Errors users see carry an SQLSTATE; the source holds no unfinished work.
. "$(dirname "$0")/lib/tap.sh"

check "ereport(ERROR) has an errcode" "$(perl -0777 -ne '
  my $text = $_;
  # blank out comments and strings, keeping positions
  $text =~ s{(/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*")}{ (my $x = $1) =~ s/[^\n]/ /g; $x }gse;
  while ($text =~ /\bereport\s*(\((?:[^()]++|(?1))*\))/g) {
    my ($body, $at) = ($1, $-[0]);
    next if $body =~ /^\(\s*(?:DEBUG\d|LOG|LOG_SERVER_ONLY|INFO|NOTICE|COMMERROR|WARNING)\s*,/;
    next if $body =~ /\berrcode\w*\s*\(/;
    my $line = 1 + (substr($text, 0, $at) =~ tr/\n//);
    print "$ARGV:$line: ereport without errcode\n";
  }' $(find src -name '*.c'))"
check "no unfinished work is marked" "$(grep -nwE 'TODO|FIXME' -r src sql test bench examples --include='*.[ch]' --include='*.sql' \
  --include='*.sh' --include='*.p[lm]' --include='*.mjs' 2>/dev/null | grep -v '^test/lint/')"
check "messages do not end in a period or start with a capital" "$(grep -nE 'errmsg\("([A-Z][a-z]+ [a-z].*|[^"]*[^.]\.)"[,)]' -r src --include='*.c')"
check "no unbounded string functions" "$(grep -nE '\b(strcpy|strcat|sprintf|gets|strtok)[[:space:]]*\(' -r src --include='*.c' | grep -vE '^[^:]+:[0-9]+:[[:space:]]*(\*|/\*)')"
finish
