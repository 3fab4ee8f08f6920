/*
 * stream.h
 *	  State of one JSON stream: everything between start-up and shutdown of a
 *	  decoding context of the output plugin.
 */
#ifndef TIDE_DECODE_STREAM_H
#define TIDE_DECODE_STREAM_H

#include "lib/stringinfo.h"

#include "decode/options.h"

struct TideRelationCache;

/* how the transaction being decoded comes */
typedef enum TideTransactionKind
{
	TIDE_TRANSACTION_COMMITTED, /* whole, at its commit */
	TIDE_TRANSACTION_PREPARED,	/* whole, at PREPARE TRANSACTION */
	TIDE_TRANSACTION_STREAMED	/* in blocks, while it is in progress */
} TideTransactionKind;

/*
 * Which state of the catalogs a historic snapshot shows. Two snapshots with equal marks
 * show the same; own is set if the transaction sees catalog changes of its own.
 */
typedef struct TideCatalogMark
{
	TransactionId xmin;
	TransactionId xmax;
	uint32		ncommitted;
	TransactionId own;
	uint32		nsubxacts;
	CommandId	command;
} TideCatalogMark;

typedef struct TideStream
{
	TideDecodeOptions options;
	MemoryContext change_context;	/* reset after each change */

	struct TideRelationCache *relations;

	/*
	 * of TideBoundShape, one per name of options.shapes; own context, rebuilt
	 * as a whole
	 */
	List	   *shapes;
	MemoryContext shapes_context;
	TideCatalogMark shapes_mark;	/* the state they were read in */

	/*
	 * Lines not yet sent (of format transaction: the transaction so far), in
	 * the server encoding, separated by newlines. The first complete bytes of
	 * it are complete lines; what follows is left of a line if an ERROR that
	 * core swallows got in between.
	 */
	StringInfoData buffer;
	int			complete;
	bool		to_client;		/* walsender: batch, and send UTF-8 */

	/* state of the transaction being decoded; of a streamed one, of its block */
	TideTransactionKind kind;
	bool		has_begun;		/* its begin (stream_start) line is written */
	TransactionId line_xid;		/* the xid of its lines: of a streamed one the
								 * subtransaction's */
	int			settings_level; /* GUC nest level, 0: settings need no undoing */
	SubTransactionId settings_subxact;	/* where that level is valid */
	int			idle_changes;	/* since something was sent or progress
								 * reported */
} TideStream;

#endif							/* TIDE_DECODE_STREAM_H */
