/*
 * shadow.c
 *	  Direct access to shadow tables and change logs for their sole writer.
 *
 * There is one writer per database (the process that holds the slot), so rows are
 * looked up with SnapshotSelf, written without locking them first, and index
 * entries are made by index_insert() with no executor state. A row is written at most once
 * per command; the caller increments the command counter between.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/relation.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "storage/bufmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog/table_key.h"
#include "store/log_remove.h"
#include "store/shadow.h"
#include "util/compat.h"

static void shadow_load_columns(TideShadow *shadow);
static void shadow_load_key(TideShadow *shadow);
static void open_extra_indexes(TideShadow *shadow);
static void shadow_index_row(TideShadow *shadow, TupleTableSlot *slot);
static Relation shadow_open_index(TideShadow *shadow, const char *format,
								  struct IndexInfo **info);
static void log_index_entry(TideShadow *shadow, TupleTableSlot *slot,
							const TideLogEntry *entry);

/* a reader whose snapshot is older than a rebuild gets here: a retry will do */
static void
report_gone(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("relation \"tide_shadow.%s\" does not exist", name),
			 errdetail("The table it belongs to has just been rebuilt, or it was removed by hand."),
			 errhint("Try again; if that does not help use tide.reset() and tide.start().")));
}

Oid
tide_shadow_relid(const char *format, int source_id)
{
	char		name[NAMEDATALEN];
	Oid			relid;

	snprintf(name, sizeof(name), format, source_id);
	relid = get_relname_relid(name, get_namespace_oid("tide_shadow", false));
	if (!OidIsValid(relid))
		report_gone(name);
	return relid;
}

Relation
tide_shadow_open_table(const char *format, int source_id)
{
	Relation	rel = try_relation_open(tide_shadow_relid(format, source_id), AccessShareLock);

	if (rel == NULL)
	{
		char		name[NAMEDATALEN];

		snprintf(name, sizeof(name), format, source_id);
		report_gone(name);
	}
	return rel;
}

TideShadow *
tide_shadow_load(MemoryContext context, TideSource *source)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	TideShadow *shadow = palloc0(sizeof(TideShadow));
	Relation	rel;

	shadow->source = source;
	shadow->heap_oid = tide_shadow_relid("t%d", source->source_id);
	shadow->log_oid = tide_shadow_relid("log%d", source->source_id);

	rel = tide_shadow_open_table("t%d", source->source_id);
	shadow->desc = CreateTupleDescCopy(RelationGetDescr(rel));
	table_close(rel, AccessShareLock);
	rel = tide_shadow_open_table("log%d", source->source_id);
	shadow->log_desc = CreateTupleDescCopy(RelationGetDescr(rel));
	table_close(rel, AccessShareLock);

	shadow_load_columns(shadow);
	shadow_load_key(shadow);
	MemoryContextSwitchTo(old);
	return shadow;
}

static void
shadow_load_columns(TideShadow *shadow)
{
	TideSource *source = shadow->source;

	shadow->ncolumns = source->ncolumns;
	if (shadow->desc->natts != shadow->ncolumns + TIDE_SHADOW_FIXED)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("relation \"tide_shadow.t%d\" has %d columns where %d are expected",
						source->source_id, shadow->desc->natts,
						shadow->ncolumns + TIDE_SHADOW_FIXED)));
	for (int i = 0; i < shadow->ncolumns; i++)
		shadow->natts_source = Max(shadow->natts_source, source->columns[i] + 1);
	shadow->attnum_pos = palloc(sizeof(int) * shadow->natts_source);
	for (int i = 0; i < shadow->natts_source; i++)
		shadow->attnum_pos[i] = -1;
	for (int i = 0; i < shadow->ncolumns; i++)
	{
		shadow->attnum_pos[source->columns[i]] = i;
		shadow->nown += TIDE_ATTNUM_IS_OWN(source->columns[i]);
	}
	shadow->leaf_pos = shadow->natts_source > TIDE_ATTNUM_LEAF ?
		shadow->attnum_pos[TIDE_ATTNUM_LEAF] : -1;
	shadow->is_keyless = source->keys[0] == TIDE_ATTNUM_ROW;
	shadow->nhashed = shadow->ncolumns - (shadow->is_keyless ? 2 : 0);
}

