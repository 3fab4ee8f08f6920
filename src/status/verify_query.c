/*
 * verify_query.c
 *	  A shape's own query over its live table, as SQL text.
 *
 * For shape {"table": "issues", "where": "open AND team = params.team", "columns": ["title"]}:
 *
 *	SELECT (SELECT pg_catalog.to_jsonb(k.*) FROM (SELECT t.id AS id) k),
 *		   (SELECT pg_catalog.to_jsonb(k.*) FROM (SELECT t.id AS id, t.title AS title) k),
 *		   t.team
 *	FROM public.issues t
 *	WHERE (t.open) AND (t.team) IS NOT NULL
 *	  AND (t.team) OPERATOR(pg_catalog.=) ($1[1])::text
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_operator.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "catalog/table_key.h"
#include "status/verify_query.h"

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

char *
tide_verify_sql_text(const TideShape *shape, const TideSource *source, bool by_key)
{
	const TideShapeNode *root = linitial(shape->nodes);
	List	   *context = deparse_context_for("t", root->relid);
	char	   *schema = get_namespace_name(get_rel_namespace(root->relid));
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	append_object(&sql, source, source->keys, source->nkeys);
	appendStringInfoString(&sql, ", ");
	append_object(&sql, source, root->columns, root->ncolumns);
	foreach(lc, root->key_parts)
		appendStringInfo(&sql, ", %s",
						 deparse_expression(((TideKeyPart *) lfirst(lc))->expr,
											context, true, false));
	appendStringInfo(&sql, " FROM %s t WHERE %s",
					 quote_qualified_identifier(schema, get_rel_name(root->relid)),
					 root->filter == NULL ? "true" :
					 psprintf("(%s)", deparse_expression(root->filter, context, true, false)));
	foreach(lc, root->key_parts)
	{
		TideKeyPart *part = lfirst(lc);
		char	   *expr = deparse_expression(part->expr, context, true, false);

		appendStringInfo(&sql, " AND (%s) IS NOT NULL", expr);
		if (by_key)
			appendStringInfo(&sql, " AND (%s) %s ($1[%d])::%s", expr,
							 equality_text(part->type), foreach_current_index(lc) + 1,
							 format_type_extended(part->type, -1, FORMAT_TYPE_FORCE_QUALIFY));
	}
	return sql.data;
}
