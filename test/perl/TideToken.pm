package TideToken;

=head1 NAME

TideToken - JSON Web Tokens of HS256, good and bad ones

=cut

use strict;
use warnings;
use Digest::SHA qw(hmac_sha256);
use Exporter 'import';
use JSON::PP ();
use MIME::Base64 qw(encode_base64url);

our @EXPORT = qw(token raw_token sign base64url $SECRET $HEADER);

our $SECRET = 'thirty-two bytes for the issuer.';
our $HEADER = '{"alg":"HS256","typ":"JWT","kid":"one"}';

my $json = JSON::PP->new->canonical;

sub base64url { return encode_base64url($_[0]); }

# the third part added to "header.claims"
sub sign
{
	my ($text, $secret) = @_;
	return "$text." . base64url(hmac_sha256($text, $secret // $SECRET));
}

# of the very bytes of a header and of claims
sub raw_token
{
	my ($claims, $header, $secret) = @_;
	return sign(base64url($header // $HEADER) . '.' . base64url($claims), $secret);
}

# token(sub => 'ada', ...): a good one for an hour, unless the claims say otherwise
sub token
{
	my (%claims) = @_;
	return raw_token($json->encode({ exp => time + 3600, %claims }));
}

1;
