/*
 * model.c
 *	  From shapes to the tables a client has: several shapes over one table give one
 *	  client table with all their columns.
 *
 * Only catalogs and policies are read, no user table; the caller's right to run
 * tide.client_schema() is the right to see the structure of what shapes show.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "parser/parse_coerce.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "catalog/shape_catalog.h"
#include "catalog/table_key.h"
#include "client/model.h"
#include "util/spi.h"

static void add_node(List **tables, const char *shape_name, const TideShapeNode *node);
static TideClientTable *find_table(List **tables, Oid relid);
static void add_set(TideClientTable *table, const char *shape_name, const char *path,
					Bitmapset *attnums);
static void finish_table(TideClientTable *table, List *sources);
static void note_differences(TideClientTable *table);
static TideClientColumn *make_column(Oid relid, AttrNumber attnum);
static TideClientClass classify_type(Oid type);
static int	compare_tables(const ListCell *a, const ListCell *b);

List *
tide_client_model_create(List *shape_names)
{
	List	   *tables = NIL;
	List	   *sources;
	ListCell   *lc;

	foreach(lc, shape_names)
	{
		const char *name = lfirst(lc);
		TideShape  *shape = tide_catalog_shape_by_name(name);
		ListCell   *node;

		if (shape == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("shape \"%s\" does not exist", name)));
		foreach(node, shape->nodes)
			add_node(&tables, shape->name, lfirst(node));
	}

	sources = tide_catalog_sources();
	list_sort(tables, compare_tables);
	foreach(lc, tables)
	{
		TideClientTable *table = lfirst(lc);

		table->id = foreach_current_index(lc) + 1;
		finish_table(table, sources);
	}
	return tables;
}

static void
add_node(List **tables, const char *shape_name, const TideShapeNode *node)
{
	TideClientTable *table = find_table(tables, node->relid);
	Bitmapset  *attnums = NULL;

	for (int i = 0; i < node->ncolumns; i++)
		attnums = bms_add_member(attnums, node->columns[i]);
	add_set(table, shape_name, node->path, attnums);
}

static TideClientTable *
find_table(List **tables, Oid relid)
{
	TideClientTable *table;
	ListCell   *lc;

	foreach(lc, *tables)
	{
		table = lfirst(lc);
		if (table->relid == relid)
			return table;
	}
	table = palloc0(sizeof(TideClientTable));
	table->relid = relid;
	table->name = get_rel_name(relid);
	if (table->name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("a table of the shapes has been dropped")));
	table->schema = get_namespace_name(get_rel_namespace(relid));
	*tables = lappend(*tables, table);
	return table;
}

static void
add_set(TideClientTable *table, const char *shape_name, const char *path, Bitmapset *attnums)
{
	TideClientHolder *holder = palloc(sizeof(TideClientHolder));
	TideClientSet *set;
	ListCell   *lc;

	holder->shape = pstrdup(shape_name);
	holder->path = pstrdup(path);
	foreach(lc, table->sets)
	{
		const TideClientHolder *last;

		set = lfirst(lc);
		if (!bms_equal(set->attnums, attnums))
			continue;
		/* the roots of a shape come one after the other */
		last = llast(set->holders);
		if (strcmp(last->shape, shape_name) != 0 || strcmp(last->path, path) != 0)
			set->holders = lappend(set->holders, holder);
		return;
	}
	set = palloc(sizeof(TideClientSet));
	set->attnums = attnums;
	set->holders = list_make1(holder);
	table->sets = lappend(table->sets, set);
}

