/*
 * jwt_key.h
 *	  Keys that tokens are checked with: tide_internal.jwt_keys.
 */
#ifndef TIDE_JWT_KEY_H
#define TIDE_JWT_KEY_H

#include "datatype/timestamp.h"

#include "crypto/jws.h"

#define TIDE_MAX_KID	256

typedef struct TideJwtKey
{
	TideJwsAlgorithm algorithm;
	uint8	   *data;			/* palloc'd */
	Size		len;
} TideJwtKey;

/*
 * The key a token asks for: the one of its kid, or, if it has none (NULL), the only one there is
 * of its algorithm. Keys that have expired are not there. cause: of no key, a sentence. What is committed
 * counts. Read-only; tide_jwt_key_wipe() it after use.
 */
extern bool tide_jwt_key_find(const char *kid, TideJwsAlgorithm algorithm, TimestampTz now,
							  TideJwtKey *key, const char **cause);
extern void tide_jwt_key_wipe(TideJwtKey *key);

/*
 * Keep a key, given raw, as PEM or as JWK. The same key again sets its expiry anew. ERROR 22023
 * for a bad key, 42710 if kid is another key's.
 */
extern void tide_jwt_key_add(const char *kid, const char *algorithm, TideJwsBytes given,
							 const TimestampTz *expires_at);

/* ERROR 42704 if there is none */
extern void tide_jwt_key_drop(const char *kid);

/* a key in the form that tide_jws_verify() takes, from any that is accepted. ERROR 22023 */
extern TideJwsKey tide_jwt_key_read(const char *kid, TideJwsAlgorithm algorithm,
									TideJwsBytes given);

#endif							/* TIDE_JWT_KEY_H */
