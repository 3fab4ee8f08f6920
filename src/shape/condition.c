/*
 * condition.c
 *	  Takes the booleans of a "where" apart.
 *
 * What depends on the request and on the row must come down to key parts, joined by AND. So an
 * OR with such branches is distributed over the ANDs around it, and NOT is pushed down
 * to them; both hold in three-valued logic. Conditions that depend on one of the two alone stay as
 * they are written.
 *
 * Subqueries over params and claims all become [NOT] EXISTS:
 *
 *	  x IN (S)			EXISTS (S AND x = target)
 *	  x NOT IN (S)		S must not be correlated:
 *							x IS NOT NULL: NOT EXISTS (S AND x = target)
 *								and NOT EXISTS (S AND target IS NULL)
 *							x IS NULL: NOT EXISTS (S)
 *	  NOT EXISTS (S)	rows whose side of a correlation is null have no bucket key; for them it is
 *						true whatever S holds: a disjunct without key
 *
 * Columns of primary keys are known not to be null.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "shape/condition.h"
#include "shape/lookup.h"
#include "shape/table_check.h"

/* each becomes a node of the shape, with all below it */
#define MAX_DISJUNCTS	32

static List *disjuncts(TideExpr *expr, Node *node, bool negated);

bool
tide_depends_on_request(Node *node)
{
	return tide_expr_has_params(node);
}

bool
tide_depends_on_row(Node *node)
{
	return contain_vars_of_level(node, 0);
}

List *
tide_flatten_and(Node *node, List *conjuncts)
{
	ListCell   *lc;

	check_stack_depth();
	if (node == NULL)
		return conjuncts;
	if (!is_andclause(node))
		return lappend(conjuncts, node);
	foreach(lc, ((BoolExpr *) node)->args)
		conjuncts = tide_flatten_and(lfirst(lc), conjuncts);
	return conjuncts;
}

static Node *
negate_if(Node *node, bool negated)
{
	return negated ? (Node *) make_notclause((Expr *) node) : node;
}

static Node *
or_of(List *args)
{
	return list_length(args) == 1 ? (Node *) linitial(args) : (Node *) make_orclause(args);
}

/* one disjunct of one conjunct */
static List *
atom(Node *node)
{
	return list_make1(list_make1(node));
}

static void
check_count(TideExpr *expr, Node *node, int count)
{
	if (count > MAX_DISJUNCTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("\"where\" has more than %d combinations of alternatives that depend on parameters",
						MAX_DISJUNCTS),
				 errhint("Make several shapes of it; a client can pull them together."),
				 parser_errposition(expr->pstate, exprLocation(node))));
}

/* (a OR b) AND (c OR d): a c, a d, b c, b d */
static List *
conjunction(TideExpr *expr, List *args, bool negated)
{
	List	   *result = list_make1(NIL);
	ListCell   *lc;

	foreach(lc, args)
	{
		List	   *alternatives = disjuncts(expr, lfirst(lc), negated);
		List	   *product = NIL;
		ListCell   *left;
		ListCell   *right;

		check_count(expr, lfirst(lc), list_length(result) * list_length(alternatives));
		foreach(left, result)
		{
			foreach(right, alternatives)
				product = lappend(product, list_concat_copy(lfirst(left), lfirst(right)));
		}
		result = product;
	}
	return result;
}

/* branches on the row alone are one disjunct, those on the request alone another */
static List *
disjunction(TideExpr *expr, List *args, bool negated)
{
	List	   *result = NIL;
	List	   *row_branches = NIL;
	List	   *request_branches = NIL;
	ListCell   *lc;

	foreach(lc, args)
	{
		Node	   *arg = lfirst(lc);

		if (!tide_depends_on_request(arg))
			row_branches = lappend(row_branches, negate_if(arg, negated));
		else if (!tide_depends_on_row(arg))
			request_branches = lappend(request_branches, negate_if(arg, negated));
		else
			result = list_concat(result, disjuncts(expr, arg, negated));
		check_count(expr, arg, list_length(result));
	}
	if (row_branches != NIL)
		result = lappend(result, list_make1(or_of(row_branches)));
	if (request_branches != NIL)
		result = lappend(result, list_make1(or_of(request_branches)));
	return result;
}

/* ---------- subqueries ---------- */

static bool
is_key_column(Oid relid, AttrNumber attnum)
{
	Relation	rel = relation_open(relid, AccessShareLock);
	bool		result = bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber,
									   tide_shape_table_key(rel));

	relation_close(rel, NoLock);
	return result;
}

/* whether an expression over rows of rtable may be null, as far as can be told for ever */
static bool
is_nullable(Node *node, List *rtable)
{
	Var		   *var = (Var *) node;

	while (IsA(node, RelabelType))
	{
		node = (Node *) ((RelabelType *) node)->arg;
		var = (Var *) node;
	}
	return !IsA(node, Var) || var->varlevelsup > 0 ||
		!is_key_column(rt_fetch(var->varno, rtable)->relid, var->varattno);
}