/* columns and keys of a table all of whose sets are known */
static void
finish_table(TideClientTable *table, List *sources)
{
	Bitmapset  *all = NULL;
	Bitmapset  *shared = NULL;
	ListCell   *lc;

	foreach(lc, table->sets)
	{
		TideClientSet *set = lfirst(lc);

		all = bms_add_members(all, set->attnums);
		shared = foreach_current_index(lc) == 0 ? bms_copy(set->attnums)
			: bms_int_members(shared, set->attnums);
	}
	for (int attnum = -1; (attnum = bms_next_member(all, attnum)) >= 0;)
	{
		TideClientColumn *column = make_column(table->relid, attnum);

		column->is_partial = !bms_is_member(attnum, shared);
		table->columns = lappend(table->columns, column);
	}
	foreach(lc, sources)
	{
		TideSource *source = lfirst(lc);

		if (source->relid != table->relid)
			continue;
		for (int i = 0; i < source->nkeys; i++)
		{
			ListCell   *c;

			foreach(c, table->columns)
			{
				TideClientColumn *column = lfirst(c);

				if (column->attnum == source->keys[i])
				{
					column->is_key = true;
					table->keys = lappend(table->keys, column);
				}
			}
		}
	}
	if (table->keys == NIL)
		elog(ERROR, "no key known of table \"%s\"", table->name);
	note_differences(table);
}

/* which columns have a policy for which the base is part of what was done; none if clients may not write */
static void
note_differences(TideClientTable *table)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(table->relid)};
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(&plan,
				 "SELECT attnum FROM tide_internal.column_policies"
				 " WHERE relid = $1 AND policy IN ('counter', 'set', 'custom')",
				 lengthof(types), types, values, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		AttrNumber	attnum = DatumGetInt16(SPI_getbinval(SPI_tuptable->vals[i],
														 SPI_tuptable->tupdesc, 1, &isnull));
		ListCell   *lc;

		foreach(lc, table->columns)
		{
			TideClientColumn *column = lfirst(lc);

			if (column->attnum == attnum)
				column->is_difference = true;
		}
	}
	tide_spi_end(&frame);
}

static TideClientColumn *
make_column(Oid relid, AttrNumber attnum)
{
	TideClientColumn *column = palloc0(sizeof(TideClientColumn));
	HeapTuple	tuple;
	Form_pg_attribute att;

	if (TIDE_ATTNUM_IS_OWN(attnum))
	{
		/* the key that is made up for rows without one */
		column->attnum = attnum;
		column->name = pstrdup(tide_own_column_name(attnum));
		column->typmod = -1;
		column->type = tide_own_column_type(attnum);
		column->type_class = classify_type(column->type);
		return column;
	}
	tuple = SearchSysCacheAttNum(relid, attnum);
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("a column of table \"%s\" that a shape shows has been dropped",
						get_rel_name(relid))));
	att = (Form_pg_attribute) GETSTRUCT(tuple);
	column->attnum = attnum;
	column->name = pstrdup(NameStr(att->attname));
	column->typmod = att->atttypmod;
	column->type = getBaseTypeAndTypmod(att->atttypid, &column->typmod);
	column->type_class = classify_type(column->type);
	column->is_generated = att->attgenerated != '\0' ||
		att->attidentity == ATTRIBUTE_IDENTITY_ALWAYS;
	ReleaseSysCache(tuple);
	return column;
}

/* the same distinctions as to_jsonb() and util/json_writer.h make */
static TideClientClass
classify_type(Oid type)
{
	CoercionPathType path;
	Oid			function;

	switch (type)
	{
		case BOOLOID:
			return TIDE_CLIENT_BOOL;
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return TIDE_CLIENT_INTEGER;
		case FLOAT4OID:
		case FLOAT8OID:
			return TIDE_CLIENT_FLOAT;
		case NUMERICOID:
			return TIDE_CLIENT_NUMERIC;
		case UUIDOID:
			return TIDE_CLIENT_UUID;
		case JSONOID:
		case JSONBOID:
			return TIDE_CLIENT_JSON;
		default:
			break;
	}
	if (OidIsValid(get_element_type(type)) || type_is_rowtype(type))
		return TIDE_CLIENT_JSON;
	if (type >= FirstNormalObjectId)
	{
		path = find_coercion_pathway(JSONOID, type, COERCION_EXPLICIT, &function);
		if (path == COERCION_PATH_FUNC && OidIsValid(function))
			return TIDE_CLIENT_JSON;
	}
	return TIDE_CLIENT_TEXT;
}

static int
compare_tables(const ListCell *a, const ListCell *b)
{
	const TideClientTable *x = lfirst(a);
	const TideClientTable *y = lfirst(b);
	int			cmp = strcmp(x->schema, y->schema);

	return cmp != 0 ? cmp : strcmp(x->name, y->name);
}
