/*
 * carry.h
 *	  An altered table copied anew, with the buckets its shapes have.
 */
#ifndef TIDE_CARRY_H
#define TIDE_CARRY_H

#include "utils/snapshot.h"

#include "ingest/ingest.h"

/* a shape as it was and as its definition compiles now; a tree's nodes have the same numbers */
typedef struct TideCarried
{
	TideShape  *was;
	TideShape  *is;				/* with the same id and built_op_id */
} TideCarried;

/*
 * Give a broken source another id, for its shapes' nodes to refer to; then make it one that
 * has the table's columns as they are now. Rows whose shown content or bucket differs get
 * entries in their buckets, others none. shapes: of TideCarried, all shapes on it whose entries
 * are written. Rows stay in the buckets of trees, which are to be decided anew. Table and shadow are locked; snapshot is tide_source_snapshot()'s.
 */
extern int	tide_carry_begin(const TideSource *source);
extern void tide_carry_source(TideIngest *in, TideSource *source, int new_id,
							  Snapshot snapshot, List *shapes);

#endif							/* TIDE_CARRY_H */
