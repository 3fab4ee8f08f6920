/*
 * watch.c
 *	  What the decoder listens to: sources, and the shape nodes on them.
 *
 * Read anew when tide_internal.shapes changes. System caches are emptied first: after
 * decoding old rows they may show catalogs of that time.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "catalog/shape_catalog.h"
#include "ingest/altered.h"
#include "ingest/batch.h"
#include "ingest/build.h"
#include "ingest/ingest.h"
#include "ingest/plan_group.h"
#include "ingest/server_clock.h"
#include "ingest/shape_cache.h"
#include "ingest/tree.h"

static TideWatch *add_watch(TideIngest *in, TideSource *source);
static void read_snapshot(TideWatch *watch);
static void note_seen(TideSeen *seen, Snapshot snapshot);
static void add_nodes(TideIngest *in, TideShape *shape);

void
tide_ingest_reload(TideIngest *in)
{
	MemoryContext old;
	HASHCTL		ctl = {0};
	HASH_SEQ_STATUS status;
	TideWatch  *watch;
	ListCell   *lc;

	InvalidateSystemCaches();
	in->routes = NULL;
	tide_buckets_reset(in->buckets);
	tide_tree_build_forget(in);
	tide_tree_unload(in);
	MemoryContextReset(in->watch_context);
	old = MemoryContextSwitchTo(in->watch_context);

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(TideWatch);
	ctl.hcxt = in->watch_context;
	in->watches = hash_create("tide watches", 32, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	in->sources = tide_catalog_sources();
	in->shapes = tide_shape_cache_read(in);
	note_seen(&in->shapes_seen, GetActiveSnapshot());
	in->copied = NIL;
	in->unprepared = NIL;
	in->shape_rows = NULL;
	foreach(lc, in->sources)
	{
		TideSource *source = lfirst(lc);

		if (source->broken)
			tide_ingest_break(in, source->source_id);
		if (source->live)
			add_watch(in, source)->is_broken =
				list_member_int(in->broken, source->source_id);
	}
	foreach(lc, in->shapes)
		add_nodes(in, lfirst(lc));
	hash_seq_init(&status, in->watches);
	while ((watch = hash_seq_search(&status)) != NULL)
		tide_altered_note_use(watch);
	tide_server_clocks_reload(in);
	in->needs_reload = false;
	MemoryContextSwitchTo(old);
}

void
tide_ingest_break(TideIngest *in, int source_id)
{
	MemoryContext old = MemoryContextSwitchTo(in->context);

	in->broken = list_append_unique_int(in->broken, source_id);
	MemoryContextSwitchTo(old);
}

static TideWatch *
add_watch(TideIngest *in, TideSource *source)
{
	TideWatch  *watch = hash_search(in->watches, &source->relid, HASH_ENTER, NULL);

	memset((char *) watch + sizeof(Oid), 0, sizeof(TideWatch) - sizeof(Oid));
	watch->shadow = tide_shadow_load(in->watch_context, source);
	watch->spool_desc = tide_spool_desc(watch->shadow);
	if (source->snapshot != NULL && source->snapshot_lsn > in->checkpoint.lsn)
		read_snapshot(watch);
	return watch;
}

/* "xmin:xmax:xip,xip,…" as tide_snapshot_text() wrote it */
static void
read_snapshot(TideWatch *watch)
{
	char	   *p = watch->shadow->source->snapshot;

	TideSeen   *seen = &watch->copy_seen;

	watch->copy_lsn = watch->shadow->source->snapshot_lsn;
	seen->xmin = strtoul(p, &p, 10);
	seen->xmax = strtoul(p + 1, &p, 10);
	seen->xip = palloc(sizeof(TransactionId) * (strlen(p) / 2 + 1));
	for (p++; *p != '\0'; p += *p == ',')
		seen->xip[seen->nxip++] = strtoul(p, &p, 10);
	qsort(seen->xip, seen->nxip, sizeof(TransactionId), xidComparator);
}

