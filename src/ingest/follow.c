/*
 * follow.c
 *	  Definitions that follow their tables and columns when those are renamed.
 *
 * A definition is the author's text and names things. A name that still means a
 * table means that table, whichever it is by now. One that means nothing any more
 * because the source was renamed or moved becomes the source's new name; so do
 * names of renamed columns in "columns", "encrypted" and "where" of the root. Where a name stands in
 * "where" is told by PostgreSQL's own parser; text with subqueries is left alone,
 * since a name in it may be another table's.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "ingest/altered.h"
#include "ingest/follow.h"
#include "util/spi.h"

/* old and new name of each renamed column */
typedef struct Renames
{
	int			n;
	const char **was;
	const char **is;
	const char *table_was;		/* without schema */
	const char *table_is;
} Renames;

/* a name in the text of "where" */
typedef struct Place
{
	int			start;
	int			end;
	const char *name;			/* to be put there */
} Place;

typedef struct Places
{
	const char *text;
	const Renames *renames;
	List	   *places;			/* of Place */
	bool		is_unsafe;		/* subqueries, or names written in an unusual way */
} Places;

typedef struct Stored
{
	char	   *table;
	char	   *where;			/* or NULL */
	char	   *search_path;
} Stored;

static void read_stored(int shape_id, Stored *stored);
static Oid	resolve_table(const TideShape *shape, const Stored *stored);
static void find_renames(const TideSource *source, Renames *renames);
static char *follow_where(const char *where, const Renames *renames);
static bool note_places(Node *node, void *context);

