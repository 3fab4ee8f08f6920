/*
 * lookup.c
 *	  Subqueries over params and claims: run at pull, they give values of key parts.
 *
 *	  EXISTS (SELECT FROM m WHERE m.team_id = t.team_id AND m.user_id = claims.sub)
 *
 * says that t.team_id is among SELECT m.team_id FROM m WHERE m.user_id = claims.sub. So each
 * equality between row and subquery is a column of the lookup, and whatever else the
 * subquery says must not depend on the row.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "shape/condition.h"
#include "shape/lookup.h"
#include "shape/time_window.h"
#include "util/compat.h"

#define LOOKUP_HINT \
	"A subquery over params or claims may be tied to the row by equalities joined by AND, such as m.team_id = t.team_id, and by nothing else."

void
tide_lookup_refuse(TideExpr *expr, int location, const char *reason, const char *hint)
{
	if (location < 0)
		location = tide_expr_first_param(expr->tree)->location;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("no bucket key can be made of a subquery over params or claims"),
			 errdetail("%s", reason),
			 errhint("%s", hint),
			 parser_errposition(expr->pstate, location)));
}

SubLink *
tide_exists_sublink(Query *query)
{
	SubLink    *sublink = makeNode(SubLink);

	query = copyObject(query);
	query->targetList = list_make1(makeTargetEntry((Expr *) tide_make_int_const(1), 1,
												   pstrdup("found"), false));
	sublink->subLinkType = EXISTS_SUBLINK;
	sublink->subselect = (Node *) query;
	sublink->location = -1;
	return sublink;
}

/* the subquery's columns in place of the Params that stand for them */
static Node *
replace_sublink_params(Node *node, void *context)
{
	List	   *targets = context;
	Param	   *param = (Param *) node;

	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && param->paramkind == PARAM_SUBLINK)
		return copyObject((Node *) list_nth_node(TargetEntry, targets, param->paramid - 1)->expr);
	return expression_tree_mutator(node, replace_sublink_params, context);
}

Query *
tide_lookup_exists_of(SubLink *sublink)
{
	Query	   *query = copyObject(castNode(Query, sublink->subselect));
	Node	   *test = copyObject(sublink->testexpr);

	IncrementVarSublevelsUp(test, 1, 0);
	test = replace_sublink_params(test, query->targetList);
	query->jointree->quals = make_and_qual(query->jointree->quals, test);
	query->hasSubLinks = checkExprHasSubLink(query->jointree->quals);
	query->targetList = list_make1(makeTargetEntry((Expr *) tide_make_int_const(1), 1,
												   pstrdup("found"), false));
	return query;
}

/* over the row alone, seen from within the subquery */
static bool
is_row_side(Node *node)
{
	return contain_vars_of_level(node, 1) && !contain_vars_of_level(node, 0) &&
		!tide_expr_has_params(node) && !checkExprHasSubLink(node) &&
		tide_first_now(node) == NULL;
}

static int
integer_width(Oid type)
{
	return type == INT2OID ? 2 : type == INT4OID ? 4 : type == INT8OID ? 8 : 0;
}

/* a = b, by an operator that is an equality of its type */
static bool
is_equality(Node *condition)
{
	OpExpr	   *op = (OpExpr *) condition;

	return IsA(condition, OpExpr) && list_length(op->args) == 2 &&
		(op_mergejoinable(op->opno, exprType(linitial(op->args))) ||
		 op_hashjoinable(op->opno, exprType(linitial(op->args))));
}

