/*
 * shape_catalog.c
 *	  Reader of tide_internal.shapes, shape_nodes and sources.
 *
 * The tables are read the way PostgreSQL reads its catalogs, by systable scans and
 * not by SQL: the same code serves tide.pull (active snapshot, any caller, also
 * on a standby) and the output plugin, which sees a historic snapshot and may run
 * no query at all. shape_writer.c has the writers.
 *
 * Trees in shape_nodes are handed to stringToNode(), so the tables are trusted
 * only if they belong to the extension.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_namespace.h"
#include "commands/extension.h"
#include "nodes/nodeFuncs.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog/node_form.h"
#include "catalog/shape_catalog.h"
#include "util/meta_table.h"

/* columns as sql/install/10_tables.sql creates them */
enum
{
	Anum_sources_source_id = 1,
	Anum_sources_relid,
	Anum_sources_state,
	Anum_sources_key_attnums,
	Anum_sources_attnums,
	Anum_sources_column_names,
	Anum_sources_column_types,
	Anum_sources_snapshot,
	Anum_sources_snapshot_lsn,
	Anum_sources_leaves,
	Anum_sources_table_name,
	Anum_sources_labels
};

enum
{
	Anum_shapes_shape_id = 1,
	Anum_shapes_name,
	Anum_shapes_owner,
	Anum_shapes_definition,
	Anum_shapes_search_path,
	Anum_shapes_state,
	Anum_shapes_error,
	Anum_shapes_built_op_id,
	Anum_shapes_created_at,
	Anum_shapes_redefined,
	Anum_shapes_reshown,
	Anum_shapes_node_map
};

static const char *const state_names[] = {
	[TIDE_SHAPE_BUILDING] = "building",
	[TIDE_SHAPE_LIVE] = "live",
	[TIDE_SHAPE_FAILED] = "failed",
	[TIDE_SHAPE_DROPPED] = "dropped",
};

/* the schema found to belong to the extension; an Oid is never given to another */
static Oid	trusted_schema = InvalidOid;

const char *
tide_shape_state_name(TideShapeState state)
{
	return state_names[state];
}

static TideShapeState
state_of_name(const char *name)
{
	for (int i = 0; i < lengthof(state_names); i++)
		if (strcmp(name, state_names[i]) == 0)
			return (TideShapeState) i;
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("unknown shape state \"%s\"", name)));
}

/* Oid of a table or index of schema tide_internal, which must be the extension's own */
static Oid
internal_relation(const char *name)
{
	Oid			relid = tide_meta_relid(name);
	Oid			schema = get_rel_namespace(relid);

	if (schema == trusted_schema)
		return relid;
	if (getExtensionOfObject(NamespaceRelationId, schema) !=
		get_extension_oid("pg_tide", false))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_SCHEMA_DEFINITION),
				 errmsg("schema \"tide_internal\" does not belong to extension pg_tide")));
	trusted_schema = schema;
	return relid;
}

/* one open scan over a metadata table */
typedef struct MetaScan
{
	Relation	rel;
	SysScanDesc scan;
	Datum		values[Natts_nodes];	/* the widest of them */
	bool		nulls[Natts_nodes];
} MetaScan;

/*
 * Scan a metadata table, by index if one is named. Under a historic snapshot,
 * or with none active, the catalog snapshot is taken.
 */
static void
meta_scan_begin(MetaScan *scan, const char *table, const char *index,
				int nkeys, ScanKey keys)
{
	Snapshot	snapshot = NULL;

	if (!HistoricSnapshotActive() && ActiveSnapshotSet())
		snapshot = GetActiveSnapshot();
	scan->rel = table_open(internal_relation(table), AccessShareLock);
	Assert(RelationGetNumberOfAttributes(scan->rel) <= lengthof(scan->values));
	scan->scan = systable_beginscan(scan->rel,
									index ? internal_relation(index) : InvalidOid,
									index != NULL, snapshot, nkeys, keys);
}

static bool
meta_scan_next(MetaScan *scan)
{
	HeapTuple	tuple = systable_getnext(scan->scan);

	if (!HeapTupleIsValid(tuple))
		return false;
	heap_deform_tuple(tuple, RelationGetDescr(scan->rel),
					  scan->values, scan->nulls);
	return true;
}

static void
meta_scan_end(MetaScan *scan)
{
	systable_endscan(scan->scan);
	table_close(scan->rel, AccessShareLock);
}

static char *
scan_text(MetaScan *scan, int attnum)
{
	if (scan->nulls[attnum - 1])
		return NULL;
	return TextDatumGetCString(scan->values[attnum - 1]);
}

