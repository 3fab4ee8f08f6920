/*
 * epoch.c
 *	  Names of a database's histories.
 *
 *	bytes 0 to 7	the same in all epochs of a database, but for the version (upper half
 *					of byte 6): 4 in the first one, which is gen_random_uuid()'s, 8 later
 *	byte 8 to 11	the variant and random bits: servers that part have different ones
 *	byte 12 to 15	when it began, in seconds since 1970; but in the first one
 */
#include "postgres.h"

#include <time.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "port/pg_bswap.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "store/epoch.h"
#include "util/meta_table.h"

#define DATABASE_BYTES	8
#define VERSION_BYTE	6
#define VARIANT_BYTE	8
#define TIME_BYTE		12
#define FIRST_VERSION	0x40
#define LATER_VERSION	0x80

/* seconds since 1970; 0: it is a database's first */
static uint32
began_at(const pg_uuid_t *epoch)
{
	uint32		seconds;

	if ((epoch->data[VERSION_BYTE] & 0xf0) != LATER_VERSION)
		return 0;
	memcpy(&seconds, &epoch->data[TIME_BYTE], sizeof(seconds));
	return pg_ntoh32(seconds);
}

TimestampTz
tide_epoch_began_at(const pg_uuid_t *epoch)
{
	uint32		seconds = began_at(epoch);

	return seconds == 0 ? 0 : time_t_to_timestamptz((pg_time_t) seconds);
}

void
tide_epoch_next(const pg_uuid_t *was, pg_uuid_t *result)
{
	uint32		seconds = pg_hton32(Max((uint32) time(NULL), began_at(was) + 1));

	memcpy(result->data, was->data, DATABASE_BYTES);
	result->data[VERSION_BYTE] = (was->data[VERSION_BYTE] & 0x0f) | LATER_VERSION;
	if (!pg_strong_random(&result->data[VARIANT_BYTE], TIME_BYTE - VARIANT_BYTE))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	result->data[VARIANT_BYTE] = (result->data[VARIANT_BYTE] & 0x3f) | 0x80;
	memcpy(&result->data[TIME_BYTE], &seconds, sizeof(seconds));
}

bool
tide_epoch_is_later(const pg_uuid_t *epoch, const pg_uuid_t *than)
{
	for (int i = 0; i < DATABASE_BYTES; i++)
	{
		uint8		mask = i == VERSION_BYTE ? 0x0f : 0xff;

		if ((epoch->data[i] & mask) != (than->data[i] & mask))
			return false;
	}
	return began_at(epoch) > began_at(than);
}

bool
tide_epoch_find(const pg_uuid_t *epoch, int64 *last_op_id)
{
	Relation	rel = tide_meta_open("epochs", AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(epoch));
	scan = systable_beginscan(rel, tide_meta_relid("epochs_pkey"), true, GetActiveSnapshot(),
							  1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		*last_op_id = DatumGetInt64(heap_getattr(tuple, 2, RelationGetDescr(rel), &isnull));
	isnull = !HeapTupleIsValid(tuple);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return !isnull;
}
