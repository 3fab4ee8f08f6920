/*
 * push_sql.c
 *	  SQL functions of the push: unpack, check, call.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "auth/claims.h"
#include "push/push.h"
#include "push/writable.h"

PG_FUNCTION_INFO_V1(tide_sql_push);
PG_FUNCTION_INFO_V1(tide_sql_allow_writes);
PG_FUNCTION_INFO_V1(tide_sql_disallow_writes);

static void check_argument(FunctionCallInfo fcinfo, int n, const char *name);

Datum
tide_sql_push(PG_FUNCTION_ARGS)
{
	Jsonb	   *request;
	ErrorContextCallback hide;
	text	   *answer;

	check_argument(fcinfo, 0, "request");
	request = PG_GETARG_JSONB_P(0);
	tide_hide_token_begin(&hide, request);
	answer = tide_push(request);
	tide_hide_token_end(&hide);
	PG_RETURN_TEXT_P(answer);
}

Datum
tide_sql_allow_writes(PG_FUNCTION_ARGS)
{
	check_argument(fcinfo, 0, "table");
	check_argument(fcinfo, 1, "conflict");
	tide_writable_allow(PG_GETARG_OID(0), text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_VOID();
}

Datum
tide_sql_disallow_writes(PG_FUNCTION_ARGS)
{
	check_argument(fcinfo, 0, "table");
	tide_writable_disallow(PG_GETARG_OID(0));
	PG_RETURN_VOID();
}

static void
check_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name)));
}
