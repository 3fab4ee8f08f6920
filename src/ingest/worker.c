/*
 * worker.c
 *	  The background worker that keeps one database's change log.
 *
 * Life of a worker: registered by tide.start() or by the launcher (launcher.c); restarted by the postmaster after any ERROR or
 * crash, one second later; ends for good when tide_internal.state says disabled, or
 * tide.stop() asks it to. An ERROR
 * leaves its text in tide.status, and if a shape's own expressions raised it, that shape
 * fails and the others go on. Nothing of the worker's memory outlives an ERROR: the next
 * one starts from the checkpoint row.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/slot.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "catalog/shape_catalog.h"
#include "ingest/apply.h"
#include "ingest/batch.h"
#include "ingest/blame.h"
#include "ingest/build.h"
#include "ingest/compaction.h"
#include "ingest/control.h"
#include "ingest/ingest.h"
#include "ingest/load.h"
#include "ingest/rebuild.h"
#include "ingest/resync.h"
#include "ingest/tree.h"
#include "ingest/worker.h"
#include "store/shared.h"
#include "util/compat.h"
#include "util/guc.h"
#include "util/meta_table.h"
#include "util/spi.h"

#define IDLE_MS				1000	/* the net under lost wake-ups */
#define RETRY_MS			20	/* something was locked or in doubt */
#define IDLE_CHECKPOINT_BYTES	(256 * 1024)	/* of WAL without anything for
												 * us, */
#define IDLE_CHECKPOINT_MS	1000	/* or so long after the last checkpoint */
#define POLL_MIN_MS			1	/* without preload: look at the WAL */
#define POLL_MAX_MS			10

static bool worker_start(TideIngest **in);
static void worker_loop(TideIngest *in);
static bool worker_build(TideIngest *in);
static bool worker_slice(TideIngest *in);
static void worker_store(TideIngest *in);
static void worker_compact(TideIngest *in);
static void worker_wait(TideIngest *in, bool retry, bool found);
static bool is_time_for_tick(const TideIngest *in);
static void worker_failed(void);
static void note_drop(Datum arg, Oid relid);
static void note_stop(SIGNAL_ARGS);

/* set by an invalidation: the extension may be gone */
static bool check_extension = false;

/* set by SIGUSR2: tide.stop() wants us to end, between two batches and for good */
static volatile sig_atomic_t stop_requested = false;
static Oid	watched_relid = InvalidOid;

/*
 * The library was replaced by a newer one: wait for ALTER EXTENSION pg_tide UPDATE. The slot keeps what
 * happens meanwhile. False if tide.stop() wants us to end.
 */
static bool
worker_wait_for_update(void)
{
	bool		told = false;

	for (;;)
	{
		char	   *other;

		StartTransactionCommand();
		other = tide_extension_other_version();
		if (other == NULL || stop_requested)
		{
			CommitTransactionCommand();
			return !stop_requested;
		}
		if (!told)
			ereport(WARNING,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("pg_tide ingest waits: extension \"%s\" is of version %s in this database, its library of version %s",
							"pg_tide", other, TIDE_VERSION),
					 errhint("Run ALTER EXTENSION pg_tide UPDATE; if that was done, restart the server.")));
		told = true;
		CommitTransactionCommand();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, IDLE_MS,
						 tide_wait_event_compat("TideIngestMain"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* apart from PG_TRY, so that no variable lives across its setjmp */
static pg_noinline void
worker_run(void)
{
	TideIngest *in;

	if (worker_wait_for_update() && worker_start(&in))
		worker_loop(in);
}

/*
 * Whatever the server, the database or a role has set for sessions of people. A limit that ends
 * a long transaction, or the files of a large one, would be met by each new worker again, and
 * the slot keep the WAL for ever. One that this major does not have is left out.
 */
static void
set_settings(void)
{
	static const char *const settings[][2] = {
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"transaction_timeout", "0"},
		{"temp_file_limit", "-1"},

		/*
		 * the first to look for a deadlock, and so the one that ends, not the
		 * app's DDL
		 */
		{"deadlock_timeout", "10ms"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"row_security", "off"}
	};

	tide_settings_set();
	for (int i = 0; i < lengthof(settings); i++)
	{
		if (GetConfigOption(settings[i][0], true, false) != NULL)
			SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
	}
}

void
tide_worker_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGUSR2, note_stop);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
	set_settings();

	PG_TRY();
	{
		worker_run();
	}
	PG_CATCH();
	{
		worker_failed();
		proc_exit(1);
	}
	PG_END_TRY();
	proc_exit(0);
}

