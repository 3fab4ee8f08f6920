/*
 * settle.c
 *	  Rows of small buckets that lag behind the change log.
 *
 * store/bucket.c leaves the row of a small bucket alone while its rows only change. It is written when
 * it has to be for another reason, or when there is time. Who has the bucket in
 * memory since its row was true knows what to write; else its entries are summed up.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ingest/apply.h"
#include "ingest/settle.h"
#include "store/bucket_reader.h"
#include "store/log_reader.h"
#include "util/guc.h"
#include "util/spi.h"

#define SETTLE_MS		1000	/* what a bucket lags at least */
#define SEARCH_MS		(300 * 1000L)	/* between two searches */

typedef struct TideSettling
{
	TimestampTz next_step;		/* 0: nothing to do */
	bool		is_unknown;		/* who lags: some are not in memory */
	int64		searched_upto;	/* bucket_id; -1: not searching */
	TimestampTz next_search;	/* at the earliest */
} TideSettling;

/* a change log open for summing up */
typedef struct OpenLog
{
	int			source_id;
	TideLogReader *reader;
} OpenLog;

/* way through the logs of buckets that come in order of their shapes' ids */
typedef struct LogWalk
{
	TideIngest *in;
	ListCell   *shape;			/* of in->shapes, which is in that order as
								 * well */
	List	   *open;			/* of OpenLog */
} LogWalk;

static int
source_of_node(const TideShape *shape, int node_id)
{
	ListCell   *lc;

	foreach(lc, shape->nodes)
	{
		if (((TideShapeNode *) lfirst(lc))->node_id == node_id)
			return ((TideShapeNode *) lfirst(lc))->source_id;
	}
	return 0;
}

/* reader of a source's log, what we wrote just now included; NULL if the source is not live */
static TideLogReader *
log_of_source(LogWalk *walk, int source_id)
{
	HASH_SEQ_STATUS status;
	TideWatch  *watch;
	OpenLog    *log;
	ListCell   *lc;

	foreach(lc, walk->open)
	{
		if (((OpenLog *) lfirst(lc))->source_id == source_id)
			return ((OpenLog *) lfirst(lc))->reader;
	}
	log = palloc0(sizeof(OpenLog));
	log->source_id = source_id;
	hash_seq_init(&status, walk->in->watches);
	while ((watch = hash_seq_search(&status)) != NULL)
		if (watch->shadow->source->source_id == source_id)
			log->reader = tide_log_reader_open(watch->shadow->source, SnapshotSelf);
	walk->open = lappend(walk->open, log);
	return log->reader;
}

static void
settle_bucket(TideBucket *bucket, TideLogReader *reader)
{
	TideLogSum	sum;

	tide_log_reader_sum(reader, bucket->bucket_id, &sum);
	bucket->checksum = sum.checksum;
	bucket->last_op_id = Max(bucket->last_op_id, sum.last_op_id);
	bucket->is_settled = true;
}

static void
begin_walk(LogWalk *walk, TideIngest *in)
{
	walk->in = in;
	walk->shape = list_head(in->shapes);
	walk->open = NIL;
}

/* reader of the log of a shape's node; NULL if nobody reads it: dropped, or to be built anew */
static TideLogReader *
walk_to(LogWalk *walk, int shape_id, int node_id)
{
	while (walk->shape != NULL &&
		   ((TideShape *) lfirst(walk->shape))->shape_id < shape_id)
		walk->shape = lnext(walk->in->shapes, walk->shape);
	if (walk->shape == NULL || ((TideShape *) lfirst(walk->shape))->shape_id != shape_id)
		return NULL;
	return log_of_source(walk, source_of_node(lfirst(walk->shape), node_id));
}

static void
end_walk(LogWalk *walk)
{
	ListCell   *lc;

	foreach(lc, walk->open)
	{
		if (((OpenLog *) lfirst(lc))->reader != NULL)
			tide_log_reader_close(((OpenLog *) lfirst(lc))->reader);
	}
	list_free_deep(walk->open);
}

static int
compare_buckets(const ListCell *a, const ListCell *b)
{
	int			x = ((const TideBucket *) lfirst(a))->shape_id;
	int			y = ((const TideBucket *) lfirst(b))->shape_id;

	return (x > y) - (x < y);
}

static int
compare_infos(const ListCell *a, const ListCell *b)
{
	int			x = ((const TideBucketInfo *) lfirst(a))->shape_id;
	int			y = ((const TideBucketInfo *) lfirst(b))->shape_id;

	return (x > y) - (x < y);
}

void
tide_settle_buckets(void *arg, List *buckets)
{
	LogWalk		walk;
	ListCell   *lc;

	begin_walk(&walk, arg);
	list_sort(buckets, compare_buckets);
	foreach(lc, buckets)
	{
		TideBucket *bucket = lfirst(lc);
		TideLogReader *reader = walk_to(&walk, bucket->shape_id, bucket->node_id);

		if (reader != NULL)
			settle_bucket(bucket, reader);
	}
	end_walk(&walk);
}

/* ---- steps */

