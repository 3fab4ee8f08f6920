/*
 * bucket_reader.c
 *	  Reads tide_internal.buckets for those who do not write it.
 *
 * The index holds a hash of the key, so a lookup compares the key texts itself.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "store/bucket_hash.h"
#include "store/bucket_reader.h"
#include "util/meta_table.h"

/* columns of tide_internal.buckets */
enum
{
	Anum_bucket_id = 1,
	Anum_bucket_shape,
	Anum_bucket_node,
	Anum_bucket_key,
	Anum_bucket_key_hash,
	Anum_bucket_rows,
	Anum_bucket_checksum,
	Anum_bucket_first_op,
	Anum_bucket_last_op,
	Anum_bucket_removed,
	Anum_bucket_stale,
	Anum_bucket_forgotten_op,
	Anum_bucket_may_lag,
	Natts_bucket = Anum_bucket_may_lag
};

struct TideBucketReader
{
	Relation	rel;
	Snapshot	snapshot;
	Oid			id_index;
	Oid			key_index;
};

TideBucketReader *
tide_bucket_reader_open(Snapshot snapshot)
{
	TideBucketReader *reader = palloc(sizeof(TideBucketReader));

	reader->rel = tide_meta_open("buckets", AccessShareLock);
	reader->snapshot = snapshot;
	reader->id_index = tide_meta_relid("buckets_pkey");
	reader->key_index = tide_meta_relid("buckets_key");
	return reader;
}

void
tide_bucket_reader_close(TideBucketReader *reader)
{
	table_close(reader->rel, AccessShareLock);
	pfree(reader);
}

/* the row as a struct; returns its key, which lives as long as the tuple */
static Datum
read_bucket(TideBucketReader *reader, HeapTuple tuple, TideBucketInfo *info)
{
	Datum		values[Natts_bucket];
	bool		nulls[Natts_bucket];

	heap_deform_tuple(tuple, RelationGetDescr(reader->rel), values, nulls);
	info->bucket_id = DatumGetInt64(values[Anum_bucket_id - 1]);
	info->shape_id = DatumGetInt32(values[Anum_bucket_shape - 1]);
	info->node_id = DatumGetInt16(values[Anum_bucket_node - 1]);
	info->key = (Datum) 0;
	info->row_count = DatumGetInt64(values[Anum_bucket_rows - 1]);
	info->checksum = (uint32) DatumGetInt64(values[Anum_bucket_checksum - 1]);
	info->first_op_id = DatumGetInt64(values[Anum_bucket_first_op - 1]);
	info->last_op_id = DatumGetInt64(values[Anum_bucket_last_op - 1]);
	info->forgotten_op_id = DatumGetInt64(values[Anum_bucket_forgotten_op - 1]);
	info->may_lag = DatumGetBool(values[Anum_bucket_may_lag - 1]);
	return values[Anum_bucket_key - 1];
}

bool
tide_bucket_lags(TideBucketInfo *info, TideLogReader *log)
{
	info->may_lag = info->may_lag &&
		tide_log_reader_count(log, info->bucket_id, info->last_op_id, 1) > 0;
	return info->may_lag;
}

/*
 * Checksums of lagging buckets this backend has summed up. All that changes a bucket's
 * rows writes an entry with a new op_id in the same transaction, so whatever the snapshot,
 * the newest entry tells the sum. After a reset or a new installation op_ids and bucket
 * ids may come again, but in another table.
 */
#define REMEMBERED_SUMS 64

static struct
{
	Oid			log;
	int64		bucket_id;
	TideLogSum	sum;
}			remembered_sums[REMEMBERED_SUMS];

void
tide_bucket_settle(TideBucketInfo *info, TideLogReader *log)
{
	int			slot = info->bucket_id % REMEMBERED_SUMS;
	Oid			relid = tide_log_reader_relid(log);
	TideLogSum	sum;

	if (!info->may_lag)
		return;
	if (remembered_sums[slot].log == relid &&
		remembered_sums[slot].bucket_id == info->bucket_id &&
		remembered_sums[slot].sum.last_op_id == tide_log_reader_newest(log, info->bucket_id))
		sum = remembered_sums[slot].sum;
	else
	{
		tide_log_reader_sum(log, info->bucket_id, &sum);
		remembered_sums[slot].log = relid;
		remembered_sums[slot].bucket_id = info->bucket_id;
		remembered_sums[slot].sum = sum;
	}
	info->checksum = sum.checksum;
	info->last_op_id = sum.last_op_id;
	info->may_lag = false;
}

