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

#include "ingest/apply.h"
#include "ingest/settle.h"
#include "store/log_reader.h"
#include "util/spi.h"

/* a change log open for summing up */
typedef struct OpenLog
{
	int			source_id;
	TideLogReader *reader;
} OpenLog;

static int
compare_shapes(const ListCell *a, const ListCell *b)
{
	const TideBucket *x = lfirst(a);
	const TideBucket *y = lfirst(b);

	return (x->shape_id > y->shape_id) - (x->shape_id < y->shape_id);
}

static int
source_of_node(const TideShape *shape, int node_id)
{
	ListCell   *lc;

	foreach(lc, shape->nodes)
		if (((TideShapeNode *) lfirst(lc))->node_id == node_id)
			return ((TideShapeNode *) lfirst(lc))->source_id;
	return 0;
}

/* reader of a source's log, what we wrote just now included; NULL if the source is not live */
static TideLogReader *
log_of_source(TideIngest *in, int source_id, List **open)
{
	HASH_SEQ_STATUS status;
	TideWatch  *watch;
	OpenLog    *log;
	ListCell   *lc;

	foreach(lc, *open)
		if (((OpenLog *) lfirst(lc))->source_id == source_id)
			return ((OpenLog *) lfirst(lc))->reader;
	log = palloc0(sizeof(OpenLog));
	log->source_id = source_id;
	hash_seq_init(&status, in->watches);
	while ((watch = hash_seq_search(&status)) != NULL)
		if (watch->shadow->source->source_id == source_id)
			log->reader = tide_log_reader_open(watch->shadow->source, SnapshotSelf);
	*open = lappend(*open, log);
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

void
tide_settle_buckets(void *arg, List *buckets)
{
	TideIngest *in = arg;
	List	   *open = NIL;
	ListCell   *lc;
	ListCell   *shape = list_head(in->shapes);

	/* in->shapes is in this order as well */
	list_sort(buckets, compare_shapes);
	foreach(lc, buckets)
	{
		TideBucket *bucket = lfirst(lc);
		TideLogReader *reader = NULL;

		while (shape != NULL && ((TideShape *) lfirst(shape))->shape_id < bucket->shape_id)
			shape = lnext(in->shapes, shape);
		if (shape != NULL && ((TideShape *) lfirst(shape))->shape_id == bucket->shape_id)
			reader = log_of_source(in, source_of_node(lfirst(shape), bucket->node_id), &open);

		/* else nobody reads it: the shape is dropped, or to be built anew */
		if (reader != NULL)
			settle_bucket(bucket, reader);
	}
	foreach(lc, open)
		if (((OpenLog *) lfirst(lc))->reader != NULL)
			tide_log_reader_close(((OpenLog *) lfirst(lc))->reader);
	list_free_deep(open);
}

void
tide_settle_all(TideIngest *in)
{
	tide_apply_begin();
	(void) tide_buckets_settle(in->buckets, PG_INT32_MAX);
	tide_buckets_flush(in->buckets);
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
