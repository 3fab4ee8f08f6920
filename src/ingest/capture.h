/*
 * capture.h
 *	  Decoding callbacks of the ingest: changes into the batch.
 */
#ifndef TIDE_CAPTURE_H
#define TIDE_CAPTURE_H

#include "utils/relcache.h"

#include "catalog/shape_catalog.h"

struct OutputPluginCallbacks;

/* installs them; the decoding context's output_plugin_private is the TideIngest */
extern void tide_capture_callbacks(struct OutputPluginCallbacks *cb);

/* whether rows of rel look like the source's columns */
extern bool tide_source_matches(const TideSource *source, Relation rel);

/* prefix of the logical message by which tide.sync() asks for a checkpoint */
#define TIDE_SYNC_PREFIX	"tide.sync"

#endif							/* TIDE_CAPTURE_H */
