/*
 * source_scan.h
 *	  Reads a source's rows as they are in a snapshot, in its shadow's layout.
 */
#ifndef TIDE_SOURCE_SCAN_H
#define TIDE_SOURCE_SCAN_H

#include "utils/snapshot.h"

#include "ingest/ingest.h"

typedef struct TideSourceScan TideSourceScan;

/*
 * A snapshot to copy a source by: lock its table and partitions, which are to stay
 * locked, and take a snapshot in which every commit that decoding has passed is visible;
 * sets the source's leaves, snapshot and snapshot_lsn. Registered; NULL if that cannot be
 * had now without waiting.
 */
extern Snapshot tide_source_snapshot(TideSource *source);

/* in the current context; sorted by the key if asked for */
extern TideSourceScan *tide_source_scan_begin(TideIngest *in, TideShadow *shadow,
											  Snapshot snapshot, bool by_key);

/* next row into slot, valid until the next call: all but the shadow's fixed attributes,
 * which are null; false at the end */
extern bool tide_source_scan_next(TideSourceScan *scan, TupleTableSlot *slot);
extern void tide_source_scan_end(TideSourceScan *scan);

#endif							/* TIDE_SOURCE_SCAN_H */
