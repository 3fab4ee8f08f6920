/*
 * verify.c
 *	  Does the change log say what the shape's own query says?
 *
 * A round reads, for each node, the live tables by the node's query, run as the shape's
 * owner, and the buckets through the change log, as a pull does, both under one fresh
 * snapshot. The log is behind the table by what has committed since the last batch, so
 * a difference may be about to vanish. It counts only if the very same difference is there
 * in three rounds with a sync before each: a row that lags is caught up
 * with by then, and one that keeps changing is not the same.
 *
 * Both sides are held in memory as text, sorted and merged: a check for tests and for the
 * occasional doubt, not a thing to run on a bucket of many million rows.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "catalog/shape_catalog.h"
#include "catalog/table_key.h"
#include "ingest/control.h"
#include "pull/change_writer.h"
#include "pull/node_keys.h"
#include "shape/bucket_key.h"
#include "status/verify.h"
#include "status/verify_query.h"
#include "store/bucket_reader.h"
#include "store/checkpoint.h"
#include "util/guc.h"
#include "util/spi.h"

#define VERIFY_ROUNDS			3
#define VERIFY_SYNC_TIMEOUT_MS	30000
#define VERIFY_FETCH			1000

/* a row of one side */
typedef struct SideRow
{
	int64		bucket_id;		/* 0: the bucket does not exist */
	char	   *key;			/* JSON as jsonb prints it */
	char	   *row;
} SideRow;

typedef struct Side
{
	int			n;
	int			max;
	SideRow    *rows;
} Side;

/* one node of a shape being compared; memory of one round */
typedef struct Check
{
	TideShape  *shape;
	TideShapeNode *node;
	List	   *sources;		/* of TideSource */
	TideSource *source;			/* of the node */
	Snapshot	snapshot;
	TimestampTz now;			/* the checkpoint's time */
	TideBucketReader *buckets;
	char	   *table;
	Side		expected;		/* by the live table */
	Side		found;			/* by the change log */
	List	   *differences;
} Check;

/* what to compare */
typedef struct Subject
{
	const char *name;			/* NULL: all shapes */
	Jsonb	   *params;
	Jsonb	   *claims;
} Subject;

static void
add_row(Side *side, int64 bucket_id, char *key, char *row)
{
	if (side->n == side->max)
	{
		side->max = Max(64, side->max * 2);
		side->rows = side->rows == NULL ?
			MemoryContextAllocHuge(CurrentMemoryContext, sizeof(SideRow) * side->max) :
			repalloc_huge(side->rows, sizeof(SideRow) * side->max);
	}
	side->rows[side->n].bucket_id = bucket_id;
	side->rows[side->n].key = key;
	side->rows[side->n++].row = row;
}

static char *
jsonb_text(Datum jsonb)
{
	return JsonbToCString(NULL, &DatumGetJsonbP(jsonb)->root, -1);
}

/*
 * JSON text as jsonb prints it; without the key that tells rows apart that have none, which
 * the live table does not know. Equal rows are then equal, and counted.
 */
static char *
normal_text(const Check *check, char *json)
{
	Datum		jsonb = DirectFunctionCall1(jsonb_in, CStringGetDatum(json));

	for (int i = 0; i < check->source->nkeys; i++)
		if (TIDE_ATTNUM_IS_OWN(check->source->keys[i]))
			jsonb = DirectFunctionCall2(jsonb_delete, jsonb,
										CStringGetTextDatum(tide_own_column_name(check->source->keys[i])));
	return jsonb_text(jsonb);
}

static void
add_difference(Check *check, int64 bucket_id, char *key, const char *problem,
			   char *expected, char *found)
{
	TideDifference *difference = palloc(sizeof(TideDifference));

	difference->table = check->table;
	difference->key = key;
	difference->problem = problem;
	difference->expected = expected;
	difference->found = found;
	difference->bucket_id = bucket_id;
	check->differences = lappend(check->differences, difference);
}

