/*
 * key_split.h
 *	  Takes a typed "where" apart into what compiled nodes consist of.
 */
#ifndef TIDE_SHAPE_KEY_SPLIT_H
#define TIDE_SHAPE_KEY_SPLIT_H

#include "catalog/shape.h"
#include "shape/expr.h"

/* what becomes of a disjunct: the fields of TideShapeNode of these names */
typedef struct TideWhere
{
	Node	   *filter;
	Node	   *subfilter;
	List	   *key_parts;
	List	   *lookups;
	List	   *windows;
} TideWhere;

/*
 * One TideWhere for each disjunct of a checked expression. ERROR 42P17 with its place
 * for a parameter no bucket key can be made of. All but subfilters and lookups are planned.
 */
extern List *tide_where_split(TideExpr *expr);

/* key_part.c: the parts that a conjunct on request and row makes; ERROR if it makes none */
extern List *tide_key_parts_of_conjunct(TideExpr *expr, Node *conjunct);

/* whether a conjunct is such as has always made a key part though no column is in it */
extern bool tide_is_constant_key(Node *conjunct);

/* a part for the row's side of condition, an equality by operator, without args */
extern TideKeyPart *tide_key_part_of(TideExpr *expr, Node *row_side, bool is_set, Node *condition);

#endif							/* TIDE_SHAPE_KEY_SPLIT_H */
