/*
 * carry.c
 *	  An altered table copied anew, with the buckets its shapes have.
 *
 * Used when a source broke but its table and its key are the same: columns came, went, were
 * renamed or changed their type, or rows were rewritten. The table is copied into a new shadow
 * under one snapshot, as for a new source, and each row is compared with the one in the
 * old shadow, as old and new form of each shape see both:
 *
 *	 old bucket	 new bucket
 *	 -			 b			 enter
 *	 b			 b			 change if the JSON shown differs, else nothing
 *	 b			 c			 leave b, enter c
 *	 b			 -			 leave (also rows that are gone)
 *
 * A row without new entries keeps its _op and _members, so what clients have stays valid;
 * carry_plan.c has the rules.
 * The new source has an id of its own: a pull that still reads by an older snapshot must not
 * find the new tables under the old names. The change log is copied along; the tids in
 * it are hints that will miss.
 *
 * The copy is newer than the checkpoint, so the shapes stay "building" until the checkpoint
 * has caught up; pulls leave their buckets as they are meanwhile.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "ingest/apply.h"
#include "ingest/build.h"
#include "ingest/carry.h"
#include "ingest/carry_plan.h"
#include "ingest/compaction.h"
#include "ingest/limits.h"
#include "ingest/membership.h"
#include "ingest/settle.h"
#include "ingest/source_scan.h"
#include "ingest/type_labels.h"
#include "store/shadow.h"
#include "util/json_writer.h"
#include "util/spi.h"

/* rows of a new table are seen by nobody before it is committed */
#define COPY_OPTIONS	(TABLE_INSERT_SKIP_FSM | TABLE_INSERT_FROZEN)

static void carry_nodes(Carry *carry, List *shapes);
static void settle(Carry *carry);
static void copy_log(Carry *carry);
static void carry_rows(Carry *carry, Snapshot snapshot);
static void carry_gone(Carry *carry);
static void carry_finish(Carry *carry, int old_id);
static void carry_flush(Carry *carry);
static void carry_evaluate(Carry *carry, bool has_new);

/* one integer from a statement about one integer, as the extension's owner */
static int
run_for(const char *sql, int id)
{
	TideSpiFrame frame;
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(id)};
	bool		isnull = true;
	Datum		result = (Datum) 0;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (SPI_execute_with_args(sql, 1, types, values, NULL, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	if (SPI_tuptable != NULL && SPI_processed > 0)
		result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	tide_spi_end(&frame);
	return isnull ? 0 : DatumGetInt32(result);
}

int
tide_carry_begin(const TideSource *source)
{
	return run_for("UPDATE tide_internal.sources SET source_id = DEFAULT"
				   " WHERE source_id = $1 RETURNING source_id", source->source_id);
}

void
tide_carry_source(TideIngest *in, TideSource *source, int new_id, Snapshot snapshot,
				  List *shapes)
{
	TideSource *new_source = palloc(sizeof(TideSource));
	Carry	   *carry = palloc0(sizeof(Carry));
	Relation	rel = table_open(source->relid, NoLock);

	*new_source = *source;
	tide_build_describe(new_source, rel);
	new_source->source_id = new_id;
	tide_shadow_create(new_source);
	CommandCounterIncrement();
	carry->in = in;
	carry->old = tide_shadow_load(CurrentMemoryContext, source);
	carry->new = tide_shadow_load(CurrentMemoryContext, new_source);
	carry->chunk = AllocSetContextCreate(CurrentMemoryContext, "tide carry",
										 ALLOCSET_DEFAULT_SIZES);
	carry->base_op_id = ++in->checkpoint.op_id;
	carry_nodes(carry, shapes);
	settle(carry);
	copy_log(carry);
	tide_shadow_open(carry->old, true);
	tide_shadow_open(carry->new, false);
	carry_rows(carry, snapshot);
	tide_shadow_close(carry->new);
	table_close(rel, NoLock);
	UnregisterSnapshot(snapshot);

	tide_shadow_create_indexes(new_source);
	CommandCounterIncrement();
	tide_shadow_open(carry->new, true);
	carry_gone(carry);
	tide_shadow_close(carry->new);
	tide_shadow_close(carry->old);
	carry_finish(carry, source->source_id);
}

static const char *
name_of(const TideSource *source, AttrNumber attnum)
{
	for (int i = 0; i < source->ncolumns; i++)
		if (source->columns[i] == attnum)
			return source->column_names[i];
	elog(ERROR, "source %d has no column %d", source->source_id, attnum);
}

/* writer of the columns a node shows, of rows in its shadow's layout */
static TideRowWriter *
node_writer(const TideNodeEval *eval)
{
	AttrNumber *attnums = palloc(sizeof(AttrNumber) * eval->ncolumns);
	const char **names = palloc(sizeof(char *) * eval->ncolumns);

	for (int i = 0; i < eval->ncolumns; i++)
	{
		attnums[i] = eval->positions[i] + 1 + TIDE_SHADOW_FIXED;
		names[i] = name_of(eval->shadow->source, eval->node->columns[i]);
	}
	return tide_row_writer_create(CurrentMemoryContext, eval->shadow->desc, attnums, names,
								  eval->ncolumns, NULL);
}

/* what differs between the two forms of what a node shows */
static void
compare_views(CarryNode *node)
{
	const TideNodeEval *was = node->was;
	const TideNodeEval *is = node->is;

	node->is_same_view = true;
	node->resends = was->ncolumns != is->ncolumns;
	for (int i = 0; !node->resends && i < is->ncolumns; i++)
	{
		AttrNumber	attnum = is->node->columns[i];
		Oid			old_type = TupleDescAttr(was->shadow->desc,
											 was->positions[i] + TIDE_SHADOW_FIXED)->atttypid;
		Oid			new_type = TupleDescAttr(is->shadow->desc,
											 is->positions[i] + TIDE_SHADOW_FIXED)->atttypid;

		/* values of a type that was dropped cannot be shown any more */
		node->resends = was->node->columns[i] != attnum ||
			strcmp(name_of(was->shadow->source, attnum),
				   name_of(is->shadow->source, attnum)) != 0 ||
			!SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(old_type)) ||
			tide_labels_compare(was->shadow->source->labels,
								tide_type_labels(NIL, new_type)) == TIDE_LABELS_RENAMED;
		node->is_same_view &= old_type == new_type;
	}
}

