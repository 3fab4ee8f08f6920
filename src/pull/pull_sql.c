/*
 * pull_sql.c
 *	  SQL entry points of pull/.
 */
#include "postgres.h"

#include "fmgr.h"

#include "pull/pull.h"
#include "util/compat.h"

PG_FUNCTION_INFO_V1(tide_sql_pull);

Datum
tide_sql_pull(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(tide_pull(PG_GETARG_JSONB_P(0)));
}
