/*
 * log_reader.c
 *	  Reads a bucket's change log and resolves each entry to the row it is about.
 *
 * The hot path of tide.pull: tables are read directly, without SPI and without
 * rights of the caller. An entry's tid says where its row was when the entry was
 * written, and for most rows that is where it still is: one heap fetch, no
 * index descent. Whether the entry is current is decided by _op and _members
 * alone (src/README.md, "Storage"):
 *
 *	 o > _op				current: the row has not been written since. The key is
 *							compared too, since VACUUM FULL or CLUSTER of the shadow
 *							table would leave a stranger's row under the tid.
 *	 (b, o) in _members	current: op_ids are unique, so it is the right row.
 *	 else, same key			superseded.
 *	 no row, or another's	look the key up in tN_key and decide again.
 *
 * Everything is read under one snapshot. The locks taken by opening keep VACUUM from
 * truncating the tables meanwhile, so a tid below the size seen at opening is readable.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "store/log_reader.h"
#include "store/members.h"
#include "store/shadow.h"
#include "util/compat.h"

struct TideLogReader
{
	MemoryContext context;		/* of all below; scans allocate in it */
	TideShadow *shadow;			/* for descriptors and positions; not opened */
	Snapshot	snapshot;
	Relation	heap;
	Relation	key_index;
	Relation	log;
	Relation	log_index;
	BlockNumber heap_blocks;	/* as of opening */
	int			nkeys;
	int			key_natts;		/* highest shadow attnum of a key column */
	ScanKeyData log_keys[2];
	ScanKeyData *row_keys;
	IndexScanDesc log_scan;
	IndexScanDesc row_scan;		/* NULL until first needed */
	TupleTableSlot *log_slot;
	TupleTableSlot *row_slot;
	int64		bucket_id;		/* of the scan under way */
};

static void init_keys(TideLogReader *reader);

TideLogReader *
tide_log_reader_open(const TideSource *source, Snapshot snapshot)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "tide log reader",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	TideLogReader *reader = palloc0(sizeof(TideLogReader));

	reader->context = context;
	reader->shadow = tide_shadow_load(context, unconstify(TideSource *, source));
	reader->snapshot = snapshot;
	reader->heap = tide_shadow_open_table("t%d", source->source_id);
	reader->log = tide_shadow_open_table("log%d", source->source_id);
	reader->key_index = index_open(tide_shadow_relid("t%d_key", source->source_id),
								   AccessShareLock);
	reader->log_index = index_open(tide_shadow_relid("log%d_bucket", source->source_id),
								   AccessShareLock);
	reader->heap_blocks = RelationGetNumberOfBlocks(reader->heap);
	reader->log_slot = table_slot_create(reader->log, NULL);
	reader->row_slot = table_slot_create(reader->heap, NULL);
	init_keys(reader);
	MemoryContextSwitchTo(old);
	return reader;
}

void
tide_log_reader_close(TideLogReader *reader)
{
	if (reader->log_scan != NULL)
		index_endscan(reader->log_scan);
	if (reader->row_scan != NULL)
		index_endscan(reader->row_scan);
	ExecDropSingleTupleTableSlot(reader->log_slot);
	ExecDropSingleTupleTableSlot(reader->row_slot);
	index_close(reader->log_index, AccessShareLock);
	index_close(reader->key_index, AccessShareLock);
	table_close(reader->log, AccessShareLock);
	table_close(reader->heap, AccessShareLock);
	MemoryContextDelete(reader->context);
}

/* scan keys with their arguments open */
static void
init_keys(TideLogReader *reader)
{
	Relation	index = reader->key_index;
	TideShadow *shadow = reader->shadow;

	reader->nkeys = shadow->nkeys;
	reader->row_keys = palloc0(sizeof(ScanKeyData) * shadow->nkeys);
	for (int i = 0; i < shadow->nkeys; i++)
	{
		Oid			opcintype = index->rd_opcintype[i];
		Oid			operator = get_opfamily_member(index->rd_opfamily[i], opcintype,
												   opcintype, BTEqualStrategyNumber);

		if (!OidIsValid(operator))
			elog(ERROR, "missing equality operator for type %u", opcintype);
		ScanKeyEntryInitialize(&reader->row_keys[i], 0, i + 1, BTEqualStrategyNumber,
							   InvalidOid, index->rd_indcollation[i],
							   get_opcode(operator), (Datum) 0);
		reader->key_natts = Max(reader->key_natts,
								shadow->key_pos[i] + 1 + TIDE_SHADOW_FIXED);
	}
	ScanKeyInit(&reader->log_keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, (Datum) 0);
	ScanKeyInit(&reader->log_keys[1], 2, BTGreaterStrategyNumber, F_INT8GT, (Datum) 0);
}

TupleDesc
tide_log_reader_row_desc(const TideLogReader *reader)
{
	return reader->shadow->desc;
}

