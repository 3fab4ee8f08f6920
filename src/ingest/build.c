/*
 * build.c
 *	  Building shapes: initial copies, new shapes over existing shadows, clean-up.
 *
 * Everything here is a transaction of its own between two batches, so the change log
 * has one order and one writer. A copy reads its table under a snapshot that is kept
 * with the source: decoded transactions which it saw are skipped for that table.
 *
 * States of a shape:
 *	 building, built_op_id null	 waits for its turn here
 *	 building, built_op_id set	 entries written, follows changes; live with the first checkpoint
 *								 at or beyond the moment of the copy
 *	 live
 *	 failed						 its definition or its expressions raised an error
 *	 dropped					 waits for its buckets to be deleted here
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog/shape_catalog.h"
#include "ingest/altered.h"
#include "catalog/table_key.h"
#include "ingest/apply.h"
#include "ingest/batch.h"
#include "ingest/build.h"
#include "ingest/capture.h"
#include "ingest/limits.h"
#include "ingest/plan_group.h"
#include "ingest/rebuild.h"
#include "ingest/recompile.h"
#include "ingest/route.h"
#include "ingest/shape_cache.h"
#include "ingest/source_scan.h"
#include "ingest/tree.h"
#include "ingest/type_labels.h"
#include "store/shared.h"

/* rows of a new source are seen by nobody before the copy commits */
#define COPY_OPTIONS	(TABLE_INSERT_SKIP_FSM | TABLE_INSERT_FROZEN)

/* one pass over a table's rows that writes the first entries of some shapes */
typedef struct Build
{
	TideIngest *in;
	TideShadow *shadow;
	List	   *shapes;			/* of TideShape */
	TidePlanGroups *groups;		/* of their nodes */
	int64		base_op_id;		/* before any entry */
	int			options;		/* for the table access method */
	int			nrows;			/* gathered in the shadow's slots */
	TideHits	hits[TIDE_MULTI_INSERT];	/* by row; used again and again */
	TideLogEntry *entries;
	int			max_entries;
} Build;

static bool build_shapes_of(TideIngest *in, TideSource *source, bool *later);
static bool prepare_tree(TideIngest *in, TideShape *shape, bool *later);
static bool has_columns(TideIngest *in, TideShape *shape);
static bool are_as_compiled(const TideSource *source, List *shapes);
static bool table_is_as_copied(const TideSource *source);
static bool copy_source(TideIngest *in, TideSource *source, List *shapes);
static void scan_shadow(TideIngest *in, TideWatch *watch, List *shapes);
static void build_begin(Build *build, TideIngest *in, TideShadow *shadow, List *shapes,
						int options);
static void build_flush(Build *build);
static void build_end(Build *build, bool is_live);

/* buckets of the definition before: get their new nodes; a plain shape's entries tell what _members does not */
static void
take_over_buckets(TideIngest *in, TideShape *shape)
{
	ListCell   *lc;

	tide_catalog_renumber_buckets(shape->shape_id);
	tide_buckets_reset(in->buckets);
	foreach(lc, shape->reshown ? shape->nodes : NIL)
	{
		TideJoined	joined = {.shape = shape,.node = lfirst(lc)};

		if (joined.node->parent_id >= 0)
			continue;
		joined.watch = tide_watch_of_source(in, joined.node->source_id);
		tide_tree_make_explicit(in, &joined);
	}
}

/*
 * Next step before a tree can be decided: copy a table that is not there yet, or make the
 * indexes and let it follow changes; tree_build.c does the rest.
 */
