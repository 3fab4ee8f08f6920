/*
 * time_window.h
 *	  now() in conditions.
 */
#ifndef TIDE_SHAPE_TIME_WINDOW_H
#define TIDE_SHAPE_TIME_WINDOW_H

#include "nodes/primnodes.h"

#include "shape/expr.h"

/* now(), CURRENT_TIMESTAMP; the first of them in a tree, subqueries included, or NULL */
extern bool tide_is_now(Node *node);
extern Node *tide_first_now(Node *node);

/* whether node is "expr <op> bound", bound being now() with constant intervals; sets both */
extern bool tide_time_comparison(Node *node, Node **expr, Node **bound);

/* the windows of all such comparisons in a condition but its subqueries: of TideTimeWindow */
extern List *tide_time_windows(Node *condition);

/* contain_mutable_functions() of a planned expression but for such bounds */
extern bool tide_contain_mutable_functions(Node *node);

#endif							/* TIDE_SHAPE_TIME_WINDOW_H */