/* the slot is missing: never made, or lost; what was missed is found out by tide_ingest_open() */
static void
make_slot(const char *slot_name)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	StartTransactionCommand();
	tide_ingest_create_slot(slot_name);
	CommitTransactionCommand();
	StartTransactionCommand();
	LockRelationOid(tide_meta_relid("state"), ShareUpdateExclusiveLock);
	PushActiveSnapshot(GetLatestSnapshot());
}

/*
 * Take the slot and make the decoding context; false if there is nothing to do here:
 * extension dropped, ingest disabled, another worker at it. The lock makes us wait for a
 * tide.start(), stop() or reset() under way, and for a second worker that is starting.
 */
static bool
worker_start(TideIngest **in)
{
	TideState	state;
	ReplicationSlot *slot;
	bool		wanted;

	StartTransactionCommand();
	if (!OidIsValid(get_extension_oid("pg_tide", true)))
	{
		tide_worker_drop_orphan_slots();
		CommitTransactionCommand();
		return false;
	}
	LockRelationOid(tide_meta_relid("state"), ShareUpdateExclusiveLock);
	PushActiveSnapshot(GetLatestSnapshot());
	tide_state_read(&state);
	slot = SearchNamedReplicationSlot(state.slot_name, true);
	if (state.enabled && slot != NULL && slot->active_pid == 0 &&
		tide_ingest_slot_is_lost(slot))
	{
		ReplicationSlotDrop(state.slot_name, true);
		slot = NULL;
	}
	if (state.enabled && slot == NULL)
	{
		make_slot(state.slot_name);
		tide_state_read(&state);	/* a stop or reset may have come between */
		slot = SearchNamedReplicationSlot(state.slot_name, true);
	}
	if (!state.enabled)
		tide_ingest_drop_unused_slot(&state);
	wanted = state.enabled && slot != NULL && slot->active_pid == 0;
	if (wanted && tide_database_moved())
	{
		tide_rebuild_moved();
		PopActiveSnapshot();
		PushActiveSnapshot(GetLatestSnapshot());
	}
	if (wanted)
	{
		tide_shared_worker_attach();
		*in = tide_ingest_open(TopMemoryContext, state.slot_name);
		watched_relid = (*in)->clients_relid;
		CacheRegisterRelcacheCallback(note_drop, (Datum) 0);
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	return wanted;
}

static void
note_stop(SIGNAL_ARGS)
{
	int			save_errno = errno;

	stop_requested = true;
	SetLatch(MyLatch);
	errno = save_errno;
}

/* DROP EXTENSION reaches us as an invalidation in the WAL */
static void
note_drop(Datum arg, Oid relid)
{
	if (relid == watched_relid || relid == InvalidOid)
		check_extension = true;
}

/* end for good if the extension is gone; the slot goes as well */
static void
exit_if_dropped(void)
{
	NameData	slot_name = MyReplicationSlot->data.name;
	bool		is_there;

	check_extension = false;
	StartTransactionCommand();
	is_there = OidIsValid(get_extension_oid("pg_tide", true));
	CommitTransactionCommand();
	check_extension = false;
	if (is_there)
		return;
	ReplicationSlotRelease();
	ReplicationSlotDrop(NameStr(slot_name), true);
	ereport(LOG,
			(errmsg("pg_tide ingest ended: the extension was dropped")));
	proc_exit(0);
}

static void
worker_loop(TideIngest *in)
{
	bool		retry = worker_build(in);

	tide_compact_begin(in);
	ereport(LOG,
			(errmsg("pg_tide ingest started at %X/%X, op_id " INT64_FORMAT,
					LSN_FORMAT_ARGS(in->checkpoint.lsn), in->checkpoint.op_id)));
	for (;;)
	{
		XLogRecPtr	target;
		bool		at_end;
		bool		found;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (stop_requested)
			proc_exit(0);		/* not to be restarted */
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			tide_compact_begin(in);
		}

		/*
		 * a commit with synchronous_commit = off told us before it was
		 * flushed
		 */
		target = tide_shared_target();
		if (target > GetFlushRecPtr(NULL))
			XLogFlush(target);

		tide_shared_worker_state(TIDE_WORKER_READING);
		at_end = tide_ingest_read(in, 0);
		if (at_end && tide_batch_is_empty(in->batch))
			tide_shared_at_end();
		if (is_time_for_tick(in))
			in->batch->is_asked_for = true;
		if (check_extension)
			exit_if_dropped();
		found = !tide_batch_is_empty(in->batch);
		worker_store(in);
		if (in->needs_reload || retry)
			retry = worker_build(in);
		worker_compact(in);
		if (worker_slice(in))
			continue;
		if (at_end && !found && tide_shared_target() <= tide_ingest_position(in))
			worker_wait(in, retry, found);
		else if (at_end && !tide_shared_available())
			worker_wait(in, retry, true);
	}
}

