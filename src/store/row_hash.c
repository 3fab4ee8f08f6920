/*
 * row_hash.c
 *	  What tells rows apart that have no key: a keyed hash of their content.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "fmgr.h"

#include "store/row_hash.h"
#include "util/compat.h"

static void
add_bytes(pg_hmac_ctx *hmac, const void *data, Size len)
{
	if (pg_hmac_update(hmac, data, len) < 0)
		elog(ERROR, "could not hash a row: %s", pg_hmac_error(hmac));
}

/* length, -1 for null, then content: no two rows give the same bytes */
static void
add_value(pg_hmac_ctx *hmac, Form_pg_attribute att, Datum value, bool isnull)
{
	struct varlena *flat = NULL;
	const void *data = &value;
	int64		len = sizeof(Datum);

	if (isnull)
		len = -1;
	else if (att->attlen == -1)
	{
		flat = PG_DETOAST_DATUM_PACKED(value);
		data = VARDATA_ANY(flat);
		len = VARSIZE_ANY_EXHDR(flat);
	}
	else if (!att->attbyval)
	{
		data = DatumGetPointer(value);
		len = att->attlen > 0 ? att->attlen : strlen(data);
	}
	add_bytes(hmac, &len, sizeof(len));
	if (!isnull)
		add_bytes(hmac, data, len);
	if (flat != NULL && (Pointer) flat != DatumGetPointer(value))
		pfree(flat);
}

void
tide_row_hash(const pg_uuid_t *secret, TupleDesc desc, int first, int n,
			  const Datum *values, const bool *nulls, pg_uuid_t *hash)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	pg_hmac_ctx *hmac = pg_hmac_create(PG_SHA256);

	if (hmac == NULL || pg_hmac_init(hmac, secret->data, UUID_LEN) < 0)
		elog(ERROR, "could not begin to hash a row");
	for (int i = 0; i < n; i++)
		add_value(hmac, TupleDescAttr(desc, first + i), values[i], nulls[i]);
	if (pg_hmac_final(hmac, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not hash a row: %s", pg_hmac_error(hmac));
	pg_hmac_free(hmac);
	memcpy(hash->data, digest, UUID_LEN);
}
