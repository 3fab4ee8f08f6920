/*
 * entitled.c
 *	  The buckets a request asks for and is entitled to.
 */
#include "postgres.h"

#include "utils/hsearch.h"

#include "pull/entitled.h"
#include "pull/node_keys.h"
#include "shape/columns.h"
#include "shape/owner_rights.h"
#include "util/errors.h"
#include "util/guc.h"

typedef struct BucketEntry
{
	int64		bucket_id;		/* hash key */
	TideServedBucket *bucket;
} BucketEntry;

typedef struct Resolver
{
	TideEntitled *result;
	Jsonb	   *claims;
	TideKeyResolver keys;
	HTAB	   *seen;			/* of BucketEntry */
} Resolver;

/* what is being resolved, for error messages */
typedef struct Place
{
	const char *shape;
	int			index;
} Place;

static void
place_callback(void *arg)
{
	Place	   *place = arg;

	errcontext("field \"shapes.%s[%d]\" of the request", place->shape, place->index);
}

static HTAB *
create_seen(void)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(int64);
	ctl.entrysize = sizeof(BucketEntry);
	ctl.hcxt = CurrentMemoryContext;
	return hash_create("tide pull buckets", 64, &ctl,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static TideServedShape *
find_shape(const char *name)
{
	TideServedShape *served = palloc0(sizeof(TideServedShape));
	ListCell   *lc;

	served->shape = tide_catalog_shape_by_name(name);
	if (served->shape == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("shape \"%s\" does not exist", name)));
	if (served->shape->state == TIDE_SHAPE_FAILED)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("shape \"%s\" is not available", name),
				 errhint("Its owner finds the reason in view tide.shapes.")));
	if (!tide_shape_owner_may_read(served->shape))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("shape \"%s\" is not available", name),
				 errdetail_log("The shape's owner may no longer read all of its tables and columns."),
				 errhint("Its owner needs SELECT on all that it shows, and row-level security not applied.")));
	served->live = served->shape->state == TIDE_SHAPE_LIVE && served->shape->nodes != NIL;
	served->nodes = palloc0(sizeof(TideServedNode) * (list_length(served->shape->nodes) + 1));
	foreach(lc, served->shape->nodes)
		served->nodes[foreach_current_index(lc)].node = lfirst(lc);
	return served;
}

/* the served bucket of a bucket row, made at its first sight */
static TideServedBucket *
serve_bucket(Resolver *resolver, TideServedShape *shape, TideServedNode *node,
			 const TideBucketInfo *info, bool *is_new)
{
	bool		found;
	BucketEntry *entry = hash_search(resolver->seen, &info->bucket_id, HASH_ENTER, &found);

	*is_new = !found;
	if (!found)
	{
		entry->bucket = palloc0(sizeof(TideServedBucket));
		entry->bucket->info = *info;
		entry->bucket->shape = shape;
		entry->bucket->node = node;
		resolver->result->buckets = lappend(resolver->result->buckets, entry->bucket);
	}
	return entry->bucket;
}

static void
add_asked(Resolver *resolver, TideServedShape *shape, Jsonb *params,
		  TideServedBucket *bucket)
{
	TideAskedBucket *asked = palloc(sizeof(TideAskedBucket));

	asked->shape = shape;
	asked->params = params;
	asked->bucket = bucket;
	resolver->result->asked = lappend(resolver->result->asked, asked);
}

/* the buckets of one node; whether there are any */
static bool
add_buckets(Resolver *resolver, TideServedShape *shape, TideServedNode *node,
			const TideNodeKeys *keys, Jsonb *params)
{
	bool		exist = false;

	for (int i = 0; i < keys->n; i++)
	{
		TideServedBucket *bucket;
		bool		is_new;

		if (keys->buckets[i].info.bucket_id == 0)
			continue;
		exist = true;
		bucket = serve_bucket(resolver, shape, node, &keys->buckets[i].info, &is_new);
		if (is_new)
			add_asked(resolver, shape, params, bucket);
	}
	return exist;
}

