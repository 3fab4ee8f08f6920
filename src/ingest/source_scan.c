/*
 * source_scan.c
 *	  Reads a source's rows as they are in a snapshot, in its shadow's layout.
 *
 * A partitioned table is read partition by partition. Rows without a key are sorted by
 * their hash, which is how equal ones are found and counted in bounded memory.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"

#include "ingest/build.h"
#include "ingest/route.h"
#include "ingest/source_scan.h"
#include "store/row_hash.h"

struct TideSourceScan
{
	TideShadow *shadow;
	Snapshot	snapshot;
	pg_uuid_t	secret;
	const Oid  *relids;			/* tables to read */
	int			nrelids;
	int			next_relid;
	Relation	rel;			/* being read, or NULL */
	AttrNumber *attnums;		/* of its columns, by the shadow's positions */
	TableScanDesc scan;
	TupleTableSlot *rel_slot;
	pg_uuid_t	hash;			/* of the row last read */
	Tuplesortstate *sort;		/* or NULL */
	TupleTableSlot *sorted;		/* row last taken from it */
	int			copy;			/* number of the row last returned */
	pg_uuid_t	copy_of;		/* and its hash */
};

/*
 * A commit is in the WAL, and may be decoded, a moment before other snapshots see it: first
 * let all commits under way reach the commit log, then take a snapshot, and refuse it if it
 * holds for running what the commit log says is committed.
 */
static Snapshot
take_snapshot(void)
{
	int			ncommitting;
	VirtualTransactionId *committing =
	GetVirtualXIDsDelayingChkpt(&ncommitting, DELAY_CHKPT_START);
	Snapshot	snapshot;

	while (HaveVirtualXIDsDelayingChkpt(committing, ncommitting, DELAY_CHKPT_START))
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(100L);
	}
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	for (uint32 i = 0; i < snapshot->xcnt; i++)
		if (TransactionIdDidCommit(snapshot->xip[i]))
		{
			UnregisterSnapshot(snapshot);
			return NULL;
		}
	return snapshot;
}

Snapshot
tide_source_snapshot(TideSource *source)
{
	Snapshot	snapshot;
	Oid		   *leaves;
	int			n;

	if (!ConditionalLockRelationOid(source->relid, AccessShareLock))
		return NULL;
	source->leaves = tide_route_leaves(source->relid, &source->nleaves);
	for (int i = 0; i < source->nleaves; i++)
		if (!ConditionalLockRelationOid(source->leaves[i], AccessShareLock))
			return NULL;
	snapshot = take_snapshot();
	if (snapshot == NULL)
		return NULL;

	/*
	 * the partitions are those of the snapshot if they are the same before
	 * and after
	 */
	leaves = tide_route_leaves(source->relid, &n);
	if (n != source->nleaves ||
		(n > 0 && memcmp(leaves, source->leaves, sizeof(Oid) * n) != 0))
	{
		UnregisterSnapshot(snapshot);
		return NULL;
	}
	source->snapshot = tide_snapshot_text(snapshot);
	source->snapshot_lsn = GetXLogInsertRecPtr();
	return snapshot;
}

/* next row of the tables into the shadow's slot, its copies not yet counted */
static bool
read_row(TideSourceScan *scan, TupleTableSlot *slot)
{
	TideShadow *shadow = scan->shadow;

	while (scan->rel == NULL ||
		   !table_scan_getnextslot(scan->scan, ForwardScanDirection, scan->rel_slot))
	{
		if (scan->rel != NULL)
		{
			table_endscan(scan->scan);
			ExecDropSingleTupleTableSlot(scan->rel_slot);
			table_close(scan->rel, NoLock);
			scan->rel = NULL;
		}
		if (scan->next_relid == scan->nrelids)
			return false;
		scan->rel = table_open(scan->relids[scan->next_relid++], NoLock);
		scan->attnums = tide_route_map(shadow->source, NULL, scan->rel);
		if (scan->attnums == NULL)
			elog(ERROR, "columns of table \"%s\" are not those of its shadow",
				 RelationGetRelationName(scan->rel));
		scan->rel_slot = table_slot_create(scan->rel, NULL);
		scan->scan = table_beginscan(scan->rel, scan->snapshot, 0, NULL);
	}

	slot_getallattrs(scan->rel_slot);
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts);
	for (int i = 0; i < shadow->ncolumns; i++)
		if (scan->attnums[i] > 0)
		{
			slot->tts_values[i + TIDE_SHADOW_FIXED] =
				scan->rel_slot->tts_values[scan->attnums[i] - 1];
			slot->tts_isnull[i + TIDE_SHADOW_FIXED] =
				scan->rel_slot->tts_isnull[scan->attnums[i] - 1];
		}
	if (shadow->leaf_pos >= 0)
	{
		slot->tts_values[shadow->leaf_pos + TIDE_SHADOW_FIXED] =
			ObjectIdGetDatum(RelationGetRelid(scan->rel));
		slot->tts_isnull[shadow->leaf_pos + TIDE_SHADOW_FIXED] = false;
	}
	if (shadow->is_keyless)
	{
		int			a = shadow->key_pos[0] + TIDE_SHADOW_FIXED;

		tide_row_hash(&scan->secret, shadow->desc, TIDE_SHADOW_FIXED, shadow->nhashed,
					  slot->tts_values + TIDE_SHADOW_FIXED,
					  slot->tts_isnull + TIDE_SHADOW_FIXED, &scan->hash);
		slot->tts_values[a] = UUIDPGetDatum(&scan->hash);
		slot->tts_isnull[a] = false;
	}
	ExecStoreVirtualTuple(slot);
	return true;
}

