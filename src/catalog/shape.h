/*
 * shape.h
 *	  The compiled form of a shape, as every reader of shapes sees it.
 *
 * Expressions are PostgreSQL node trees over the *source* table: Var with
 * varno 1 and the source's attnums, so renames cost nothing. They hold no Param: what
 * depends on a request is in the key parts' args. They have been through
 * expression_planner(), so ExecInitExpr() takes them as they are.
 */
#ifndef TIDE_SHAPE_H
#define TIDE_SHAPE_H

#include "access/attnum.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

typedef enum TideShapeState
{
	TIDE_SHAPE_BUILDING,
	TIDE_SHAPE_LIVE,
	TIDE_SHAPE_FAILED,
	TIDE_SHAPE_DROPPED
} TideShapeState;

/*
 * One value a request supplies, params.<name> or claims.<name>; or, where
 * name is NULL, a constant that stands beside such values in an IN list.
 */
typedef struct TideKeyArg
{
	bool		is_claim;
	bool		is_array;		/* expr = ANY (array): each element is a value */
	char	   *name;
	char	   *constant;		/* canonical text, if name is NULL */
} TideKeyArg;

/*
 * One conjunct "expr = value" or "expr IN (values)": an element of the bucket
 * key. A row is in a bucket only if expr is not null.
 */
typedef struct TideKeyPart
{
	Node	   *expr;
	Oid			type;			/* of expr and of each value */
	int32		typmod;
	Oid			collation;
	List	   *args;			/* of TideKeyArg: the values' union */
} TideKeyPart;

typedef struct TideShapeNode
{
	int			node_id;		/* 0 is the root */
	int			source_id;
	Oid			relid;			/* source table */
	char	   *path;			/* "" for the root */
	int			ncolumns;		/* columns shown, key columns included */
	AttrNumber *columns;		/* source attnums, ascending */
	Node	   *filter;			/* boolean over the row, or NULL for all */
	List	   *key_parts;		/* of TideKeyPart; NIL: one bucket for all */
} TideShapeNode;

typedef struct TideShape
{
	int			shape_id;
	char	   *name;
	Oid			owner;
	TideShapeState state;
	int64		built_op_id;	/* 0 unless live */
	bool		shows_all;		/* the root names no columns: also those to come */
	List	   *nodes;			/* of TideShapeNode, root first; NIL: to be
								 * compiled again from the definition */
} TideShape;

#endif							/* TIDE_SHAPE_H */
