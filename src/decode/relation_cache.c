/*
 * relation_cache.c
 *	  What the stream knows of each table.
 *
 * An entry is built at the first change of a table, under the historic snapshot of
 * its transaction, and rebuilt after an invalidation. Invalidation callbacks only mark;
 * they stay registered for the life of the process, so they find the caches
 * through a static pointer (one stream per process at a time).
 */
#include "postgres.h"

#include "access/attnum.h"
#include "catalog/partition.h"
#include "catalog/pg_attribute.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "decode/relation_cache.h"
#include "decode/table_pattern.h"
#include "util/compat.h"

struct TideRelationCache
{
	MemoryContext context;
	HTAB	   *entries;
	TideDecodeRelation *last;	/* most changes concern the table of the
								 * change before */
	bool		has_roots;		/* an entry goes by another table's name */
	MemoryContextCallback on_reset; /* an ERROR ends a stream without shutdown */
};

/* the cache invalidations apply to; process-local, see above */
static TideRelationCache *live_cache = NULL;
static bool callbacks_registered = false;

static void
invalidate_relation(Datum arg, Oid relid)
{
	TideDecodeRelation *entry;
	HASH_SEQ_STATUS status;

	if (live_cache == NULL)
		return;
	if (OidIsValid(relid) && !live_cache->has_roots)
	{
		entry = hash_search(live_cache->entries, &relid, HASH_FIND, NULL);
		if (entry != NULL)
			entry->is_valid = false;
		return;
	}
	hash_seq_init(&status, live_cache->entries);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (!OidIsValid(relid) || entry->relid == relid || entry->root == relid)
			entry->is_valid = false;
	}
}

/* schemas and types are named in lines */
static void
invalidate_names(Datum arg, int cache_id, uint32 hash)
{
	invalidate_relation(arg, InvalidOid);
}

/* the cache's memory is about to go, by shutdown or ERROR */
static void
forget_cache(void *cache)
{
	if (live_cache == cache)
		live_cache = NULL;
}

TideRelationCache *
tide_relation_cache_create(MemoryContext context)
{
	TideRelationCache *cache = MemoryContextAllocZero(context, sizeof(*cache));
	HASHCTL		control = {0};

	cache->context = AllocSetContextCreate(context, "tide decoded relations",
										   ALLOCSET_DEFAULT_SIZES);
	cache->on_reset.func = forget_cache;
	cache->on_reset.arg = cache;
	MemoryContextRegisterResetCallback(cache->context, &cache->on_reset);
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(TideDecodeRelation);
	control.hcxt = cache->context;
	cache->entries = hash_create("tide decoded relations", 64, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	live_cache = cache;
	if (!callbacks_registered)
	{
		callbacks_registered = true;
		CacheRegisterRelcacheCallback(invalidate_relation, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, invalidate_names, (Datum) 0);
		CacheRegisterSyscacheCallback(TYPEOID, invalidate_names, (Datum) 0);
	}
	return cache;
}

void
tide_relation_cache_clear(TideRelationCache *cache)
{
	TideDecodeRelation *entry;
	HASH_SEQ_STATUS status;

	hash_seq_init(&status, cache->entries);
	while ((entry = hash_seq_search(&status)) != NULL)
		entry->is_valid = false;
}

/* {"type":"insert","shape":"open","table":"public.issues" */
static TideFragment
make_head(TideLineType type, const char *shape, const char *table)
{
	StringInfoData head;

	initStringInfo(&head);
	appendStringInfo(&head, "{\"type\":\"%s\"", tide_line_type_names[type]);
	if (shape != NULL)
	{
		tide_json_literal(&head, ",\"shape\":");
		tide_json_cstring(&head, shape);
	}
	tide_json_literal(&head, ",\"table\":");
	tide_json_cstring(&head, table);
	return (TideFragment)
	{
		head.data, head.len
	};
}

/* ,"partition":"public.parts_low" */
static TideFragment
make_partition(Relation relation)
{
	StringInfoData text;
	char	   *schema = get_namespace_name(RelationGetNamespace(relation));

	initStringInfo(&text);
	tide_json_literal(&text, ",\"partition\":");
	tide_json_cstring(&text, quote_qualified_identifier(schema, RelationGetRelationName(relation)));
	return (TideFragment)
	{
		text.data, text.len
	};
}

/* ,"types":{"id":"integer",…} */
static TideFragment
make_types(TupleDesc desc, const AttrNumber *attnums, int count)
{
	StringInfoData types;

	initStringInfo(&types);
	tide_json_literal(&types, ",\"types\":{");
	for (int i = 0; i < count; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, attnums[i] - 1);

		if (i > 0)
			tide_json_char(&types, ',');
		tide_json_cstring(&types, NameStr(attribute->attname));
		tide_json_char(&types, ':');
		tide_json_cstring(&types, format_type_with_typemod(attribute->atttypid,
														   attribute->atttypmod));
	}
	tide_json_char(&types, '}');
	return (TideFragment)
	{
		types.data, types.len
	};
}