/* whose changes of shapes need no further reload */
static void
note_seen(TideSeen *seen, Snapshot snapshot)
{
	seen->xmin = snapshot->xmin;
	seen->xmax = snapshot->xmax;
	seen->nxip = snapshot->xcnt;
	seen->xip = palloc(sizeof(TransactionId) * Max(snapshot->xcnt, 1));
	for (uint32 i = 0; i < snapshot->xcnt; i++)
		seen->xip[i] = snapshot->xip[i];
	qsort(seen->xip, seen->nxip, sizeof(TransactionId), xidComparator);
}

char *
tide_snapshot_text(Snapshot snapshot)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "%u:%u:", snapshot->xmin, snapshot->xmax);
	for (uint32 i = 0; i < snapshot->xcnt; i++)
		appendStringInfo(&text, "%s%u", i > 0 ? "," : "", snapshot->xip[i]);
	return text.data;
}

TideWatch *
tide_watch_of_source(TideIngest *in, int source_id)
{
	HASH_SEQ_STATUS status;
	TideWatch  *watch;

	hash_seq_init(&status, in->watches);
	while ((watch = hash_seq_search(&status)) != NULL)
		if (watch->shadow->source->source_id == source_id)
		{
			hash_seq_term(&status);
			return watch;
		}
	return NULL;
}

void
tide_watch_add_eval(TideIngest *in, TideWatch *watch, TideNodeEval *eval)
{
	watch->evals = lappend(watch->evals, eval);
	if (watch->groups == NULL)
		watch->groups = tide_groups_create(in->watch_context, watch->shadow);
	tide_groups_add(watch->groups, eval,
					tide_shape_cache_template(in, eval->shape->shape_id, eval->node));
}

/* whether all tables of a shape are watched: none is missing, or about to be rebuilt */
static bool
has_watches(TideIngest *in, const TideShape *shape)
{
	ListCell   *lc;

	if (shape->nodes == NIL)
		return false;
	foreach(lc, tide_shape_relids(shape))
	{
		Oid			relid = lfirst_oid(lc);

		if (hash_search(in->watches, &relid, HASH_FIND, NULL) == NULL)
			return false;
	}
	return true;
}

static void
add_tree(TideIngest *in, TideShape *shape)
{
	ListCell   *lc;

	if (!has_watches(in, shape))
		return;
	tide_tree_load(in, shape);
	if (shape->state != TIDE_SHAPE_BUILDING)
		return;

	/*
	 * its build begins with the first checkpoint that has passed all the
	 * copies
	 */
	foreach(lc, tide_shape_relids(shape))
	{
		TideWatch  *watch = hash_search(in->watches, &lfirst_oid(lc), HASH_FIND, NULL);

		if (watch->shadow->source->snapshot_lsn > in->checkpoint.lsn)
		{
			TideCopied *copied = palloc0(sizeof(TideCopied));

			copied->lsn = watch->shadow->source->snapshot_lsn;
			in->copied = lappend(in->copied, copied);
		}
	}
}

/* a shape's nodes take part once its initial entries are written */
static void
add_nodes(TideIngest *in, TideShape *shape)
{
	ListCell   *lc;

	if (shape->state == TIDE_SHAPE_BUILDING && shape->built_op_id == 0 && shape->redefined)
		in->unprepared = lappend_int(in->unprepared, shape->shape_id);
	if (shape->state == TIDE_SHAPE_FAILED || shape->built_op_id == 0)
		return;
	if (!tide_shape_keeps_plain(shape))
	{
		add_tree(in, shape);
		return;
	}
	foreach(lc, shape->nodes)
	{
		TideShapeNode *node = lfirst(lc);
		TideWatch  *watch = hash_search(in->watches, &node->relid, HASH_FIND, NULL);

		if (watch == NULL || watch->shadow->source->source_id != node->source_id)
			continue;			/* broken: about to be rebuilt */
		tide_watch_add_eval(in, watch, tide_node_eval_create(in->watch_context, shape, node,
															 watch->shadow));
		if (shape->state == TIDE_SHAPE_BUILDING && !watch->is_broken)
		{
			TideCopied *copied = palloc(sizeof(TideCopied));

			copied->shape_id = shape->shape_id;
			copied->built_op_id = shape->built_op_id;
			copied->lsn = watch->shadow->source->snapshot_lsn;
			in->copied = lappend(in->copied, copied);
		}
	}
}
