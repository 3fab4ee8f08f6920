/*
 * route.c
 *	  From a table that rows change in to the sources they are rows of.
 *
 * Routes are kept until any relation's definition changes, as told by relcache
 * invalidations: those of decoded transactions come in their place in the WAL.
 */
#include "postgres.h"

#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "catalog/table_key.h"
#include "ingest/capture.h"
#include "ingest/altered.h"
#include "ingest/route.h"

typedef struct Route
{
	Oid			relid;			/* hash key */
	List	   *targets;
} Route;

static uint64 version = 0;

static void
note_invalidation(Datum arg, Oid relid)
{
	version++;
}

uint64
tide_route_version(void)
{
	static bool is_registered = false;

	if (!is_registered)
		CacheRegisterRelcacheCallback(note_invalidation, (Datum) 0);
	is_registered = true;
	return version;
}

/* attnum of a live column by name and type, 0 if there is none */
static AttrNumber
column_of_name(TupleDesc desc, const char *name, Oid type)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && att->atttypid == type &&
			strcmp(NameStr(att->attname), name) == 0)
			return att->attnum;
	}
	return 0;
}

AttrNumber *
tide_route_map(const TideSource *source, const TideWatch *watch, Relation rel)
{
	AttrNumber *attnums = palloc0(sizeof(AttrNumber) * Max(source->ncolumns, 1));
	bool		is_own = RelationGetRelid(rel) == source->relid;

	if (is_own && (watch ? !tide_altered_fits(watch, rel) : !tide_source_matches(source, rel)))
		return NULL;
	for (int i = 0; i < source->ncolumns; i++)
	{
		if (TIDE_ATTNUM_IS_OWN(source->columns[i]))
			continue;
		if (is_own && watch != NULL && tide_altered_is_lost(watch, rel, i))
			continue;
		attnums[i] = is_own ? source->columns[i] :
			column_of_name(RelationGetDescr(rel), source->column_names[i],
						   source->column_types[i]);
		if (attnums[i] == 0)
			return NULL;
	}
	return attnums;
}

static bool
gives_key(const TideSource *source, Relation rel, const AttrNumber *attnums)
{
	bool		all;
	Bitmapset  *columns = tide_table_identity(rel, &all);

	if (all)
		return true;
	for (int k = 0; k < source->nkeys; k++)
		for (int i = 0; i < source->ncolumns; i++)
			if (source->columns[i] == source->keys[k] &&
				!bms_is_member(attnums[i], columns))
				return false;
	return true;
}

bool
tide_route_is_same(const TideSource *source, Relation rel)
{
	AttrNumber	key[INDEX_MAX_KEYS];
	int			n = tide_table_key(rel, key);
	bool		is_parted = rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;

	return n == source->nkeys && memcmp(key, source->keys, sizeof(AttrNumber) * n) == 0 &&
		is_parted == (source->leaves != NULL) &&
		rel->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT &&
		(is_parted || find_inheritance_children(RelationGetRelid(rel), NoLock) == NIL);
}

/* one target, if the table with that Oid is a source */
static List *
add_target(TideIngest *in, List *targets, Oid relid, Relation rel)
{
	TideWatch  *watch = hash_search(in->watches, &relid, HASH_FIND, NULL);
	const TideSource *source;
	TideTarget *target;
	Relation	root = rel;

	if (watch == NULL)
		return targets;
	source = watch->shadow->source;
	target = palloc0(sizeof(TideTarget));
	target->watch = watch;
	if (relid != RelationGetRelid(rel))
		root = RelationIdGetRelation(relid);
	if (RelationIsValid(root) && tide_altered_fits(target->watch, root) &&
		tide_route_is_same(source, root))
		target->attnums = tide_route_map(source, target->watch, rel);
	if (target->attnums != NULL)
		target->gives_key = gives_key(source, rel, target->attnums);
	if (RelationIsValid(root) && root != rel)
		RelationClose(root);
	return lappend(targets, target);
}

List *
tide_route(TideIngest *in, Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	MemoryContext old;
	Route	   *route;
	bool		found;
	ListCell   *lc;

	if (in->routes == NULL || in->route_version != tide_route_version())
	{
		HASHCTL		ctl = {0};

		MemoryContextReset(in->route_context);
		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(Route);
		ctl.hcxt = in->route_context;
		in->routes = hash_create("tide routes", 64, &ctl,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		in->route_version = tide_route_version();
	}
	route = hash_search(in->routes, &relid, HASH_FIND, NULL);
	if (route != NULL)
		return route->targets;
	if (!rel->rd_rel->relispartition &&
		hash_search(in->watches, &relid, HASH_FIND, NULL) == NULL)
		return NIL;

	old = MemoryContextSwitchTo(in->route_context);
	route = hash_search(in->routes, &relid, HASH_ENTER, &found);
	route->targets = NIL;
	route->targets = add_target(in, NIL, relid, rel);
	if (rel->rd_rel->relispartition)
		foreach(lc, get_partition_ancestors(relid))
			route->targets = add_target(in, route->targets, lfirst_oid(lc), rel);
	MemoryContextSwitchTo(old);
	return route->targets;
}

static int
compare_oids(const ListCell *a, const ListCell *b)
{
	Oid			x = lfirst_oid(a);
	Oid			y = lfirst_oid(b);

	return (x > y) - (x < y);
}

Oid *
tide_route_leaves(Oid relid, int *n)
{
	List	   *all;
	Oid		   *leaves;
	ListCell   *lc;

	*n = 0;
	if (get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE)
		return NULL;
	all = find_all_inheritors(relid, NoLock, NULL);
	list_sort(all, compare_oids);
	leaves = palloc(sizeof(Oid) * Max(list_length(all), 1));
	foreach(lc, all)
	{
		if (get_rel_relkind(lfirst_oid(lc)) != RELKIND_PARTITIONED_TABLE)
			leaves[(*n)++] = lfirst_oid(lc);
	}
	return leaves;
}

static int
compare_oid_pointers(const void *a, const void *b)
{
	Oid			x = *(const Oid *) a;
	Oid			y = *(const Oid *) b;

	return (x > y) - (x < y);
}

bool
tide_route_has_leaf(const Oid *leaves, int n, Oid relid)
{
	return n > 0 && bsearch(&relid, leaves, n, sizeof(Oid), compare_oid_pointers) != NULL;
}
