/*
 * checkpoint.c
 *	  The checkpoint row and the state row.
 *
 * The checkpoint row is written in the transaction of the batch it describes. It is
 * the truth about how far the ingest has come; the slot only keeps WAL.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "store/checkpoint.h"
#include "util/meta_table.h"
#include "util/spi.h"

/*
 * Where this process left the checkpoint row: as the sole writer it need not look for it
 * among the versions that a long transaction keeps alive.
 */
static Oid	written_relid = InvalidOid;
static ItemPointerData written_tid;

/* columns of tide_internal.checkpoints after "singleton" */
enum
{
	CHECKPOINT_OP_ID = 1,
	CHECKPOINT_LSN,
	CHECKPOINT_AT,
	CHECKPOINT_NOW,
	CHECKPOINT_CHANGES,
	CHECKPOINT_TRANSACTIONS,
	CHECKPOINT_BATCHES,
	CHECKPOINT_LAGGING,
	CHECKPOINT_NATTS
};

/* the only row of a one-row table, in memory of the current context */
static HeapTuple
only_row(Relation rel, Snapshot snapshot)
{
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple = systable_getnext(scan);

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("table \"tide_internal.%s\" has lost its row",
						RelationGetRelationName(rel))));
	tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

void
tide_checkpoint_read(TideCheckpoint *checkpoint)
{
	Relation	rel = tide_meta_open("checkpoints", AccessShareLock);
	HeapTuple	tuple = only_row(rel, GetActiveSnapshot());
	Datum		values[CHECKPOINT_NATTS];
	bool		nulls[CHECKPOINT_NATTS];

	heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	checkpoint->op_id = DatumGetInt64(values[CHECKPOINT_OP_ID]);
	checkpoint->lsn = DatumGetLSN(values[CHECKPOINT_LSN]);
	checkpoint->at = DatumGetTimestampTz(values[CHECKPOINT_AT]);
	checkpoint->now = DatumGetTimestampTz(values[CHECKPOINT_NOW]);
	checkpoint->changes = DatumGetInt64(values[CHECKPOINT_CHANGES]);
	checkpoint->transactions = DatumGetInt64(values[CHECKPOINT_TRANSACTIONS]);
	checkpoint->batches = DatumGetInt64(values[CHECKPOINT_BATCHES]);
	checkpoint->lagging = DatumGetBool(values[CHECKPOINT_LAGGING]);
	heap_freetuple(tuple);
	table_close(rel, AccessShareLock);
}

/* whether written_tid is still the row's newest version */
static bool
written_row_is_there(Relation rel)
{
	HeapTupleData tuple;
	Buffer		buffer;

	if (written_relid != RelationGetRelid(rel) ||
		ItemPointerGetBlockNumber(&written_tid) >= RelationGetNumberOfBlocks(rel))
		return false;
	tuple.t_self = written_tid;
	if (!heap_fetch(rel, SnapshotSelf, &tuple, &buffer, false))
		return false;
	ReleaseBuffer(buffer);
	return true;
}

void
tide_checkpoint_write(const TideCheckpoint *checkpoint)
{
	Relation	rel = tide_meta_open("checkpoints", RowExclusiveLock);
	Datum		values[CHECKPOINT_NATTS];
	bool		nulls[CHECKPOINT_NATTS] = {false};
	HeapTuple	new;

	values[0] = BoolGetDatum(true);
	values[CHECKPOINT_OP_ID] = Int64GetDatum(checkpoint->op_id);
	values[CHECKPOINT_LSN] = LSNGetDatum(checkpoint->lsn);
	values[CHECKPOINT_AT] = TimestampTzGetDatum(checkpoint->at);
	values[CHECKPOINT_NOW] = TimestampTzGetDatum(checkpoint->now);
	values[CHECKPOINT_CHANGES] = Int64GetDatum(checkpoint->changes);
	values[CHECKPOINT_TRANSACTIONS] = Int64GetDatum(checkpoint->transactions);
	values[CHECKPOINT_BATCHES] = Int64GetDatum(checkpoint->batches);
	values[CHECKPOINT_LAGGING] = BoolGetDatum(checkpoint->lagging);
	new = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	if (!written_row_is_there(rel))
	{
		HeapTuple	old = only_row(rel, SnapshotSelf);

		written_tid = old->t_self;
		heap_freetuple(old);
	}
	CatalogTupleUpdate(rel, &written_tid, new);
	written_relid = RelationGetRelid(rel);
	written_tid = new->t_self;
	heap_freetuple(new);
	table_close(rel, RowExclusiveLock);

	/*
	 * one transaction may write it again: tide.ingest() builds, then stores a
	 * batch
	 */
	CommandCounterIncrement();
}

void
tide_state_read(TideState *state)
{
	Relation	rel = tide_meta_open("state", AccessShareLock);
	HeapTuple	tuple = only_row(rel, GetActiveSnapshot());
	Datum		values[7];
	bool		nulls[7];

	Assert(RelationGetDescr(rel)->natts == lengthof(values));
	heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	state->enabled = DatumGetBool(values[1]);
	strlcpy(state->slot_name, nulls[2] ? "" : NameStr(*DatumGetName(values[2])),
			NAMEDATALEN);
	state->epoch = *DatumGetUUIDP(values[3]);
	state->secret = *DatumGetUUIDP(values[6]);
	heap_freetuple(tuple);
	table_close(rel, AccessShareLock);
}

bool
tide_database_moved(void)
{
	Relation	rel = tide_meta_open("home", AccessShareLock);
	HeapTuple	tuple = only_row(rel, GetActiveSnapshot());
	bool		isnull;
	uint64		system_id = DatumGetInt64(heap_getattr(tuple, 2, RelationGetDescr(rel), &isnull));

	heap_freetuple(tuple);
	table_close(rel, AccessShareLock);
	return system_id != GetSystemIdentifier();
}

void
tide_require_here(void)
{
	tide_extension_check_version();
	if (tide_database_moved())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("database was moved to this server, and pg_tide has not started here yet"),
				 errhint("Use tide.start().")));
}
