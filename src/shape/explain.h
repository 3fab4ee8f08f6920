/*
 * explain.h
 *	  What tide.explain_shape shows.
 */
#ifndef TIDE_SHAPE_EXPLAIN_H
#define TIDE_SHAPE_EXPLAIN_H

#include "catalog/shape.h"

/* a text for people: what the shape holds, and how its buckets are found */
extern char *tide_shape_explain(const TideShape *shape);

/* the indexes of shadow tables that a node's statements use, as "table (columns)": list of char * */
extern List *tide_explain_indexes(const TideShape *shape, const TideShapeNode *node);

#endif							/* TIDE_SHAPE_EXPLAIN_H */
