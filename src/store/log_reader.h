/*
 * log_reader.h
 *	  What a bucket's change log says after some op_id: for each entry that still
 *	  counts, the row as it is now, or the key of a row that left.
 */
#ifndef TIDE_LOG_READER_H
#define TIDE_LOG_READER_H

#include "access/tupdesc.h"
#include "storage/itemptr.h"
#include "utils/snapshot.h"

#include "catalog/shape_catalog.h"

typedef struct TideLogReader TideLogReader;

/*
 * One entry. values and nulls are valid until the next call and indexed by
 * attnum - 1 of tide_log_reader_row_desc() for a put, of
 * tide_log_reader_log_desc() for a remove.
 */
typedef struct TideLogItem
{
	int64		op_id;
	uint32		hash;
	bool		is_put;
	const Datum *values;
	const bool *nulls;
} TideLogItem;

/*
 * Open a live source's shadow table and change log for reading under snapshot, in a
 * child of the current context. No rights are checked: callers decide which buckets
 * may be read.
 */
extern TideLogReader *tide_log_reader_open(const TideSource *source, Snapshot snapshot);
extern void tide_log_reader_close(TideLogReader *reader);

extern TupleDesc tide_log_reader_row_desc(const TideLogReader *reader);
extern TupleDesc tide_log_reader_log_desc(const TideLogReader *reader);

/* attnum in the shadow table of a source's attnum; ERROR if it is not kept */
extern AttrNumber tide_log_reader_row_attnum(const TideLogReader *reader, AttrNumber attnum);

/* begin with the bucket's first entry after after_op_id */
extern void tide_log_reader_start(TideLogReader *reader, int64 bucket_id, int64 after_op_id);

/*
 * Next entry in op_id order; false at the end. Superseded entries are passed over, and
 * leaves up to leaves_after, which a client in its first sync needs none of. Only the
 * shadow's attributes up to natts are filled in.
 */
extern bool tide_log_reader_next(TideLogReader *reader, int64 leaves_after, int natts,
								 TideLogItem *item);

/* an entry as it stands in the log */
typedef struct TideLogScanned
{
	int64		op_id;
	bool		is_put;
	bool		is_superseded;
	ItemPointerData tid;		/* of the entry itself */
} TideLogScanned;

/* next entry in op_id order, superseded or not; false at the end */
extern bool tide_log_reader_scan(TideLogReader *reader, TideLogScanned *scanned);

/* what all entries of a bucket come to */
typedef struct TideLogSum
{
	uint32		checksum;		/* of its rows */
	int64		last_op_id;		/* of its newest entry; 0 if it has none */
} TideLogSum;

extern void tide_log_reader_sum(TideLogReader *reader, int64 bucket_id, TideLogSum *sum);

/* op_id of its newest entry; 0 if it has none */
extern int64 tide_log_reader_newest(TideLogReader *reader, int64 bucket_id);

/* the change log's table */
extern Oid	tide_log_reader_relid(const TideLogReader *reader);

/* number of entries, superseded ones included, after after_op_id; stops at limit */
extern int64 tide_log_reader_count(TideLogReader *reader, int64 bucket_id,
								   int64 after_op_id, int64 limit);

#endif							/* TIDE_LOG_READER_H */
