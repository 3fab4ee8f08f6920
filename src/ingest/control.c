/*
 * control.c
 *	  Starting, stopping and waiting for the ingest.
 *
 * The slot is not transactional, the switch in tide_internal.state is. start() creates the
 * slot before it writes anything (core allows it only then) or leaves that to the worker,
 * which it starts before it commits; the worker waits for the lock on the state table and goes away if the
 * transaction is rolled back. stop() ends the worker before it commits, and launches
 * another if its transaction is rolled back.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "replication/message.h"
#include "replication/slot.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"
#include "utils/wait_event.h"

#include "catalog/shape_catalog.h"
#include "ingest/capture.h"
#include "ingest/control.h"
#include "ingest/ingest.h"
#include "ingest/rebuild.h"
#include "ingest/resync.h"
#include "ingest/round.h"
#include "ingest/worker.h"
#include "store/shared.h"
#include "util/compat.h"
#include "util/errors.h"
#include "util/guc.h"
#include "util/meta_table.h"
#include "util/spi.h"

#define STOP_TRIES		200		/* of STOP_WAIT_MS */
#define STOP_WAIT_MS	50
#define STOP_KILL_EVERY 40		/* tries */
#define SYNC_SLICE_MS	100		/* a shape that fails gives no op_id */

static SPIPlanPtr building_plan = NULL;

/* a worker was ended in this transaction, or a slot made */
static bool relaunch_on_abort = false;

static void require_primary(const char *function);
static void require_read_write(const char *function);
static void require_settings(void);
static void lock_state(TideState *state);
static char *default_slot_name(void);
static int	slot_holder(const char *slot_name);
static void run_with_name(const char *sql, const char *name);
static void end_worker(const char *slot_name);

static void
require_primary(const char *function)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute %s during recovery", function),
				 errhint("Only the primary server runs the ingest.")));
}

/* before anything else: what becomes of slots and workers is not undone with the transaction */
static void
require_read_write(const char *function)
{
	require_primary(function);
	PreventCommandIfReadOnly(function);
}

/* the settings without which the slot cannot be used, each with the cure */
static void
require_settings(void)
{
	const char *plugins = GetConfigOption("output_plugin_libraries", true, false);
	List	   *names;
	ListCell   *lc;

	if (wal_level < WAL_LEVEL_LOGICAL)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_NOT_RUNNING),
				 errmsg("pg_tide requires \"wal_level\" to be \"logical\""),
				 errhint("Run ALTER SYSTEM SET wal_level = 'logical' and restart the server.")));
	if (plugins == NULL)
		return;					/* this minor has no such setting */
	if (!SplitGUCList(pstrdup(plugins), ',', &names))
		names = NIL;
	foreach(lc, names)
	{
		if (strcmp(lfirst(lc), "pg_tide") == 0)
			return;
	}
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_NOT_RUNNING),
			 errmsg("library \"%s\" is not in \"output_plugin_libraries\"", "pg_tide"),
			 errhint("Run ALTER SYSTEM SET output_plugin_libraries = %s, pg_tide and "
					 "SELECT pg_reload_conf().", plugins[0] ? plugins : "pgoutput")));
}

/* one start, stop or reset at a time; also read what the last one left */
static void
lock_state(TideState *state)
{
	LockRelationOid(tide_meta_relid("state"), ShareRowExclusiveLock);
	PushActiveSnapshot(GetLatestSnapshot());
	tide_state_read(state);
	PopActiveSnapshot();
}

/* tide_<database>; characters a slot name cannot have become '_', with the OID for difference */
static char *
default_slot_name(void)
{
	const char *database = get_database_name(MyDatabaseId);
	char	   *name = psprintf("tide_%s", database);
	bool		differs = strlen(name) >= NAMEDATALEN;

	for (char *p = name; *p != '\0'; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '_'))
		{
			*p = '_';
			differs = true;
		}
	if (differs)
		name = psprintf("%.*s_%u", NAMEDATALEN - 12, name, MyDatabaseId);
	return name;
}

/* that of the last start; unless the database is a copy of another, whose slot it is */
static char *
usable_slot_name(const TideState *state)
{
	ReplicationSlot *slot = state->slot_name[0] ?
	SearchNamedReplicationSlot(state->slot_name, true) : NULL;

	if (state->slot_name[0] == '\0' ||
		(slot != NULL && SlotIsLogical(slot) && slot->data.database != MyDatabaseId))
		return default_slot_name();
	return pstrdup(state->slot_name);
}

/* pid of the process that has the slot acquired, 0 if none, -1 if there is no such slot */
static int
slot_holder(const char *slot_name)
{
	ReplicationSlot *slot = slot_name[0] ? SearchNamedReplicationSlot(slot_name, true) : NULL;

	return slot == NULL ? -1 : slot->active_pid;
}

