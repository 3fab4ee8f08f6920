/*
 * bucket.c
 *	  The ingest's view of tide_internal.buckets.
 *
 * Only the holder of the slot writes buckets, so a cached bucket stays true until
 * this process changes it. The cache is bounded: past TIDE_BUCKETS_CACHED it is written
 * and emptied, between two chunks of a batch if need be.
 *
 * To write a row for each change is dear where there are many buckets: it doubles the
 * cost of the change. So a row that was written with may_lag is left alone while the bucket's rows
 * only change; its readers see from the log that it lags, and sum up. What it says of
 * numbers (rows, removed, stale) is always exact, as entries that count there have it written.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "nodes/pg_list.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "store/arena.h"
#include "store/bucket.h"
#include "store/bucket_hash.h"
#include "util/meta_table.h"

#define TIDE_BUCKETS_CACHED	250000	/* of some 200 bytes */
#define TIDE_BUCKET_SMALL	256 /* entries: what a reader sums up at most */

/* columns of tide_internal.buckets, 0-based */
enum
{
	BUCKET_ID,
	BUCKET_SHAPE,
	BUCKET_NODE,
	BUCKET_KEY,
	BUCKET_KEY_HASH,
	BUCKET_ROWS,
	BUCKET_CHECKSUM,
	BUCKET_FIRST_OP,
	BUCKET_LAST_OP,
	BUCKET_REMOVED,
	BUCKET_STALE,
	BUCKET_FORGOTTEN_OP,
	BUCKET_MAY_LAG,
	BUCKET_NATTS
};

/* all buckets of one (shape, node, key hash) */
typedef struct KeyEntry
{
	struct
	{
		int64		hash;
		int32		shape_id;
		int32		node_id;
	}			key;
	TideBucket *first;
} KeyEntry;

typedef struct IdEntry
{
	int64		bucket_id;
	TideBucket *bucket;
} IdEntry;

struct TideBuckets
{
	MemoryContext context;		/* of all below */
	TideArena	arena;
	HTAB	   *by_key;
	HTAB	   *by_id;
	List	   *dirty;			/* of TideBucket */
	List	   *lagging;		/* of TideBucket; some may have been written
								 * since */
	int			nsettled;		/* first ones of these that are done with */
	bool		is_exact;		/* none may begin to lag */
	bool		lost_some;		/* that lag */
	TideBucketSettler settler;
	void	   *settler_arg;
};

static void note_lagging(TideBuckets *buckets, TideBucket *bucket);

