/*
 * launcher.c
 *	  Starting workers: by tide.start(), and at server start and when a standby is promoted for
 *	  every database. And the slots by whose names it is told where there is one to start.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "replication/slot.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "ingest/worker.h"
#include "util/compat.h"

#define RESTART_SECONDS		1
#define PROBE_TRIES		20		/* of PROBE_WAIT_MS */
#define PROBE_WAIT_MS	50

void
tide_worker_init(void)
{
	BackgroundWorker worker = {0};

	/* pg_upgrade wants neither slots nor transactions of ours */
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	strlcpy(worker.bgw_name, "pg_tide launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "pg_tide launcher", BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "pg_tide", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "tide_launcher_main", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

/* named as tide.start() names it */
static bool
is_ingest_slot(const ReplicationSlot *slot)
{
	return SlotIsLogical(slot) &&
		strcmp(NameStr(slot->data.plugin), "pg_tide") == 0 &&
		strncmp(NameStr(slot->data.name), "tide_", 5) == 0;
}

/* whether tide.start() was called in a database of this server and its slot is still there */
static bool
has_ingest_slot(Oid dboid)
{
	bool		found = false;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];

		found |= slot->in_use && is_ingest_slot(slot) && slot->data.database == dboid;
	}
	LWLockRelease(ReplicationSlotControlLock);
	return found;
}

/* databases of the server that can be connected to */
static List *
connectable_databases(void)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *result = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old = MemoryContextSwitchTo(context);

		if (database->datallowconn && !database->datistemplate)
			result = lappend_oid(result, database->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	return result;
}

/* handle: may be NULL; else we are signalled when the worker starts and ends */
static bool
launch(Oid dboid, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker = {0};

	snprintf(worker.bgw_name, BGW_MAXLEN, "pg_tide ingest for database %u", dboid);
	strlcpy(worker.bgw_type, "pg_tide ingest", BGW_MAXLEN);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_SECONDS;
	strlcpy(worker.bgw_library_name, "pg_tide", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "tide_worker_main", BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(dboid);
	worker.bgw_notify_pid = handle ? MyProcPid : 0;
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

/*
 * A worker for each database that has an ingest slot. Then one for every other database, one
 * after the other: in most of them it finds nothing to do and ends at once, but in a
 * restored database or on a standby just promoted the slot may be missing and the
 * ingest enabled.
 */
void
tide_launcher_main(Datum arg)
{
	List	   *databases;
	ListCell   *lc;

	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	databases = connectable_databases();
	foreach(lc, databases)
	{
		if (has_ingest_slot(lfirst_oid(lc)) &&
			!launch(lfirst_oid(lc), NULL))
			ereport(WARNING,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("could not start the pg_tide worker for database %u",
							lfirst_oid(lc)),
					 errhint("Increase max_worker_processes.")));
	}
	foreach(lc, databases)
	{
		BackgroundWorkerHandle *handle;
		pid_t		pid;

		if (has_ingest_slot(lfirst_oid(lc)) || !launch(lfirst_oid(lc), &handle))
			continue;
		for (int i = 0; i < PROBE_TRIES; i++)
		{
			if (GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED)
				break;
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 PROBE_WAIT_MS, tide_wait_event_compat("TideLauncherMain"));
			ResetLatch(MyLatch);
		}
	}
	proc_exit(0);
}

bool
tide_worker_launch(Oid dboid, bool wait)
{
	BackgroundWorkerHandle *handle;
	pid_t		pid;

	if (!launch(dboid, wait ? &handle : NULL))
		return false;
	if (wait && WaitForBackgroundWorkerStartup(handle, &pid) == BGWH_POSTMASTER_DIED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("cannot start the pg_tide worker without the postmaster")));
	return true;
}

void
tide_worker_drop_orphan_slots(void)
{
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];
		NameData	name;
		bool		is_ours;

		LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
		is_ours = slot->in_use && slot->active_pid == 0 && is_ingest_slot(slot) &&
			slot->data.database == MyDatabaseId;
		name = slot->data.name;
		LWLockRelease(ReplicationSlotControlLock);
		if (is_ours)
			ReplicationSlotDrop(NameStr(name), true);
	}
}
