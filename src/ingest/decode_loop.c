/*
 * decode_loop.c
 *	  Reading WAL through one long-lived logical decoding context.
 *
 * The context is made inside a transaction: outside of one core would mark this process as
 * ignored by the vacuum horizon for good, and its apply transactions need their snapshots
 * respected. Pages are read up to the flush position without ever sleeping; at the
 * end of the WAL the reader simply stops and is called again later.
 *
 * What has been applied is told by the checkpoint row alone; decoding starts there,
 * the slot only keeps WAL and catalog rows.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "replication/decode.h"
#include "replication/slot.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "decode/plugin.h"
#include "ingest/batch.h"
#include "ingest/build.h"
#include "ingest/capture.h"
#include "ingest/ingest.h"
#include "ingest/resync.h"
#include "ingest/route.h"
#include "ingest/settle.h"
#include "util/compat.h"
#include "util/guc.h"
#include "util/meta_table.h"
#include "util/spi.h"

static int	read_page(XLogReaderState *reader, XLogRecPtr page, int required_len,
					  XLogRecPtr record, char *buffer);
static void acquire_slot(const char *slot_name);

TideIngest *
tide_ingest_open(MemoryContext parent, const char *slot_name)
{
	MemoryContext context = AllocSetContextCreate(parent, "tide ingest",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	TideIngest *in = palloc0(sizeof(TideIngest));
	TideState	state;

	in->context = context;
	in->scratch = AllocSetContextCreate(context, "tide change", ALLOCSET_DEFAULT_SIZES);
	in->watch_context = AllocSetContextCreate(context, "tide watches",
											  ALLOCSET_DEFAULT_SIZES);
	in->route_context = AllocSetContextCreate(context, "tide routes",
											  ALLOCSET_DEFAULT_SIZES);
	in->owner = ResourceOwnerCreate(NULL, "tide ingest");
	in->tree_context = AllocSetContextCreate(context, "tide trees", ALLOCSET_DEFAULT_SIZES);
	in->batch = tide_batch_create(context, in->owner);
	in->buckets = tide_buckets_create(context, tide_settle_buckets, in);
	in->clients_relid = tide_meta_relid("clients");
	in->shapes_relid = tide_meta_relid("shapes");
	in->writable_relid = tide_meta_relid("writable_tables");
	in->policies_relid = tide_meta_relid("conflict_policies");
	tide_checkpoint_read(&in->checkpoint);
	tide_state_read(&state);
	in->secret = state.secret;
	in->checked_version = tide_route_version() - 1; /* look once in any case */
	in->retry_failed = true;
	tide_ingest_reload(in);

	acquire_slot(slot_name);
	tide_slot_set_failover_compat(MyReplicationSlot);
	tide_resync_if_lost(in);
	tide_decode_override = tide_capture_callbacks;
	in->decoder = CreateDecodingContext(in->checkpoint.lsn, NIL, false,
										XL_ROUTINE(.page_read = read_page,
												   .segment_open = wal_segment_open,
												   .segment_close = wal_segment_close),
										NULL, NULL, NULL);
	tide_decode_override = NULL;
	in->decoder->output_plugin_private = in;
	XLogBeginRead(in->decoder->reader, MyReplicationSlot->data.restart_lsn);
	MemoryContextSwitchTo(old);
	return in;
}

/*
 * Not by SPI: looking for the place to begin at, decoding may forget a transaction that changed
 * catalogs, in a subtransaction whose end changes the resource owner.
 */
void
tide_ingest_create_slot(const char *slot_name)
{
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext context = CurrentMemoryContext;
	TideSpiFrame frame;
	NameData	name;
	NameData	plugin;

	namestrcpy(&name, slot_name);
	namestrcpy(&plugin, "pg_tide");
	tide_decode_override = tide_capture_callbacks;
	PG_TRY();
	{
		PushActiveSnapshot(GetLatestSnapshot());
		tide_user_push(&frame, tide_extension_owner());
		(void) tide_create_slot_compat(&name, &plugin);
		CurrentResourceOwner = owner;
		MemoryContextSwitchTo(context);
		tide_user_pop(&frame);
		PopActiveSnapshot();
	}
	PG_FINALLY();
	{
		tide_decode_override = NULL;
	}
	PG_END_TRY();
}