TupleDesc
tide_log_reader_log_desc(const TideLogReader *reader)
{
	return reader->shadow->log_desc;
}

AttrNumber
tide_log_reader_row_attnum(const TideLogReader *reader, AttrNumber attnum)
{
	const TideShadow *shadow = reader->shadow;

	if (attnum <= 0 || attnum >= shadow->natts_source || shadow->attnum_pos[attnum] < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("relation \"tide_shadow.t%d\" has no column for attribute %d",
						shadow->source->source_id, attnum)));
	return shadow->attnum_pos[attnum] + 1 + TIDE_SHADOW_FIXED;
}

void
tide_log_reader_start(TideLogReader *reader, int64 bucket_id, int64 after_op_id)
{
	MemoryContext old = MemoryContextSwitchTo(reader->context);

	if (reader->log_scan == NULL)
		reader->log_scan = index_beginscan_compat(reader->log, reader->log_index,
												  reader->snapshot, 2, 0);
	reader->bucket_id = bucket_id;
	reader->log_keys[0].sk_argument = Int64GetDatum(bucket_id);
	reader->log_keys[1].sk_argument = Int64GetDatum(after_op_id);
	index_rescan(reader->log_scan, reader->log_keys, 2, NULL, 0);
	MemoryContextSwitchTo(old);
}

/* whether the row in row_slot has the very bits of the log entry's key */
static bool
same_key(TideLogReader *reader)
{
	TupleTableSlot *row = reader->row_slot;
	TupleTableSlot *entry = reader->log_slot;

	slot_getsomeattrs(row, reader->key_natts);
	for (int i = 0; i < reader->nkeys; i++)
	{
		int			r = reader->shadow->key_pos[i] + TIDE_SHADOW_FIXED;
		int			e = i + TIDE_LOG_FIXED;
		Form_pg_attribute att = TupleDescAttr(row->tts_tupleDescriptor, r);

		if (row->tts_isnull[r] || entry->tts_isnull[e] ||
			!datum_image_eq(row->tts_values[r], entry->tts_values[e],
							att->attbyval, att->attlen))
			return false;
	}
	return true;
}

/* op_id of the row's newest entry in the bucket, as its _members say; or 0 */
static int64
member_op(TideLogReader *reader)
{
	TupleTableSlot *row = reader->row_slot;
	struct varlena *stored;
	struct varlena *members;
	int64		op_id = 0;
	int			i;

	slot_getsomeattrs(row, TIDE_SHADOW_MEMBERS);
	if (row->tts_isnull[TIDE_SHADOW_MEMBERS - 1])
		return 0;
	stored = (struct varlena *) DatumGetPointer(row->tts_values[TIDE_SHADOW_MEMBERS - 1]);
	members = pg_detoast_datum_packed(stored);
	i = tide_members_find(members, reader->bucket_id);
	if (i >= 0)
		op_id = tide_members_get(members, i).op_id;
	if (members != stored)
		pfree(members);
	return op_id;
}

/* row at the entry's tid into row_slot; false if none is visible there */
static bool
fetch_by_tid(TideLogReader *reader)
{
	ItemPointer tid = (ItemPointer)
	DatumGetPointer(reader->log_slot->tts_values[TIDE_LOG_TID - 1]);

	return ItemPointerIsValid(tid) &&
		ItemPointerGetBlockNumber(tid) < reader->heap_blocks &&
		table_tuple_fetch_row_version(reader->heap, tid, reader->snapshot,
									  reader->row_slot);
}

/* row with a key equal to the entry's into row_slot */
static bool
fetch_by_key(TideLogReader *reader)
{
	if (reader->row_scan == NULL)
		reader->row_scan = index_beginscan_compat(reader->heap, reader->key_index,
												  reader->snapshot, reader->nkeys, 0);
	for (int i = 0; i < reader->nkeys; i++)
		reader->row_keys[i].sk_argument =
			reader->log_slot->tts_values[TIDE_LOG_FIXED + i];
	index_rescan(reader->row_scan, reader->row_keys, reader->nkeys, NULL, 0);
	return index_getnext_slot(reader->row_scan, ForwardScanDirection, reader->row_slot);
}

/* whether an enter or change entry is current; its row is then in row_slot */
static bool
put_is_current(TideLogReader *reader, int64 op_id)
{
	bool		by_tid = fetch_by_tid(reader);

	if (!by_tid && !fetch_by_key(reader))
		return false;
	for (;;)
	{
		TupleTableSlot *row = reader->row_slot;

		slot_getsomeattrs(row, TIDE_SHADOW_MEMBERS);
		if (op_id > DatumGetInt64(row->tts_values[TIDE_SHADOW_OP - 1]))
		{
			if (!by_tid || same_key(reader))
				return true;
		}
		else if (member_op(reader) == op_id)
			return true;
		else if (!by_tid || same_key(reader))
			return false;

		/* another row's place by now */
		by_tid = false;
		if (!fetch_by_key(reader))
			return false;
	}
}

