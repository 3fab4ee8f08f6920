/*
 * resync.c
 *	  Bringing a source up to date without its changes: by reading its table again and
 *	  comparing it with the shadow table.
 *
 * The table's rows, sorted by key, and the shadow's, read by the key index, are merged; what
 * differs is folded and applied as the changes of a batch are. So a client gets what differs
 * and nothing else, whatever happened meanwhile.
 *
 * It is done when the WAL cannot be followed: the slot was lost, dropped, moved or not
 * restored with the database; an update or delete did not tell of which row (REPLICA
 * IDENTITY); a table with rows was attached as a partition.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/timeline.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "catalog/shape_catalog.h"
#include "ingest/altered.h"
#include "ingest/apply.h"
#include "ingest/build.h"
#include "ingest/capture.h"
#include "ingest/failed.h"
#include "ingest/fold.h"
#include "ingest/limits.h"
#include "ingest/resync.h"
#include "ingest/route.h"
#include "ingest/source_scan.h"
#include "ingest/tree.h"
#include "store/epoch.h"
#include "util/compat.h"
#include "util/spi.h"

/* both sides of the merge */
typedef struct Merge
{
	TideWatch  *watch;
	TideChunk	chunk;
	TideSourceScan *source;
	TupleTableSlot *source_row;
	bool		has_source;
	IndexScanDesc shadow;
	TupleTableSlot *shadow_row;
	bool		has_shadow;
	FmgrInfo   *compare;		/* per key column */
	int64		ndifferences;
} Merge;

static void merge_begin(Merge *merge, TideIngest *in, TideWatch *watch, Snapshot snapshot);
static void merge_step(Merge *merge);
static void merge_end(Merge *merge);

static TideSource *
find_source(TideIngest *in, int source_id)
{
	ListCell   *lc;

	foreach(lc, in->sources)
	{
		TideSource *source = lfirst(lc);

		if (source->source_id == source_id)
			return source;
	}
	return NULL;
}

/* whether columns have the typmods and collations they had */
static bool
same_columns(const TideShadow *shadow, Relation rel)
{
	for (int i = 0; i < shadow->ncolumns - shadow->nown; i++)
	{
		Form_pg_attribute was = TupleDescAttr(shadow->desc, i + TIDE_SHADOW_FIXED);
		Form_pg_attribute is = TupleDescAttr(RelationGetDescr(rel),
											 shadow->source->columns[i] - 1);

		if (was->atttypmod != is->atttypmod || was->attcollation != is->attcollation)
			return false;
	}
	return true;
}

/* whether a table, which is locked, is still what the source's shadow was made for */
static bool
is_comparable(const TideSource *source, const TideShadow *shadow)
{
	Relation	rel = try_relation_open(source->relid, NoLock);
	char	   *name = tide_altered_table_name(source->relid);
	bool		result = rel != NULL && name != NULL &&
	strcmp(name, source->table_name) == 0 && tide_source_matches(source, rel) &&
	tide_route_is_same(source, rel) && same_columns(shadow, rel);

	for (int i = 0; result && i < source->nleaves; i++)
	{
		Relation	leaf = table_open(source->leaves[i], NoLock);

		result = leaf->rd_rel->relkind == RELKIND_RELATION &&
			leaf->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT;
		table_close(leaf, NoLock);
	}
	if (rel != NULL)
		relation_close(rel, NoLock);
	return result;
}

/* whether the partitions it got since have no rows, nor had any */
static bool
new_leaves_are_empty(const TideSource *was, const TideSource *is)
{
	for (int i = 0; i < is->nleaves; i++)
	{
		Relation	leaf;
		BlockNumber blocks;

		if (tide_route_has_leaf(was->leaves, was->nleaves, is->leaves[i]))
			continue;
		leaf = table_open(is->leaves[i], NoLock);
		blocks = RelationGetNumberOfBlocks(leaf);
		table_close(leaf, NoLock);
		if (blocks > 0)
			return false;
	}
	return true;
}