static Node *
is_null(Node *node)
{
	NullTest   *test = makeNode(NullTest);

	test->arg = (Expr *) node;
	test->nulltesttype = IS_NULL;
	test->argisrow = false;
	test->location = -1;
	return (Node *) test;
}

static Node *
not_exists(Query *query)
{
	return (Node *) make_notclause((Expr *) tide_exists_sublink(query));
}

/* query with one more condition */
static Query *
query_and(Query *query, Node *condition)
{
	query = copyObject(query);
	query->jointree->quals = make_and_qual(query->jointree->quals, condition);
	query->hasSubLinks = query->hasSubLinks || checkExprHasSubLink(condition);
	return query;
}

/* NOT EXISTS (query) */
static List *
negated_exists(TideExpr *expr, Query *query)
{
	List	   *result = atom(not_exists(query));
	List	   *nulls = NIL;
	ListCell   *lc;

	foreach(lc, tide_lookup_correlations(expr, query, true))
	{
		if (is_nullable(lfirst(lc), expr->pstate->p_rtable))
			nulls = lappend(nulls, is_null(lfirst(lc)));
	}
	if (nulls != NIL)
		result = lappend(result, list_make1(or_of(nulls)));
	return result;
}

/* x NOT IN (S) */
static List *
negated_any(TideExpr *expr, SubLink *sublink)
{
	Query	   *query = castNode(Query, sublink->subselect);
	Node	   *target = (Node *) linitial_node(TargetEntry, query->targetList)->expr;
	List	   *conjuncts;
	List	   *result;
	Node	   *row_side;
	List	   *row_sides;

	if (list_length(query->targetList) != 1 || contain_vars_of_level((Node *) query, 1))
		tide_lookup_refuse(expr, sublink->location,
						   "NOT IN with several columns, or with a subquery that depends on the row, cannot be looked up.",
						   "Write NOT EXISTS (SELECT FROM ... WHERE ...).");
	conjuncts = list_make1(not_exists(tide_lookup_exists_of(sublink)));
	if (is_nullable(target, query->rtable))
		conjuncts = lappend(conjuncts, not_exists(query_and(query, is_null(copyObject(target)))));
	result = list_make1(conjuncts);
	row_sides = tide_lookup_correlations(expr, tide_lookup_exists_of(sublink), true);
	row_side = linitial(row_sides);
	if (is_nullable(row_side, expr->pstate->p_rtable))
		result = lappend(result, list_make2(is_null(row_side), not_exists(query)));
	return result;
}

/* a subquery that depends on request and row */
static List *
sublink_disjuncts(TideExpr *expr, SubLink *sublink, bool negated)
{
	if (sublink->subLinkType == EXISTS_SUBLINK)
		return negated ? negated_exists(expr, castNode(Query, sublink->subselect)) :
			atom((Node *) sublink);
	if (sublink->subLinkType == ALL_SUBLINK)
	{
		/* x <> ALL (S) is NOT x = ANY (S) */
		OpExpr	   *test = castNode(OpExpr, copyObject(sublink->testexpr));

		test->opno = get_negator(test->opno);
		if (!OidIsValid(test->opno))
			tide_lookup_refuse(expr, sublink->location, "Its operator has no negator.",
							   "Write NOT EXISTS (SELECT FROM ... WHERE ...).");
		test->opfuncid = get_opcode(test->opno);
		sublink = copyObject(sublink);
		sublink->subLinkType = ANY_SUBLINK;
		sublink->testexpr = (Node *) test;
		negated = !negated;
	}
	if (negated)
		return negated_any(expr, sublink);
	return atom((Node *) tide_exists_sublink(tide_lookup_exists_of(sublink)));
}

/* ---------- all of it ---------- */

static List *
disjuncts(TideExpr *expr, Node *node, bool negated)
{
	check_stack_depth();
	if (is_notclause(node) && tide_depends_on_row(node) && tide_depends_on_request(node))
		return disjuncts(expr, (Node *) get_notclausearg(node), !negated);
	if (is_andclause(node) && !negated)
		return conjunction(expr, ((BoolExpr *) node)->args, false);
	if (!tide_depends_on_request(node) || !tide_depends_on_row(node))
		return atom(negate_if(node, negated));
	if (is_orclause(node) && negated)
		return conjunction(expr, ((BoolExpr *) node)->args, true);
	if (is_orclause(node) || is_andclause(node))
		return disjunction(expr, ((BoolExpr *) node)->args, negated);
	if (IsA(node, SubLink))
		return sublink_disjuncts(expr, (SubLink *) node, negated);
	return atom(negate_if(node, negated));
}

List *
tide_condition_disjuncts(TideExpr *expr)
{
	return disjuncts(expr, expr->tree, false);
}
