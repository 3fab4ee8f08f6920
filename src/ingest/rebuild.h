/*
 * rebuild.h
 *	  Taking shapes and sources apart.
 */
#ifndef TIDE_REBUILD_H
#define TIDE_REBUILD_H

#include "ingest/ingest.h"

/*
 * One step, in the caller's transaction: broken sources, shapes without nodes, dropped
 * shapes, sources nobody needs. True if something was done.
 */
extern bool tide_rebuild_step(TideIngest *in, bool *later);

/* everything back to before the first start: shadows, logs, buckets, sources; new epoch */
extern void tide_rebuild_all(void);

/*
 * After pg_upgrade: the OIDs of functions and operators, and what is compiled of them, are another server's.
 * Functions are found by name, all else is built anew.
 */
extern void tide_rebuild_moved(void);

#endif							/* TIDE_REBUILD_H */
