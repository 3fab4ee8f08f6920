/*
 * apply.h
 *	  What storing a batch and building a shape share.
 */
#ifndef TIDE_APPLY_H
#define TIDE_APPLY_H

#include "ingest/ingest.h"

/* frame of every transaction the ingest writes in: snapshot, WAL marked as our own */
extern void tide_apply_begin(void);
extern void tide_apply_end(void);

/* after an ERROR between the two */
extern void tide_apply_abort(void);

/* store what the chunk holds, and empty it; its sources' shadows are open */
struct TideChunk;
extern void tide_chunk_apply(struct TideChunk *chunk);

/* write in->checkpoint and NOTIFY its op_id */
extern void tide_checkpoint_store(TideIngest *in);

/* take over what clients have pushed until now as acknowledged; nothing may be live */
extern void tide_acks_adopt(void);

/* whether the notification queue is less than half full */
extern bool tide_notify_has_room(void);

#endif							/* TIDE_APPLY_H */