static void
make_tables(TideBuckets *buckets)
{
	HASHCTL		ctl = {0};

	ctl.hcxt = buckets->context;
	ctl.keysize = sizeof(((KeyEntry *) NULL)->key);
	ctl.entrysize = sizeof(KeyEntry);
	buckets->by_key = hash_create("tide buckets by key", 256, &ctl,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ctl.keysize = sizeof(int64);
	ctl.entrysize = sizeof(IdEntry);
	buckets->by_id = hash_create("tide buckets by id", 256, &ctl,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	buckets->arena.left = 0;
	buckets->dirty = buckets->lagging = NIL;
	buckets->nsettled = 0;
}

TideBuckets *
tide_buckets_create(MemoryContext parent, TideBucketSettler settler, void *arg)
{
	TideBuckets *buckets = MemoryContextAllocZero(parent, sizeof(TideBuckets));

	buckets->settler = settler;
	buckets->settler_arg = arg;
	buckets->context = AllocSetContextCreate(parent, "tide buckets",
											 ALLOCSET_DEFAULT_SIZES);
	make_tables(buckets);
	return buckets;
}

bool
tide_buckets_lost_some(TideBuckets *buckets)
{
	bool		result = buckets->lost_some;

	buckets->lost_some = false;
	return result;
}

static void
forget_all(TideBuckets *buckets)
{
	Assert(buckets->dirty == NIL);
	buckets->lost_some |= tide_buckets_lag(buckets);
	MemoryContextReset(buckets->context);
	make_tables(buckets);
}

void
tide_buckets_reset(TideBuckets *buckets)
{
	forget_all(buckets);
	buckets->is_exact = false;
}

void
tide_buckets_be_exact(TideBuckets *buckets)
{
	HASH_SEQ_STATUS status;
	IdEntry    *entry;

	hash_seq_init(&status, buckets->by_id);
	while ((entry = hash_seq_search(&status)) != NULL)
		entry->bucket->is_settled = true;
	buckets->is_exact = true;
}

static TideBucket *
make_bucket(TideBuckets *buckets, int64 bucket_id, int shape_id, int node_id,
			const char *const *parts, int nparts)
{
	Size		size = sizeof(TideBucket) + sizeof(char *) * nparts;
	IdEntry    *entry = hash_search(buckets->by_id, &bucket_id, HASH_ENTER, NULL);
	TideBucket *bucket;
	char	   *text;

	for (int i = 0; i < nparts; i++)
		size += strlen(parts[i]) + 1;
	bucket = tide_arena_alloc(&buckets->arena, buckets->context, size);
	memset(bucket, 0, sizeof(TideBucket));
	entry->bucket = bucket;
	bucket->bucket_id = bucket_id;
	bucket->shape_id = shape_id;
	bucket->node_id = node_id;
	bucket->nparts = nparts;
	bucket->parts = (char **) (bucket + 1);
	text = (char *) (bucket->parts + nparts);
	for (int i = 0; i < nparts; i++)
	{
		Size		len = strlen(parts[i]) + 1;

		bucket->parts[i] = memcpy(text, parts[i], len);
		text += len;
	}
	return bucket;
}

/* from a row of the table, unless it is cached already */
static TideBucket *
bucket_from_tuple(TideBuckets *buckets, TupleDesc desc, HeapTuple tuple)
{
	Datum		values[BUCKET_NATTS];
	bool		nulls[BUCKET_NATTS];
	Datum	   *elems;
	int			nparts;
	const char **parts;
	int64		bucket_id;
	IdEntry    *entry;
	TideBucket *bucket;

	heap_deform_tuple(tuple, desc, values, nulls);
	bucket_id = DatumGetInt64(values[BUCKET_ID]);
	entry = hash_search(buckets->by_id, &bucket_id, HASH_FIND, NULL);
	if (entry != NULL && entry->bucket->exists)
		return entry->bucket;

	deconstruct_array(DatumGetArrayTypeP(values[BUCKET_KEY]), TEXTOID, -1, false,
					  TYPALIGN_INT, &elems, NULL, &nparts);
	parts = palloc(sizeof(char *) * Max(nparts, 1));
	for (int i = 0; i < nparts; i++)
		parts[i] = TextDatumGetCString(elems[i]);
	bucket = make_bucket(buckets, bucket_id, DatumGetInt32(values[BUCKET_SHAPE]),
						 DatumGetInt16(values[BUCKET_NODE]), parts, nparts);
	bucket->exists = true;
	bucket->row_count = bucket->stored_rows = DatumGetInt64(values[BUCKET_ROWS]);
	bucket->checksum = (uint32) DatumGetInt64(values[BUCKET_CHECKSUM]);
	bucket->first_op_id = DatumGetInt64(values[BUCKET_FIRST_OP]);
	bucket->last_op_id = DatumGetInt64(values[BUCKET_LAST_OP]);
	bucket->removed_count = DatumGetInt64(values[BUCKET_REMOVED]);
	bucket->stale_count = DatumGetInt64(values[BUCKET_STALE]);
	bucket->forgotten_op_id = DatumGetInt64(values[BUCKET_FORGOTTEN_OP]);
	bucket->may_lag = DatumGetBool(values[BUCKET_MAY_LAG]);
	bucket->is_settled = !bucket->may_lag || buckets->is_exact;
	bucket->tid = tuple->t_self;
	return bucket;
}

static bool
bucket_has_key(const TideBucket *bucket, const char *const *parts, int nparts)
{
	if (bucket->nparts != nparts)
		return false;
	for (int i = 0; i < nparts; i++)
		if (strcmp(bucket->parts[i], parts[i]) != 0)
			return false;
	return true;
}

/* read the table's buckets of one (shape, node, key hash) into the cache entry */
static void
load_key_entry(TideBuckets *buckets, KeyEntry *entry)
{
	Relation	rel = tide_meta_open("buckets", AccessShareLock);
	ScanKeyData key[3];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key[0], BUCKET_SHAPE + 1, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(entry->key.shape_id));
	ScanKeyInit(&key[1], BUCKET_NODE + 1, BTEqualStrategyNumber, F_INT2EQ,
				Int16GetDatum((int16) entry->key.node_id));
	ScanKeyInit(&key[2], BUCKET_KEY_HASH + 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(entry->key.hash));
	scan = systable_beginscan(rel, tide_meta_relid("buckets_key"), true,
							  SnapshotSelf, 3, key);
	entry->first = NULL;
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		TideBucket *bucket = bucket_from_tuple(buckets, RelationGetDescr(rel), tuple);

		bucket->next_same_hash = entry->first;
		entry->first = bucket;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

TideBucket *
tide_bucket_for_key(TideBuckets *buckets, int shape_id, int node_id,
					const char *const *parts, int nparts, int64 *op_id)
{
	KeyEntry	probe;
	KeyEntry   *entry;
	bool		found;
	TideBucket *bucket;

	probe.key.hash = tide_bucket_key_hash(parts, nparts);
	probe.key.shape_id = shape_id;
	probe.key.node_id = node_id;
	entry = hash_search(buckets->by_key, &probe.key, HASH_ENTER, &found);
	if (!found)
		load_key_entry(buckets, entry);
	for (bucket = entry->first; bucket != NULL; bucket = bucket->next_same_hash)
		if (bucket_has_key(bucket, parts, nparts))
			return bucket;

	/* (who passes NULL knows that the bucket exists) */
	Assert(op_id != NULL);
	bucket = make_bucket(buckets, ++(*op_id), shape_id, node_id, parts, nparts);
	bucket->exists = bucket->is_new = bucket->is_settled = true;
	bucket->first_op_id = bucket->last_op_id = *op_id;
	bucket->next_same_hash = entry->first;
	entry->first = bucket;
	tide_bucket_count(buckets, bucket, 0, 0, 0, *op_id);
	return bucket;
}

TideBucket *
tide_bucket_by_id(TideBuckets *buckets, int64 bucket_id)
{
	IdEntry    *entry = hash_search(buckets->by_id, &bucket_id, HASH_FIND, NULL);
	TideBucket *bucket;
	Relation	rel;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (entry != NULL)
		return entry->bucket->exists ? entry->bucket : NULL;

	rel = tide_meta_open("buckets", AccessShareLock);
	ScanKeyInit(&key, BUCKET_ID + 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(bucket_id));
	scan = systable_beginscan(rel, tide_meta_relid("buckets_pkey"), true,
							  SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (tuple != NULL)
	{
		/* load through its key, so that both tables know the same struct */
		bucket = bucket_from_tuple(buckets, RelationGetDescr(rel), tuple);
		(void) tide_bucket_for_key(buckets, bucket->shape_id, bucket->node_id,
								   (const char *const *) bucket->parts,
								   bucket->nparts, NULL);
	}
	else
		bucket = make_bucket(buckets, bucket_id, 0, 0, NULL, 0);	/* known missing */
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return bucket->exists ? bucket : NULL;
}

void
tide_bucket_count(TideBuckets *buckets, TideBucket *bucket, int rows,
				  uint32 hash_added, uint32 hash_removed, int64 op_id)
{
	bucket->row_count += rows;
	bucket->checksum += hash_added - hash_removed;
	bucket->last_op_id = op_id;
	if (rows == 0 && bucket->may_lag && !buckets->is_exact)
		note_lagging(buckets, bucket);
	else
		tide_bucket_touch(buckets, bucket);
}

/* its row is not to be written now, but some time */
static void
note_lagging(TideBuckets *buckets, TideBucket *bucket)
{
	bucket->is_lagging = true;
	if (!bucket->is_listed)
	{
		MemoryContext old = MemoryContextSwitchTo(buckets->context);

		buckets->lagging = lappend(buckets->lagging, bucket);
		bucket->is_listed = true;
		MemoryContextSwitchTo(old);
	}
}

bool
tide_buckets_settle(TideBuckets *buckets, int max)
{
	while (max > 0 && tide_buckets_lag(buckets))
	{
		TideBucket *bucket = list_nth(buckets->lagging, buckets->nsettled++);

		bucket->is_listed = false;
		if (!bucket->exists || !bucket->is_lagging)
			continue;
		tide_bucket_touch(buckets, bucket);
		max--;
	}
	if (tide_buckets_lag(buckets))
		return true;
	list_free(buckets->lagging);
	buckets->lagging = NIL;
	buckets->nsettled = 0;
	return false;
}

bool
tide_buckets_lag(const TideBuckets *buckets)
{
	return buckets->nsettled < list_length(buckets->lagging);
}

void
tide_bucket_touch(TideBuckets *buckets, TideBucket *bucket)
{
	if (!bucket->is_dirty)
	{
		MemoryContext old = MemoryContextSwitchTo(buckets->context);

		buckets->dirty = lappend(buckets->dirty, bucket);
		bucket->is_dirty = true;
		MemoryContextSwitchTo(old);
	}
}

static HeapTuple
bucket_to_tuple(const TideBucket *bucket, TupleDesc desc)
{
	Datum		values[BUCKET_NATTS];
	bool		nulls[BUCKET_NATTS] = {false};
	Datum	   *parts = palloc(sizeof(Datum) * Max(bucket->nparts, 1));

	for (int i = 0; i < bucket->nparts; i++)
		parts[i] = CStringGetTextDatum(bucket->parts[i]);
	values[BUCKET_ID] = Int64GetDatum(bucket->bucket_id);
	values[BUCKET_SHAPE] = Int32GetDatum(bucket->shape_id);
	values[BUCKET_NODE] = Int16GetDatum((int16) bucket->node_id);
	values[BUCKET_KEY] = PointerGetDatum(construct_array(parts, bucket->nparts, TEXTOID,
														 -1, false, TYPALIGN_INT));
	values[BUCKET_KEY_HASH] =
		Int64GetDatum(tide_bucket_key_hash((const char *const *) bucket->parts,
										   bucket->nparts));
	values[BUCKET_ROWS] = Int64GetDatum(bucket->row_count);
	values[BUCKET_CHECKSUM] = Int64GetDatum((int64) bucket->checksum);
	values[BUCKET_FIRST_OP] = Int64GetDatum(bucket->first_op_id);
	values[BUCKET_LAST_OP] = Int64GetDatum(bucket->last_op_id);
	values[BUCKET_REMOVED] = Int64GetDatum(bucket->removed_count);
	values[BUCKET_STALE] = Int64GetDatum(bucket->stale_count);
	values[BUCKET_FORGOTTEN_OP] = Int64GetDatum(bucket->forgotten_op_id);
	values[BUCKET_MAY_LAG] = BoolGetDatum(bucket->may_lag);
	return heap_form_tuple(desc, values, nulls);
}

/* where the bucket's row is now: the cached place unless somebody rewrote the table, of nblocks */
static void
locate_row(Relation rel, BlockNumber nblocks, TideBucket *bucket)
{
	HeapTupleData tuple;
	Buffer		buffer;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	found;
	bool		isnull;

	tuple.t_self = bucket->tid;
	if (ItemPointerGetBlockNumber(&bucket->tid) < nblocks &&
		heap_fetch(rel, SnapshotSelf, &tuple, &buffer, false))
	{
		int64		id = DatumGetInt64(heap_getattr(&tuple, BUCKET_ID + 1,
													RelationGetDescr(rel), &isnull));

		ReleaseBuffer(buffer);
		if (id == bucket->bucket_id)
			return;
	}

	ScanKeyInit(&key, BUCKET_ID + 1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(bucket->bucket_id));
	scan = systable_beginscan(rel, tide_meta_relid("buckets_pkey"), true,
							  SnapshotSelf, 1, &key);
	found = systable_getnext(scan);
	if (found == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("bucket " INT64_FORMAT " has lost its row", bucket->bucket_id)));
	bucket->tid = found->t_self;
	systable_endscan(scan);
}

void
tide_bucket_drop(TideBuckets *buckets, TideBucket *bucket)
{
	Relation	rel = tide_meta_open("buckets", RowExclusiveLock);
	KeyEntry	probe;
	KeyEntry   *entry;

	if (!bucket->is_new)
	{
		locate_row(rel, RelationGetNumberOfBlocks(rel), bucket);
		CatalogTupleDelete(rel, &bucket->tid);
	}
	table_close(rel, RowExclusiveLock);
	bucket->exists = false;
	buckets->dirty = list_delete_ptr(buckets->dirty, bucket);
	bucket->is_dirty = false;

	/* not to be found by its key; by its id it is known to be gone */
	probe.key.hash = tide_bucket_key_hash((const char *const *) bucket->parts, bucket->nparts);
	probe.key.shape_id = bucket->shape_id;
	probe.key.node_id = bucket->node_id;
	entry = hash_search(buckets->by_key, &probe.key, HASH_FIND, NULL);
	for (TideBucket **link = entry ? &entry->first : NULL; link && *link;
		 link = &(*link)->next_same_hash)
		if (*link == bucket)
		{
			*link = bucket->next_same_hash;
			break;
		}
}

const List *
tide_buckets_dirty(const TideBuckets *buckets)
{
	return buckets->dirty;
}

bool
tide_buckets_are_many(const TideBuckets *buckets)
{
	return hash_get_num_entries(buckets->by_id) > TIDE_BUCKETS_CACHED;
}

/* in the order of their rows, so that pages are visited once; new ones last */
static int
compare_places(const ListCell *a, const ListCell *b)
{
	TideBucket *left = lfirst(a);
	TideBucket *right = lfirst(b);

	if (left->is_new != right->is_new)
		return left->is_new ? 1 : -1;
	if (left->is_new)
		return left->bucket_id < right->bucket_id ? -1 : 1;
	return ItemPointerCompare(&left->tid, &right->tid);
}

/* learn what is about to be written */
static void
settle_dirty(TideBuckets *buckets)
{
	List	   *unsettled = NIL;
	ListCell   *lc;

	foreach(lc, buckets->dirty)
	{
		TideBucket *bucket = lfirst(lc);

		if (!bucket->is_settled)
			unsettled = lappend(unsettled, bucket);
		bucket->is_settled = true;
		bucket->is_lagging = false;
		bucket->may_lag = bucket->row_count + bucket->removed_count +
			bucket->stale_count <= TIDE_BUCKET_SMALL;
	}
	if (unsettled != NIL)
		buckets->settler(buckets->settler_arg, unsettled);
	list_free(unsettled);
}

void
tide_buckets_flush(TideBuckets *buckets)
{
	Relation	rel;
	BlockNumber nblocks;
	CatalogIndexState indexes;
	ListCell   *lc;

	if (buckets->dirty == NIL)
	{
		if (tide_buckets_are_many(buckets))
			forget_all(buckets);
		return;
	}
	settle_dirty(buckets);
	rel = tide_meta_open("buckets", RowExclusiveLock);
	nblocks = RelationGetNumberOfBlocks(rel);
	indexes = CatalogOpenIndexes(rel);
	list_sort(buckets->dirty, compare_places);
	foreach(lc, buckets->dirty)
	{
		TideBucket *bucket = lfirst(lc);
		HeapTuple	tuple = bucket_to_tuple(bucket, RelationGetDescr(rel));

		if (bucket->is_new)
			CatalogTupleInsertWithInfo(rel, tuple, indexes);
		else
		{
			locate_row(rel, nblocks, bucket);
			CatalogTupleUpdateWithInfo(rel, &bucket->tid, tuple, indexes);
		}
		bucket->tid = tuple->t_self;
		bucket->stored_rows = bucket->row_count;
		bucket->is_new = bucket->is_dirty = false;
		heap_freetuple(tuple);
	}
	CatalogCloseIndexes(indexes);
	table_close(rel, RowExclusiveLock);
	list_free(buckets->dirty);
	buckets->dirty = NIL;
	if (tide_buckets_are_many(buckets))
		forget_all(buckets);
}
