/*
 * token.h
 *	  JSON Web Tokens (RFC 7519) in the compact form of a signature (RFC 7515).
 */
#ifndef TIDE_TOKEN_H
#define TIDE_TOKEN_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#define TIDE_MAX_TOKEN		16384

/*
 * The claims of a token that is good at a moment; every other is refused by tide_auth_refuse().
 * Read-only, works on a standby. Result in the current context.
 */
extern Jsonb *tide_token_claims(const char *token, Size len, TimestampTz now);

#endif							/* TIDE_TOKEN_H */