static TideSettling *
settling_of(TideIngest *in)
{
	if (in->settling == NULL)
	{
		in->settling = MemoryContextAllocZero(in->context, sizeof(TideSettling));
		in->settling->searched_upto = -1;
		in->settling->is_unknown = in->checkpoint.lagging;	/* of an earlier run */
	}
	in->settling->is_unknown |= tide_buckets_lost_some(in->buckets);
	return in->settling;
}

bool
tide_settle_is_lagging(TideIngest *in)
{
	return settling_of(in)->is_unknown || in->settling->searched_upto >= 0 ||
		tide_buckets_lag(in->buckets);
}

TimestampTz
tide_settle_due(TideIngest *in, TimestampTz now)
{
	TideSettling *s = settling_of(in);

	if (s->searched_upto < 0 && s->is_unknown && s->next_search <= now)
	{
		s->searched_upto = 0;
		s->is_unknown = false;
	}
	if (s->searched_upto < 0 && !tide_buckets_lag(in->buckets))
		s->next_step = 0;
	else if (s->next_step == 0)
		s->next_step = TimestampTzPlusMilliseconds(now, SETTLE_MS);
	return s->next_step == 0 ? DT_NOEND : s->next_step;
}

/* look at some more buckets */
static void
search(TideIngest *in, TimestampTz now)
{
	TideSettling *s = in->settling;
	TideBucketReader *reader = tide_bucket_reader_open(SnapshotSelf);
	List	   *infos = tide_bucket_reader_after(reader, s->searched_upto,
												 tide_compaction_batch);
	LogWalk		walk;
	ListCell   *lc;

	tide_bucket_reader_close(reader);
	s->searched_upto = list_length(infos) < tide_compaction_batch ? -1 :
		((TideBucketInfo *) llast(infos))->bucket_id;
	s->next_search = TimestampTzPlusMilliseconds(now, SEARCH_MS);

	begin_walk(&walk, in);
	list_sort(infos, compare_infos);
	foreach(lc, infos)
	{
		TideBucketInfo *info = lfirst(lc);
		TideLogReader *log = !info->may_lag ? NULL :
		walk_to(&walk, info->shape_id, info->node_id);
		TideBucket *bucket = log == NULL ||
		tide_log_reader_count(log, info->bucket_id, info->last_op_id, 1) == 0 ? NULL :
		tide_bucket_by_id(in->buckets, info->bucket_id);

		if (bucket != NULL)
			tide_bucket_touch(in->buckets, bucket);
	}
	end_walk(&walk);
	list_free_deep(infos);
}

/* few while changes come in: most buckets would only lag again */
void
tide_settle_step(TideIngest *in, TimestampTz now)
{
	bool		is_idle = TimestampTzPlusMilliseconds(in->applied_at, SETTLE_MS) <= now;

	if (tide_settle_due(in, now) > now)
		return;
	if (tide_buckets_lag(in->buckets))
		(void) tide_buckets_settle(in->buckets, tide_compaction_batch);
	else
		search(in, now);
	in->settling->next_step =
		TimestampTzPlusMilliseconds(now, is_idle ? tide_compaction_delay : SETTLE_MS);
}

void
tide_settle_all(TideIngest *in)
{
	tide_apply_begin();
	(void) tide_buckets_settle(in->buckets, PG_INT32_MAX);
	tide_buckets_flush(in->buckets);
	if (in->checkpoint.lagging)
		tide_checkpoint_store(in);
	tide_apply_end();
}

/* ids of the shape's buckets that lag: the result of the query */
static void
find_lagging(const TideSource *source, const TideShape *shape)
{
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(shape->shape_id)};
	char	   *sql = psprintf("SELECT b.bucket_id FROM tide_internal.buckets b"
							   " WHERE b.shape_id = $1 AND b.may_lag AND EXISTS"
							   " (SELECT FROM tide_shadow.log%d l WHERE"
							   " l.bucket_id = b.bucket_id AND l.op_id > b.last_op_id)",
							   source->source_id);

	if (SPI_execute_with_args(sql, lengthof(types), types, values, NULL, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
}

void
tide_settle_source(TideIngest *in, const TideSource *source, List *shapes)
{
	TideLogReader *reader = tide_log_reader_open(source, SnapshotSelf);
	ListCell   *lc;

	foreach(lc, shapes)
	{
		TideSpiFrame frame;
		SPITupleTable *found;

		tide_spi_begin(&frame, TIDE_AS_OWNER);
		find_lagging(source, lfirst(lc));
		found = SPI_tuptable;
		for (uint64 i = 0; i < found->numvals; i++)
		{
			bool		isnull;
			Datum		id = SPI_getbinval(found->vals[i], found->tupdesc, 1, &isnull);
			TideBucket *bucket = tide_bucket_by_id(in->buckets, DatumGetInt64(id));

			if (bucket == NULL)
				continue;
			settle_bucket(bucket, reader);
			tide_bucket_touch(in->buckets, bucket);
			if (tide_buckets_are_many(in->buckets))
				tide_buckets_flush(in->buckets);
		}
		tide_spi_end(&frame);
	}
	tide_log_reader_close(reader);
	tide_buckets_flush(in->buckets);
	CommandCounterIncrement();
	tide_buckets_be_exact(in->buckets);
}