/* a bucket's rows as the log has them, and whether its count and checksum agree */
static void
read_bucket(Check *check, TideBucketInfo *bucket)
{
	TideChangeWriter *writer = tide_change_writer_create(check->node, check->source,
														 check->snapshot);
	StringInfoData text;
	TideLogItem item;
	int64		count = 0;
	uint32		checksum = 0;

	if (tide_change_writer_lags(writer, bucket))
		tide_change_writer_settle(writer, bucket);
	initStringInfo(&text);
	tide_change_writer_start(writer, bucket->bucket_id, bucket->first_op_id);
	while (tide_change_writer_fetch(writer, PG_INT64_MAX, &item))
	{
		char	   *key;

		resetStringInfo(&text);
		tide_change_writer_key(writer, &text, &item);
		key = normal_text(check, text.data);
		resetStringInfo(&text);
		tide_change_writer_row(writer, &text, &item);
		add_row(&check->found, bucket->bucket_id, key, normal_text(check, text.data));
		count++;
		checksum += item.hash;
	}
	tide_change_writer_close(writer);
	if (count != bucket->row_count)
		add_difference(check, bucket->bucket_id, NULL, "count",
					   psprintf(INT64_FORMAT, count),
					   psprintf(INT64_FORMAT, bucket->row_count));
	if (checksum != bucket->checksum)
		add_difference(check, bucket->bucket_id, NULL, "checksum",
					   psprintf("%u", checksum), psprintf("%u", bucket->checksum));
}

/*
 * Id of the bucket that the row's key parts mean, columns 3 and on of the query, or 0; -1
 * for a row that is not among the keys, if they are given.
 */
static int64
bucket_of_row(Check *check, HeapTuple tuple, TupleDesc desc, TideKeyCodec **codecs,
			  int nparts, const TideNodeKeys *keys)
{
	char	  **parts = palloc(sizeof(char *) * (nparts + 1));
	TideBucketInfo bucket;

	for (int i = 0; i < nparts; i++)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(tuple, desc, 3 + i, &isnull);

		parts[i] = tide_key_codec_text(codecs[i], value);
	}
	if (keys != NULL && !tide_node_keys_match(keys, parts))
		return -1;
	if (!tide_bucket_reader_by_parts(check->buckets, check->shape->shape_id,
									 check->node->node_id, parts, nparts, &bucket))
		return 0;
	return bucket.bucket_id;
}

