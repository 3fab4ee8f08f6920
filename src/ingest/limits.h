/*
 * limits.h
 *	  How large buckets and shapes may become.
 */
#ifndef TIDE_LIMITS_H
#define TIDE_LIMITS_H

#include "ingest/ingest.h"

/*
 * ERROR 54000, for which the shape fails while the others go on, if the bucket has more
 * rows than tide.max_bucket_rows.
 */
extern void tide_limit_bucket(TideIngest *in, const TideBucket *bucket);

/*
 * Write the buckets that changed, in the current transaction. The same ERROR if one of
 * them, or with tide.max_shape_rows a shape of theirs, has become too large.
 */
extern void tide_limits_flush(TideIngest *in);

#endif							/* TIDE_LIMITS_H */
