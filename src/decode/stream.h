/*
 * stream.h
 *	  State of one JSON stream: everything between start-up and shutdown of a
 *	  decoding context of the output plugin.
 */
#ifndef TIDE_DECODE_STREAM_H
#define TIDE_DECODE_STREAM_H

#include "lib/stringinfo.h"

#include "decode/options.h"

struct TideRelationCache;

typedef struct TideStream
{
	TideDecodeOptions options;
	MemoryContext change_context;	/* reset after each change */

	struct TideRelationCache *relations;

	/* of TideBoundShape, one per name of options.shapes; own context, rebuilt as a whole */
	List	   *shapes;
	MemoryContext shapes_context;
	bool		shapes_stale;	/* read again at the next transaction */

	/*
	 * Complete lines not yet sent (of format transaction: the transaction so
	 * far), in the server encoding, separated by newlines.
	 */
	StringInfoData buffer;
	bool		to_client;		/* walsender: batch, and send UTF-8 */

	/* state of the transaction being decoded */
	bool		has_begun;		/* its begin line is written */
	int			settings_level; /* GUC nest level, 0: settings need no undoing */
	int			idle_changes;	/* since something was sent or progress reported */
} TideStream;

#endif							/* TIDE_DECODE_STREAM_H */
