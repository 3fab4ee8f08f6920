/*
 * plugin.c
 *	  Entry of the output plugin "pg_tide".
 */
#include "postgres.h"

#include "replication/output_plugin.h"

#include "decode/plugin.h"
#include "util/compat.h"

/* process-local; set for the moment in which a decoding context is created */
TideDecodeOverride tide_decode_override = NULL;

void
_PG_output_plugin_init(OutputPluginCallbacks *cb)
{
	if (tide_decode_override != NULL)
	{
		tide_decode_override(cb);
		return;
	}

	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("the JSON stream is not built into this library")));
}
