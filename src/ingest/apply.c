/*
 * apply.c
 *	  Storing a batch: shadow rows, change log, buckets, checkpoint, in one transaction.
 *
 * The batch is taken in chunks of bounded memory. Within a chunk:
 *	1. fold: one before/after pair per row (fold.c);
 *	2. membership: the shape nodes are asked, as their owners, for the bucket of each row after,
 *	   and before where _members does not tell because the shape was built since;
 *	3. plan: rows get op_ids in commit order, one per entry of the change log:
 *		 before	 after
 *		 -		 in		 enter
 *		 in		 in		 change if a column shown differs, else nothing
 *		 in		 -		 leave
 *	4. write: shadow rows, then the entries that point at them.
 * Entries that others supersede are removed on the way (compaction.c). The rows of a chunk are
 * seen by the next one, so a transaction larger than memory gives a row several entries.
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

#include "ingest/apply.h"
#include "ingest/batch.h"
#include "ingest/build.h"
#include "ingest/compaction.h"
#include "ingest/fold.h"
#include "ingest/limits.h"
#include "ingest/load.h"
#include "ingest/plan_group.h"
#include "ingest/rebuild.h"
#include "ingest/settle.h"
#include "ingest/tree.h"
#include "store/members.h"
#include "util/compat.h"
#include "util/guc.h"
#include "util/meta_table.h"
#include "util/spi.h"

/* entries of one source in a chunk, with the rows they point at */
typedef struct LogPlan
{
	TideWatch  *watch;
	TideLogEntry *entries;
	TideDelta **deltas;			/* by entry */
	int			n;
	int			max;
} LogPlan;

/* what the session had set, to be put back: tide.ingest() runs in anybody's session */
static RepOriginId session_origin = InvalidRepOriginId;

static void apply_changes(TideIngest *in);
static void evaluate(TideChunk *chunk, TideWatch *watch);
static void plan_delta(TideChunk *chunk, TideDelta *delta, LogPlan *plan);
static void write_rows(TideChunk *chunk, TideWatch *watch);
static void write_log(TideIngest *in, LogPlan *plan);
static void apply_truncate(TideChunk *chunk, TideWatch *watch, HeapTuple spooled);
static void apply_acks(TideIngest *in);
static TimestampTz batch_time(const TideBatch *batch);

