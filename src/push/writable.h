/*
 * writable.h
 *	  Tables clients may push to, and what names requests give them.
 */
#ifndef TIDE_PUSH_WRITABLE_H
#define TIDE_PUSH_WRITABLE_H

#include "utils/relcache.h"

#include "push/conflict_policy.h"

/* opt a table in or out; ERRORs name what is wrong with it */
extern void tide_writable_allow(Oid relid, const char *conflict);
extern void tide_writable_disallow(Oid relid);

/* set a writable table's own policy; as the owner */
extern void tide_writable_store(Oid relid, const char *conflict);

/* ERROR 42501: the table is not one of them */
extern void tide_writable_refuse(Oid relid);

/* names and policies of the writable tables, as of its creation */
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

/* a table's policies; NULL: overwrite for all of it */
extern const TideTablePolicies *tide_writable_policies(const TideWritableSet *set, Oid relid);

/* whether clients name rows by the column */
extern bool tide_is_key_column(Relation rel, AttrNumber attnum);

#endif							/* TIDE_PUSH_WRITABLE_H */
