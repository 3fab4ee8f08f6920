/*
 * log_remove.c
 *	  Removal of change log entries by their sole writer.
 *
 * An entry is found by an index and looked at before it goes: an index entry
 * alone may point at a place that VACUUM has given to another entry. Look-ups use
 * SnapshotSelf, so what this transaction has written or removed counts.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "store/log_remove.h"
#include "util/compat.h"

#define PLACES	(1 << 18)		/* a power of 2 */

struct TideLogPlaces
{
	struct
	{
		int64		op_id;		/* 0: none */
		ItemPointerData tid;
	}			places[PLACES]; /* by op_id modulo PLACES */
};

static bool fetch_by_place(TideShadow *shadow, const TideLogPlaces *places,
						   int64 bucket_id, int64 op_id);
static IndexScanDesc begin_scan(TideShadow *shadow, Relation index, int nkeys);
static void remove_fetched(TideShadow *shadow);
static bool has_key(TideShadow *shadow, const Datum *columns);

TideLogPlaces *
tide_log_places_create(MemoryContext context)
{
	return MemoryContextAllocZero(context, sizeof(TideLogPlaces));
}

void
tide_log_places_note(TideLogPlaces *places, const TideLogEntry *entries, int n)
{
	for (int i = 0; i < n; i++)
	{
		int			p = entries[i].op_id % PLACES;

		places->places[p].op_id = entries[i].op_id;
		places->places[p].tid = entries[i].log_tid;
	}
}

/* the entry into log_fetched if its place is known and it is there */
static bool
fetch_by_place(TideShadow *shadow, const TideLogPlaces *places, int64 bucket_id,
			   int64 op_id)
{
	TupleTableSlot *slot = shadow->log_fetched;
	ItemPointerData tid = places->places[op_id % PLACES].tid;

	if (places->places[op_id % PLACES].op_id != op_id ||
		ItemPointerGetBlockNumber(&tid) >= shadow->log_blocks ||
		!table_tuple_fetch_row_version(shadow->log, &tid, SnapshotSelf, slot))
		return false;
	slot_getsomeattrs(slot, TIDE_LOG_OP);
	return DatumGetInt64(slot->tts_values[TIDE_LOG_BUCKET - 1]) == bucket_id &&
		DatumGetInt64(slot->tts_values[TIDE_LOG_OP - 1]) == op_id;
}

bool
tide_log_remove(TideShadow *shadow, const TideLogPlaces *places, int64 bucket_id,
				int64 op_id)
{
	ScanKeyData keys[2];

	if (places != NULL && fetch_by_place(shadow, places, bucket_id, op_id))
	{
		remove_fetched(shadow);
		return true;
	}
	if (shadow->log_scan == NULL)
		shadow->log_scan = begin_scan(shadow, shadow->log_index, 2);
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(bucket_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(op_id));
	index_rescan(shadow->log_scan, keys, 2, NULL, 0);
	if (!index_getnext_slot(shadow->log_scan, ForwardScanDirection, shadow->log_fetched))
		return false;
	remove_fetched(shadow);
	return true;
}

bool
tide_log_remove_leave(TideShadow *shadow, int64 bucket_id, const Datum *columns)
{
	TupleTableSlot *slot = shadow->log_fetched;
	ScanKeyData keys[INDEX_MAX_KEYS];

	if (!shadow->has_left)
		return false;
	if (shadow->left_key_scan == NULL)
		shadow->left_key_scan = begin_scan(shadow, shadow->left_key_index, shadow->nkeys);
	for (int k = 0; k < shadow->nkeys; k++)
	{
		/* the same types, so the same operators, as those of the shadow's key */
		keys[k] = shadow->key_scan[k];
		keys[k].sk_argument = columns[shadow->key_pos[k]];
	}
	index_rescan(shadow->left_key_scan, keys, shadow->nkeys, NULL, 0);
	while (index_getnext_slot(shadow->left_key_scan, ForwardScanDirection, slot))
	{
		slot_getsomeattrs(slot, TIDE_LOG_FIXED + shadow->nkeys);
		if (DatumGetInt64(slot->tts_values[TIDE_LOG_BUCKET - 1]) != bucket_id ||
			!has_key(shadow, columns))
			continue;
		remove_fetched(shadow);
		return true;
	}
	return false;
}

void
tide_log_end_remove(TideShadow *shadow)
{
	ExecClearTuple(shadow->log_fetched);
	if (shadow->log_scan != NULL)
		index_endscan(shadow->log_scan);
	if (shadow->left_key_scan != NULL)
		index_endscan(shadow->left_key_scan);
	shadow->log_scan = shadow->left_key_scan = NULL;
}

void
tide_log_remove_at(TideShadow *shadow, ItemPointer tid)
{
	simple_table_tuple_delete(shadow->log, tid, SnapshotSelf);
}

int
tide_log_remove_oldest(TideShadow *shadow, int64 after_op_id, int64 upto,
					   TideLeft *left, int max)
{
	IndexScanDesc scan = begin_scan(shadow, shadow->left_index, 2);
	TupleTableSlot *slot = shadow->log_fetched;
	ScanKeyData keys[2];
	int			n = 0;

	ScanKeyInit(&keys[0], 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after_op_id));
	ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(upto));
	index_rescan(scan, keys, 2, NULL, 0);
	while (n < max && index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		slot_getsomeattrs(slot, TIDE_LOG_FIXED);
		left[n].bucket_id = DatumGetInt64(slot->tts_values[TIDE_LOG_BUCKET - 1]);
		left[n++].op_id = DatumGetInt64(slot->tts_values[TIDE_LOG_OP - 1]);
		remove_fetched(shadow);
	}
	index_endscan(scan);
	return n;
}

/* a scan by SnapshotSelf that lives until it is ended */
static IndexScanDesc
begin_scan(TideShadow *shadow, Relation index, int nkeys)
{
	MemoryContext old = MemoryContextSwitchTo(shadow->open_context);
	IndexScanDesc scan = index_beginscan_compat(shadow->log, index, SnapshotSelf, nkeys, 0);

	MemoryContextSwitchTo(old);
	return scan;
}

/* delete the entry in log_fetched */
static void
remove_fetched(TideShadow *shadow)
{
	ItemPointerData tid = shadow->log_fetched->tts_tid;

	ExecClearTuple(shadow->log_fetched);
	simple_table_tuple_delete(shadow->log, &tid, SnapshotSelf);
}

/* whether the entry in log_fetched has the very bits of the key */
static bool
has_key(TideShadow *shadow, const Datum *columns)
{
	TupleTableSlot *slot = shadow->log_fetched;

	for (int k = 0; k < shadow->nkeys; k++)
	{
		Form_pg_attribute att = TupleDescAttr(shadow->key_desc, k);

		if (slot->tts_isnull[TIDE_LOG_FIXED + k] ||
			!datum_image_eq(slot->tts_values[TIDE_LOG_FIXED + k],
							columns[shadow->key_pos[k]], att->attbyval, att->attlen))
			return false;
	}
	return true;
}
