/*
 * sodium.c
 *	  libsodium made ready, and memory that holds secrets.
 *
 * Memory contexts are reset on every way out of a function, errors included, so a reset
 * callback wipes what PG_TRY would have to.
 */
#include "postgres.h"

#include <sodium.h>

#include "utils/memutils.h"

#include "crypto/sodium.h"

typedef struct SecretMemory
{
	MemoryContextCallback callback;
	void	   *bytes;
	size_t		len;
} SecretMemory;

void
tide_sodium_start(void)
{
	if (sodium_init() < 0)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not initialize libsodium")));
}

static void
wipe_secret(void *arg)
{
	SecretMemory *secret = arg;

	sodium_memzero(secret->bytes, secret->len);
}

void
tide_secret_guard(void *p, size_t len)
{
	SecretMemory *secret = palloc(sizeof(SecretMemory));

	secret->bytes = p;
	secret->len = len;
	secret->callback.func = wipe_secret;
	secret->callback.arg = secret;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &secret->callback);
}

void *
tide_secret_palloc(size_t len)
{
	void	   *p = palloc(len);

	tide_secret_guard(p, len);
	return p;
}

void
tide_secret_wipe(void *p, size_t len)
{
	sodium_memzero(p, len);
}
