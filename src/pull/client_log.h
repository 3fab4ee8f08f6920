/*
 * client_log.h
 *	  What became of a client's own mutations, as of the checkpoint.
 */
#ifndef TIDE_CLIENT_LOG_H
#define TIDE_CLIENT_LOG_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

/* what the push knows of a client; zeroes if it has never pushed */
typedef struct TideClientState
{
	int64		last_mutation_id;
	int64		rejected_seen;	/* it knows of rejections up to this id */
	bool		expired;
} TideClientState;

/* ERROR 28000 if the client has pushed as another session user or subject */
extern void tide_client_check(const pg_uuid_t *client, Jsonb *claims, Snapshot snapshot,
							  TideClientState *state);

/* the client's write checkpoint; 0 if it has none */
extern int64 tide_client_acked(const pg_uuid_t *client, Snapshot snapshot);

/* append the rejected mutations with after < id <= upto as elements of a JSON array */
extern void tide_client_write_rejected(StringInfo out, const pg_uuid_t *client,
									   int64 after, int64 upto, Snapshot snapshot);

#endif							/* TIDE_CLIENT_LOG_H */
