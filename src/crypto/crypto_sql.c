/*
 * crypto_sql.c
 *	  SQL functions of end-to-end encryption, for clients that are themselves PostgreSQL.
 *
 * Results that are secret, and copies of arguments that are, are wiped when the executor lets go of
 * them. No error says more about a secret than its length.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "crypto/base64url.h"
#include "crypto/canonical.h"
#include "crypto/device.h"
#include "crypto/envelope.h"
#include "crypto/passphrase.h"
#include "crypto/sodium.h"
#include "util/errors.h"

PG_FUNCTION_INFO_V1(tide_sql_generate_data_key);
PG_FUNCTION_INFO_V1(tide_sql_data_key_id);
PG_FUNCTION_INFO_V1(tide_sql_encrypt);
PG_FUNCTION_INFO_V1(tide_sql_decrypt);
PG_FUNCTION_INFO_V1(tide_sql_encrypt_text);
PG_FUNCTION_INFO_V1(tide_sql_decrypt_text);
PG_FUNCTION_INFO_V1(tide_sql_generate_device_secret);
PG_FUNCTION_INFO_V1(tide_sql_device_keys);
PG_FUNCTION_INFO_V1(tide_sql_seal);
PG_FUNCTION_INFO_V1(tide_sql_unseal);
PG_FUNCTION_INFO_V1(tide_sql_sign);
PG_FUNCTION_INFO_V1(tide_sql_verify_message);
PG_FUNCTION_INFO_V1(tide_sql_make_backup);
PG_FUNCTION_INFO_V1(tide_sql_open_backup);

/* the bytes of an argument */
typedef struct Bytes
{
	const unsigned char *data;
	size_t		len;
} Bytes;

/* a varlena argument; if it had to be detoasted, the copy is guarded */
static Bytes
bytes_arg(FunctionCallInfo fcinfo, int n)
{
	struct varlena *original = (struct varlena *) DatumGetPointer(PG_GETARG_DATUM(n));
	struct varlena *value = pg_detoast_datum_packed(original);
	Bytes		bytes = {(unsigned char *) VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};

	if (value != original)
		tide_secret_guard(VARDATA_ANY(value), bytes.len);
	return bytes;
}

/* one that must be of a certain length */
static const unsigned char *
fixed_arg(FunctionCallInfo fcinfo, int n, const char *name, size_t len)
{
	Bytes		bytes = bytes_arg(fcinfo, n);

	if (bytes.len != len)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("argument \"%s\" must have %zu bytes, not %zu", name, len, bytes.len)));
	return bytes.data;
}

static bytea *
new_bytea(size_t len)
{
	bytea	   *result;

	if (len > MaxAllocSize - VARHDRSZ)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value is too large to be encrypted")));
	result = palloc(VARHDRSZ + len);
	SET_VARSIZE(result, VARHDRSZ + len);
	return result;
}

static bytea *
new_secret(size_t len)
{
	bytea	   *result = new_bytea(len);

	tide_secret_guard(VARDATA(result), len);
	return result;
}

#define BYTES_OF(value)	((unsigned char *) VARDATA(value))

static void
refuse_open(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION),
			 errmsg("could not decrypt the value"),
			 errdetail("It is under another key, of another table, column or row, or damaged.")));
}

/* arguments n, n + 1 and n + 2: table, column, key */
static StringInfo
aad_args(FunctionCallInfo fcinfo, int n)
{
	StringInfo	aad = makeStringInfo();

	tide_envelope_aad(aad, text_to_cstring(PG_GETARG_TEXT_PP(n)),
					  text_to_cstring(PG_GETARG_TEXT_PP(n + 1)), PG_GETARG_JSONB_P(n + 2));
	return aad;
}

Datum
tide_sql_generate_data_key(PG_FUNCTION_ARGS)
{
	bytea	   *result = new_secret(TIDE_DATA_KEY_LEN);

	tide_sodium_start();
	tide_data_key_generate(BYTES_OF(result));
	PG_RETURN_BYTEA_P(result);
}

Datum
tide_sql_data_key_id(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *result = palloc(sizeof(pg_uuid_t));

	memcpy(result->data, fixed_arg(fcinfo, 0, "data_key", TIDE_DATA_KEY_LEN), UUID_LEN);
	PG_RETURN_UUID_P(result);
}