/* a smallint[] or oid[] column: copied elements and their number; NULL, 0 if null */
static void *
scan_array(MetaScan *scan, int attnum, Size element_size, int *count)
{
	ArrayType  *array;
	void	   *result;

	*count = 0;
	if (scan->nulls[attnum - 1])
		return NULL;
	array = DatumGetArrayTypeP(scan->values[attnum - 1]);
	*count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	result = palloc(Max(*count, 1) * element_size);
	memcpy(result, ARR_DATA_PTR(array), *count * element_size);
	return result;
}

/* a name[] column as C strings */
static char **
scan_names(MetaScan *scan, int attnum)
{
	ArrayType  *array;
	char	  **result;
	int			count;

	if (scan->nulls[attnum - 1])
		return NULL;
	array = DatumGetArrayTypeP(scan->values[attnum - 1]);
	count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	result = palloc(Max(count, 1) * sizeof(char *));
	for (int i = 0; i < count; i++)
		result[i] = pstrdup(ARR_DATA_PTR(array) + i * NAMEDATALEN);
	return result;
}

/* a text[] as List of char *; NIL where null */
static List *
scan_texts(MetaScan *scan, int attnum)
{
	List	   *result = NIL;
	Datum	   *texts;
	int			n;

	if (scan->nulls[attnum - 1])
		return NIL;
	deconstruct_array(DatumGetArrayTypeP(scan->values[attnum - 1]), TEXTOID, -1, false,
					  TYPALIGN_INT, &texts, NULL, &n);
	for (int i = 0; i < n; i++)
		result = lappend(result, TextDatumGetCString(texts[i]));
	return result;
}

static TideSource *
source_of_scan(MetaScan *scan)
{
	TideSource *source = palloc0(sizeof(TideSource));
	char	   *state = scan_text(scan, Anum_sources_state);
	int			count;

	source->source_id = DatumGetInt32(scan->values[Anum_sources_source_id - 1]);
	source->relid = DatumGetObjectId(scan->values[Anum_sources_relid - 1]);
	source->broken = strcmp(state, "broken") == 0;
	source->live = source->broken || strcmp(state, "live") == 0;
	source->keys = scan_array(scan, Anum_sources_key_attnums,
							  sizeof(AttrNumber), &source->nkeys);
	source->columns = scan_array(scan, Anum_sources_attnums,
								 sizeof(AttrNumber), &source->ncolumns);
	source->column_names = scan_names(scan, Anum_sources_column_names);
	source->column_types = scan_array(scan, Anum_sources_column_types,
									  sizeof(Oid), &count);
	source->leaves = scan_array(scan, Anum_sources_leaves, sizeof(Oid), &source->nleaves);
	source->snapshot = scan_text(scan, Anum_sources_snapshot);
	source->table_name = scan_text(scan, Anum_sources_table_name);
	source->labels = scan_texts(scan, Anum_sources_labels);
	if (!scan->nulls[Anum_sources_snapshot_lsn - 1])
		source->snapshot_lsn =
			DatumGetLSN(scan->values[Anum_sources_snapshot_lsn - 1]);
	return source;
}

List *
tide_catalog_sources(void)
{
	MetaScan	scan;
	List	   *result = NIL;

	meta_scan_begin(&scan, "sources", NULL, 0, NULL);
	while (meta_scan_next(&scan))
		result = lappend(result, source_of_scan(&scan));
	meta_scan_end(&scan);
	return result;
}

/* relid of a source; an ERROR if there is none */
static Oid
source_relid(int source_id)
{
	MetaScan	scan;
	ScanKeyData key;
	Oid			relid = InvalidOid;

	ScanKeyInit(&key, Anum_sources_source_id, BTEqualStrategyNumber,
				F_INT4EQ, Int32GetDatum(source_id));
	meta_scan_begin(&scan, "sources", "sources_pkey", 1, &key);
	if (meta_scan_next(&scan))
		relid = DatumGetObjectId(scan.values[Anum_sources_relid - 1]);
	meta_scan_end(&scan);
	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("source %d of a shape does not exist", source_id)));
	return relid;
}

/* compiled nodes of a shape, root first; NIL if there are none (a restored dump) */
static List *
shape_nodes(int shape_id)
{
	MetaScan	scan;
	ScanKeyData key;
	List	   *result = NIL;
	ListCell   *lc;

	ScanKeyInit(&key, Anum_nodes_shape_id, BTEqualStrategyNumber,
				F_INT4EQ, Int32GetDatum(shape_id));
	/* the primary key's order is by node_id */
	meta_scan_begin(&scan, "shape_nodes", "shape_nodes_pkey", 1, &key);
	while (meta_scan_next(&scan))
		result = lappend(result, tide_node_deform(scan.values, scan.nulls));
	meta_scan_end(&scan);

	foreach(lc, result)
	{
		TideShapeNode *node = lfirst(lc);

		node->relid = source_relid(node->source_id);
	}
	return result;
}

