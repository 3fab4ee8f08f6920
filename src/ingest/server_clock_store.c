/*
 * server_clock_store.c
 *	  Storing the clocks that a batch has noted.
 *
 * tide_internal.server_clock_marks says which transactions have been looked at: those
 * before a snapshot's xmin, as soon as everything up to the WAL's end at the time of the
 * snapshot has been read. It may lag behind.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "ingest/batch.h"
#include "ingest/server_clock.h"
#include "util/guc.h"
#include "util/spi.h"

#define STORED_AT_ONCE		2000
#define PRUNED_AT_ONCE		"1000"

static const struct
{
	Oid			type;
	Oid			array_type;
	int			len;
	bool		byval;
	char		align;
}			fields[CLOCK_NFIELDS] = {
	[CLOCK_RELID] = {OIDOID, OIDARRAYOID, sizeof(Oid), true, TYPALIGN_INT},
	[CLOCK_KEY] = {UUIDOID, UUIDARRAYOID, UUID_LEN, false, TYPALIGN_CHAR},
	[CLOCK_ATTNUM] = {INT2OID, INT2ARRAYOID, sizeof(int16), true, TYPALIGN_SHORT},
	[CLOCK_HASH] = {INT8OID, INT8ARRAYOID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE},
	[CLOCK_XID] = {XIDOID, XIDARRAYOID, sizeof(TransactionId), true, TYPALIGN_INT},
	[CLOCK_LSN] = {LSNOID, PG_LSNARRAYOID, sizeof(XLogRecPtr), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE},
	[CLOCK_AT] = {TIMESTAMPTZOID, TIMESTAMPTZARRAYOID, sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE}
};

static void store_mark(TideIngest *in);
static HTAB *next_chunk(TideServerClocks *clocks, bool *more);
static void add_to_chunk(HTAB *chunk, TupleTableSlot *slot);
static void store_chunk(HTAB *chunk, bool has_changed);
static void forget_deleted(HTAB *chunk);
static void forget_unused(void);

void
tide_server_clocks_mark(TideServerClocks *clocks)
{
	FullTransactionId next = ReadNextFullTransactionId();
	TransactionId xmin = GetActiveSnapshot()->xmin;
	uint32		epoch = EpochFromFullTransactionId(next);

	if (xmin > XidFromFullTransactionId(next))
		epoch--;
	clocks->mark = FullTransactionIdFromEpochAndXid(epoch, xmin);
	clocks->mark_lsn = GetXLogInsertRecPtr();
}

void
tide_server_clocks_apply(TideIngest *in)
{
	TideServerClocks *clocks = in->server_clocks;
	TideSpiFrame frame;
	bool		more = true;

	if (clocks == NULL && !in->forget_clocks)
		return;
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	while (clocks != NULL && clocks->store != NULL && more)
	{
		HTAB	   *chunk = next_chunk(clocks, &more);

		store_chunk(chunk, false);
		store_chunk(chunk, true);
		forget_deleted(chunk);
		hash_destroy(chunk);
	}
	if (clocks != NULL && clocks->store != NULL)
		tuplestore_end(clocks->store);
	if (clocks != NULL)
	{
		clocks->store = NULL;
		store_mark(in);
	}
	if (in->forget_clocks)
		forget_unused();
	in->forget_clocks = false;
	tide_spi_end(&frame);
}

static void
store_mark(TideIngest *in)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {XID8OID};
	TideServerClocks *clocks = in->server_clocks;
	Datum		values[] = {FullTransactionIdGetDatum(clocks->mark)};

	if (in->batch->lsn < clocks->mark_lsn)
		return;
	tide_spi_run(&plan,
				 "INSERT INTO tide_internal.server_clock_marks AS m (xid) VALUES ($1)"
				 " ON CONFLICT (singleton) DO UPDATE SET xid = excluded.xid"
				 " WHERE m.xid <> excluded.xid",
				 lengthof(types), types, values, NULL, false, 0);
	tide_server_clocks_mark(clocks);
}

/* the next clocks in the order of commits, each column's last one */
static HTAB *
next_chunk(TideServerClocks *clocks, bool *more)
{
	HASHCTL		ctl = {.keysize = sizeof(((TideServerClock *) NULL)->id),.entrysize = sizeof(TideServerClock),
	.hcxt = CurrentMemoryContext};
	HTAB	   *chunk = hash_create("tide server clocks", STORED_AT_ONCE, &ctl,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	while (hash_get_num_entries(chunk) < STORED_AT_ONCE)
	{
		*more = tuplestore_gettupleslot(clocks->store, true, false, clocks->slot);
		if (!*more)
			break;
		add_to_chunk(chunk, clocks->slot);
	}
	ExecClearTuple(clocks->slot);
	return chunk;
}

/* a value that was written again keeps its clock */
static void
add_to_chunk(HTAB *chunk, TupleTableSlot *slot)
{
	TideServerClock next = {0};
	TideServerClock *clock;
	bool		found;

	slot_getallattrs(slot);
	next.id.relid = DatumGetObjectId(slot->tts_values[CLOCK_RELID]);
	next.id.key_id = *DatumGetUUIDP(slot->tts_values[CLOCK_KEY]);
	next.id.attnum = DatumGetInt16(slot->tts_values[CLOCK_ATTNUM]);
	next.hash = DatumGetInt64(slot->tts_values[CLOCK_HASH]);
	next.xid = DatumGetTransactionId(slot->tts_values[CLOCK_XID]);
	next.lsn = DatumGetLSN(slot->tts_values[CLOCK_LSN]);
	next.at = DatumGetTimestampTz(slot->tts_values[CLOCK_AT]);

	clock = hash_search(chunk, &next.id, HASH_ENTER, &found);
	if (found && clock->hash == next.hash && next.id.attnum != 0)
		return;
	next.has_changed = found || next.id.attnum == 0;
	*clock = next;
}

/* those that have changed, or those that have if another hash is noted */
static void
store_chunk(HTAB *chunk, bool has_changed)
{
	static SPIPlanPtr plans[2] = {NULL, NULL};
	Oid			types[CLOCK_NFIELDS];
	Datum		values[CLOCK_NFIELDS];
	Datum	   *columns[CLOCK_NFIELDS];
	HASH_SEQ_STATUS status;
	TideServerClock *clock;
	int			n = 0;

	for (int i = 0; i < CLOCK_NFIELDS; i++)
		columns[i] = palloc(sizeof(Datum) * (hash_get_num_entries(chunk) + 1));
	hash_seq_init(&status, chunk);
	while ((clock = hash_seq_search(&status)) != NULL)
	{
		if (clock->has_changed != has_changed)
			continue;
		columns[CLOCK_RELID][n] = ObjectIdGetDatum(clock->id.relid);
		columns[CLOCK_KEY][n] = UUIDPGetDatum(&clock->id.key_id);
		columns[CLOCK_ATTNUM][n] = Int16GetDatum(clock->id.attnum);
		columns[CLOCK_HASH][n] = Int64GetDatum(clock->hash);
		columns[CLOCK_XID][n] = TransactionIdGetDatum(clock->xid);
		columns[CLOCK_LSN][n] = LSNGetDatum(clock->lsn);
		columns[CLOCK_AT][n++] = TimestampTzGetDatum(clock->at);
	}
	if (n == 0)
		return;
	for (int i = 0; i < CLOCK_NFIELDS; i++)
	{
		types[i] = fields[i].array_type;
		values[i] = PointerGetDatum(construct_array(columns[i], n, fields[i].type, fields[i].len,
													fields[i].byval, fields[i].align));
	}
	tide_spi_run(&plans[has_changed],
				 has_changed ?
				 "INSERT INTO tide_internal.server_clocks AS c"
				 " SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)"
				 " ON CONFLICT (relid, key_id, attnum) DO UPDATE SET hash = excluded.hash,"
				 " xid = excluded.xid, lsn = excluded.lsn, at = excluded.at" :
				 "INSERT INTO tide_internal.server_clocks AS c"
				 " SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)"
				 " ON CONFLICT (relid, key_id, attnum) DO UPDATE SET hash = excluded.hash,"
				 " xid = excluded.xid, lsn = excluded.lsn, at = excluded.at"
				 " WHERE c.hash <> excluded.hash",
				 CLOCK_NFIELDS, types, values, NULL, false, 0);
}

/* columns of rows that are gone, and tombstones that are too old */
static void
forget_deleted(HTAB *chunk)
{
	static SPIPlanPtr columns_plan = NULL;
	static SPIPlanPtr tombstones_plan = NULL;
	static const Oid types[] = {OIDARRAYOID, UUIDARRAYOID};
	static const Oid time_types[] = {TIMESTAMPTZOID};
	Datum	   *relids = palloc(sizeof(Datum) * (hash_get_num_entries(chunk) + 1));
	Datum	   *keys = palloc(sizeof(Datum) * (hash_get_num_entries(chunk) + 1));
	Datum		values[2];
	HASH_SEQ_STATUS status;
	TideServerClock *clock;
	int			n = 0;

	hash_seq_init(&status, chunk);
	while ((clock = hash_seq_search(&status)) != NULL)
	{
		if (clock->id.attnum != 0)
			continue;
		relids[n] = ObjectIdGetDatum(clock->id.relid);
		keys[n++] = UUIDPGetDatum(&clock->id.key_id);
	}
	if (n == 0)
		return;
	values[0] = PointerGetDatum(construct_array(relids, n, OIDOID, sizeof(Oid), true,
												TYPALIGN_INT));
	values[1] = PointerGetDatum(construct_array(keys, n, UUIDOID, UUID_LEN, false,
												TYPALIGN_CHAR));
	tide_spi_run(&columns_plan,
				 "DELETE FROM tide_internal.server_clocks c"
				 " USING unnest($1, $2) AS k (relid, key_id),"
				 " tide_internal.server_clocks t"
				 " WHERE t.relid = k.relid AND t.key_id = k.key_id AND t.attnum = 0"
				 " AND c.relid = k.relid AND c.key_id = k.key_id AND c.attnum > 0"
				 " AND c.lsn < t.lsn",
				 lengthof(types), types, values, NULL, false, 0);
	if (tide_removed_retention < 0)
		return;
	values[0] = TimestampTzGetDatum(GetCurrentTimestamp() -
									tide_removed_retention * USECS_PER_SEC);
	tide_spi_run(&tombstones_plan,
				 "DELETE FROM tide_internal.server_clocks WHERE ctid = ANY (ARRAY("
				 "SELECT c.ctid FROM tide_internal.server_clocks c"
				 " WHERE c.attnum = 0 AND c.at < $1 ORDER BY c.at LIMIT " PRUNED_AT_ONCE "))",
				 lengthof(time_types), time_types, values, NULL, false, 0);
}

/* of columns that have no clocks any more */
static void
forget_unused(void)
{
	static SPIPlanPtr plan = NULL;

	tide_spi_run(&plan,
				 "DELETE FROM tide_internal.server_clocks m"
				 " WHERE NOT EXISTS (SELECT FROM tide_internal.column_policies c"
				 "  WHERE c.relid = m.relid AND (c.attnum = m.attnum OR m.attnum = 0)"
				 "  AND c.policy IN ('hlc', 'vclock'))",
				 0, NULL, NULL, NULL, false, 0);
}