/* MyReplicationSlot afterwards; a session that died lets go of it by itself */
static void
acquire_slot(const char *slot_name)
{
	ReplicationSlot *slot = SearchNamedReplicationSlot(slot_name, true);

	if (slot != NULL && slot->active_pid != 0 && slot->active_pid != MyProcPid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("replication slot \"%s\" is in use by process %d",
						slot_name, slot->active_pid),
				 errhint("Use tide.stop() to stop the ingest worker first.")));
	ReplicationSlotAcquire_compat(slot_name, true);
}

void
tide_ingest_close(TideIngest *in)
{
	tide_batch_reset(in->batch);
	FreeDecodingContext(in->decoder);
	ReplicationSlotRelease();
	ResourceOwnerRelease(in->owner, RESOURCE_RELEASE_BEFORE_LOCKS, false, true);
	ResourceOwnerRelease(in->owner, RESOURCE_RELEASE_LOCKS, false, true);
	ResourceOwnerRelease(in->owner, RESOURCE_RELEASE_AFTER_LOCKS, false, true);
	ResourceOwnerDelete(in->owner);
	MemoryContextDelete(in->context);
}

/* XLogReader callback: flushed WAL only, never waits; -1 at its end */
static int
read_page(XLogReaderState *reader, XLogRecPtr page, int required_len,
		  XLogRecPtr record, char *buffer)
{
	TimeLineID	timeline;
	XLogRecPtr	end = GetFlushRecPtr(&timeline);
	WALReadError error;

	XLogReadDetermineTimeline(reader, page, required_len, timeline);
	if (reader->currTLI != timeline)
	{
		/* before a promotion: all of that timeline's WAL is there */
		end = reader->currTLIValidUntil;
		timeline = reader->currTLI;
	}
	if (page + required_len > end)
		return -1;
	if (!WALRead(reader, buffer, page, XLOG_BLCKSZ, timeline, &error))
		WALReadRaiseError(&error);
	return (int) Min(XLOG_BLCKSZ, end - page);
}

bool
tide_ingest_read(TideIngest *in, int64 max_changes)
{
	XLogReaderState *reader = in->decoder->reader;
	ResourceOwner old_owner = CurrentResourceOwner;
	MemoryContext old = CurrentMemoryContext;
	TimestampTz since = 0;
	bool		at_end = false;

	for (unsigned n = 0;; n++)
	{
		char	   *error = NULL;

		CHECK_FOR_INTERRUPTS();
		if (XLogReadRecord(reader, &error) == NULL)
		{
			if (error != NULL)
				ereport(ERROR,
						(errcode(ERRCODE_DATA_CORRUPTED),
						 errmsg("could not read WAL at %X/%X: %s",
								LSN_FORMAT_ARGS(reader->EndRecPtr), error)));
			at_end = true;
			break;
		}

		/* a decoded transaction ends in an abort that changes both */
		LogicalDecodingProcessRecord(in->decoder, reader);
		CurrentResourceOwner = old_owner;
		MemoryContextSwitchTo(old);

		/*
		 * where a copy was made the shadow is of one moment with the
		 * checkpoint again
		 */
		if (tide_build_is_waiting(in, reader->EndRecPtr))
			in->batch->is_asked_for = true;
		if (in->needs_reload || in->batch->is_asked_for)
			break;
		if (tide_batch_is_empty(in->batch))
			continue;
		if (since == 0)
			since = GetCurrentTimestamp();
		if (in->batch->nchanges >= (max_changes > 0 ? max_changes : tide_batch_size) ||
			(n % 64 == 0 && TimestampDifferenceExceeds(since, GetCurrentTimestamp(),
													   tide_batch_time)))
			break;
	}
	in->batch->lsn = reader->EndRecPtr;
	return at_end;
}

XLogRecPtr
tide_ingest_position(TideIngest *in)
{
	return in->decoder->reader->EndRecPtr;
}

void
tide_ingest_confirm(TideIngest *in, XLogRecPtr lsn)
{
	/*
	 * a slot that is ahead of the checkpoint row on a standby would be of no
	 * use there
	 */
	if (lsn <= in->confirmed || !StandbySlotsHaveCaughtup_compat(XactLastCommitEnd))
		return;
	LogicalConfirmReceivedLocation(lsn);
	in->confirmed = lsn;
}
