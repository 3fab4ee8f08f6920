package TideCount;

# Formatter for prove and pg_prove: the usual console output, and the number of
# assertions passed and failed appended to the file TIDE_COUNT_FILE as "passed failed".
# A test file that died, or did not run what it planned, counts as one more failure.

use strict;
use warnings;
use TAP::Formatter::Console;
use TAP::Formatter::File;

# in a log: no colours, and the lines of files that run at once not mixed
our @ISA = (-t STDOUT ? 'TAP::Formatter::Console' : 'TAP::Formatter::File');

sub summary
{
	my ($self, $aggregate, @rest) = @_;
	my $failed = $aggregate->failed;

	for my $parser ($aggregate->parsers)
	{
		$failed++
		  if !$parser->failed
		  && ($parser->parse_errors || $parser->exit || $parser->wait);
	}
	if (my $file = $ENV{TIDE_COUNT_FILE})
	{
		open my $out, '>>', $file or die "could not open \"$file\": $!\n";
		print $out $aggregate->passed - 0, " $failed\n";
		close $out or die "could not write \"$file\": $!\n";
	}
	return $self->SUPER::summary($aggregate, @rest);
}

1;
