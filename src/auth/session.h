/*
 * session.h
 *	  What a session is while it pushes for somebody: his claims, his role.
 */
#ifndef TIDE_SESSION_H
#define TIDE_SESSION_H

#include "utils/jsonb.h"

typedef struct TideSession
{
	int			nest_level;
	Oid			save_user;
	int			save_sec_context;
	bool		has_role;		/* the token's role is the current user */
	char	   *claims_before;	/* request.jwt.claims, NULL if not set at all */
} TideSession;

/* called once, by _PG_init */
extern void tide_session_init(void);

/*
 * Act for who sent the request: claims, which are its claims as tide_request_claims() gave
 * them, are what tide.claim() sees, and are in request.jwt.claims if it has any; the role of a token
 * becomes the current user. ERROR 28000 if the session may not take the role. After an ERROR the abort of
 * the (sub)transaction puts all of it back.
 */
extern void tide_session_begin(TideSession *session, Jsonb *request, Jsonb *claims);

/*
 * Put it all back. Under a role of a token deferred triggers run before, since later they would run as
 * somebody else. ERROR 42501 if one of them defers another.
 */
extern void tide_session_end(TideSession *session);

/* claim of the request this session pushes for, as text; NULL outside of a push */
extern text * tide_session_claim(const text * name);

#endif							/* TIDE_SESSION_H */
