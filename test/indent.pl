#!/usr/bin/env perl
# Lays out C files as pgindent does, by pg_bsd_indent and src/typedefs.list.
#   test/indent.pl FILE...            rewrite
#   test/indent.pl --check FILE...    only name the files that would change; exit 1 if any
#   test/indent.pl --typedefs SERVER_INCLUDE FILE...
#                                     print the typedef names that FILEs use, theirs and the server's
use strict;
use warnings;

my @options = qw(-bad -bap -bbb -bc -bl -cli1 -cp33 -cdb -nce -d0 -di12 -nfc1 -i4 -l79
  -lp -lpl -nip -npro -sac -tpg -ts4);
my $mode = @ARGV && $ARGV[0] =~ /^--(check|typedefs)$/ ? shift @ARGV : '';

if ($mode eq '--typedefs')
{
	my ($server, @files) = @ARGV;
	my (%typedef, %used);
	my @headers = split /\n/, `find '$server' -name '*.h'`;
	for my $file (@headers, @files)
	{
		open my $in, '<', $file or die "$file: $!\n";
		my $text = do { local $/; <$in> };
		close $in;
		$typedef{$1} = 1 while $text =~ /^(?:typedef\s[^;{}()]*?|\}\s*)(\w+)(?:\s*\[\w*\])?;/gm;
		$typedef{$1} = 1 while $text =~ /^typedef\s[^;{}()]*\(\s*\*\s*(\w+)\s*\)/gm;
	}
	for my $file (@files)
	{
		open my $in, '<', $file or die "$file: $!\n";
		my $text = do { local $/; <$in> };
		$text =~ s{/\*.*?\*/}{}gs;
		$used{$1} = 1 while $text =~ /\b([A-Za-z_]\w*)/g;
	}
	# text is also what many variables are called, and those are more
	delete $typedef{text};
	print map { "$_\n" } grep { $typedef{$_} } sort keys %used;
	exit 0;
}

# Debian's package of its own, or, from 16 on, PostgreSQL's
my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
chomp(my $bindir = `$pg_config --bindir` // '');
$ENV{PATH} .= ":$bindir";

my $changed = 0;
for my $file (@ARGV)
{
	open my $in, '<', $file or die "$file: $!\n";
	my $before = do { local $/; <$in> };
	close $in;

	# through a copy: pg_bsd_indent itself writes in place
	my $copy = "$file.indent";
	open my $out, '>', $copy or die "$copy: $!\n";
	print $out $before;
	close $out;
	my $status = system('pg_bsd_indent', $copy, "$copy.new", @options, '-Usrc/typedefs.list');
	my $after = '';
	if ($status == 0)
	{
		open my $new, '<', "$copy.new" or die "$copy.new: $!\n";
		$after = do { local $/; <$new> };
		close $new;
	}
	unlink $copy, "$copy.new";
	die "pg_bsd_indent failed on $file\n" if $status != 0 || $after eq '';

	# prototypes keep their type on the line of the name
	$after =~ s/^((?:extern|static)\b[^\n;{}()=]*)\n(\w+\([^;{]*\)[^;{]*;)/joined($1, $2)/gme;

	# a return type on its own line is no declaration to align
	$after =~ s/^((?:static |extern |const )*\w+)[ \t]+(\*+)$/$1 $2/gm;

	next if $after eq $before;
	$changed++;
	if ($mode eq '--check') { print "$file\n"; next; }
	open $out, '>', $file or die "$file: $!\n";
	print $out $after;
	close $out or die "$file: $!\n";
}
exit($mode eq '--check' && $changed ? 1 : 0);

sub joined
{
	my ($type, $rest) = @_;
	return $type . ($type =~ /\*$/ ? '' : ' ') . $rest;
}
