/*
 * ddl_sql.c
 *	  Event triggers: tell the ingest and the stream, through the WAL, of DDL; and of
 *	  tables whose rows are being rewritten, which decoding shows nothing of.
 */
#include "postgres.h"

#include "commands/event_trigger.h"
#include "fmgr.h"
#include "replication/message.h"
#include "utils/fmgroids.h"

#include "ingest/capture.h"
#include "ingest/ddl_message.h"
#include "util/compat.h"

PG_FUNCTION_INFO_V1(tide_sql_note_ddl);
PG_FUNCTION_INFO_V1(tide_sql_note_drop);
PG_FUNCTION_INFO_V1(tide_sql_note_rewrite);

static void
require_event_trigger(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function must be called as an event trigger")));
}

Datum
tide_sql_note_ddl(PG_FUNCTION_ARGS)
{
	require_event_trigger(fcinfo);
	tide_ddl_note_changed();
	PG_RETURN_NULL();
}

Datum
tide_sql_note_drop(PG_FUNCTION_ARGS)
{
	require_event_trigger(fcinfo);
	tide_ddl_note_dropped(GetCommandTagName(((EventTriggerData *) fcinfo->context)->tag));
	PG_RETURN_NULL();
}

Datum
tide_sql_note_rewrite(PG_FUNCTION_ARGS)
{
	Oid			relid;

	require_event_trigger(fcinfo);
	relid = DatumGetObjectId(OidFunctionCall0(F_PG_EVENT_TRIGGER_TABLE_REWRITE_OID));
	(void) LogLogicalMessage_compat(TIDE_REWRITE_PREFIX, (const char *) &relid, sizeof(relid),
									true);
	PG_RETURN_NULL();
}
