/*
 * control.h
 *	  Starting, stopping and waiting for the ingest.
 *
 * All of them ERROR 25006 on a standby. start, stop and reset hold a lock on
 * tide_internal.state to the end of the transaction, so one at a time is under way.
 */
#ifndef TIDE_CONTROL_H
#define TIDE_CONTROL_H

#include "datatype/timestamp.h"

#include "store/checkpoint.h"

/* slot name, palloc'd. ERROR 55000 if the server's settings do not allow it */
extern char *tide_ingest_start(void);
extern void tide_ingest_stop(void);
extern void tide_ingest_reset(void);

/* by the worker, where the ingest is disabled and the state locked: drop a slot that a rolled back transaction left */
extern void tide_ingest_drop_unused_slot(const TideState *state);

/* one synchronous round in this transaction; source changes taken in. max_changes 0: all */
extern int64 tide_ingest_round(int64 max_changes);

/* ERROR 57014 when timeout_ms have passed, 55000 if the ingest is not started */
extern void tide_ingest_sync(long timeout_ms);

#endif							/* TIDE_CONTROL_H */
