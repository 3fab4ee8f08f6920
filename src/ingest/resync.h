/*
 * resync.h
 *	  Bringing a source up to date without its changes: by reading its table again and
 *	  comparing it with the shadow table.
 */
#ifndef TIDE_RESYNC_H
#define TIDE_RESYNC_H

#include "ingest/ingest.h"

typedef enum TideResyncResult
{
	TIDE_RESYNC_DONE,
	TIDE_RESYNC_LATER,			/* locked, or no snapshot to be had now */
	TIDE_RESYNC_NOT				/* the table is not what was copied: rebuild
								 * it */
} TideResyncResult;

/*
 * Differences go the way of all changes: shadow rows, log entries, buckets. Pulls wait for the
 * checkpoint that the table was read at. Between tide_apply_begin() and _end().
 */
extern TideResyncResult tide_resync(TideIngest *in, int source_id);

/*
 * Called with the slot acquired, before decoding begins: if it cannot give all changes since
 * the checkpoint (it is new, was moved, or the database is another's copy), every source
 * is marked to be compared, and the checkpoint is put to where the slot begins. After a
 * promotion a new epoch begins in any case.
 */
extern void tide_resync_if_lost(TideIngest *in);

/*
 * Whether a slot, which nobody has acquired, must be made anew: the server says that it is lost; or
 * it was not this server's while another was the primary, and so kept no catalog rows
 * then.
 */
extern bool tide_ingest_slot_is_lost(struct ReplicationSlot *slot);

/* give the state another epoch; what becomes of cookies of the one before is up to the caller */
extern void tide_ingest_begin_epoch(void);

#endif							/* TIDE_RESYNC_H */
