/*
 * row_filter.h
 *	  Single-table shapes in the stream: which rows they hold.
 */
#ifndef TIDE_DECODE_ROW_FILTER_H
#define TIDE_DECODE_ROW_FILTER_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

#include "catalog/shape.h"
#include "decode/identity.h"
#include "decode/options.h"

/* a shape with the values of params and claims */
typedef struct TideBoundShape
{
	char	   *name;
	TideShapeNode *node;		/* NULL: there is no such shape (at this time) */
	int			nkeys;			/* buckets asked for and entitled to */
	char	  **keys;			/* sorted; see row_filter.c for the form */
} TideBoundShape;

typedef struct TideRowFilter TideRowFilter;

/*
 * Read the shapes the options name and bind them; list of TideBoundShape in the
 * current context. Reads the metadata under the active or historic snapshot. A missing
 * shape is ERROR 42704, or unbound if missing_ok. ERROR 0A000 for shapes
 * that cannot be decided row by row, 22023 for bad params or claims.
 */
extern List *tide_bound_shapes_load(const TideDecodeOptions *options, bool missing_ok);

/*
 * Prepare a bound shape's filter for a table in the current context. ERROR 0A000 if it
 * uses what a decoder must not run, 55000 if old rows in the WAL lack columns it needs.
 */
extern TideRowFilter *tide_row_filter_create(const TideBoundShape *bound, Relation relation,
											 const TideIdentity *identity);

/* check at start-up what tide_row_filter_create() would refuse later */
extern void tide_bound_shapes_check(List *shapes);

/*
 * What a change of a row means for the shape: a row that enters is an insert, one that
 * leaves a delete. change is insert, update or delete. old is NULL for an insert,
 * and for an update whose old row the WAL does not have: then the columns the filter
 * uses have not changed. new is NULL for a delete. Scratch memory comes from the
 * current context.
 */
extern TideLineType tide_row_filter_decide(TideRowFilter *filter, TideLineType change,
										   TupleTableSlot *old, TupleTableSlot *new);

#endif							/* TIDE_DECODE_ROW_FILTER_H */
