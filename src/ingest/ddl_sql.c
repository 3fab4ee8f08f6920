/*
 * ddl_sql.c
 *	  Event trigger: tells the ingest, through the WAL, that a table's rows are being
 *	  rewritten. Decoding shows nothing of that: the new rows are no changes.
 */
#include "postgres.h"

#include "commands/event_trigger.h"
#include "fmgr.h"
#include "replication/message.h"
#include "utils/fmgroids.h"

#include "ingest/capture.h"
#include "util/compat.h"

PG_FUNCTION_INFO_V1(tide_sql_note_rewrite);

Datum
tide_sql_note_rewrite(PG_FUNCTION_ARGS)
{
	Oid			relid;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function must be called as an event trigger")));
	relid = DatumGetObjectId(OidFunctionCall0(F_PG_EVENT_TRIGGER_TABLE_REWRITE_OID));
	(void) LogLogicalMessage_compat(TIDE_REWRITE_PREFIX, (const char *) &relid, sizeof(relid),
									true);
	PG_RETURN_NULL();
}
