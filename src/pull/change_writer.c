/*
 * change_writer.c
 *	  A bucket's changes as JSON.
 *
 * What does not change from row to row is made once: the text before the op_id
 * per bucket, the row writers per node. Values are written from the shadow row's
 * buffer; detoasted ones live in row_context, which is reset every ROWS_PER_RESET
 * rows.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "catalog/missing.h"
#include "pull/change_writer.h"
#include "store/shadow.h"
#include "util/json_text.h"
#include "util/json_writer.h"

#define ROWS_PER_RESET	64

struct TideChangeWriter
{
	TideLogReader *reader;
	MemoryContext row_context;
	int			rows_since_reset;
	int			natts;			/* shadow attributes that are shown, or before
								 * such */
	char	   *table;			/* JSON string */
	TideRowWriter *row;			/* shown columns, of the shadow row */
	TideRowWriter *key;			/* key columns, of the shadow row */
	TideRowWriter *left_key;	/* key columns, of a log entry */
	StringInfoData put_start;	/* {"bucket":7,…,"op":"put","op_id": */
	StringInfoData remove_start;
};

/* name of the source's column, as of the copy */
static const char *
column_name(const TideSource *source, AttrNumber attnum)
{
	for (int i = 0; i < source->ncolumns; i++)
		if (source->columns[i] == attnum)
			return source->column_names[i];
	return NULL;
}

/* writer for columns of the shadow row, given by source attnums */
static TideRowWriter *
shadow_writer(TideChangeWriter *writer, const TideSource *source,
			  const AttrNumber *attnums, int n)
{
	AttrNumber *shadow = palloc(sizeof(AttrNumber) * n);
	const char **names = palloc(sizeof(char *) * n);
	TupleDesc	desc = tide_log_reader_row_desc(writer->reader);

	for (int i = 0; i < n; i++)
	{
		shadow[i] = tide_log_reader_row_attnum(writer->reader, attnums[i]);
		tide_type_require(TupleDescAttr(desc, shadow[i] - 1)->atttypid);
		names[i] = column_name(source, attnums[i]);
		writer->natts = Max(writer->natts, shadow[i]);
	}
	return tide_row_writer_create(CurrentMemoryContext, desc, shadow, names, n, NULL);
}

/* writer for the key columns of a log entry */
static TideRowWriter *
left_key_writer(TideChangeWriter *writer, const TideSource *source)
{
	AttrNumber *attnums = palloc(sizeof(AttrNumber) * source->nkeys);
	const char **names = palloc(sizeof(char *) * source->nkeys);

	for (int i = 0; i < source->nkeys; i++)
	{
		attnums[i] = TIDE_LOG_FIXED + 1 + i;
		names[i] = column_name(source, source->keys[i]);
	}
	return tide_row_writer_create(CurrentMemoryContext,
								  tide_log_reader_log_desc(writer->reader),
								  attnums, names, source->nkeys, NULL);
}

TideChangeWriter *
tide_change_writer_create(const TideShapeNode *node, const TideSource *source,
						  Snapshot snapshot)
{
	TideChangeWriter *writer = palloc0(sizeof(TideChangeWriter));
	StringInfoData table;

	initStringInfo(&table);
	tide_json_cstring(&table, source->table_name);
	appendStringInfoChar(&table, '\0'); /* the JSON writers add none */
	writer->table = table.data;
	writer->reader = tide_log_reader_open(source, snapshot);
	writer->row_context = AllocSetContextCreate(CurrentMemoryContext, "tide pull row",
												ALLOCSET_DEFAULT_SIZES);
	writer->row = shadow_writer(writer, source, node->columns, node->ncolumns);
	writer->key = shadow_writer(writer, source, source->keys, source->nkeys);
	writer->left_key = left_key_writer(writer, source);
	initStringInfo(&writer->put_start);
	initStringInfo(&writer->remove_start);
	return writer;
}

void
tide_change_writer_close(TideChangeWriter *writer)
{
	tide_log_reader_close(writer->reader);
	MemoryContextDelete(writer->row_context);
}

static void
set_start(StringInfo start, const TideChangeWriter *writer, int64 bucket_id,
		  const char *op)
{
	resetStringInfo(start);
	appendStringInfo(start, "{\"bucket\":" INT64_FORMAT ",\"table\":%s,\"op\":\"%s\",\"op_id\":",
					 bucket_id, writer->table, op);
}

void
tide_change_writer_start(TideChangeWriter *writer, int64 bucket_id, int64 after_op_id)
{
	set_start(&writer->put_start, writer, bucket_id, "put");
	set_start(&writer->remove_start, writer, bucket_id, "remove");
	tide_log_reader_start(writer->reader, bucket_id, after_op_id);
}

bool
tide_change_writer_fetch(TideChangeWriter *writer, int64 leaves_after, TideLogItem *item)
{
	if (++writer->rows_since_reset >= ROWS_PER_RESET)
	{
		MemoryContextReset(writer->row_context);
		writer->rows_since_reset = 0;
	}
	return tide_log_reader_next(writer->reader, leaves_after, writer->natts, item);
}

void
tide_change_writer_key(TideChangeWriter *writer, StringInfo out, const TideLogItem *item)
{
	MemoryContext old = MemoryContextSwitchTo(writer->row_context);

	tide_row_writer_write(item->is_put ? writer->key : writer->left_key, out,
						  item->values, item->nulls, NULL);
	MemoryContextSwitchTo(old);
}

void
tide_change_writer_row(TideChangeWriter *writer, StringInfo out, const TideLogItem *item)
{
	MemoryContext old = MemoryContextSwitchTo(writer->row_context);

	tide_row_writer_write(writer->row, out, item->values, item->nulls, NULL);
	MemoryContextSwitchTo(old);
}

void
tide_change_writer_put(TideChangeWriter *writer, StringInfo out, const TideLogItem *item)
{
	StringInfo	start = item->is_put ? &writer->put_start : &writer->remove_start;

	tide_json_raw(out, start->data, start->len);
	tide_json_int64(out, item->op_id);
	tide_json_literal(out, ",\"key\":");
	tide_change_writer_key(writer, out, item);
	if (item->is_put)
	{
		tide_json_literal(out, ",\"row\":");
		tide_change_writer_row(writer, out, item);
	}
	tide_json_literal(out, ",\"hash\":");
	tide_json_int64(out, item->hash);
	tide_json_char(out, '}');
	out->data[out->len] = '\0';
}

int64
tide_change_writer_count(TideChangeWriter *writer, int64 bucket_id, int64 after_op_id,
						 int64 limit)
{
	return tide_log_reader_count(writer->reader, bucket_id, after_op_id, limit);
}

bool
tide_change_writer_lags(TideChangeWriter *writer, TideBucketInfo *info)
{
	return tide_bucket_lags(info, writer->reader);
}

void
tide_change_writer_settle(TideChangeWriter *writer, TideBucketInfo *info)
{
	tide_bucket_settle(info, writer->reader);
}
