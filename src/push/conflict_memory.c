/*
 * conflict_memory.c
 *	  The tables in which pushes remember clocks and set elements.
 *
 * tide_internal.row_clocks and set_elements are written here only; server_clocks and
 * server_clock_marks belong to the ingest and are only read. No locks are taken for them:
 * who writes a row's memory has the row locked, or has just made it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "push/conflict_memory.h"
#include "push/set_commit.h"
#include "util/guc.h"
#include "util/spi.h"

#define PRUNED_AT_ONCE	"8"

static TideNotedClock *read_clock(HeapTuple row, TupleDesc desc);
static Datum uuid_array(const List *ids);

List *
tide_clocks_read(Oid relid, const pg_uuid_t *key_id, MemoryContext context)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID, UUIDOID};
	Datum		values[] = {ObjectIdGetDatum(relid), UUIDPGetDatum(key_id)};
	List	   *clocks = NIL;
	MemoryContext old;

	tide_spi_run(&plan,
				 "SELECT attnum, false, hash, hlc, vclock, client_id, xid, lsn, at"
				 " FROM tide_internal.row_clocks WHERE relid = $1 AND key_id = $2"
				 " UNION ALL"
				 " SELECT attnum, true, hash, NULL, NULL, NULL, xid, lsn, at"
				 " FROM tide_internal.server_clocks WHERE relid = $1 AND key_id = $2",
				 lengthof(types), types, values, NULL, false, 0);
	old = MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < SPI_processed; i++)
		clocks = lappend(clocks, read_clock(SPI_tuptable->vals[i], SPI_tuptable->tupdesc));
	MemoryContextSwitchTo(old);
	SPI_freetuptable(SPI_tuptable);
	return clocks;
}

static TideNotedClock *
read_clock(HeapTuple row, TupleDesc desc)
{
	TideNotedClock *clock = palloc0(sizeof(TideNotedClock));
	bool		isnull;
	Datum		value;

	clock->attnum = DatumGetInt16(SPI_getbinval(row, desc, 1, &isnull));
	clock->by_ingest = DatumGetBool(SPI_getbinval(row, desc, 2, &isnull));
	clock->hash = DatumGetInt64(SPI_getbinval(row, desc, 3, &isnull));
	clock->hlc = SPI_getvalue(row, desc, 4);
	value = SPI_getbinval(row, desc, 5, &isnull);
	clock->vclock = isnull ? NULL : DatumGetJsonbPCopy(value);
	value = SPI_getbinval(row, desc, 6, &isnull);
	clock->has_client = !isnull;
	if (!isnull)
		clock->client = *DatumGetUUIDP(value);
	clock->xid = DatumGetTransactionId(SPI_getbinval(row, desc, 7, &isnull));
	clock->lsn = DatumGetLSN(SPI_getbinval(row, desc, 8, &isnull));
	clock->at = DatumGetTimestampTz(SPI_getbinval(row, desc, 9, &isnull));
	return clock;
}

FullTransactionId
tide_clock_mark_read(void)
{
	static SPIPlanPtr plan = NULL;
	bool		isnull;

	tide_spi_run(&plan, "SELECT xid FROM tide_internal.server_clock_marks",
				 0, NULL, NULL, NULL, false, 1);
	if (SPI_processed == 0)
		return InvalidFullTransactionId;
	return DatumGetFullTransactionId(SPI_getbinval(SPI_tuptable->vals[0],
												   SPI_tuptable->tupdesc, 1, &isnull));
}

void
tide_clock_store(Oid relid, const pg_uuid_t *key_id, const TideNotedClock *clock)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {
		OIDOID, UUIDOID, INT2OID, INT8OID, TEXTOID, JSONBOID, UUIDOID, XIDOID, LSNOID
	};
	char		nulls[] = "         ";
	Datum		values[] = {
		ObjectIdGetDatum(relid),
		UUIDPGetDatum(key_id),
		Int16GetDatum(clock->attnum),
		Int64GetDatum(clock->hash),
		clock->hlc ? CStringGetTextDatum(clock->hlc) : (Datum) 0,
		clock->vclock ? JsonbPGetDatum(clock->vclock) : (Datum) 0,
		UUIDPGetDatum(&clock->client),
		TransactionIdGetDatum(clock->xid),
		LSNGetDatum(clock->lsn)
	};

	if (clock->hlc == NULL)
		nulls[4] = 'n';
	if (clock->vclock == NULL)
		nulls[5] = 'n';
	if (!clock->has_client)
		nulls[6] = 'n';
	tide_spi_run(&plan,
				 "INSERT INTO tide_internal.row_clocks AS c"
				 " (relid, key_id, attnum, hash, hlc, vclock, client_id, xid, lsn, at)"
				 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, pg_catalog.clock_timestamp())"
				 " ON CONFLICT (relid, key_id, attnum) DO UPDATE SET hash = excluded.hash,"
				 " hlc = CASE WHEN excluded.attnum > 0 THEN excluded.hlc"
				 " ELSE GREATEST(excluded.hlc COLLATE \"C\", c.hlc) END,"
				 " vclock = excluded.vclock,"
				 " client_id = excluded.client_id, xid = excluded.xid,"
				 " lsn = excluded.lsn, at = excluded.at",
				 lengthof(types), types, values, nulls, false, 0);
}

void
tide_row_forget(Oid relid, const pg_uuid_t *key_id)
{
	static SPIPlanPtr clocks_plan = NULL;
	static SPIPlanPtr sets_plan = NULL;
	static const Oid types[] = {OIDOID, UUIDOID};
	Datum		values[] = {ObjectIdGetDatum(relid), UUIDPGetDatum(key_id)};

	tide_spi_run(&clocks_plan,
				 "DELETE FROM tide_internal.row_clocks"
				 " WHERE relid = $1 AND key_id = $2 AND attnum > 0",
				 lengthof(types), types, values, NULL, false, 0);
	tide_spi_run(&sets_plan,
				 "DELETE FROM tide_internal.set_elements WHERE relid = $1 AND key_id = $2",
				 lengthof(types), types, values, NULL, false, 0);
}

void
tide_tombstone_forget(Oid relid, const pg_uuid_t *key_id)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID, UUIDOID};
	Datum		values[] = {ObjectIdGetDatum(relid), UUIDPGetDatum(key_id)};

	tide_spi_run(&plan,
				 "DELETE FROM tide_internal.row_clocks"
				 " WHERE relid = $1 AND key_id = $2 AND attnum = 0",
				 lengthof(types), types, values, NULL, false, 0);
}

void
tide_tombstones_prune(void)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {TIMESTAMPTZOID};
	Datum		values[1];

	if (tide_removed_retention < 0)
		return;
	values[0] = TimestampTzGetDatum(GetCurrentTimestamp() -
									tide_removed_retention * USECS_PER_SEC);
	tide_spi_run(&plan,
				 "DELETE FROM tide_internal.row_clocks WHERE ctid = ANY (ARRAY("
				 "SELECT c.ctid FROM tide_internal.row_clocks c"
				 " WHERE c.attnum = 0 AND c.at < $1 ORDER BY c.at LIMIT " PRUNED_AT_ONCE
				 " FOR UPDATE SKIP LOCKED))",
				 lengthof(types), types, values, NULL, false, 0);
}

void
tide_set_note(Oid relid, const pg_uuid_t *key_id, AttrNumber attnum, const List *ids,
			  const pg_uuid_t *client, XLogRecPtr lsn)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID, UUIDOID, INT2OID, UUIDARRAYOID, UUIDOID, LSNOID};
	Datum		values[] = {
		ObjectIdGetDatum(relid), UUIDPGetDatum(key_id), Int16GetDatum(attnum),
		uuid_array(ids), UUIDPGetDatum(client), LSNGetDatum(lsn)
	};

	if (ids == NIL)
		return;
	tide_set_commit_later(client, lsn);
	tide_spi_run(&plan,
				 "INSERT INTO tide_internal.set_elements AS s"
				 " (relid, key_id, attnum, element_id, client_id, lsn)"
				 " SELECT DISTINCT $1, $2, $3, e, $5, $6 FROM pg_catalog.unnest($4) e"
				 " ON CONFLICT (relid, key_id, attnum, element_id, client_id)"
				 " DO UPDATE SET lsn = excluded.lsn",
				 lengthof(types), types, values, NULL, false, 0);
}

void
tide_set_forget(Oid relid, const pg_uuid_t *key_id, AttrNumber attnum, const List *ids)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID, UUIDOID, INT2OID, UUIDARRAYOID};
	Datum		values[] = {
		ObjectIdGetDatum(relid), UUIDPGetDatum(key_id), Int16GetDatum(attnum), uuid_array(ids)
	};

	if (ids == NIL)
		return;
	tide_spi_run(&plan,
				 "DELETE FROM tide_internal.set_elements WHERE relid = $1 AND key_id = $2"
				 " AND attnum = $3 AND element_id = ANY ($4)",
				 lengthof(types), types, values, NULL, false, 0);
}

List *
tide_set_unseen(Oid relid, const pg_uuid_t *key_id, AttrNumber attnum, const List *ids,
				const pg_uuid_t *client, XLogRecPtr seen, MemoryContext context)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID, UUIDOID, INT2OID, UUIDARRAYOID, UUIDOID, LSNOID};
	Datum		values[] = {
		ObjectIdGetDatum(relid), UUIDPGetDatum(key_id), Int16GetDatum(attnum),
		uuid_array(ids), UUIDPGetDatum(client), LSNGetDatum(seen)
	};
	List	   *unseen = NIL;
	MemoryContext old;

	tide_spi_run(&plan,
				 "SELECT DISTINCT element_id FROM tide_internal.set_elements"
				 " WHERE relid = $1 AND key_id = $2 AND attnum = $3 AND element_id = ANY ($4)"
				 " AND client_id <> $5 AND lsn > $6",
				 lengthof(types), types, values, NULL, false, 0);
	old = MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
		bool		isnull;

		*id = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
										   1, &isnull));
		unseen = lappend(unseen, id);
	}
	MemoryContextSwitchTo(old);
	return unseen;
}

static Datum
uuid_array(const List *ids)
{
	Datum	   *values = palloc(sizeof(Datum) * Max(list_length(ids), 1));
	ListCell   *lc;

	foreach(lc, ids)
		values[foreach_current_index(lc)] = UUIDPGetDatum(lfirst(lc));
	return PointerGetDatum(construct_array(values, list_length(ids), UUIDOID, UUID_LEN,
										   false, TYPALIGN_CHAR));
}