static bool
prepare_tree(TideIngest *in, TideShape *shape, bool *later)
{
	bool		same;
	ListCell   *lc;

	foreach(lc, in->sources)
	{
		TideSource *source = lfirst(lc);
		TideWatch  *watch = tide_watch_of_source(in, source->source_id);
		bool		copied;

		if (!list_member_oid(tide_shape_relids(shape), source->relid) ||
			(watch != NULL && !watch->is_broken))
			continue;
		tide_evaluating_shape = shape->shape_id;
		copied = !source->live && ConditionalLockRelationOid(source->relid, AccessShareLock) &&
			copy_source(in, source, NIL);
		tide_evaluating_shape = 0;

		/*
		 * another shape may have set it as well: what is copied is to be
		 * reloaded before anything else
		 */
		*later |= !copied;
		return copied;
	}
	if (!has_columns(in, shape))
		return true;
	if (!tide_recompile_tree(shape, &same, later))
		return false;
	if (!same)
		return true;
	tide_apply_begin();
	tide_evaluating_shape = shape->shape_id;
	tide_tree_create_indexes(in, shape);
	if (shape->redefined)
		take_over_buckets(in, shape);
	tide_evaluating_shape = 0;
	tide_catalog_set_shape_state(shape->shape_id, TIDE_SHAPE_BUILDING,
								 ++in->checkpoint.op_id, NULL);
	tide_checkpoint_store(in);
	tide_apply_end();
	return true;
}

bool
tide_ingest_build(TideIngest *in, bool *later)
{
	ListCell   *lc;

	*later = false;
	if (tide_rebuild_step(in, later))
		return true;
	foreach(lc, in->shapes)
	{
		TideShape  *shape = lfirst(lc);
		TideShapeNode *root = shape->nodes ? linitial(shape->nodes) : NULL;
		ListCell   *lc2;

		if (shape->state != TIDE_SHAPE_BUILDING || shape->built_op_id != 0 || root == NULL)
			continue;
		if (!tide_shape_keeps_plain(shape))
		{
			if (prepare_tree(in, shape, later))
				return true;
			continue;
		}
		foreach(lc2, in->sources)
		{
			TideSource *source = lfirst(lc2);

			if (source->source_id == root->source_id &&
				build_shapes_of(in, source, later))
				return true;
		}
	}
	return false;
}

/* all shapes that wait for this source, in one pass */
static bool
build_shapes_of(TideIngest *in, TideSource *source, bool *later)
{
	List	   *shapes = NIL;
	ListCell   *lc;
	TideWatch  *watch = tide_watch_of_source(in, source->source_id);

	foreach(lc, in->shapes)
	{
		TideShape  *shape = lfirst(lc);

		if (shape->state == TIDE_SHAPE_BUILDING && shape->built_op_id == 0 &&
			shape->nodes != NIL && tide_shape_keeps_plain(shape) &&
			((TideShapeNode *) linitial(shape->nodes))->source_id == source->source_id)
			shapes = lappend(shapes, shape);
	}

	/* somebody alters the table, or it waits to be rebuilt */
	if ((source->live && (watch == NULL || watch->is_broken)) ||
		!ConditionalLockRelationOid(source->relid, AccessShareLock))
	{
		*later = true;
		return false;
	}
	if (!are_as_compiled(source, shapes))
		return tide_recompile_shapes(shapes, later);

	tide_evaluating_shape = ((TideShape *) linitial(shapes))->shape_id;
	tide_shared_worker_state(TIDE_WORKER_COPYING);
	if (watch != NULL)
	{
		if (table_is_as_copied(source))
			scan_shadow(in, watch, shapes);
		else
		{
			/* the shapes may name columns that the shadow has not */
			tide_apply_begin();
			tide_catalog_set_source_broken(source->source_id);
			tide_apply_end();
			tide_ingest_break(in, source->source_id);
		}
	}
	else if (!copy_source(in, source, shapes))
	{
		/* somebody commits just now */
		*later = true;
		tide_evaluating_shape = 0;
		return false;
	}
	tide_evaluating_shape = 0;
	return true;
}

