/*
 * compaction.c
 *	  Keeping the change log as small as its readers allow.
 *
 * A bucket needs one entry for each of its rows and one for each row that left it. Three
 * ways lead there, none of which reads a log that has nothing to remove:
 *
 * At once: _members tells the op_id of the entry that a new one supersedes, index logN_left_key
 * the leave of a row that enters again. Both go in the transaction that writes the new
 * entry, so there is no list to lose in a crash.
 *
 * By sweeping a bucket: where the old entry's op_id is not known (a shape built over rows that were
 * there already, or compaction was off) it is counted in buckets.stale_count. A bucket
 * with more than a quarter of its rows stale is read once, in steps, so each entry read
 * is paid for by the stale ones gone. The queue of such buckets is bounded; who does
 * not fit comes back with its next entry.
 *
 * By age: tide_internal.marks tells op_ids of the past, index logN_left has the leave entries in
 * their order. Clients that have not seen a forgotten leave are told by buckets.forgotten_op_id
 * to drop the bucket and begin anew. A bucket also forgets leaves when it has many
 * more of them than rows: then beginning anew is cheaper for the client.
 *
 * Readers under older snapshots, here and on standbys, still see what is deleted. VACUUM gives
 * the space back.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ingest/apply.h"
#include "ingest/batch.h"
#include "ingest/build.h"
#include "ingest/compaction.h"
#include "ingest/membership.h"
#include "ingest/prune.h"
#include "ingest/settle.h"
#include "store/log_reader.h"
#include "store/log_remove.h"
#include "util/guc.h"
#include "util/spi.h"

#define QUEUE_SIZE		1024
#define MARKS_KEPT		64		/* in a retention: that exact is it */
#define LOOK_MAX_S		600

typedef struct TideCompaction
{
	TideLogPlaces *places;		/* NULL in tide.ingest(), which ends too soon
								 * to use it */
	int64		queue[QUEUE_SIZE];	/* buckets to sweep */
	int			nqueued;
	bool		search;			/* buckets may be due that are not in the
								 * queue */

	/* the sweep under way */
	int64		bucket_id;		/* 0: none */
	int			source_id;		/* whose log is read; 0: about to begin */
	int64		cursor;			/* read up to here */
	int64		stale_before;	/* stale_count at its begin */
	int64		excess;			/* leaves still to be forgotten */
	int64		kept;			/* leaves met that stay */

	int64		floor;			/* leaves up to here are past their retention */
	bool		forgetting;		/* some may be there */
	bool		pruning;		/* the mutation log may have old ones */
	TimestampTz next_look;
	TimestampTz next_step;
} TideCompaction;

static TideCompaction *compaction_of(TideIngest *in);
static void check_bucket(TideIngest *in, TideBucket *bucket);
static void look(TideIngest *in, TimestampTz now);
static void sweep_step(TideIngest *in);
static void forget_step(TideIngest *in);

static TideCompaction *
compaction_of(TideIngest *in)
{
	if (in->compaction == NULL)
		in->compaction = MemoryContextAllocZero(in->context, sizeof(TideCompaction));
	return in->compaction;
}

void
tide_compact_begin(TideIngest *in)
{
	TideCompaction *c = compaction_of(in);

	if (c->places == NULL)
		c->places = tide_log_places_create(in->context);
	c->search = true;
	c->next_look = 0;
}

/* ---- at once */

void
tide_compact_superseded(TideIngest *in, TideShadow *shadow, const TideLogEntry *entries,
						int n)
{
	TideCompaction *c = compaction_of(in);

	for (int i = 0; i < n; i++)
	{
		const TideLogEntry *entry = &entries[i];
		TideBucket *bucket = tide_bucket_by_id(in->buckets, entry->bucket_id);

		if (bucket == NULL)
			continue;
		if (entry->kind == TIDE_LOG_LEAVE)
			bucket->removed_count++;
		if (entry->kind == TIDE_LOG_ENTER)
		{
			if (tide_compaction &&
				tide_log_remove_leave(shadow, entry->bucket_id, entry->columns))
				bucket->removed_count--;
		}
		else if (!tide_compaction || entry->old_op_id == 0)
		{
			bucket->stale_count++;
			tide_bucket_touch(in->buckets, bucket);
		}
		else
			(void) tide_log_remove(shadow, c->places, entry->bucket_id, entry->old_op_id);
		check_bucket(in, bucket);
	}
	tide_log_end_remove(shadow);
}

