/*
 * guard.h
 *	  What a table asks of mutations besides rights: envelopes in its encrypted columns, signatures.
 */
#ifndef TIDE_PUSH_GUARD_H
#define TIDE_PUSH_GUARD_H

#include "utils/relcache.h"

#include "push/request.h"

/* tables that ask for something, as of its creation */
typedef struct TideGuardSet TideGuardSet;

/* read the set, within an owner's SPI frame, allocated in context; NULL if it is empty */
extern TideGuardSet *tide_guard_read(MemoryContext context);

/*
 * Check a mutation of a table and, where signatures are asked for, keep it in tide.signed_mutations; to
 * be called outside of SPI frames, in the mutation's subtransaction. set may be NULL. ERROR 23514 for
 * plaintext, 28000 for a signature that is not valid or missing.
 */
extern void tide_guard_check(const TideGuardSet *set, const pg_uuid_t *client, Jsonb *claims,
							 const TideMutation *mutation, Relation rel);

#endif							/* TIDE_PUSH_GUARD_H */
