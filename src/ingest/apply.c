/*
 * apply.c
 *	  Storing a batch: its chunks, what follows from them, and the checkpoint, in one transaction.
 *
 * The batch is taken in chunks of bounded memory (chunk.c). The rows of a chunk are seen by the next one, so
 * a transaction larger than memory gives a row several entries.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "commands/async.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "replication/origin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "ingest/altered.h"
#include "ingest/apply.h"
#include "ingest/batch.h"
#include "ingest/build.h"
#include "ingest/failed.h"
#include "ingest/fold.h"
#include "ingest/limits.h"
#include "ingest/plan_group.h"
#include "ingest/rebuild.h"
#include "ingest/server_clock.h"
#include "ingest/recompile.h"
#include "ingest/settle.h"
#include "ingest/tree.h"
#include "util/compat.h"
#include "util/guc.h"
#include "util/meta_table.h"
#include "util/spi.h"

/* what the session had set, to be put back: tide.ingest() runs in anybody's session */
static RepOriginId session_origin = InvalidRepOriginId;

static void apply_changes(TideIngest *in);
static void apply_truncate(TideChunk *chunk, TideWatch *watch, HeapTuple spooled);
static void apply_acks(TideIngest *in);
static TimestampTz batch_time(const TideBatch *batch);
static TimestampTz clock_time(TimestampTz at);

void
tide_ingest_apply(TideIngest *in)
{
	TideBatch  *batch = in->batch;
	TideCheckpoint *checkpoint = &in->checkpoint;
	ListCell   *lc;

	tide_apply_begin();
	in->applied_at = GetCurrentTimestamp();
	in->last_now = checkpoint->now;
	checkpoint->at = Max(batch_time(batch), checkpoint->at);
	checkpoint->now = clock_time(checkpoint->at);
	tide_node_eval_set_now(checkpoint->now);
	tide_failed_forget(in);
	if (batch->store != NULL)
	{
		tide_recompile_unprepared(in);
		apply_changes(in);
	}
	tide_tree_apply(in);
	if (batch->acks != NULL)
		apply_acks(in);
	tide_server_clocks_apply(in);
	tide_limits_flush(in);
	foreach(lc, in->regrouped)
		tide_catalog_set_source_live(lfirst(lc));
	list_free(in->regrouped);
	in->regrouped = NIL;

	checkpoint->lsn = batch->lsn;
	checkpoint->changes += batch->nchanges;
	checkpoint->transactions += batch->ntransactions;
	checkpoint->batches++;
	tide_build_finish(in);
	foreach(lc, in->broken)
		tide_catalog_set_source_broken(lfirst_int(lc));
	tide_checkpoint_store(in);
	tide_apply_end();
	tide_batch_reset(batch);
}

/* now() in conditions, which tide.clock may move to and fro */
static TimestampTz
clock_time(TimestampTz at)
{
	if (tide_clock == NULL || tide_clock[0] == '\0')
		return at;
	return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(tide_clock),
												   ObjectIdGetDatum(InvalidOid),
												   Int32GetDatum(-1)));
}

/* when the batch was committed, or it is now */
static TimestampTz
batch_time(const TideBatch *batch)
{
	return batch->ntransactions > 0 && !batch->is_asked_for ? batch->at :
		GetCurrentTimestamp();
}

/*
 * Our own WAL is marked so that decoding skips it. The mark is a process variable and not
 * transactional: tide_apply_abort() takes it back after an ERROR.
 */
void
tide_apply_begin(void)
{
	PushActiveSnapshot(GetLatestSnapshot());
	session_origin = replorigin_session_origin;
	replorigin_session_origin = DoNotReplicateId;

	/*
	 * the slot is confirmed after this commit, whatever synchronous_commit
	 * says
	 */
	ForceSyncCommit();
}

/* a tide.ingest() goes on in the same transaction: let it see and update what was written */
void
tide_apply_end(void)
{
	replorigin_session_origin = session_origin;
	PopActiveSnapshot();
	CommandCounterIncrement();
}

void
tide_apply_abort(void)
{
	if (replorigin_session_origin == DoNotReplicateId)
		replorigin_session_origin = session_origin;
}

/* the checkpoint row, and word of it to listeners unless their queue is filling up */
void
tide_checkpoint_store(TideIngest *in)
{
	char		payload[32];

	in->checkpoint.lagging = tide_settle_is_lagging(in);
	tide_checkpoint_write(&in->checkpoint);
	if (in->checkpoint.op_id == in->notified_op_id)
		return;
	in->notified_op_id = in->checkpoint.op_id;
	snprintf(payload, sizeof(payload), INT64_FORMAT, in->checkpoint.op_id);
	if (tide_notify_has_room())
		Async_Notify("tide", payload);
}

/*
 * Pushes from before there was a slot are in no WAL that is decoded. Their effects are in
 * the copies to come.
 */
