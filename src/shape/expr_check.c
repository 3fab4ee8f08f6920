/*
 * expr_check.c
 *	  What an expression of a shape must not do.
 *
 * A row is put into buckets by the ingest, long after it was written and by another
 * process: the result may depend on the row's columns alone. contain_mutable_functions()
 * decides in the end (compile.c asks it once more after planning); the walk here
 * exists to name the function and its place.
 */
#include "postgres.h"

#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_node.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"

#include "shape/expr.h"
#include "util/compat.h"

#define NOW_HINT \
	"Conditions on the current time are not supported by this version of pg_tide; pass a parameter that names a period, such as period = params.period."
#define STABLE_HINT \
	"Write it so that it depends on the row alone: name the time zone or the format, or store the result in a column."

typedef struct FunctionCheck
{
	Oid			not_immutable;
	Oid			not_executable;
} FunctionCheck;

/* check_functions_in_node() callback: true if the function is refused */
static bool
is_function_refused(Oid function, void *context)
{
	FunctionCheck *check = context;

	if (func_volatile(function) != PROVOLATILE_IMMUTABLE)
		check->not_immutable = function;
	else if (tide_proc_aclcheck_compat(function, GetUserId()) != ACLCHECK_OK)
		check->not_executable = function;
	return OidIsValid(check->not_immutable) || OidIsValid(check->not_executable);
}

static bool
is_clock(Oid function)
{
	switch (function)
	{
		case F_NOW:
		case F_TRANSACTION_TIMESTAMP:
		case F_STATEMENT_TIMESTAMP:
		case F_CLOCK_TIMESTAMP:
		case F_TIMEOFDAY:
			return true;
		default:
			return false;
	}
}

static bool
is_clock_value(SQLValueFunction *value)
{
	switch (value->op)
	{
		case SVFOP_CURRENT_DATE:
		case SVFOP_CURRENT_TIME:
		case SVFOP_CURRENT_TIME_N:
		case SVFOP_CURRENT_TIMESTAMP:
		case SVFOP_CURRENT_TIMESTAMP_N:
		case SVFOP_LOCALTIME:
		case SVFOP_LOCALTIME_N:
		case SVFOP_LOCALTIMESTAMP:
		case SVFOP_LOCALTIMESTAMP_N:
			return true;
		default:
			return false;
	}
}

static void
refuse_function(TideExpr *expr, Node *node, FunctionCheck *check)
{
	if (OidIsValid(check->not_executable))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function %s",
						format_procedure(check->not_executable)),
				 parser_errposition(expr->pstate, exprLocation(node))));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("function %s is not immutable",
					format_procedure(check->not_immutable)),
			 errdetail("Whether a row belongs to a shape may depend on nothing but the row."),
			 errhint("%s", is_clock(check->not_immutable) ? NOW_HINT :
					 func_volatile(check->not_immutable) == PROVOLATILE_STABLE ?
					 STABLE_HINT :
					 "Store the function's result in a column."),
			 parser_errposition(expr->pstate, exprLocation(node))));
}

static void
check_node(TideExpr *expr, Node *node)
{
	FunctionCheck check = {InvalidOid, InvalidOid};

	if (check_functions_in_node(node, is_function_refused, &check))
		refuse_function(expr, node, &check);

	if (IsA(node, SQLValueFunction))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("the current time, user and session cannot be used in \"where\""),
				 errdetail("Whether a row belongs to a shape may depend on nothing but the row."),
				 errhint("%s", is_clock_value((SQLValueFunction *) node) ?
						 NOW_HINT :
						 "Use a claim: column = claims.sub."),
				 parser_errposition(expr->pstate, exprLocation(node))));

	if (IsA(node, Var) && ((Var *) node)->varattno <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg(((Var *) node)->varattno == 0 ?
						"the whole row cannot be used in \"where\"" :
						"system columns cannot be used in \"where\""),
				 errhint("Name ordinary columns of the table."),
				 parser_errposition(expr->pstate, exprLocation(node))));
}

/* arguments first, so that the innermost culprit is named */
static bool
check_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	(void) expression_tree_walker(node, check_walker, context);
	check_node(context, node);
	return false;
}

void
tide_expr_check(TideExpr *expr)
{
	(void) check_walker(expr->tree, expr);
}
