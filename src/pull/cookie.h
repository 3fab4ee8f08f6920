/*
 * cookie.h
 *	  What a client hands back on its next pull: how far it is in each bucket.
 */
#ifndef TIDE_COOKIE_H
#define TIDE_COOKIE_H

#include "lib/stringinfo.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

/* how far a client is in one bucket */
typedef struct TidePosition
{
	int64		bucket_id;		/* hash key */
	int64		cursor;			/* has everything up to this op_id */
	bool		first_sync;		/* has never been at the end yet */
	int64		init;			/* in first sync: the checkpoint at its begin */
	int64		sent;			/* in first sync: rows sent so far */
	bool		keep;			/* set by the pull: the bucket is still the
								 * client's */
} TidePosition;

typedef struct TideCookie
{
	bool		valid;			/* positions of this server's history */
	bool		later;			/* of a history this one is followed by; not
								 * valid */
	HTAB	   *positions;		/* of TidePosition; if not valid, ids at most */
	int64		newest;			/* highest op_id in it */
	int64		n;				/* how many pulls in a row led to it */
	int64		last_mutation_id;	/* as told at the last checkpoint reached */
	int64		reported;		/* rejected mutations up to here were told */
} TideCookie;

/*
 * Never an ERROR: what cannot be read makes the cookie not valid. cookie may be NULL. What
 * it says of mutations counts if it is client's.
 */
extern TideCookie *tide_cookie_parse(Jsonb *cookie, const pg_uuid_t *epoch,
									 const pg_uuid_t *client);

/*
 * n: the new cookie's. client may be NULL. positions: of TidePosition pointers, npositions of them, in any order;
 * sorted by this call
 */
extern void tide_cookie_write(StringInfo out, int64 n, const pg_uuid_t *epoch,
							  const pg_uuid_t *client, TidePosition **positions,
							  int npositions, int64 last_mutation_id, int64 reported);

#endif							/* TIDE_COOKIE_H */