static void
shadow_load_key(TideShadow *shadow)
{
	TideSource *source = shadow->source;

	shadow->nkeys = source->nkeys;
	shadow->key_pos = palloc(sizeof(int) * source->nkeys);
	shadow->key_desc = CreateTemplateTupleDesc(source->nkeys);
	for (int i = 0; i < source->nkeys; i++)
	{
		shadow->key_pos[i] = shadow->attnum_pos[source->keys[i]];
		TupleDescCopyEntry(shadow->key_desc, i + 1, shadow->desc,
						   shadow->key_pos[i] + 1 + TIDE_SHADOW_FIXED);
	}
}

/* equality scan keys from the key index's own operator families */
static void
shadow_init_scan(TideShadow *shadow)
{
	Relation	index = shadow->key_index;
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(shadow));

	shadow->key_scan = palloc0(sizeof(ScanKeyData) * shadow->nkeys);
	for (int i = 0; i < shadow->nkeys; i++)
	{
		Oid			opcintype = index->rd_opcintype[i];
		Oid			operator = get_opfamily_member(index->rd_opfamily[i], opcintype,
												   opcintype, BTEqualStrategyNumber);

		if (!OidIsValid(operator))
			elog(ERROR, "missing equality operator for type %u", opcintype);
		ScanKeyEntryInitialize(&shadow->key_scan[i], 0, i + 1, BTEqualStrategyNumber,
							   InvalidOid, index->rd_indcollation[i],
							   get_opcode(operator), (Datum) 0);
	}
	MemoryContextSwitchTo(old);
}

void
tide_shadow_open(TideShadow *shadow, bool with_indexes)
{
	if (shadow->heap != NULL)
		return;
	shadow->open_context = CurrentMemoryContext;
	shadow->heap = table_open(shadow->heap_oid, RowExclusiveLock);
	shadow->log = table_open(shadow->log_oid, RowExclusiveLock);
	shadow->fetched = table_slot_create(shadow->heap, NULL);
	shadow->heap_bulk = GetBulkInsertState();
	shadow->log_bulk = GetBulkInsertState();
	if (!with_indexes)
		return;
	shadow->key_index = shadow_open_index(shadow, "t%d_key", &shadow->key_info);
	shadow->log_index = shadow_open_index(shadow, "log%d_bucket", &shadow->log_info);
	shadow->left_index = shadow_open_index(shadow, "log%d_left", &shadow->left_info);
	shadow->left_key_index = shadow_open_index(shadow, "log%d_left_key",
											   &shadow->left_key_info);
	open_extra_indexes(shadow);

	/* a btree that never held anything is its meta page */
	shadow->has_left = RelationGetNumberOfBlocks(shadow->left_key_index) > 1;
	shadow->log_blocks = RelationGetNumberOfBlocks(shadow->log);
	shadow->log_fetched = table_slot_create(shadow->log, NULL);
	if (shadow->key_scan == NULL)
		shadow_init_scan(shadow);
}

/* indexes that joined nodes have asked for */
static void
open_extra_indexes(TideShadow *shadow)
{
	List	   *indexes = RelationGetIndexList(shadow->heap);
	ListCell   *lc;

	shadow->nextra = 0;
	if (list_length(indexes) < 2)
		return;
	shadow->extra = palloc(sizeof(Relation) * list_length(indexes));
	shadow->extra_infos = palloc(sizeof(IndexInfo *) * list_length(indexes));
	shadow->estate = CreateExecutorState();
	foreach(lc, indexes)
	{
		if (lfirst_oid(lc) == RelationGetRelid(shadow->key_index))
			continue;
		shadow->extra[shadow->nextra] = index_open(lfirst_oid(lc), RowExclusiveLock);
		shadow->extra_infos[shadow->nextra] = BuildIndexInfo(shadow->extra[shadow->nextra]);
		shadow->nextra++;
	}
}

static void
close_extra_indexes(TideShadow *shadow)
{
	for (int i = 0; i < shadow->nextra; i++)
		index_close(shadow->extra[i], NoLock);
	if (shadow->nextra > 0)
		FreeExecutorState(shadow->estate);
	shadow->nextra = 0;
}

static Relation
shadow_open_index(TideShadow *shadow, const char *format, struct IndexInfo **info)
{
	Relation	index = index_open(tide_shadow_relid(format, shadow->source->source_id),
								   RowExclusiveLock);

	*info = BuildIndexInfo(index);
	return index;
}

