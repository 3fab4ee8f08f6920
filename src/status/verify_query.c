/*
 * verify_query.c
 *	  A shape's own query over its live tables, as SQL text.
 *
 * One query for each node. It has nothing in common with the way the ingest finds rows, and
 * is only as quick as PostgreSQL makes it. For the node "comments" of
 * {"table": "issues", "where": "open AND team = params.team", "include": {"comments": {"table": "comments"}}}:
 *
 *	WITH n0 AS (SELECT DISTINCT t.tableoid AS o, t.ctid AS i, t.team AS k1 FROM public.issues t
 *				WHERE (t.open) AND (t.team) IS NOT NULL AND (t.team) OPERATOR(pg_catalog.=) ($2[1])::text),
 *	n1 AS (SELECT DISTINCT t.tableoid AS o, t.ctid AS i, n.k1 AS k1 FROM n0 n
 *		   JOIN public.issues p ON p.tableoid = n.o AND p.ctid = n.i
 *		   JOIN public.comments t ON (t.issue = p.id) WHERE true)
 *	SELECT (SELECT pg_catalog.to_jsonb(k.*) FROM (SELECT t.id AS id) k),
 *		   (SELECT pg_catalog.to_jsonb(k.*) FROM (SELECT t.id AS id, t.body AS body) k), n.k1
 *	FROM n1 n JOIN public.comments t ON t.tableoid = n.o AND t.ctid = n.i
 *
 * The place of a row is what tells it apart, so that tables without a key are no exception.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_operator.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "catalog/missing.h"
#include "catalog/table_key.h"
#include "status/verify_query.h"
#include "store/shadow_sql.h"
#include "util/errors.h"

/* what is written for one node */
typedef struct NodeText
{
	const TideShapeNode *node;
	const TideShapeNode *parent;	/* NULL: a root */
	const TideSource *source;
	int			nparent_keys;
	bool		by_key;
	StringInfo	sql;
} NodeText;

static const TideShapeNode *
parent_of(const TideShape *shape, const TideShapeNode *node)
{
	ListCell   *lc;

	foreach(lc, shape->nodes)
	{
		if (((const TideShapeNode *) lfirst(lc))->node_id == node->parent_id)
			return lfirst(lc);
	}
	return NULL;
}

TideSource *
tide_verify_source(const TideShapeNode *node, List *sources)
{
	ListCell   *lc;

	foreach(lc, sources)
	{
		TideSource *source = lfirst(lc);

		if (source->source_id == node->source_id && source->live)
			return source;
	}
	return NULL;
}

List *
tide_verify_key_types(const TideShape *shape, const TideShapeNode *node)
{
	const TideShapeNode *parent = parent_of(shape, node);
	List	   *types = parent ? tide_verify_key_types(shape, parent) : NIL;
	ListCell   *lc;

	foreach(lc, node->key_parts)
		types = lappend_oid(types, ((TideKeyPart *) lfirst(lc))->type);
	return types;
}

static char *
table_text(const TideShapeNode *node)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(node->relid)),
									  get_rel_name(node->relid));
}

/* text of an expression over the node's row */
static char *
row_text(const TideShapeNode *node, Node *expr)
{
	const char *alias = "t";

	return tide_source_sql_expr(expr, 1, &node->relid, &alias);
}

/* column's name in JSON: as of the copy, as pulls show it */
static const char *
shown_name(const TideSource *source, AttrNumber attnum)
{
	for (int i = 0; i < source->ncolumns; i++)
		if (source->columns[i] == attnum)
			return source->column_names[i];
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("shadow table of source %d has no column for attribute %d",
					source->source_id, attnum)));
}

