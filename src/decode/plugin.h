/*
 * plugin.h
 *	  The output plugin's entry, and how the ingest gets round it.
 */
#ifndef TIDE_DECODE_PLUGIN_H
#define TIDE_DECODE_PLUGIN_H

struct OutputPluginCallbacks;

/*
 * Process-local. When set, _PG_output_plugin_init() calls it instead of
 * installing the JSON stream's callbacks: the ingest decodes through a slot of plugin
 * pg_tide, but wants the changes themselves. Whoever sets it resets it to NULL
 * as soon as the decoding context exists.
 */
typedef void (*TideDecodeOverride) (struct OutputPluginCallbacks *cb);
extern TideDecodeOverride tide_decode_override;

#endif							/* TIDE_DECODE_PLUGIN_H */
