/*
 * format_sql.c
 *	  SQL functions about forms, none of which sees a secret: what an envelope is, what is signed.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "crypto/base64url.h"
#include "crypto/canonical.h"
#include "crypto/envelope.h"
#include "crypto/passphrase.h"
#include "util/errors.h"

PG_FUNCTION_INFO_V1(tide_sql_is_envelope_bytea);
PG_FUNCTION_INFO_V1(tide_sql_is_envelope_text);
PG_FUNCTION_INFO_V1(tide_sql_is_envelope_jsonb);
PG_FUNCTION_INFO_V1(tide_sql_envelope_key_id_bytea);
PG_FUNCTION_INFO_V1(tide_sql_envelope_key_id_text);
PG_FUNCTION_INFO_V1(tide_sql_is_backup);
PG_FUNCTION_INFO_V1(tide_sql_canonical_json);
PG_FUNCTION_INFO_V1(tide_sql_signed_message);

Datum
tide_sql_is_envelope_bytea(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);

	PG_RETURN_BOOL(tide_envelope_is_valid((unsigned char *) VARDATA_ANY(value),
										  VARSIZE_ANY_EXHDR(value)));
}

Datum
tide_sql_is_envelope_text(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);

	PG_RETURN_BOOL(tide_envelope_text_is_valid(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)));
}

/* a string that is one; null, which says that there is no value, passes */
Datum
tide_sql_is_envelope_jsonb(PG_FUNCTION_ARGS)
{
	Jsonb	   *value = PG_GETARG_JSONB_P(0);
	JsonbValue	scalar;

	if (!JB_ROOT_IS_SCALAR(value) || !JsonbExtractScalar(&value->root, &scalar))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(scalar.type == jbvNull ||
				   (scalar.type == jbvString &&
					tide_envelope_text_is_valid(scalar.val.string.val, scalar.val.string.len)));
}

static pg_uuid_t *
key_id(const unsigned char *envelope, size_t len)
{
	pg_uuid_t  *result = palloc(sizeof(pg_uuid_t));

	if (!tide_envelope_is_valid(envelope, len))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("value is not an encrypted one")));
	memcpy(result->data, TIDE_ENVELOPE_KEY_ID(envelope), UUID_LEN);
	return result;
}

Datum
tide_sql_envelope_key_id_bytea(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);

	PG_RETURN_UUID_P(key_id((unsigned char *) VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)));
}

Datum
tide_sql_envelope_key_id_text(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);
	Size		len = VARSIZE_ANY_EXHDR(value);
	uint8	   *bytes = palloc(len + 1);
	Size		bytes_len = 0;

	if (!tide_base64url_decode(VARDATA_ANY(value), len, bytes, len + 1, &bytes_len))
		bytes_len = 0;
	PG_RETURN_UUID_P(key_id(bytes, bytes_len));
}

Datum
tide_sql_is_backup(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);

	PG_RETURN_BOOL(tide_backup_is_valid((unsigned char *) VARDATA_ANY(value),
										VARSIZE_ANY_EXHDR(value)));
}

/* in UTF-8, so as bytes */
Datum
tide_sql_canonical_json(PG_FUNCTION_ARGS)
{
	StringInfoData out;

	initStringInfo(&out);
	tide_canonical_json(&out, PG_GETARG_JSONB_P(0), NULL);
	PG_RETURN_BYTEA_P(cstring_to_text_with_len(out.data, out.len));
}

Datum
tide_sql_signed_message(PG_FUNCTION_ARGS)
{
	StringInfoData out;

	initStringInfo(&out);
	tide_signed_message(&out, text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_JSONB_P(1));
	PG_RETURN_BYTEA_P(cstring_to_text_with_len(out.data, out.len));
}