TideResyncResult
tide_resync(TideIngest *in, int source_id)
{
	TideSource *was = find_source(in, source_id);
	TideWatch  *watch = tide_watch_of_source(in, source_id);
	TideSource	source;
	Snapshot	snapshot;
	Merge		merge;

	if (was == NULL || !was->live || watch == NULL || !tide_altered_is_open(watch))
		return TIDE_RESYNC_NOT;
	source = *was;
	snapshot = tide_source_snapshot(&source);
	if (snapshot == NULL)
		return TIDE_RESYNC_LATER;
	if (!is_comparable(&source, watch->shadow) ||
		tide_altered_labels(watch, &source.labels) == TIDE_LABELS_RENAMED)
	{
		UnregisterSnapshot(snapshot);
		return TIDE_RESYNC_NOT;
	}
	if (list_member_int(in->regrown, source_id) && new_leaves_are_empty(was, &source))
	{
		/* nothing was missed: the copy is the one it was */
		source.snapshot = was->snapshot;
		source.snapshot_lsn = was->snapshot_lsn;
		UnregisterSnapshot(snapshot);
		tide_catalog_set_source_live(&source);
		return TIDE_RESYNC_DONE;
	}
	watch->shadow->source = &source;
	in->last_now = in->checkpoint.now;
	tide_node_eval_set_now(in->checkpoint.now);
	merge_begin(&merge, in, watch, snapshot);
	while (merge.has_source || merge.has_shadow)
		merge_step(&merge);
	merge_end(&merge);
	UnregisterSnapshot(snapshot);
	tide_tree_apply(in);
	tide_limits_flush(in);
	tide_catalog_set_source_live(&source);
	watch->shadow->source = was;
	tide_checkpoint_store(in);
	ereport(LOG,
			(errmsg("pg_tide compared table with OID %u with its copy: " INT64_FORMAT " rows differed",
					source.relid, merge.ndifferences)));
	return TIDE_RESYNC_DONE;
}

static void
next_source(Merge *merge)
{
	merge->has_source = tide_source_scan_next(merge->source, merge->source_row);
}

static void
next_shadow(Merge *merge)
{
	merge->has_shadow = index_getnext_slot(merge->shadow, ForwardScanDirection,
										   merge->shadow_row);
	if (merge->has_shadow)
		slot_getallattrs(merge->shadow_row);
}

static void
merge_begin(Merge *merge, TideIngest *in, TideWatch *watch, Snapshot snapshot)
{
	TideShadow *shadow = watch->shadow;

	memset(merge, 0, sizeof(Merge));
	merge->watch = watch;
	tide_chunk_init(&merge->chunk, in);
	tide_shadow_open(shadow, true);
	merge->compare = palloc(sizeof(FmgrInfo) * shadow->nkeys);
	for (int i = 0; i < shadow->nkeys; i++)
	{
		Oid			type = TupleDescAttr(shadow->key_desc, i)->atttypid;

		fmgr_info(lookup_type_cache(type, TYPECACHE_CMP_PROC)->cmp_proc, &merge->compare[i]);
	}
	merge->source = tide_source_scan_begin(in, shadow, snapshot, true);
	merge->source_row = MakeSingleTupleTableSlot(shadow->desc, &TTSOpsVirtual);
	merge->shadow = index_beginscan_compat(shadow->heap, shadow->key_index, snapshot, 0, 0);
	index_rescan(merge->shadow, NULL, 0, NULL, 0);
	merge->shadow_row = table_slot_create(shadow->heap, NULL);
	next_source(merge);
	next_shadow(merge);
}

/* order of the two rows by key; the side that has ended is last */
static int
compare_keys(Merge *merge)
{
	TideShadow *shadow = merge->watch->shadow;

	if (!merge->has_source || !merge->has_shadow)
		return merge->has_source ? -1 : 1;
	for (int i = 0; i < shadow->nkeys; i++)
	{
		int			a = shadow->key_pos[i] + TIDE_SHADOW_FIXED;
		int			order = DatumGetInt32(FunctionCall2Coll(&merge->compare[i],
															TupleDescAttr(shadow->key_desc, i)->attcollation,
															merge->source_row->tts_values[a],
															merge->shadow_row->tts_values[a]));

		if (order != 0)
			return order;
	}
	return 0;
}

/* whether two rows of the same key have the same bits */
static bool
same_row(const Merge *merge)
{
	const TupleTableSlot *x = merge->source_row;
	const TupleTableSlot *y = merge->shadow_row;

	for (int a = TIDE_SHADOW_FIXED; a < x->tts_tupleDescriptor->natts; a++)
	{
		Form_pg_attribute att = TupleDescAttr(x->tts_tupleDescriptor, a);

		if (x->tts_isnull[a] != y->tts_isnull[a] ||
			(!x->tts_isnull[a] &&
			 !datum_image_eq(x->tts_values[a], y->tts_values[a], att->attbyval, att->attlen)))
			return false;
	}
	return true;
}

static void
merge_step(Merge *merge)
{
	MemoryContext scratch = merge->chunk.in->scratch;
	MemoryContext old = MemoryContextSwitchTo(scratch);
	int			order = compare_keys(merge);
	bool		differs = order != 0 || !same_row(merge);

	MemoryContextSwitchTo(old);
	MemoryContextReset(scratch);
	CHECK_FOR_INTERRUPTS();
	if (differs && order <= 0)
		tide_chunk_add_row(&merge->chunk, merge->watch, merge->source_row);
	else if (differs)
		tide_chunk_add_delete(&merge->chunk, merge->watch, merge->shadow_row);
	merge->ndifferences += differs;
	if (differs && tide_chunk_is_full(&merge->chunk))
		tide_chunk_apply(&merge->chunk);
	if (order <= 0)
		next_source(merge);
	if (order >= 0)
		next_shadow(merge);
}

