#!/usr/bin/env perl
# coverage.pl PERCENT [FILE]: line coverage of src/, from the counters beside its objects
# (built with --coverage) in the current directory. Prints the files least covered; FILE
# gets the lines that never ran. Last line "coverage: N % of N lines"; exit 1 if below PERCENT.
use strict;
use warnings;
use JSON::PP ();

my ($required, $list) = @ARGV;
die "usage: coverage.pl PERCENT [FILE]\n" if !defined $required;
my @objects = glob 'src/*/*.gcno';
die "coverage.pl: no counters in src/, which is to be built with --coverage\n" if !@objects;

# a header's line may be in many objects: it ran if it ran in one
my %count;
open my $gcov, '-|', 'gcov', '--json-format', '--stdout', @objects or die "coverage.pl: gcov: $!\n";
while (my $line = <$gcov>)
{
	next if $line !~ /^\{/;
	for my $file (@{ JSON::PP::decode_json($line)->{files} })
	{
		my ($name) = $file->{file} =~ m{^(src/[^/]+/[^/]+\.[ch])$} or next;
		$count{$name}{ $_->{line_number} } += $_->{count} for @{ $file->{lines} };
	}
}
close $gcov or die "coverage.pl: gcov failed\n";

my ($lines, $ran, %share) = (0, 0);
for my $name (keys %count)
{
	my $n = keys %{ $count{$name} };
	my $r = grep { $_ > 0 } values %{ $count{$name} };
	$lines += $n;
	$ran += $r;
	$share{$name} = { lines => $n, missed => $n - $r, percent => 100 * $r / $n };
}
die "coverage.pl: no line of src/ counted\n" if !$lines;

my @worst = sort { $share{$a}{percent} <=> $share{$b}{percent} || $a cmp $b } keys %share;
splice @worst, 20 if @worst > 20;
printf "%6.1f %% of %4d lines  %s\n", $share{$_}{percent}, $share{$_}{lines}, $_ for @worst;

if (defined $list)
{
	open my $out, '>', $list or die "coverage.pl: $list: $!\n";
	for my $name (sort { $share{$b}{missed} <=> $share{$a}{missed} || $a cmp $b } keys %share)
	{
		open my $in, '<', $name or die "coverage.pl: $name: $!\n";
		my @text = <$in>;
		close $in;
		my @missed = grep { !$count{$name}{$_} } sort { $a <=> $b } keys %{ $count{$name} };
		print $out map { "$name:$_:$text[$_ - 1]" } @missed;
	}
	close $out or die "coverage.pl: $list: $!\n";
}
my $percent = 100 * $ran / $lines;
printf "coverage: %.1f %% of %d lines of src, required %s %%\n", $percent, $lines, $required;
exit($percent < $required ? 1 : 0);