void
tide_acks_adopt(void)
{
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (SPI_execute("INSERT INTO tide_internal.acks AS a (client_id, last_mutation_id)"
					" SELECT client_id, last_mutation_id FROM tide_internal.clients"
					" WHERE last_mutation_id > 0 ON CONFLICT (client_id) DO UPDATE"
					" SET last_mutation_id = excluded.last_mutation_id"
					" WHERE a.last_mutation_id < excluded.last_mutation_id",
					false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not store the clients' last mutation ids");
	tide_spi_end(&frame);
}

/* asyncQueueUsage() is not exported; its SQL function is */
bool
tide_notify_has_room(void)
{
	return DatumGetFloat8(OidFunctionCall0(F_PG_NOTIFICATION_QUEUE_USAGE)) < 0.5;
}

static void
apply_changes(TideIngest *in)
{
	TideChunk	chunk;
	Oid			relid;
	HeapTupleData tuple;
	HASH_SEQ_STATUS status;
	TideWatch  *watch = NULL;
	bool		is_lost = false;

	tide_chunk_init(&chunk, in);
	while (tide_batch_next(in->batch, &relid, &tuple))
	{
		bool		isnull;
		Datum		kind;

		CHECK_FOR_INTERRUPTS();
		if (watch == NULL || watch->relid != relid)
		{
			watch = hash_search(in->watches, &relid, HASH_FIND, NULL);
			if (watch == NULL)
				elog(ERROR, "no source for relation %u of the batch", relid);
			is_lost = watch->is_broken && tide_altered_lost_type(watch);
			if (is_lost)
				in->regrown = list_delete_int(in->regrown, watch->shadow->source->source_id);
		}
		if (is_lost)
			continue;			/* the table is about to be compared, or
								 * copied anew */
		tide_shadow_open(watch->shadow, true);
		kind = heap_getattr(&tuple, TIDE_SPOOL_KIND + 1, watch->spool_desc, &isnull);
		if (DatumGetChar(kind) == TIDE_CHANGE_TRUNCATE)
		{
			tide_chunk_apply(&chunk);
			apply_truncate(&chunk, watch, &tuple);
			continue;
		}
		tide_chunk_add(&chunk, watch, &tuple);
		if (tide_chunk_is_full(&chunk))
			tide_chunk_apply(&chunk);
	}
	tide_chunk_apply(&chunk);
	MemoryContextDelete(chunk.context);

	hash_seq_init(&status, in->watches);
	while ((watch = hash_seq_search(&status)) != NULL)
		tide_shadow_close(watch->shadow);
}

/*
 * Every row of the shadow leaves, or of one partition; deleted row by row, so that pulls
 * under way still see them.
 */
static void
apply_truncate(TideChunk *chunk, TideWatch *watch, HeapTuple spooled)
{
	int			leaf = watch->shadow->leaf_pos;
	bool		isnull = true;
	Datum		only = leaf < 0 ? (Datum) 0 :
	heap_getattr(spooled, TIDE_SPOOL_FIXED + watch->shadow->nkeys + leaf + 1,
				 watch->spool_desc, &isnull);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TideShadow *shadow = watch->shadow;
	TableScanDesc scan = table_beginscan(shadow->heap, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(shadow->heap, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		unused;

		CHECK_FOR_INTERRUPTS();
		if (!isnull && slot_getattr(slot, leaf + 1 + TIDE_SHADOW_FIXED, &unused) != only)
			continue;
		tide_chunk_add_delete(chunk, watch, slot);
		if (tide_chunk_is_full(chunk))
			tide_chunk_apply(chunk);
	}
	tide_chunk_apply(chunk);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
}

/* last mutation ids of clients whose pushes are in this batch */
static void
apply_acks(TideIngest *in)
{
	Relation	rel = tide_meta_open("acks", RowExclusiveLock);
	CatalogIndexState indexes = CatalogOpenIndexes(rel);
	HASH_SEQ_STATUS status;
	TideAck    *ack;

	hash_seq_init(&status, in->batch->acks);
	while ((ack = hash_seq_search(&status)) != NULL)
	{
		Datum		values[2] = {UUIDPGetDatum(&ack->client_id), Int64GetDatum(ack->last_mutation_id)};
		bool		nulls[2] = {false, false};
		HeapTuple	new = heap_form_tuple(RelationGetDescr(rel), values, nulls);
		ScanKeyData key;
		SysScanDesc scan;
		HeapTuple	old;

		ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_UUID_EQ, values[0]);
		scan = systable_beginscan(rel, tide_meta_relid("acks_pkey"), true, SnapshotSelf,
								  1, &key);
		old = systable_getnext(scan);
		if (old != NULL)
			CatalogTupleUpdateWithInfo(rel, &old->t_self, new, indexes);
		else
			CatalogTupleInsertWithInfo(rel, new, indexes);
		systable_endscan(scan);
		heap_freetuple(new);
	}
	CatalogCloseIndexes(indexes);
	table_close(rel, RowExclusiveLock);

	/* waiters must hear of it though no row changed */
	in->checkpoint.op_id++;
}
