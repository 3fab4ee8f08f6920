/*
 * carry_plan.h
 *	  Which entries a row gets when its table is carried over (carry.c).
 */
#ifndef TIDE_CARRY_PLAN_H
#define TIDE_CARRY_PLAN_H

#include "ingest/membership.h"
#include "util/json_writer.h"

/* built_op_id of a shape all of whose memberships are in _members */
#define TIDE_BUILT_EXPLICIT		(-1)

/* a shape's node in both forms */
typedef struct CarryNode
{
	TideNodeEval *was;
	TideNodeEval *is;
	bool		is_joined;		/* of a tree: rows stay in its buckets until
								 * they are decided anew */
	bool		is_same_view;	/* same columns, names and types */
	bool		resends;		/* columns or names differ: so does every row */
	TideRowWriter *was_writer;
	TideRowWriter *is_writer;
	TideBucket *was_buckets[TIDE_MULTI_INSERT]; /* NULL where _members tells */
	TideBucket *is_buckets[TIDE_MULTI_INSERT];
} CarryNode;

/* a row in the old or new shadow's layout, in the chunk's memory */
typedef struct CarryRow
{
	Datum	   *values;			/* NULL: there is none */
	bool	   *nulls;
} CarryRow;

typedef struct Carry
{
	TideIngest *in;
	TideShadow *old;
	TideShadow *new;
	List	   *nodes;			/* of CarryNode */
	int64		base_op_id;
	MemoryContext chunk;		/* reset after each flush */
	int64		nmatched;		/* rows of the table that were in the old
								 * shadow */
	int			nrows;			/* gathered */
	CarryRow	olds[TIDE_MULTI_INSERT];
	CarryRow	news[TIDE_MULTI_INSERT];
	TideLogEntry *entries;		/* in the chunk's memory */
	int		   *rows;			/* of the entries */
	int			nentries;
	int			max_entries;
} Carry;

/* entries of a row of the table, and what its shadow row says of them; or of one that is gone */
extern void tide_carry_plan_row(Carry *carry, int row);
extern void tide_carry_plan_gone(Carry *carry, int row);

#endif							/* TIDE_CARRY_PLAN_H */
