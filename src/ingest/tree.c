/*
 * tree.c
 *	  Joined nodes: loading them, and their part of each batch.
 *
 * doc/shapes.md has the method. Per batch: chunk.c notes the versions of rows that came and
 * went (tide_tree_note_delta), then each node, parents first, has its pass (tree_pass.c).
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "ingest/build.h"
#include "ingest/tree.h"
#include "ingest/tree_pass.h"
#include "util/guc.h"

/* bits of own changes there are; later nodes of a table share the last */
#define OWN_BITS		60

/* ---- loading ---- */

static TideWatch *
watch_of_relid(TideIngest *in, Oid relid)
{
	return hash_search(in->watches, &relid, HASH_FIND, NULL);
}

/* have versions of the table's rows noted */
void
tide_tree_use(TideWatch *watch, int position)
{
	TideShadow *shadow = watch->shadow;

	if (watch->joins == NULL)
	{
		watch->joins = palloc0(sizeof(bool) * Max(shadow->ncolumns, 1));
		watch->versions = palloc0(sizeof(TideVersions));
		for (int i = 0; i < shadow->nkeys; i++)
			watch->joins[shadow->key_pos[i]] = true;
	}
	if (position >= 0)
		watch->joins[position] = true;
}

static TideJoined *
make_joined(TideIngest *in, TideShape *shape, TideShapeNode *node, List *before)
{
	TideJoined *joined = palloc0(sizeof(TideJoined));
	ListCell   *lc;

	joined->shape = shape;
	joined->node = node;
	joined->watch = watch_of_relid(in, node->relid);
	joined->eval = tide_node_eval_create(in->watch_context, shape, node,
										 joined->watch->shadow);
	joined->is_direct = tide_node_is_direct(node);
	foreach(lc, before)
	{
		TideJoined *other = lfirst(lc);

		if (other->node->node_id == node->parent_id)
		{
			joined->parent = other;
			other->has_children = true;
			tide_tree_use(other->watch, -1);
		}
	}
	joined->bit = Min(list_length(joined->watch->joined), OWN_BITS - 1);
	joined->watch->joined = lappend(joined->watch->joined, joined);
	joined->decides = palloc0(sizeof(bool) * Max(joined->watch->shadow->ncolumns, 1));
	return joined;
}

void
tide_tree_load(TideIngest *in, TideShape *shape)
{
	List	   *joined = NIL;
	ListCell   *lc;

	foreach(lc, shape->nodes)
		joined = lappend(joined, make_joined(in, shape, lfirst(lc), joined));
	tide_evaluating_shape = shape->shape_id;
	foreach(lc, joined)
		tide_tree_make_sql(in, lfirst(lc));
	tide_evaluating_shape = 0;
	foreach(lc, joined)
	{
		TideJoined *node = lfirst(lc);

		if (node->is_direct)
			tide_watch_add_eval(in, node->watch, node->eval);
	}
	in->trees = list_concat(in->trees, joined);
}

void
tide_tree_unload(TideIngest *in)
{
	ListCell   *lc;

	foreach(lc, in->tree_plans)
		SPI_freeplan(lfirst(lc));
	list_free(in->tree_plans);
	in->tree_plans = NIL;
	in->trees = NIL;
}

TideJoined *
tide_tree_of_bucket(const TideWatch *watch, const TideBucket *bucket)
{
	ListCell   *lc;

	foreach(lc, watch->joined)
	{
		TideJoined *joined = lfirst(lc);

		if (joined->shape->shape_id == bucket->shape_id &&
			joined->node->node_id == bucket->node_id)
			return joined;
	}
	return NULL;
}

/* ---- versions ---- */

/* bits of the nodes whose rows it concerns */
static int64
own_mask(const TideDelta *delta)
{
	int64		mask = 0;
	ListCell   *lc;

	foreach(lc, delta->watch->joined)
	{
		TideJoined *joined = lfirst(lc);
		bool		concerned = !delta->existed || delta->key_changed;

		if (joined->is_direct)
			continue;
		for (int i = 0; !concerned && i < delta->watch->shadow->ncolumns; i++)
			concerned = joined->decides[i] && delta->changed[i];
		if (concerned)
			mask |= INT64CONST(1) << joined->bit;
	}
	return mask;
}

void
tide_tree_note_delta(TideIngest *in, const TideDelta *delta)
{
	TideWatch  *watch = delta->watch;
	bool		differs = delta->buckets_differ || !delta->existed || !delta->exists ||
	delta->key_changed;

	for (int i = 0; !differs && i < watch->shadow->ncolumns; i++)
		differs = watch->joins[i] && delta->changed[i];
	if (!differs)
		return;
	if (delta->existed)
		tide_tree_put_version(in, watch->versions, watch, -1, delta->before,
							  delta->before_nulls);
	if (delta->exists)
		tide_tree_put_version(in, watch->versions, watch, 1 + (own_mask(delta) << 1),
							  delta->after, delta->after_nulls);
}

void
tide_tree_end_versions(TideVersions *versions)
{
	if (versions != NULL && versions->store != NULL)
	{
		tuplestore_end(versions->store);
		versions->store = NULL;
		versions->n = 0;
	}
}

void
tide_tree_reset(TideIngest *in)
{
	HASH_SEQ_STATUS status;
	TideWatch  *watch;
	ListCell   *lc;

	hash_seq_init(&status, in->watches);
	while ((watch = hash_seq_search(&status)) != NULL)
		tide_tree_end_versions(watch->versions);
	foreach(lc, in->trees)
	{
		TideJoined *joined = lfirst(lc);

		tide_tree_end_versions(&joined->moved);
		joined->rows = NULL;
	}
	MemoryContextReset(in->tree_context);
}

bool
tide_tree_has_versions(const TideWatch *watch)
{
	return watch->versions != NULL && watch->versions->n > 0;
}

/* ---- the end of a batch ---- */

/* whether anything in the batch may concern the node */
static bool
is_concerned(const TideIngest *in, const TideJoined *joined)
{
	ListCell   *lc;

	if (joined->is_direct)
		return false;
	if (tide_tree_has_versions(joined->watch) ||
		(joined->window_sql != NULL && in->last_now != in->checkpoint.now))
		return true;
	if (joined->parent != NULL &&
		(tide_tree_has_versions(joined->parent->watch) || joined->parent->moved.n > 0))
		return true;
	foreach(lc, joined->reaches)
	{
		if (tide_tree_has_versions(((TideReach *) lfirst(lc))->from))
			return true;
	}
	return false;
}

void
tide_tree_apply(TideIngest *in)
{
	int			nest_level = 0;
	ListCell   *lc;

	foreach(lc, in->trees)
	{
		TideJoined *joined = lfirst(lc);

		if (!is_concerned(in, joined))
			continue;
		if (nest_level == 0)
			nest_level = tide_tree_settings_push();
		tide_tree_pass(in, joined);
	}
	if (nest_level != 0)
		AtEOXact_GUC(false, nest_level);
	tide_tree_reset(in);
}
