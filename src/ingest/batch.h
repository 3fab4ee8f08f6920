/*
 * batch.h
 *	  Whole committed source transactions, waiting to be applied.
 *
 * The changes of all sources lie in one tuplestore in commit order, as minimal
 * tuples of the source's spool descriptor:
 *	  relid oid, kind "char", unchanged bytea, k1 … (old key), c1 … (columns)
 * unchanged is a bitmap over the columns' positions, NULL if none is.
 */
#ifndef TIDE_BATCH_H
#define TIDE_BATCH_H

#include "access/htup.h"
#include "utils/tuplestore.h"

#include "ingest/ingest.h"

enum
{
	TIDE_SPOOL_RELID,
	TIDE_SPOOL_KIND,
	TIDE_SPOOL_UNCHANGED,
	TIDE_SPOOL_FIXED
};

typedef enum TideChangeKind
{
	TIDE_CHANGE_PUT = 'p',		/* insert, or update that keeps the key */
	TIDE_CHANGE_MOVE = 'm',		/* update of the key: old key given */
	TIDE_CHANGE_DELETE = 'd',	/* old key given, no columns */
	TIDE_CHANGE_TRUNCATE = 't'
} TideChangeKind;

/* newest acknowledged mutation of a client in this batch */
typedef struct TideAck
{
	pg_uuid_t	client_id;		/* hash key */
	int64		last_mutation_id;
} TideAck;

struct TideBatch
{
	MemoryContext context;		/* reset when the batch is empty again */
	ResourceOwner owner;
	Tuplestorestate *store;		/* NULL until the first change */
	TupleTableSlot *slot;		/* to read it */
	HTAB	   *acks;			/* NULL until the first */
	int64		nchanges;
	int64		ntransactions;
	TimestampTz at;				/* commit time of the newest transaction */
	XLogRecPtr	lsn;			/* all commits before it are in the batch */
	bool		has_clocks;		/* see server_clock.h */
	bool		is_asked_for;	/* write a checkpoint even if nothing changed */
};

extern TideBatch *tide_batch_create(MemoryContext parent, ResourceOwner owner);
extern bool tide_batch_is_empty(const TideBatch *batch);
extern void tide_batch_reset(TideBatch *batch);

extern TupleDesc tide_spool_desc(const TideShadow *shadow);
extern void tide_batch_put(TideBatch *batch, TideWatch *watch, TideChangeKind kind,
						   Datum *values, bool *nulls);
extern void tide_batch_ack(TideBatch *batch, const pg_uuid_t *client_id, int64 id);

/* next change in order: its watch's relid and a tuple to deform by the spool
 * descriptor; the tuple lives until the next call. False at the end. */
extern bool tide_batch_next(TideBatch *batch, Oid *relid, HeapTuple tuple);

#endif							/* TIDE_BATCH_H */
