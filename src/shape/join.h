/*
 * join.h
 *	  How an include hangs from its parent.
 */
#ifndef TIDE_SHAPE_JOIN_H
#define TIDE_SHAPE_JOIN_H

#include "shape/expr.h"

/*
 * The one foreign key between two tables as a condition, varno 1 the parent's row, 2 the child's;
 * ERROR naming the candidates if there are none or several. The columns used are added to
 * columns[0] and [1] (offset attnums).
 */
extern Node *tide_join_by_foreign_key(const TideExprRow *parent, const TideExprRow *child,
									  Bitmapset **columns);

#endif							/* TIDE_SHAPE_JOIN_H */