/* a column that lookups read, and whether its shadow table has it */
typedef struct ColumnSearch
{
	List	   *sources;
	bool		is_missing;
} ColumnSearch;

static void
search_column(void *arg, Oid relid, AttrNumber attnum, TideColumnOf of)
{
	ColumnSearch *search = arg;
	ListCell   *lc;

	foreach(lc, search->sources)
	{
		const TideSource *source = lfirst(lc);

		if (source->relid != relid || !source->live)
			continue;
		for (int i = 0; i < source->ncolumns; i++)
			if (source->columns[i] == attnum)
				return;
	}
	search->is_missing = true;
}

/* whether all that a shape's lookups may read is there */
static bool
has_shadows(Resolver *resolver, const TideShape *shape)
{
	ColumnSearch search = {NIL, false};
	ListCell   *lc;
	ListCell   *lc2;

	if (tide_shape_is_plain(shape))
		return true;
	if (shape->nodes == NIL)
		return false;
	if (resolver->keys.sources == NIL)
		resolver->keys.sources = tide_catalog_sources();
	search.sources = resolver->keys.sources;
	foreach(lc, shape->nodes)
	{
		foreach(lc2, ((TideShapeNode *) lfirst(lc))->lookups)
			tide_columns_walk(((TideKeyLookup *) lfirst(lc2))->query, NIL, search_column, &search);
	}
	return !search.is_missing;
}

/* one element of a shape's parameters */
static void
resolve_params(Resolver *resolver, TideServedShape *shape, Jsonb *params)
{
	TideShapeRequest request = {shape->shape, params, resolver->claims};
	int			nkeys = resolver->keys.nkeys;
	bool		exist = false;
	ListCell   *lc;

	/*
	 * While a shape is built anew its lookups' tables, or columns of them,
	 * may not be there yet: then nobody can tell which buckets are meant. The
	 * client is to keep what it has, as while one is compared.
	 */
	if (!shape->live && !has_shadows(resolver, shape->shape))
	{
		shape->unresolved = true;
		tide_node_keys_check(&resolver->keys, &request);
	}
	else
		foreach(lc, tide_node_keys_resolve(&resolver->keys, &request))
			exist |= add_buckets(resolver, shape, &shape->nodes[foreach_current_index(lc)],
								 lfirst(lc), params);
	if (resolver->keys.nkeys == nkeys)
		tide_node_keys_count(&resolver->keys, 1);
	if (!exist)
		add_asked(resolver, shape, params, NULL);
}

TideEntitled *
tide_entitled_resolve(const TidePullRequest *request, Jsonb *claims, TimestampTz now,
					  Snapshot snapshot)
{
	Resolver	resolver = {0};
	ListCell   *lc;

	resolver.result = palloc0(sizeof(TideEntitled));
	resolver.result->all_live = true;
	resolver.claims = claims;
	resolver.keys.reader = tide_bucket_reader_open(snapshot);
	resolver.keys.now = now;
	resolver.keys.max_keys = tide_max_buckets_per_pull;
	resolver.seen = create_seen();
	foreach(lc, request->shapes)
	{
		TideAskedShape *asked = lfirst(lc);
		TideServedShape *shape = find_shape(asked->name);
		Place		place = {asked->name, 0};
		ErrorContextCallback context = {error_context_stack, place_callback, &place};
		ListCell   *lc2;

		resolver.result->shapes = lappend(resolver.result->shapes, shape);
		resolver.result->all_live &= shape->live;
		error_context_stack = &context;
		foreach(lc2, asked->params)
		{
			place.index = foreach_current_index(lc2);
			resolve_params(&resolver, shape, lfirst(lc2));
		}
		error_context_stack = context.previous;
	}
	tide_bucket_reader_close(resolver.keys.reader);
	resolver.result->sources = resolver.keys.sources;
	return resolver.result;
}
