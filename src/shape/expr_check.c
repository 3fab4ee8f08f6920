/*
 * expr_check.c
 *	  What an expression of a shape must not do.
 *
 * A row is put into buckets by the ingest, long after it was written and by another
 * process: the result may depend on the row's columns alone, those of subqueries' rows, and the
 * checkpoint's time. contain_mutable_functions() decides in the end (compile.c
 * asks it once more after planning); the walk here exists to name the function and its place.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_node.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "shape/expr.h"
#include "shape/time_window.h"
#include "util/compat.h"

#define NOW_HINT \
	"The current time can be compared with a timestamptz, as in: column > now() - interval '30 days'. A timestamp or date becomes one by AT TIME ZONE 'UTC'."
#define STABLE_HINT \
	"Write it so that it depends on the row alone: name the time zone or the format, or store the result in a column."

typedef struct FunctionCheck
{
	Oid			not_immutable;
	Oid			not_executable;
} FunctionCheck;

static bool
find_param_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN)
	{
		*(Param **) context = (Param *) node;
		return true;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, find_param_walker, context, 0);
	return expression_tree_walker(node, find_param_walker, context);
}

Param *
tide_expr_first_param(Node *node)
{
	Param	   *param = NULL;

	(void) find_param_walker(node, &param);
	return param;
}

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
				 errmsg("the current time, user and session cannot be used in \"%s\"%s",
						expr->field, tide_is_now(node) ? " here" : ""),
				 errdetail("Whether a row belongs to a shape may depend on nothing but the row."),
				 errhint("%s", is_clock_value((SQLValueFunction *) node) ?
						 NOW_HINT :
						 "Use a claim: column = claims.sub."),
				 parser_errposition(expr->pstate, exprLocation(node))));

	if (IsA(node, Var) && ((Var *) node)->varattno <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 ((Var *) node)->varattno == 0 ?
				 errmsg("the whole row cannot be used in \"%s\"", expr->field) :
				 errmsg("system columns cannot be used in \"%s\"", expr->field),
				 errhint("Name ordinary columns of the table."),
				 parser_errposition(expr->pstate, exprLocation(node))));
}

/* arguments first, so that the innermost culprit is named */
static bool
check_walker(Node *node, void *context)
{
	TideExpr   *expr = context;
	Node	   *compared;
	Node	   *bound;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, check_walker, context, 0);
	if (strcmp(expr->field, "where") == 0 && tide_time_comparison(node, &compared, &bound))
		return check_walker(compared, context);
	if (IsA(node, SubLink))
		tide_subquery_check(expr, (SubLink *) node);
	(void) expression_tree_walker(node, check_walker, context);
	check_node(expr, node);
	return false;
}

void
tide_expr_check(TideExpr *expr)
{
	(void) check_walker(expr->tree, expr);
}

/* check_functions_in_node() callback: true unless anybody's code can be trusted to be the server's */
static bool
is_foreign_code(Oid function, void *context)
{
	HeapTuple	tuple;
	Oid			language;

	if (function < FirstNormalObjectId)
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	language = ((Form_pg_proc) GETSTRUCT(tuple))->prolang;
	ReleaseSysCache(tuple);
	if (language == ClanguageId || language == INTERNALlanguageId)
		return false;
	*(Oid *) context = function;
	return true;
}

/* whether the type's input function runs nothing but C: no domain's constraints, however deep */
static bool
is_plain_input(Oid type)
{
	Oid			inner;

	if (type < FirstNormalObjectId)
		return true;
	inner = get_element_type(type);
	if (!OidIsValid(inner))
		inner = get_range_subtype(type);
	if (!OidIsValid(inner))
		inner = get_multirange_range(type);
	if (OidIsValid(inner))
		return is_plain_input(inner);
	return get_typtype(type) == TYPTYPE_BASE || get_typtype(type) == TYPTYPE_ENUM;
}

/*
 * Whether a node makes a value under a domain's constraints. Input functions that might are not
 * immutable, but the values of params and claims are read by them.
 */
static bool
is_foreign_cast(Node *node)
{
	if (TIDE_IS_JSON_EXPR(node) ||
		(IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN))
		return !is_plain_input(exprType(node));
	return IsA(node, CoerceToDomain);
}

typedef struct SqlCheck
{
	TideExpr   *expr;
	const char *what;
} SqlCheck;

static bool
check_sql_walker(Node *node, void *context)
{
	SqlCheck   *check = context;
	Oid			function = InvalidOid;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, check_sql_walker, context, 0);
	if (check_functions_in_node(node, is_foreign_code, &function))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("function %s cannot be used in %s",
						format_procedure(function), check->what),
				 errdetail("It is run by SQL statements of the extension's owner, which call only functions that are built in or written in C."),
				 errhint("Store the function's result in a column."),
				 parser_errposition(check->expr->pstate, exprLocation(node))));
	if (is_foreign_cast(node))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a cast to type %s cannot be used in %s",
						format_type_be(exprType(node)), check->what),
				 errdetail("It is run by SQL statements of the extension's owner, which do not evaluate a domain's constraints."),
				 errhint("Cast to a built-in type."),
				 parser_errposition(check->expr->pstate, exprLocation(node))));
	return expression_tree_walker(node, check_sql_walker, context);
}

void
tide_expr_check_sql(TideExpr *expr, Node *part, const char *what)
{
	SqlCheck	check = {expr, what};

	(void) check_sql_walker(part, &check);
}
