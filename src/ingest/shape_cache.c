/*
 * shape_cache.c
 *	  Compiled shapes kept from one reload to the next.
 *
 * A shape whose rows are the same versions as at the last reload has not changed. So a reload costs
 * a scan of tide_internal.shapes and shape_nodes, and the compiled form of what is new.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "common/hashfn.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "catalog/shape_catalog.h"
#include "ingest/shape_cache.h"
#include "util/meta_table.h"

/* of both tables, as sql/install/10_tables.sql has them */
#define Anum_shape_id	1

typedef struct CachedShape
{
	int			shape_id;		/* hash key */
	bool		is_there;		/* its row was met by the scan under way */
	uint64		now;			/* over the versions of its rows met by the
								 * scan */
	uint64		version;		/* the same of those it was read from */
	MemoryContext context;		/* of what follows */
	TideShape  *shape;
	TidePlanTemplate **templates;	/* by place among the nodes; made when
									 * asked for */
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

/* what tells one version of a row from another */
static uint64
row_version(HeapTuple tuple)
{
	struct
	{
		Oid			relid;
		TransactionId xmin;
		BlockNumber block;
		uint32		offset;
	}			place;

	place.relid = tuple->t_tableOid;
	place.xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	place.block = ItemPointerGetBlockNumber(&tuple->t_self);
	place.offset = ItemPointerGetOffsetNumber(&tuple->t_self);
	return hash_bytes_extended((const unsigned char *) &place, sizeof(place), 0);
}

static void
scan_table(HTAB *table, const char *name, bool is_shapes)
{
	Relation	rel = tide_meta_open(name, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	HeapTuple	tuple;

	while ((tuple = systable_getnext(scan)) != NULL)
	{
		bool		isnull;
		bool		found;
		int			shape_id = DatumGetInt32(heap_getattr(tuple, Anum_shape_id,
														  RelationGetDescr(rel), &isnull));
		CachedShape *cached = hash_search(table, &shape_id, HASH_ENTER, &found);

		if (!found)
			memset((char *) cached + sizeof(int), 0, sizeof(CachedShape) - sizeof(int));
		cached->is_there |= is_shapes;
		cached->now += row_version(tuple);
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
	List	   *shapes = NIL;
	HASH_SEQ_STATUS status;
	CachedShape *cached;

	scan_table(table, "shapes", true);
	scan_table(table, "shape_nodes", false);
	hash_seq_init(&status, table);
	while ((cached = hash_seq_search(&status)) != NULL)
	{
		bool		is_new = cached->shape == NULL || cached->version != cached->now;

		if ((is_new || !cached->is_there) && cached->context != NULL)
			MemoryContextDelete(cached->context);
		if (!cached->is_there)
		{
			hash_search(table, &cached->shape_id, HASH_REMOVE, NULL);
			continue;
		}
		if (is_new)
			read_shape(in, cached);
		cached->is_there = false;
		cached->version = cached->now;
		cached->now = 0;
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
	{
		if (lfirst(lc) == node)
			place = foreach_current_index(lc);
	}
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