/* whether the table, which is locked, still has what the shapes were compiled for */
static bool
are_as_compiled(const TideSource *source, List *shapes)
{
	Relation	rel = try_relation_open(source->relid, NoLock);
	bool		result = rel != NULL;
	ListCell   *lc;

	foreach(lc, shapes)
		result = result && tide_altered_fits_shape(lfirst(lc), rel);
	if (rel != NULL)
		table_close(rel, NoLock);
	return result;
}

/* whether a live source's table, which is locked, still has the columns of the copy */
static bool
table_is_as_copied(const TideSource *source)
{
	Relation	rel = try_relation_open(source->relid, NoLock);
	bool		result;

	if (rel == NULL)
		return true;			/* dropped: what there was can be served */
	result = tide_source_matches(source, rel) && tide_route_is_same(source, rel);
	table_close(rel, NoLock);
	return result;
}

/*
 * Whether the shadows have the columns of their tables, which the shape may name; breaks those
 * that have not.
 */
static bool
has_columns(TideIngest *in, TideShape *shape)
{
	ListCell   *lc;
	bool		result = true;

	foreach(lc, in->sources)
	{
		TideSource *source = lfirst(lc);

		if (!list_member_oid(tide_shape_relids(shape), source->relid) ||
			!ConditionalLockRelationOid(source->relid, AccessShareLock) ||
			table_is_as_copied(source))
			continue;
		tide_apply_begin();
		tide_catalog_set_source_broken(source->source_id);
		tide_apply_end();
		tide_ingest_break(in, source->source_id);
		result = false;
	}
	return result;
}

static void
add_own_column(TideSource *source, AttrNumber attnum)
{
	int			n = source->ncolumns++;

	source->columns[n] = attnum;
	source->column_names[n] = pstrdup(tide_own_column_name(attnum));
	source->column_types[n] = tide_own_column_type(attnum);
}

void
tide_build_describe(TideSource *source, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	int			max = desc->natts + 3;

	source->table_name = tide_altered_table_name(source->relid);
	source->labels = NIL;
	source->ncolumns = 0;
	source->columns = palloc(sizeof(AttrNumber) * max);
	source->column_names = palloc(sizeof(char *) * max);
	source->column_types = palloc(sizeof(Oid) * max);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!tide_source_keeps(att))
			continue;
		source->columns[source->ncolumns] = att->attnum;
		source->column_names[source->ncolumns] = pstrdup(NameStr(att->attname));
		source->column_types[source->ncolumns++] = att->atttypid;
		source->labels = tide_type_labels(source->labels, att->atttypid);
	}
	if (source->leaves != NULL)
		add_own_column(source, TIDE_ATTNUM_LEAF);
	for (int i = 0; i < source->nkeys; i++)
		if (TIDE_ATTNUM_IS_OWN(source->keys[i]))
			add_own_column(source, source->keys[i]);
}

/* whether a table is still called what the definitions of its shapes call it */
static bool
has_name(const TideSource *source)
{
	char	   *name = tide_altered_table_name(source->relid);

	return source->table_name == NULL || (name != NULL && strcmp(name, source->table_name) == 0);
}

/*
 * Copy a table into its new shadow and write the shapes' first entries on the way. The
 * table is locked. False, with nothing done, if no usable snapshot can be had now.
 */
