/*
 * conflict_statement.c
 *	  The SQL of mutations under conflict policies.
 *
 * As in statement.c, with $3 the base and $4 values that were computed. For a table
 * issues (id uuid, title text, votes int, tags text[]) with policies keep, counter, set:
 *
 *	SELECT t.id, NULL, NULL, t.title, b.title, v.title, NULL,
 *	       t.votes, <sum>, v.votes, NULL,
 *	       NULL, pg_catalog.to_jsonb(b.tags), pg_catalog.to_jsonb(v.tags), pg_catalog.to_jsonb(t.tags)
 *	  FROM public.issues AS t, … k, … v, … b WHERE t.id OPERATOR(pg_catalog.=) k.id
 *	  FOR NO KEY UPDATE OF t
 *	UPDATE public.issues AS t SET title = v.title, votes = <sum>, tags = w.tags
 *	  FROM … k, … v, … b, … w WHERE … RETURNING …
 *
 * where <sum> is COALESCE(t.votes, '0'::pg_catalog.int4) OPERATOR(pg_catalog.+)
 * (COALESCE(v.votes, '0'…) OPERATOR(pg_catalog.-) COALESCE(b.votes, '0'…)).
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "push/conflict.h"

typedef bool (*ColumnTest) (const TideConflictColumn *column);

static const char *table_name(const TideTarget *target);
static void append_value(StringInfo sql, const TideConflict *conflict,
						 const TideConflictColumn *column, char alias, bool is_there);
static void append_sum(StringInfo sql, const TideTarget *target,
					   const TideConflictColumn *column);
static void append_term(StringInfo sql, const char *value, Oid type);
static void append_columns_source(StringInfo sql, const TideConflict *conflict, char alias,
								  ColumnTest test);
static void append_returning(StringInfo sql, const TideConflict *conflict,
							 const List *returned);
static bool is_sent(const TideConflictColumn *column);
static bool has_base(const TideConflictColumn *column);
static bool is_written_as_sent(const TideConflictColumn *column);
static bool is_summed(const TideConflictColumn *column);
static bool is_summed_over_base(const TideConflictColumn *column);
static bool is_computed(const TideConflictColumn *column);
static bool may_read_xmin(const TideTarget *target);

/* key columns; xmin; the row; then raw, base, new, JSON of each column */
char *
tide_conflict_lock_text(const TideConflict *conflict)
{
	const TideTarget *target = conflict->target;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	for (int i = 0; i < target->nkeys; i++)
		appendStringInfo(&sql, "t.%s, ", tide_statement_column(target, target->keys[i]));
	appendStringInfoString(&sql, conflict->has_clocks && may_read_xmin(target) ?
						   "t.xmin" : "NULL");
	appendStringInfoString(&sql, conflict->has_group ?
						   ", pg_catalog.to_jsonb(t.*)" : ", NULL");
	for (int i = 0; i < conflict->ncolumns; i++)
	{
		const TideConflictColumn *column = &conflict->columns[i];
		const char *name = tide_statement_column(target, column->attnum);
		bool		is_json = column->form == TIDE_FORM_JSON;

		if (column->form == TIDE_FORM_TYPED || column->form == TIDE_FORM_SUM ||
			tide_policy_traits[column->policy].has_clock)
			appendStringInfo(&sql, ", t.%s, ", name);
		else
			appendStringInfoString(&sql, ", NULL, ");
		if (column->form == TIDE_FORM_SUM)
			append_sum(&sql, target, column);
		else
			append_value(&sql, conflict, column, 'b', column->has_base);
		appendStringInfoString(&sql, ", ");
		append_value(&sql, conflict, column, 'v', column->is_sent);
		appendStringInfoString(&sql, ", ");
		append_value(&sql, conflict, column, 't', is_json && !column->is_grouped);
	}
	appendStringInfo(&sql, " FROM %s AS t, ", table_name(target));
	tide_statement_append_source(&sql, target, 'k', target->keys, target->nkeys);
	append_columns_source(&sql, conflict, 'v', is_sent);
	append_columns_source(&sql, conflict, 'b', has_base);
	tide_statement_append_condition(&sql, target);
	appendStringInfoString(&sql, conflict->attempt->mutation->op == TIDE_PUSH_DELETE ?
						   " FOR UPDATE OF t" : " FOR NO KEY UPDATE OF t");
	return sql.data;
}

/* the key's values, of a row that is not there */
char *
tide_conflict_key_text(const TideConflict *conflict)
{
	const TideTarget *target = conflict->target;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	for (int i = 0; i < target->nkeys; i++)
		appendStringInfo(&sql, "%sk.%s", i > 0 ? ", " : "",
						 tide_statement_column(target, target->keys[i]));
	appendStringInfoString(&sql, " FROM ");
	tide_statement_append_source(&sql, target, 'k', target->keys, target->nkeys);
	return sql.data;
}

/*
 * All columns as sent. What is returned, here and below: key columns, then those of the list,
 * in JSON if their attnum is negative.
 */
char *
tide_conflict_insert_text(const TideConflict *conflict, const List *returned)
{
	List	   *columns = NIL;
	StringInfoData sql;

	for (int i = 0; i < conflict->ncolumns; i++)
	{
		if (conflict->columns[i].is_sent)
			columns = lappend_int(columns, conflict->columns[i].attnum);
	}
	initStringInfo(&sql);
	appendStringInfoString(&sql, tide_statement_text(conflict->target, TIDE_STATEMENT_INSERT,
													 columns));
	append_returning(&sql, conflict, returned);
	return sql.data;
}

