/*
 * change_writer.h
 *	  A bucket's changes as JSON: the change log read by store/log_reader.h, rows
 *	  written by util/json_writer.h.
 */
#ifndef TIDE_CHANGE_WRITER_H
#define TIDE_CHANGE_WRITER_H

#include "lib/stringinfo.h"

#include "catalog/shape_catalog.h"
#include "store/bucket_reader.h"
#include "store/log_reader.h"

typedef struct TideChangeWriter TideChangeWriter;

/* for all buckets of one node; reads under snapshot; in the current context */
extern TideChangeWriter *tide_change_writer_create(const TideShapeNode *node,
												   const TideSource *source,
												   Snapshot snapshot);
extern void tide_change_writer_close(TideChangeWriter *writer);

/* see tide_bucket_lags() and tide_bucket_settle(); not between start and the last fetch */
extern bool tide_change_writer_lags(TideChangeWriter *writer, TideBucketInfo *info);
extern void tide_change_writer_settle(TideChangeWriter *writer, TideBucketInfo *info);

/* begin with the bucket's first change after after_op_id */
extern void tide_change_writer_start(TideChangeWriter *writer, int64 bucket_id,
									 int64 after_op_id);

/*
 * Fetch the next change, see tide_log_reader_next(); what has been fetched is then
 * written whole or by parts. Memory of a row's values is freed by a later fetch.
 */
extern bool tide_change_writer_fetch(TideChangeWriter *writer, int64 leaves_after,
									 TideLogItem *item);

/* append the change as an element of "changes" */
extern void tide_change_writer_put(TideChangeWriter *writer, StringInfo out,
								   const TideLogItem *item);

/* append its key, or the row of a put */
extern void tide_change_writer_key(TideChangeWriter *writer, StringInfo out,
								   const TideLogItem *item);
extern void tide_change_writer_row(TideChangeWriter *writer, StringInfo out,
								   const TideLogItem *item);

/* number of entries after after_op_id, at most limit */
extern int64 tide_change_writer_count(TideChangeWriter *writer, int64 bucket_id,
									  int64 after_op_id, int64 limit);

#endif							/* TIDE_CHANGE_WRITER_H */
