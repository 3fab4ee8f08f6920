/*
 * expr_parse.c
 *	  From text to typed expressions over the rows of one or two tables.
 *
 * PostgreSQL's grammar and analysis do all of it. Hooks of ParseState turn
 * params.x and claims.x into Params and give each occurrence the type its
 * surroundings ask for, the way EXECUTE's parameters get theirs.
 *
 * A row is known by its table's name, and at an include also by the include's name; in "on"
 * the parent's row is known as "parent" as well, and if both rows are of one table, by
 * that and its include's name only.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_oper.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "catalog/shape.h"
#include "shape/expr.h"
#include "util/compat.h"

char *
tide_expr_param_name(TideExpr *expr, Param *param)
{
	TideParamRef *ref = list_nth(expr->refs, param->paramid - 1);

	return psprintf("%s.%s", ref->is_claim ? "claims" : "params", ref->name);
}

/* whether a relation of that name can be seen, so that schema.table.column may be meant */
static bool
is_visible_table(ParseState *pstate, const char *name)
{
	for (; pstate != NULL; pstate = pstate->parentParseState)
	{
		ListCell   *lc;

		foreach(lc, pstate->p_namespace)
		{
			ParseNamespaceItem *item = lfirst(lc);

			if (item->p_rel_visible && strcmp(item->p_names->aliasname, name) == 0)
				return true;
		}
	}
	return false;
}

/* params.x and claims.x to Param; anything else is left to the parser */
static Node *
param_columnref(ParseState *pstate, ColumnRef *cref)
{
	TideExpr   *expr = pstate->p_ref_hook_state;
	TideParamRef *ref;
	const char *first;
	Param	   *param;

	/* a lone "*" is for target lists: transformExpr() does not expect it */
	if (!IsA(linitial(cref->fields), String))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"%s\" must be one boolean expression and nothing else", expr->field),
				 parser_errposition(pstate, cref->location)));
	if (list_length(cref->fields) < 2)
		return NULL;
	first = strVal(linitial(cref->fields));
	if (strcmp(first, "params") != 0 && strcmp(first, "claims") != 0)
		return NULL;
	/* three names may also be schema.table.column */
	if (list_length(cref->fields) > 2 &&
		IsA(lsecond(cref->fields), String) &&
		is_visible_table(pstate, strVal(lsecond(cref->fields))))
		return NULL;
	if (list_length(cref->fields) != 2 || !IsA(lsecond(cref->fields), String))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"%s\" must be followed by one name", first),
				 errhint("Write %s.name.", first),
				 parser_errposition(pstate, cref->location)));
	if (strcmp(expr->field, "where") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("\"%s\" cannot depend on %s.%s", expr->field, first,
						strVal(lsecond(cref->fields))),
				 errdetail("Parameters and claims decide in \"where\" alone who gets which rows."),
				 errhint("Put the condition into \"where\"."),
				 parser_errposition(pstate, cref->location)));

	ref = palloc0(sizeof(TideParamRef));
	ref->is_claim = strcmp(first, "claims") == 0;
	ref->name = pstrdup(strVal(lsecond(cref->fields)));
	expr->refs = lappend(expr->refs, ref);

	param = makeNode(Param);
	param->paramkind = PARAM_EXTERN;
	param->paramid = list_length(expr->refs);
	param->paramtype = UNKNOWNOID;
	param->paramtypmod = -1;
	param->paramcollid = InvalidOid;
	param->location = cref->location;
	return (Node *) param;
}

/* the first type an untyped Param is asked to become is its type */
static Node *
coerce_param(ParseState *pstate, Param *param, Oid type, int32 typmod,
			 int location)
{
	if (param->paramkind != PARAM_EXTERN || param->paramtype != UNKNOWNOID)
		return NULL;
	param->paramtype = type;
	param->paramtypmod = -1;	/* a length is then coerced to explicitly */
	param->paramcollid = get_typcollation(type);
	return (Node *) param;
}

/* whether a SELECT, as PL/pgSQL's grammar makes of an expression, is only that */
static bool
is_bare_expression(SelectStmt *select, bool with_order)
{
	ResTarget  *target;

	if (list_length(select->targetList) != 1 ||
		select->distinctClause != NIL || select->intoClause != NULL ||
		select->fromClause != NIL || select->whereClause != NULL ||
		select->groupClause != NIL || select->havingClause != NULL ||
		select->windowClause != NIL || select->valuesLists != NIL ||
		(select->sortClause != NIL) != with_order || select->limitOffset != NULL ||
		select->limitCount != NULL || select->lockingClause != NIL ||
		select->withClause != NULL || select->op != SETOP_NONE)
		return false;
	target = linitial_node(ResTarget, select->targetList);
	return target->name == NULL && target->indirection == NIL;
}

static Node *
raw_expression(TideExpr *expr, const char *text)
{
	List	   *statements = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select;
	Node	   *raw;

	select = (SelectStmt *) linitial_node(RawStmt, statements)->stmt;
	if (!IsA(select, SelectStmt) || !is_bare_expression(select, false))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"%s\" must be one boolean expression and nothing else", expr->field)));
	raw = linitial_node(ResTarget, select->targetList)->val;
	tide_subquery_check_raw(expr, raw, strcmp(expr->field, "where") == 0);
	return raw;
}

/*
 * Make a row that is already in the range table visible by another name. The copy of its
 * entry has an alias, so that schema.table.column finds the row once.
 */
