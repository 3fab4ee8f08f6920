/*
 * tree_pass.h
 *	  The pass of a joined node: what its files share.
 */
#ifndef TIDE_TREE_PASS_H
#define TIDE_TREE_PASS_H

#include "ingest/tree.h"

/* a statement's named relations and arguments */
typedef struct TideTreeInputs
{
	TideVersions *versions;		/* "tide_versions", or NULL */
	TideWatch  *versions_of;	/* whose layout they have */
	Tuplestorestate *rows;		/* "tide_rows", or NULL */
	int64		nrows;
	int64		nrivals;		/* $3: how many rows may have come before
								 * another */
} TideTreeInputs;

typedef void (*TideTreeCallback) (void *arg, HeapTuple tuple, TupleDesc desc);

/* the pass of one node */
typedef struct TideTreePass
{
	TideIngest *in;
	TideJoined *joined;
	MemoryContext context;		/* of one row */
	TideTreeCounts counts;		/* of the row whose results are coming in */
	ItemPointerData tid;		/* that row */
	bool		absolute;		/* counts are new ones, not to be added */
} TideTreePass;

/* tree.c */
extern bool tide_tree_has_versions(const TideWatch *watch);
extern void tide_tree_end_versions(TideVersions *versions);

/* tree_run.c */

/* run a statement of a node, prepared once, and hand its rows to the callback */
extern void tide_tree_run(TideIngest *in, TideJoined *joined, const char *sql, SPIPlanPtr *plan,
						  TideTreeInputs *inputs, TideTreeCallback callback, void *arg);

/* layout of "tide_rows" */
extern TupleDesc tide_tree_rows_desc(void);

/* tree_gather.c */

/* R, empty; and as a relation */
extern void tide_tree_create_rows(TideIngest *in, TideJoined *joined);
extern void tide_tree_rows_input(TideJoined *joined, TideTreeInputs *inputs);

/* put into R the rows that the batch's versions may concern */
extern void tide_tree_gather(TideTreePass *pass);

#endif							/* TIDE_TREE_PASS_H */
