/*
 * recompile.h
 *	  Compiling shapes anew from their definitions.
 */
#ifndef TIDE_RECOMPILE_H
#define TIDE_RECOMPILE_H

#include "ingest/ingest.h"

/*
 * A shape without nodes compiled from its definition, state "building"; if that is an error,
 * NULL and state "failed". The catalog is locked.
 */
extern TideShape *tide_recompile(TideShape *shape);

/* the next shape that has no compiled nodes: after a rebuild, after pg_restore */
extern bool tide_recompile_pending(TideIngest *in, bool *later);

/* a shape's buckets go: it is built like a new one */
extern void tide_recompile_from_nothing(int shape_id);

/* compile shapes again that wait to be built; true if done. In the caller's transaction. */
extern bool tide_recompile_shapes(List *shapes, bool *later);

/*
 * Compile a tree again whose tables have been copied: nothing followed them between its creation and the
 * copies. same: it compiles to the same as before. False, with nothing done, if it has to wait.
 */
extern bool tide_recompile_tree(TideShape *shape, bool *same, bool *later);

/*
 * Before changes are stored: redefined shapes that do not follow them yet cannot be built over their
 * buckets any more, and are built like new ones.
 */
extern void tide_recompile_unprepared(TideIngest *in);

/* expressions of a node, for walkers and for equal(), which passes over their places in the text */
extern List *tide_node_expressions(const TideShapeNode *node);

#endif							/* TIDE_RECOMPILE_H */
