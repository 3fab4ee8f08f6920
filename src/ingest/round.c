/*
 * round.c
 *	  One round of tide.ingest(), in the calling session's transaction.
 *
 * Each try is a subtransaction, for the transaction to outlive an ERROR of some shape.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "replication/message.h"
#include "replication/slot.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "decode/plugin.h"
#include "ingest/apply.h"
#include "ingest/batch.h"
#include "ingest/blame.h"
#include "ingest/capture.h"
#include "ingest/compaction.h"
#include "ingest/ingest.h"
#include "ingest/rebuild.h"
#include "ingest/resync.h"
#include "ingest/round.h"
#include "ingest/settle.h"
#include "ingest/tree.h"
#include "util/compat.h"
#include "util/guc.h"
#include "util/spi.h"
#include "util/subxact.h"

#define COMPACT_STEPS	100

/* build what waits, then read and apply up to the mark at the end of the WAL as of now */
static int64
round_steps(TideIngest *in, int64 max_changes)
{
	int64		before = in->checkpoint.changes;
	bool		later;
	bool		is_done = false;

	tide_ingest_confirm(in, in->checkpoint.lsn);
	while (!is_done)
	{
		int64		left = max_changes > 0 ? max_changes - (in->checkpoint.changes - before) : 0;

		do
		{
			CHECK_FOR_INTERRUPTS();
			PushActiveSnapshot(GetLatestSnapshot());
			tide_ingest_reload(in);
			PopActiveSnapshot();
		} while (tide_ingest_build(in, &later));
		InvalidateSystemCaches();	/* today's catalogs are not the past's */

		XLogFlush(LogLogicalMessage_compat(TIDE_SYNC_PREFIX, "", 0, false));
		do
		{
			bool		at_end = tide_ingest_read(in, left);

			is_done = at_end ||
				(max_changes > 0 && in->batch->nchanges >= left);
			if (!tide_batch_is_empty(in->batch))
				tide_ingest_apply(in);
			left = max_changes > 0 ? max_changes - (in->checkpoint.changes - before) : 0;
		} while (!is_done && !in->needs_reload);
		while (!in->needs_reload && tide_tree_build_step(in))
			CHECK_FOR_INTERRUPTS();
		is_done = is_done && !in->needs_reload;
	}
	tide_settle_all(in);
	for (int i = 0; i < COMPACT_STEPS && tide_compaction && tide_compact_step(in); i++)
		CHECK_FOR_INTERRUPTS();
	return in->checkpoint.changes - before;
}

/* one try of a tide.ingest() */
typedef struct Round
{
	const char *slot_name;
	int64		max_changes;
	bool		keep_failed;
	int64		changes;		/* result */
	MemoryContext context;
	List	   *shape_ids;		/* after an ERROR: whose fault it may be; in
								 * context */
}			Round;

static void
run_round(void *arg)
{
	Round	   *round = arg;
	TideIngest *volatile in = NULL;
	int			nest_level = tide_settings_push();

	PG_TRY();
	{
		PushActiveSnapshot(GetLatestSnapshot());
		if (tide_database_moved())
			tide_rebuild_moved();
		PopActiveSnapshot();
		PushActiveSnapshot(GetLatestSnapshot());
		in = tide_ingest_open(TopTransactionContext, round->slot_name);
		PopActiveSnapshot();
		in->keep_failed = round->keep_failed;
		round->changes = round_steps(in, round->max_changes);
		tide_ingest_close(in);
		in = NULL;
	}
	PG_FINALLY();
	{
		MemoryContext old = MemoryContextSwitchTo(round->context);

		round->shape_ids = tide_blame_take();
		MemoryContextSwitchTo(old);

		/* its temporary files would stay as long as the session */
		if (in != NULL)
			tide_batch_reset(in->batch);
		/* none of this is undone by the transaction's abort */
		if (MyReplicationSlot != NULL)
			ReplicationSlotRelease();
		tide_decode_override = NULL;
		tide_apply_abort();
		InvalidateSystemCaches();
	}
	PG_END_TRY();
	tide_settings_pop(nest_level);
}

int64
tide_round_run(const char *slot_name, int64 max_changes)
{
	Round		round = {slot_name, max_changes,.context = CurrentMemoryContext};
	List	   *failed = NIL;
	ErrorData  *error;

	while ((error = tide_subxact_try(run_round, &round)) != NULL)
	{
		bool		is_noted;

		if (round.shape_ids != NIL && list_difference_int(round.shape_ids, failed) == NIL)
			ReThrowError(error);
		PushActiveSnapshot(GetLatestSnapshot());
		is_noted = tide_blame_note(error, &round.shape_ids);
		PopActiveSnapshot();
		if (!is_noted)
			ReThrowError(error);
		failed = list_concat(failed, round.shape_ids);
		round.keep_failed = true;
	}
	return round.changes;
}