void
tide_ingest_apply(TideIngest *in)
{
	TideBatch  *batch = in->batch;
	TideCheckpoint *checkpoint = &in->checkpoint;
	ListCell   *lc;

	tide_apply_begin();
	in->applied_at = GetCurrentTimestamp();
	in->last_at = checkpoint->at;
	checkpoint->at = Max(batch_time(batch), in->last_at);
	tide_node_eval_set_now(checkpoint->at);
	if (batch->store != NULL)
	{
		tide_rebuild_unprepared(in);
		apply_changes(in);
	}
	tide_tree_apply(in);
	if (batch->acks != NULL)
		apply_acks(in);
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

/* now() of the batch: when it was committed, or it is now */
static TimestampTz
batch_time(const TideBatch *batch)
{
	if (tide_clock != NULL && tide_clock[0] != '\0')
		return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
													   CStringGetDatum(tide_clock),
													   ObjectIdGetDatum(InvalidOid),
													   Int32GetDatum(-1)));
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

	/* the slot is confirmed after this commit, whatever synchronous_commit says */
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

	tide_chunk_init(&chunk, in);
	while (tide_batch_next(in->batch, &relid, &tuple))
	{
		bool		isnull;
		Datum		kind;

		CHECK_FOR_INTERRUPTS();
		if (watch == NULL || watch->relid != relid)
			watch = hash_search(in->watches, &relid, HASH_FIND, NULL);
		if (watch == NULL)
			elog(ERROR, "no source for relation %u of the batch", relid);
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

/* watches of the chunk's deltas, each once */
static List *
chunk_watches(const TideChunk *chunk)
{
	List	   *watches = NIL;

	for (int i = 0; i < chunk->ndeltas; i++)
		if (i == 0 || chunk->deltas[i]->watch != chunk->deltas[i - 1]->watch)
			watches = list_append_unique_ptr(watches, chunk->deltas[i]->watch);
	return watches;
}

void
tide_chunk_apply(TideChunk *chunk)
{
	MemoryContext old;
	List	   *watches;
	LogPlan    *plans;
	instr_time	begin;
	ListCell   *lc;

	tide_chunk_finish(chunk);
	old = MemoryContextSwitchTo(chunk->context);
	watches = chunk_watches(chunk);
	plans = palloc0(sizeof(LogPlan) * Max(list_length(watches), 1));
	INSTR_TIME_SET_CURRENT(begin);
	foreach(lc, watches)
	{
		TideWatch  *watch = lfirst(lc);

		plans[foreach_current_index(lc)].watch = watch;
		evaluate(chunk, watch);
		tide_load_add(chunk->in, TIDE_LOAD_SOURCE, watch->shadow->source->source_id, &begin);
	}
	for (int i = 0; i < chunk->ndeltas; i++)
	{
		LogPlan    *plan = plans;

		while (plan->watch != chunk->deltas[i]->watch)
			plan++;
		plan_delta(chunk, chunk->deltas[i], plan);
	}
	INSTR_TIME_SET_CURRENT(begin);
	foreach(lc, watches)
	{
		TideWatch  *watch = lfirst(lc);

		write_rows(chunk, watch);
		write_log(chunk->in, &plans[foreach_current_index(lc)]);
		tide_load_add(chunk->in, TIDE_LOAD_SOURCE, watch->shadow->source->source_id, &begin);
	}
	for (int i = 0; i < chunk->ndeltas; i++)
		if (chunk->deltas[i]->watch->joins != NULL)
			tide_tree_note_delta(chunk->in, chunk->deltas[i]);
	MemoryContextSwitchTo(old);
	tide_chunk_reset(chunk);
	if (tide_buckets_are_many(chunk->in->buckets))
		tide_limits_flush(chunk->in);
	CommandCounterIncrement();
}

/* ask the nodes of the source for the buckets of all the chunk's rows */
static void
evaluate(TideChunk *chunk, TideWatch *watch)
{
	TideRowAsk *asks;
	int			n = 0;
	instr_time	begin;

	if (watch->groups == NULL)
		return;
	asks = palloc(sizeof(TideRowAsk) * 2 * Max(chunk->ndeltas, 1));
	for (int i = 0; i < chunk->ndeltas; i++)
	{
		TideDelta  *delta = chunk->deltas[i];

		if (delta->watch != watch)
			continue;
		if (delta->exists)
			asks[n++] = (TideRowAsk) {delta->after, delta->after_nulls, 0, &delta->is};
		if (delta->existed)
			asks[n++] = (TideRowAsk)
			{
				delta->before, delta->before_nulls,
				Max(DatumGetInt64(delta->before[TIDE_SHADOW_OP - 1]), 1), &delta->was
			};
	}
	INSTR_TIME_SET_CURRENT(begin);
	tide_groups_ask(watch->groups, chunk->in->buckets, asks, n, &chunk->in->checkpoint.op_id);

	/* shapes with a plan in common have its cost in common */
	if (list_length(watch->evals) == 1)
		tide_load_add(chunk->in, TIDE_LOAD_SHAPE,
					  ((TideNodeEval *) linitial(watch->evals))->shape->shape_id, &begin);
	pfree(asks);
}

static void
plan_entry(TideChunk *chunk, LogPlan *plan, TideDelta *delta, TideBucket *bucket,
		   char kind, uint32 hash, const TideMember *old)
{
	TideLogEntry *entry;
	int64		op_id = ++chunk->in->checkpoint.op_id;

	if (plan->n == plan->max)
	{
		plan->max = Max(64, plan->max * 2);
		plan->entries = plan->entries == NULL ?
			palloc(sizeof(TideLogEntry) * plan->max) :
			repalloc(plan->entries, sizeof(TideLogEntry) * plan->max);
		plan->deltas = plan->deltas == NULL ?
			palloc(sizeof(TideDelta *) * plan->max) :
			repalloc(plan->deltas, sizeof(TideDelta *) * plan->max);
	}
	plan->deltas[plan->n] = delta;
	entry = &plan->entries[plan->n++];
	entry->bucket_id = bucket->bucket_id;
	entry->op_id = op_id;
	entry->kind = kind;
	entry->hash = hash;
	entry->old_op_id = old ? old->op_id : 0;
	entry->columns = (kind == TIDE_LOG_LEAVE ? delta->before : delta->after) +
		TIDE_SHADOW_FIXED;
	tide_bucket_count(chunk->in->buckets, bucket,
					  kind == TIDE_LOG_ENTER ? 1 : kind == TIDE_LOG_LEAVE ? -1 : 0,
					  hash, old ? old->hash : 0, op_id);
}

/*
 * The buckets that held the row before: those of _members, and those that its
 * version before implies for shapes built since. op_id 0 in the latter.
 */
static int
old_members(TideChunk *chunk, TideDelta *delta, TideMember **members)
{
	struct varlena *packed = NULL;
	int			n = 0;

	if (!delta->existed)
		return 0;
	if (!delta->before_nulls[TIDE_SHADOW_MEMBERS - 1])
		packed = PG_DETOAST_DATUM_PACKED(delta->before[TIDE_SHADOW_MEMBERS - 1]);
	*members = palloc(sizeof(TideMember) * ((packed ? tide_members_count(packed) : 0) +
											delta->was.n + 1));
	for (int i = 0; packed && i < tide_members_count(packed); i++)
		(*members)[n++] = tide_members_get(packed, i);
	for (int i = 0; i < delta->was.n; i++)
	{
		TideHit    *hit = &delta->was.hits[i];

		(*members)[n].bucket_id = hit->bucket->bucket_id;
		(*members)[n].op_id = 0;
		(*members)[n].count = 1;
		(*members)[n].hash = tide_node_eval_hash(hit->eval, delta->before,
												 delta->before_nulls, NULL);
		n++;
	}
	return n;
}

/*
 * Entry, if one is due, for a bucket that holds the row now; old is its membership
 * before or NULL. Returns the membership after.
 */
static TideMember
plan_member(TideChunk *chunk, TideDelta *delta, LogPlan *plan, TideNodeEval *eval,
			TideBucket *bucket, const TideMember *old)
{
	TideMember	member;

	member.bucket_id = bucket->bucket_id;
	member.count = 1;
	if (old == NULL)
	{
		member.hash = tide_node_eval_hash(eval, delta->after, delta->after_nulls, NULL);
		plan_entry(chunk, plan, delta, bucket, TIDE_LOG_ENTER, member.hash, NULL);
	}
	else if (old->op_id > 0 && !tide_node_eval_shows_change(eval, delta->changed))
		return *old;
	else
	{
		/* op_id 0: the build's entry is superseded by writing _members, so write anew */
		member.hash = old->hash +
			tide_node_eval_hash(eval, delta->after, delta->after_nulls, delta->changed) -
			tide_node_eval_hash(eval, delta->before, delta->before_nulls, delta->changed);
		plan_entry(chunk, plan, delta, bucket, TIDE_LOG_CHANGE, member.hash, old);
	}
	member.op_id = chunk->in->checkpoint.op_id;
	return member;
}

/* a bucket held by a joined node: the row stays in it until the end of the batch decides */
static TideNodeEval *
joined_eval(const TideDelta *delta, const TideBucket *bucket)
{
	TideJoined *joined = delta->watch->joined == NIL ? NULL :
		tide_tree_of_bucket(delta->watch, bucket);

	return joined == NULL || joined->is_direct ? NULL : joined->eval;
}

/*
 * Place of a bucket among the old memberships, or -1. The search begins at *at, which is set behind
 * what was found: both sides are mostly in the same order.
 */
static int
find_old(const TideMember *old, int nold, int64 bucket_id, int *at)
{
	for (int n = 0; n < nold; n++)
	{
		int			i = (*at + n) % nold;

		if (old[i].bucket_id == bucket_id)
		{
			*at = i + 1;
			return i;
		}
	}
	return -1;
}

/* which old memberships go on; a key with other bits is another key to clients: leave, then enter */
static bool *
kept_members(TideChunk *chunk, TideDelta *delta, TideMember *old, int nold)
{
	bool	   *kept = palloc0(sizeof(bool) * (nold + 1));
	int			at = 0;

	for (int h = 0; delta->exists && !delta->key_changed && h < delta->is.n; h++)
	{
		int			i = find_old(old, nold, delta->is.hits[h].bucket->bucket_id, &at);

		if (i >= 0)
			kept[i] = true;
	}
	for (int i = 0; i < nold; i++)
	{
		TideBucket *bucket = kept[i] ? NULL :
			tide_bucket_by_id(chunk->in->buckets, old[i].bucket_id);

		if (bucket != NULL && delta->exists && !delta->key_changed &&
			joined_eval(delta, bucket) != NULL)
			kept[i] = true;
	}
	return kept;
}

/* members of joined nodes, with an entry if what they show has changed */
static int
plan_joined(TideChunk *chunk, TideDelta *delta, LogPlan *plan, TideMember *old, int nold,
			const bool *kept, bytea *packed)
{
	int			n = 0;

	for (int i = 0; i < nold; i++)
	{
		TideBucket *bucket = kept[i] ?
			tide_bucket_by_id(chunk->in->buckets, old[i].bucket_id) : NULL;
		TideNodeEval *eval = bucket ? joined_eval(delta, bucket) : NULL;
		TideMember	member;

		if (eval == NULL)
			continue;
		member = plan_member(chunk, delta, plan, eval, bucket, &old[i]);
		member.count = old[i].count;
		tide_members_put(VARDATA(packed), n++, &member);
	}
	return n;
}

/* op_ids and entries of one row, and what its shadow row says of them */
static void
plan_delta(TideChunk *chunk, TideDelta *delta, LogPlan *plan)
{
	TideMember *old = NULL;
	int			nold = old_members(chunk, delta, &old);
	bytea	   *packed = palloc(VARHDRSZ + TIDE_MEMBER_SIZE * (nold + delta->is.n + 1));
	bool	   *kept = kept_members(chunk, delta, old, nold);
	int			nnew = 0;
	int			at = 0;

	delta->buckets_differ = false;
	for (int i = 0; i < nold; i++)
	{
		TideBucket *bucket = kept[i] ? NULL :
			tide_bucket_by_id(chunk->in->buckets, old[i].bucket_id);

		if (bucket != NULL)
			plan_entry(chunk, plan, delta, bucket, TIDE_LOG_LEAVE, 0, &old[i]);
		delta->buckets_differ |= !kept[i];
	}
	if (delta->watch->joined != NIL && delta->exists)
		nnew = plan_joined(chunk, delta, plan, old, nold, kept, packed);
	for (int h = 0; delta->exists && h < delta->is.n; h++)
	{
		TideHit    *hit = &delta->is.hits[h];
		int			i = find_old(old, nold, hit->bucket->bucket_id, &at);
		const TideMember *was = i >= 0 && kept[i] ? &old[i] : NULL;
		TideMember	member;

		delta->buckets_differ |= was == NULL;
		member = plan_member(chunk, delta, plan, hit->eval, hit->bucket, was);
		tide_members_put(VARDATA(packed), nnew++, &member);
	}
	if (delta->exists)
	{
		SET_VARSIZE(packed, VARHDRSZ + TIDE_MEMBER_SIZE * nnew);
		delta->after[TIDE_SHADOW_MEMBERS - 1] = PointerGetDatum(packed);
		delta->after_nulls[TIDE_SHADOW_MEMBERS - 1] = nnew == 0;
		delta->after[TIDE_SHADOW_OP - 1] = Int64GetDatum(chunk->in->checkpoint.op_id);
		delta->after_nulls[TIDE_SHADOW_OP - 1] = false;
	}
}

/* insert the rows gathered in the shadow's slots */
static void
flush_inserts(TideShadow *shadow, TideDelta **inserted, int *n)
{
	tide_shadow_insert(shadow, *n, 0);
	for (int i = 0; i < *n; i++)
		inserted[i]->tid = shadow->slots[i]->tts_tid;
	*n = 0;
}

static void
fill_slot(TupleTableSlot *slot, const TideDelta *delta)
{
	int			natts = slot->tts_tupleDescriptor->natts;

	memcpy(slot->tts_values, delta->after, sizeof(Datum) * natts);
	memcpy(slot->tts_isnull, delta->after_nulls, sizeof(bool) * natts);
	ExecStoreVirtualTuple(slot);
}

/* shadow rows of one source; each key occurs once, so the order does not matter */
static void
write_rows(TideChunk *chunk, TideWatch *watch)
{
	TideShadow *shadow = watch->shadow;
	TideDelta  *inserted[TIDE_MULTI_INSERT];
	int			ninserted = 0;

	for (int i = 0; i < chunk->ndeltas; i++)
	{
		TideDelta  *delta = chunk->deltas[i];

		if (delta->watch != watch)
			continue;
		if (delta->existed && !delta->exists)
		{
			tide_shadow_delete(shadow, &delta->tid);
			ItemPointerSetInvalid(&delta->tid);
		}
		else if (!delta->existed)
		{
			fill_slot(tide_shadow_slot(shadow, ninserted), delta);
			inserted[ninserted++] = delta;
			if (ninserted == TIDE_MULTI_INSERT)
				flush_inserts(shadow, inserted, &ninserted);
		}
	}
	flush_inserts(shadow, inserted, &ninserted);
	for (int i = 0; i < chunk->ndeltas; i++)
	{
		TideDelta  *delta = chunk->deltas[i];

		if (delta->watch == watch && delta->existed && delta->exists)
		{
			TupleTableSlot *slot = tide_shadow_slot(shadow, 0);

			fill_slot(slot, delta);
			tide_shadow_update(shadow, &delta->tid, slot);
			delta->tid = slot->tts_tid;
			ExecClearTuple(slot);
		}
	}
}

static void
write_log(TideIngest *in, LogPlan *plan)
{
	tide_compact_superseded(in, plan->watch->shadow, plan->entries, plan->n);
	for (int i = 0; i < plan->n; i++)
		plan->entries[i].tid = plan->deltas[i]->tid;
	tide_log_append(plan->watch->shadow, plan->entries, plan->n, 0);
	tide_compact_appended(in, plan->entries, plan->n);
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
