/*
 * shared.c
 *	  Shared memory of the ingest workers, and how they are woken and waited for.
 *
 * One entry per database that ever started pg_tide since the server came up. A
 * commit in that database stores its LSN as target and sets the worker's latch, so
 * the worker never polls; each checkpoint is published and broadcast to waiters.
 * Entries are never freed: a dropped database leaves one behind until restart.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "crdt/hlc.h"
#include "store/checkpoint.h"
#include "store/shared.h"
#include "util/compat.h"

#define TIDE_MAX_DATABASES	64
#define TIDE_POLL_MS		5	/* waiting without a worker that tells */
#define TIDE_SLOW_POLL_MS	100 /* on a standby */

typedef struct TideSharedDb
{
	Oid			dboid;			/* fixed once set */
	pg_atomic_uint32 pid;		/* 0: no worker */
	pg_atomic_uint32 state;		/* TideWorkerState */
	pg_atomic_uint64 latch;		/* Latch * of the worker's PGPROC, 0: none */
	pg_atomic_uint64 target;	/* newest commit told of */
	pg_atomic_uint64 processed; /* WAL taken in up to here */
	pg_atomic_uint64 checkpoint_lsn;
	pg_atomic_uint64 op_id;
	pg_atomic_uint64 at_end;	/* TimestampTz: it was at the end of the WAL */
	pg_atomic_uint64 loads[2];	/* source, shape: id << 32 | share in
								 * millionths */
	ConditionVariable published;	/* a checkpoint was published */
} TideSharedDb;

typedef struct TideShared
{
	LWLock	   *lock;			/* guards adding an entry */
	pg_atomic_uint64 hlc;		/* the server's clock, see crdt/hlc.h */
	pg_atomic_uint32 ndbs;
	TideSharedDb dbs[TIDE_MAX_DATABASES];
} TideShared;

/* process caches: the shared struct, this database's entry, our last commit */
static TideShared *shared = NULL;
static TideSharedDb *my_db = NULL;
static uint32 my_db_searched = 0;
static XLogRecPtr last_commit_seen = InvalidXLogRecPtr;

static shmem_request_hook_type prev_shmem_request = NULL;
static shmem_startup_hook_type prev_shmem_startup = NULL;

static void shared_request(void);
static void shared_startup(void);
static void shared_on_xact(XactEvent event, void *arg);
static void shared_worker_detach(int code, Datum arg);
static TideSharedDb *shared_find(bool create);

void
tide_shared_init(void)
{
	if (process_shared_preload_libraries_in_progress)
	{
		prev_shmem_request = shmem_request_hook;
		shmem_request_hook = shared_request;
		prev_shmem_startup = shmem_startup_hook;
		shmem_startup_hook = shared_startup;
		RegisterXactCallback(shared_on_xact, NULL);
	}
}

bool
tide_shared_available(void)
{
	return shared != NULL;
}

static void
shared_request(void)
{
	if (prev_shmem_request)
		prev_shmem_request();
	RequestAddinShmemSpace(MAXALIGN(sizeof(TideShared)));
	RequestNamedLWLockTranche("pg_tide", 1);
}

static void
shared_startup(void)
{
	bool		found;

	if (prev_shmem_startup)
		prev_shmem_startup();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("pg_tide", sizeof(TideShared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(TideShared));
		shared->lock = &(GetNamedLWLockTranche("pg_tide"))->lock;
		pg_atomic_init_u64(&shared->hlc, 0);
		pg_atomic_init_u32(&shared->ndbs, 0);
		for (int i = 0; i < TIDE_MAX_DATABASES; i++)
		{
			TideSharedDb *db = &shared->dbs[i];

			pg_atomic_init_u32(&db->pid, 0);
			pg_atomic_init_u32(&db->state, TIDE_WORKER_NONE);
			pg_atomic_init_u64(&db->latch, 0);
			pg_atomic_init_u64(&db->target, 0);
			pg_atomic_init_u64(&db->processed, 0);
			pg_atomic_init_u64(&db->checkpoint_lsn, 0);
			pg_atomic_init_u64(&db->op_id, 0);
			pg_atomic_init_u64(&db->at_end, 0);
			for (int l = 0; l < lengthof(db->loads); l++)
				pg_atomic_init_u64(&db->loads[l], 0);
			ConditionVariableInit(&db->published);
		}
	}
	LWLockRelease(AddinShmemInitLock);
	tide_hlc_attach(&shared->hlc);
}

