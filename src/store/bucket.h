/*
 * bucket.h
 *	  The ingest's view of tide_internal.buckets: looked up once, counted in
 *	  memory, written at the end of each batch.
 */
#ifndef TIDE_BUCKET_H
#define TIDE_BUCKET_H

#include "nodes/pg_list.h"
#include "storage/itemptr.h"

typedef struct TideBucket
{
	int64		bucket_id;		/* hash key */
	int			shape_id;
	int			node_id;
	int			nparts;
	char	  **parts;			/* the key's canonical texts */
	int64		row_count;
	int64		stored_rows;	/* row_count as last written */
	uint32		checksum;		/* this and last_op_id: if is_settled */
	int64		first_op_id;
	int64		last_op_id;
	int64		removed_count;	/* leave entries in the log */
	int64		stale_count;	/* superseded entries whose place is not
								 * known, about */
	int64		forgotten_op_id;	/* leave entries up to here may be missing */
	bool		exists;			/* false: known not to be there */
	bool		is_new;			/* has no row yet */
	bool		is_dirty;
	bool		is_queued;		/* to be swept: see ingest/compaction.c */
	bool		may_lag;		/* its row, as last written */
	bool		is_settled;		/* false: the row may lag, and nobody has
								 * looked */
	bool		is_lagging;		/* changed since its row was written */
	bool		is_listed;		/* in the list of those */
	ItemPointerData tid;		/* of its row */
	struct TideBucket *next_same_hash;
} TideBucket;

typedef struct TideBuckets TideBuckets;

/*
 * Find out checksum and last_op_id of these, list of TideBucket: see src/README.md, "Storage".
 * What this transaction has written to their logs so far counts.
 */
typedef void (*TideBucketSettler) (void *arg, List *buckets);

extern TideBuckets *tide_buckets_create(MemoryContext parent, TideBucketSettler settler,
										void *arg);

/* by key; made if missing, taking the next op_id as its id */
extern TideBucket *tide_bucket_for_key(TideBuckets *buckets, int shape_id, int node_id,
									   const char *const *parts, int nparts,
									   int64 *op_id);

/* NULL if it is gone (its shape was dropped) */
extern TideBucket *tide_bucket_by_id(TideBuckets *buckets, int64 bucket_id);

/*
 * One row more, changed, or less, as told by an entry of the change log. A small bucket in
 * which rows only changed is not written by the next flush: it lags.
 */
extern void tide_bucket_count(TideBuckets *buckets, TideBucket *bucket, int rows,
							  uint32 hash_added, uint32 hash_removed, int64 op_id);

/* have the bucket written by the next flush */
extern void tide_bucket_touch(TideBuckets *buckets, TideBucket *bucket);

/* have the next flush write up to max of those that lag; whether there are more */
extern bool tide_buckets_settle(TideBuckets *buckets, int max);

/* whether any lag */
extern bool tide_buckets_lag(const TideBuckets *buckets);

/* whether such have been forgotten since the last call */
extern bool tide_buckets_lost_some(TideBuckets *buckets);

/*
 * From now on until the next reset no bucket lags: those that did have been written, and none begins to.
 * For those who put one change log into another's place.
 */
extern void tide_buckets_be_exact(TideBuckets *buckets);

/* delete an empty bucket; its id is never used again */
extern void tide_bucket_drop(TideBuckets *buckets, TideBucket *bucket);

/* those that the next flush writes: list of TideBucket */
extern const List *tide_buckets_dirty(const TideBuckets *buckets);

/* whether so many are cached that they should be flushed */
extern bool tide_buckets_are_many(const TideBuckets *buckets);

/*
 * Write what changed, in the current transaction; forget all if too many are cached.
 * Increment the command counter before the next call.
 */
extern void tide_buckets_flush(TideBuckets *buckets);

/* forget all that is cached; nothing may be dirty */
extern void tide_buckets_reset(TideBuckets *buckets);

#endif							/* TIDE_BUCKET_H */