static void
merge_end(Merge *merge)
{
	tide_chunk_apply(&merge->chunk);
	MemoryContextDelete(merge->chunk.context);
	index_endscan(merge->shadow);
	tide_source_scan_end(merge->source);
	ExecDropSingleTupleTableSlot(merge->source_row);
	ExecDropSingleTupleTableSlot(merge->shadow_row);
	tide_shadow_close(merge->watch->shadow);
}

static void
run(const char *sql, Oid type, Datum value)
{
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (SPI_execute_with_args(sql, 1, &type, &value, NULL, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	tide_spi_end(&frame);
}

void
tide_ingest_begin_epoch(void)
{
	TideState	state;
	pg_uuid_t	epoch;

	tide_state_read(&state);
	tide_epoch_next(&state.epoch, &epoch);
	run("UPDATE tide_internal.state SET epoch = $1", UUIDOID, UUIDPGetDatum(&epoch));
	CommandCounterIncrement();
}

/*
 * The database may have been put back in time, by a restore or by the promotion of a standby
 * that lagged: then clients have seen op_ids that will be given out once more. So a new
 * epoch begins; cookies of the old one count as far as it is known here.
 */
static void
follow_epoch(int64 last_op_id)
{
	run("INSERT INTO tide_internal.epochs SELECT epoch, $1 FROM tide_internal.state",
		INT8OID, Int64GetDatum(last_op_id));
	tide_ingest_begin_epoch();
}

/*
 * Whether the server was promoted, or recovered to a point in time, since the checkpoint at lsn. Where
 * the history parted the checkpoint was in the WAL before; the next one is of this timeline.
 */
static bool
is_of_former_timeline(XLogRecPtr lsn)
{
	TimeLineID	timeline = GetWALInsertionTimeLine();

	return tliOfPointInHistory(lsn, readTimeLineHistory(timeline)) != timeline;
}

bool
tide_ingest_slot_is_lost(ReplicationSlot *slot)
{
	TideCheckpoint checkpoint;

	if (ReplicationSlotIsLost_compat(slot))
		return true;
	PushActiveSnapshot(GetLatestSnapshot());
	tide_checkpoint_read(&checkpoint);
	PopActiveSnapshot();
	return !ReplicationSlotIsSynced_compat(slot) && checkpoint.op_id > 0 &&
		is_of_former_timeline(checkpoint.lsn);
}

/* nothing was missed, but what clients have seen may not be all here */
static void
follow_promotion(TideIngest *in)
{
	if (in->checkpoint.op_id == 0 || !is_of_former_timeline(in->checkpoint.lsn))
		return;
	tide_apply_begin();
	follow_epoch(in->checkpoint.op_id);
	tide_apply_end();
	ereport(LOG,
			(errmsg("pg_tide goes on with replication slot \"%s\" after a promotion, from %X/%X, op_id " INT64_FORMAT,
					NameStr(MyReplicationSlot->data.name), LSN_FORMAT_ARGS(in->checkpoint.lsn),
					in->checkpoint.op_id)));
}

/* tell of it in tide.status */
static void
note_loss(const char *message)
{
	run("UPDATE tide_internal.state SET last_error = $1,"
		" last_error_at = pg_catalog.clock_timestamp()",
		TEXTOID, CStringGetTextDatum(message));
}

void
tide_resync_if_lost(TideIngest *in)
{
	XLogRecPtr	begin = MyReplicationSlot->data.confirmed_flush;
	bool		any = false;
	ListCell   *lc;
	char	   *message;

	if (begin <= in->checkpoint.lsn && in->checkpoint.lsn <= GetFlushRecPtr(NULL))
	{
		follow_promotion(in);
		return;
	}
	tide_apply_begin();
	foreach(lc, in->sources)
	{
		TideSource *source = lfirst(lc);

		if (!source->live)
			continue;
		any = true;
		tide_catalog_set_source_broken(source->source_id);
		tide_ingest_break(in, source->source_id);
	}
	tide_failed_forget_all();
	if (any)
	{
		message = psprintf("replication slot \"%s\" begins at %X/%X but changes were taken in up to %X/%X: all tables are compared with their copies",
						   NameStr(MyReplicationSlot->data.name), LSN_FORMAT_ARGS(begin),
						   LSN_FORMAT_ARGS(in->checkpoint.lsn));
		ereport(LOG,
				(errmsg("%s", message)));
		note_loss(message);
		follow_epoch(in->checkpoint.op_id);
		tide_acks_adopt();
	}
	in->checkpoint.lsn = begin;
	in->checkpoint.at = GetCurrentTimestamp();
	tide_checkpoint_store(in);
	tide_apply_end();
}
