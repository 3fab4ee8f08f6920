/*
 * shape_cache.h
 *	  Compiled shapes kept from one reload to the next.
 */
#ifndef TIDE_SHAPE_CACHE_H
#define TIDE_SHAPE_CACHE_H

#include "ingest/ingest.h"
#include "shape/plan_share.h"

/* all shapes that are not dropped, in order of their ids; what they point at stays until the next call */
extern List *tide_shape_cache_read(TideIngest *in);

/* the template of a direct node of a shape that the cache has handed out */
extern const TidePlanTemplate *tide_shape_cache_template(TideIngest *in, int shape_id,
														 const TideShapeNode *node);

#endif							/* TIDE_SHAPE_CACHE_H */
