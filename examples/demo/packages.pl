#!/usr/bin/env perl
# Debian's package index (apt-cache dumpavail or dpkg's status file, on standard input)
# into three files for COPY: packages, maintainers, dependencies.
# usage: packages.pl folder
use strict;
use warnings;

my $folder = shift // die "usage: packages.pl folder\n";
my (%seen, %maintainers);

sub field
{
	my ($text) = @_;
	return '\N' unless defined $text;
	$text =~ s/([\\])/\\$1/g;
	$text =~ s/\t/\\t/g;
	$text =~ s/\n/\\n/g;
	return $text;
}

open my $packages, '>', "$folder/packages.tsv" or die "packages.tsv: $!\n";
open my $maintainers, '>', "$folder/maintainers.tsv" or die "maintainers.tsv: $!\n";
open my $dependencies, '>', "$folder/dependencies.tsv" or die "dependencies.tsv: $!\n";

$/ = '';
while (my $stanza = <STDIN>)
{
	my %f;
	$stanza =~ s/\n+\z//;
	$f{$1} //= $2 while $stanza =~ /^([A-Za-z0-9-]+):[ \t]*(.*(?:\n[ \t].*)*)/mg;
	next unless defined $f{Package} && defined $f{Version} && !$seen{ $f{Package} }++;

	my $section = $f{Section} // 'none';
	my $who = $f{Maintainer} // 'nobody';
	if (!exists $maintainers{$who})
	{
		my ($name, $mail) = $who =~ /^(.*?)\s*<(.*)>\s*$/ ? ($1, $2) : ($who, undef);
		$maintainers{$who} = 1 + keys %maintainers;
		print $maintainers join("\t", $maintainers{$who}, field($name), field($mail)), "\n";
	}
	my ($size) = ($f{'Installed-Size'} // '') =~ /^(\d+)/;
	print $packages join("\t", map { field($_) } $f{Package}, $section, $f{Version}, $maintainers{$who}, $size,
		$f{Description} // $f{'Description-en'}, $f{Homepage}), "\n";

	my $n = 0;
	for my $kind ('Pre-Depends', 'Depends')
	{
		for my $clause (split /\s*,\s*/, $f{$kind} // '')
		{
			my ($on) = $clause =~ /^([^\s:(|]+)/ or next;
			print $dependencies join("\t", map { field($_) } $f{Package}, ++$n, $section, $on, $clause), "\n";
		}
	}
}
close $_ or die "close: $!\n" for $packages, $maintainers, $dependencies;
