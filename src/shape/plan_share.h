/*
 * plan_share.h
 *	  Shapes that differ only in constants compared for equality: what of their nodes is the same.
 */
#ifndef TIDE_PLAN_SHARE_H
#define TIDE_PLAN_SHARE_H

#include "lib/stringinfo.h"

#include "catalog/shape.h"

/*
 * One conjunct of a filter. Of "expr = constant" and "expr IN (constants)", where equality means
 * equal images, expr is the left side and the constants are apart: such a step
 * dispatches rows to nodes. Of others expr is all of the conjunct.
 */
typedef struct TidePlanStep
{
	Node	   *expr;
	bool		is_dispatch;
	List	   *images;			/* of bytea: of the constants, each once */
} TidePlanStep;

/*
 * The steps are to be taken in this order: comparisons of columns, which raise no error, come first,
 * the others are in the order of the definition. So none is evaluated for a row for
 * which the definition's order would not have evaluated it.
 */
typedef struct TidePlanTemplate
{
	List	   *steps;			/* of TidePlanStep */
	int			ndispatch;
	char	   *text;			/* equal for nodes of a table that differ in
								 * constants only */
} TidePlanTemplate;

/* of a direct node, in the current context */
extern TidePlanTemplate *tide_plan_template(const TideShapeNode *node);

/* how to bring values of one type to images: equal values, equal images */
typedef struct TidePlanImager TidePlanImager;
extern TidePlanImager *tide_plan_imager(MemoryContext context, Oid type);
extern void tide_plan_image(StringInfo out, TidePlanImager *imager, Datum value);

/* append what tide.explain_shape says of a shape's plans */
extern void tide_plan_explain(StringInfo out, const TideShape *shape);

#endif							/* TIDE_PLAN_SHARE_H */