static void
run_with_name(const char *sql, const char *name)
{
	TideSpiFrame frame;
	Oid			types[] = {NAMEOID};
	NameData	value;
	Datum		values[1];

	namestrcpy(&value, name);
	values[0] = NameGetDatum(&value);
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (SPI_execute_with_args(sql, 1, types, values, NULL, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	tide_spi_end(&frame);
}

static void
require_our_slot(const char *slot_name)
{
	ReplicationSlot *slot = SearchNamedReplicationSlot(slot_name, true);

	if (strcmp(NameStr(slot->data.plugin), "pg_tide") != 0 ||
		slot->data.database != MyDatabaseId)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("replication slot \"%s\" exists but is not of plugin \"%s\" in this database",
						slot_name, "pg_tide")));
}

/*
 * A slot that was there before the extension first used one is left by an extension dropped before, with no
 * worker to remove it. What it would read speaks of tables that no longer exist.
 */
static void
drop_leftover_slot(const TideState *state, const char *slot_name)
{
	if (state->slot_name[0] != '\0' || slot_holder(slot_name) != 0)
		return;
	require_our_slot(slot_name);
	ReplicationSlotDrop(slot_name, true);
}

/*
 * One that is ahead of the checkpoint while the ingest is disabled was made in a transaction that was rolled
 * back. Nothing can be read from it that the tables would not have to be compared for, and it would keep WAL for nobody.
 */
void
tide_ingest_drop_unused_slot(const TideState *state)
{
	char	   *slot_name = usable_slot_name(state);
	ReplicationSlot *slot = SearchNamedReplicationSlot(slot_name, true);
	TideCheckpoint checkpoint;

	tide_checkpoint_read(&checkpoint);
	if (slot == NULL || slot->active_pid != 0 || !SlotIsLogical(slot) ||
		slot->data.database != MyDatabaseId ||
		strcmp(NameStr(slot->data.plugin), "pg_tide") != 0 ||
		slot->data.confirmed_flush <= checkpoint.lsn)
		return;
	ReplicationSlotDrop(slot_name, true);
	ereport(LOG,
			(errmsg("pg_tide dropped replication slot \"%s\", which was made in a transaction that did not commit",
					slot_name)));
}

/*
 * A stop() that is rolled back must not leave the database without its worker, nor what made a slot
 * the slot without anybody: the worker finds out what is to be.
 */
static void
relaunch_at_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT && relaunch_on_abort)
		(void) tide_worker_launch(MyDatabaseId, false);
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT)
		relaunch_on_abort = false;
}

static void
launch_on_abort(void)
{
	static bool is_registered = false;

	if (!is_registered)
		RegisterXactCallback(relaunch_at_end, NULL);
	is_registered = true;
	relaunch_on_abort = true;
}

/* in this transaction, though it does not go with it */
static void
make_slot(const char *slot_name)
{
	launch_on_abort();
	tide_ingest_create_slot(slot_name);
}

char *
tide_ingest_start(void)
{
	TideState	state;
	char	   *slot_name;

	require_read_write("tide.start()");
	require_settings();
	lock_state(&state);
	slot_name = usable_slot_name(&state);
	drop_leftover_slot(&state, slot_name);

	/*
	 * In a transaction that has written core makes no slot: then the worker
	 * makes it, once this transaction has committed.
	 */
	if (slot_holder(slot_name) < 0 &&
		!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		make_slot(slot_name);
	if (slot_holder(slot_name) >= 0)
		require_our_slot(slot_name);
	run_with_name("UPDATE tide_internal.state SET enabled = true, slot_name = $1", slot_name);
	if (slot_holder(slot_name) <= 0 && !tide_worker_launch(MyDatabaseId, true))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("could not start the pg_tide worker"),
				 errhint("Increase max_worker_processes, or use tide.ingest().")));
	return slot_name;
}

/* end whatever worker has the slot; the lock on the state keeps the next one waiting */
static void
end_worker(const char *slot_name)
{
	for (int i = 0; i < STOP_TRIES; i++)
	{
		int			pid = slot_holder(slot_name);
		PGPROC	   *proc;

		if (pid <= 0)
			return;
		proc = BackendPidGetProc(pid);
		if (proc != NULL && !tide_is_background_worker_compat(proc))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("replication slot \"%s\" is in use by process %d", slot_name, pid)));
		if (proc != NULL && i % STOP_KILL_EVERY == 0)
		{
			/*
			 * at first ask it to end for good; the postmaster restarts a
			 * terminated one
			 */
			launch_on_abort();
			(void) kill(pid, i == 0 ? SIGUSR2 : SIGTERM);
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 i < 10 ? 2 : STOP_WAIT_MS, tide_wait_event_compat("TideStop"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_TIMEOUT),
			 errmsg("the pg_tide worker did not stop in time")));
}

