/*
 * shape.h
 *	  The compiled form of a shape, as every reader of shapes sees it.
 *	  doc/shapes.md explains it.
 *
 * Expressions are PostgreSQL node trees over *source* tables and their attnums, so renames
 * cost nothing. Row expressions (filter, key parts, order_by, windows) use varno 1 for the
 * node's row; join_on uses varno 1 for the parent's row and 2 for the node's. Row expressions and
 * join_on have been through expression_planner(), so ExecInitExpr() takes them as they are.
 * subfilter holds SubLinks with analysed Query trees, in which the node's row is varno 1, one level up.
 *
 * The only Param in any of them is TIDE_PARAM_NOW, PARAM_EXTERN of type timestamptz: now(), the
 * time of the checkpoint. Lookups have, after it, one Param for each of their refs.
 */
#ifndef TIDE_SHAPE_H
#define TIDE_SHAPE_H

#include "access/attnum.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#define TIDE_PARAM_NOW		1

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
 * An element of the bucket key: of a conjunct "expr = value", "expr IN (values)", or
 * of a lookup. A row is in a bucket only if expr is not null. is_set: expr is an array, and
 * the row is in the bucket of each of its elements but nulls (type is the elements').
 */
typedef struct TideKeyPart
{
	Node	   *expr;
	bool		is_set;
	Oid			type;			/* of expr (of its elements) and of each value */
	int32		typmod;
	Oid			collation;
	List	   *args;			/* of TideKeyArg: the values' union; NIL: by a
								 * lookup */
} TideKeyPart;

/* what a Param of a lookup stands for; its paramid is 2 + its place in the list */
typedef struct TideLookupRef
{
	bool		is_claim;
	char	   *name;
	Oid			type;
} TideLookupRef;

/*
 * A subquery over claims and params, run at pull over the shadow tables: its rows are the
 * values that key parts first_part .. first_part + nparts - 1 of the node may take
 * together; of a negated one those that they may not take. A row with a null stands for no
 * values. nparts = 0: a condition on the request alone, never negated; no row means no bucket of
 * the node. FROM of all its queries, and of those in a subfilter, lists tables alone: joins and
 * their conditions are in WHERE, and there are no other clauses.
 */
typedef struct TideKeyLookup
{
	int			first_part;
	int			nparts;
	bool		negated;
	Query	   *query;			/* nparts columns of the parts' types */
	List	   *refs;			/* of TideLookupRef */
} TideKeyLookup;

/* one element of order_by */
typedef struct TideSortKey
{
	Node	   *expr;
	bool		descending;
	bool		nulls_first;
} TideSortKey;

/*
 * "expr <op> bound" somewhere in filter or, outside of its subqueries, in subfilter; bound is made of
 * now() and constant intervals. Between two times only rows whose expr lies between the two values of
 * bound may enter or leave. With months in the interval, bound may also fall as now() rises.
 */
typedef struct TideTimeWindow
{
	Node	   *expr;
	Node	   *bound;			/* of the type of expr */
} TideTimeWindow;

/*
 * A table in a shape's tree. There is a root for each disjunct of the definition's where that needs
 * a key of its own, each with a tree of its own. Its rows are in buckets of their own: key of
 * the parent's bucket, followed by the node's own key parts.
 */
typedef struct TideShapeNode
{
	int			node_id;		/* parents before children */
	int			parent_id;		/* -1: a root */
	int			source_id;
	Oid			relid;			/* source table */
	char	   *path;			/* "" for a root, else include names joined by
								 * '.' */
	int			ncolumns;		/* columns shown, key columns included */
	AttrNumber *columns;		/* source attnums, ascending */
	Node	   *join_on;		/* NULL for a root */
	Node	   *filter;			/* boolean over the row, or NULL for all */
	Node	   *subfilter;		/* boolean with subqueries, or NULL */
	List	   *key_parts;		/* of TideKeyPart, of this node alone */
	List	   *lookups;		/* of TideKeyLookup */
	List	   *order_by;		/* of TideSortKey; with row_limit */
	int64		row_limit;		/* per parent row, of a root per bucket; 0:
								 * none */
	List	   *windows;		/* of TideTimeWindow */
	List	   *encrypted;		/* attnums of "encrypted"; set by compiling
								 * only, not read back */
} TideShapeNode;

typedef struct TideShape
{
	int			shape_id;
	char	   *name;
	Oid			owner;
	TideShapeState state;
	int64		built_op_id;	/* 0 unless live */
	bool		redefined;		/* its buckets are those of the definition
								 * before: being built over them */
	bool		reshown;		/* and its nodes may show other columns than
								 * rows' hashes are of */
	bool		shows_all;		/* the root names no columns: also those to
								 * come */
	List	   *nodes;			/* of TideShapeNode, by node_id; NIL: to be
								 * compiled again from the definition */
} TideShape;

/* whether a row's own columns alone decide if it is among the node's, and in one bucket of it */
static inline bool
tide_node_is_direct(const TideShapeNode *node)
{
	ListCell   *lc;

	foreach(lc, node->key_parts)
		if (((const TideKeyPart *) lfirst(lc))->is_set)
		return false;
	return node->parent_id < 0 && node->subfilter == NULL && node->row_limit == 0 &&
		node->windows == NIL;
}

/* a shape of one direct node, and of one table: lookups need theirs */
static inline bool
tide_shape_is_plain(const TideShape *shape)
{
	return list_length(shape->nodes) == 1 &&
		((const TideShapeNode *) linitial(shape->nodes))->lookups == NIL &&
		tide_node_is_direct((const TideShapeNode *) linitial(shape->nodes));
}

/* whether it is kept as plain shapes are; one that is built over its buckets is kept as trees are */
static inline bool
tide_shape_keeps_plain(const TideShape *shape)
{
	return tide_shape_is_plain(shape) && !shape->redefined;
}

#endif							/* TIDE_SHAPE_H */
