/*
 * subquery.c
 *	  Subqueries in conditions: which are accepted, and their plain form.
 *
 * Accepted are [NOT] IN, = ANY, <> ALL and [NOT] EXISTS over tables joined by inner joins: what
 * they say about a row can be kept up to date from changed rows of their tables. The plain
 * form has tables alone in FROM and everything else in WHERE; whoever reads a compiled shape
 * meets no other.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/acl.h"
#include "utils/rel.h"

#include "shape/expr.h"
#include "shape/table_check.h"
#include "util/compat.h"

#define SUBQUERY_HINT \
	"Subqueries are of the form IN (SELECT column FROM tables WHERE condition) or EXISTS (SELECT FROM tables WHERE condition), or NOT of those."

/* ---------- before analysis ---------- */

typedef struct RawCheck
{
	TideExpr   *expr;
	bool		allowed;
} RawCheck;

static void
refuse_subquery(TideExpr *expr, int location, const char *reason, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("subquery in \"%s\" cannot be kept up to date", expr->field),
			 errdetail("%s", reason),
			 errhint("%s", hint),
			 parser_errposition(expr->pstate, location)));
}

static void
check_raw_sublink(RawCheck *check, SubLink *sublink)
{
	if (!check->allowed)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("subqueries cannot be used in \"%s\"", check->expr->field),
				 errhint("%s", strcmp(check->expr->field, "on") == 0 ?
						 "Include the table between the two as a level of its own, or put the condition into \"where\"." :
						 "Order by columns of the table."),
				 parser_errposition(check->expr->pstate, sublink->location)));
	switch (sublink->subLinkType)
	{
		case EXISTS_SUBLINK:
		case ANY_SUBLINK:
		case ALL_SUBLINK:
			break;
		case EXPR_SUBLINK:
			refuse_subquery(check->expr, sublink->location,
							"It stands for a single value.", SUBQUERY_HINT);
			break;
		case ARRAY_SUBLINK:
			refuse_subquery(check->expr, sublink->location,
							"It makes an array.", SUBQUERY_HINT);
			break;
		default:
			refuse_subquery(check->expr, sublink->location,
							"It compares rows.", SUBQUERY_HINT);
	}
}

/* names that would hide params.x and claims.x, and tables that cannot be replicated */
static void
check_raw_table(RawCheck *check, RangeVar *table)
{
	const char *name = table->alias ? table->alias->aliasname : table->relname;
	ParseCallbackState callback;
	Relation	rel;
	Oid			relid;

	if (strcmp(name, "params") == 0 || strcmp(name, "claims") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_ALIAS),
				 errmsg("table name \"%s\" cannot be used in a subquery of a shape", name),
				 errhint("Give the table another alias."),
				 parser_errposition(check->expr->pstate, table->location)));
	/* what does not exist is the parser's to say */
	relid = RangeVarGetRelid(table, AccessShareLock, true);
	if (!OidIsValid(relid))
		return;
	setup_parser_errposition_callback(&callback, check->expr->pstate, table->location);
	rel = relation_open(relid, NoLock);
	tide_shape_check_table(rel);
	relation_close(rel, NoLock);	/* the lock stays */
	cancel_parser_errposition_callback(&callback);
}

/* params.x or claims.x */
static bool
is_raw_param(Node *node)
{
	ColumnRef  *column = (ColumnRef *) node;

	return IsA(node, ColumnRef) && list_length(column->fields) == 2 &&
		IsA(linitial(column->fields), String) &&
		(strcmp(strVal(linitial(column->fields)), "params") == 0 ||
		 strcmp(strVal(linitial(column->fields)), "claims") == 0);
}

/*
 * array @> ARRAY[params.x] says params.x = ANY (array), and as such gives the parameter the type of
 * the array's elements; ARRAY[] would make it text.
 */