/* a node on the table, in both forms */
static void
carry_node(Carry *carry, const TideCarried *carried, TideShapeNode *was, TideShapeNode *is)
{
	CarryNode  *node = palloc0(sizeof(CarryNode));

	node->was = tide_node_eval_create(CurrentMemoryContext, carried->was, was, carry->old);
	node->is = tide_node_eval_create(CurrentMemoryContext, carried->is, is, carry->new);
	node->is_joined = !tide_shape_keeps_plain(carried->was);
	compare_views(node);
	if (!node->resends && !node->is_same_view)
	{
		node->was_writer = node_writer(node->was);
		node->is_writer = node_writer(node->is);
	}
	carry->nodes = lappend(carry->nodes, node);

	/* a bucket that holds whatever there is, rows or not */
	if (!node->is_joined && is->key_parts == NIL)
		(void) tide_bucket_for_key(carry->in->buckets, carried->is->shape_id, 0, NULL, 0,
								   &carry->in->checkpoint.op_id);
}

static void
carry_nodes(Carry *carry, List *shapes)
{
	ListCell   *lc;

	foreach(lc, shapes)
	{
		TideCarried *carried = lfirst(lc);
		ListCell   *was;
		ListCell   *is;

		forboth(was, carried->was->nodes, is, carried->is->nodes)
		{
			if (((TideShapeNode *) lfirst(is))->source_id == carry->new->source->source_id)
				carry_node(carry, carried, lfirst(was), lfirst(is));
		}
	}
}

/* buckets' rows must not depend on a log that goes */
static void
settle(Carry *carry)
{
	List	   *shapes = NIL;
	ListCell   *lc;

	foreach(lc, carry->nodes)
		shapes = list_append_unique_ptr(shapes, ((CarryNode *) lfirst(lc))->is->shape);
	tide_settle_source(carry->in, carry->old->source, shapes);
}

/*
 * Into the new change log, without what is superseded as a whole: where every row gets an
 * entry. Who knows an entry by its op_id only, finds none and so one current entry.
 */
static void
copy_log(Carry *carry)
{
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO tide_shadow.log%d SELECT l.* FROM tide_shadow.log%d l"
					 " JOIN tide_internal.buckets b USING (bucket_id)"
					 " WHERE l.kind = 'l' OR (b.shape_id, b.node_id) NOT IN (($1, 0)",
					 carry->new->source->source_id, carry->old->source->source_id);
	foreach(lc, carry->nodes)
	{
		CarryNode  *node = lfirst(lc);

		if (node->resends)
			appendStringInfo(&sql, ", (%d, %d)", node->is->shape->shape_id,
							 node->is->node->node_id);
	}
	appendStringInfoChar(&sql, ')');
	(void) run_for(sql.data, 0);
}

