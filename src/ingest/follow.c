/*
 * follow.c
 *	  Definitions that follow their tables and columns when those are renamed.
 *
 * A definition is the author's text and names things. A name that still means a
 * table means that table, whichever it is by now. One that means nothing any more
 * because the source was renamed or moved becomes the source's new name, and so do names of renamed
 * columns: in "columns" and "encrypted", and in the texts of all tables of the definition (follow_text.c).
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "ingest/altered.h"
#include "ingest/follow.h"
#include "ingest/follow_text.h"
#include "shape/expr.h"
#include "util/spi.h"

/* a table of a definition */
typedef struct Part
{
	char	   *path;			/* in the definition, as text[] */
	char	   *parent_path;	/* NULL: the root */
	char	   *name;			/* of an include, or NULL */
	char	   *table;
	char	   *where;			/* the rest may be NULL */
	char	   *on;
	char	   *order_by;
	Oid			relid;
} Part;

/* set one string of a shape's definition */
static void
store_string(int shape_id, const char *path, const char *field, const char *value)
{
	TideSpiFrame frame;
	Oid			types[] = {INT4OID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[] = {Int32GetDatum(shape_id), CStringGetTextDatum(path),
	CStringGetTextDatum(field), 0};

	if (value == NULL)
		return;
	values[3] = CStringGetTextDatum(value);
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (SPI_execute_with_args("UPDATE tide_internal.shapes SET definition ="
							  " pg_catalog.jsonb_set(definition, $2::text[] || $3, pg_catalog.to_jsonb($4))"
							  " WHERE shape_id = $1",
							  lengthof(types), types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not store the definition of shape %d", shape_id);
	tide_spi_end(&frame);
}

static Datum
names_datum(const char **names, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * n);

	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(names[i]);
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* new names in a list of columns, field */
static void
store_columns(int shape_id, const char *path, const char *field, const TideRenames *renames)
{
	TideSpiFrame frame;
	Oid			types[] = {INT4OID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID, TEXTOID};
	Datum		values[] = {Int32GetDatum(shape_id), names_datum(renames->was, renames->n),
	names_datum(renames->is, renames->n), CStringGetTextDatum(path), CStringGetTextDatum(field)};

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (SPI_execute_with_args("UPDATE tide_internal.shapes SET definition ="
							  " pg_catalog.jsonb_set(definition, $4::text[] || $5, (SELECT"
							  " pg_catalog.jsonb_agg(coalesce(pg_catalog.to_jsonb(r.name), e.c) ORDER BY e.n)"
							  " FROM pg_catalog.jsonb_array_elements(definition #> ($4::text[] || $5)) WITH ORDINALITY e(c, n)"
							  " LEFT JOIN ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) r(was, name)"
							  " ON e.c = pg_catalog.to_jsonb(r.was)))"
							  " WHERE shape_id = $1"
							  " AND pg_catalog.jsonb_typeof(definition #> ($4::text[] || $5)) = 'array'"
							  " AND definition #> ($4::text[] || $5) <> '[]'",
							  lengthof(types), types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not store the definition of shape %d", shape_id);
	tide_spi_end(&frame);
}

/* tables of a definition, parents before children; and its search_path */
static List *
read_parts(int shape_id, char **search_path)
{
	MemoryContext result = CurrentMemoryContext;
	List	   *parts = NIL;
	TideSpiFrame frame;
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(shape_id)};

	*search_path = NULL;
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (SPI_execute_with_args("WITH RECURSIVE p (path, d) AS ("
							  "SELECT '{}'::text[], definition FROM tide_internal.shapes WHERE shape_id = $1"
							  " UNION ALL SELECT p.path || ARRAY['include', e.key], e.value"
							  " FROM p CROSS JOIN LATERAL pg_catalog.jsonb_each(CASE pg_catalog.jsonb_typeof(d -> 'include')"
							  " WHEN 'object' THEN d -> 'include' ELSE '{}' END) e)"
							  " SELECT path::text, CASE WHEN path <> '{}' THEN path[:pg_catalog.cardinality(path) - 2]::text END,"
							  " path[pg_catalog.cardinality(path)], d ->> 'table', d ->> 'where', d ->> 'on', d ->> 'order_by',"
							  " (SELECT search_path FROM tide_internal.shapes WHERE shape_id = $1)"
							  " FROM p ORDER BY pg_catalog.cardinality(path)",
							  1, types, values, NULL, false, 0) != SPI_OK_SELECT ||
		SPI_processed == 0)
		elog(ERROR, "could not read shape %d", shape_id);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		Part	   *part = MemoryContextAllocZero(result, sizeof(Part));
		char	  **fields[] = {&part->path, &part->parent_path, &part->name, &part->table,
		&part->where, &part->on, &part->order_by, search_path};
		MemoryContext old;

		for (int i = 0; i < lengthof(fields); i++)
		{
			char	   *value = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, i + 1);

			*fields[i] = value ? MemoryContextStrdup(result, value) : NULL;
		}
		old = MemoryContextSwitchTo(result);
		parts = lappend(parts, part);
		MemoryContextSwitchTo(old);
	}
	tide_spi_end(&frame);
	return parts;
}

static Part *
find_part(List *parts, const char *path)
{
	ListCell   *lc;

	foreach(lc, parts)
	{
		if (path != NULL && strcmp(((Part *) lfirst(lc))->path, path) == 0)
			return lfirst(lc);
	}
	return NULL;
}

static List *
add_name(List *tables, const char *name, Oid relid, bool by_table)
{
	TideNamedTable *table = palloc(sizeof(TideNamedTable));

	table->name = name;
	table->relid = relid;
	table->by_table = by_table;
	return lappend(tables, table);
}

/* what texts call the rows of a part: names of an include and of the table */
static List *
names_of(List *tables, const Part *part)
{
	List	   *names = textToQualifiedNameList(cstring_to_text(part->table));

	if (part->name != NULL)
		tables = add_name(tables, part->name, part->relid, false);
	return add_name(tables, strVal(llast(names)), part->relid, true);
}

/* find out, as the definition's author, what of a part has other names now; NULL where nothing has */
static void
follow_part(const Part *part, const Part *parent, const TideRenames *renames, Part *is)
{
	List	   *own = names_of(NIL, part);

	if (part->where != NULL)
		is->where = tide_follow_text(part->where, "", own, renames);
	if (part->order_by != NULL)
		is->order_by = tide_follow_text(part->order_by, TIDE_ORDER_PREFIX, own, renames);
	if (part->on != NULL && parent != NULL)
		is->on = tide_follow_text(part->on, "",
								  names_of(add_name(own, "parent", parent->relid, false), parent),
								  renames);
}

void
tide_definition_follow(const TideShape *shape, const TideSource *source)
{
	TideRenames renames;
	TideSpiFrame frame;
	char	   *search_path;
	List	   *parts;
	List	   *follow = NIL;
	ListCell   *lc;
	ListCell   *lc2;

	if (source->table_name == NULL ||
		tide_altered_table_name(source->relid) == NULL)
		return;
	parts = read_parts(shape->shape_id, &search_path);
	tide_renames_find(source, &renames);
	tide_user_push(&frame, shape->owner);
	(void) set_config_option("search_path", search_path, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	foreach(lc, parts)
	{
		Part	   *part = lfirst(lc);
		Part	   *is = palloc0(sizeof(Part));
		bool		is_lost;

		part->relid = tide_renames_resolve(&renames,
										   makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(part->table))),
										   &is_lost);
		if (is_lost)
			is->table = pstrdup(renames.qualified_is);
		follow_part(part, find_part(parts, part->parent_path), &renames, is);
		follow = lappend(follow, is);
	}
	tide_user_pop(&frame);
	forboth(lc, parts, lc2, follow)
	{
		Part	   *part = lfirst(lc);
		Part	   *is = lfirst(lc2);

		store_string(shape->shape_id, part->path, "table", is->table);
		store_string(shape->shape_id, part->path, "where", is->where);
		store_string(shape->shape_id, part->path, "on", is->on);
		store_string(shape->shape_id, part->path, "order_by", is->order_by);
		if (renames.n == 0 || part->relid != source->relid)
			continue;
		store_columns(shape->shape_id, part->path, "columns", &renames);
		store_columns(shape->shape_id, part->path, "encrypted", &renames);
	}
}

void
tide_definition_follow_early(const TideShape *shape, const TideSource *source)
{
	TideRenames renames;

	if (source->table_name == NULL ||
		tide_altered_table_name(source->relid) == NULL)
		return;
	tide_renames_find(source, &renames);
	for (int i = 0; i < renames.n; i++)
		for (int other = 0; other < renames.n; other++)
			if (strcmp(renames.was[i], renames.is[other]) == 0)
				return;
	tide_definition_follow(shape, source);
}
