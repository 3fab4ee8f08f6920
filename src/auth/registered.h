/*
 * registered.h
 *	  The registered claims of a token (RFC 7519, 4.1), by the settings tide.jwt_*.
 */
#ifndef TIDE_REGISTERED_H
#define TIDE_REGISTERED_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

/* exp, nbf, iat, iss, aud, sub; tide_auth_refuse()s what is not for us now */
extern void tide_registered_check(Jsonb *claims, TimestampTz now);

#endif							/* TIDE_REGISTERED_H */