void
tide_compact_count(TideIngest *in, const TideLogEntry *entries, int n)
{
	for (int i = 0; i < n; i++)
	{
		TideBucket *bucket = tide_bucket_by_id(in->buckets, entries[i].bucket_id);

		if (bucket == NULL)
			continue;
		bucket->removed_count += entries[i].kind == TIDE_LOG_LEAVE;
		bucket->stale_count += entries[i].kind != TIDE_LOG_ENTER;
		tide_bucket_touch(in->buckets, bucket);
		check_bucket(in, bucket);
	}
}

void
tide_compact_appended(TideIngest *in, const TideLogEntry *entries, int n)
{
	TideCompaction *c = compaction_of(in);

	if (c->places != NULL)
		tide_log_places_note(c->places, entries, n);
}

/* leaves a bucket may have */
static int64
leaves_allowed(const TideBucket *bucket)
{
	return tide_max_removed_rows < 0 ? PG_INT64_MAX :
		tide_max_removed_rows + bucket->row_count;
}

static bool
wants_sweep(const TideBucket *bucket)
{
	return bucket->stale_count > bucket->row_count / 4 ||
		bucket->removed_count > leaves_allowed(bucket);
}

/* put the bucket into the queue if it is due */
static void
check_bucket(TideIngest *in, TideBucket *bucket)
{
	TideCompaction *c;

	if (!tide_compaction || bucket->is_queued || !wants_sweep(bucket))
		return;
	c = compaction_of(in);
	if (c->nqueued == QUEUE_SIZE)
		return;
	c->queue[c->nqueued++] = bucket->bucket_id;
	bucket->is_queued = true;
}

/* ---- steps */

long
tide_compact_due(TideIngest *in)
{
	TideCompaction *c = compaction_of(in);
	TimestampTz now;
	TimestampTz at;

	if (!tide_compaction)
		return -1;
	at = c->nqueued > 0 || c->bucket_id != 0 || c->forgetting || c->pruning ?
		c->next_step : c->next_look;
	now = GetCurrentTimestamp();
	at = Min(at, tide_settle_due(in, now));
	return at <= now ? 0 : TimestampDifferenceMilliseconds(now, at);
}

bool
tide_compact_step(TideIngest *in)
{
	TideCompaction *c = compaction_of(in);
	TimestampTz now = GetCurrentTimestamp();

	tide_apply_begin();
	if (c->next_look <= now)
		look(in, now);
	if (c->forgetting)
		forget_step(in);
	else if (c->bucket_id != 0 || c->nqueued > 0)
		sweep_step(in);
	else if (c->pruning)
		c->pruning = tide_prune_step();
	tide_settle_step(in, now);
	tide_buckets_flush(in->buckets);
	if (in->checkpoint.lagging && !tide_settle_is_lagging(in))
		tide_checkpoint_store(in);
	tide_apply_end();
	c->next_step = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), tide_compaction_delay);
	return c->forgetting || c->bucket_id != 0 || c->nqueued > 0 || c->pruning;
}

/* run a statement with one or two bigints as the extension's owner; rows concerned */
static uint64
run_with(SPIPlanPtr *plan, const char *sql, int64 a, int64 b)
{
	static const Oid types[] = {INT8OID, INT8OID};
	Datum		values[] = {Int64GetDatum(a), Int64GetDatum(b)};

	(void) tide_spi_run(plan, sql, lengthof(types), types, values, NULL, false, 0);
	return SPI_processed;
}

/* what is old by now; a mark for later */
static void
look_at_marks(TideIngest *in, int pause)
{
	static SPIPlanPtr insert_plan = NULL;
	static SPIPlanPtr floor_plan = NULL;
	static SPIPlanPtr delete_plan = NULL;
	TideCompaction *c = in->compaction;
	bool		isnull = true;
	Datum		floor;

	(void) run_with(&insert_plan, "INSERT INTO tide_internal.marks (op_id, at)"
					" SELECT $1, pg_catalog.clock_timestamp() WHERE NOT EXISTS"
					" (SELECT FROM tide_internal.marks m WHERE m.op_id >= $1 OR m.at >"
					" pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => 0.9 * $2))",
					in->checkpoint.op_id, pause);
	(void) run_with(&floor_plan, "SELECT pg_catalog.max(m.op_id) FROM tide_internal.marks m"
					" WHERE m.at <= pg_catalog.clock_timestamp()"
					" - pg_catalog.make_interval(secs => $1) AND m.op_id <= $2",
					tide_removed_retention, in->checkpoint.op_id);
	floor = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (isnull || DatumGetInt64(floor) <= c->floor)
		return;
	c->floor = DatumGetInt64(floor);
	c->forgetting = true;
	(void) run_with(&delete_plan, "DELETE FROM tide_internal.marks m WHERE m.op_id < $1"
					" AND $2 = 0", c->floor, 0);
}

