/*
 * clock_key.c
 *	  Hashes by which clocks of rows and values are found.
 *
 * Two rows of one table whose hashes are the same would forget each other's clocks,
 * hence 128 bits. A clock also counts only for the value whose hash it has.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/typcache.h"

#include "store/clock_key.h"
#include "util/compat.h"

static uint64 hash_content(Form_pg_attribute att, Datum value, uint64 seed);

void
tide_clock_key_add(pg_uuid_t *key, Form_pg_attribute att, Datum value)
{
	TypeCacheEntry *type = lookup_type_cache(att->atttypid,
											 TYPECACHE_HASH_EXTENDED_PROC_FINFO);
	uint64		parts[2];

	memcpy(parts, key->data, UUID_LEN);
	for (int i = 0; i < 2; i++)
	{
		uint64		seed = i == 0 ? parts[0] : ~parts[1];

		if (OidIsValid(type->hash_extended_proc_finfo.fn_oid))
			parts[i] = DatumGetUInt64(FunctionCall2Coll(&type->hash_extended_proc_finfo,
														att->attcollation, value,
														UInt64GetDatum(seed | 1)));
		else
			parts[i] = hash_content(att, value, seed | 1);
	}
	memcpy(key->data, parts, UUID_LEN);
}

int64
tide_clock_value_hash(Form_pg_attribute att, Datum value, bool isnull)
{
	return isnull ? 0 : (int64) hash_content(att, value, 1);
}

static uint64
hash_content(Form_pg_attribute att, Datum value, uint64 seed)
{
	struct varlena *flat;
	uint64		result;

	if (att->attbyval)
		return hash_bytes_extended((unsigned char *) &value, sizeof(Datum), seed);
	if (att->attlen != -1)
		return hash_bytes_extended((unsigned char *) DatumGetPointer(value),
								   att->attlen > 0 ? att->attlen :
								   strlen(DatumGetCString(value)), seed);
	flat = PG_DETOAST_DATUM_PACKED(value);
	result = hash_bytes_extended((unsigned char *) VARDATA_ANY(flat),
								 VARSIZE_ANY_EXHDR(flat), seed);
	if ((Pointer) flat != DatumGetPointer(value))
		pfree(flat);
	return result;
}
