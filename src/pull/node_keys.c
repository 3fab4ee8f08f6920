/*
 * node_keys.c
 *	  The buckets of all nodes of a shape that a request asks for and is entitled to.
 *
 * A node's own key parts are covered by *rules*: each says what one part, or the parts of one
 * lookup together, may be. The keys of a node are all combinations of a parent's key and a tuple of
 * each rule. A negated lookup says what parts may not be: there the buckets that exist are
 * looked through, as everything else cannot be listed.
 *
 * Everything the request says is read first, so a malformed request is refused whatever there is to see.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "catalog/shape_catalog.h"
#include "pull/key_set.h"
#include "pull/lookup.h"
#include "pull/node_keys.h"
#include "shape/bucket_key.h"

/* what some parts of a node's own key may be, or not be, together */
typedef struct KeyRule
{
	int			first_part;
	int			nparts;
	bool		negated;
	const TideKeyLookup *lookup;	/* NULL: the request itself says it */
	TideLookupParams *params;
	TideKeySet *set;			/* NULL until the lookup has run */
} KeyRule;

/* a node being resolved */
typedef struct NodeWork
{
	TideKeyResolver *resolver;
	const TideShapeRequest *request;
	const TideShapeNode *node;
	List	   *rules;			/* of KeyRule */
	TideNodeKeys *parent;		/* NULL for a root */
	TideNodeKeys *result;
	TideKeySet *parent_keys;	/* of buckets that exist; where all buckets
								 * are visited */
	char	  **key;			/* being put together */
	bool		has_keys;		/* the lookups have run, and leave some */
} NodeWork;

static void
refuse_many(const TideKeyResolver *resolver)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("request asks for more than %d buckets",
					resolver->max_keys),
			 errhint("Ask for less at once, or raise setting \"tide.max_buckets_per_pull\".")));
}

void
tide_node_keys_count(TideKeyResolver *resolver, int n)
{
	resolver->nkeys += n;
	if (resolver->nkeys > resolver->max_keys)
		refuse_many(resolver);
}

static TideLookupRun
lookup_run(const NodeWork *work)
{
	TideLookupRun run = {
		.request = work->request,
		.now = work->resolver->now,
		.sources = work->resolver->sources,
		.over_sources = work->resolver->over_sources,
		.max_rows = work->resolver->max_keys
	};

	return run;
}

/* the values of one part, as a set of tuples of one */
static TideKeySet *
values_set(List *texts)
{
	TideKeySet *set = tide_key_set_create(1);
	ListCell   *lc;

	foreach(lc, texts)
	{
		char	  **tuple = palloc(sizeof(char *));

		tuple[0] = lfirst(lc);
		tide_key_set_add(set, tuple);
	}
	tide_key_set_finish(set);
	return set;
}

/* what the request says about a node's own parts */
static List *
read_rules(NodeWork *work)
{
	TideLookupRun run = lookup_run(work);
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, work->node->key_parts)
	{
		const TideKeyPart *part = lfirst(lc);
		KeyRule    *rule;

		if (part->args == NIL)
			continue;
		rule = palloc0(sizeof(KeyRule));
		rule->first_part = foreach_current_index(lc);
		rule->nparts = 1;
		rule->set = values_set(tide_key_part_values(work->request, part));
		result = lappend(result, rule);
	}
	foreach(lc, work->node->lookups)
	{
		const TideKeyLookup *lookup = lfirst(lc);
		KeyRule    *rule = palloc0(sizeof(KeyRule));

		rule->first_part = lookup->first_part;
		rule->nparts = lookup->nparts;
		rule->negated = lookup->negated;
		rule->lookup = lookup;
		rule->params = tide_lookup_params(&run, lookup);
		result = lappend(result, rule);
	}
	return result;
}

/*
 * Run the node's lookups; false if the node can have no bucket, as a rule leaves none. What the request
 * itself says comes first in the list, so nothing is run in vain.
 */
