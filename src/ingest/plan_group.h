/*
 * plan_group.h
 *	  The direct nodes of one table, those that differ in constants only evaluated as one.
 */
#ifndef TIDE_PLAN_GROUP_H
#define TIDE_PLAN_GROUP_H

#include "ingest/membership.h"
#include "shape/plan_share.h"

/* a node that holds a row, and its bucket */
typedef struct TideHit
{
	TideNodeEval *eval;
	TideBucket *bucket;
} TideHit;

typedef struct TideHits
{
	TideHit    *hits;
	int			n;
	int			max;
} TideHits;

/* a question: which nodes hold this row (values in the shadow's layout)? */
typedef struct TideRowAsk
{
	const Datum *values;
	const bool *nulls;
	int64		since;			/* only plain shapes that were built at this
								 * op_id or later; 0: all */
	TideHits   *hits;			/* the answers are added here */
} TideRowAsk;

typedef struct TidePlanGroups TidePlanGroups;

extern TidePlanGroups *tide_groups_create(MemoryContext context, TideShadow *shadow);

/* the template is that of the eval's node; both live as long as the groups */
extern void tide_groups_add(TidePlanGroups *groups, TideNodeEval *eval,
							const TidePlanTemplate *template);

/*
 * Answer n questions, in the current context; buckets are made if it is the first row in them. Errors
 * are put down to the shapes whose expressions raised them. groups may be NULL: no node.
 */
extern void tide_groups_ask(TidePlanGroups *groups, TideBuckets *buckets, TideRowAsk *asks,
							int n, int64 *op_id);

/* the shapes that an ERROR of this moment is put down to, as a list of ids */
extern List *tide_evaluating_shapes(void);

/* none are being evaluated: after an ERROR */
extern void tide_evaluating_none(void);

#endif							/* TIDE_PLAN_GROUP_H */
