/*
 * device.c
 *	  A device's keys, all of one secret of 32 bytes.
 *
 * The seeds of both key pairs are derived by crypto_kdf (BLAKE2b), so that one value is all
 * there is to keep, to back up and to lose.
 */
#include "postgres.h"

#include <sodium.h>

#include "crypto/device.h"

StaticAssertDecl(TIDE_DEVICE_SECRET_LEN == crypto_kdf_KEYBYTES, "device secret");
StaticAssertDecl(TIDE_PUBLIC_KEY_LEN == crypto_box_PUBLICKEYBYTES, "box key");
StaticAssertDecl(TIDE_PUBLIC_KEY_LEN == crypto_sign_PUBLICKEYBYTES, "sign key");
StaticAssertDecl(TIDE_SIGNATURE_LEN == crypto_sign_BYTES, "signature");
StaticAssertDecl(TIDE_SEAL_OVERHEAD == crypto_box_SEALBYTES, "box");
StaticAssertDecl(crypto_box_SEEDBYTES == crypto_sign_SEEDBYTES, "seeds");

/* of crypto_kdf_derive_from_key() */
#define KDF_CONTEXT		"tidedevi"
#define KDF_BOX			1
#define KDF_SIGN		2

void
tide_device_secret_generate(unsigned char *secret)
{
	randombytes_buf(secret, TIDE_DEVICE_SECRET_LEN);
}

static void
box_pair(unsigned char *public, unsigned char *private, const unsigned char *secret)
{
	unsigned char seed[crypto_box_SEEDBYTES];

	(void) crypto_kdf_derive_from_key(seed, sizeof(seed), KDF_BOX, KDF_CONTEXT, secret);
	(void) crypto_box_seed_keypair(public, private, seed);
	sodium_memzero(seed, sizeof(seed));
}

static void
sign_pair(unsigned char *public, unsigned char *private, const unsigned char *secret)
{
	unsigned char seed[crypto_sign_SEEDBYTES];

	(void) crypto_kdf_derive_from_key(seed, sizeof(seed), KDF_SIGN, KDF_CONTEXT, secret);
	(void) crypto_sign_seed_keypair(public, private, seed);
	sodium_memzero(seed, sizeof(seed));
}

void
tide_device_public_keys(unsigned char *box_key, unsigned char *sign_key,
						const unsigned char *secret)
{
	unsigned char box_private[crypto_box_SECRETKEYBYTES];
	unsigned char sign_private[crypto_sign_SECRETKEYBYTES];

	box_pair(box_key, box_private, secret);
	sign_pair(sign_key, sign_private, secret);
	sodium_memzero(box_private, sizeof(box_private));
	sodium_memzero(sign_private, sizeof(sign_private));
}

bool
tide_device_seal(unsigned char *out, const unsigned char *message, size_t len,
				 const unsigned char *box_key)
{
	return crypto_box_seal(out, message, len, box_key) == 0;
}

bool
tide_device_unseal(unsigned char *out, const unsigned char *box, size_t len,
				   const unsigned char *secret)
{
	unsigned char public[crypto_box_PUBLICKEYBYTES];
	unsigned char private[crypto_box_SECRETKEYBYTES];
	bool		result;

	if (len < TIDE_SEAL_OVERHEAD)
		return false;
	box_pair(public, private, secret);
	result = crypto_box_seal_open(out, box, len, public, private) == 0;
	sodium_memzero(private, sizeof(private));
	return result;
}

void
tide_device_sign(unsigned char *signature, const unsigned char *message, size_t len,
				 const unsigned char *secret)
{
	unsigned char public[crypto_sign_PUBLICKEYBYTES];
	unsigned char private[crypto_sign_SECRETKEYBYTES];

	sign_pair(public, private, secret);
	(void) crypto_sign_detached(signature, NULL, message, len, private);
	sodium_memzero(private, sizeof(private));
}

bool
tide_signature_is_valid(const unsigned char *signature, const unsigned char *message,
						size_t len, const unsigned char *sign_key)
{
	return crypto_sign_verify_detached(signature, message, len, sign_key) == 0;
}
