/*
 * entitled.c
 *	  The buckets a request asks for and is entitled to.
 */
#include "postgres.h"

#include "utils/hsearch.h"

#include "pull/entitled.h"
#include "shape/bucket_key.h"
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
	TideBucketReader *reader;
	HTAB	   *seen;			/* of BucketEntry */
	int			nkeys;			/* looked up so far */
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
	served->live = served->shape->state == TIDE_SHAPE_LIVE && served->shape->nodes != NIL;
	return served;
}

/* the served bucket of a bucket row, made at its first sight */
static TideServedBucket *
serve_bucket(Resolver *resolver, TideServedShape *shape, const TideBucketInfo *info,
			 bool *is_new)
{
	bool		found;
	BucketEntry *entry = hash_search(resolver->seen, &info->bucket_id, HASH_ENTER, &found);

	*is_new = !found;
	if (!found)
	{
		entry->bucket = palloc0(sizeof(TideServedBucket));
		entry->bucket->info = *info;
		entry->bucket->shape = shape;
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

static void
count_keys(Resolver *resolver, int n)
{
	resolver->nkeys += n;
	if (resolver->nkeys > tide_max_buckets_per_pull)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("request asks for more than %d buckets",
						tide_max_buckets_per_pull),
				 errhint("Ask for less at once, or raise setting \"tide.max_buckets_per_pull\".")));
}

/* one element of a shape's parameters */
static void
resolve_params(Resolver *resolver, TideServedShape *shape, Jsonb *params)
{
	List	   *keys = NIL;
	bool		exists = false;
	ListCell   *lc;

	if (shape->shape->nodes != NIL)
		keys = tide_bucket_keys_resolve(shape->shape, params, resolver->claims);
	count_keys(resolver, Max(list_length(keys), 1));
	foreach(lc, keys)
	{
		TideBucketInfo info;
		TideServedBucket *bucket;
		bool		is_new;

		if (!tide_bucket_reader_by_key(resolver->reader, shape->shape->shape_id,
									   PointerGetDatum(lfirst(lc)), &info))
			continue;
		exists = true;
		bucket = serve_bucket(resolver, shape, &info, &is_new);
		if (is_new)
			add_asked(resolver, shape, params, bucket);
	}
	if (!exists)
		add_asked(resolver, shape, params, NULL);
}

TideEntitled *
tide_entitled_resolve(const TidePullRequest *request, Jsonb *claims, Snapshot snapshot)
{
	Resolver	resolver = {0};
	ListCell   *lc;

	resolver.result = palloc0(sizeof(TideEntitled));
	resolver.result->all_live = true;
	resolver.claims = claims;
	resolver.reader = tide_bucket_reader_open(snapshot);
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
	tide_bucket_reader_close(resolver.reader);
	return resolver.result;
}