/* a target that shows these columns; shape is NULL for the plain table */
static void
init_target(TideTarget *target, TideStream *stream, TideDecodeRelation *entry,
			TupleDesc desc, const char *table, const char *shape,
			const AttrNumber *attnums, int count)
{
	TideJsonOptions json = {.numbers_as_strings = stream->options.numbers_as_strings};

	for (int type = 0; type < TIDE_LINE_TYPES; type++)
		target->heads[type] = make_head(type, shape, table);
	if (stream->options.include_types)
		target->types = make_types(desc, attnums, count);
	for (int i = 0; i < count; i++)
		target->columns = bms_add_member(target->columns, attnums[i]);
	target->row = tide_row_writer_create(entry->context, desc, attnums, NULL,
										 count, &json);
	if (entry->identity.nkeys > 0)
		target->key = tide_row_writer_create(entry->context, desc, entry->identity.keys,
											 NULL, entry->identity.nkeys, &json);
}

/* the shape's columns that the table has at this time */
static AttrNumber *
shape_columns(const TideShapeNode *node, TupleDesc desc, int *count)
{
	AttrNumber *attnums = palloc(sizeof(AttrNumber) * (node->ncolumns + 1));

	*count = 0;
	for (int i = 0; i < node->ncolumns; i++)
	{
		AttrNumber	attnum = node->columns[i];

		if (attnum <= desc->natts && !TupleDescAttr(desc, attnum - 1)->attisdropped)
			attnums[(*count)++] = attnum;
	}
	return attnums;
}

/* what is of use only if somebody gets the table's changes */
static void
init_row_access(TideDecodeRelation *entry, TupleDesc desc)
{
	TupleDesc	copy = CreateTupleDescCopyConstr(desc);

	entry->old_slot = MakeSingleTupleTableSlot(copy, &TTSOpsVirtual);
	entry->new_slot = MakeSingleTupleTableSlot(copy, &TTSOpsVirtual);
	entry->varlena = palloc(sizeof(AttrNumber) * (desc->natts + 1));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (attribute->attlen == -1 && !attribute->attisdropped)
			entry->varlena[entry->nvarlena++] = attribute->attnum;
	}
}

/* the topmost table a partition belongs to, or InvalidOid */
static Oid
root_of(Relation relation)
{
	List	   *ancestors;

	if (!relation->rd_rel->relispartition)
		return InvalidOid;
	ancestors = get_partition_ancestors(RelationGetRelid(relation));
	return ancestors == NIL ? InvalidOid : llast_oid(ancestors);
}

/* the streamed columns of a partition in the order its root has them */
static AttrNumber *
columns_by_root(Relation relation, Oid root, int *count)
{
	Relation	table = RelationIdGetRelation(root);
	AttrNumber *attnums;

	if (!RelationIsValid(table))
		elog(ERROR, "could not open relation with OID %u", root);
	attnums = tide_streamed_columns(RelationGetDescr(table), count);
	for (int i = 0; i < *count; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(table), attnums[i] - 1);

		attnums[i] = get_attnum(RelationGetRelid(relation), NameStr(attribute->attname));
		if (attnums[i] == InvalidAttrNumber)
			elog(ERROR, "partition \"%s\" has no column \"%s\"",
				 RelationGetRelationName(relation), NameStr(attribute->attname));
	}
	RelationClose(table);
	return attnums;
}

