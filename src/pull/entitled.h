/*
 * entitled.h
 *	  The buckets a request asks for and is entitled to: from shapes, parameters and
 *	  claims of this very request, never from its cookie.
 */
#ifndef TIDE_ENTITLED_H
#define TIDE_ENTITLED_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/snapshot.h"

#include "catalog/shape_catalog.h"
#include "pull/cookie.h"
#include "pull/request.h"
#include "store/bucket_reader.h"

struct TideChangeWriter;

typedef struct TideServedNode
{
	const TideShapeNode *node;
	struct TideChangeWriter *writer;	/* made when first needed */
} TideServedNode;

/* a shape the request names */
typedef struct TideServedShape
{
	TideShape  *shape;
	bool		live;
	bool		held;			/* its tables are being compared: later */
	bool		unresolved;		/* what its lookups read is not there yet */
	TideServedNode *nodes;		/* as in shape->nodes */
} TideServedShape;

typedef struct TideServedBucket
{
	TideBucketInfo info;
	TideServedShape *shape;
	TideServedNode *node;
	TidePosition position;		/* of the client in it */
	bool		has_position;	/* client has some of it, or is at its end */
} TideServedBucket;

/* one answer in "buckets": parameters and the bucket they mean */
typedef struct TideAskedBucket
{
	TideServedShape *shape;
	Jsonb	   *params;
	TideServedBucket *bucket;	/* NULL: has no row, or is not for the asker */
} TideAskedBucket;

typedef struct TideEntitled
{
	List	   *shapes;			/* of TideServedShape */
	List	   *asked;			/* of TideAskedBucket */
	List	   *buckets;		/* of TideServedBucket, each once */
	List	   *sources;		/* of TideSource, if they were needed */
	bool		all_live;
} TideEntitled;

/*
 * As of a checkpoint's time and the snapshot, which is the active one. ERROR 42704 unknown shape, 55000
 * failed shape, 42501 a shape whose owner lost his rights, 22023 parameters, 54000 too many buckets. Result in the current context.
 */
extern TideEntitled *tide_entitled_resolve(const TidePullRequest *request, Jsonb *claims,
										   TimestampTz now, Snapshot snapshot);

#endif							/* TIDE_ENTITLED_H */
