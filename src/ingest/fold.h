/*
 * fold.h
 *	  Changes of a part of a batch folded into one before/after pair per row.
 */
#ifndef TIDE_FOLD_H
#define TIDE_FOLD_H

#include "ingest/batch.h"
#include "ingest/plan_group.h"

/*
 * What happens to one row, identified by its key. Values are in the shadow's
 * layout (fixed attributes first); all memory is the chunk's.
 */
typedef struct TideDelta
{
	TideWatch  *watch;
	int64		seq;			/* of its newest change */
	bool		existed;
	bool		exists;
	ItemPointerData tid;		/* shadow version before; after writing: the
								 * new one */
	Datum	   *before;			/* set if existed */
	bool	   *before_nulls;
	Datum	   *after;			/* set if exists */
	bool	   *after_nulls;
	bool	   *changed;		/* by column position; set if existed and
								 * exists */
	bool		key_changed;	/* equal to the index, but other bits */
	bool		buckets_differ; /* the buckets that hold it are others than
								 * before */
	TideHits	was;			/* where it was, unless _members tells */
	TideHits	is;				/* where direct nodes have it now */
} TideDelta;

typedef struct TideChunk
{
	MemoryContext context;		/* reset after each chunk */
	TideIngest *in;
	List	   *folds;			/* of per-source hash tables */
	TideDelta **deltas;
	int			ndeltas;
	int			max_deltas;
	int64		nadded;			/* changes folded in, all chunks */
	Size		unmeasured;		/* bytes added since memory was looked at */
	int64		seq;
} TideChunk;

extern void tide_chunk_init(TideChunk *chunk, TideIngest *in);
extern bool tide_chunk_is_full(TideChunk *chunk);
extern void tide_chunk_reset(TideChunk *chunk);

/* fold one change of the batch in; not for truncates */
extern void tide_chunk_add(TideChunk *chunk, TideWatch *watch, HeapTuple spooled);

/* add a row, in slot in the shadow's layout, as it is to be from now on */
extern void tide_chunk_add_row(TideChunk *chunk, TideWatch *watch, TupleTableSlot *slot);

/* add the deletion of a shadow row that is in slot */
extern void tide_chunk_add_delete(TideChunk *chunk, TideWatch *watch, TupleTableSlot *slot);

/* no more changes: end look-ups, drop what comes to nothing, mark changed columns, order by newest change */
extern void tide_chunk_finish(TideChunk *chunk);

#endif							/* TIDE_FOLD_H */