/* entry of this database, or NULL; a new entry is looked for only when one was added */
static TideSharedDb *
shared_find(bool create)
{
	uint32		n;

	if (shared == NULL || my_db != NULL)
		return my_db;

	n = pg_atomic_read_u32(&shared->ndbs);
	if (n == my_db_searched && !create)
		return NULL;
	for (uint32 i = 0; i < n; i++)
		if (shared->dbs[i].dboid == MyDatabaseId)
			return my_db = &shared->dbs[i];
	my_db_searched = n;
	if (!create)
		return NULL;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	n = pg_atomic_read_u32(&shared->ndbs);
	for (uint32 i = 0; i < n; i++)
		if (shared->dbs[i].dboid == MyDatabaseId)
			my_db = &shared->dbs[i];
	if (my_db == NULL && n < TIDE_MAX_DATABASES)
	{
		my_db = &shared->dbs[n];
		my_db->dboid = MyDatabaseId;
		pg_write_barrier();
		pg_atomic_write_u32(&shared->ndbs, n + 1);
	}
	LWLockRelease(shared->lock);
	if (my_db == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases use pg_tide"),
				 errdetail("At most %d databases of a server can run pg_tide between two restarts.",
						   TIDE_MAX_DATABASES)));
	return my_db;
}

/* a transaction that wrote WAL committed: tell the worker how far to read */
static void
shared_on_xact(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_PARALLEL_COMMIT)
		return;
	if (XactLastCommitEnd == last_commit_seen)
		return;					/* read-only */
	last_commit_seen = XactLastCommitEnd;
	tide_shared_wake(XactLastCommitEnd);
}

void
tide_shared_wake(XLogRecPtr upto)
{
	TideSharedDb *db;
	uint64		old;
	Latch	   *latch;

	if (!OidIsValid(MyDatabaseId))
		return;
	db = shared_find(false);
	if (db == NULL || pg_atomic_read_u32(&db->pid) == (uint32) MyProcPid)
		return;

	old = pg_atomic_read_u64(&db->target);
	while (old < upto && !pg_atomic_compare_exchange_u64(&db->target, &old, upto))
		;
	pg_memory_barrier();
	latch = (Latch *) (uintptr_t) pg_atomic_read_u64(&db->latch);
	if (latch != NULL)
		SetLatch(latch);
}

XLogRecPtr
tide_shared_target(void)
{
	return my_db ? pg_atomic_read_u64(&my_db->target) : InvalidXLogRecPtr;
}

void
tide_shared_worker_attach(void)
{
	TideSharedDb *db = shared_find(true);

	if (db == NULL)
		return;
	pg_atomic_write_u32(&db->pid, MyProcPid);
	pg_atomic_write_u32(&db->state, TIDE_WORKER_STARTING);
	pg_atomic_write_u64(&db->latch, (uint64) (uintptr_t) & MyProc->procLatch);
	before_shmem_exit(shared_worker_detach, 0);
}

static void
shared_worker_detach(int code, Datum arg)
{
	pg_atomic_write_u64(&my_db->latch, 0);
	pg_atomic_write_u32(&my_db->pid, 0);
	pg_atomic_write_u32(&my_db->state, TIDE_WORKER_NONE);
	ConditionVariableBroadcast(&my_db->published);
}

void
tide_shared_worker_state(TideWorkerState state)
{
	if (my_db != NULL)
		pg_atomic_write_u32(&my_db->state, state);
}

void
tide_shared_publish(XLogRecPtr processed, XLogRecPtr checkpoint_lsn, int64 op_id)
{
	TideSharedDb *db = shared_find(false);

	if (db == NULL)
		return;
	pg_atomic_write_u64(&db->processed, processed);
	if (pg_atomic_read_u64(&db->checkpoint_lsn) == checkpoint_lsn &&
		pg_atomic_read_u64(&db->op_id) == (uint64) op_id)
		return;
	pg_atomic_write_u64(&db->op_id, op_id);
	pg_atomic_write_u64(&db->checkpoint_lsn, checkpoint_lsn);
	ConditionVariableBroadcast(&db->published);
}