/* an equality of integers of two types as one of the wider of them; others are left alone */
static Node *
widen_integers(Node *condition)
{
	OpExpr	   *op = (OpExpr *) condition;
	Node	   *left;
	Node	   *right;
	Oid			left_type;
	Oid			right_type;

	if (!is_equality(condition))
		return condition;
	left = linitial(op->args);
	right = lsecond(op->args);
	left_type = exprType(left);
	right_type = exprType(right);
	if (left_type == right_type || integer_width(left_type) == 0 ||
		integer_width(right_type) == 0)
		return condition;
	if (integer_width(left_type) < integer_width(right_type))
		left_type = right_type;
	op = (OpExpr *) make_opclause(lookup_type_cache(left_type, TYPECACHE_EQ_OPR)->eq_opr,
								  BOOLOID, false,
								  (Expr *) coerce_to_target_type(NULL, left, exprType(left), left_type,
																 -1, COERCION_IMPLICIT,
																 COERCE_IMPLICIT_CAST, -1),
								  (Expr *) coerce_to_target_type(NULL, right, right_type, left_type,
																 -1, COERCION_IMPLICIT,
																 COERCE_IMPLICIT_CAST, -1),
								  InvalidOid, InvalidOid);
	op->opfuncid = get_opcode(op->opno);
	op->location = exprLocation(condition);
	return (Node *) op;
}

/* "inner = row", "row = inner", "inner = ANY (row)"; false for other conditions */
static bool
read_correlation(Node *condition, TideCorrelation *correlation)
{
	Node	   *left;
	Node	   *right;

	condition = widen_integers(condition);
	correlation->condition = condition;
	correlation->is_set = IsA(condition, ScalarArrayOpExpr);
	if (is_equality(condition))
	{
		left = linitial(((OpExpr *) condition)->args);
		right = lsecond(((OpExpr *) condition)->args);
	}
	else if (correlation->is_set && ((ScalarArrayOpExpr *) condition)->useOr)
	{
		left = linitial(((ScalarArrayOpExpr *) condition)->args);
		right = lsecond(((ScalarArrayOpExpr *) condition)->args);
	}
	else
		return false;
	if (is_row_side(left) && !correlation->is_set)
	{
		Node	   *swap = left;

		left = right;
		right = swap;
	}
	if (!is_row_side(right) || contain_vars_of_level(left, 1))
		return false;
	correlation->inner_side = left;
	correlation->row_side = copyObject(right);
	IncrementVarSublevelsUp(correlation->row_side, -1, 1);
	return true;
}

/* the conditions of a subquery, those that correlate it and the others */
static List *
split_conditions(TideExpr *expr, Query *query, bool negated, List **others)
{
	List	   *correlations = NIL;
	ListCell   *lc;

	*others = NIL;
	foreach(lc, tide_flatten_and(query->jointree->quals, NIL))
	{
		Node	   *condition = lfirst(lc);
		TideCorrelation *correlation = palloc0(sizeof(TideCorrelation));

		if (!contain_vars_of_level(condition, 1))
		{
			*others = lappend(*others, condition);
			continue;
		}
		if (!read_correlation(condition, correlation))
			tide_lookup_refuse(expr, exprLocation(condition),
							   "One of its conditions depends on the row otherwise than by an equality.",
							   LOOKUP_HINT);
		if (correlation->is_set && negated)
			tide_lookup_refuse(expr, exprLocation(condition),
							   "It is negated, and looked for in an array of the row.",
							   "Keep the array's elements as rows of a table of their own.");
		correlations = lappend(correlations, correlation);
	}
	return correlations;
}

List *
tide_lookup_correlations(TideExpr *expr, Query *query, bool negated)
{
	List	   *others;
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, split_conditions(expr, query, negated, &others))
		result = lappend(result, ((TideCorrelation *) lfirst(lc))->row_side);
	return result;
}

