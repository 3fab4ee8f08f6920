/*
 * checkpoint.h
 *	  The checkpoint row and the state row.
 */
#ifndef TIDE_CHECKPOINT_H
#define TIDE_CHECKPOINT_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* how far the change log is complete, and totals since the extension was created */
typedef struct TideCheckpoint
{
	int64		op_id;			/* the newest given out */
	XLogRecPtr	lsn;			/* everything that committed before is in */
	TimestampTz at;				/* commit time of the newest transaction in it */
	TimestampTz now;			/* now() in conditions: the same, or what
								 * tide.clock says */
	int64		changes;		/* source changes taken in */
	int64		transactions;	/* source transactions taken in */
	int64		batches;
	bool		lagging;		/* false: no bucket lags behind its log */
} TideCheckpoint;

typedef struct TideState
{
	bool		enabled;
	char		slot_name[NAMEDATALEN]; /* "" if never started */
	pg_uuid_t	epoch;
	pg_uuid_t	secret;			/* not to be told anybody */
} TideState;

/* whether the OIDs in tide_internal are another server's: after pg_upgrade, until the ingest was there */
extern bool tide_database_moved(void);

/* ERROR 55000 if so, or if the extension's objects are of another version than this library */
extern void tide_require_here(void);

/* both read under the active snapshot, without rights of the caller */
extern void tide_checkpoint_read(TideCheckpoint *checkpoint);
extern void tide_state_read(TideState *state);

/* sole writer: the ingest */
extern void tide_checkpoint_write(const TideCheckpoint *checkpoint);

#endif							/* TIDE_CHECKPOINT_H */
