/*
 * ingest.h
 *	  The state of one ingest: of a worker for its whole life, or of one
 *	  tide.ingest() call.
 */
#ifndef TIDE_INGEST_H
#define TIDE_INGEST_H

#include "access/transam.h"
#include "nodes/pg_list.h"
#include "replication/logical.h"
#include "utils/hsearch.h"
#include "utils/resowner.h"

#include "store/bucket.h"
#include "store/checkpoint.h"
#include "store/shadow.h"

typedef struct TideBatch TideBatch;

/* transactions that a snapshot sees: what it needs of it */
typedef struct TideSeen
{
	TransactionId xmin;
	TransactionId xmax;
	int			nxip;
	TransactionId *xip;			/* sorted */
} TideSeen;

/*
 * A source the decoder listens to. Lives in TideIngest.watch_context, until the
 * shapes are reloaded.
 */
typedef struct TideWatch
{
	Oid			relid;			/* hash key */
	TideShadow *shadow;
	TupleDesc	spool_desc;		/* of the batch's tuples, see batch.h */
	bool		is_broken;		/* definition differs: rebuild before reading
								 * on */

	/*
	 * snapshot of the initial copy; skip what it saw and commits up to
	 * copy_lsn
	 */
	XLogRecPtr	copy_lsn;		/* 0: nothing to skip any more */
	TideSeen	copy_seen;

	List	   *evals;			/* of TideNodeEval: direct nodes on it, each
								 * in a group */
	struct TidePlanGroups *groups;	/* of direct nodes on it; NULL: none */
	List	   *joined;			/* of TideJoined on it, see tree.h */
	bool	   *joins;			/* by column position: some joined node
								 * depends on it; or NULL */
	struct TideVersions *versions;	/* of its rows in this batch; set with
									 * used */
	int64		forgotten_upto; /* leave entries up to here are gone; 0: not
								 * known */
	bool	   *used;			/* by column position: some shape shows or
								 * uses it */
	bool		uses_all;		/* some shape shows columns to come as well */
	Oid			rewrite_relid;	/* the table or the first partition announced */
	Oid			rewrite_from;	/* file of the table before a rewrite that was
								 * announced */
} TideWatch;

typedef struct TideIngest
{
	MemoryContext context;		/* of all of it */
	MemoryContext scratch;		/* of one decoded change */
	MemoryContext watch_context;	/* watches, evals; reset on reload */
	ResourceOwner owner;		/* of the batch's temporary files */
	LogicalDecodingContext *decoder;
	HTAB	   *watches;		/* by relid */
	MemoryContext route_context;	/* of routes; reset when catalogs change */
	HTAB	   *routes;			/* route.c; NULL: to be made */
	uint64		route_version;	/* tide_route_version() they were made at */
	uint64		checked_version;	/* and that of the last tide_recheck() */
	pg_uuid_t	secret;			/* for hashes of rows without key */
	List	   *shapes;			/* of TideShape, not dropped */
	HTAB	   *shape_cache;	/* shape_cache.c */
	TideSeen	shapes_seen;	/* by the last reload */
	List	   *sources;		/* of TideSource */
	Oid			clients_relid;
	Oid			shapes_relid;
	Oid			writable_relid; /* these two say which tables have clocks */
	Oid			policies_relid;
	struct TideServerClocks *server_clocks; /* NULL: no table has any */
	bool		clocks_are_read;
	bool		forget_clocks;	/* some columns may have none any more */
	TideBuckets *buckets;
	TideCheckpoint checkpoint;	/* as stored; op_id runs ahead within a batch */
	TideBatch  *batch;
	List	   *trees;			/* of TideJoined: parents before children */
	List	   *tree_plans;		/* saved plans of theirs, to be freed on
								 * reload */
	MemoryContext tree_context; /* of versions, until the end of the batch */
	struct TideTreeBuild *build;	/* of a shape that is not plain, or NULL */
	List	   *unprepared;		/* ids of redefined shapes whose changes are
								 * not followed yet */
	TimestampTz last_now;		/* of the checkpoint before */
	TimestampTz applied_at;		/* when the last batch was applied, whatever
								 * tide.clock says */
	bool		needs_reload;	/* shapes changed, or a source broke */
	bool		saw_ddl;		/* in the transaction being decoded: look at
								 * the catalogs */
	bool		retry_failed;	/* shapes that did not compile may do so now */
	bool		keep_failed;	/* but leave them alone: some has failed in
								 * this very tide.ingest() */
	List	   *cured;			/* ids of shapes that failed otherwise, and
								 * may not now; the next batch stores it */
	List	   *broken;			/* source_ids to copy again or rebuild */
	List	   *regrown;		/* those of them that only got partitions */
	List	   *regrouped;		/* of TideSource: lost partitions; the next
								 * batch stores it */
	List	   *copied;			/* of TideCopied */
	HTAB	   *shape_rows;		/* for limits.c; in watch_context, NULL until
								 * needed */
	struct TideCompaction *compaction;	/* made when first needed, as the next
										 * two */
	struct TideSettling *settling;
	struct TideLoad *load;
	int64		notified_op_id;
	XLogRecPtr	confirmed;		/* last position told to the slot */
} TideIngest;

/* a persistent slot for the ingest; in a transaction that has not written. Not undone by
 * its rollback. */
extern void tide_ingest_create_slot(const char *slot_name);

/*
 * Acquire the slot and start decoding at the checkpoint. Inside a transaction.
 * ERROR 55006 if somebody else holds the slot.
 */
extern TideIngest *tide_ingest_open(MemoryContext parent, const char *slot_name);
extern void tide_ingest_close(TideIngest *in);

/*
 * Read WAL up to its flushed end or until the batch is full (max_changes, 0:
 * the setting); true at the end of the WAL. Outside of any transaction in the worker.
 */
extern bool tide_ingest_read(TideIngest *in, int64 max_changes);
extern XLogRecPtr tide_ingest_position(TideIngest *in);

/* store the batch and its checkpoint, in the caller's transaction, and empty it */
extern void tide_ingest_apply(TideIngest *in);

/* tell the slot that WAL before lsn is not needed any more */
extern void tide_ingest_confirm(TideIngest *in, XLogRecPtr lsn);

/* note that a source is to be rebuilt; the next batch stores it */
extern void tide_ingest_break(TideIngest *in, int source_id);

/* read shapes and sources anew; in a transaction, batch empty */
extern void tide_ingest_reload(TideIngest *in);

/*
 * Next step of what shapes and sources ask for: rebuild broken sources, clean up after
 * dropped shapes, build new ones. In a transaction of its own, batch empty, after a
 * reload. Returns true if something was done (commit, reload, call again); false if
 * nothing is left; *later if something has to be tried again in a moment.
 */
extern bool tide_ingest_build(TideIngest *in, bool *later);

/*
 * The shape whose expressions are being evaluated, 0 if none: an ERROR is its fault, or that of
 * all tide_evaluating_shapes().
 */
extern int	tide_evaluating_shape;

#endif							/* TIDE_INGEST_H */
