/*
 * shape_cache.c
 *	  Compiled shapes kept from one reload to the next.
 *
 * A shape whose row is the same version as at the last reload has not changed: nodes are only written
 * together with the row. So a reload costs a scan of tide_internal.shapes, and the
 * compiled form of what is new.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "catalog/shape_catalog.h"
#include "ingest/shape_cache.h"
#include "util/meta_table.h"

/* as sql/install/10_tables.sql has it */
#define Anum_shapes_shape_id	1

typedef struct CachedShape
{
	int			shape_id;		/* hash key */
	TransactionId xmin;			/* which version of its row it is of */
	ItemPointerData tid;
	bool		is_there;		/* met by the scan under way */
	MemoryContext context;		/* of what follows */
	TideShape  *shape;
	TidePlanTemplate **templates;	/* by place among the nodes; made when asked for */
} CachedShape;

static HTAB *
cache_table(TideIngest *in)
{
	HASHCTL		ctl = {0};

	if (in->shape_cache != NULL)
		return in->shape_cache;
	ctl.keysize = sizeof(int);
	ctl.entrysize = sizeof(CachedShape);
	ctl.hcxt = in->context;
	in->shape_cache = hash_create("tide shapes", 64, &ctl,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return in->shape_cache;
}

static void
read_shape(TideIngest *in, CachedShape *cached)
{
	MemoryContext old;

	cached->context = AllocSetContextCreate(in->context, "tide shape",
											ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(cached->context);
	cached->shape = tide_catalog_shape_by_id(cached->shape_id);
	cached->templates = palloc0(sizeof(TidePlanTemplate *) *
								Max(list_length(cached->shape->nodes), 1));
	MemoryContextSwitchTo(old);
}

/* ids of the shapes whose rows are there, each cached as of its row */
static void
scan_rows(TideIngest *in, HTAB *table, List **changed)
{
	Relation	rel = tide_meta_open("shapes", AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	HeapTuple	tuple;

	while ((tuple = systable_getnext(scan)) != NULL)
	{
		bool		isnull;
		bool		found;
		int			shape_id = DatumGetInt32(heap_getattr(tuple, Anum_shapes_shape_id,
														  RelationGetDescr(rel), &isnull));
		TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
		CachedShape *cached = hash_search(table, &shape_id, HASH_ENTER, &found);

		cached->is_there = true;
		if (found && cached->shape != NULL && cached->xmin == xmin &&
			ItemPointerEquals(&cached->tid, &tuple->t_self))
			continue;
		if (found && cached->context != NULL)
			MemoryContextDelete(cached->context);
		cached->context = NULL;
		cached->shape = NULL;
		cached->xmin = xmin;
		cached->tid = tuple->t_self;
		*changed = lappend_int(*changed, shape_id);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

static int
compare_shapes(const ListCell *a, const ListCell *b)
{
	int			left = ((TideShape *) lfirst(a))->shape_id;
	int			right = ((TideShape *) lfirst(b))->shape_id;

	return left < right ? -1 : left > right;
}

List *
tide_shape_cache_read(TideIngest *in)
{
	HTAB	   *table = cache_table(in);
	List	   *changed = NIL;
	List	   *shapes = NIL;
	HASH_SEQ_STATUS status;
	CachedShape *cached;
	ListCell   *lc;

	scan_rows(in, table, &changed);
	foreach(lc, changed)
		read_shape(in, hash_search(table, &lfirst_int(lc), HASH_FIND, NULL));
	list_free(changed);
	hash_seq_init(&status, table);
	while ((cached = hash_seq_search(&status)) != NULL)
	{
		if (!cached->is_there)
		{
			if (cached->context != NULL)
				MemoryContextDelete(cached->context);
			hash_search(table, &cached->shape_id, HASH_REMOVE, NULL);
			continue;
		}
		cached->is_there = false;
		if (cached->shape->state != TIDE_SHAPE_DROPPED)
			shapes = lappend(shapes, cached->shape);
	}
	list_sort(shapes, compare_shapes);
	return shapes;
}

const TidePlanTemplate *
tide_shape_cache_template(TideIngest *in, int shape_id, const TideShapeNode *node)
{
	CachedShape *cached = hash_search(in->shape_cache, &shape_id, HASH_FIND, NULL);
	int			place = 0;
	ListCell   *lc;

	foreach(lc, cached->shape->nodes)
		if (lfirst(lc) == node)
			place = foreach_current_index(lc);
	if (cached->templates[place] == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(cached->context);
		int			evaluating = tide_evaluating_shape;

		tide_evaluating_shape = shape_id;
		cached->templates[place] = tide_plan_template(node);
		tide_evaluating_shape = evaluating;
		MemoryContextSwitchTo(old);
	}
	return cached->templates[place];
}
