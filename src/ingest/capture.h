/*
 * capture.h
 *	  Decoding callbacks of the ingest: changes into the batch.
 */
#ifndef TIDE_CAPTURE_H
#define TIDE_CAPTURE_H

#include "catalog/pg_attribute.h"
#include "utils/relcache.h"

#include "catalog/shape_catalog.h"
#include "ingest/ingest.h"

struct OutputPluginCallbacks;
struct ReorderBufferTXN;

/* installs them; the decoding context's output_plugin_private is the TideIngest */
extern void tide_capture_callbacks(struct OutputPluginCallbacks *cb);

/* whether the source's shadow has a column for it */
extern bool tide_source_keeps(Form_pg_attribute att);

/* whether the initial copy's snapshot, or a later one's, saw the transaction */
extern bool tide_capture_has_seen(const TideWatch *watch, const struct ReorderBufferTXN *txn);

/* the source cannot follow: no more changes of it until it has been copied again */
extern void tide_capture_break(TideIngest *in, TideWatch *watch);

/* all rows of a source go, or those of one partition */
extern void tide_capture_truncate(TideIngest *in, TideWatch *watch, Oid leaf);

/* whether rows of rel look like the source's columns */
extern bool tide_source_matches(const TideSource *source, Relation rel);

/* prefix of the logical message by which tide.sync() asks for a checkpoint */
#define TIDE_SYNC_PREFIX	"tide.sync"

/* of the transactional one that tells of a rewritten table; holds its Oid */
#define TIDE_REWRITE_PREFIX "tide.rewrite"

#endif							/* TIDE_CAPTURE_H */
