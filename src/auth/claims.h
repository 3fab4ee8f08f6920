/*
 * claims.h
 *	  Whose claims a request carries.
 */
#ifndef TIDE_CLAIMS_H
#define TIDE_CLAIMS_H

#include "utils/jsonb.h"

#include "util/compat.h"

/*
 * The claims of a pull or push request: those of its "token"; or its "claims" object, where the
 * session's role is trusted (tide.trust_role, superuser, database owner); {} where the request
 * has neither. ERROR 28000 with one message for every refusal. Read-only, works on a standby.
 */
extern Jsonb *tide_request_claims(Jsonb *request);

/* whether the request has "claims", be they {}; whether it has a "token" */
extern bool tide_request_has_claims(Jsonb *request);
extern bool tide_request_has_token(Jsonb *request);

/* the one refusal: ERROR 28000; cause, a sentence, goes to the server log only */
TIDE_NORETURN extern void tide_auth_refuse(const char *cause);

/*
 * Around all that is done for a request: if it has a token, no error in there shows the statement, which may
 * hold it, in the server log. end is for success; an ERROR needs none.
 */
extern void tide_hide_token_begin(ErrorContextCallback *callback, Jsonb *request);
extern void tide_hide_token_end(ErrorContextCallback *callback);

/* claims.sub as text, or NULL */
extern char *tide_claims_subject(Jsonb *claims);

#endif							/* TIDE_CLAIMS_H */
