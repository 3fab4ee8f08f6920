/*
 * bucket_reader.h
 *	  Reads tide_internal.buckets under a snapshot, without rights of the caller.
 */
#ifndef TIDE_BUCKET_READER_H
#define TIDE_BUCKET_READER_H

#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "store/log_reader.h"

typedef struct TideBucketInfo
{
	int64		bucket_id;
	int			shape_id;
	int			node_id;
	Datum		key;			/* text[]; filled in by the scans only */
	int64		row_count;
	uint32		checksum;		/* this and last_op_id: unless it may_lag */
	int64		first_op_id;
	int64		last_op_id;
	int64		forgotten_op_id;	/* leave entries up to here may be missing */
	bool		may_lag;
} TideBucketInfo;

typedef struct TideBucketReader TideBucketReader;

/* in the current context */
extern TideBucketReader *tide_bucket_reader_open(Snapshot snapshot);
extern void tide_bucket_reader_close(TideBucketReader *reader);

/* false if there is no such bucket; key is a text[] */
extern bool tide_bucket_reader_by_key(TideBucketReader *reader, int shape_id, int node_id,
									  Datum key, TideBucketInfo *info);
extern bool tide_bucket_reader_by_parts(TideBucketReader *reader, int shape_id, int node_id,
										char *const *parts, int nparts,
										TideBucketInfo *info);
extern bool tide_bucket_reader_by_id(TideBucketReader *reader, int64 bucket_id,
									 TideBucketInfo *info);

/* whether the bucket lags behind its log, of the same snapshot; if not, it may not any more */
extern bool tide_bucket_lags(TideBucketInfo *info, TideLogReader *log);

/* bring checksum and last_op_id of one that may lag up to its log */
extern void tide_bucket_settle(TideBucketInfo *info, TideLogReader *log);

/* all buckets of a shape: list of TideBucketInfo, with their keys, by bucket id */
extern List *tide_bucket_reader_all(TideBucketReader *reader, int shape_id);

/* the first max buckets whose ids are greater: list of TideBucketInfo without keys, by bucket id */
extern List *tide_bucket_reader_after(TideBucketReader *reader, int64 bucket_id, int max);

/* called with each bucket of a node, in no order; parts live until it returns */
typedef void (*TideBucketVisitor) (const TideBucketInfo *info, char *const *parts,
								   int nparts, void *arg);

extern void tide_bucket_reader_visit(TideBucketReader *reader, int shape_id, int node_id,
									 TideBucketVisitor visitor, void *arg);

#endif							/* TIDE_BUCKET_READER_H */
