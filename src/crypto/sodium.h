/*
 * sodium.h
 *	  libsodium made ready, and memory that holds secrets.
 *
 * <sodium.h> is included by files of this folder only. The functions of envelope.h, device.h,
 * passphrase.h and base64.h are pure: they raise no error and allocate nothing, so that no
 * error can leave a secret behind on the stack. They wipe what they put there.
 */
#ifndef TIDE_CRYPTO_SODIUM_H
#define TIDE_CRYPTO_SODIUM_H

#include <stddef.h>

/* make libsodium ready; ERROR if it has no source of random bytes. Cheap when done before */
extern void tide_sodium_start(void);

/*
 * Have len bytes at p, allocated in the current memory context, overwritten by zeros when the
 * context is reset or deleted, before they are freed: after an error, too.
 */
extern void tide_secret_guard(void *p, size_t len);

/* palloc() guarded that way */
extern void *tide_secret_palloc(size_t len);

/* overwrite by zeros, whatever the optimiser thinks of it */
extern void tide_secret_wipe(void *p, size_t len);

#endif							/* TIDE_CRYPTO_SODIUM_H */
