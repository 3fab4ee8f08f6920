/*
 * conflict_memory.h
 *	  The tables in which pushes remember clocks and set elements. Within an owner's SPI frame.
 */
#ifndef TIDE_PUSH_CONFLICT_MEMORY_H
#define TIDE_PUSH_CONFLICT_MEMORY_H

#include "push/conflict.h"

/* list of TideNotedClock of a row, of pushes and of the ingest; in context */
extern List *tide_clocks_read(Oid relid, const pg_uuid_t *key_id, MemoryContext context);

/* what the ingest has seen: all transactions before it; invalid if it never ran */
extern FullTransactionId tide_clock_mark_read(void);

/* clock->attnum's, in place of what was there */
extern void tide_clock_store(Oid relid, const pg_uuid_t *key_id, const TideNotedClock *clock);

/* a row that is deleted, or there again: columns' clocks and elements, or its tombstone */
extern void tide_row_forget(Oid relid, const pg_uuid_t *key_id);
extern void tide_tombstone_forget(Oid relid, const pg_uuid_t *key_id);

/* some tombstones that are too old, if there are any and nobody is at them */
extern void tide_tombstones_prune(void);

/* elements are known by lists of pg_uuid_t */
extern void tide_set_note(Oid relid, const pg_uuid_t *key_id, AttrNumber attnum,
						  const List *ids, const pg_uuid_t *client, XLogRecPtr lsn);
extern void tide_set_forget(Oid relid, const pg_uuid_t *key_id, AttrNumber attnum,
							const List *ids);

/* of the elements, those that other clients have added after seen; in context */
extern List *tide_set_unseen(Oid relid, const pg_uuid_t *key_id, AttrNumber attnum,
							 const List *ids, const pg_uuid_t *client, XLogRecPtr seen,
							 MemoryContext context);

#endif							/* TIDE_PUSH_CONFLICT_MEMORY_H */
