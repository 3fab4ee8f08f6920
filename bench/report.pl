#!/usr/bin/env perl
# Writes DOC/benchmarks.md and its plots DOC/images/bench-*.svg from what bench/all.sh collected in DIR: NAME.tsv with
# the lines of row, need, point and fact (bench/lib.sh), machine.tsv, order. Plots need gnuplot; without it there are none.
#
#   report.pl DIR DOC
use strict;
use warnings;
use File::Basename qw(dirname);
use lib dirname(__FILE__);
use BenchText;

my ($dir, $doc) = @ARGV;
die "usage: report.pl DIR DOC\n" unless defined $doc && -d $dir;

sub slurp_lines
{
	my ($file) = @_;
	open my $in, '<', $file or return ();
	chomp(my @lines = <$in>);
	return @lines;
}

# { fact => { name => value }, row|need|point => [ [ fields ] ] }
sub load_results
{
	my ($file) = @_;
	my %results = (fact => {}, row => [], need => [], point => []);
	for (slurp_lines($file))
	{
		my ($kind, @fields) = split /\t/, $_, -1;
		if ($kind eq 'fact') { $results{fact}{ $fields[0] } = $fields[1] }
		else                 { push @{ $results{$kind} }, \@fields }
	}
	return \%results;
}

sub table
{
	my ($head, @rows) = @_;
	my $line = sub { '| ' . join(' | ', map { my $cell = $_ // ''; $cell =~ s/\|/\\|/g; $cell } @_) . " |\n" };
	return $line->(@$head) . '|' . ('---|' x @$head) . "\n" . join('', map { $line->(@$_) } @rows) . "\n";
}

# 1234567.8 -> 1,234,567.8
sub grouped
{
	my ($number) = @_;
	return $number unless $number =~ /^\d{5,}(\.\d+)?$/;
	1 while $number =~ s/^(\d+)(\d{3})/$1,$2/;
	return $number;
}

sub with_unit { my ($value, $unit) = @_; return grouped($value) . ($unit eq '' ? '' : " $unit") }

# ---- plots ----

sub have_gnuplot { return system('command -v gnuplot >/dev/null 2>&1') == 0 }

sub in_order
{
	my %seen;
	return grep { !$seen{$_}++ } @_;
}

# a table for gnuplot: a line for each x, a column for each series
sub plot_data
{
	my (@points) = @_;
	my @series = in_order(map { $_->[1] } @points);
	my @x = in_order(map { $_->[2] } @points);
	my %y = map { ("$_->[1]\t$_->[2]" => $_->[3]) } @points;
	my $data = join("\t", 'x', map { qq{"$_"} } @series) . "\n";
	for my $x (@x)
	{
		$data .= join("\t", qq{"$x"}, map { $y{"$_\t$x"} // 'NaN' } @series) . "\n";
	}
	return (scalar @series, $data);
}

sub plot_commands
{
	my ($name, $count, $file) = @_;
	my $plot = $BenchText::PLOTS{$name};
	my $style = $plot->{style} // 'bars';
	my $commands = <<"GNUPLOT";
set terminal svg size 860,380 dynamic font 'sans-serif,12' background '#ffffff'
set output '$file'
set datafile separator "\\t"
set key outside top center horizontal noenhanced
set title '$plot->{title}' noenhanced
set ylabel '$plot->{y}' noenhanced
set grid y linecolor '#d0d0d0'
set xtics noenhanced
GNUPLOT
	$commands .= "set logscale y\n" if $plot->{log};
	if ($style eq 'lines')
	{
		$commands .= "set logscale x\nset xlabel '$plot->{x}'\nset xrange [0.8:20000]\n";
		my @parts = map { "data using (real(strcol(1))):$_ with linespoints linewidth 2 pointtype 7 title columnheader($_)" } 2 .. $count + 1;
		push @parts, "$plot->{bound} with lines dashtype 2 linecolor '#808080' title 'required'" if defined $plot->{bound};
		return $commands . 'plot ' . join(', ', @parts) . "\n";
	}
	my $kind = $style eq 'stacked' ? 'rowstacked' : 'clustered gap 1';
	$commands .= "set style data histograms\nset style histogram $kind\nset style fill solid 0.8 border -1\nset boxwidth 0.9\n";
	$commands .= "set yrange [0:*]\n" unless $plot->{log};
	$commands .= "set xtics rotate by -12 left\n" if $plot->{rotate};
	my @parts = map { "data using $_" . ($_ == 2 ? ':xtic(1)' : '') . " title columnheader($_)" } 2 .. $count + 1;
	return $commands . 'plot ' . join(', ', @parts) . "\n";
}

# the file of a plot, or nothing if it could not be made
sub make_plot
{
	my ($name, @points) = @_;
	my $file = "images/bench-$name.svg";
	my ($count, $data) = plot_data(@points);
	mkdir "$doc/images" unless -d "$doc/images";
	open my $gnuplot, '|-', 'gnuplot' or return;
	print {$gnuplot} "\$d << END_OF_DATA\n${data}END_OF_DATA\n";
	my $commands = plot_commands($name, $count, "$doc/$file");
	$commands =~ s/\bdata using/\$d using/g;
	print {$gnuplot} $commands;
	close $gnuplot or return;
	return -s "$doc/$file" ? $file : undef;
}

sub plots_of
{
	my ($results) = @_;
	my $text = '';
	return $text unless have_gnuplot();
	for my $name (in_order(map { $_->[0] } @{ $results->{point} }))
	{
		next unless $BenchText::PLOTS{$name};
		my $file = make_plot($name, grep { $_->[0] eq $name } @{ $results->{point} });
		$text .= "![$BenchText::PLOTS{$name}{title}]($file)\n\n" if defined $file;
	}
	return $text;
}

# ---- text ----

sub state_of
{
	my ($results) = @_;
	my $status = $results->{fact}{status} // 'never ended';
	return '' if $status eq '0' || $status eq '3';
	return $status eq '124' || $status eq '137' ? 'took too long and was ended' : "failed (status $status)";
}

sub required
{
	my ($results, @names) = @_;
	my @rows;
	for my $name (@names)
	{
		my $state = state_of($results->{$name});
		for (@{ $results->{$name}{need} })
		{
			my ($what, $value, $sign, $bound, $unit, $verdict, $note) = @$_;
			push @rows, [ $what, ($sign eq 'ge' ? '≥ ' : '≤ ') . with_unit($bound, $unit), with_unit($value, $unit),
				$verdict eq 'reached' ? 'yes' : '**no**', $note ];
		}
		push @rows, [ "bench/$name.sh", '', '', "**$state**", 'what it had measured until then is above and below' ] if $state ne '';
	}
	return table([ 'figure', 'required', 'measured', 'reached', 'beside it' ], @rows);
}

sub section
{
	my ($name, $results) = @_;
	my $text = '## ' . ($BenchText::TITLES{$name} // $name) . "\n\n";
	my $state = state_of($results);
	$text .= '`' . ($results->{fact}{command} // "bench/$name.sh") . '`, ' . ($results->{fact}{seconds} // '?') . ' s'
		. ($state eq '' ? '' : ": **$state**") . ".\n";
	$text .= $BenchText::TEXTS{$name} . "\n" if $BenchText::TEXTS{$name};
	$text .= "\n" . plots_of($results);
	$text .= table([ 'what', 'value', 'note' ], map { [ $_->[0], with_unit($_->[1], $_->[2]), $_->[3] ] } grep { $_->[3] !~ /^required / } @{ $results->{row} });
	return $text;
}

sub machine
{
	my ($fact, $postgres) = @_;
	return table([ 'circumstance', 'value' ],
		[ 'date',           $fact->{date} ],
		[ 'machine',        "$fact->{cpus} CPUs ($fact->{cpu}), $fact->{memory}, $fact->{kernel}" ],
		[ 'PostgreSQL',     $postgres ],
		[ 'pg_tide',        "$fact->{pg_tide}, commit $fact->{commit}" ],
		[ 'scale',          $fact->{scale} ],
		[ 'load before, after', "$fact->{load}; " . ($fact->{'load afterwards'} // '?') ],
		[ 'time in all',    ($fact->{total} // '?') . ' s' ]);
}

my %results = map { m{([^/]+)\.tsv$} ? ($1 => load_results($_)) : () } glob "$dir/*.tsv";
my @names = grep { $results{$_} } slurp_lines("$dir/order");
my ($postgres) = map { $results{$_}{fact}{PostgreSQL} // () } @names;

my $text = $BenchText::INTRO . "\n" . machine($results{machine}{fact}, $postgres // 'none started');
$text .= "**A trial with few rows (scale $results{machine}{fact}{scale}): it shows that the benchmarks run, not how fast anything is.**\n\n"
	if $results{machine}{fact}{scale} < 1;
$text .= "## What is required, and what is reached\n\n" . required(\%results, @names) . $BenchText::LIMITS . "\n";
$text .= section($_, $results{$_}) for @names;
$text .= $BenchText::PEERS;

open my $out, '>', "$doc/benchmarks.md" or die "$doc/benchmarks.md: $!\n";
print {$out} $text;
close $out or die "$doc/benchmarks.md: $!\n";
print "wrote $doc/benchmarks.md\n";
