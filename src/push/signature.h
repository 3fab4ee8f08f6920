/*
 * signature.h
 *	  Signatures of mutations by the devices of their users.
 */
#ifndef TIDE_PUSH_SIGNATURE_H
#define TIDE_PUSH_SIGNATURE_H

#include "utils/relcache.h"

#include "push/request.h"

/*
 * ERROR 28000, one for every cause, unless the mutation bears a signature of a registered device of the
 * claims' subject that is not revoked.
 */
extern void tide_signature_check(const pg_uuid_t *client, Jsonb *claims,
								 const TideMutation *mutation);

/* store a checked mutation for other clients to check */
extern void tide_signature_keep(const pg_uuid_t *client, const TideMutation *mutation,
								Relation rel);

#endif							/* TIDE_PUSH_SIGNATURE_H */
