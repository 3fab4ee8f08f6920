/*
 * shared.h
 *	  Shared memory of the ingest workers, and how they are woken and waited for.
 *
 * Exists only when the library is in shared_preload_libraries. Without it every
 * function here still works: waking does nothing and waiting looks at the
 * checkpoint row every few milliseconds.
 */
#ifndef TIDE_SHARED_H
#define TIDE_SHARED_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"

typedef enum TideWorkerState
{
	TIDE_WORKER_NONE,			/* no worker */
	TIDE_WORKER_STARTING,
	TIDE_WORKER_IDLE,			/* at the end of the WAL, asleep */
	TIDE_WORKER_READING,		/* decoding */
	TIDE_WORKER_APPLYING,		/* storing a batch */
	TIDE_WORKER_COPYING,		/* building a shape */
	TIDE_WORKER_COMPACTING		/* removing what the change log needs no more */
} TideWorkerState;

/* the source or shape that takes most of the ingest's time; id 0: none */
typedef struct TideSharedLoad
{
	int			id;
	double		share;			/* of the time, 0 to 1 */
} TideSharedLoad;

typedef struct TideWorkerInfo
{
	int			pid;			/* 0: no worker */
	TideWorkerState state;
	XLogRecPtr	processed;		/* WAL taken in up to here */
	TimestampTz at_end;			/* when it was at the end of the WAL; 0: not
								 * yet */
	TideSharedLoad source;
	TideSharedLoad shape;
} TideWorkerInfo;

extern void tide_shared_init(void);
extern bool tide_shared_available(void);

/* worker's side; all no-ops without shared memory */
extern void tide_shared_worker_attach(void);
extern void tide_shared_worker_state(TideWorkerState state);
extern void tide_shared_publish(XLogRecPtr processed, XLogRecPtr checkpoint_lsn, int64 op_id);

/* the worker has read all WAL there is */
extern void tide_shared_at_end(void);
extern void tide_shared_publish_load(const TideSharedLoad *source, const TideSharedLoad *shape);

/* newest commit the backends told of, 0 if none */
extern XLogRecPtr tide_shared_target(void);

/* everybody's side */
extern void tide_shared_wake(XLogRecPtr upto);
extern void tide_shared_worker_info(TideWorkerInfo *info);
extern const char *tide_worker_state_name(TideWorkerState state);

/*
 * Wait until the checkpoint's op_id is beyond after_op_id and its LSN is at
 * least lsn, or until timeout_ms passed; true if reached. Reads the checkpoint row
 * under new snapshots when there is no shared memory. Interruptible.
 */
extern bool tide_shared_wait(int64 after_op_id, XLogRecPtr lsn, long timeout_ms);

#endif							/* TIDE_SHARED_H */
