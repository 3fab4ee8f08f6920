/*
 * auth_sql.c
 *	  SQL functions of auth/: unpack, check, call.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "auth/jwt_key.h"
#include "auth/session.h"
#include "auth/token.h"
#include "util/compat.h"
#include "util/errors.h"

PG_FUNCTION_INFO_V1(tide_sql_add_jwt_key);
PG_FUNCTION_INFO_V1(tide_sql_drop_jwt_key);
PG_FUNCTION_INFO_V1(tide_sql_claim);
PG_FUNCTION_INFO_V1(tide_sql_token_claims);
PG_FUNCTION_INFO_V1(tide_sql_verify_signature);

static TideJwsBytes
bytes_of(bytea *value)
{
	return tide_jws_bytes((const uint8 *) VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

Datum
tide_sql_add_jwt_key(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"kid", "algorithm", "key"};
	TimestampTz expires_at;

	for (int i = 0; i < lengthof(names); i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"%s\" must not be null", names[i]),
					 errhidestmt(true)));
	}
	expires_at = PG_ARGISNULL(3) ? 0 : PG_GETARG_TIMESTAMPTZ(3);
	tide_jwt_key_add(text_to_cstring(PG_GETARG_TEXT_PP(0)),
					 text_to_cstring(PG_GETARG_TEXT_PP(1)),
					 bytes_of(PG_GETARG_BYTEA_PP(2)),
					 PG_ARGISNULL(3) ? NULL : &expires_at);
	PG_RETURN_VOID();
}

Datum
tide_sql_drop_jwt_key(PG_FUNCTION_ARGS)
{
	tide_jwt_key_drop(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

Datum
tide_sql_claim(PG_FUNCTION_ARGS)
{
	text	   *claim = tide_session_claim(PG_GETARG_TEXT_PP(0));

	if (claim == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(claim);
}

/* a token's claims as of a moment, as a request would get them */
Datum
tide_sql_token_claims(PG_FUNCTION_ARGS)
{
	text	   *token = PG_GETARG_TEXT_PP(0);

	PG_RETURN_JSONB_P(tide_token_claims(VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token),
										PG_GETARG_TIMESTAMPTZ(1)));
}

/* whether a signature fits a key as tide.add_jwt_key() takes it */
Datum
tide_sql_verify_signature(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	TideJwsAlgorithm algorithm;
	TideJwsKey	key;

	if (!tide_jws_algorithm(name, &algorithm))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("unrecognized algorithm \"%s\"", name)));
	key = tide_jwt_key_read(NULL, algorithm, bytes_of(PG_GETARG_BYTEA_PP(1)));
	PG_RETURN_BOOL(tide_jws_verify(algorithm, tide_jws_bytes(key.data, key.len),
								   bytes_of(PG_GETARG_BYTEA_PP(2)),
								   bytes_of(PG_GETARG_BYTEA_PP(3))));
}