/* arguments: plaintext, data_key, table, column, key */
static bytea *
encrypt_args(FunctionCallInfo fcinfo)
{
	Bytes		plaintext = bytes_arg(fcinfo, 0);
	const unsigned char *data_key = fixed_arg(fcinfo, 1, "data_key", TIDE_DATA_KEY_LEN);
	StringInfo	aad = aad_args(fcinfo, 2);
	bytea	   *result = new_bytea(plaintext.len + TIDE_ENVELOPE_OVERHEAD);

	tide_sodium_start();
	tide_envelope_seal(BYTES_OF(result), plaintext.data, plaintext.len,
					   (unsigned char *) aad->data, aad->len, data_key);
	return result;
}

/* arguments: (the envelope), data_key, table, column, key */
static bytea *
decrypt_args(FunctionCallInfo fcinfo, Bytes envelope)
{
	const unsigned char *data_key = fixed_arg(fcinfo, 1, "data_key", TIDE_DATA_KEY_LEN);
	StringInfo	aad = aad_args(fcinfo, 2);
	bytea	   *result;

	tide_sodium_start();
	if (!tide_envelope_is_valid(envelope.data, envelope.len))
		refuse_open();
	result = new_secret(envelope.len - TIDE_ENVELOPE_OVERHEAD);
	if (!tide_envelope_open(BYTES_OF(result), envelope.data, envelope.len,
							(unsigned char *) aad->data, aad->len, data_key))
		refuse_open();
	return result;
}

Datum
tide_sql_encrypt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BYTEA_P(encrypt_args(fcinfo));
}

Datum
tide_sql_decrypt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BYTEA_P(decrypt_args(fcinfo, bytes_arg(fcinfo, 0)));
}

/* converting would put the text into errors and memory that is not wiped */
static void
check_encoding(void)
{
	if (GetDatabaseEncoding() != PG_UTF8)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("encrypting text needs a database of encoding UTF8"),
				 errhint("Encrypt bytea: the text in UTF-8.")));
}

Datum
tide_sql_encrypt_text(PG_FUNCTION_ARGS)
{
	bytea	   *envelope;

	check_encoding();
	envelope = encrypt_args(fcinfo);
	PG_RETURN_TEXT_P(cstring_to_text(tide_base64url_encode(BYTES_OF(envelope),
														   VARSIZE(envelope) - VARHDRSZ)));
}

Datum
tide_sql_decrypt_text(PG_FUNCTION_ARGS)
{
	Bytes		chars = bytes_arg(fcinfo, 0);
	unsigned char *bytes = palloc(chars.len + 1);
	Bytes		envelope = {bytes};
	bytea	   *plaintext;

	check_encoding();
	if (!tide_base64url_decode((const char *) chars.data, chars.len, bytes, chars.len + 1,
							   &envelope.len))
		refuse_open();
	plaintext = decrypt_args(fcinfo, envelope);
	if (!pg_verify_mbstr(PG_UTF8, VARDATA(plaintext), VARSIZE(plaintext) - VARHDRSZ, true))
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("decrypted value is not text in UTF-8"),
				 errhint("Decrypt it as bytea.")));
	PG_RETURN_TEXT_P((text *) plaintext);
}

Datum
tide_sql_generate_device_secret(PG_FUNCTION_ARGS)
{
	bytea	   *result = new_secret(TIDE_DEVICE_SECRET_LEN);

	tide_sodium_start();
	tide_device_secret_generate(BYTES_OF(result));
	PG_RETURN_BYTEA_P(result);
}

Datum
tide_sql_device_keys(PG_FUNCTION_ARGS)
{
	const unsigned char *secret = fixed_arg(fcinfo, 0, "secret", TIDE_DEVICE_SECRET_LEN);
	bytea	   *box_key = new_bytea(TIDE_PUBLIC_KEY_LEN);
	bytea	   *sign_key = new_bytea(TIDE_PUBLIC_KEY_LEN);
	Datum		values[] = {PointerGetDatum(box_key), PointerGetDatum(sign_key)};
	bool		nulls[] = {false, false};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	tide_sodium_start();
	tide_device_public_keys(BYTES_OF(box_key), BYTES_OF(sign_key), secret);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

Datum
tide_sql_seal(PG_FUNCTION_ARGS)
{
	Bytes		message = bytes_arg(fcinfo, 0);
	const unsigned char *box_key = fixed_arg(fcinfo, 1, "box_key", TIDE_PUBLIC_KEY_LEN);
	bytea	   *result = new_bytea(message.len + TIDE_SEAL_OVERHEAD);

	tide_sodium_start();
	if (!tide_device_seal(BYTES_OF(result), message.data, message.len, box_key))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("argument \"%s\" is not a public key", "box_key")));
	PG_RETURN_BYTEA_P(result);
}