static bool
run_lookups(NodeWork *work)
{
	ListCell   *lc;

	foreach(lc, work->rules)
	{
		KeyRule    *rule = lfirst(lc);
		bool		exists;

		if (rule->lookup != NULL)
		{
			TideLookupRun run;

			if (work->resolver->sources == NIL)
				work->resolver->sources = tide_catalog_sources();
			run = lookup_run(work);
			rule->set = tide_lookup_run(&run, work->node, rule->lookup,
										rule->params, &exists);
			if (rule->set == NULL)
				refuse_many(work->resolver);
			if (rule->nparts == 0 && exists == rule->negated)
				return false;
		}
		if (rule->nparts > 0 && !rule->negated && rule->set->n == 0)
			return false;
	}
	return true;
}

static TideNodeBucket *
add_bucket(NodeWork *work, char *const *key)
{
	TideNodeKeys *result = work->result;
	TideNodeBucket *bucket;

	tide_node_keys_count(work->resolver, 1);
	if (result->n == result->max)
	{
		result->max = Max(4, result->max * 2);
		result->buckets = result->buckets == NULL ?
			palloc(sizeof(TideNodeBucket) * result->max) :
			repalloc(result->buckets, sizeof(TideNodeBucket) * result->max);
	}
	bucket = &result->buckets[result->n++];
	bucket->key = palloc(sizeof(char *) * Max(result->nparts, 1));
	for (int i = 0; i < result->nparts; i++)
		bucket->key[i] = key[i];
	return bucket;
}

/* all combinations of the rules from rest on, with what is in work->key */
static void
combine(NodeWork *work, List *rules, int rest)
{
	int			base = work->result->nparts - list_length(work->node->key_parts);
	const KeyRule *rule;
	TideNodeBucket *bucket;

	if (rest == list_length(rules))
	{
		bucket = add_bucket(work, work->key);
		if (!tide_bucket_reader_by_parts(work->resolver->reader,
										 work->request->shape->shape_id,
										 work->node->node_id, bucket->key,
										 work->result->nparts, &bucket->info))
			bucket->info.bucket_id = 0;
		return;
	}
	rule = list_nth(rules, rest);
	for (int i = 0; i < rule->set->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int part = 0; part < rule->nparts; part++)
			work->key[base + rule->first_part + part] = rule->set->tuples[i][part];
		combine(work, rules, rest + 1);
	}
}

/* whether the node's rules allow its own parts */
static bool
is_allowed(const NodeWork *work, char *const *parts)
{
	ListCell   *lc;

	foreach(lc, work->rules)
	{
		const KeyRule *rule = lfirst(lc);

		if (rule->nparts > 0 &&
			tide_key_set_has(rule->set, parts + rule->first_part) == rule->negated)
			return false;
	}
	return true;
}

/* a bucket that exists: is it among those meant? TideBucketVisitor */
static void
visit_bucket(const TideBucketInfo *info, char *const *parts, int nparts, void *arg)
{
	NodeWork   *work = arg;
	int			base = work->result->nparts - list_length(work->node->key_parts);
	TideNodeBucket *bucket;

	if (nparts != work->result->nparts ||
		(work->parent != NULL && !tide_key_set_has(work->parent_keys, parts)) ||
		!is_allowed(work, parts + base))
		return;
	bucket = add_bucket(work, parts);
	bucket->info = *info;
	for (int i = 0; i < nparts; i++)
		bucket->key[i] = pstrdup(parts[i]);
}

static int
compare_rules(const ListCell *a, const ListCell *b)
{
	return ((const KeyRule *) lfirst(a))->first_part -
		((const KeyRule *) lfirst(b))->first_part;
}

/* the node's keys where no lookup is negated: listed, for each bucket of the parent */
static void
list_keys(NodeWork *work)
{
	List	   *rules = NIL;
	ListCell   *lc;

	foreach(lc, work->rules)
	{
		if (((KeyRule *) lfirst(lc))->nparts > 0)
			rules = lappend(rules, lfirst(lc));
	}
	list_sort(rules, compare_rules);
	work->key = palloc(sizeof(char *) * Max(work->result->nparts, 1));
	if (work->parent == NULL)
		combine(work, rules, 0);
	for (int i = 0; work->parent != NULL && i < work->parent->n; i++)
	{
		if (work->parent->buckets[i].info.bucket_id == 0)
			continue;
		for (int part = 0; part < work->parent->nparts; part++)
			work->key[part] = work->parent->buckets[i].key[part];
		combine(work, rules, 0);
	}
}

