/*
 * base64url.c
 *	  base64url as RFC 7515 has it, by libsodium.
 */
#include "postgres.h"

#include <sodium.h>

#include "crypto/base64url.h"

/*
 * Without characters to ignore and without a place to report the end, libsodium takes
 * all of the text or nothing, and refuses left-over bits that are not zero. But 1.0.18 takes
 * some bytes beyond ASCII for characters of the alphabet: \xC0 for "_", \x80 for "A".
 */
bool
tide_base64url_decode(const char *text, Size len, uint8 *out, Size size, Size *outlen)
{
	for (Size i = 0; i < len; i++)
	{
		if ((unsigned char) text[i] >= 0x80)
			return false;
	}
	return sodium_base642bin(out, size, text, len, NULL, outlen, NULL,
							 sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0;
}

char *
tide_base64url_encode(const uint8 *bytes, Size len)
{
	Size		size = sodium_base64_encoded_len(len, sodium_base64_VARIANT_URLSAFE_NO_PADDING);

	return sodium_bin2base64(palloc(size), size, bytes, len,
							 sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}
