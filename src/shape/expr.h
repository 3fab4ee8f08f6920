/*
 * expr.h
 *	  Expressions of a definition: parsed and typed by PostgreSQL's parser, and checked.
 */
#ifndef TIDE_SHAPE_EXPR_H
#define TIDE_SHAPE_EXPR_H

#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"
#include "parser/parse_node.h"
#include "utils/relcache.h"

/* what Param paramid - 1 of an expression stands for */
typedef struct TideParamRef
{
	bool		is_claim;
	char	   *name;
} TideParamRef;

/* a row that an expression is over */
typedef struct TideExprRow
{
	Relation	rel;
	const char *include;		/* a name of its own, or NULL */
	bool		is_parent;		/* known as "parent" */
	bool		no_table_name;	/* not known by its table's name */
} TideExprRow;

/* an expression, or the expressions of an order_by */
typedef struct TideExpr
{
	const char *field;			/* of the definition: "where", "on",
								 * "order_by" */
	Node	   *tree;			/* Var of varno 1 .. nrows, Param of
								 * PARAM_EXTERN */
	int			nrows;
	TideExprRow rows[2];		/* by varno - 1 */
	List	   *refs;			/* of TideParamRef, by paramid - 1 */
	ParseState *pstate;			/* for error positions */
} TideExpr;

/*
 * Parse one boolean expression over nrows rows, in which params.<name> and
 * claims.<name> are Params typed by their surroundings. Errors carry
 * a position in text; compile.c's error callback makes it visible. Subqueries and parameters are
 * accepted in "where" only.
 */
extern TideExpr *tide_expr_parse(const char *field, const char *text,
								 int nrows, const TideExprRow *rows);

/* what tide_expr_parse_order() puts in front of the text: positions are off by its length */
#define TIDE_ORDER_PREFIX	"1 ORDER BY "

/* the same for an ORDER BY list: tree is the List of expressions, *keys their TideSortKeys */
extern TideExpr *tide_expr_parse_order(const char *text, const TideExprRow *row, List **keys);

/* columns of row number row_index (from 0) an expression uses; offset attnums */
extern Bitmapset *tide_expr_columns(TideExpr *expr, int row_index);

/*
 * Refuse what cannot be evaluated on a row, and on the rows of subqueries, with the same result
 * everywhere and always: functions not immutable or not executable by
 * the current user, system columns and whole rows; now() but in comparisons with a timestamptz.
 */
extern void tide_expr_check(TideExpr *expr);

/*
 * Refuse, in a part of an expression that will run as SQL of the extension's owner, functions
 * that are neither built in nor in C. what: for the message, what runs.
 */
extern void tide_expr_check_sql(TideExpr *expr, Node *part, const char *what);

/* "params.x" or "claims.x" */
extern char *tide_expr_param_name(TideExpr *expr, Param *param);

/* the first params.x or claims.x in a tree, subqueries included, or NULL */
extern Param *tide_expr_first_param(Node *node);
#define tide_expr_has_params(node) (tide_expr_first_param(node) != NULL)

/* subquery.c: refuse subqueries, in a raw expression before analysis; an analysed one */
extern void tide_subquery_check_raw(TideExpr *expr, Node *raw, bool allowed);
extern void tide_subquery_check(TideExpr *expr, SubLink *sublink);

/* bring all subqueries below a tree to a plain form: FROM lists tables alone, joins are in WHERE */
extern void tide_subquery_normalise(Node *tree);

extern Const *tide_make_int_const(int32 value);

#endif							/* TIDE_SHAPE_EXPR_H */
