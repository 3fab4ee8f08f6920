/*
 * device.h
 *	  A device's keys, all of one secret of 32 bytes: X25519 to be sent secrets, Ed25519 to sign.
 */
#ifndef TIDE_CRYPTO_DEVICE_H
#define TIDE_CRYPTO_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

#define TIDE_DEVICE_SECRET_LEN	32
#define TIDE_PUBLIC_KEY_LEN		32
#define TIDE_SIGNATURE_LEN		64
#define TIDE_SEAL_OVERHEAD		48

extern void tide_device_secret_generate(unsigned char *secret);

/* the public keys of a secret */
extern void tide_device_public_keys(unsigned char *box_key, unsigned char *sign_key,
									const unsigned char *secret);

/*
 * Anonymous boxes (crypto_box_seal): len + TIDE_SEAL_OVERHEAD bytes. False if box_key is no
 * key; if it is no box for this device.
 */
extern bool tide_device_seal(unsigned char *out, const unsigned char *message, size_t len,
							 const unsigned char *box_key);
extern bool tide_device_unseal(unsigned char *out, const unsigned char *box, size_t len,
							   const unsigned char *secret);

/* detached signatures (RFC 8032) */
extern void tide_device_sign(unsigned char *signature, const unsigned char *message, size_t len,
							 const unsigned char *secret);
extern bool tide_signature_is_valid(const unsigned char *signature, const unsigned char *message,
									size_t len, const unsigned char *sign_key);

#endif							/* TIDE_CRYPTO_DEVICE_H */
