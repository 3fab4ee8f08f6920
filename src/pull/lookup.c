/*
 * lookup.c
 *	  Runs the lookups of a shape.
 *
 * A lookup is a query over shadow tables, so what it finds is of the same checkpoint as the buckets. It
 * runs as the extension's owner: callers have no rights on shadow tables, and the compiler lets
 * nothing into a lookup that does more than read. Values are typed parameters, never text.
 *
 * Plans are kept per backend, by shape, node and place. A plan is made anew when the compiled query is
 * another one (the shape was compiled again), or stands for other shadow tables (a source was removed
 * and came back); changes of the shadow tables themselves PostgreSQL's plan cache sees.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog/shape_catalog.h"
#include "pull/lookup.h"
#include "shape/bucket_key.h"
#include "store/shadow.h"
#include "store/shadow_sql.h"
#include "util/spi.h"

/* kept in a backend */
#define MAX_PLANS	200

typedef struct PlanKey
{
	int			shape_id;
	int			node_id;
	int			place;			/* in the node's list of lookups */
} PlanKey;

typedef struct PlanEntry
{
	PlanKey		key;			/* hash key */
	Query	   *query;			/* as it was compiled; NULL: entry is not
								 * filled */
	List	   *source_ids;		/* of its tables */
	SPIPlanPtr	plan;
	MemoryContext context;		/* of all but the plan */
} PlanEntry;

static HTAB *plan_cache = NULL;

TideLookupParams *
tide_lookup_params(const TideLookupRun *run, const TideKeyLookup *lookup)
{
	TideLookupParams *params = palloc(sizeof(TideLookupParams));
	ListCell   *lc;

	params->n = 1 + list_length(lookup->refs);
	params->types = palloc(sizeof(Oid) * params->n);
	params->values = palloc(sizeof(Datum) * params->n);
	params->nulls = palloc(params->n);
	params->types[0] = TIMESTAMPTZOID;
	params->values[0] = TimestampTzGetDatum(run->now);
	params->nulls[0] = ' ';
	foreach(lc, lookup->refs)
	{
		const TideLookupRef *ref = lfirst(lc);
		TideValueName name = {ref->is_claim, ref->name};
		int			i = 1 + foreach_current_index(lc);
		bool		isnull;

		params->types[i] = ref->type;
		params->values[i] = tide_request_value_read(run->request, name, ref->type, &isnull);
		params->nulls[i] = isnull ? 'n' : ' ';
	}
	return params;
}

/* what collect_sources() looks for and finds */
typedef struct SourceWalk
{
	List	   *sources;
	List	   *ids;
} SourceWalk;

static bool
collect_sources(Node *node, SourceWalk *walk)
{
	ListCell   *lc;

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		foreach(lc, walk->sources)
		{
			const TideSource *source = lfirst(lc);

			if (source->relid == ((RangeTblEntry *) node)->relid)
				walk->ids = lappend_int(walk->ids, source->source_id);
		}
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, collect_sources, walk, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, collect_sources, walk);
}

/* forget what an entry holds */
static void
clear_entry(PlanEntry *entry)
{
	entry->query = NULL;
	if (entry->plan != NULL)
		SPI_freeplan(entry->plan);
	entry->plan = NULL;
	if (entry->context != NULL)
		MemoryContextDelete(entry->context);
	entry->context = NULL;
}

/* make room, when there are many: shapes come and go, and a backend may live long */
static void
limit_cache(void)
{
	HASH_SEQ_STATUS status;
	PlanEntry  *entry;

	if (hash_get_num_entries(plan_cache) < MAX_PLANS)
		return;
	hash_seq_init(&status, plan_cache);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		clear_entry(entry);
		(void) hash_search(plan_cache, &entry->key, HASH_REMOVE, NULL);
	}
}