/* buckets that are due though no entry told of it: after a start, a change of settings */
static void
search_buckets(TideIngest *in)
{
	static SPIPlanPtr plan = NULL;
	TideCompaction *c = in->compaction;

	(void) run_with(&plan, "SELECT b.bucket_id FROM tide_internal.buckets b"
					" WHERE b.stale_count > b.row_count / 4 OR b.removed_count > $1"
					" AND b.removed_count > $1 + b.row_count LIMIT $2",
					tide_max_removed_rows < 0 ? PG_INT64_MAX : tide_max_removed_rows,
					QUEUE_SIZE);
	c->search = SPI_processed == QUEUE_SIZE;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		id = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		TideBucket *bucket = tide_bucket_by_id(in->buckets, DatumGetInt64(id));

		if (bucket != NULL)
			check_bucket(in, bucket);
	}
}

static void
look(TideIngest *in, TimestampTz now)
{
	TideCompaction *c = in->compaction;
	int			pause = LOOK_MAX_S;
	TideSpiFrame frame;

	if (tide_removed_retention >= 0)
		pause = Min(pause, tide_removed_retention / MARKS_KEPT);
	if (tide_mutation_retention >= 0)
		pause = Min(pause, tide_mutation_retention / MARKS_KEPT);
	if (tide_client_retention >= 0)
		pause = Min(pause, tide_client_retention / MARKS_KEPT);
	pause = Max(pause, 1);
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (tide_removed_retention >= 0)
		look_at_marks(in, pause);
	if (c->search)
		search_buckets(in);
	tide_spi_end(&frame);
	c->pruning = tide_mutation_retention >= 0 || tide_client_retention >= 0;
	c->next_look = TimestampTzPlusMilliseconds(now, pause * 1000L);
}

/* ---- sweeping */

/* the next log that may have entries of the shape, by source_id; NULL after the last */
static TideWatch *
next_watch(TideIngest *in, int shape_id, int after)
{
	TideWatch  *next = NULL;
	HASH_SEQ_STATUS status;
	TideWatch  *watch;
	ListCell   *lc;

	hash_seq_init(&status, in->watches);
	while ((watch = hash_seq_search(&status)) != NULL)
	{
		int			id = watch->shadow->source->source_id;

		if (id <= after || (next != NULL && next->shadow->source->source_id < id))
			continue;
		foreach(lc, watch->evals)
		{
			if (((TideNodeEval *) lfirst(lc))->shape->shape_id == shape_id)
				next = watch;
		}
	}
	return next;
}

/* begin with the next bucket of the queue that is there and still due; false if none is */
static bool
begin_sweep(TideIngest *in)
{
	TideCompaction *c = in->compaction;

	while (c->nqueued > 0)
	{
		TideBucket *bucket = tide_bucket_by_id(in->buckets, c->queue[--c->nqueued]);

		if (bucket == NULL)
			continue;
		bucket->is_queued = false;
		if (!wants_sweep(bucket))
			continue;
		c->bucket_id = bucket->bucket_id;
		c->source_id = 0;
		c->cursor = 0;
		c->stale_before = bucket->stale_count;
		c->kept = 0;
		c->excess = bucket->removed_count <= leaves_allowed(bucket) ? 0 :
			bucket->removed_count - leaves_allowed(bucket) / 2;
		return true;
	}
	return false;
}

static void
end_sweep(TideIngest *in, TideBucket *bucket)
{
	TideCompaction *c = in->compaction;

	c->bucket_id = 0;
	if (bucket == NULL)
		return;

	/* what became stale meanwhile may be behind the cursor */
	bucket->stale_count = Max(bucket->stale_count - c->stale_before, 0);
	bucket->removed_count = c->kept;
	tide_bucket_touch(in->buckets, bucket);
}

