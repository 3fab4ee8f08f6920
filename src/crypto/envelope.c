/*
 * envelope.c
 *	  Ciphertext of one value, byte by byte as doc/encryption.md has it.
 */
#include "postgres.h"

#include <sodium.h>

#include "crypto/base64url.h"
#include "crypto/envelope.h"

StaticAssertDecl(TIDE_SECRET_LEN == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key");
StaticAssertDecl(TIDE_NONCE_LEN == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
StaticAssertDecl(TIDE_TAG_LEN == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag");

#define NONCE(envelope)			((envelope) + 1 + TIDE_KEY_ID_LEN)
#define CIPHERTEXT(envelope)	(NONCE(envelope) + TIDE_NONCE_LEN)
#define SECRET(data_key)		((data_key) + TIDE_KEY_ID_LEN)

/* characters of base64url that are decoded at a time: whole groups of four */
#define TEXT_STEP				1024

/* of the shortest envelope in base64url */
#define MIN_TEXT_LEN			(TIDE_ENVELOPE_OVERHEAD / 3 * 4)

StaticAssertDecl(TEXT_STEP % 4 == 0, "groups of four");
StaticAssertDecl(TIDE_ENVELOPE_OVERHEAD % 3 == 0, "whole groups");

void
tide_data_key_generate(unsigned char *data_key)
{
	randombytes_buf(data_key, TIDE_DATA_KEY_LEN);
	/* RFC 9562: version 4, variant 10 */
	data_key[6] = (data_key[6] & 0x0f) | 0x40;
	data_key[8] = (data_key[8] & 0x3f) | 0x80;
}

bool
tide_envelope_is_valid(const unsigned char *bytes, size_t len)
{
	return len >= TIDE_ENVELOPE_OVERHEAD && bytes[0] == TIDE_ENVELOPE_VERSION;
}

/* in steps: base64 has no state across groups of four characters */
bool
tide_envelope_text_is_valid(const char *text, size_t len)
{
	unsigned char bytes[TEXT_STEP / 4 * 3];
	bool		is_first = true;

	if (len < MIN_TEXT_LEN)
		return false;
	while (len > 0)
	{
		size_t		step = Min(len, TEXT_STEP);
		size_t		step_len;

		if (!tide_base64url_decode(text, step, bytes, sizeof(bytes), &step_len))
			return false;
		if (is_first && !tide_envelope_is_valid(bytes, step_len))
			return false;
		is_first = false;
		text += step;
		len -= step;
	}
	return true;
}

void
tide_envelope_seal(unsigned char *out, const unsigned char *plaintext, size_t len,
				   const unsigned char *aad, size_t aad_len, const unsigned char *data_key)
{
	out[0] = TIDE_ENVELOPE_VERSION;
	memcpy(TIDE_ENVELOPE_KEY_ID(out), data_key, TIDE_KEY_ID_LEN);
	randombytes_buf(NONCE(out), TIDE_NONCE_LEN);
	(void) crypto_aead_xchacha20poly1305_ietf_encrypt(CIPHERTEXT(out), NULL, plaintext, len,
													  aad, aad_len, NULL, NONCE(out),
													  SECRET(data_key));
}

bool
tide_envelope_open(unsigned char *out, const unsigned char *envelope, size_t len,
				   const unsigned char *aad, size_t aad_len, const unsigned char *data_key)
{
	if (!tide_envelope_is_valid(envelope, len) ||
		memcmp(TIDE_ENVELOPE_KEY_ID(envelope), data_key, TIDE_KEY_ID_LEN) != 0)
		return false;
	return crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, CIPHERTEXT(envelope),
													  len - (TIDE_ENVELOPE_OVERHEAD - TIDE_TAG_LEN),
													  aad, aad_len, NONCE(envelope),
													  SECRET(data_key)) == 0;
}
