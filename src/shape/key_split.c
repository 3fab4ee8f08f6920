/*
 * key_split.c
 *	  Takes a typed "where" apart into what compiled nodes consist of.
 *
 * What becomes of each conjunct of a disjunct, by what it depends on:
 *
 *	  request	row		subquery	becomes
 *	  -------	---		--------	-----------------------------------------
 *	  no		any		no			filter; with now() also a time window
 *	  no		any		yes			subfilter
 *	  yes		yes		no			key part (key_part.c)
 *	  yes		yes		EXISTS		key parts with a lookup (lookup.c)
 *	  yes		no		any			lookup without part; an equality a key part
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"

#include "shape/condition.h"
#include "shape/key_split.h"
#include "shape/lookup.h"
#include "shape/time_window.h"

/* now() in a subquery that the ingest evaluates: nothing tells when its rows' time comes */
static bool
refuse_now_walker(Node *node, void *context)
{
	TideExpr   *expr = context;
	Node	   *now;

	if (node == NULL)
		return false;
	if (IsA(node, SubLink) && (now = tide_first_now(((SubLink *) node)->subselect)) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("now() cannot be used in a subquery without params or claims"),
				 errdetail("Rows would enter and leave the shape as other tables' rows grow old."),
				 errhint("Compare a column of the shape's own table with now(), or include the other table."),
				 parser_errposition(expr->pstate, exprLocation(now))));
	return expression_tree_walker(node, refuse_now_walker, context);
}

/* the planned windows of a condition; ERROR for one that compares nothing of the row */
static List *
windows_of(TideExpr *expr, Node *condition)
{
	List	   *windows = tide_time_windows(condition);
	ListCell   *lc;

	foreach(lc, windows)
	{
		TideTimeWindow *window = lfirst(lc);

		if (!contain_var_clause(window->expr))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("now() must be compared with a column"),
					 errdetail("All rows would enter or leave the shape at one moment."),
					 errhint("Leave the condition out, and replace the shape when its time has come."),
					 parser_errposition(expr->pstate, exprLocation(tide_first_now(window->bound)))));
		tide_expr_check_sql(expr, window->expr, "a comparison with now()");
		window->expr = (Node *) expression_planner((Expr *) tide_expr_finish(expr, window->expr, NULL));
		window->bound = (Node *) expression_planner((Expr *) tide_expr_finish(expr, window->bound, NULL));
	}
	return windows;
}

/* [NOT] EXISTS over request and row */
static void
add_lookup(TideExpr *expr, TideWhere *where, Node *conjunct)
{
	bool		negated = is_notclause(conjunct);
	SubLink    *sublink = castNode(SubLink, negated ? (Node *) get_notclausearg(conjunct) : conjunct);
	TideKeyLookup *lookup;
	List	   *correlations;
	ListCell   *lc;

	lookup = tide_lookup_of_exists(expr, castNode(Query, sublink->subselect), negated,
								   &correlations);
	lookup->first_part = list_length(where->key_parts);
	foreach(lc, correlations)
	{
		TideCorrelation *correlation = lfirst(lc);

		where->key_parts = lappend(where->key_parts,
								   tide_key_part_of(expr, correlation->row_side,
													correlation->is_set,
													correlation->condition));
	}
	where->lookups = lappend(where->lookups, lookup);
}

static bool
is_exists(Node *conjunct)
{
	Node	   *node = is_notclause(conjunct) ? (Node *) get_notclausearg(conjunct) : conjunct;

	return IsA(node, SubLink) && ((SubLink *) node)->subLinkType == EXISTS_SUBLINK;
}

static void
add_request_condition(TideExpr *expr, TideWhere *where, Node *conjunct)
{
	TideKeyLookup *lookup;

	if (tide_is_constant_key(conjunct))
	{
		where->key_parts = list_concat(where->key_parts,
									   tide_key_parts_of_conjunct(expr, conjunct));
		return;
	}
	tide_expr_check_sql(expr, conjunct, "a condition on params or claims alone");
	lookup = tide_lookup_of_condition(expr, conjunct);
	lookup->first_part = list_length(where->key_parts);
	where->lookups = lappend(where->lookups, lookup);
}

/* a condition that is always true is none */
static Node *
filter_of(TideExpr *expr, List *conditions)
{
	Node	   *filter;

	if (conditions == NIL)
		return NULL;
	filter = tide_expr_finish(expr, (Node *) make_ands_explicit(conditions), NULL);
	filter = (Node *) expression_planner((Expr *) filter);
	if (IsA(filter, Const) && !((Const *) filter)->constisnull &&
		DatumGetBool(((Const *) filter)->constvalue))
		return NULL;
	return filter;
}

static TideWhere *
split_disjunct(TideExpr *expr, List *conjuncts)
{
	TideWhere  *where = palloc0(sizeof(TideWhere));
	List	   *row_conditions = NIL;
	List	   *subqueries = NIL;
	ListCell   *lc;

	foreach(lc, conjuncts)
	{
		Node	   *conjunct = lfirst(lc);

		if (!tide_depends_on_request(conjunct))
		{
			if (checkExprHasSubLink(conjunct))
				subqueries = lappend(subqueries, conjunct);
			else
				row_conditions = lappend(row_conditions, conjunct);
			where->windows = list_concat(where->windows, windows_of(expr, conjunct));
		}
		else if (!tide_depends_on_row(conjunct))
			add_request_condition(expr, where, conjunct);
		else if (is_exists(conjunct))
		{
			tide_expr_check_sql(expr, conjunct, "a subquery of \"where\"");
			add_lookup(expr, where, conjunct);
		}
		else
			where->key_parts = list_concat(where->key_parts,
										   tide_key_parts_of_conjunct(expr, conjunct));
	}

	where->filter = filter_of(expr, row_conditions);
	if (subqueries != NIL)
	{
		where->subfilter = (Node *) make_ands_explicit(subqueries);
		(void) refuse_now_walker(where->subfilter, expr);
		tide_expr_check_sql(expr, where->subfilter, "a condition with subqueries");
		where->subfilter = tide_expr_finish(expr, where->subfilter, NULL);
	}
	return where;
}

/* whether a part's values are single ones, so that more can stand beside them */
static bool
has_plain_args(const TideKeyPart *part)
{
	ListCell   *lc;

	foreach(lc, part->args)
	{
		if (((TideKeyArg *) lfirst(lc))->is_array)
			return false;
	}
	return part->args != NIL && !part->is_set;
}

/* id = params.a OR id = params.b is id IN (params.a, params.b): one key part, one node */
static bool
merge_disjunct(TideWhere *into, const TideWhere *where)
{
	TideKeyPart *part;
	TideKeyPart *other;

	if (list_length(into->key_parts) != 1 || list_length(where->key_parts) != 1 ||
		into->lookups != NIL || where->lookups != NIL ||
		into->windows != NIL || where->windows != NIL ||
		!equal(into->filter, where->filter) || !equal(into->subfilter, where->subfilter))
		return false;
	part = linitial(into->key_parts);
	other = linitial(where->key_parts);
	if (!equal(part->expr, other->expr) || part->collation != other->collation ||
		!has_plain_args(part) || !has_plain_args(other))
		return false;
	part->args = list_concat(part->args, other->args);
	return true;
}

List *
tide_where_split(TideExpr *expr)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, tide_condition_disjuncts(expr))
	{
		TideWhere  *where = split_disjunct(expr, lfirst(lc));
		bool		merged = false;
		ListCell   *lc2;

		foreach(lc2, result)
			merged = merged || merge_disjunct(lfirst(lc2), where);
		if (!merged)
			result = lappend(result, where);
	}
	return result;
}
