/*
 * condition.h
 *	  Takes the booleans of a "where" apart.
 */
#ifndef TIDE_SHAPE_CONDITION_H
#define TIDE_SHAPE_CONDITION_H

#include "shape/expr.h"

/* whether a condition depends on params and claims; on the row (varno 1) */
extern bool tide_depends_on_request(Node *node);
extern bool tide_depends_on_row(Node *node);

/* the conjuncts of nested ANDs, in the order of the text, behind those given */
extern List *tide_flatten_and(Node *node, List *conjuncts);

/*
 * expr's condition as a list of disjuncts, each a list of conjuncts; more than one only as far
 * as branches of an OR depend on both request and row. Subqueries that
 * do so come as EXISTS or NOT EXISTS, and are correlated with the row by equality only.
 * A row whose condition is true satisfies at least one disjunct, other rows none.
 */
extern List *tide_condition_disjuncts(TideExpr *expr);

#endif							/* TIDE_SHAPE_CONDITION_H */
