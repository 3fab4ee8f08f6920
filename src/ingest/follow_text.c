/*
 * follow_text.c
 *	  Names in the texts of a definition that follow a renamed table and its columns.
 *
 * Where names stand is told by PostgreSQL's own parser. Which table a column's name belongs to is
 * found as in SQL: from the innermost subquery outwards, the first whose tables have such a column, by the
 * names that they had. Columns named where the parser gives no place, as in USING, cannot be followed.
 */
#include "postgres.h"

#include "access/attnum.h"
#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "ingest/altered.h"
#include "ingest/follow_text.h"

/* a name in the text */
typedef struct Place
{
	int			start;
	int			end;
	const char *text;			/* to be put there */
} Place;

typedef struct Places
{
	const char *text;
	const TideRenames *renames;
	List	   *scopes;			/* of List of TideNamedTable, innermost first */
	List	   *places;			/* of Place */
	bool		is_unsafe;		/* a name may stand where it cannot be told */
} Places;

void
tide_renames_find(const TideSource *source, TideRenames *renames)
{
	List	   *names = textToQualifiedNameList(cstring_to_text(source->table_name));

	memset(renames, 0, sizeof(TideRenames));
	renames->source = source;
	renames->schema_was = strVal(linitial(names));
	renames->table_was = strVal(llast(names));
	renames->table_is = get_rel_name(source->relid);
	renames->qualified_is = tide_altered_table_name(source->relid);
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

Oid
tide_renames_resolve(const TideRenames *renames, const RangeVar *name, bool *is_lost)
{
	Oid			result = RangeVarGetRelid(name, NoLock, true);

	*is_lost = !OidIsValid(result) && strcmp(name->relname, renames->table_was) == 0 &&
		(name->schemaname == NULL || strcmp(name->schemaname, renames->schema_was) == 0);
	return *is_lost ? renames->source->relid : result;
}

/* whether a table has, or had, a column of that name */
static bool
has_column(const TideRenames *renames, Oid relid, const char *name)
{
	if (relid != renames->source->relid)
		return OidIsValid(relid) && get_attnum(relid, name) != InvalidAttrNumber;
	for (int i = 0; i < renames->source->ncolumns; i++)
		if (strcmp(renames->source->column_names[i], name) == 0)
			return true;
	return false;
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
add_place(Places *places, const char *start, const char *end, const char *text)
{
	Place	   *place = palloc(sizeof(Place));

	place->start = start - places->text;
	place->end = end - places->text;
	place->text = text;
	places->is_unsafe |= end == start;
	places->places = lappend(places->places, place);
}

/* behind the dot that follows a name */
static const char *
behind_dot(Places *places, const char *start)
{
	const char *dot = identifier_end(start);

	if (dot == start || *dot != '.')
	{
		places->is_unsafe = true;
		return start;
	}
	return dot + 1;
}

/* ---- tables ---- */

static TideNamedTable *
named_table(const char *name, Oid relid, bool by_table)
{
	TideNamedTable *table = palloc(sizeof(TideNamedTable));

	table->name = name;
	table->relid = relid;
	table->by_table = by_table;
	return table;
}

/* the tables of a FROM clause */
static List *
from_tables(Places *places, Node *from, List *tables)
{
	bool		is_lost;

	if (IsA(from, RangeVar))
	{
		RangeVar   *table = (RangeVar *) from;
		Oid			relid = tide_renames_resolve(places->renames, table, &is_lost);

		places->is_unsafe |= table->alias != NULL && table->alias->colnames != NIL;
		return lappend(tables, named_table(table->alias ? table->alias->aliasname :
										   table->relname, relid, table->alias == NULL));
	}
	if (IsA(from, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) from;

		places->is_unsafe |= join->isNatural || join->usingClause != NIL || join->alias != NULL;
		return from_tables(places, join->rarg, from_tables(places, join->larg, tables));
	}
	places->is_unsafe = true;
	return tables;
}

/* a name of the source in FROM that means nothing any more */
static void
note_table(Places *places, RangeVar *table)
{
	const char *start = places->text + table->location;
	bool		is_lost;

	(void) tide_renames_resolve(places->renames, table, &is_lost);
	if (is_lost)
		add_place(places, start,
				  identifier_end(table->schemaname ? behind_dot(places, start) : start),
				  places->renames->qualified_is);
}

/* ---- columns ---- */

/* the table that x in x.column means, or NULL: params, claims */
static TideNamedTable *
find_table(Places *places, const char *name)
{
	ListCell   *lc;

	foreach(lc, places->scopes)
	{
		ListCell   *lc2;

		foreach(lc2, (List *) lfirst(lc))
		{
			if (strcmp(((TideNamedTable *) lfirst(lc2))->name, name) == 0)
				return lfirst(lc2);
		}
	}
	return NULL;
}

/* whether an unqualified name is the source's column */
static bool
is_sources(Places *places, const char *column)
{
	ListCell   *lc;

	foreach(lc, places->scopes)
	{
		ListCell   *lc2;

		foreach(lc2, (List *) lfirst(lc))
		{
			Oid			relid = ((TideNamedTable *) lfirst(lc2))->relid;

			if (has_column(places->renames, relid, column))
				return relid == places->renames->source->relid;
		}
	}
	return false;
}

/* the names of one column reference that have changed: column, or table.column */
static void
note_reference(Places *places, ColumnRef *ref)
{
	const TideRenames *renames = places->renames;
	const char *start = places->text + ref->location;
	const char *column;

	if (list_length(ref->fields) > 2 || !IsA(llast(ref->fields), String))
	{
		places->is_unsafe |= list_length(ref->fields) > 2;
		return;
	}
	column = strVal(llast(ref->fields));
	if (list_length(ref->fields) > 1)
	{
		TideNamedTable *table = find_table(places, strVal(linitial(ref->fields)));

		if (table == NULL || table->relid != renames->source->relid)
			return;
		if (table->by_table && strcmp(renames->table_was, renames->table_is) != 0 &&
			strcmp(table->name, renames->table_was) == 0)
			add_place(places, start, identifier_end(start), quote_identifier(renames->table_is));
		start = behind_dot(places, start);
	}
	else if (!is_sources(places, column))
		return;
	for (int i = 0; i < renames->n; i++)
		if (strcmp(column, renames->was[i]) == 0)
			add_place(places, start, identifier_end(start), quote_identifier(renames->is[i]));
}

static bool
note_places(Node *node, void *context)
{
	Places	   *places = context;

	if (node == NULL)
		return false;
	if (IsA(node, ColumnRef))
		note_reference(places, (ColumnRef *) node);
	else if (IsA(node, RangeVar))
		note_table(places, (RangeVar *) node);
	else if (IsA(node, SelectStmt))
	{
		List	   *outer = places->scopes;
		List	   *tables = NIL;
		ListCell   *lc;

		foreach(lc, ((SelectStmt *) node)->fromClause)
			tables = from_tables(places, lfirst(lc), tables);
		places->scopes = lcons(tables, list_copy(outer));
		(void) raw_expression_tree_walker(node, note_places, context);
		places->scopes = outer;
		return false;
	}
	return raw_expression_tree_walker(node, note_places, context);
}

static int
compare_places(const ListCell *a, const ListCell *b)
{
	return ((Place *) lfirst(a))->start - ((Place *) lfirst(b))->start;
}

char *
tide_follow_text(const char *text, const char *prefix, List *tables, const TideRenames *renames)
{
	Places		places = {.text = psprintf("%s%s", prefix, text),.renames = renames};
	List	   *statements = raw_parser(places.text, RAW_PARSE_PLPGSQL_EXPR);
	StringInfoData result;
	int			done = strlen(prefix);
	ListCell   *lc;

	places.scopes = list_make1(tables);
	(void) note_places((Node *) linitial_node(RawStmt, statements)->stmt, &places);
	if (places.is_unsafe || places.places == NIL)
		return NULL;
	list_sort(places.places, compare_places);
	initStringInfo(&result);
	foreach(lc, places.places)
	{
		Place	   *place = lfirst(lc);

		appendBinaryStringInfo(&result, places.text + done, place->start - done);
		appendStringInfoString(&result, place->text);
		done = place->end;
	}
	appendStringInfoString(&result, places.text + done);
	return result.data;
}