static void
rewrite_containment(A_Expr *expr)
{
	bool		is_contained = expr->kind == AEXPR_OP && list_length(expr->name) == 1 &&
	strcmp(strVal(linitial(expr->name)), "<@") == 0;
	Node	   *array = is_contained ? expr->rexpr : expr->lexpr;
	Node	   *element = is_contained ? expr->lexpr : expr->rexpr;

	if (expr->kind != AEXPR_OP || list_length(expr->name) != 1 ||
		(!is_contained && strcmp(strVal(linitial(expr->name)), "@>") != 0) ||
		element == NULL || !IsA(element, A_ArrayExpr) ||
		list_length(((A_ArrayExpr *) element)->elements) != 1 ||
		!is_raw_param(linitial(((A_ArrayExpr *) element)->elements)))
		return;
	expr->kind = AEXPR_OP_ANY;
	expr->name = list_make1(makeString("="));
	expr->lexpr = linitial(((A_ArrayExpr *) element)->elements);
	expr->rexpr = array;
}

static bool
check_raw_walker(Node *node, void *context)
{
	RawCheck   *check = context;

	if (node == NULL)
		return false;
	if (IsA(node, A_Expr))
		rewrite_containment((A_Expr *) node);
	if (IsA(node, SubLink))
		check_raw_sublink(check, (SubLink *) node);
	if (IsA(node, CommonTableExpr))
		refuse_subquery(check->expr, ((CommonTableExpr *) node)->location,
						"It has a WITH clause.", SUBQUERY_HINT);
	if (IsA(node, RangeVar))
	{
		check_raw_table(check, (RangeVar *) node);
		return false;
	}
	/* CTEs first: their names are no tables */
	if (IsA(node, SelectStmt) && ((SelectStmt *) node)->withClause != NULL)
		(void) check_raw_walker((Node *) ((SelectStmt *) node)->withClause->ctes, context);
	return raw_expression_tree_walker(node, check_raw_walker, context);
}

void
tide_subquery_check_raw(TideExpr *expr, Node *raw, bool allowed)
{
	RawCheck	check = {expr, allowed};

	(void) check_raw_walker(raw, &check);
}

/* ---------- after analysis ---------- */

/* why a query's clauses are refused, or NULL */
static const char *
refused_clause(Query *query)
{
	if (query->setOperations != NULL)
		return "It has a UNION, INTERSECT or EXCEPT.";
	if (query->hasAggs)
		return "It has an aggregate.";
	if (query->hasWindowFuncs)
		return "It has a window function.";
	if (query->hasTargetSRFs)
		return "It has a set-returning function.";
	if (query->groupClause != NIL || query->groupingSets != NIL)
		return "It has a GROUP BY.";
	if (query->havingQual != NULL)
		return "It has a HAVING.";
	if (query->hasDistinctOn)
		return "It has a DISTINCT ON.";
	if (query->limitCount != NULL || query->limitOffset != NULL)
		return "It has a LIMIT or OFFSET.";
	if (query->rowMarks != NIL)
		return "It locks rows.";
	return NULL;
}

/* why an entry of FROM is refused, or NULL */
static const char *
refused_entry(RangeTblEntry *rte)
{
	switch (rte->rtekind)
	{
		case RTE_RELATION:
			return rte->tablesample ? "It takes a sample of a table." : NULL;
		case RTE_JOIN:
			return rte->jointype == JOIN_INNER ? NULL : "It has an outer join.";
		case RTE_SUBQUERY:
			return "It has a subquery in FROM.";
		case RTE_FUNCTION:
		case RTE_TABLEFUNC:
			return "It has a function in FROM.";
		case RTE_VALUES:
			return "It has a VALUES list.";
		default:
			return "It has something else than tables in FROM.";
	}
}

/* the current user's rights on a table of a query */
static void
check_entry_rights(Query *query, RangeTblEntry *rte)
{
	Relation	rel = relation_open(rte->relid, NoLock);
	Bitmapset  *columns = tide_selected_columns_compat(query->rteperminfos, rte);

	/* whether there are rows is for those who may read any column of them */
	if (bms_is_empty(columns) &&
		pg_class_aclcheck(rte->relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(rte->relid, GetUserId(), ACL_SELECT, ACLMASK_ANY) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for table \"%s\"", RelationGetRelationName(rel)),
				 errhint("A shape's author needs SELECT on every column that it shows or uses.")));
	tide_shape_check_rights(rel, columns);
	relation_close(rel, NoLock);
}