void
tide_shared_at_end(void)
{
	if (my_db != NULL)
		pg_atomic_write_u64(&my_db->at_end, GetCurrentTimestamp());
}

void
tide_shared_publish_load(const TideSharedLoad *source, const TideSharedLoad *shape)
{
	const TideSharedLoad *loads[] = {source, shape};

	for (int l = 0; my_db != NULL && l < lengthof(loads); l++)
		pg_atomic_write_u64(&my_db->loads[l], (uint64) loads[l]->id << 32 |
							(uint32) (Min(loads[l]->share, 1.0) * 1000000));
}

static TideSharedLoad
read_load(pg_atomic_uint64 *stored)
{
	uint64		value = pg_atomic_read_u64(stored);
	TideSharedLoad load = {(int) (value >> 32), (uint32) value / 1000000.0};

	return load;
}

void
tide_shared_worker_info(TideWorkerInfo *info)
{
	TideSharedDb *db = shared_find(false);

	memset(info, 0, sizeof(TideWorkerInfo));
	if (db == NULL)
		return;
	info->pid = (int) pg_atomic_read_u32(&db->pid);
	info->state = pg_atomic_read_u32(&db->state);
	info->processed = pg_atomic_read_u64(&db->processed);
	info->at_end = pg_atomic_read_u64(&db->at_end);
	info->source = read_load(&db->loads[0]);
	info->shape = read_load(&db->loads[1]);
}

const char *
tide_worker_state_name(TideWorkerState state)
{
	switch (state)
	{
		case TIDE_WORKER_NONE:
			return "stopped";
		case TIDE_WORKER_STARTING:
			return "starting";
		case TIDE_WORKER_IDLE:
			return "idle";
		case TIDE_WORKER_READING:
			return "reading";
		case TIDE_WORKER_APPLYING:
			return "applying";
		case TIDE_WORKER_COPYING:
			return "copying";
		case TIDE_WORKER_COMPACTING:
			return "compacting";
	}
	return NULL;				/* keep compiler quiet */
}

/* the checkpoint row under a snapshot of now */
static bool
checkpoint_reached(int64 after_op_id, XLogRecPtr lsn)
{
	TideCheckpoint checkpoint;

	PushActiveSnapshot(GetLatestSnapshot());
	tide_checkpoint_read(&checkpoint);
	PopActiveSnapshot();
	return checkpoint.op_id > after_op_id && checkpoint.lsn >= lsn;
}

bool
tide_shared_wait(int64 after_op_id, XLogRecPtr lsn, long timeout_ms)
{
	TideSharedDb *db = RecoveryInProgress() ? NULL : shared_find(false);
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_ms);
	bool		reached = checkpoint_reached(after_op_id, lsn);

	while (!reached)
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

		if (left <= 0)
			break;
		if (db != NULL && pg_atomic_read_u32(&db->pid) != 0)
		{
			if ((int64) pg_atomic_read_u64(&db->op_id) <= after_op_id ||
				pg_atomic_read_u64(&db->checkpoint_lsn) < lsn)
				(void) ConditionVariableTimedSleep(&db->published, left,
												   PG_WAIT_EXTENSION);
			reached = (int64) pg_atomic_read_u64(&db->op_id) > after_op_id &&
				pg_atomic_read_u64(&db->checkpoint_lsn) >= lsn;
		}
		else
		{
			/*
			 * No worker to publish: a standby, tide.ingest(), no preload, or
			 * it is about to start. A broadcast that this wait swallowed
			 * would leave us off the list of the condition variable, so get
			 * on it anew for the next sleep.
			 */
			ConditionVariableCancelSleep();
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 Min(left, RecoveryInProgress() ? TIDE_SLOW_POLL_MS : TIDE_POLL_MS), PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			reached = checkpoint_reached(after_op_id, lsn);
			shared_find(false);
			db = RecoveryInProgress() ? NULL : my_db;
		}
		CHECK_FOR_INTERRUPTS();
	}
	ConditionVariableCancelSleep();
	return reached;
}