void
tide_shadow_close(TideShadow *shadow)
{
	if (shadow->heap == NULL)
		return;
	tide_shadow_end_fetch(shadow);
	for (int i = 0; i < shadow->nslots; i++)
		ExecDropSingleTupleTableSlot(shadow->slots[i]);
	for (int i = 0; i < shadow->nlog_slots; i++)
		ExecDropSingleTupleTableSlot(shadow->log_slots[i]);
	shadow->nslots = shadow->nlog_slots = 0;
	ExecDropSingleTupleTableSlot(shadow->fetched);
	FreeBulkInsertState(shadow->heap_bulk);
	FreeBulkInsertState(shadow->log_bulk);
	if (shadow->key_index != NULL)
	{
		tide_log_end_remove(shadow);
		ExecDropSingleTupleTableSlot(shadow->log_fetched);
		index_close(shadow->key_index, NoLock);
		index_close(shadow->log_index, NoLock);
		index_close(shadow->left_index, NoLock);
		index_close(shadow->left_key_index, NoLock);
	}
	close_extra_indexes(shadow);
	table_close(shadow->heap, NoLock);
	table_close(shadow->log, NoLock);
	shadow->heap = shadow->log = shadow->key_index = shadow->log_index = NULL;
	shadow->left_index = shadow->left_key_index = NULL;
}

bool
tide_shadow_fetch(TideShadow *shadow, const Datum *key)
{
	if (shadow->scan == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(shadow->open_context);

		shadow->scan = index_beginscan_compat(shadow->heap, shadow->key_index,
											  SnapshotSelf, shadow->nkeys, 0);
		MemoryContextSwitchTo(old);
	}
	for (int i = 0; i < shadow->nkeys; i++)
		shadow->key_scan[i].sk_argument = key[i];
	index_rescan(shadow->scan, shadow->key_scan, shadow->nkeys, NULL, 0);
	return index_getnext_slot(shadow->scan, ForwardScanDirection, shadow->fetched);
}

int
tide_shadow_count_copies(TideShadow *shadow, Datum row)
{
	IndexScanDesc scan = index_beginscan_compat(shadow->heap, shadow->key_index,
												SnapshotSelf, 1, 0);
	TupleTableSlot *slot = table_slot_create(shadow->heap, NULL);
	int			count = 0;
	bool		isnull;

	/* they are numbered from 1 without a gap: the last one's number */
	shadow->key_scan[0].sk_argument = row;
	index_rescan(scan, shadow->key_scan, 1, NULL, 0);
	if (index_getnext_slot(scan, BackwardScanDirection, slot))
		count = DatumGetInt32(slot_getattr(slot, shadow->key_pos[1] + 1 + TIDE_SHADOW_FIXED,
										   &isnull));
	ExecDropSingleTupleTableSlot(slot);
	index_endscan(scan);
	return count;
}

void
tide_shadow_end_fetch(TideShadow *shadow)
{
	ExecClearTuple(shadow->fetched);
	if (shadow->scan != NULL)
		index_endscan(shadow->scan);
	shadow->scan = NULL;
}

/* a slot that lives until tide_shadow_close() */
static TupleTableSlot *
slot_for_batch(TideShadow *shadow, Relation rel)
{
	MemoryContext old = MemoryContextSwitchTo(shadow->open_context);
	TupleTableSlot *slot = table_slot_create(rel, NULL);

	MemoryContextSwitchTo(old);
	return slot;
}

TupleTableSlot *
tide_shadow_slot(TideShadow *shadow, int i)
{
	Assert(i <= shadow->nslots && i < TIDE_MULTI_INSERT);
	if (i == shadow->nslots)
		shadow->slots[shadow->nslots++] = slot_for_batch(shadow, shadow->heap);
	return ExecClearTuple(shadow->slots[i]);
}

/* entries in the indexes for joins */
static void
shadow_index_extra(TideShadow *shadow, TupleTableSlot *slot)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	GetPerTupleExprContext(shadow->estate)->ecxt_scantuple = slot;
	for (int i = 0; i < shadow->nextra; i++)
	{
		FormIndexDatum(shadow->extra_infos[i], slot, shadow->estate, values, nulls);
		index_insert(shadow->extra[i], values, nulls, &slot->tts_tid, shadow->heap,
					 UNIQUE_CHECK_NO, false, shadow->extra_infos[i]);
	}
	ResetPerTupleExprContext(shadow->estate);
}

