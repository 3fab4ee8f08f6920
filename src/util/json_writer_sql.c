/*
 * json_writer_sql.c
 *	  tide_internal.row_json(record): the JSON writer from SQL, for tests.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "util/json_value.h"

PG_FUNCTION_INFO_V1(tide_sql_row_json);

Datum
tide_sql_row_json(PG_FUNCTION_ARGS)
{
	TideValueWriter *writer = fcinfo->flinfo->fn_extra;
	StringInfoData out;

	if (writer == NULL)
	{
		writer = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(*writer));
		tide_value_writer_init(writer, fcinfo->flinfo->fn_mcxt, RECORDOID, NULL);
		fcinfo->flinfo->fn_extra = writer;
	}
	initStringInfo(&out);
	tide_value_write(writer, &out, PG_GETARG_DATUM(0));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
