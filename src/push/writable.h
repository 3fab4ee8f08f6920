/*
 * writable.h
 *	  Tables clients may push to, and what names requests give them.
 */
#ifndef TIDE_PUSH_WRITABLE_H
#define TIDE_PUSH_WRITABLE_H

#include "utils/relcache.h"

/* opt a table in or out; ERRORs name what is wrong with it */
extern void tide_writable_allow(Oid relid, const char *conflict);
extern void tide_writable_disallow(Oid relid);

/* names of the writable tables, as of its creation */
typedef struct TideWritableSet TideWritableSet;

/*
 * Read the set, within an owner's SPI frame. Allocated in context.
 */
extern TideWritableSet *tide_writable_read(MemoryContext context);

/*
 * The writable table a request means. ERROR 42501 not writable, 42P01 no such
 * table, 42P09 ambiguous. The table may be gone by the time it is opened.
 */
extern Oid	tide_writable_resolve(TideWritableSet *set, const char *name);

/*
 * The index by whose columns clients name a table's rows: that of catalog/table_key.h, else a
 * deferrable primary key; InvalidOid if there is none
 */
extern Oid	tide_primary_key_index(Relation rel);

#endif							/* TIDE_PUSH_WRITABLE_H */