static int
compare_buckets(const void *a, const void *b, void *arg)
{
	const TideNodeBucket *x = a;
	const TideNodeBucket *y = b;
	int			order = 0;

	for (int i = 0; order == 0 && i < *(int *) arg; i++)
		order = strcmp(x->key[i], y->key[i]);
	return order;
}

/* the node's keys where a lookup is negated: those of the buckets that exist */
static void
visit_keys(NodeWork *work)
{
	if (work->parent != NULL)
	{
		work->parent_keys = tide_key_set_create(work->parent->nparts);
		for (int i = 0; i < work->parent->n; i++)
			if (work->parent->buckets[i].info.bucket_id != 0)
				tide_key_set_add(work->parent_keys, work->parent->buckets[i].key);
		tide_key_set_finish(work->parent_keys);
	}
	tide_bucket_reader_visit(work->resolver->reader, work->request->shape->shape_id,
							 work->node->node_id, visit_bucket, work);
	if (work->result->n > 1)
		qsort_arg(work->result->buckets, work->result->n, sizeof(TideNodeBucket),
				  compare_buckets, &work->result->nparts);
}

/* whether any bucket of the parent exists; of a root true */
static bool
has_parent(const NodeWork *work)
{
	for (int i = 0; work->parent != NULL && i < work->parent->n; i++)
		if (work->parent->buckets[i].info.bucket_id != 0)
			return true;
	return work->parent == NULL;
}

static void
resolve_node(NodeWork *work)
{
	ListCell   *lc;

	work->result->are_listed = true;
	if (!has_parent(work) || !run_lookups(work))
		return;
	work->has_keys = true;
	foreach(lc, work->rules)
	{
		const KeyRule *rule = lfirst(lc);

		if (rule->negated && rule->nparts > 0)
			work->result->are_listed = false;
	}
	if (work->result->are_listed)
		list_keys(work);
	else
		visit_keys(work);
}

/* the nodes of a shape with what the request says about them: list of NodeWork */
static List *
begin_nodes(TideKeyResolver *resolver, const TideShapeRequest *request)
{
	List	   *works = NIL;
	ListCell   *lc;
	ListCell   *lc2;

	tide_request_check_params(request);
	foreach(lc, request->shape->nodes)
	{
		NodeWork   *work = palloc0(sizeof(NodeWork));

		work->resolver = resolver;
		work->request = request;
		work->node = lfirst(lc);
		work->rules = read_rules(work);
		work->result = palloc0(sizeof(TideNodeKeys));
		work->result->node = work->node;
		work->result->work = work;
		work->result->nparts = list_length(work->node->key_parts);
		foreach(lc2, works)
		{
			NodeWork   *other = lfirst(lc2);

			if (other->node->node_id == work->node->parent_id)
				work->parent = other->result;
		}
		if (work->parent != NULL)
			work->result->nparts += work->parent->nparts;
		works = lappend(works, work);
	}
	return works;
}

List *
tide_node_keys_resolve(TideKeyResolver *resolver, const TideShapeRequest *request)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, begin_nodes(resolver, request))
	{
		NodeWork   *work = lfirst(lc);

		resolve_node(work);
		result = lappend(result, work->result);
	}
	return result;
}

bool
tide_node_keys_match(const TideNodeKeys *keys, char *const *key)
{
	const NodeWork *work = keys->work;
	int			base = keys->nparts - list_length(keys->node->key_parts);

	return work->has_keys && is_allowed(work, key + base) &&
		(work->parent == NULL || tide_node_keys_match(work->parent, key));
}

void
tide_node_keys_check(TideKeyResolver *resolver, const TideShapeRequest *request)
{
	(void) begin_nodes(resolver, request);
}