static Datum
key_datum(char **parts, int nparts)
{
	Datum	   *elements = palloc(sizeof(Datum) * (nparts + 1));

	for (int i = 0; i < nparts; i++)
		elements[i] = CStringGetTextDatum(parts[i]);
	return PointerGetDatum(construct_array(elements, nparts, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

/* codecs of the key parts of the node's buckets */
static TideKeyCodec **
key_codecs(Check *check, int *nparts)
{
	List	   *types = tide_verify_key_types(check->shape, check->node);
	TideKeyCodec **codecs;
	ListCell   *lc;

	*nparts = list_length(types);
	codecs = palloc(sizeof(TideKeyCodec *) * (*nparts + 1));
	foreach(lc, types)
		codecs[foreach_current_index(lc)] = tide_key_codec_create(CurrentMemoryContext,
																  lfirst_oid(lc));
	return codecs;
}

/*
 * Run the node's query as the shape's owner. With a bucket: its rows, which get its id (0 if
 * there is none). Without: those of the keys, or all, each with its own bucket's id.
 */
static void
read_live(Check *check, const TideNodeBucket *bucket, const TideNodeKeys *keys)
{
	char	   *sql = tide_verify_sql_text(check->shape, check->node, check->sources,
										   bucket != NULL);
	Oid			types[] = {TIMESTAMPTZOID, TEXTARRAYOID};
	Datum		values[] = {TimestampTzGetDatum(check->now), (Datum) 0};
	MemoryContext result = CurrentMemoryContext;
	int			nparts;
	TideKeyCodec **codecs = key_codecs(check, &nparts);
	TideSpiFrame frame;
	Portal		portal;

	if (bucket != NULL)
		values[1] = key_datum(bucket->key, nparts);
	tide_spi_begin_user(&frame, check->shape->owner);
	portal = SPI_cursor_open_with_args(NULL, sql, bucket ? 2 : 1, types, values,
									   NULL, true, 0);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, VERIFY_FETCH);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			HeapTuple	tuple = SPI_tuptable->vals[i];
			TupleDesc	desc = SPI_tuptable->tupdesc;
			MemoryContext old = MemoryContextSwitchTo(result);
			int64		bucket_id = bucket ? bucket->info.bucket_id :
			bucket_of_row(check, tuple, desc, codecs, nparts, keys);
			bool		isnull;

			if (bucket_id >= 0)
				add_row(&check->expected, bucket_id,
						jsonb_text(SPI_getbinval(tuple, desc, 1, &isnull)),
						jsonb_text(SPI_getbinval(tuple, desc, 2, &isnull)));
			MemoryContextSwitchTo(old);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	tide_spi_end(&frame);
}

static int
compare_rows(const void *a, const void *b)
{
	const SideRow *x = a;
	const SideRow *y = b;

	int			order = strcmp(x->key, y->key);

	if (x->bucket_id != y->bucket_id)
		return x->bucket_id < y->bucket_id ? -1 : 1;

	/* without a key rows are told apart by all that they are */
	if (order == 0 && strcmp(x->key, "{}") == 0)
		order = strcmp(x->row, y->row);
	return order;
}

/* whether a row is there for the second time; without a key it may be */
static bool
is_duplicate(const Side *side, int i)
{
	return i > 0 && i < side->n && strcmp(side->rows[i].key, "{}") != 0 &&
		compare_rows(&side->rows[i], &side->rows[i - 1]) == 0;
}

/* merge both sides */
static void
compare_sides(Check *check)
{
	Side	   *expected = &check->expected;
	Side	   *found = &check->found;
	int			e = 0;
	int			f = 0;

	if (expected->n > 1)
		qsort(expected->rows, expected->n, sizeof(SideRow), compare_rows);
	if (found->n > 1)
		qsort(found->rows, found->n, sizeof(SideRow), compare_rows);
	while (e < expected->n || f < found->n)
	{
		SideRow    *x = e < expected->n ? &expected->rows[e] : NULL;
		SideRow    *y = f < found->n ? &found->rows[f] : NULL;
		int			order = x == NULL ? 1 : y == NULL ? -1 : compare_rows(x, y);

		if (is_duplicate(found, f))
			add_difference(check, y->bucket_id, y->key, "duplicate", NULL, y->row);
		else if (order < 0)
			add_difference(check, x->bucket_id, x->key, "missing", x->row, NULL);
		else if (order > 0)
			add_difference(check, y->bucket_id, y->key, "extra", NULL, y->row);
		else if (strcmp(x->row, y->row) != 0)
			add_difference(check, y->bucket_id, y->key, "different", x->row, y->row);
		if (is_duplicate(found, f))
			f++;
		else
		{
			e += order <= 0;
			f += order >= 0;
		}
	}
}

/* what one node is compared with */
static void
begin_check(Check *check, TideShape *shape, TideShapeNode *node)
{
	TideCheckpoint checkpoint;

	tide_checkpoint_read(&checkpoint);
	check->shape = shape;
	check->node = node;
	check->now = checkpoint.now;
	check->sources = tide_catalog_sources();
	check->source = tide_verify_source(node, check->sources);
	if (check->source == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("shape \"%s\" has no shadow table", shape->name)));
	check->snapshot = GetActiveSnapshot();
	check->buckets = tide_bucket_reader_open(check->snapshot);
	check->table = check->source->table_name;
}

static List *
end_check(Check *check)
{
	tide_bucket_reader_close(check->buckets);
	compare_sides(check);
	return check->differences;
}

/* differences in all buckets of a shape */
static List *
check_whole(TideShape *shape)
{
	List	   *differences = NIL;
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, shape->nodes)
	{
		Check		check = {0};

		begin_check(&check, shape, lfirst(lc));
		foreach(lc2, tide_bucket_reader_all(check.buckets, shape->shape_id))
		{
			if (((TideBucketInfo *) lfirst(lc2))->node_id == check.node->node_id)
				read_bucket(&check, lfirst(lc2));
		}
		read_live(&check, NULL, NULL);
		differences = list_concat(differences, end_check(&check));
	}
	return differences;
}

/* the keys a request has by the live tables, or by the shadow tables: list of TideNodeKeys */
static List *
resolve_keys(const TideShapeRequest *request, bool over_sources)
{
	TideKeyResolver resolver = {.max_keys = tide_max_buckets_per_pull};
	TideCheckpoint checkpoint;
	List	   *result;

	tide_checkpoint_read(&checkpoint);
	resolver.now = checkpoint.now;
	resolver.over_sources = over_sources;
	resolver.reader = tide_bucket_reader_open(GetActiveSnapshot());
	result = tide_node_keys_resolve(&resolver, request);
	tide_bucket_reader_close(resolver.reader);
	return result;
}