/* all rows into a sort by the key; by its hash alone where there is none */
static void
sort_rows(TideSourceScan *scan)
{
	TideShadow *shadow = scan->shadow;
	int			n = shadow->is_keyless ? 1 : shadow->nkeys;
	AttrNumber *attnums = palloc(sizeof(AttrNumber) * n);
	Oid		   *operators = palloc(sizeof(Oid) * n);
	Oid		   *collations = palloc(sizeof(Oid) * n);
	bool	   *nulls_first = palloc0(sizeof(bool) * n);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(shadow->desc, &TTSOpsVirtual);

	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute att = TupleDescAttr(shadow->key_desc, i);

		attnums[i] = shadow->key_pos[i] + 1 + TIDE_SHADOW_FIXED;
		operators[i] = lookup_type_cache(att->atttypid, TYPECACHE_LT_OPR)->lt_opr;
		collations[i] = att->attcollation;
	}
	scan->sort = tuplesort_begin_heap(shadow->desc, n, attnums, operators, collations,
									  nulls_first, maintenance_work_mem, NULL, false);
	while (read_row(scan, slot))
	{
		CHECK_FOR_INTERRUPTS();
		tuplesort_puttupleslot(scan->sort, slot);
	}
	tuplesort_performsort(scan->sort);
	scan->sorted = MakeSingleTupleTableSlot(shadow->desc, &TTSOpsMinimalTuple);
	ExecDropSingleTupleTableSlot(slot);
}

TideSourceScan *
tide_source_scan_begin(TideIngest *in, TideShadow *shadow, Snapshot snapshot, bool by_key)
{
	TideSourceScan *scan = palloc0(sizeof(TideSourceScan));
	const TideSource *source = shadow->source;

	scan->shadow = shadow;
	scan->snapshot = snapshot;
	scan->secret = in->secret;
	scan->relids = source->leaves ? source->leaves : &source->relid;
	scan->nrelids = source->leaves ? source->nleaves : 1;
	if (by_key || shadow->is_keyless)
		sort_rows(scan);
	return scan;
}

/* number the copies of a row, which come one after the other */
static void
number_copy(TideSourceScan *scan, TupleTableSlot *slot)
{
	TideShadow *shadow = scan->shadow;
	bool		isnull;
	int			a = shadow->key_pos[1] + TIDE_SHADOW_FIXED;
	Datum		hash = slot_getattr(slot, shadow->key_pos[0] + 1 + TIDE_SHADOW_FIXED, &isnull);

	slot_getallattrs(slot);
	if (scan->copy == 0 || memcmp(DatumGetUUIDP(hash), &scan->copy_of, UUID_LEN) != 0)
		scan->copy = 0;
	memcpy(&scan->copy_of, DatumGetUUIDP(hash), UUID_LEN);
	slot->tts_values[a] = Int32GetDatum(++scan->copy);
	slot->tts_isnull[a] = false;
}

bool
tide_source_scan_next(TideSourceScan *scan, TupleTableSlot *slot)
{
	TupleTableSlot *sorted = scan->sorted;
	int			natts = scan->shadow->desc->natts;
	bool		found;

	if (scan->sort == NULL)
		return read_row(scan, slot);
	found = tuplesort_gettupleslot(scan->sort, true, false, sorted, NULL);
	ExecClearTuple(slot);
	if (found)
	{
		slot_getallattrs(sorted);
		memcpy(slot->tts_values, sorted->tts_values, sizeof(Datum) * natts);
		memcpy(slot->tts_isnull, sorted->tts_isnull, sizeof(bool) * natts);
		ExecStoreVirtualTuple(slot);
		if (scan->shadow->is_keyless)
			number_copy(scan, slot);
	}
	return found;
}

void
tide_source_scan_end(TideSourceScan *scan)
{
	if (scan->sort != NULL)
	{
		ExecDropSingleTupleTableSlot(scan->sorted);
		tuplesort_end(scan->sort);
	}
	pfree(scan);
}
