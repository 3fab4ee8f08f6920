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

typedef enum TideWorkerState
{
	TIDE_WORKER_NONE,			/* no worker */
	TIDE_WORKER_STARTING,
	TIDE_WORKER_IDLE,			/* at the end of the WAL, asleep */
	TIDE_WORKER_READING,		/* decoding */
	TIDE_WORKER_APPLYING,		/* storing a batch */
	TIDE_WORKER_COPYING			/* building a shape */
} TideWorkerState;

extern void tide_shared_init(void);
extern bool tide_shared_available(void);

/* worker's side; all no-ops without shared memory */
extern void tide_shared_worker_attach(void);
extern void tide_shared_worker_state(TideWorkerState state);
extern void tide_shared_publish(XLogRecPtr processed, XLogRecPtr checkpoint_lsn, int64 op_id);

/* newest commit the backends told of, 0 if none */
extern XLogRecPtr tide_shared_target(void);

/* everybody's side */
extern void tide_shared_wake(XLogRecPtr upto);
extern TideWorkerState tide_shared_worker_info(int *pid, XLogRecPtr *processed);
extern const char *tide_worker_state_name(TideWorkerState state);

/*
 * Wait until the checkpoint's op_id is beyond after_op_id and its LSN is at
 * least lsn, or until timeout_ms passed; true if reached. Reads the checkpoint row
 * under new snapshots when there is no shared memory. Interruptible.
 */
extern bool tide_shared_wait(int64 after_op_id, XLogRecPtr lsn, long timeout_ms);

#endif							/* TIDE_SHARED_H */