static void
check_query(TideExpr *expr, SubLink *sublink, Query *query)
{
	const char *reason = refused_clause(query);
	bool		has_table = false;
	ListCell   *lc;

	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (reason == NULL)
			reason = refused_entry(rte);
		if (reason == NULL && rte->rtekind == RTE_RELATION)
		{
			has_table = true;
			check_entry_rights(query, rte);
		}
	}
	if (reason == NULL && !has_table)
		reason = "It has no table.";
	if (reason != NULL)
		refuse_subquery(expr, sublink->location, reason, SUBQUERY_HINT);
}

void
tide_subquery_check(TideExpr *expr, SubLink *sublink)
{
	const char *operator = sublink->operName == NIL ? "" :
	strVal(llast(sublink->operName));

	if (sublink->subLinkType == ANY_SUBLINK && strcmp(operator, "=") != 0)
		refuse_subquery(expr, sublink->location,
						"ANY is used with another operator than =.", SUBQUERY_HINT);
	if (sublink->subLinkType == ALL_SUBLINK &&
		(strcmp(operator, "<>") != 0 || !IsA(sublink->testexpr, OpExpr)))
		refuse_subquery(expr, sublink->location,
						"ALL is used with another operator than <>, or with several columns.",
						SUBQUERY_HINT);
	check_query(expr, sublink, castNode(Query, sublink->subselect));
}

/* ---------- the plain form ---------- */

/* tables and conditions of a jointree */
static void
flatten_jointree(Node *node, List **tables, List **quals)
{
	ListCell   *lc;

	if (IsA(node, RangeTblRef))
		*tables = lappend(*tables, node);
	else if (IsA(node, FromExpr))
	{
		foreach(lc, ((FromExpr *) node)->fromlist)
			flatten_jointree(lfirst(lc), tables, quals);
		if (((FromExpr *) node)->quals != NULL)
			*quals = lappend(*quals, ((FromExpr *) node)->quals);
	}
	else
	{
		JoinExpr   *join = castNode(JoinExpr, node);

		flatten_jointree(join->larg, tables, quals);
		flatten_jointree(join->rarg, tables, quals);
		if (join->quals != NULL)
			*quals = lappend(*quals, join->quals);
	}
}

/* take the joins out of the range table; nothing refers to them any more */
static void
remove_joins(Query *query)
{
	List	   *tables = NIL;
	ListCell   *lc;

	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind == RTE_JOIN)
			continue;
		tables = lappend(tables, rte);
		/* ascending, so that no number is taken twice */
		if (list_length(tables) != foreach_current_index(lc) + 1)
			ChangeVarNodes((Node *) query, foreach_current_index(lc) + 1,
						   list_length(tables), 0);
	}
	query->rtable = tables;
}

static void
normalise_query(Query *query, bool is_exists)
{
	List	   *tables = NIL;
	List	   *quals = NIL;
	List	   *targets = NIL;
	ListCell   *lc;

	query->targetList = (List *) flatten_join_alias_vars_compat(query, (Node *) query->targetList);
	query->jointree = (FromExpr *) flatten_join_alias_vars_compat(query, (Node *) query->jointree);
	flatten_jointree((Node *) query->jointree, &tables, &quals);
	query->jointree->fromlist = tables;
	query->jointree->quals = quals ? (Node *) make_ands_explicit(quals) : NULL;

	/* neither order nor doubles matter */
	query->sortClause = NIL;
	query->distinctClause = NIL;
	foreach(lc, query->targetList)
	{
		TargetEntry *target = lfirst(lc);

		target->ressortgroupref = 0;
		if (!target->resjunk)
			targets = lappend(targets, target);
	}
	query->targetList = targets;
	if (is_exists)
		query->targetList = list_make1(makeTargetEntry((Expr *) tide_make_int_const(1), 1,
													   pstrdup("found"), false));
	remove_joins(query);
}

static bool
normalise_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, normalise_walker, context, 0);
	if (IsA(node, SubLink))
		normalise_query(castNode(Query, ((SubLink *) node)->subselect),
						((SubLink *) node)->subLinkType == EXISTS_SUBLINK);
	return expression_tree_walker(node, normalise_walker, context);
}

void
tide_subquery_normalise(Node *tree)
{
	(void) normalise_walker(tree, NULL);
}

Const *
tide_make_int_const(int32 value)
{
	return makeConst(INT4OID, -1, InvalidOid, sizeof(int32), Int32GetDatum(value), false, true);
}