/* whether a definition leaves out its root's columns, which means all of them */
static bool
shows_all(Jsonb *definition)
{
	JsonbValue	buffer;
	JsonbValue *columns = NULL;

	if (JB_ROOT_IS_OBJECT(definition))
		columns = getKeyJsonValueFromContainer(&definition->root, "columns",
											   strlen("columns"), &buffer);
	return columns == NULL || columns->type == jbvNull;
}

/* a shape without its nodes */
static TideShape *
shape_of_scan(MetaScan *scan)
{
	TideShape  *shape = palloc0(sizeof(TideShape));

	shape->shape_id = DatumGetInt32(scan->values[Anum_shapes_shape_id - 1]);
	shape->name = scan_text(scan, Anum_shapes_name);
	shape->owner = DatumGetObjectId(scan->values[Anum_shapes_owner - 1]);
	shape->state = state_of_name(scan_text(scan, Anum_shapes_state));
	shape->redefined = DatumGetBool(scan->values[Anum_shapes_redefined - 1]);
	shape->reshown = DatumGetBool(scan->values[Anum_shapes_reshown - 1]);
	shape->shows_all = shows_all(DatumGetJsonbP(scan->values[Anum_shapes_definition - 1]));
	if (!scan->nulls[Anum_shapes_built_op_id - 1])
		shape->built_op_id =
			DatumGetInt64(scan->values[Anum_shapes_built_op_id - 1]);
	return shape;
}

/* the not dropped, or any, shape a scan key finds; NULL if there is none */
static TideShape *
shape_by_key(const char *index, ScanKey key)
{
	MetaScan	scan;
	TideShape  *shape = NULL;

	meta_scan_begin(&scan, "shapes", index, 1, key);
	if (meta_scan_next(&scan))
		shape = shape_of_scan(&scan);
	meta_scan_end(&scan);
	if (shape != NULL)
		shape->nodes = shape_nodes(shape->shape_id);
	return shape;
}

TideShape *
tide_catalog_shape_by_name(const char *name)
{
	ScanKeyData key;

	/* the index has only shapes that are not dropped */
	ScanKeyEntryInitialize(&key, 0, Anum_shapes_name, BTEqualStrategyNumber,
						   InvalidOid, DEFAULT_COLLATION_OID, F_TEXTEQ,
						   CStringGetTextDatum(name));
	return shape_by_key("shapes_name_key", &key);
}

TideShape *
tide_catalog_shape_by_id(int shape_id)
{
	ScanKeyData key;

	ScanKeyInit(&key, Anum_shapes_shape_id, BTEqualStrategyNumber,
				F_INT4EQ, Int32GetDatum(shape_id));
	return shape_by_key("shapes_pkey", &key);
}

List *
tide_catalog_shapes(bool include_dropped)
{
	MetaScan	scan;
	List	   *result = NIL;
	ListCell   *lc;

	meta_scan_begin(&scan, "shapes", NULL, 0, NULL);
	while (meta_scan_next(&scan))
	{
		TideShape  *shape = shape_of_scan(&scan);

		if (include_dropped || shape->state != TIDE_SHAPE_DROPPED)
			result = lappend(result, shape);
	}
	meta_scan_end(&scan);

	foreach(lc, result)
	{
		TideShape  *shape = lfirst(lc);

		shape->nodes = shape_nodes(shape->shape_id);
	}
	return result;
}

/* relations of all subqueries below */
static bool
relids_walker(Node *node, void *context)
{
	List	  **relids = context;
	ListCell   *lc;

	if (node == NULL)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, relids_walker, context);
	foreach(lc, ((Query *) node)->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_RELATION)
			*relids = list_append_unique_oid(*relids, rte->relid);
	}
	return query_tree_walker((Query *) node, relids_walker, context, 0);
}

List *
tide_shape_relids(const TideShape *shape)
{
	List	   *relids = NIL;
	ListCell   *lc;

	foreach(lc, shape->nodes)
	{
		TideShapeNode *node = lfirst(lc);
		ListCell   *lc2;

		relids = list_append_unique_oid(relids, node->relid);
		(void) relids_walker(node->subfilter, &relids);
		foreach(lc2, node->lookups)
			(void) relids_walker((Node *) ((TideKeyLookup *) lfirst(lc2))->query, &relids);
	}
	return relids;
}
