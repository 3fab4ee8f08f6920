/*
 * claims.h
 *	  Whose claims a request carries.
 */
#ifndef TIDE_CLAIMS_H
#define TIDE_CLAIMS_H

#include "utils/jsonb.h"

/*
 * The claims of a pull or push request: its "claims" object where the session's role
 * is trusted (tide.trust_role, superuser, database owner); {} where the request has none.
 * ERROR 28000 with one message for every refusal. Read-only, works on a standby.
 */
extern Jsonb *tide_request_claims(Jsonb *request);

/* whether the request says anything about its user, be it {} */
extern bool tide_request_has_claims(Jsonb *request);

/* the one refusal: ERROR 28000; cause, a sentence, goes to the server log only */
extern void tide_auth_refuse(const char *cause);

/* claims.sub as text, or NULL */
extern char *tide_claims_subject(Jsonb *claims);

#endif							/* TIDE_CLAIMS_H */