Datum
tide_sql_unseal(PG_FUNCTION_ARGS)
{
	Bytes		box = bytes_arg(fcinfo, 0);
	const unsigned char *secret = fixed_arg(fcinfo, 1, "secret", TIDE_DEVICE_SECRET_LEN);
	bytea	   *result;

	tide_sodium_start();
	result = new_secret(box.len > TIDE_SEAL_OVERHEAD ? box.len - TIDE_SEAL_OVERHEAD : 0);
	if (!tide_device_unseal(BYTES_OF(result), box.data, box.len, secret))
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION),
				 errmsg("could not open what was sealed"),
				 errdetail("It is sealed for another device, or damaged.")));
	PG_RETURN_BYTEA_P(result);
}

Datum
tide_sql_sign(PG_FUNCTION_ARGS)
{
	Bytes		message = bytes_arg(fcinfo, 0);
	const unsigned char *secret = fixed_arg(fcinfo, 1, "secret", TIDE_DEVICE_SECRET_LEN);
	bytea	   *result = new_bytea(TIDE_SIGNATURE_LEN);

	tide_sodium_start();
	tide_device_sign(BYTES_OF(result), message.data, message.len, secret);
	PG_RETURN_BYTEA_P(result);
}

/* a signature or a key of another length is just not valid: CHECK constraints call this */
Datum
tide_sql_verify_message(PG_FUNCTION_ARGS)
{
	Bytes		message = bytes_arg(fcinfo, 0);
	Bytes		signature = bytes_arg(fcinfo, 1);
	Bytes		sign_key = bytes_arg(fcinfo, 2);

	tide_sodium_start();
	PG_RETURN_BOOL(signature.len == TIDE_SIGNATURE_LEN && sign_key.len == TIDE_PUBLIC_KEY_LEN &&
				   tide_signature_is_valid(signature.data, message.data, message.len,
										   sign_key.data));
}

static void
check_backup_result(TideBackupResult result)
{
	switch (result)
	{
		case TIDE_BACKUP_OK:
			break;
		case TIDE_BACKUP_BAD:
			ereport(ERROR,
					(errcode(TIDE_ERRCODE_BAD_REQUEST),
					 errmsg("not a backup, or limits out of bounds"),
					 errdetail("opslimit is %d to %d, memlimit " UINT64_FORMAT " to " UINT64_FORMAT " bytes.",
							   TIDE_BACKUP_MIN_OPSLIMIT, TIDE_BACKUP_MAX_OPSLIMIT,
							   (uint64) TIDE_BACKUP_MIN_MEMLIMIT,
							   (uint64) TIDE_BACKUP_MAX_MEMLIMIT)));
			break;
		case TIDE_BACKUP_NO_MEMORY:
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory"),
					 errdetail("Argon2id could not get as much as memlimit says.")));
			break;
		case TIDE_BACKUP_WRONG:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PASSWORD),
					 errmsg("could not open the backup: the passphrase is wrong, or the backup is damaged")));
			break;
	}
}

Datum
tide_sql_make_backup(PG_FUNCTION_ARGS)
{
	const unsigned char *secret = fixed_arg(fcinfo, 0, "secret", TIDE_DEVICE_SECRET_LEN);
	Bytes		passphrase = bytes_arg(fcinfo, 1);
	int32		opslimit = PG_GETARG_INT32(2);
	int64		memlimit = PG_GETARG_INT64(3);
	bytea	   *result = new_bytea(TIDE_BACKUP_LEN);

	tide_sodium_start();
	check_backup_result(tide_backup_make(BYTES_OF(result), secret, (const char *) passphrase.data,
										 passphrase.len, Max(opslimit, 0), Max(memlimit, 0)));
	PG_RETURN_BYTEA_P(result);
}

Datum
tide_sql_open_backup(PG_FUNCTION_ARGS)
{
	Bytes		backup = bytes_arg(fcinfo, 0);
	Bytes		passphrase = bytes_arg(fcinfo, 1);
	bytea	   *result = new_secret(TIDE_DEVICE_SECRET_LEN);

	tide_sodium_start();
	check_backup_result(tide_backup_open(BYTES_OF(result), backup.data, backup.len,
										 (const char *) passphrase.data, passphrase.len));
	PG_RETURN_BYTEA_P(result);
}
