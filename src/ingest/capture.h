/*
 * capture.h
 *	  Decoding callbacks of the ingest: changes into the batch.
 */
#ifndef TIDE_CAPTURE_H
#define TIDE_CAPTURE_H

struct OutputPluginCallbacks;

/* installs them; the decoding context's output_plugin_private is the TideIngest */
extern void tide_capture_callbacks(struct OutputPluginCallbacks *cb);

/* prefix of the logical message by which tide.sync() asks for a checkpoint */
#define TIDE_SYNC_PREFIX	"tide.sync"

#endif							/* TIDE_CAPTURE_H */
