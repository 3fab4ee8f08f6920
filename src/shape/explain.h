/*
 * explain.h
 *	  What tide.explain_shape shows.
 */
#ifndef TIDE_SHAPE_EXPLAIN_H
#define TIDE_SHAPE_EXPLAIN_H

#include "catalog/shape.h"

/*
 * A text for people: what the shape holds, and how its buckets are found. statements: for each node a List of
 * char *, as "name: SQL"; or NULL.
 */
extern char *tide_shape_explain(const TideShape *shape, List **statements);

/* the indexes of shadow tables that a node's statements use, as "table (columns)": list of char * */
extern List *tide_explain_indexes(const TideShape *shape, const TideShapeNode *node);

#endif							/* TIDE_SHAPE_EXPLAIN_H */