static PlanEntry *
plan_entry(const TideShapeRequest *request, const TideShapeNode *node,
		   const TideKeyLookup *lookup)
{
	PlanKey		key = {.shape_id = request->shape->shape_id,.node_id = node->node_id};
	PlanEntry  *entry;
	ListCell   *lc;

	if (plan_cache == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(PlanKey),.entrysize = sizeof(PlanEntry)};

		ctl.hcxt = CacheMemoryContext;
		plan_cache = hash_create("tide lookup plans", 32, &ctl,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	foreach(lc, node->lookups)
	{
		if (lfirst(lc) == lookup)
			key.place = foreach_current_index(lc);
	}
	entry = hash_search(plan_cache, &key, HASH_FIND, NULL);
	if (entry != NULL)
		return entry;
	limit_cache();
	entry = hash_search(plan_cache, &key, HASH_ENTER, NULL);
	entry->query = NULL;
	entry->plan = NULL;
	entry->context = NULL;
	return entry;
}

/* the cached plan's place; NULL in it if the plan is to be made */
static SPIPlanPtr *
cached_plan(const TideLookupRun *run, const TideShapeNode *node, const TideKeyLookup *lookup)
{
	PlanEntry  *entry = plan_entry(run->request, node, lookup);
	SourceWalk	walk = {run->sources, NIL};
	MemoryContext old;

	(void) collect_sources((Node *) lookup->query, &walk);
	if (entry->query != NULL && equal(entry->query, lookup->query) &&
		equal(entry->source_ids, walk.ids))
		return &entry->plan;
	clear_entry(entry);
	entry->context = AllocSetContextCreate(CacheMemoryContext, "tide lookup plan",
										   ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(entry->context);
	entry->source_ids = list_copy(walk.ids);
	entry->query = copyObject(lookup->query);
	MemoryContextSwitchTo(old);
	return &entry->plan;
}

/* the rows SPI has, as canonical texts */
static TideKeySet *
rows_as_keys(const TideKeyLookup *lookup)
{
	TideKeySet *set = tide_key_set_create(lookup->nparts);
	TideKeyCodec **codecs = palloc(sizeof(TideKeyCodec *) * Max(lookup->nparts, 1));

	for (int i = 0; i < lookup->nparts; i++)
	{
		codecs[i] = tide_key_codec_create(CurrentMemoryContext,
										  SPI_gettypeid(SPI_tuptable->tupdesc, i + 1));
	}
	for (uint64 row = 0; lookup->nparts > 0 && row < SPI_processed; row++)
	{
		char	  **tuple = palloc(sizeof(char *) * lookup->nparts);
		bool		isnull = false;

		for (int i = 0; i < lookup->nparts && !isnull; i++)
		{
			Datum		value = SPI_getbinval(SPI_tuptable->vals[row],
											  SPI_tuptable->tupdesc, i + 1, &isnull);

			if (!isnull)
				tuple[i] = tide_key_codec_text(codecs[i], value);
		}
		if (!isnull)
			tide_key_set_add(set, tuple);
	}
	tide_key_set_finish(set);
	return set;
}

/* each row once, or whether there is any */
static char *
lookup_sql(const TideLookupRun *run, const TideKeyLookup *lookup)
{
	char	   *query = run->over_sources ? tide_source_sql_query(lookup->query) :
	tide_shadow_sql_query(tide_shadow_sql_create(run->sources), lookup->query);

	if (lookup->nparts == 0)
		return psprintf("SELECT WHERE EXISTS (%s)", query);
	return psprintf("SELECT DISTINCT * FROM (%s) lookup", query);
}

/*
 * Lock the shadows of a query's tables, so that none goes while the query is written and planned. One that is gone already
 * was rebuilt after the snapshot was taken: the error says to try again.
 */
static bool
lock_shadows(Node *node, void *context)
{
	const TideLookupRun *run = context;

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;
		ListCell   *lc;

		foreach(lc, rte->rtekind == RTE_RELATION ? run->sources : NIL)
		{
			const TideSource *source = lfirst(lc);

			if (source->relid == rte->relid && source->ncolumns > 0)
				relation_close(tide_shadow_open_table("t%d", source->source_id), NoLock);
		}
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, lock_shadows, context, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, lock_shadows, context);
}

TideKeySet *
tide_lookup_run(const TideLookupRun *run, const TideShapeNode *node,
				const TideKeyLookup *lookup, const TideLookupParams *params, bool *exists)
{
	MemoryContext result = CurrentMemoryContext;
	SPIPlanPtr	fresh = NULL;
	SPIPlanPtr *plan = run->over_sources ? &fresh : cached_plan(run, node, lookup);
	char	   *sql;
	MemoryContext old;
	TideKeySet *set = NULL;
	TideSpiFrame frame;

	if (!run->over_sources)
		(void) lock_shadows((Node *) lookup->query, (void *) run);
	/* only now: writing it opens the shadows as well */
	sql = *plan == NULL ? lookup_sql(run, lookup) : NULL;
	tide_spi_begin_user(&frame, run->over_sources ? run->request->shape->owner :
						tide_extension_owner());
	(void) tide_spi_run(plan, sql, params->n, params->types, params->values, params->nulls,
						true, (long) run->max_rows + 1);
	old = MemoryContextSwitchTo(result);
	*exists = SPI_processed > 0;
	if (SPI_processed <= (uint64) run->max_rows)
		set = rows_as_keys(lookup);
	MemoryContextSwitchTo(old);
	if (fresh != NULL)
		SPI_freeplan(fresh);
	tide_spi_end(&frame);
	return set;
}