static bool
copy_source(TideIngest *in, TideSource *source, List *shapes)
{
	Snapshot	snapshot;
	Relation	rel;
	TideShadow *shadow;
	Build		build;
	TideSourceScan *scan;
	TupleTableSlot *slot;

	if (hash_get_num_entries(in->watches) == 0 && in->broken == NIL)
	{
		tide_apply_begin();
		tide_acks_adopt();
		tide_apply_end();
	}
	snapshot = tide_source_snapshot(source);
	if (snapshot == NULL)
		return false;
	rel = table_open(source->relid, NoLock);
	if (!tide_route_is_same(source, rel) || !has_name(source))
	{
		/*
		 * the key or the name is another than when the shapes were made:
		 * compile them again
		 */
		table_close(rel, NoLock);
		UnregisterSnapshot(snapshot);
		tide_ingest_break(in, source->source_id);
		return true;
	}
	tide_apply_begin();
	tide_build_describe(source, rel);
	table_close(rel, NoLock);

	tide_shadow_create(source);
	CommandCounterIncrement();
	shadow = tide_shadow_load(CurrentMemoryContext, source);
	tide_shadow_open(shadow, false);
	build_begin(&build, in, shadow, shapes, COPY_OPTIONS);

	scan = tide_source_scan_begin(in, shadow, snapshot, false);
	slot = MakeSingleTupleTableSlot(shadow->desc, &TTSOpsVirtual);
	while (tide_source_scan_next(scan, slot))
	{
		TupleTableSlot *row = tide_shadow_slot(shadow, build.nrows);

		slot->tts_values[TIDE_SHADOW_OP - 1] = Int64GetDatum(build.base_op_id);
		slot->tts_isnull[TIDE_SHADOW_OP - 1] = false;
		ExecCopySlot(row, slot);
		if (++build.nrows == TIDE_MULTI_INSERT)
			build_flush(&build);
	}
	build_flush(&build);
	ExecDropSingleTupleTableSlot(slot);
	tide_source_scan_end(scan);
	UnregisterSnapshot(snapshot);
	tide_shadow_close(shadow);

	tide_shadow_create_indexes(source);
	tide_catalog_set_source_live(source);
	build_end(&build, false);
	return true;
}

/* first entries of new shapes over rows that are there already */
static void
scan_shadow(TideIngest *in, TideWatch *watch, List *shapes)
{
	TideShadow *shadow = watch->shadow;
	Build		build;
	TableScanDesc scan;
	TupleTableSlot *slot;
	Snapshot	snapshot;

	tide_apply_begin();
	snapshot = RegisterSnapshot(GetActiveSnapshot());
	tide_shadow_open(shadow, true);
	build_begin(&build, in, shadow, shapes, 0);
	scan = table_beginscan(shadow->heap, snapshot, 0, NULL);
	slot = table_slot_create(shadow->heap, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		ExecCopySlot(tide_shadow_slot(shadow, build.nrows), slot);
		if (++build.nrows == TIDE_MULTI_INSERT)
			build_flush(&build);
	}
	build_flush(&build);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	tide_shadow_close(shadow);
	build_end(&build, shadow->source->snapshot_lsn <= in->checkpoint.lsn);
}

static void
build_begin(Build *build, TideIngest *in, TideShadow *shadow, List *shapes, int options)
{
	ListCell   *lc;

	memset(build, 0, sizeof(Build));
	build->in = in;
	build->shadow = shadow;
	build->shapes = shapes;
	build->options = options;
	build->base_op_id = ++in->checkpoint.op_id; /* 0 means not built */
	build->groups = tide_groups_create(CurrentMemoryContext, shadow);
	foreach(lc, shapes)
	{
		TideShape  *shape = lfirst(lc);
		TideShapeNode *node = linitial(shape->nodes);

		tide_groups_add(build->groups,
						tide_node_eval_create(CurrentMemoryContext, shape, node, shadow),
						tide_shape_cache_template(in, shape->shape_id, node));
	}

	/* so that every later change of a row is newer than the build's entries */
	in->checkpoint.op_id++;
	foreach(lc, shapes)
	{
		TideShape  *shape = lfirst(lc);

		if (((TideShapeNode *) linitial(shape->nodes))->key_parts == NIL)
			(void) tide_bucket_for_key(in->buckets, shape->shape_id, 0, NULL, 0,
									   &in->checkpoint.op_id);
	}
}

