/*
 * pull_sql.c
 *	  SQL entry points of pull/.
 */
#include "postgres.h"

#include "fmgr.h"

#include "auth/claims.h"
#include "pull/pull.h"
#include "util/compat.h"

PG_FUNCTION_INFO_V1(tide_sql_pull);

Datum
tide_sql_pull(PG_FUNCTION_ARGS)
{
	Jsonb	   *request = PG_GETARG_JSONB_P(0);
	ErrorContextCallback hide;
	text	   *answer;

	tide_hide_token_begin(&hide, request);
	answer = tide_pull(request);
	tide_hide_token_end(&hide);
	PG_RETURN_TEXT_P(answer);
}
