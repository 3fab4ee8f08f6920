/*
 * lookup.h
 *	  Subqueries over params and claims: run at pull, they give values of key parts.
 */
#ifndef TIDE_SHAPE_LOOKUP_H
#define TIDE_SHAPE_LOOKUP_H

#include "catalog/shape.h"
#include "shape/expr.h"
#include "util/compat.h"

/* one condition of a subquery that correlates it with the row */
typedef struct TideCorrelation
{
	Node	   *condition;		/* as in the subquery */
	Node	   *row_side;		/* over the row, as outside of it */
	Node	   *inner_side;		/* over the subquery's tables */
	bool		is_set;			/* inner_side = ANY (row_side) */
} TideCorrelation;

/* raises the ERROR for a subquery no lookup can be made of */
TIDE_NORETURN extern void tide_lookup_refuse(TideExpr *expr, int location,
											 const char *reason, const char *hint);

/* EXISTS (query); the query of EXISTS that says what "x = ANY (SELECT ...)" says */
extern SubLink *tide_exists_sublink(Query *query);
extern Query *tide_lookup_exists_of(SubLink *sublink);

/* the row's sides (of Node) of all conditions that correlate query; ERROR if they are others */
extern List *tide_lookup_correlations(TideExpr *expr, Query *query, bool negated);

/*
 * The lookup of [NOT] EXISTS (query): *correlations gets its TideCorrelations, in the order of
 * its columns. first_part is the caller's to set.
 */
extern TideKeyLookup *tide_lookup_of_exists(TideExpr *expr, Query *query, bool negated,
											List **correlations);

/* the lookup of a condition on the request alone */
extern TideKeyLookup *tide_lookup_of_condition(TideExpr *expr, Node *condition);

/*
 * now() as the Param it is in compiled trees; and with refs, params and claims as those of lookups,
 * adding to *refs (of TideLookupRef).
 */
extern Node *tide_expr_finish(TideExpr *expr, Node *node, List **refs);

#endif							/* TIDE_SHAPE_LOOKUP_H */