/* whether the row of a leave entry is in the bucket again, under the very same key */
static bool
leave_is_superseded(TideLogReader *reader)
{
	if (!(fetch_by_tid(reader) && same_key(reader)) &&
		!(fetch_by_key(reader) && same_key(reader)))
		return false;
	return member_op(reader) != 0;
}

bool
tide_log_reader_next(TideLogReader *reader, int64 leaves_after, int natts,
					 TideLogItem *item)
{
	MemoryContext old = MemoryContextSwitchTo(reader->context);
	TupleTableSlot *entry = reader->log_slot;
	bool		found = false;

	while (!found && index_getnext_slot(reader->log_scan, ForwardScanDirection, entry))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(entry, TIDE_LOG_FIXED + reader->nkeys);
		item->op_id = DatumGetInt64(entry->tts_values[TIDE_LOG_OP - 1]);
		item->hash = (uint32) DatumGetInt64(entry->tts_values[TIDE_LOG_HASH - 1]);
		item->is_put = DatumGetChar(entry->tts_values[TIDE_LOG_KIND - 1]) != TIDE_LOG_LEAVE;
		if (item->is_put)
			found = put_is_current(reader, item->op_id);
		else
			found = item->op_id > leaves_after && !leave_is_superseded(reader);
	}
	if (found)
	{
		TupleTableSlot *shown = item->is_put ? reader->row_slot : entry;

		if (item->is_put)
			slot_getsomeattrs(shown, natts);
		item->values = shown->tts_values;
		item->nulls = shown->tts_isnull;
	}
	MemoryContextSwitchTo(old);
	return found;
}

bool
tide_log_reader_scan(TideLogReader *reader, TideLogScanned *scanned)
{
	MemoryContext old = MemoryContextSwitchTo(reader->context);
	TupleTableSlot *entry = reader->log_slot;
	bool		found = index_getnext_slot(reader->log_scan, ForwardScanDirection, entry);

	if (found)
	{
		slot_getsomeattrs(entry, TIDE_LOG_FIXED + reader->nkeys);
		scanned->op_id = DatumGetInt64(entry->tts_values[TIDE_LOG_OP - 1]);
		scanned->is_put =
			DatumGetChar(entry->tts_values[TIDE_LOG_KIND - 1]) != TIDE_LOG_LEAVE;
		scanned->is_superseded = scanned->is_put ?
			!put_is_current(reader, scanned->op_id) : leave_is_superseded(reader);
		scanned->tid = entry->tts_tid;
	}
	MemoryContextSwitchTo(old);
	return found;
}

void
tide_log_reader_sum(TideLogReader *reader, int64 bucket_id, TideLogSum *sum)
{
	TupleTableSlot *entry = reader->log_slot;
	MemoryContext old;

	memset(sum, 0, sizeof(TideLogSum));
	tide_log_reader_start(reader, bucket_id, 0);
	old = MemoryContextSwitchTo(reader->context);
	while (index_getnext_slot(reader->log_scan, ForwardScanDirection, entry))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(entry, TIDE_LOG_FIXED + reader->nkeys);
		sum->last_op_id = DatumGetInt64(entry->tts_values[TIDE_LOG_OP - 1]);
		if (DatumGetChar(entry->tts_values[TIDE_LOG_KIND - 1]) != TIDE_LOG_LEAVE &&
			put_is_current(reader, sum->last_op_id))
			sum->checksum += (uint32) DatumGetInt64(entry->tts_values[TIDE_LOG_HASH - 1]);
	}
	MemoryContextSwitchTo(old);
}

int64
tide_log_reader_newest(TideLogReader *reader, int64 bucket_id)
{
	TupleTableSlot *entry = reader->log_slot;
	MemoryContext old;
	int64		op_id = 0;
	bool		isnull;

	tide_log_reader_start(reader, bucket_id, 0);
	old = MemoryContextSwitchTo(reader->context);
	if (index_getnext_slot(reader->log_scan, BackwardScanDirection, entry))
		op_id = DatumGetInt64(slot_getattr(entry, TIDE_LOG_OP, &isnull));
	MemoryContextSwitchTo(old);
	return op_id;
}

Oid
tide_log_reader_relid(const TideLogReader *reader)
{
	return RelationGetRelid(reader->log);
}

int64
tide_log_reader_count(TideLogReader *reader, int64 bucket_id, int64 after_op_id,
					  int64 limit)
{
	MemoryContext old;
	int64		n = 0;

	tide_log_reader_start(reader, bucket_id, after_op_id);
	old = MemoryContextSwitchTo(reader->context);
	while (n < limit && index_getnext_tid(reader->log_scan, ForwardScanDirection) != NULL)
		n++;
	MemoryContextSwitchTo(old);
	return n;
}
