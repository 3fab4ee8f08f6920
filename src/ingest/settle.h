/*
 * settle.h
 *	  Rows of small buckets that lag behind the change log: see src/README.md, "Storage".
 */
#ifndef TIDE_SETTLE_H
#define TIDE_SETTLE_H

#include "ingest/ingest.h"

/* the TideBucketSettler of an ingest, which is arg */
extern void tide_settle_buckets(void *arg, List *buckets);

/* write all that lag, of those known */
extern void tide_settle_all(TideIngest *in);

/*
 * Write all buckets of the shapes, list of TideShape, whose rows lag behind this source's log; none
 * begins to lag until the next reload. The change log may be replaced by another then.
 */
extern void tide_settle_source(TideIngest *in, const TideSource *source, List *shapes);

#endif							/* TIDE_SETTLE_H */