/* the columns that are not kept */
char *
tide_conflict_update_text(const TideConflict *conflict, const List *returned)
{
	const TideTarget *target = conflict->target;
	const char *separator = "";
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s AS t SET ", table_name(target));
	for (int i = 0; i < conflict->ncolumns; i++)
	{
		const TideConflictColumn *column = &conflict->columns[i];
		const char *name = tide_statement_column(target, column->attnum);

		if (column->fate == TIDE_COLUMN_KEPT || column->fate == TIDE_COLUMN_ASIDE)
			continue;
		appendStringInfo(&sql, "%s%s = ", separator, name);
		if (is_summed(column))
			append_sum(&sql, target, column);
		else
			appendStringInfo(&sql, "%c.%s", is_computed(column) ? 'w' : 'v', name);
		separator = ", ";
	}
	appendStringInfoString(&sql, " FROM ");
	tide_statement_append_source(&sql, target, 'k', target->keys, target->nkeys);
	append_columns_source(&sql, conflict, 'v', is_written_as_sent);
	append_columns_source(&sql, conflict, 'b', is_summed_over_base);
	append_columns_source(&sql, conflict, 'w', is_computed);
	tide_statement_append_condition(&sql, target);
	append_returning(&sql, conflict, returned);
	return sql.data;
}

static const char *
table_name(const TideTarget *target)
{
	return quote_qualified_identifier(get_namespace_name(RelationGetNamespace(target->rel)),
									  RelationGetRelationName(target->rel));
}

static void
append_value(StringInfo sql, const TideConflict *conflict, const TideConflictColumn *column,
			 char alias, bool is_there)
{
	const char *name = tide_statement_column(conflict->target, column->attnum);

	if (!is_there || column->form == TIDE_FORM_NONE)
		appendStringInfoString(sql, "NULL");
	else if (column->form == TIDE_FORM_JSON)
		appendStringInfo(sql, "pg_catalog.to_jsonb(%c.%s)", alias, name);
	else
		appendStringInfo(sql, "%c.%s", alias, name);
}

static void
append_sum(StringInfo sql, const TideTarget *target, const TideConflictColumn *column)
{
	const char *name = tide_statement_column(target, column->attnum);
	Oid			type = getBaseType(column->att->atttypid);
	Oid			plus = tide_type_operator(type, "+");
	Oid			minus = tide_type_operator(type, "-");

	if (!OidIsValid(plus) || !OidIsValid(minus))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot have conflict policy \"%s\"",
						NameStr(column->att->attname), format_type_be(type), "counter")));
	append_term(sql, psprintf("t.%s", name), type);
	appendStringInfoChar(sql, ' ');
	tide_statement_append_operator(sql, plus);
	appendStringInfoString(sql, " (");
	append_term(sql, psprintf("v.%s", name), type);
	if (column->has_base)
	{
		appendStringInfoChar(sql, ' ');
		tide_statement_append_operator(sql, minus);
		appendStringInfoChar(sql, ' ');
		append_term(sql, psprintf("b.%s", name), type);
	}
	appendStringInfoChar(sql, ')');
}

static void
append_term(StringInfo sql, const char *value, Oid type)
{
	appendStringInfo(sql, "COALESCE(%s, '0'::%s)", value,
					 format_type_extended(type, -1, FORMAT_TYPE_FORCE_QUALIFY));
}

static void
append_columns_source(StringInfo sql, const TideConflict *conflict, char alias,
					  ColumnTest test)
{
	AttrNumber *attnums = palloc(sizeof(AttrNumber) * Max(conflict->ncolumns, 1));
	int			n = 0;

	for (int i = 0; i < conflict->ncolumns; i++)
	{
		if (test(&conflict->columns[i]))
			attnums[n++] = conflict->columns[i].attnum;
	}
	if (n == 0)
		return;
	appendStringInfoString(sql, ", ");
	tide_statement_append_source(sql, conflict->target, alias, attnums, n);
}

static void
append_returning(StringInfo sql, const TideConflict *conflict, const List *returned)
{
	const TideTarget *target = conflict->target;
	ListCell   *lc;

	if (returned == NIL)
		return;
	for (int i = 0; i < target->nkeys; i++)
		appendStringInfo(sql, "%s t.%s", i > 0 ? "," : " RETURNING",
						 tide_statement_column(target, target->keys[i]));
	foreach(lc, returned)
		appendStringInfo(sql, lfirst_int(lc) > 0 ? ", t.%s" : ", pg_catalog.to_jsonb(t.%s)",
						 tide_statement_column(target, abs(lfirst_int(lc))));
}

static bool
is_sent(const TideConflictColumn *column)
{
	return column->is_sent;
}

static bool
has_base(const TideConflictColumn *column)
{
	return column->has_base;
}

/* the sum is made of what was sent */
static bool
is_written_as_sent(const TideConflictColumn *column)
{
	return column->is_sent && column->fate != TIDE_COLUMN_KEPT && !is_computed(column);
}

static bool
is_summed(const TideConflictColumn *column)
{
	return column->fate == TIDE_COLUMN_MERGED && column->form == TIDE_FORM_SUM;
}

static bool
is_summed_over_base(const TideConflictColumn *column)
{
	return is_summed(column) && column->has_base;
}

static bool
is_computed(const TideConflictColumn *column)
{
	return column->fate == TIDE_COLUMN_MERGED && column->form == TIDE_FORM_JSON;
}

static bool
may_read_xmin(const TideTarget *target)
{
	Oid			relid = RelationGetRelid(target->rel);

	return pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK ||
		pg_attribute_aclcheck(relid, MinTransactionIdAttributeNumber, GetUserId(),
							  ACL_SELECT) == ACLCHECK_OK;
}
