/*
 * rebuild.h
 *	  Taking shapes and sources apart, and compiling shapes anew.
 */
#ifndef TIDE_REBUILD_H
#define TIDE_REBUILD_H

#include "ingest/ingest.h"

/*
 * One step, in the caller's transaction: broken sources, shapes without nodes, dropped
 * shapes, sources nobody needs. True if something was done.
 */
extern bool tide_rebuild_step(TideIngest *in, bool *later);

/* compile shapes again that wait to be built; true if done. In the caller's transaction. */
extern bool tide_rebuild_shapes(List *shapes, bool *later);

/*
 * Compile a tree again whose tables have been copied: nothing followed them between its creation and the
 * copies. same: it shows the same columns as before. False, with nothing done, if it has to wait.
 */
extern bool tide_rebuild_tree(TideShape *shape, bool *same, bool *later);

/* everything back to before the first start: shadows, logs, buckets, sources; new epoch */
extern void tide_rebuild_all(void);

/*
 * Before changes are stored: redefined shapes that do not follow them yet cannot be built over their
 * buckets any more, and are built like new ones.
 */
extern void tide_rebuild_unprepared(TideIngest *in);

#endif							/* TIDE_REBUILD_H */