void
tide_ingest_stop(void)
{
	TideState	state;

	require_read_write("tide.stop()");
	lock_state(&state);
	end_worker(state.slot_name);
	run_with_name("UPDATE tide_internal.state SET enabled = false WHERE $1 IS NOT NULL", "");
}

void
tide_ingest_reset(void)
{
	TideState	state;

	require_read_write("tide.reset()");
	lock_state(&state);
	end_worker(state.slot_name);
	if (slot_holder(state.slot_name) >= 0)
		run_with_name("SELECT pg_catalog.pg_drop_replication_slot($1)", state.slot_name);
	PushActiveSnapshot(GetLatestSnapshot());
	tide_rebuild_all();
	PopActiveSnapshot();
	run_with_name("UPDATE tide_internal.state SET enabled = false WHERE $1 IS NOT NULL", "");
}

/* the slot of tide.ingest(), made if it is missing or lost */
static void
obtain_slot(TideState *state)
{
	char	   *slot_name = usable_slot_name(state);
	ReplicationSlot *slot;

	drop_leftover_slot(state, slot_name);
	strlcpy(state->slot_name, slot_name, NAMEDATALEN);
	slot = SearchNamedReplicationSlot(state->slot_name, true);
	if (slot != NULL)
		require_our_slot(state->slot_name);
	if (slot != NULL && slot->active_pid == 0 && tide_ingest_slot_is_lost(slot))
		ReplicationSlotDrop(state->slot_name, true);
	if (slot_holder(state->slot_name) < 0)
		make_slot(state->slot_name);
}

int64
tide_ingest_round(int64 max_changes)
{
	TideState	state;
	int64		changes;

	require_read_write("tide.ingest()");
	require_settings();
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("tide.ingest() cannot run in a transaction that has performed writes")));
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("tide.ingest() must run in a READ COMMITTED transaction")));
	lock_state(&state);
	if (state.enabled)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_NOT_RUNNING),
				 errmsg("the pg_tide worker of this database is active"),
				 errhint("Use tide.stop() before tide.ingest().")));
	obtain_slot(&state);
	changes = tide_round_run(state.slot_name, max_changes);
	run_with_name("UPDATE tide_internal.state SET slot_name = $1", state.slot_name);
	return changes;
}

/*
 * Whether a shape is still to be built that is not this transaction's own, which nobody else sees yet;
 * *op_id: that of the checkpoint in the same snapshot.
 */
static bool
is_building(int64 *op_id)
{
	TideCheckpoint checkpoint;
	bool		building = false;
	TideSpiFrame frame;

	PushActiveSnapshot(GetLatestSnapshot());
	tide_checkpoint_read(&checkpoint);
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(&building_plan,
				 "SELECT xmin FROM tide_internal.shapes WHERE state = 'building'", 0, NULL, NULL,
				 NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		xmin = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);

		building |= !TransactionIdIsCurrentTransactionId(DatumGetTransactionId(xmin));
	}
	tide_spi_end(&frame);
	PopActiveSnapshot();
	*op_id = checkpoint.op_id;
	return building;
}

void
tide_ingest_sync(long timeout_ms)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	TideState	state;
	XLogRecPtr	mark;
	int64		op_id;
	bool		reached;

	require_primary("tide.sync()");
	tide_extension_check_version();
	PushActiveSnapshot(GetLatestSnapshot());
	tide_state_read(&state);
	PopActiveSnapshot();
	if (!state.enabled)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_NOT_RUNNING),
				 errmsg("pg_tide is not started in this database"),
				 errhint("Use tide.start().")));

	/* everything that committed before is in the WAL before this mark */
	mark = LogLogicalMessage_compat(TIDE_SYNC_PREFIX, "", 0, false);
	XLogFlush(mark);
	tide_shared_wake(mark);
	reached = tide_shared_wait(-1, mark, timeout_ms);

	/*
	 * shapes created before the call count as well: they become live with a
	 * new op_id
	 */
	while (reached && is_building(&op_id))
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

		(void) tide_shared_wait(op_id, mark, Min(left, SYNC_SLICE_MS));
		reached = left > 0;
	}
	if (!reached)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_TIMEOUT),
				 errmsg("tide: waiting for the checkpoint timed out"),
				 errdetail("The change log has not reached %X/%X within %ld ms.",
						   LSN_FORMAT_ARGS(mark), timeout_ms),
				 errhint("See the view tide.status.")));
}