/*
 * Differences in the buckets of a request. What a request is entitled to is a difference as well, if
 * lookups say another thing over the live tables: rows are missing or too many then.
 */
static List *
check_request(TideShape *shape, const TideShapeRequest *request)
{
	List	   *expected = resolve_keys(request, true);
	List	   *found = resolve_keys(request, false);
	List	   *differences = NIL;
	ListCell   *lc;
	ListCell   *lc2;

	forboth(lc, expected, lc2, found)
	{
		const TideNodeKeys *live = lfirst(lc);
		TideNodeKeys *served = lfirst(lc2);
		Check		check = {0};

		begin_check(&check, shape, unconstify(TideShapeNode *, live->node));
		for (int i = 0; i < served->n; i++)
			if (served->buckets[i].info.bucket_id != 0)
				read_bucket(&check, &served->buckets[i].info);
		if (!live->are_listed)
			read_live(&check, NULL, live);
		for (int i = 0; live->are_listed && i < live->n; i++)
			read_live(&check, &live->buckets[i], NULL);
		differences = list_concat(differences, end_check(&check));
	}
	return differences;
}

static List *
check_named(const Subject *subject)
{
	TideShape  *shape = tide_catalog_shape_by_name(subject->name);
	TideShapeRequest request = {shape, subject->params, subject->claims};

	if (shape == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("shape \"%s\" does not exist", subject->name)));
	if (shape->state != TIDE_SHAPE_LIVE || shape->nodes == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("shape \"%s\" is not live", subject->name),
				 errdetail("Its state is \"%s\".", tide_shape_state_name(shape->state))));
	return check_request(shape, &request);
}

/* one round under a fresh snapshot */
static List *
check_round(const Subject *subject)
{
	List	   *differences = NIL;
	ListCell   *lc;

	PushActiveSnapshot(GetTransactionSnapshot());
	if (subject->name != NULL)
		differences = check_named(subject);
	else
		foreach(lc, tide_catalog_shapes(false))
	{
		TideShape  *shape = lfirst(lc);

		if (shape->state == TIDE_SHAPE_LIVE && shape->nodes != NIL)
			differences = list_concat(differences, check_whole(shape));
	}
	PopActiveSnapshot();
	return differences;
}

static bool
same_text(const char *a, const char *b)
{
	return (a == NULL && b == NULL) || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
has_difference(List *differences, const TideDifference *difference)
{
	ListCell   *lc;

	foreach(lc, differences)
	{
		TideDifference *other = lfirst(lc);

		if (other->bucket_id == difference->bucket_id &&
			strcmp(other->table, difference->table) == 0 &&
			same_text(other->key, difference->key) &&
			strcmp(other->problem, difference->problem) == 0 &&
			same_text(other->expected, difference->expected) &&
			same_text(other->found, difference->found))
			return true;
	}
	return false;
}

/* wait for the log to have all that has committed, if it is being written at all */
static void
sync_log(void)
{
	TideState	state;

	PushActiveSnapshot(GetTransactionSnapshot());
	tide_require_here();
	tide_state_read(&state);
	PopActiveSnapshot();
	if (state.enabled && !RecoveryInProgress())
		tide_ingest_sync(VERIFY_SYNC_TIMEOUT_MS);
}

static List *
verify(const Subject *subject)
{
	List	   *differences = NIL;
	int			nest_level = tide_settings_push();

	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("tide.verify needs transaction isolation level READ COMMITTED")));
	for (int round = 0; round < VERIFY_ROUNDS; round++)
	{
		List	   *now;
		List	   *stay = NIL;
		ListCell   *lc;

		CHECK_FOR_INTERRUPTS();
		sync_log();
		now = check_round(subject);
		foreach(lc, now)
		{
			if (round == 0 || has_difference(differences, lfirst(lc)))
				stay = lappend(stay, lfirst(lc));
		}
		differences = stay;
		if (differences == NIL)
			break;
	}
	tide_settings_pop(nest_level);
	return differences;
}

List *
tide_verify(const char *shape, Jsonb *params, Jsonb *claims)
{
	Subject		subject = {shape, params, claims};

	return verify(&subject);
}

List *
tide_verify_all(void)
{
	Subject		subject = {NULL, NULL, NULL};

	return verify(&subject);
}