/* the table itself as a target, or its root if partitions go by that, if it is wanted */
static void
add_plain_target(TideDecodeRelation *entry, TideStream *stream, Relation relation)
{
	const TideDecodeOptions *options = &stream->options;
	Oid			root = options->partitions_as_root ? root_of(relation) : InvalidOid;
	Oid			named = OidIsValid(root) ? root : RelationGetRelid(relation);
	char	   *schema = get_namespace_name(get_rel_namespace(named));
	char	   *name = get_rel_name(named);
	AttrNumber *attnums;
	int			count;

	entry->root = root;
	stream->relations->has_roots |= OidIsValid(root);
	if (options->tables != NIL ?
		!tide_table_patterns_match(options->tables, schema, name) :
		options->shapes != NIL)
		return;
	if (OidIsValid(root))
	{
		entry->partition = make_partition(relation);
		attnums = columns_by_root(relation, root, &count);
	}
	else
		attnums = tide_streamed_columns(RelationGetDescr(relation), &count);
	init_target(&entry->targets[entry->ntargets++], stream, entry,
				RelationGetDescr(relation), quote_qualified_identifier(schema, name),
				NULL, attnums, count);
}

bool
tide_is_own_table(Relation relation)
{
	char	   *schema = get_namespace_name(RelationGetNamespace(relation));

	return strcmp(schema, "tide_internal") == 0 || strcmp(schema, "tide_shadow") == 0;
}

static void
build_entry(TideDecodeRelation *entry, TideStream *stream, Relation relation)
{
	TupleDesc	desc = RelationGetDescr(relation);
	char	   *schema = get_namespace_name(RelationGetNamespace(relation));
	char	   *table = quote_qualified_identifier(schema, RelationGetRelationName(relation));
	ListCell   *cell;

	if (tide_is_own_table(relation))
		return;

	tide_identity_init(&entry->identity, relation);
	entry->targets = palloc0(sizeof(TideTarget) * (list_length(stream->shapes) + 1));
	add_plain_target(entry, stream, relation);
	foreach(cell, stream->shapes)
	{
		TideBoundShape *bound = lfirst(cell);
		TideTarget *target = &entry->targets[entry->ntargets];
		AttrNumber *attnums;
		int			count;

		if (bound->node == NULL || bound->node->relid != RelationGetRelid(relation))
			continue;
		entry->ntargets++;
		attnums = shape_columns(bound->node, desc, &count);
		init_target(target, stream, entry, desc, table, bound->name, attnums, count);
		target->filter = tide_row_filter_create(bound, relation, &entry->identity);
	}
	if (entry->ntargets > 0)
		init_row_access(entry, desc);
}

TideDecodeRelation *
tide_decode_relation(TideStream *stream, Relation relation)
{
	TideRelationCache *cache = stream->relations;
	Oid			relid = RelationGetRelid(relation);
	TideDecodeRelation *entry = cache->last;
	MemoryContext old;
	bool		found;

	if (likely(entry != NULL && entry->relid == relid && entry->is_valid))
		return entry;

	entry = hash_search(cache->entries, &relid, HASH_ENTER, &found);
	if (!found)
	{
		memset(entry, 0, sizeof(*entry));
		entry->relid = relid;
	}
	if (!entry->is_valid || !entry->is_built)
	{
		cache->last = NULL;
		if (entry->context != NULL)
			MemoryContextDelete(entry->context);
		memset(entry, 0, sizeof(*entry));
		entry->relid = relid;
		entry->context = AllocSetContextCreate(cache->context, "tide decoded relation",
											   ALLOCSET_SMALL_SIZES);
		old = MemoryContextSwitchTo(entry->context);
		/* before the build: an invalidation meanwhile must not get lost */
		entry->is_valid = true;
		build_entry(entry, stream, relation);
		entry->is_built = true;
		MemoryContextSwitchTo(old);
	}
	cache->last = entry;
	return entry;
}
