/*
 * compaction.h
 *	  Keeping the change log as small as its readers allow: superseded entries,
 *	  removed rows past their retention, empty buckets, old mutations.
 */
#ifndef TIDE_COMPACTION_H
#define TIDE_COMPACTION_H

#include "ingest/ingest.h"

/*
 * Remove what these entries, about to be appended, supersede, and note what cannot be
 * found at once. The shadow is open.
 */
extern void tide_compact_superseded(TideIngest *in, TideShadow *shadow,
									const TideLogEntry *entries, int n);

/* note what entries supersede that were appended without regard to it */
extern void tide_compact_count(TideIngest *in, const TideLogEntry *entries, int n);

/* note where those entries are, now that they are appended */
extern void tide_compact_appended(TideIngest *in, const TideLogEntry *entries, int n);

/*
 * Milliseconds until a step is due: 0 now, -1 not before something changes. Cheap.
 */
extern long tide_compact_due(TideIngest *in);

/*
 * One step of bounded size, in a transaction of its own; the batch is empty.
 * True if there is more to do.
 */
extern bool tide_compact_step(TideIngest *in);

/* the worker's, when it begins and when settings have changed: look at all buckets once */
extern void tide_compact_begin(TideIngest *in);

#endif							/* TIDE_COMPACTION_H */
