/*
 * settle.h
 *	  Rows of small buckets that lag behind the change log: see src/README.md, "Storage".
 */
#ifndef TIDE_SETTLE_H
#define TIDE_SETTLE_H

#include "ingest/ingest.h"

/* the TideBucketSettler of an ingest, which is arg */
extern void tide_settle_buckets(void *arg, List *buckets);

/* whether some bucket's row may lag: what the checkpoint row tells */
extern bool tide_settle_is_lagging(TideIngest *in);

/* when a step is due; DT_NOEND if nothing is known to lag. Cheap. */
extern TimestampTz tide_settle_due(TideIngest *in, TimestampTz now);

/* if one is due: have the next flush write some that lag. In a transaction, batch empty. */
extern void tide_settle_step(TideIngest *in, TimestampTz now);

/* write all that lag, if it is known which, and the checkpoint */
extern void tide_settle_all(TideIngest *in);

/*
 * Write all buckets of the shapes, list of TideShape, whose rows lag behind this source's log; none
 * begins to lag until the next reload. The change log may be replaced by another then.
 */
extern void tide_settle_source(TideIngest *in, const TideSource *source, List *shapes);

#endif							/* TIDE_SETTLE_H */
