/*
 * expr.h
 *	  Expressions of a definition: parsed and typed by PostgreSQL's parser.
 */
#ifndef TIDE_SHAPE_EXPR_H
#define TIDE_SHAPE_EXPR_H

#include "nodes/primnodes.h"
#include "parser/parse_node.h"
#include "utils/relcache.h"

/* what Param paramid - 1 of an expression stands for */
typedef struct TideParamRef
{
	bool		is_claim;
	char	   *name;
} TideParamRef;

typedef struct TideExpr
{
	Node	   *tree;			/* boolean; Var of varno 1, Param of PARAM_EXTERN */
	List	   *refs;			/* of TideParamRef, by paramid - 1 */
	ParseState *pstate;			/* for error positions */
} TideExpr;

/*
 * Parse one boolean expression over the columns of rel, in which params.<name> and
 * claims.<name> are Params typed by their surroundings. Errors carry
 * a position in text; where_error_callback of compile.c makes it visible.
 */
extern TideExpr *tide_expr_parse(Relation rel, const char *text);

/*
 * Refuse what cannot be evaluated on a row alone, with the same result
 * everywhere and always: functions not immutable or not executable by
 * the current user, system columns and whole rows.
 */
extern void tide_expr_check(TideExpr *expr);

/* "params.x" or "claims.x" */
extern char *tide_expr_param_name(TideExpr *expr, Param *param);

#endif							/* TIDE_SHAPE_EXPR_H */
