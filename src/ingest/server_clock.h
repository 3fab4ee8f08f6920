/*
 * server_clock.h
 *	  Clocks of what is written to columns with conflict policies hlc and vclock.
 *
 * Tables that have none cost nothing: as long as there are none at all, in->server_clocks
 * is NULL.
 */
#ifndef TIDE_SERVER_CLOCK_H
#define TIDE_SERVER_CLOCK_H

#include "access/transam.h"
#include "executor/tuptable.h"
#include "replication/reorderbuffer.h"
#include "utils/relcache.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "ingest/ingest.h"

/* what a noted clock consists of, in the tuplestore and in the arrays that are stored */
enum ClockField
{
	CLOCK_RELID,
	CLOCK_KEY,
	CLOCK_ATTNUM,				/* 0: the row was deleted */
	CLOCK_HASH,
	CLOCK_XID,
	CLOCK_LSN,
	CLOCK_AT,
	CLOCK_NFIELDS
};

/* one clock; id is a hash key */
typedef struct TideServerClock
{
	struct
	{
		pg_uuid_t	key_id;
		Oid			relid;
		int32		attnum;
	}			id;
	int64		hash;
	TransactionId xid;
	XLogRecPtr	lsn;
	TimestampTz at;
	bool		has_changed;	/* whatever was noted before the batch */
} TideServerClock;

typedef struct TideServerClocks
{
	MemoryContext context;		/* of all of it */
	MemoryContext route_context;
	HTAB	   *tables;			/* that have such columns */
	HTAB	   *routes;			/* from tables that rows are in; NULL: to be
								 * made */
	uint64		route_version;
	TupleDesc	desc;			/* of the tuplestore */
	Tuplestorestate *store;		/* NULL until the first clock of the batch */
	TupleTableSlot *slot;
	FullTransactionId mark;		/* to be stored when the WAL up to mark_lsn
								 * has been read */
	XLogRecPtr	mark_lsn;
} TideServerClocks;

/* read anew which tables have such columns; with a reload of the ingest */
extern void tide_server_clocks_reload(TideIngest *in);

/* whether a change of the table changes which tables have them */
extern bool tide_server_clocks_depend_on(const TideIngest *in, Oid relid);

/* they may be others now: read them anew with the next reload, and clean up with the next batch, which may come first */
extern void tide_server_clocks_forget(TideIngest *in);

/*
 * Note the clocks of a decoded row: in a decoding callback. True if there are any; they are
 * then part of the batch.
 */
extern bool tide_server_clocks_capture(TideIngest *in, ReorderBufferTXN *txn, Relation rel,
									   HeapTuple old, HeapTuple new);

/* store what was noted, in the transaction of the batch, of which they are part */
extern void tide_server_clocks_apply(TideIngest *in);

/* remember that all transactions before the active snapshot's xmin have ended by now */
extern void tide_server_clocks_mark(TideServerClocks *clocks);

#endif							/* TIDE_SERVER_CLOCK_H */
