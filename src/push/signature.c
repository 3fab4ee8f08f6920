/*
 * signature.c
 *	  Signatures of mutations by the devices of their users.
 *
 * What is signed is the mutation as it was sent, whatever is in it, with the client's id: so it cannot
 * be another client's, nor be applied twice. doc/encryption.md has the form.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "auth/claims.h"
#include "crypto/canonical.h"
#include "crypto/device.h"
#include "crypto/sodium.h"
#include "push/signature.h"
#include "util/errors.h"
#include "util/spi.h"

/* of its two members; false if they are not there */
typedef struct Signature
{
	pg_uuid_t	device;
	unsigned char value[TIDE_SIGNATURE_LEN];
} Signature;

static void
refuse_signature(const TideMutation *mutation, const char *cause)
{
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_AUTH),
			 errmsg("signature of mutation " INT64_FORMAT " is missing or not valid", mutation->id),
			 errdetail_log("%s", cause)));
}

/* lower-case hexadecimal digits to exactly len bytes */
static bool
read_hex(unsigned char *out, size_t len, const JsonbValue *text)
{
	static const char digits[] = "0123456789abcdef";

	if (text->val.string.len != 2 * len)
		return false;
	for (size_t i = 0; i < 2 * len; i++)
	{
		char		c = text->val.string.val[i];
		const char *digit = c != '\0' ? strchr(digits, c) : NULL;

		if (digit == NULL)
			return false;
		out[i / 2] = (i % 2 == 0 ? 0 : out[i / 2] << 4) | (unsigned char) (digit - digits);
	}
	return true;
}

/* the canonical form of a uuid */
static bool
read_uuid(pg_uuid_t *uuid, const JsonbValue *text)
{
	char		digits[2 * UUID_LEN];
	JsonbValue	packed = {.type = jbvString,.val.string = {sizeof(digits), digits}};
	int			n = 0;

	if (text->val.string.len != sizeof(digits) + 4)
		return false;
	for (int i = 0; i < text->val.string.len; i++)
	{
		char		c = text->val.string.val[i];

		if (i == 8 || i == 13 || i == 18 || i == 23)
		{
			if (c != '-')
				return false;
		}
		else
			digits[n++] = c;
	}
	return read_hex(uuid->data, UUID_LEN, &packed);
}

static bool
string_member(Jsonb *object, const char *name, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(&object->root, name, strlen(name), value) != NULL &&
		value->type == jbvString;
}

/* {"device": uuid, "value": 128 hexadecimal digits} and nothing else */
static bool
read_signature(Jsonb *object, Signature *signature)
{
	JsonbValue	value;

	return JB_ROOT_COUNT(object) == 2 &&
		string_member(object, "device", &value) && read_uuid(&signature->device, &value) &&
		string_member(object, "value", &value) &&
		read_hex(signature->value, sizeof(signature->value), &value);
}

/* the sign key of a device of subject, in the current context, or NULL */
static bytea *
device_sign_key(const pg_uuid_t *device, const char *subject)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, TEXTOID};
	Datum		values[] = {UUIDPGetDatum(device), CStringGetTextDatum(subject)};
	MemoryContext context = CurrentMemoryContext;
	bytea	   *result = NULL;
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(&plan,
				 "SELECT sign_key FROM tide.devices WHERE device_id = $1 AND subject = $2"
				 " AND revoked_at IS NULL",
				 lengthof(types), types, values, NULL, false, 1);
	if (SPI_processed > 0)
	{
		bool		isnull;
		Datum		key = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext old = MemoryContextSwitchTo(context);

		result = DatumGetByteaPCopy(key);
		MemoryContextSwitchTo(old);
	}
	tide_spi_end(&frame);
	return result;
}

/* "tide.mutation.v1", newline, {"client": uuid, "mutation": all of it but the signature} */
static void
append_message(StringInfo out, const pg_uuid_t *client, const TideMutation *mutation)
{
	char	   *id = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(client)));

	appendStringInfo(out, "tide.mutation.v1\n{\"client\":\"%s\",\"mutation\":", id);
	tide_canonical_json(out, mutation->sent, "signature");
	appendStringInfoChar(out, '}');
}

void
tide_signature_check(const pg_uuid_t *client, Jsonb *claims, const TideMutation *mutation)
{
	char	   *subject = tide_claims_subject(claims);
	StringInfoData message;
	Signature	signature;
	bytea	   *key;

	if (mutation->signature == NULL)
		refuse_signature(mutation, "There is none.");
	if (subject == NULL)
		refuse_signature(mutation, "The request has no claim \"sub\".");
	if (!read_signature(mutation->signature, &signature))
		refuse_signature(mutation, "It is malformed.");
	key = device_sign_key(&signature.device, subject);
	if (key == NULL || VARSIZE_ANY_EXHDR(key) != TIDE_PUBLIC_KEY_LEN)
		refuse_signature(mutation, "The device is not registered for the user, or is revoked.");

	initStringInfo(&message);
	append_message(&message, client, mutation);
	tide_sodium_start();
	if (!tide_signature_is_valid(signature.value, (unsigned char *) message.data, message.len,
								 (unsigned char *) VARDATA_ANY(key)))
		refuse_signature(mutation, "It is of another mutation, client or device.");
}

void
tide_signature_keep(const pg_uuid_t *client, const TideMutation *mutation, Relation rel)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, INT8OID, TEXTOID, JSONBOID, JSONBOID};
	char	   *table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												   RelationGetRelationName(rel));
	Datum		values[] = {UUIDPGetDatum(client), Int64GetDatum(mutation->id),
	CStringGetTextDatum(table), JsonbPGetDatum(mutation->key), JsonbPGetDatum(mutation->sent)};
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(&plan,
				 "INSERT INTO tide.signed_mutations"
				 " (client_id, mutation_id, \"table\", key, device_id, mutation)"
				 " VALUES ($1, $2, $3, $4, ($5 -> 'signature' ->> 'device')::uuid, $5)",
				 lengthof(types), types, values, NULL, false, 0);
	tide_spi_end(&frame);
}