static char **
key_parts(Datum key, int *nparts)
{
	Datum	   *elems;
	char	  **parts;

	deconstruct_array(DatumGetArrayTypeP(key), TEXTOID, -1, false, TYPALIGN_INT,
					  &elems, NULL, nparts);
	parts = palloc(sizeof(char *) * Max(*nparts, 1));
	for (int i = 0; i < *nparts; i++)
		parts[i] = TextDatumGetCString(elems[i]);
	return parts;
}

static bool
same_parts(char *const *a, int na, char *const *b, int nb)
{
	if (na != nb)
		return false;
	for (int i = 0; i < na; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return true;
}

bool
tide_bucket_reader_by_parts(TideBucketReader *reader, int shape_id, int node_id,
							char *const *parts, int nparts, TideBucketInfo *info)
{
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&keys[0], Anum_bucket_shape, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(shape_id));
	ScanKeyInit(&keys[1], Anum_bucket_node, BTEqualStrategyNumber, F_INT2EQ,
				Int16GetDatum((int16) node_id));
	ScanKeyInit(&keys[2], Anum_bucket_key_hash, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(tide_bucket_key_hash((const char *const *) parts, nparts)));
	scan = systable_beginscan(reader->rel, reader->key_index, true, reader->snapshot,
							  3, keys);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		int			nstored;
		char	  **stored = key_parts(read_bucket(reader, tuple, info), &nstored);

		found = same_parts(parts, nparts, stored, nstored);
	}
	systable_endscan(scan);
	return found;
}

bool
tide_bucket_reader_by_key(TideBucketReader *reader, int shape_id, int node_id, Datum key,
						  TideBucketInfo *info)
{
	int			nparts;
	char	  **parts = key_parts(key, &nparts);

	return tide_bucket_reader_by_parts(reader, shape_id, node_id, parts, nparts, info);
}

bool
tide_bucket_reader_by_id(TideBucketReader *reader, int64 bucket_id, TideBucketInfo *info)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_bucket_id, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(bucket_id));
	scan = systable_beginscan(reader->rel, reader->id_index, true, reader->snapshot,
							  1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		(void) read_bucket(reader, tuple, info);
	systable_endscan(scan);
	return HeapTupleIsValid(tuple);
}

static int
compare_ids(const ListCell *a, const ListCell *b)
{
	int64		x = ((const TideBucketInfo *) lfirst(a))->bucket_id;
	int64		y = ((const TideBucketInfo *) lfirst(b))->bucket_id;

	return (x > y) - (x < y);
}

List *
tide_bucket_reader_all(TideBucketReader *reader, int shape_id)
{
	List	   *result = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_bucket_shape, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(shape_id));
	scan = systable_beginscan(reader->rel, reader->key_index, true, reader->snapshot,
							  1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TideBucketInfo *info = palloc(sizeof(TideBucketInfo));
		Datum		stored = read_bucket(reader, tuple, info);

		info->key = PointerGetDatum(DatumGetArrayTypePCopy(stored));
		result = lappend(result, info);
	}
	systable_endscan(scan);
	list_sort(result, compare_ids);
	return result;
}

void
tide_bucket_reader_visit(TideBucketReader *reader, int shape_id, int node_id,
						 TideBucketVisitor visitor, void *arg)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "tide bucket visit",
												  ALLOCSET_SMALL_SIZES);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], Anum_bucket_shape, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(shape_id));
	ScanKeyInit(&keys[1], Anum_bucket_node, BTEqualStrategyNumber, F_INT2EQ,
				Int16GetDatum((int16) node_id));
	scan = systable_beginscan(reader->rel, reader->key_index, true, reader->snapshot,
							  2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		TideBucketInfo info;
		int			nparts;
		char	  **parts;

		CHECK_FOR_INTERRUPTS();
		parts = key_parts(read_bucket(reader, tuple, &info), &nparts);
		MemoryContextSwitchTo(old);
		visitor(&info, parts, nparts, arg);
		MemoryContextReset(context);
	}
	systable_endscan(scan);
	MemoryContextDelete(context);
}

List *
tide_bucket_reader_after(TideBucketReader *reader, int64 bucket_id, int max)
{
	Relation	index = index_open(reader->id_index, AccessShareLock);
	List	   *result = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_bucket_id, BTGreaterStrategyNumber, F_INT8GT,
				Int64GetDatum(bucket_id));
	scan = systable_beginscan_ordered(reader->rel, index, reader->snapshot, 1, &key);
	while (list_length(result) < max &&
		   HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		TideBucketInfo *info = palloc(sizeof(TideBucketInfo));

		(void) read_bucket(reader, tuple, info);
		result = lappend(result, info);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	return result;
}