static void
add_row_name(ParseState *pstate, ParseNamespaceItem *item, const char *name)
{
	ParseNamespaceItem *other = palloc(sizeof(ParseNamespaceItem));

	*other = *item;
	other->p_names = makeAlias(name, item->p_names->colnames);
	other->p_rte = palloc(sizeof(RangeTblEntry));
	*other->p_rte = *item->p_rte;
	other->p_rte->alias = other->p_names;
	addNSItemToQuery(pstate, other, false, true, false);
}

static void
add_row(ParseState *pstate, const TideExprRow *row)
{
	const char *table = RelationGetRelationName(row->rel);
	ParseNamespaceItem *item;

	item = addRangeTableEntryForRelation(pstate, row->rel, AccessShareLock, NULL,
										 false, true);
	addNSItemToQuery(pstate, item, false, !row->no_table_name, true);
	if (row->include != NULL && (row->no_table_name || strcmp(row->include, table) != 0))
		add_row_name(pstate, item, row->include);
	if (row->is_parent && (row->no_table_name || strcmp(table, "parent") != 0))
		add_row_name(pstate, item, "parent");
}

/* text is what error positions point into */
static TideExpr *
expr_create(const char *field, const char *text, int nrows, const TideExprRow *rows)
{
	TideExpr   *expr = palloc0(sizeof(TideExpr));
	ParseState *pstate = make_parsestate(NULL);

	Assert(nrows <= lengthof(expr->rows));
	expr->field = field;
	expr->pstate = pstate;
	expr->nrows = nrows;
	pstate->p_sourcetext = text;
	pstate->p_ref_hook_state = expr;
	pstate->p_pre_columnref_hook = param_columnref;
	pstate->p_coerce_param_hook = coerce_param;
	for (int i = 0; i < nrows; i++)
	{
		expr->rows[i] = rows[i];
		add_row(pstate, &rows[i]);
	}
	return expr;
}

TideExpr *
tide_expr_parse(const char *field, const char *text, int nrows, const TideExprRow *rows)
{
	TideExpr   *expr = expr_create(field, text, nrows, rows);
	Node	   *raw = raw_expression(expr, text);

	expr->tree = transformExpr(expr->pstate, raw, EXPR_KIND_WHERE);
	expr->tree = coerce_to_boolean(expr->pstate, expr->tree, psprintf("\"%s\"", field));
	assign_expr_collations(expr->pstate, expr->tree);
	return expr;
}

/* the elements of an order_by: list of SortBy */
static List *
raw_order(TideExpr *expr, const char *text)
{
	List	   *statements = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select = (SelectStmt *) linitial_node(RawStmt, statements)->stmt;

	if (!IsA(select, SelectStmt) || !is_bare_expression(select, true))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"order_by\" must be a list of expressions to order by and nothing else")));
	tide_subquery_check_raw(expr, (Node *) select->sortClause, false);
	return select->sortClause;
}

static TideSortKey *
sort_key(TideExpr *expr, SortBy *sort)
{
	ParseState *pstate = expr->pstate;
	TideSortKey *key = palloc0(sizeof(TideSortKey));
	ParseCallbackState callback;
	Oid			less_than;

	if (IsA(sort->node, A_Const))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("a constant orders nothing"),
				 errhint("Name a column of the table; positions have no meaning in a shape."),
				 parser_errposition(pstate, exprLocation(sort->node))));
	if (sort->sortby_dir == SORTBY_USING)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("USING is not supported in \"order_by\""),
				 errhint("Write ASC or DESC."),
				 parser_errposition(pstate, sort->location)));
	key->expr = transformExpr(pstate, sort->node, EXPR_KIND_ORDER_BY);
	if (exprType(key->expr) == UNKNOWNOID)
		key->expr = coerce_type(pstate, key->expr, UNKNOWNOID, TEXTOID, -1,
								COERCION_IMPLICIT, COERCE_IMPLICIT_CAST, -1);
	assign_expr_collations(pstate, key->expr);
	/* raises the error if there is none */
	setup_parser_errposition_callback(&callback, pstate, exprLocation(sort->node));
	get_sort_group_operators(exprType(key->expr), true, true, false, &less_than, NULL, NULL, NULL);
	cancel_parser_errposition_callback(&callback);
	key->descending = sort->sortby_dir == SORTBY_DESC;
	key->nulls_first = sort->sortby_nulls == SORTBY_NULLS_DEFAULT ? key->descending :
		sort->sortby_nulls == SORTBY_NULLS_FIRST;
	return key;
}

TideExpr *
tide_expr_parse_order(const char *text, const TideExprRow *row, List **keys)
{
	char	   *statement = psprintf(TIDE_ORDER_PREFIX "%s", text);
	TideExpr   *expr = expr_create("order_by", statement, 1, row);
	List	   *exprs = NIL;
	ListCell   *lc;

	*keys = NIL;
	foreach(lc, raw_order(expr, statement))
	{
		TideSortKey *key = sort_key(expr, lfirst(lc));

		exprs = lappend(exprs, key->expr);
		*keys = lappend(*keys, key);
	}
	expr->tree = (Node *) exprs;
	return expr;
}

Bitmapset *
tide_expr_columns(TideExpr *expr, int row_index)
{
	RangeTblEntry *rte = rt_fetch(row_index + 1, expr->pstate->p_rtable);

	return tide_selected_columns_compat(expr->pstate->p_rteperminfos, rte);
}