TideKeyLookup *
tide_lookup_of_exists(TideExpr *expr, Query *query, bool negated, List **correlations)
{
	TideKeyLookup *lookup = palloc0(sizeof(TideKeyLookup));
	List	   *others;
	List	   *targets = NIL;
	ListCell   *lc;

	query = copyObject(query);
	*correlations = split_conditions(expr, query, negated, &others);
	foreach(lc, *correlations)
	{
		TideCorrelation *correlation = lfirst(lc);

		targets = lappend(targets,
						  makeTargetEntry((Expr *) correlation->inner_side,
										  list_length(targets) + 1,
										  psprintf("v%d", list_length(targets) + 1), false));
	}
	query->targetList = targets;
	query->jointree->quals = others ? (Node *) make_ands_explicit(others) : NULL;
	/* the row may also be meant by a target, or deeper down */
	if (contain_vars_of_level((Node *) query, 1))
		tide_lookup_refuse(expr, -1, "It depends on the row otherwise than by an equality.",
						   LOOKUP_HINT);
	query->hasSubLinks = checkExprHasSubLink((Node *) targets) ||
		checkExprHasSubLink(query->jointree->quals);
	lookup->nparts = list_length(targets);
	lookup->negated = negated;
	lookup->query = (Query *) tide_expr_finish(expr, (Node *) query, &lookup->refs);
	return lookup;
}

TideKeyLookup *
tide_lookup_of_condition(TideExpr *expr, Node *condition)
{
	TideKeyLookup *lookup = palloc0(sizeof(TideKeyLookup));
	Query	   *query = makeNode(Query);

	query->commandType = CMD_SELECT;
	query->querySource = QSRC_ORIGINAL;
	query->canSetTag = true;
	query->targetList = list_make1(makeTargetEntry((Expr *) tide_make_int_const(1), 1,
												   pstrdup("found"), false));
	query->jointree = makeFromExpr(NIL, copyObject(condition));
	query->hasSubLinks = checkExprHasSubLink(condition);
	query->stmt_location = -1;
	lookup->query = (Query *) tide_expr_finish(expr, (Node *) query, &lookup->refs);
	return lookup;
}

/* ---------- Params ---------- */

typedef struct FinishContext
{
	TideExpr   *expr;
	List	  **refs;			/* NULL: no params and claims are met */
} FinishContext;

static Param *
make_extern_param(int id, Oid type, int32 typmod, Oid collation)
{
	Param	   *param = makeNode(Param);

	param->paramkind = PARAM_EXTERN;
	param->paramid = id;
	param->paramtype = type;
	param->paramtypmod = typmod;
	param->paramcollid = collation;
	param->location = -1;
	return param;
}

static Node *
finish_param(FinishContext *finish, Param *param)
{
	TideParamRef *named = list_nth(finish->expr->refs, param->paramid - 1);
	Oid			type = param->paramtype == UNKNOWNOID ? TEXTOID : param->paramtype;
	TideLookupRef *ref;
	ListCell   *lc;
	int			id = TIDE_PARAM_NOW + 1;

	foreach(lc, *finish->refs)
	{
		ref = lfirst(lc);
		if (ref->is_claim == named->is_claim && ref->type == type &&
			strcmp(ref->name, named->name) == 0)
			break;
		id++;
	}
	if (lc == NULL)
	{
		ref = palloc0(sizeof(TideLookupRef));
		ref->is_claim = named->is_claim;
		ref->name = pstrdup(named->name);
		ref->type = type;
		*finish->refs = lappend(*finish->refs, ref);
	}
	return (Node *) make_extern_param(id, type, -1,
									  param->paramtype == UNKNOWNOID ? DEFAULT_COLLATION_OID :
									  param->paramcollid);
}

static Node *
finish_mutator(Node *node, void *context)
{
	FinishContext *finish = context;

	if (node == NULL)
		return NULL;
	if (tide_is_now(node))
		return (Node *) make_extern_param(TIDE_PARAM_NOW, TIMESTAMPTZOID, -1, InvalidOid);
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN && finish->refs != NULL)
		return finish_param(finish, (Param *) node);
	if (IsA(node, Query))
		return (Node *) query_tree_mutator((Query *) node, finish_mutator, context, 0);
	return expression_tree_mutator(node, finish_mutator, context);
}

Node *
tide_expr_finish(TideExpr *expr, Node *node, List **refs)
{
	FinishContext finish = {expr, refs};

	return finish_mutator(node, &finish);
}
