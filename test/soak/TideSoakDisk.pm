package TideSoakDisk;

=head1 NAME

TideSoakDisk - two small tmpfs for servers, without being root

=head1 SYNOPSIS

    BEGIN { TideSoakDisk::enter() }      # before anything else: the script may be started again, in namespaces of its own
    my $disk = disk(0);                  # a folder; of the small tmpfs, if there are any
    disk_fill($disk, 1_000_000) if disk_is_small();
    disk_free($disk);

=head1 NOTES

Mounting needs a user namespace in which we are root; PostgreSQL refuses to run as root, so a second one
within it gives us our own id back. Where that is not permitted, disk_is_small() is false, and disk_trouble() says why.

=cut

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(disk disk_is_small disk_trouble disk_fill disk_free);

my $size = '320m';

# the script's own process becomes one in the namespaces; does nothing there
sub enter
{
	return if defined $ENV{TIDE_SOAK_DISKS};
	my $top = ($ENV{TESTDIR} ? "$ENV{TESTDIR}/" : '') . 'tmp_check';
	my $dir = "$top/disks";
	mkdir $_ for $top, $dir, "$dir/0", "$dir/1";
	my ($uid, $gid) = ($<, $( + 0);
	my @inside = ('unshare', '-rm', 'sh', '-c', qq(mount -t tmpfs -o size=$size,mode=0700 tmpfs "$dir/0" && mount -t tmpfs -o size=$size,mode=0700 tmpfs "$dir/1" )
		  . qq(&& exec unshare -U --map-user=$uid --map-group=$gid -- "\$@"), 'sh');

	open my $probe, '-|', 'sh', '-c', 'exec "$@" 2>&1', 'sh', @inside, 'touch', "$dir/0/probe" or die "could not run sh: $!";
	my $said = join '', <$probe>;
	if (close $probe)
	{
		$ENV{TIDE_SOAK_DISKS} = "small $dir";
		exec @inside, $^X, (map { "-I$_" } grep { !ref } @INC), $0, @ARGV or die "could not run unshare: $!";
	}
	$said =~ s/\s+/ /g;
	$ENV{TIDE_SOAK_DISKS} = "plain $dir";
	$ENV{TIDE_SOAK_TROUBLE} = "no user namespace with a tmpfs: $said";
	return;
}

sub disk_is_small { return $ENV{TIDE_SOAK_DISKS} =~ /^small /; }
sub disk_trouble { return $ENV{TIDE_SOAK_TROUBLE}; }
sub disk { my ($n) = @_; return $ENV{TIDE_SOAK_DISKS} =~ s/^\w+ (.*)/$1\/$n/r; }

# write until only so many bytes are free
sub disk_fill
{
	my ($dir, $leave) = @_;
	my ($free) = `df --output=avail -B1 '$dir'` =~ /(\d+)\s*\z/;
	my $block = "\0" x 65536;

	open my $file, '>', "$dir/ballast" or die "could not write ballast: $!";
	for (my $left = $free - $leave; $left > 0; $left -= 65536)
	{
		# (somebody else may be quicker)
		last if !syswrite $file, $block;
	}
	close $file;
	return;
}

sub disk_free { my ($dir) = @_; unlink "$dir/ballast"; return; }

1;
