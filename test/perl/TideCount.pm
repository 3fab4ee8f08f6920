package TideCount;

# Formatter for prove and pg_prove: the usual console output, and the number of
# assertions passed and failed appended to the file TIDE_COUNT_FILE as "passed failed".
# A test file that died, or did not run what it planned, counts as one more failure.

use strict;
use warnings;
use parent 'TAP::Formatter::Console';

# no colours in logs
sub _set_colors
{
	my ($self, @colors) = @_;
	return -t STDOUT ? $self->SUPER::_set_colors(@colors) : undef;
}

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