/* set one string of a shape's definition */
static void
store_string(int shape_id, const char *field, const char *value)
{
	TideSpiFrame frame;
	Oid			types[] = {INT4OID, TEXTOID, TEXTOID};
	Datum		values[] = {Int32GetDatum(shape_id), CStringGetTextDatum(field),
	CStringGetTextDatum(value)};

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (SPI_execute_with_args("UPDATE tide_internal.shapes SET definition ="
							  " pg_catalog.jsonb_set(definition, ARRAY[$2], pg_catalog.to_jsonb($3))"
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
store_columns(int shape_id, const char *field, const Renames *renames)
{
	TideSpiFrame frame;
	Oid			types[] = {INT4OID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID};
	Datum		values[] = {Int32GetDatum(shape_id), names_datum(renames->was, renames->n),
	names_datum(renames->is, renames->n), CStringGetTextDatum(field)};

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (SPI_execute_with_args("UPDATE tide_internal.shapes SET definition ="
							  " pg_catalog.jsonb_set(definition, ARRAY[$4], (SELECT"
							  " pg_catalog.jsonb_agg(coalesce(pg_catalog.to_jsonb(r.name), e.c) ORDER BY e.n)"
							  " FROM pg_catalog.jsonb_array_elements(definition -> $4) WITH ORDINALITY e(c, n)"
							  " LEFT JOIN ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) r(was, name)"
							  " ON e.c = pg_catalog.to_jsonb(r.was)))"
							  " WHERE shape_id = $1 AND pg_catalog.jsonb_typeof(definition -> $4) = 'array'"
							  " AND definition -> $4 <> '[]'",
							  lengthof(types), types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not store the definition of shape %d", shape_id);
	tide_spi_end(&frame);
}

void
tide_definition_follow(const TideShape *shape, const TideSource *source)
{
	char	   *name = tide_altered_table_name(source->relid);
	Renames		renames = {0};
	Stored		stored;
	char	   *where;
	Oid			named;

	if (name == NULL || !source->live || source->table_name == NULL)
		return;
	read_stored(shape->shape_id, &stored);
	find_renames(source, &renames);
	named = resolve_table(shape, &stored);
	if (OidIsValid(named) && named != source->relid)
		return;					/* another table has the name: it is the shape's now */
	if (!OidIsValid(named))
		store_string(shape->shape_id, "table", name);
	if (renames.n > 0)
	{
		store_columns(shape->shape_id, "columns", &renames);
		store_columns(shape->shape_id, "encrypted", &renames);
	}
	where = stored.where ? follow_where(stored.where, &renames) : NULL;
	if (where != NULL)
		store_string(shape->shape_id, "where", where);
}

static void
read_stored(int shape_id, Stored *stored)
{
	MemoryContext result = CurrentMemoryContext;
	TideSpiFrame frame;
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(shape_id)};
	char	  **fields[] = {&stored->table, &stored->where, &stored->search_path};

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (SPI_execute_with_args("SELECT definition ->> 'table', definition ->> 'where', search_path"
							  " FROM tide_internal.shapes WHERE shape_id = $1",
							  1, types, values, NULL, false, 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not read shape %d", shape_id);
	for (int i = 0; i < lengthof(fields); i++)
	{
		char	   *value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1);

		*fields[i] = value ? MemoryContextStrdup(result, value) : NULL;
	}
	tide_spi_end(&frame);
}

/* the table that the definition names, looked up as its author would; or InvalidOid */
static Oid
resolve_table(const TideShape *shape, const Stored *stored)
{
	TideSpiFrame frame;
	List	   *names;
	Oid			result;

	tide_user_push(&frame, shape->owner);
	(void) set_config_option("search_path", stored->search_path, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	names = textToQualifiedNameList(cstring_to_text(stored->table));
	result = RangeVarGetRelid(makeRangeVarFromNameList(names), NoLock, true);
	tide_user_pop(&frame);
	return result;
}

static void
find_renames(const TideSource *source, Renames *renames)
{
	List	   *names = textToQualifiedNameList(cstring_to_text(source->table_name));

	renames->table_was = strVal(llast(names));
	renames->table_is = get_rel_name(source->relid);
	renames->was = palloc(sizeof(char *) * Max(source->ncolumns, 1));
	renames->is = palloc(sizeof(char *) * Max(source->ncolumns, 1));
	for (int i = 0; i < source->ncolumns; i++)
	{
		HeapTuple	tuple = SearchSysCacheAttNum(source->relid, source->columns[i]);
		Form_pg_attribute att;

		if (!HeapTupleIsValid(tuple))
			continue;
		att = (Form_pg_attribute) GETSTRUCT(tuple);
		if (strcmp(source->column_names[i], NameStr(att->attname)) != 0)
		{
			renames->was[renames->n] = source->column_names[i];
			renames->is[renames->n++] = pstrdup(NameStr(att->attname));
		}
		ReleaseSysCache(tuple);
	}
}

static int
compare_places(const ListCell *a, const ListCell *b)
{
	return ((Place *) lfirst(a))->start - ((Place *) lfirst(b))->start;
}

/* the text with new names; NULL if there is none to put, or it cannot be told where */
static char *
follow_where(const char *where, const Renames *renames)
{
	Places		places = {.text = where, .renames = renames};
	List	   *statements = raw_parser(where, RAW_PARSE_PLPGSQL_EXPR);
	StringInfoData result;
	int			done = 0;
	ListCell   *lc;

	(void) note_places((Node *) linitial_node(RawStmt, statements)->stmt, &places);
	if (places.is_unsafe || places.places == NIL)
		return NULL;
	list_sort(places.places, compare_places);
	initStringInfo(&result);
	foreach(lc, places.places)
	{
		Place	   *place = lfirst(lc);

		appendBinaryStringInfo(&result, where + done, place->start - done);
		appendStringInfoString(&result, quote_identifier(place->name));
		done = place->end;
	}
	appendStringInfoString(&result, where + done);
	return result.data;
}

/* end of the identifier that starts at p; p itself if it is not written plainly */
static const char *
identifier_end(const char *p)
{
	if (*p == '"')
	{
		for (p++; *p != '\0'; p++)
			if (*p == '"' && *++p != '"')
				return p;
		return p;
	}
	if ((p[0] == 'u' || p[0] == 'U') && p[1] == '&' && p[2] == '"')
		return p;
	while (IS_HIGHBIT_SET(*p) || isalnum((unsigned char) *p) || *p == '_' || *p == '$')
		p++;
	return p;
}

static void
add_place(Places *places, const char *start, const char *name)
{
	Place	   *place = palloc(sizeof(Place));

	place->start = start - places->text;
	place->end = identifier_end(start) - places->text;
	place->name = name;
	places->is_unsafe |= place->end == place->start;
	places->places = lappend(places->places, place);
}

/* the names of one column reference that have changed: column, or table.column */
static void
note_reference(Places *places, ColumnRef *ref)
{
	const Renames *renames = places->renames;
	const char *start = places->text + ref->location;
	const char *column;
	bool		is_qualified = list_length(ref->fields) > 1;

	if (list_length(ref->fields) > 2 || !IsA(llast(ref->fields), String))
	{
		places->is_unsafe |= list_length(ref->fields) > 2;
		return;
	}
	column = strVal(llast(ref->fields));
	if (is_qualified)
	{
		const char *dot = identifier_end(start);

		if (strcmp(strVal(linitial(ref->fields)), renames->table_was) != 0)
			return;				/* params.x, claims.x */
		if (dot == start || *dot != '.')
			places->is_unsafe = true;
		if (strcmp(renames->table_was, renames->table_is) != 0)
			add_place(places, start, renames->table_is);
		start = dot + 1;
	}
	for (int i = 0; i < renames->n; i++)
		if (strcmp(column, renames->was[i]) == 0)
			add_place(places, start, renames->is[i]);
}

static bool
note_places(Node *node, void *context)
{
	Places	   *places = context;

	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
		places->is_unsafe = true;
	else if (IsA(node, ColumnRef))
		note_reference(places, (ColumnRef *) node);
	return raw_expression_tree_walker(node, note_places, context);
}