static void
make_row(CarryRow *row, int natts)
{
	row->values = palloc(sizeof(Datum) * natts);
	row->nulls = palloc(sizeof(bool) * natts);
}

/* the old shadow's row in slot */
static void
take_old(Carry *carry, CarryRow *row, TupleTableSlot *slot)
{
	MemoryContext context = MemoryContextSwitchTo(carry->chunk);

	make_row(row, carry->old->desc->natts);
	heap_deform_tuple(ExecCopySlotHeapTuple(slot), carry->old->desc, row->values, row->nulls);
	MemoryContextSwitchTo(context);
}

/* the table's row in slot, in the new shadow's layout */
static void
take_new(Carry *carry, CarryRow *row, TupleTableSlot *slot)
{
	MemoryContext context = MemoryContextSwitchTo(carry->chunk);

	make_row(row, carry->new->desc->natts);
	heap_deform_tuple(ExecCopySlotHeapTuple(slot), carry->new->desc, row->values, row->nulls);
	row->values[TIDE_SHADOW_OP - 1] = Int64GetDatum(carry->base_op_id);
	row->nulls[TIDE_SHADOW_OP - 1] = false;
	row->values[TIDE_SHADOW_MEMBERS - 1] = (Datum) 0;
	row->nulls[TIDE_SHADOW_MEMBERS - 1] = true;
	MemoryContextSwitchTo(context);
}

/* the table's rows, each beside the old one with its key */
static void
carry_rows(Carry *carry, Snapshot snapshot)
{
	TideSourceScan *scan = tide_source_scan_begin(carry->in, carry->new, snapshot, false);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(carry->new->desc, &TTSOpsVirtual);
	Datum		key[INDEX_MAX_KEYS];

	while (tide_source_scan_next(scan, slot))
	{
		CarryRow   *new = &carry->news[carry->nrows];
		CarryRow   *old = &carry->olds[carry->nrows];

		take_new(carry, new, slot);
		for (int i = 0; i < carry->new->nkeys; i++)
			key[i] = new->values[carry->new->key_pos[i] + TIDE_SHADOW_FIXED];
		old->values = NULL;
		if (tide_shadow_fetch(carry->old, key))
		{
			take_old(carry, old, carry->old->fetched);
			carry->nmatched++;
		}
		if (++carry->nrows == TIDE_MULTI_INSERT)
			carry_flush(carry);
	}
	carry_flush(carry);
	tide_shadow_end_fetch(carry->old);
	ExecDropSingleTupleTableSlot(slot);
	tide_source_scan_end(scan);
}

/* the bucket that holds a row, or NULL */
static TideBucket *
bucket_of(Carry *carry, TideNodeEval *eval, const CarryRow *row)
{
	List	   *keys = tide_node_eval_keys(eval, row->values, row->nulls);

	return keys == NIL ? NULL :
		tide_bucket_for_key(carry->in->buckets, eval->shape->shape_id, eval->node->node_id,
							(const char *const *) linitial(keys), eval->nkeys,
							&carry->in->checkpoint.op_id);
}

/* which nodes' buckets hold a row, in both forms; each node as its shape's owner */
static void
carry_evaluate(Carry *carry, bool has_new)
{
	ListCell   *lc;

	foreach(lc, carry->nodes)
	{
		CarryNode  *node = lfirst(lc);
		TideSpiFrame frame;

		if (node->is_joined)
			continue;
		tide_node_eval_begin(node->is, &frame);
		for (int i = 0; i < carry->nrows; i++)
			node->is_buckets[i] = !has_new ? NULL :
				bucket_of(carry, node->is, &carry->news[i]);
		tide_node_eval_end(node->is, &frame);

		tide_node_eval_begin(node->was, &frame);
		for (int i = 0; i < carry->nrows; i++)
		{
			CarryRow   *old = &carry->olds[i];

			node->was_buckets[i] = NULL;
			if (old->values != NULL && node->was->shape->built_op_id >=
				DatumGetInt64(old->values[TIDE_SHADOW_OP - 1]))
				node->was_buckets[i] = bucket_of(carry, node->was, old);
		}
		tide_node_eval_end(node->was, &frame);
	}
}

