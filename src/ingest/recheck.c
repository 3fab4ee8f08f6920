/*
 * recheck.c
 *	  Sources whose table became another: noticed where a decoded transaction ends.
 *
 * Attaching and detaching partitions and changes of key or replica identity say nothing of
 * rows in the WAL, but they invalidate relation caches, in the worker as everywhere; then
 * all sources are looked at, under the decoded transaction's own snapshot. What an ordinary
 * table's columns look like is left to the first row that comes.
 */
#include "postgres.h"

#include "replication/reorderbuffer.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "ingest/batch.h"
#include "ingest/capture.h"
#include "ingest/recheck.h"
#include "ingest/route.h"

void
tide_recheck_store(TideIngest *in, ReorderBufferTXN *txn, TideSource *source)
{
	MemoryContext old = MemoryContextSwitchTo(in->context);

	in->regrouped = list_append_unique_ptr(in->regrouped, source);
	MemoryContextSwitchTo(old);
	txn->output_plugin_private = in;

	/* though it may have no change: a reload would take the source away */
	in->batch->is_asked_for = true;
}

/* rows of lost partitions go; new partitions are for the next build to look at */
static void
check_leaves(TideIngest *in, ReorderBufferTXN *txn, TideWatch *watch)
{
	TideSource *source = watch->shadow->source;
	int			n;
	Oid		   *leaves = tide_route_leaves(source->relid, &n);
	int			kept = 0;

	for (int i = 0; i < source->nleaves; i++)
	{
		if (tide_route_has_leaf(leaves, n, source->leaves[i]))
		{
			source->leaves[kept++] = source->leaves[i];
			continue;
		}
		tide_capture_truncate(in, watch, source->leaves[i]);
		tide_recheck_store(in, txn, source);
	}
	source->nleaves = kept;
	if (n > kept)
	{
		MemoryContext old = MemoryContextSwitchTo(in->context);

		in->regrown = list_append_unique_int(in->regrown, source->source_id);
		MemoryContextSwitchTo(old);
		tide_capture_break(in, watch);
	}
}

static void
check_watch(TideIngest *in, ReorderBufferTXN *txn, TideWatch *watch)
{
	Relation	rel = RelationIdGetRelation(watch->relid);

	if (!RelationIsValid(rel))
		return;					/* dropped: what there was can be served */
	if (!tide_route_is_same(watch->shadow->source, rel))
		tide_capture_break(in, watch);
	else if (watch->shadow->source->leaves != NULL)
		check_leaves(in, txn, watch);
	RelationClose(rel);
}

void
tide_recheck(TideIngest *in, ReorderBufferTXN *txn)
{
	HASH_SEQ_STATUS status;
	TideWatch  *watch;
	MemoryContext old;

	if (in->checked_version == tide_route_version())
		return;
	old = MemoryContextSwitchTo(in->scratch);
	hash_seq_init(&status, in->watches);
	while ((watch = hash_seq_search(&status)) != NULL)
		if (!watch->is_broken && !tide_capture_has_seen(watch, txn))
			check_watch(in, txn, watch);
	MemoryContextSwitchTo(old);
	MemoryContextReset(in->scratch);
	in->checked_version = tide_route_version();
}

void
tide_recheck_stray(TideIngest *in, ReorderBufferTXN *txn, Oid relid)
{
	HASH_SEQ_STATUS status;
	TideWatch  *watch;

	hash_seq_init(&status, in->watches);
	while ((watch = hash_seq_search(&status)) != NULL)
	{
		const TideSource *source = watch->shadow->source;

		if (tide_route_has_leaf(source->leaves, source->nleaves, relid) && !watch->is_broken &&
			!tide_capture_has_seen(watch, txn))
			tide_capture_break(in, watch);
	}
}