/* entries in the indexes for a row just written */
static void
shadow_index_row(TideShadow *shadow, TupleTableSlot *slot)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	if (shadow->key_index == NULL)
		return;
	for (int i = 0; i < shadow->nkeys; i++)
		values[i] = slot_getattr(slot, shadow->key_pos[i] + 1 + TIDE_SHADOW_FIXED,
								 &nulls[i]);
	index_insert(shadow->key_index, values, nulls, &slot->tts_tid, shadow->heap,
				 UNIQUE_CHECK_YES, false, shadow->key_info);
	if (shadow->nextra > 0)
		shadow_index_extra(shadow, slot);
}

void
tide_shadow_insert(TideShadow *shadow, int n, int options)
{
	if (n == 0)
		return;
	table_multi_insert(shadow->heap, shadow->slots, n, GetCurrentCommandId(true),
					   options, shadow->heap_bulk);
	for (int i = 0; i < n; i++)
		shadow_index_row(shadow, shadow->slots[i]);
}

void
tide_shadow_update(TideShadow *shadow, ItemPointer tid, TupleTableSlot *slot)
{
	TideUpdateIndexes update_indexes;

	simple_table_tuple_update(shadow->heap, tid, slot, SnapshotSelf, &update_indexes);
	if (update_indexes)
		shadow_index_row(shadow, slot);
}

void
tide_shadow_delete(TideShadow *shadow, ItemPointer tid)
{
	simple_table_tuple_delete(shadow->heap, tid, SnapshotSelf);
}

/* write up to TIDE_MULTI_INSERT entries */
static void
log_append_some(TideShadow *shadow, TideLogEntry *entries, int n, int options)
{
	for (int i = 0; i < n; i++)
	{
		TupleTableSlot *slot;

		if (i == shadow->nlog_slots)
			shadow->log_slots[shadow->nlog_slots++] = slot_for_batch(shadow, shadow->log);
		slot = ExecClearTuple(shadow->log_slots[i]);
		memset(slot->tts_isnull, false, shadow->log_desc->natts);
		slot->tts_values[TIDE_LOG_BUCKET - 1] = Int64GetDatum(entries[i].bucket_id);
		slot->tts_values[TIDE_LOG_OP - 1] = Int64GetDatum(entries[i].op_id);
		slot->tts_values[TIDE_LOG_KIND - 1] = CharGetDatum(entries[i].kind);
		slot->tts_values[TIDE_LOG_HASH - 1] = Int64GetDatum((int64) entries[i].hash);
		slot->tts_values[TIDE_LOG_TID - 1] = PointerGetDatum(&entries[i].tid);
		for (int k = 0; k < shadow->nkeys; k++)
			slot->tts_values[TIDE_LOG_FIXED + k] = entries[i].columns[shadow->key_pos[k]];
		ExecStoreVirtualTuple(slot);
	}
	table_multi_insert(shadow->log, shadow->log_slots, n, GetCurrentCommandId(true),
					   options, shadow->log_bulk);
	for (int i = 0; i < n; i++)
	{
		entries[i].log_tid = shadow->log_slots[i]->tts_tid;
		if (shadow->log_index != NULL)
			log_index_entry(shadow, shadow->log_slots[i], &entries[i]);
	}
}

static void
log_index_entry(TideShadow *shadow, TupleTableSlot *slot, const TideLogEntry *entry)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS] = {false};

	values[0] = Int64GetDatum(entry->bucket_id);
	values[1] = Int64GetDatum(entry->op_id);
	index_insert(shadow->log_index, values, nulls, &slot->tts_tid, shadow->log,
				 UNIQUE_CHECK_NO, false, shadow->log_info);
	if (entry->kind != TIDE_LOG_LEAVE)
		return;
	index_insert(shadow->left_index, values + 1, nulls, &slot->tts_tid, shadow->log,
				 UNIQUE_CHECK_NO, false, shadow->left_info);
	for (int k = 0; k < shadow->nkeys; k++)
		values[k] = entry->columns[shadow->key_pos[k]];
	index_insert(shadow->left_key_index, values, nulls, &slot->tts_tid, shadow->log,
				 UNIQUE_CHECK_NO, false, shadow->left_key_info);
	shadow->has_left = true;
}

void
tide_log_append(TideShadow *shadow, TideLogEntry *entries, int n, int options)
{
	for (int done = 0; done < n; done += TIDE_MULTI_INSERT)
		log_append_some(shadow, entries + done, Min(n - done, TIDE_MULTI_INSERT), options);
}