/* the columns as one jsonb */
static void
append_object(StringInfo sql, const TideSource *source, const AttrNumber *attnums, int n)
{
	bool		any = false;

	appendStringInfoString(sql, "(SELECT pg_catalog.to_jsonb(k.*) FROM (SELECT ");
	for (int i = 0; i < n; i++)
	{
		char	   *name;

		if (TIDE_ATTNUM_IS_OWN(attnums[i]))
			continue;			/* not in the live table */
		name = get_attname(source->relid, attnums[i], false);
		appendStringInfo(sql, "%st.%s", any ? ", " : "", quote_identifier(name));
		appendStringInfo(sql, " AS %s", quote_identifier(shown_name(source, attnums[i])));
		any = true;
	}
	appendStringInfoString(sql, ") k)");
}

/* OPERATOR(schema.=) of a type */
static char *
equality_text(Oid type)
{
	Oid			operator = lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr;
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;
	char	   *result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for equality operator of type %u", type);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	result = psprintf("OPERATOR(%s.%s)",
					  quote_identifier(get_namespace_name(form->oprnamespace)),
					  NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return result;
}

/* the value of an own key part: the expression, or an element of it */
static char *
part_text(const NodeText *text, int i)
{
	const TideKeyPart *part = list_nth(text->node->key_parts, i);

	return part->is_set ? psprintf("s%d.v", i + 1) : row_text(text->node, part->expr);
}

/* ", n.k1 AS k1, …": the parents' key parts, then the node's own; with names or without */
static void
append_keys(const NodeText *text, bool with_names)
{
	for (int i = 1; i <= text->nparent_keys; i++)
		appendStringInfo(text->sql, with_names ? ", n.k%d AS k%d" : ", n.k%d", i, i);
	for (int i = 0; i < list_length(text->node->key_parts); i++)
	{
		appendStringInfo(text->sql, ", %s", part_text(text, i));
		if (with_names)
			appendStringInfo(text->sql, " AS k%d", text->nparent_keys + i + 1);
	}
}

/* a row's place in the window of its limit */
static void
append_rank(const NodeText *text)
{
	ListCell   *lc;

	appendStringInfo(text->sql, ", pg_catalog.row_number() OVER (PARTITION BY %s",
					 text->parent ? "n.o, n.i" : "true");
	append_keys(text, false);
	appendStringInfoString(text->sql, " ORDER BY ");
	foreach(lc, text->node->order_by)
	{
		const TideSortKey *key = lfirst(lc);

		appendStringInfo(text->sql, "%s %s NULLS %s, ", row_text(text->node, key->expr),
						 key->descending ? "DESC" : "ASC",
						 key->nulls_first ? "FIRST" : "LAST");
	}
	/* ties are broken by the key */
	for (int i = 0; i < text->source->nkeys; i++)
		appendStringInfo(text->sql, "%st.%s", i > 0 ? ", " : "",
						 quote_identifier(get_attname(text->source->relid,
													  text->source->keys[i], false)));
	appendStringInfoString(text->sql, ") AS r");
}

static void
append_from(const NodeText *text)
{
	ListCell   *lc;

	if (text->parent == NULL)
		appendStringInfo(text->sql, " FROM %s t", table_text(text->node));
	else
	{
		const Oid	relids[] = {text->parent->relid, text->node->relid};
		const char *aliases[] = {"p", "t"};

		appendStringInfo(text->sql, " FROM n%d n JOIN %s p ON p.tableoid = n.o AND p.ctid = n.i",
						 text->parent->node_id, table_text(text->parent));
		appendStringInfo(text->sql, " JOIN %s t ON (%s)", table_text(text->node),
						 tide_source_sql_expr(text->node->join_on, 2, relids, aliases));
	}
	foreach(lc, text->node->key_parts)
	{
		const TideKeyPart *part = lfirst(lc);

		if (part->is_set)
			appendStringInfo(text->sql, " CROSS JOIN LATERAL pg_catalog.unnest(%s) AS s%d(v)",
							 row_text(text->node, part->expr), foreach_current_index(lc) + 1);
	}
}

