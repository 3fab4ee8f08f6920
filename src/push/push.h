/*
 * push.h
 *	  tide.push: a client's mutations onto the app's tables, exactly once.
 */
#ifndef TIDE_PUSH_H
#define TIDE_PUSH_H

#include "utils/jsonb.h"
#include "utils/uuid.h"

/*
 * Answer a push request with JSON text in the current context. Runs as the current
 * user. ERRORs (and changes nothing): 22023 malformed or a gap in the ids, 28000
 * refused, and whatever is not the fault of a mutation.
 */
extern text * tide_push(Jsonb *request);

/* client and id of the mutation being applied in this session; NULL outside of a push */
extern const pg_uuid_t *tide_push_current(int64 *mutation_id);

#endif							/* TIDE_PUSH_H */
