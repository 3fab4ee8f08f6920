/*
 * columns.h
 *	  Which columns of which tables a shape's expressions use.
 */
#ifndef TIDE_COLUMNS_H
#define TIDE_COLUMNS_H

#include "catalog/shape.h"

typedef enum TideColumnOf
{
	TIDE_COLUMN_OF_ROW,			/* the node's own row */
	TIDE_COLUMN_OF_PARENT,
	TIDE_COLUMN_OF_SUBQUERY		/* a table in a subquery's FROM */
} TideColumnOf;

typedef void (*TideColumnCallback) (void *arg, Oid relid, AttrNumber attnum, TideColumnOf of);

/*
 * Call back for each Var of an expression, those in its subqueries included. relids: tables by
 * varno of the expression's own level, the last one the node's row; of a whole Query NIL.
 */
extern void tide_columns_walk(const void *expr, List *relids, TideColumnCallback callback, void *arg);

/* the same for all expressions that decide on a node's rows: not for lookups, nor columns shown */
extern void tide_columns_walk_node(const TideShape *shape, const TideShapeNode *node,
								   TideColumnCallback callback, void *arg);

/*
 * An index that a node's statements and lookups ask for: on one column that a join, a subquery or a time
 * window compares; or, is_window, on the columns that join, the node's order_by and its key.
 */
typedef struct TideNodeIndex
{
	Oid			relid;
	bool		is_window;
	List	   *attnums;		/* of int */
} TideNodeIndex;

/* each once; also those that a key serves already */
extern List *tide_node_indexes(const TideShape *shape, const TideShapeNode *node);

#endif							/* TIDE_COLUMNS_H */