/* whether nobody needs the entry; keeps the bucket's accounts */
static bool
is_needless(TideCompaction *c, TideBucket *bucket, const TideLogScanned *entry)
{
	if (entry->is_put)
		return entry->is_superseded;
	if (!entry->is_superseded && entry->op_id > bucket->forgotten_op_id)
	{
		if (c->excess <= 0)
		{
			c->kept++;
			return false;
		}
		bucket->forgotten_op_id = entry->op_id;
	}
	c->excess--;
	bucket->removed_count = Max(bucket->removed_count - 1, 0);
	return true;
}

/* read on in one log; false at its end */
static bool
sweep_log(TideIngest *in, TideWatch *watch, TideBucket *bucket)
{
	TideCompaction *c = in->compaction;
	TideLogReader *reader = tide_log_reader_open(watch->shadow->source, GetActiveSnapshot());
	ItemPointerData *tids = palloc(sizeof(ItemPointerData) * tide_compaction_batch);
	TideLogScanned entry;
	int			n = 0;
	int			seen = 0;

	tide_log_reader_start(reader, bucket->bucket_id, c->cursor);
	while (seen < tide_compaction_batch && tide_log_reader_scan(reader, &entry))
	{
		CHECK_FOR_INTERRUPTS();
		seen++;
		c->cursor = entry.op_id;
		if (is_needless(c, bucket, &entry))
			tids[n++] = entry.tid;
	}
	tide_log_reader_close(reader);
	if (n > 0)
	{
		tide_shadow_open(watch->shadow, true);
		for (int i = 0; i < n; i++)
			tide_log_remove_at(watch->shadow, &tids[i]);
		tide_shadow_close(watch->shadow);
		tide_bucket_touch(in->buckets, bucket);
	}
	pfree(tids);
	return seen == tide_compaction_batch;
}

static void
sweep_step(TideIngest *in)
{
	TideCompaction *c = in->compaction;
	TideBucket *bucket;
	TideWatch  *watch;

	if (c->bucket_id == 0 && !begin_sweep(in))
		return;
	bucket = tide_bucket_by_id(in->buckets, c->bucket_id);

	/* the log under way, unless it is gone, else the next */
	watch = bucket ? next_watch(in, bucket->shape_id, Max(c->source_id - 1, 0)) : NULL;
	if (watch != NULL && watch->shadow->source->source_id != c->source_id)
	{
		c->source_id = watch->shadow->source->source_id;
		c->cursor = 0;
	}
	if (watch == NULL)
		end_sweep(in, bucket);
	else if (!sweep_log(in, watch, bucket))
	{
		if (next_watch(in, bucket->shape_id, c->source_id) == NULL)
			end_sweep(in, bucket);
		else
			c->source_id++;
		c->cursor = 0;
	}
}

/* ---- retention */

/* a leave entry is gone, so clients must have been beyond it */
static void
note_forgotten(TideIngest *in, const TideLeft *left)
{
	TideBucket *bucket = tide_bucket_by_id(in->buckets, left->bucket_id);

	if (bucket == NULL)
		return;
	bucket->forgotten_op_id = Max(bucket->forgotten_op_id, left->op_id);
	bucket->removed_count = Max(bucket->removed_count - 1, 0);
	tide_bucket_touch(in->buckets, bucket);

	/* nothing in it for so long: whoever still has it is told to drop it */
	if (bucket->row_count == 0 && bucket->removed_count == 0 && bucket->nparts > 0 &&
		bucket->last_op_id <= in->compaction->floor)
		tide_bucket_drop(in->buckets, bucket);
}

/* leave entries past their retention, of one log */
static void
forget_step(TideIngest *in)
{
	TideCompaction *c = in->compaction;
	HASH_SEQ_STATUS status;
	TideWatch  *watch;
	TideLeft   *left;
	int			n;

	hash_seq_init(&status, in->watches);
	while ((watch = hash_seq_search(&status)) != NULL)
		if (watch->forgotten_upto < c->floor)
			break;
	if (watch == NULL)
	{
		c->forgetting = false;
		return;
	}
	hash_seq_term(&status);

	left = palloc(sizeof(TideLeft) * tide_compaction_batch);
	tide_shadow_open(watch->shadow, true);
	n = tide_log_remove_oldest(watch->shadow, watch->forgotten_upto, c->floor, left,
							   tide_compaction_batch);
	tide_shadow_close(watch->shadow);
	for (int i = 0; i < n; i++)
		note_forgotten(in, &left[i]);
	watch->forgotten_upto = n < tide_compaction_batch ? c->floor : left[n - 1].op_id;
	pfree(left);
}
