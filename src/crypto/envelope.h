/*
 * envelope.h
 *	  Ciphertext of one value, byte by byte as doc/encryption.md has it:
 *	  0x01 | key_id (16) | nonce (24) | XChaCha20-Poly1305-IETF ciphertext and tag.
 */
#ifndef TIDE_CRYPTO_ENVELOPE_H
#define TIDE_CRYPTO_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>

#define TIDE_ENVELOPE_VERSION	0x01
#define TIDE_KEY_ID_LEN			16
#define TIDE_SECRET_LEN			32
#define TIDE_NONCE_LEN			24
#define TIDE_TAG_LEN			16

/* a data key: its id, then the secret */
#define TIDE_DATA_KEY_LEN		(TIDE_KEY_ID_LEN + TIDE_SECRET_LEN)

/* an envelope is longer than its plaintext by as much */
#define TIDE_ENVELOPE_OVERHEAD	(1 + TIDE_KEY_ID_LEN + TIDE_NONCE_LEN + TIDE_TAG_LEN)

/* where the key's id is in an envelope */
#define TIDE_ENVELOPE_KEY_ID(envelope)	((envelope) + 1)

/* a new data key; its id is a random uuid */
extern void tide_data_key_generate(unsigned char *data_key);

/* whether bytes have the form of an envelope; says nothing about what is in it */
extern bool tide_envelope_is_valid(const unsigned char *bytes, size_t len);

/* the same of an envelope in base64url */
extern bool tide_envelope_text_is_valid(const char *text, size_t len);

/* writes len + TIDE_ENVELOPE_OVERHEAD bytes, under a random nonce */
extern void tide_envelope_seal(unsigned char *out, const unsigned char *plaintext, size_t len,
							   const unsigned char *aad, size_t aad_len,
							   const unsigned char *data_key);

/*
 * Writes len - TIDE_ENVELOPE_OVERHEAD bytes; false if it is no envelope, was sealed under another key
 * or other aad, or was tampered with.
 */
extern bool tide_envelope_open(unsigned char *out, const unsigned char *envelope, size_t len,
							   const unsigned char *aad, size_t aad_len,
							   const unsigned char *data_key);

#endif							/* TIDE_CRYPTO_ENVELOPE_H */
