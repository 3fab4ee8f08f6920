/*
 * tree_build.c
 *	  Building shapes that are not plain: slice by slice, between batches.
 *
 *	 building, built_op_id null	 waits for its tables' copies and indexes
 *	 building, built_op_id set	 follows changes; its roots' rows are decided a slice at a time
 *	 live
 *
 * The keys of a root's table are written down first: rows move while the shadow is written to, keys
 * do not. Rows with new keys come with the batches. What is below the roots follows from what
 * they move. All of it can be begun again at any time: deciding a row twice changes nothing.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog/shape_catalog.h"
#include "ingest/apply.h"
#include "ingest/build.h"
#include "ingest/carry_plan.h"
#include "ingest/limits.h"
#include "ingest/tree.h"
#include "store/shared.h"
#include "util/guc.h"

/* rows decided in one transaction */
#define SLICE_ROWS		2000

/* the build under way, in in->context */
typedef struct TideTreeBuild
{
	MemoryContext context;
	int			shape_id;
	int			root;			/* node_id of the root being decided */
	Tuplestorestate *keys;		/* of its table, in the layout of the shadow's
								 * key_desc */
	int64		nkeys;
	int64		ndone;
} TideTreeBuild;

static TideJoined *
joined_of(TideIngest *in, int shape_id, int node_id)
{
	ListCell   *lc;

	foreach(lc, in->trees)
	{
		TideJoined *joined = lfirst(lc);

		if (joined->shape->shape_id == shape_id && joined->node->node_id == node_id)
			return joined;
	}
	return NULL;
}

/* the next root at or after node_id; built over other buckets every node has to be decided */
static TideJoined *
next_root(TideIngest *in, int shape_id, int node_id)
{
	ListCell   *lc;

	foreach(lc, in->trees)
	{
		TideJoined *joined = lfirst(lc);

		if (joined->shape->shape_id == shape_id &&
			(joined->parent == NULL || joined->shape->redefined) &&
			joined->node->node_id >= node_id)
			return joined;
	}
	return NULL;
}

/* whether all tables are as of the checkpoint or before: none is ahead of the others */
static bool
is_ready(TideIngest *in, TideShape *shape)
{
	ListCell   *lc;

	if (shape->state != TIDE_SHAPE_BUILDING || shape->built_op_id == 0 ||
		tide_shape_keeps_plain(shape) || next_root(in, shape->shape_id, 0) == NULL)
		return false;
	foreach(lc, tide_shape_relids(shape))
	{
		TideWatch  *watch = hash_search(in->watches, &lfirst_oid(lc), HASH_FIND, NULL);

		if (watch == NULL || watch->is_broken ||
			watch->shadow->source->snapshot_lsn > in->checkpoint.lsn)
			return false;
	}
	return true;
}

static TideShape *
next_shape(TideIngest *in)
{
	ListCell   *lc;

	foreach(lc, in->shapes)
	{
		if (is_ready(in, lfirst(lc)))
			return lfirst(lc);
	}
	return NULL;
}

bool
tide_tree_is_building(const TideIngest *in)
{
	ListCell   *lc;

	foreach(lc, in->shapes)
	{
		TideShape  *shape = lfirst(lc);

		if (shape->state == TIDE_SHAPE_BUILDING && shape->built_op_id != 0 &&
			!tide_shape_keeps_plain(shape))
			return true;
	}
	return false;
}

bool
tide_tree_has_windows(const TideIngest *in)
{
	ListCell   *lc;

	foreach(lc, in->trees)
	{
		if (((TideJoined *) lfirst(lc))->window_sql != NULL)
			return true;
	}
	return false;
}

void
tide_tree_build_forget(TideIngest *in)
{
	if (in->build == NULL)
		return;
	if (in->build->keys != NULL)
		tuplestore_end(in->build->keys);
	MemoryContextDelete(in->build->context);
	in->build = NULL;
}

/* write down the keys of a root's table */
static void
read_keys(TideIngest *in, TideTreeBuild *build, TideJoined *root)
{
	TideShadow *shadow = root->watch->shadow;
	Relation	rel = table_open(shadow->heap_oid, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext old = MemoryContextSwitchTo(build->context);

	/* outlives transactions, like the batch's spool */
	CurrentResourceOwner = in->owner;
	build->keys = tuplestore_begin_heap(false, true, tide_spool_memory);
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(old);
	build->nkeys = build->ndone = 0;
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		Datum		key[INDEX_MAX_KEYS];
		bool		nulls[INDEX_MAX_KEYS];

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < shadow->nkeys; i++)
			key[i] = slot_getattr(slot, shadow->key_pos[i] + 1 + TIDE_SHADOW_FIXED, &nulls[i]);
		CurrentResourceOwner = in->owner;
		tuplestore_putvalues(build->keys, shadow->key_desc, key, nulls);
		CurrentResourceOwner = owner;
		build->nkeys++;
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
}

