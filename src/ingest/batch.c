/*
 * batch.c
 *	  Whole committed source transactions, waiting to be applied.
 *
 * The tuplestore outlives transactions (interXact) since every decoded transaction
 * ends in an abort that would close its temporary files; it has a resource owner of
 * its own for the same reason. A batch's memory is tide.spool_memory whatever its size.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "utils/memutils.h"

#include "ingest/batch.h"
#include "util/guc.h"

/* the columns all spool tuples begin with: enough to tell whose they are */
static TupleDesc
spool_head_desc(void)
{
	TupleDesc	desc = CreateTemplateTupleDesc(1);

	TupleDescInitEntry(desc, 1, "relid", OIDOID, -1, 0);
	return desc;
}

TupleDesc
tide_spool_desc(const TideShadow *shadow)
{
	TupleDesc	desc = CreateTemplateTupleDesc(TIDE_SPOOL_FIXED + shadow->nkeys +
											   shadow->ncolumns);
	AttrNumber	attno = TIDE_SPOOL_FIXED;

	TupleDescInitEntry(desc, TIDE_SPOOL_RELID + 1, "relid", OIDOID, -1, 0);
	TupleDescInitEntry(desc, TIDE_SPOOL_KIND + 1, "kind", CHAROID, -1, 0);
	TupleDescInitEntry(desc, TIDE_SPOOL_UNCHANGED + 1, "unchanged", BYTEAOID, -1, 0);
	for (int i = 0; i < shadow->nkeys; i++)
		TupleDescCopyEntry(desc, ++attno, shadow->key_desc, i + 1);
	for (int i = 0; i < shadow->ncolumns; i++)
		TupleDescCopyEntry(desc, ++attno, shadow->desc, i + 1 + TIDE_SHADOW_FIXED);
	return desc;
}

TideBatch *
tide_batch_create(MemoryContext parent, ResourceOwner owner)
{
	TideBatch  *batch = MemoryContextAllocZero(parent, sizeof(TideBatch));
	MemoryContext old = MemoryContextSwitchTo(parent);

	batch->owner = owner;
	batch->context = AllocSetContextCreate(parent, "tide batch", ALLOCSET_DEFAULT_SIZES);
	batch->slot = MakeSingleTupleTableSlot(spool_head_desc(), &TTSOpsMinimalTuple);
	MemoryContextSwitchTo(old);
	return batch;
}

bool
tide_batch_is_empty(const TideBatch *batch)
{
	return batch->store == NULL && batch->acks == NULL && !batch->has_clocks &&
		!batch->is_asked_for;
}

void
tide_batch_reset(TideBatch *batch)
{
	ExecClearTuple(batch->slot);
	if (batch->store != NULL)
		tuplestore_end(batch->store);
	batch->store = NULL;
	batch->acks = NULL;
	batch->nchanges = batch->ntransactions = 0;
	batch->has_clocks = batch->is_asked_for = false;
	MemoryContextReset(batch->context);
}

void
tide_batch_put(TideBatch *batch, TideWatch *watch, TideChangeKind kind,
			   Datum *values, bool *nulls)
{
	if (batch->store == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(batch->context);
		ResourceOwner old_owner = CurrentResourceOwner;

		CurrentResourceOwner = batch->owner;
		batch->store = tuplestore_begin_heap(false, true, tide_spool_memory);
		CurrentResourceOwner = old_owner;
		MemoryContextSwitchTo(old);
	}
	values[TIDE_SPOOL_RELID] = ObjectIdGetDatum(watch->relid);
	nulls[TIDE_SPOOL_RELID] = false;
	values[TIDE_SPOOL_KIND] = CharGetDatum((char) kind);
	nulls[TIDE_SPOOL_KIND] = false;
	tuplestore_putvalues(batch->store, watch->spool_desc, values, nulls);
	batch->nchanges++;
}

void
tide_batch_ack(TideBatch *batch, const pg_uuid_t *client_id, int64 id)
{
	TideAck    *ack;

	if (batch->acks == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(pg_uuid_t);
		ctl.entrysize = sizeof(TideAck);
		ctl.hcxt = batch->context;
		batch->acks = hash_create("tide acks", 32, &ctl,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	ack = hash_search(batch->acks, client_id, HASH_ENTER, NULL);
	ack->last_mutation_id = id;
}

bool
tide_batch_next(TideBatch *batch, Oid *relid, HeapTuple tuple)
{
	MinimalTuple mtup;
	bool		should_free;
	bool		isnull;

	if (batch->store == NULL ||
		!tuplestore_gettupleslot(batch->store, true, false, batch->slot))
		return false;
	*relid = DatumGetObjectId(slot_getattr(batch->slot, TIDE_SPOOL_RELID + 1, &isnull));
	mtup = ExecFetchSlotMinimalTuple(batch->slot, &should_free);
	Assert(!should_free);
	tuple->t_len = mtup->t_len + MINIMAL_TUPLE_OFFSET;
	tuple->t_data = (HeapTupleHeader) ((char *) mtup - MINIMAL_TUPLE_OFFSET);
	ItemPointerSetInvalid(&tuple->t_self);
	tuple->t_tableOid = InvalidOid;
	return true;
}