static void
carry_flush(Carry *carry)
{
	MemoryContext context = MemoryContextSwitchTo(carry->chunk);

	CHECK_FOR_INTERRUPTS();
	if (carry->nrows > 0)
		carry_evaluate(carry, true);
	for (int i = 0; i < carry->nrows; i++)
	{
		TupleTableSlot *slot = tide_shadow_slot(carry->new, i);
		int			natts = carry->new->desc->natts;

		tide_carry_plan_row(carry, i);
		memcpy(slot->tts_values, carry->news[i].values, sizeof(Datum) * natts);
		memcpy(slot->tts_isnull, carry->news[i].nulls, sizeof(bool) * natts);
		ExecStoreVirtualTuple(slot);
	}
	tide_shadow_insert(carry->new, carry->nrows, COPY_OPTIONS);
	for (int i = 0; i < carry->nentries; i++)
		carry->entries[i].tid = carry->new->slots[carry->rows[i]]->tts_tid;
	tide_log_append(carry->new, carry->entries, carry->nentries, COPY_OPTIONS);
	tide_compact_count(carry->in, carry->entries, carry->nentries);
	MemoryContextSwitchTo(context);
	MemoryContextReset(carry->chunk);
	carry->entries = NULL;
	carry->nrows = carry->nentries = carry->max_entries = 0;
	if (tide_buckets_are_many(carry->in->buckets))
	{
		tide_limits_flush(carry->in);
		CommandCounterIncrement();
	}
}

/* leaves of the rows gathered, which the new shadow has not */
static void
gone_flush(Carry *carry)
{
	MemoryContext context = MemoryContextSwitchTo(carry->chunk);

	if (carry->nrows > 0)
		carry_evaluate(carry, false);
	for (int i = 0; i < carry->nrows; i++)
		tide_carry_plan_gone(carry, i);
	tide_log_append(carry->new, carry->entries, carry->nentries, 0);
	tide_compact_count(carry->in, carry->entries, carry->nentries);
	MemoryContextSwitchTo(context);
	MemoryContextReset(carry->chunk);
	carry->entries = NULL;
	carry->nrows = carry->nentries = carry->max_entries = 0;
}

/* how many rows the old shadow has */
static int64
count_old(Carry *carry, Snapshot snapshot)
{
	TableScanDesc scan = table_beginscan(carry->old->heap, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(carry->old->heap, NULL);
	int64		n = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
		n++;
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	return n;
}

static void
carry_gone(Carry *carry)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan;
	TupleTableSlot *slot;
	Datum		key[INDEX_MAX_KEYS];

	/* mostly there are none */
	if (count_old(carry, snapshot) == carry->nmatched)
	{
		UnregisterSnapshot(snapshot);
		return;
	}
	scan = table_beginscan(carry->old->heap, snapshot, 0, NULL);
	slot = table_slot_create(carry->old->heap, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		for (int i = 0; i < carry->old->nkeys; i++)
			key[i] = slot->tts_values[carry->old->key_pos[i] + TIDE_SHADOW_FIXED];
		if (tide_shadow_fetch(carry->new, key))
			continue;
		take_old(carry, &carry->olds[carry->nrows], slot);
		if (++carry->nrows == TIDE_MULTI_INSERT)
		{
			tide_shadow_end_fetch(carry->new);
			gone_flush(carry);
		}
	}
	tide_shadow_end_fetch(carry->new);
	gone_flush(carry);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
}

/* the new source takes the old one's place; the checkpoint's LSN has not moved */
static void
carry_finish(Carry *carry, int old_id)
{
	ListCell   *lc;

	(void) tide_shadow_drop(old_id);
	tide_limits_flush(carry->in);
	tide_catalog_set_source_live(carry->new->source);
	foreach(lc, carry->nodes)
	{
		CarryNode  *node = lfirst(lc);
		TideShape  *shape = node->is->shape;

		if (node->is_joined)
			continue;

		/*
		 * where all rows were written anew, none has an entry that only a
		 * build wrote
		 */
		tide_catalog_set_shape_state(shape->shape_id, TIDE_SHAPE_BUILDING,
									 node->resends ? TIDE_BUILT_EXPLICIT : shape->built_op_id,
									 NULL);
	}
	tide_checkpoint_store(carry->in);
}