/* buckets of the gathered rows; returns how many there are in all */
static int
build_evaluate(Build *build)
{
	TideRowAsk	asks[TIDE_MULTI_INSERT];
	int			n = 0;

	for (int i = 0; i < build->nrows; i++)
	{
		TupleTableSlot *row = build->shadow->slots[i];

		slot_getallattrs(row);
		build->hits[i].n = 0;
		asks[i] = (TideRowAsk)
		{
			row->tts_values, row->tts_isnull, 0, &build->hits[i]
		};
	}
	tide_groups_ask(build->groups, build->in->buckets, asks, build->nrows,
					&build->in->checkpoint.op_id);
	for (int i = 0; i < build->nrows; i++)
		n += build->hits[i].n;
	return n;
}

static void
reserve_entries(Build *build, int n)
{
	if (n <= build->max_entries)
		return;
	if (build->entries != NULL)
		pfree(build->entries);
	build->max_entries = Max(n, TIDE_MULTI_INSERT);
	build->entries = MemoryContextAllocHuge(CurrentMemoryContext,
											sizeof(TideLogEntry) * build->max_entries);
}

/* write the gathered rows (a copy's) and their entries */
static void
build_flush(Build *build)
{
	TideShadow *shadow = build->shadow;
	int			n = 0;

	if (build->nrows == 0)
		return;
	CHECK_FOR_INTERRUPTS();
	reserve_entries(build, build_evaluate(build));
	if (build->options != 0)
		tide_shadow_insert(shadow, build->nrows, build->options);
	for (int i = 0; i < build->nrows; i++)
		for (int h = 0; h < build->hits[i].n; h++)
		{
			TideBucket *bucket = build->hits[i].hits[h].bucket;
			TupleTableSlot *row = shadow->slots[i];
			TideLogEntry *entry = &build->entries[n];

			slot_getallattrs(row);
			entry->bucket_id = bucket->bucket_id;
			entry->op_id = ++build->in->checkpoint.op_id;
			entry->kind = TIDE_LOG_ENTER;
			entry->hash = tide_node_eval_hash(build->hits[i].hits[h].eval, row->tts_values,
											  row->tts_isnull, NULL);
			entry->tid = row->tts_tid;
			entry->columns = row->tts_values + TIDE_SHADOW_FIXED;
			tide_bucket_count(build->in->buckets, bucket, 1, entry->hash, 0, entry->op_id);
			tide_limit_bucket(build->in, bucket);
			n++;
		}
	tide_log_append(shadow, build->entries, n, build->options);
	build->nrows = 0;
	if (tide_buckets_are_many(build->in->buckets))
	{
		tide_limits_flush(build->in);
		CommandCounterIncrement();
	}
}

/* buckets, shape states and the checkpoint's op_id; its LSN has not moved */
static void
build_end(Build *build, bool is_live)
{
	ListCell   *lc;

	tide_limits_flush(build->in);
	foreach(lc, build->shapes)
		tide_catalog_set_shape_state(((TideShape *) lfirst(lc))->shape_id,
									 is_live ? TIDE_SHAPE_LIVE : TIDE_SHAPE_BUILDING,
									 build->base_op_id, NULL);
	tide_checkpoint_store(build->in);
	tide_apply_end();
}

bool
tide_build_is_waiting(const TideIngest *in, XLogRecPtr position)
{
	ListCell   *lc;

	foreach(lc, in->copied)
	{
		if (((TideCopied *) lfirst(lc))->lsn <= position)
			return true;
	}
	return false;
}

void
tide_build_finish(TideIngest *in)
{
	ListCell   *lc;

	foreach(lc, in->copied)
	{
		TideCopied *copied = lfirst(lc);

		if (copied->lsn > in->checkpoint.lsn)
			continue;
		if (copied->shape_id != 0)
			tide_catalog_set_shape_state(copied->shape_id, TIDE_SHAPE_LIVE,
										 copied->built_op_id, NULL);
		in->copied = foreach_delete_current(in->copied, lc);
		in->checkpoint.op_id++; /* wakes those who wait for it */
	}
}