/*
 * The slot is never ahead of the checkpoint row, so that one that is was not left so by us.
 * Hence where there is WAL but nothing for us the row has to move now and then.
 */
static bool
idle_checkpoint_is_due(const TideIngest *in)
{
	XLogRecPtr	position = tide_ingest_position((TideIngest *) in);

	if (position <= in->checkpoint.lsn || position <= XactLastCommitEnd)
		return false;
	return position - in->checkpoint.lsn > IDLE_CHECKPOINT_BYTES ||
		TimestampDifferenceExceeds(in->applied_at, GetCurrentTimestamp(),
								   IDLE_CHECKPOINT_MS);
}

/* whether rows may enter or leave by time alone, and the last checkpoint is long ago */
static bool
is_time_for_tick(const TideIngest *in)
{
	return tide_tree_has_windows(in) &&
		TimestampDifferenceExceeds(in->applied_at, GetCurrentTimestamp(),
								   tide_tick_interval);
}

/* apply the batch, if any, and let go of the WAL behind it */
static void
worker_store(TideIngest *in)
{
	/*
	 * a build that fails is not to be tried again for DDL that it has seen
	 */
	in->batch->is_asked_for |= in->needs_reload || idle_checkpoint_is_due(in);
	if (!tide_batch_is_empty(in->batch))
	{
		tide_shared_worker_state(TIDE_WORKER_APPLYING);
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		tide_ingest_apply(in);
		CommitTransactionCommand();
		pgstat_report_stat(false);
	}
	tide_load_publish(in);
	tide_shared_publish(tide_ingest_position(in), in->checkpoint.lsn, in->checkpoint.op_id);
	tide_ingest_confirm(in, in->checkpoint.lsn);
}

/* one slice of a build; true if there is more to do at once */
static bool
worker_slice(TideIngest *in)
{
	bool		done;

	if (in->needs_reload || !tide_tree_is_building(in))
		return false;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	done = tide_tree_build_step(in);
	CommitTransactionCommand();
	tide_shared_publish(tide_ingest_position(in), in->checkpoint.lsn, in->checkpoint.op_id);
	return done;
}

/* build whatever waits for it; true if something has to be tried again soon */
static bool
worker_build(TideIngest *in)
{
	bool		later;
	bool		done;

	do
	{
		CHECK_FOR_INTERRUPTS();
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		tide_ingest_reload(in);
		PopActiveSnapshot();
		done = tide_ingest_build(in, &later);
		CommitTransactionCommand();
		tide_shared_publish(tide_ingest_position(in), in->checkpoint.lsn,
							in->checkpoint.op_id);
	} while (done);

	/* what this loaded of today's catalogs must not be taken for the past */
	InvalidateSystemCaches();
	pgstat_report_stat(true);
	return later;
}

/* a step of compaction, if one is due: between batches when there are any */
static void
worker_compact(TideIngest *in)
{
	if (in->needs_reload || tide_compact_due(in) != 0)
		return;
	tide_shared_worker_state(TIDE_WORKER_COMPACTING);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) tide_compact_step(in);
	CommitTransactionCommand();
	pgstat_report_stat(false);
}

static void
worker_wait(TideIngest *in, bool retry, bool found)
{
	static long poll_ms = POLL_MIN_MS;
	long		timeout = IDLE_MS;
	long		due = tide_compact_due(in);

	tide_shared_worker_state(TIDE_WORKER_IDLE);
	if (!tide_shared_available())
	{
		poll_ms = found ? POLL_MIN_MS : Min(poll_ms * 2, POLL_MAX_MS);
		timeout = poll_ms;
	}
	if (retry)
		timeout = Min(timeout, RETRY_MS);
	if (tide_tree_has_windows(in))
		timeout = Min(timeout, tide_tick_interval);
	if (due >= 0)
		timeout = Min(timeout, due);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout,
					 tide_wait_event_compat("TideIngestMain"));
}

/* note the error where tide.status and tide.shapes show it */
static void
worker_failed(void)
{
	ErrorData  *error;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	List	   *shape_ids = tide_blame_take();

	HOLD_INTERRUPTS();
	EmitErrorReport();
	error = CopyErrorData();
	FlushErrorState();
	RESUME_INTERRUPTS();
	MemoryContextSwitchTo(old);
	AbortCurrentTransaction();
	if (MyReplicationSlot != NULL)
		ReplicationSlotRelease();

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	(void) tide_blame_note(error, &shape_ids);
	PopActiveSnapshot();
	CommitTransactionCommand();
}