static void
append_where(const NodeText *text)
{
	const TideShapeNode *node = text->node;
	ListCell   *lc;

	appendStringInfo(text->sql, " WHERE %s", node->filter == NULL ? "true" :
					 psprintf("(%s)", row_text(node, node->filter)));
	if (node->subfilter != NULL)
		appendStringInfo(text->sql, " AND (%s)", row_text(node, node->subfilter));
	foreach(lc, node->key_parts)
	{
		const TideKeyPart *part = lfirst(lc);
		int			i = foreach_current_index(lc);

		appendStringInfo(text->sql, " AND (%s) IS NOT NULL", part_text(text, i));
		if (text->by_key)
			appendStringInfo(text->sql, " AND (%s) %s ($2[%d])::%s", part_text(text, i),
							 equality_text(part->type), text->nparent_keys + i + 1,
							 format_type_extended(part->type, -1, FORMAT_TYPE_FORCE_QUALIFY));
	}
}

/* the node's rows: their places, and the keys of the buckets they are in */
static void
append_node(const NodeText *text)
{
	bool		is_limited = text->node->row_limit > 0;

	appendStringInfo(text->sql, "n%d AS (SELECT DISTINCT ", text->node->node_id);
	if (is_limited)
	{
		appendStringInfoString(text->sql, "o, i");
		for (int i = 1; i <= text->nparent_keys + list_length(text->node->key_parts); i++)
			appendStringInfo(text->sql, ", k%d", i);
		appendStringInfoString(text->sql, " FROM (SELECT ");
	}
	appendStringInfoString(text->sql, "t.tableoid AS o, t.ctid AS i");
	append_keys(text, true);
	if (is_limited)
		append_rank(text);
	append_from(text);
	append_where(text);
	if (is_limited)
		appendStringInfo(text->sql, ") w WHERE r <= " INT64_FORMAT, text->node->row_limit);
	appendStringInfoChar(text->sql, ')');
}

/* a node and those above it, topmost first; returns its number of key parts */
static int
append_branch(const TideShape *shape, const TideShapeNode *node, List *sources,
			  bool by_key, StringInfo sql)
{
	NodeText	text = {.node = node,.by_key = by_key,.sql = sql};

	text.parent = parent_of(shape, node);
	text.source = tide_verify_source(node, sources);
	if (text.source == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("shape \"%s\" has no shadow table", shape->name)));
	if (text.parent != NULL)
	{
		text.nparent_keys = append_branch(shape, text.parent, sources, by_key, sql);
		appendStringInfoString(sql, ", ");
	}
	append_node(&text);
	return text.nparent_keys + list_length(node->key_parts);
}

/* ERROR 55000 if something that the shape's conditions are made of was dropped */
static void
require_whole(const TideShape *shape)
{
	ListCell   *lc;

	foreach(lc, shape->nodes)
	{
		const char *missing = tide_node_missing_text(lfirst(lc));

		if (missing != NULL)
			ereport(ERROR,
					(errcode(TIDE_ERRCODE_NOT_RUNNING),
					 errmsg("shape \"%s\" cannot be compared with its tables", shape->name),
					 errdetail("In a condition, %s.", missing)));
	}
}

char *
tide_verify_sql_text(const TideShape *shape, const TideShapeNode *node, List *sources,
					 bool by_key)
{
	const TideSource *source = tide_verify_source(node, sources);
	StringInfoData sql;
	int			nkeys;

	require_whole(shape);
	initStringInfo(&sql);
	appendStringInfoString(&sql, "WITH ");
	nkeys = append_branch(shape, node, sources, by_key, &sql);
	appendStringInfoString(&sql, " SELECT ");
	append_object(&sql, source, source->keys, source->nkeys);
	appendStringInfoString(&sql, ", ");
	append_object(&sql, source, node->columns, node->ncolumns);
	for (int i = 1; i <= nkeys; i++)
		appendStringInfo(&sql, ", n.k%d", i);
	appendStringInfo(&sql, " FROM n%d n JOIN %s t ON t.tableoid = n.o AND t.ctid = n.i",
					 node->node_id, table_text(node));
	return sql.data;
}
