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
 * is marked to be compared, and the checkpoint is put to where the slot begins.
 */
extern void tide_resync_if_lost(TideIngest *in);

#endif							/* TIDE_RESYNC_H */
