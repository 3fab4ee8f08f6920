/*
 * build.h
 *	  Building shapes; see also tide_ingest_build() in ingest.h.
 */
#ifndef TIDE_BUILD_H
#define TIDE_BUILD_H

#include "utils/snapshot.h"

#include "ingest/ingest.h"

/*
 * A shape whose entries are written but whose source was copied at a later moment than
 * the checkpoint's: live with the first checkpoint at lsn or beyond. Or, without a shape,
 * a source that was copied again: pulls wait for that checkpoint.
 */
typedef struct TideCopied
{
	int			shape_id;		/* or 0 */
	int64		built_op_id;
	XLogRecPtr	lsn;
} TideCopied;

/* part of each batch: copied shapes that its checkpoint has caught up with become live */
extern void tide_build_finish(TideIngest *in);

/* whether a copied shape could become live with a checkpoint at this position */
extern bool tide_build_is_waiting(const TideIngest *in, XLogRecPtr position);

/* for a copy: the source's name and columns as they are now */
extern void tide_build_describe(TideSource *source, Relation rel);

extern char *tide_snapshot_text(Snapshot snapshot);
extern TideWatch *tide_watch_of_source(TideIngest *in, int source_id);

/* have a direct node asked for each changed row of its table */
struct TideNodeEval;
extern void tide_watch_add_eval(TideIngest *in, TideWatch *watch, struct TideNodeEval *eval);

#endif							/* TIDE_BUILD_H */
