/*
 * push_sql.c
 *	  SQL functions of the push: unpack, check, call.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "auth/claims.h"
#include "push/conflict_policy.h"
#include "push/mutator.h"
#include "push/push.h"
#include "push/writable.h"

PG_FUNCTION_INFO_V1(tide_sql_push);
PG_FUNCTION_INFO_V1(tide_sql_allow_writes);
PG_FUNCTION_INFO_V1(tide_sql_disallow_writes);
PG_FUNCTION_INFO_V1(tide_sql_set_conflict_policy);
PG_FUNCTION_INFO_V1(tide_sql_create_mutator);
PG_FUNCTION_INFO_V1(tide_sql_drop_mutator);
PG_FUNCTION_INFO_V1(tide_sql_current_client);
PG_FUNCTION_INFO_V1(tide_sql_current_mutation);

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

/* column NULL: the table; policy NULL: none of its own */
Datum
tide_sql_set_conflict_policy(PG_FUNCTION_ARGS)
{
	check_argument(fcinfo, 0, "table");
	tide_conflict_policy_set(PG_GETARG_OID(0),
							 PG_ARGISNULL(1) ? NULL : NameStr(*PG_GETARG_NAME(1)),
							 PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)),
							 PG_ARGISNULL(3) ? InvalidOid : PG_GETARG_OID(3));
	PG_RETURN_VOID();
}

Datum
tide_sql_create_mutator(PG_FUNCTION_ARGS)
{
	check_argument(fcinfo, 0, "name");
	check_argument(fcinfo, 1, "function");
	tide_mutator_create(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_OID(1));
	PG_RETURN_VOID();
}

Datum
tide_sql_drop_mutator(PG_FUNCTION_ARGS)
{
	check_argument(fcinfo, 0, "name");
	tide_mutator_drop(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

Datum
tide_sql_current_client(PG_FUNCTION_ARGS)
{
	int64		id;
	const pg_uuid_t *client = tide_push_current(&id);
	pg_uuid_t  *result;

	if (client == NULL)
		PG_RETURN_NULL();
	result = palloc(sizeof(pg_uuid_t));
	*result = *client;
	PG_RETURN_UUID_P(result);
}

Datum
tide_sql_current_mutation(PG_FUNCTION_ARGS)
{
	int64		id;

	if (tide_push_current(&id) == NULL)
		PG_RETURN_NULL();
	PG_RETURN_INT64(id);
}

static void
check_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name)));
}
