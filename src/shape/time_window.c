/*
 * time_window.c
 *	  now() in conditions.
 *
 * It may stand in a comparison with something of the row, of type timestamptz, alone or with
 * constant intervals added: then rows enter and leave as time passes, at moments that
 * can be told from the row. A timestamp or date would have to be cast, which depends on TimeZone.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/fmgroids.h"

#include "catalog/shape.h"
#include "shape/time_window.h"

bool
tide_is_now(Node *node)
{
	if (IsA(node, FuncExpr))
		return ((FuncExpr *) node)->funcid == F_NOW ||
			((FuncExpr *) node)->funcid == F_TRANSACTION_TIMESTAMP;
	if (IsA(node, SQLValueFunction))
		return ((SQLValueFunction *) node)->op == SVFOP_CURRENT_TIMESTAMP;
	return false;
}

static bool
find_now_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (tide_is_now(node))
	{
		*(Node **) context = node;
		return true;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, find_now_walker, context, 0);
	return expression_tree_walker(node, find_now_walker, context);
}

Node *
tide_first_now(Node *node)
{
	Node	   *now = NULL;

	(void) find_now_walker(node, &now);
	return now;
}

/* the Param that now() becomes */
static bool
is_now_param(Node *node)
{
	return IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN &&
		((Param *) node)->paramid == TIDE_PARAM_NOW;
}

static bool
is_constant(Node *node)
{
	return !contain_var_clause(node) && !contain_mutable_functions(node) &&
		!contain_subplans(node) && !tide_expr_has_params(node);
}

/* now(), by is_base, with constant intervals added or taken away */
static bool
is_bound(Node *node, bool (*is_base) (Node *))
{
	OpExpr	   *op = (OpExpr *) node;

	if (is_base(node))
		return true;
	if (!IsA(node, OpExpr) || list_length(op->args) != 2)
		return false;
	switch (op->opfuncid)
	{
		case F_TIMESTAMPTZ_PL_INTERVAL:
		case F_TIMESTAMPTZ_MI_INTERVAL:
			return is_bound(linitial(op->args), is_base) && is_constant(lsecond(op->args));
		case F_INTERVAL_PL_TIMESTAMPTZ:
			return is_bound(lsecond(op->args), is_base) && is_constant(linitial(op->args));
		default:
			return false;
	}
}

bool
tide_time_comparison(Node *node, Node **expr, Node **bound)
{
	OpExpr	   *op = (OpExpr *) node;

	if (!IsA(node, OpExpr) || list_length(op->args) != 2)
		return false;
	switch (op->opfuncid)
	{
		case F_TIMESTAMPTZ_LT:
		case F_TIMESTAMPTZ_LE:
		case F_TIMESTAMPTZ_GE:
		case F_TIMESTAMPTZ_GT:
			break;
		default:
			return false;
	}
	*expr = linitial(op->args);
	*bound = lsecond(op->args);
	if (!is_bound(*bound, tide_is_now))
	{
		*expr = lsecond(op->args);
		*bound = linitial(op->args);
	}
	return is_bound(*bound, tide_is_now) && tide_first_now(*expr) == NULL;
}

static Node *
strip_bounds_mutator(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, OpExpr) && is_bound(node, is_now_param))
		return (Node *) makeNullConst(TIMESTAMPTZOID, -1, InvalidOid);
	return expression_tree_mutator(node, strip_bounds_mutator, context);
}

bool
tide_contain_mutable_functions(Node *node)
{
	return contain_mutable_functions(strip_bounds_mutator(node, NULL));
}

static bool
collect_windows_walker(Node *node, void *context)
{
	List	  **windows = context;
	TideTimeWindow *window;
	Node	   *expr;
	Node	   *bound;

	if (node == NULL)
		return false;
	if (!tide_time_comparison(node, &expr, &bound))
		return expression_tree_walker(node, collect_windows_walker, context);
	window = palloc0(sizeof(TideTimeWindow));
	window->expr = expr;
	window->bound = bound;
	*windows = lappend(*windows, window);
	return false;
}

List *
tide_time_windows(Node *condition)
{
	List	   *windows = NIL;

	(void) collect_windows_walker(condition, &windows);
	return windows;
}
