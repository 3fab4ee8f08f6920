/*
 * limits.c
 *	  How large buckets and shapes may become.
 *
 * Looked at when buckets are written: at the end of a batch, so what a transaction
 * passes through on its way does not count. The rows of a shape are summed up once and then
 * kept in memory; nothing of it is done without a limit.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/hsearch.h"
#include "utils/snapmgr.h"

#include "catalog/shape_catalog.h"
#include "ingest/limits.h"
#include "util/guc.h"
#include "util/spi.h"

typedef struct ShapeRows
{
	int			shape_id;		/* hash key */
	int64		rows;			/* in all its buckets, as last written */
	bool		grew;			/* since it was last judged */
} ShapeRows;

static const char *
shape_name(TideIngest *in, int shape_id)
{
	ListCell   *lc;

	foreach(lc, in->shapes)
	{
		if (((TideShape *) lfirst(lc))->shape_id == shape_id)
			return ((TideShape *) lfirst(lc))->name;
	}
	return "?";
}

void
tide_limit_bucket(TideIngest *in, const TideBucket *bucket)
{
	/* one that only loses rows may be a failed shape's */
	if (tide_max_bucket_rows == 0 || bucket->row_count <= tide_max_bucket_rows ||
		bucket->row_count <= bucket->stored_rows)
		return;
	tide_evaluating_shape = bucket->shape_id;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("a bucket of shape \"%s\" has more than %d rows",
					shape_name(in, bucket->shape_id), tide_max_bucket_rows),
			 errhint("Use tide.replace_shape() with a narrower condition, or raise setting \"%s\".",
					 "tide.max_bucket_rows")));
}

/* rows of a shape's buckets as they are stored */
static int64
stored_rows(int shape_id)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(shape_id)};
	TideSpiFrame frame;
	bool		isnull;
	int64		rows;

	PushActiveSnapshot(GetLatestSnapshot());
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	(void) tide_spi_run(&plan, "SELECT coalesce(pg_catalog.sum(b.row_count), 0)::pg_catalog.int8"
						" FROM tide_internal.buckets b WHERE b.shape_id = $1",
						lengthof(types), types, values, NULL, true, 0);
	rows = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
									   &isnull));
	tide_spi_end(&frame);
	PopActiveSnapshot();
	return rows;
}

static ShapeRows *
rows_of_shape(TideIngest *in, int shape_id)
{
	bool		found;
	ShapeRows  *shape;

	if (in->shape_rows == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(int);
		ctl.entrysize = sizeof(ShapeRows);
		ctl.hcxt = in->watch_context;
		in->shape_rows = hash_create("tide shape rows", 64, &ctl,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	shape = hash_search(in->shape_rows, &shape_id, HASH_ENTER, &found);
	if (!found)
	{
		shape->rows = stored_rows(shape_id);
		shape->grew = false;
	}
	return shape;
}

/* add up what the buckets gained and lost; only a shape that grows can have become too large */
static void
count_rows(TideIngest *in, const List *dirty)
{
	ListCell   *lc;

	foreach(lc, dirty)
	{
		const TideBucket *bucket = lfirst(lc);
		ShapeRows  *shape = rows_of_shape(in, bucket->shape_id);

		shape->rows += bucket->row_count - bucket->stored_rows;
		shape->grew |= bucket->row_count > bucket->stored_rows;
	}
}

static void
limit_shapes(TideIngest *in)
{
	HASH_SEQ_STATUS status;
	ShapeRows  *shape;

	hash_seq_init(&status, in->shape_rows);
	while ((shape = hash_seq_search(&status)) != NULL)
	{
		if (shape->grew && shape->rows > tide_max_shape_rows)
		{
			tide_evaluating_shape = shape->shape_id;
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("shape \"%s\" has more than %d rows in all its buckets",
							shape_name(in, shape->shape_id), tide_max_shape_rows),
					 errhint("Use tide.replace_shape() with a narrower condition, or raise setting \"%s\".",
							 "tide.max_shape_rows")));
		}
		shape->grew = false;
	}
}

void
tide_limits_flush(TideIngest *in)
{
	const List *dirty = tide_buckets_dirty(in->buckets);
	ListCell   *lc;

	foreach(lc, dirty)
		tide_limit_bucket(in, lfirst(lc));
	if (tide_max_shape_rows == 0)
		in->shape_rows = NULL;	/* not kept, so not to be relied on later */
	else if (dirty != NIL)
	{
		count_rows(in, dirty);
		limit_shapes(in);
	}
	tide_buckets_flush(in->buckets);
}