/* put the next slice of rows into R; false at the end of the keys */
static bool
take_slice(TideIngest *in, TideTreeBuild *build, TideJoined *root)
{
	TideShadow *shadow = root->watch->shadow;
	TupleTableSlot *slot = MakeSingleTupleTableSlot(shadow->key_desc, &TTSOpsMinimalTuple);
	ResourceOwner owner = CurrentResourceOwner;
	int			n = 0;
	bool		more = true;

	tide_shadow_open(shadow, true);
	while (n < SLICE_ROWS)
	{
		CurrentResourceOwner = in->owner;
		more = tuplestore_gettupleslot(build->keys, true, false, slot);
		CurrentResourceOwner = owner;
		if (!more)
			break;
		slot_getallattrs(slot);
		if (tide_shadow_fetch(shadow, slot->tts_values))
			tide_tree_add_row(in, root, &shadow->fetched->tts_tid);
		n++;
	}
	tide_shadow_end_fetch(shadow);
	ExecDropSingleTupleTableSlot(slot);
	tide_shadow_close(shadow);
	build->ndone += n;
	return more;
}

/* the buckets of roots without a key exist from the start, like those of plain shapes */
static void
make_open_buckets(TideIngest *in, TideShape *shape)
{
	ListCell   *lc;

	foreach(lc, shape->nodes)
	{
		TideShapeNode *node = lfirst(lc);

		if (node->parent_id < 0 && node->key_parts == NIL)
			(void) tide_bucket_for_key(in->buckets, shape->shape_id, node->node_id, NULL, 0,
									   &in->checkpoint.op_id);
	}
}

static void
begin_build(TideIngest *in, TideShape *shape)
{
	MemoryContext context = AllocSetContextCreate(in->context, "tide build of a tree",
												  ALLOCSET_SMALL_SIZES);

	in->build = MemoryContextAllocZero(context, sizeof(TideTreeBuild));
	in->build->context = context;
	in->build->shape_id = shape->shape_id;
	in->build->root = -1;
	make_open_buckets(in, shape);
}

/* one slice of a root's rows, and what follows below; true if it was the last of all */
static bool
build_slice(TideIngest *in, TideTreeBuild *build)
{
	TideJoined *root = joined_of(in, build->shape_id, build->root);
	ListCell   *lc;

	if (root == NULL || build->keys == NULL)
	{
		root = next_root(in, build->shape_id, build->root + 1);
		if (root == NULL)
			return true;
		build->root = root->node->node_id;
		read_keys(in, build, root);
	}
	if (!take_slice(in, build, root))
	{
		tuplestore_end(build->keys);
		build->keys = NULL;
	}
	tide_tree_pass(in, root);
	foreach(lc, in->trees)
	{
		TideJoined *joined = lfirst(lc);

		if (joined->shape->shape_id == build->shape_id && joined->parent != NULL &&
			joined->parent->moved.n > 0)
			tide_tree_pass(in, joined);
	}
	tide_tree_reset(in);
	return false;
}

bool
tide_tree_build_step(TideIngest *in)
{
	TideShape  *shape = next_shape(in);
	int			nest_level;
	bool		is_last;

	if (shape == NULL || (in->build != NULL && in->build->shape_id != shape->shape_id))
	{
		tide_tree_build_forget(in);
		return false;
	}
	tide_shared_worker_state(TIDE_WORKER_COPYING);
	tide_apply_begin();
	in->last_now = in->checkpoint.now;
	tide_node_eval_set_now(in->checkpoint.now);
	if (in->build == NULL)
		begin_build(in, shape);
	nest_level = tide_tree_settings_push();
	is_last = build_slice(in, in->build);
	AtEOXact_GUC(false, nest_level);
	tide_limits_flush(in);
	in->checkpoint.op_id++;		/* wakes those who wait for it */
	if (is_last)
	{
		tide_catalog_set_shape_state(shape->shape_id, TIDE_SHAPE_LIVE,
									 tide_shape_is_plain(shape) ? TIDE_BUILT_EXPLICIT :
									 shape->built_op_id, NULL);
		tide_tree_build_forget(in);
		in->needs_reload = true;
	}
	tide_checkpoint_store(in);
	tide_apply_end();
	return true;
}
