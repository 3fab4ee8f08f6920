/*
 * clock_key.h
 *	  Hashes by which clocks of rows and values are found: the push and the ingest make the
 *	  same of the same row.
 */
#ifndef TIDE_CLOCK_KEY_H
#define TIDE_CLOCK_KEY_H

#include "catalog/pg_attribute.h"
#include "utils/uuid.h"

/*
 * Of one key column, mixed into the hash of those before (at first all zero). By the type's
 * own hash function, so that keys that are equal have equal hashes. Keys are not null.
 */
extern void tide_clock_key_add(pg_uuid_t *key, Form_pg_attribute att, Datum value);

/* of a value, bit for bit, however it is stored */
extern int64 tide_clock_value_hash(Form_pg_attribute att, Datum value, bool isnull);

#endif							/* TIDE_CLOCK_KEY_H */
