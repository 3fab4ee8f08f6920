/*
 * row_hash.h
 *	  What tells rows apart that have no key: a keyed hash of their content.
 */
#ifndef TIDE_ROW_HASH_H
#define TIDE_ROW_HASH_H

#include "access/tupdesc.h"
#include "utils/uuid.h"

/*
 * HMAC-SHA-256, cut to 128 bits, of the first n attributes' content: equal for rows equal
 * bit for bit, however their values are stored, and for no others. The secret keeps it
 * from telling clients of columns they are not shown.
 */
extern void tide_row_hash(const pg_uuid_t *secret, TupleDesc desc, int first, int n,
						  const Datum *values, const bool *nulls, pg_uuid_t *hash);

#endif							/* TIDE_ROW_HASH_H */
