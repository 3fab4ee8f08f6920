/*
 * verify_sql.c
 *	  SQL entry points of verify: set-returning, materialized.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "catalog/shape_catalog.h"
#include "pull/change_writer.h"
#include "status/verify.h"
#include "status/verify_query.h"
#include "store/bucket_reader.h"
#include "util/compat.h"
#include "util/spi.h"

PG_FUNCTION_INFO_V1(tide_sql_verify);
PG_FUNCTION_INFO_V1(tide_sql_verify_all);
PG_FUNCTION_INFO_V1(tide_sql_verify_query);
PG_FUNCTION_INFO_V1(tide_sql_bucket_rows);

/* a jsonb of the text, or null */
static Datum
json_datum(const char *text, bool *isnull)
{
	*isnull = text == NULL;
	return *isnull ? (Datum) 0 : DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

static void
return_differences(FunctionCallInfo fcinfo, List *differences)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *lc;

	foreach(lc, differences)
	{
		TideDifference *difference = lfirst(lc);
		Datum		values[5];
		bool		nulls[5] = {false};

		values[0] = CStringGetTextDatum(difference->table);
		values[1] = json_datum(difference->key, &nulls[1]);
		values[2] = CStringGetTextDatum(difference->problem);
		values[3] = json_datum(difference->expected, &nulls[3]);
		values[4] = json_datum(difference->found, &nulls[4]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

Datum
tide_sql_verify(PG_FUNCTION_ARGS)
{
	char	   *shape = text_to_cstring(PG_GETARG_TEXT_PP(0));

	InitMaterializedSRF(fcinfo, 0);
	return_differences(fcinfo, tide_verify(shape, PG_GETARG_JSONB_P(1),
										   PG_GETARG_JSONB_P(2)));
	return (Datum) 0;
}

Datum
tide_sql_verify_all(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	return_differences(fcinfo, tide_verify_all());
	return (Datum) 0;
}

/* the queries of all nodes; of a tree, each below the path of its node */
static char *
query_texts(const TideShape *shape, List *sources)
{
	StringInfoData text;
	ListCell   *lc;

	initStringInfo(&text);
	foreach(lc, shape->nodes)
	{
		const TideShapeNode *node = lfirst(lc);

		if (list_length(shape->nodes) > 1)
			appendStringInfo(&text, "%s-- node %d%s%s\n", text.len > 0 ? ";\n" : "",
							 node->node_id, node->path[0] ? ": " : "", node->path);
		appendStringInfoString(&text, tide_verify_sql_text(shape, node, sources, true));
	}
	return text.data;
}

Datum
tide_sql_verify_query(PG_FUNCTION_ARGS)
{
	TideShape  *shape = tide_catalog_shape_by_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	List	   *sources = tide_catalog_sources();
	int			nest_level;
	char	   *sql;
	ListCell   *lc;

	if (shape == NULL || shape->nodes == NIL)
		PG_RETURN_NULL();
	foreach(lc, shape->nodes)
	{
		if (tide_verify_source(lfirst(lc), sources) == NULL)
			PG_RETURN_NULL();
	}
	nest_level = tide_settings_push();
	sql = query_texts(shape, sources);
	tide_settings_pop(nest_level);
	PG_RETURN_TEXT_P(cstring_to_text(sql));
}

static void
return_rows(ReturnSetInfo *result, const TideShapeNode *node, const TideSource *source,
			const TideBucketInfo *bucket)
{
	TideChangeWriter *writer = tide_change_writer_create(node, source, GetActiveSnapshot());
	StringInfoData text;
	TideLogItem item;

	initStringInfo(&text);
	tide_change_writer_start(writer, bucket->bucket_id, bucket->first_op_id);
	while (tide_change_writer_fetch(writer, PG_INT64_MAX, &item))
	{
		Datum		values[5];
		bool		nulls[5] = {false};

		values[0] = Int32GetDatum(source->source_id);
		resetStringInfo(&text);
		tide_change_writer_key(writer, &text, &item);
		values[1] = json_datum(text.data, &nulls[1]);
		resetStringInfo(&text);
		tide_change_writer_row(writer, &text, &item);
		values[2] = json_datum(text.data, &nulls[2]);
		values[3] = Int64GetDatum(item.op_id);
		values[4] = Int64GetDatum((int64) item.hash);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		pfree(DatumGetPointer(values[1]));
		pfree(DatumGetPointer(values[2]));
	}
	tide_change_writer_close(writer);
}

Datum
tide_sql_bucket_rows(PG_FUNCTION_ARGS)
{
	TideBucketReader *buckets = tide_bucket_reader_open(GetActiveSnapshot());
	TideBucketInfo bucket;
	TideShape  *shape = NULL;
	const TideShapeNode *node = NULL;
	const TideSource *source = NULL;
	ListCell   *lc;
	int			nest_level;

	InitMaterializedSRF(fcinfo, 0);
	if (tide_bucket_reader_by_id(buckets, PG_GETARG_INT64(0), &bucket))
		shape = tide_catalog_shape_by_id(bucket.shape_id);
	foreach(lc, shape ? shape->nodes : NIL)
	{
		if (((TideShapeNode *) lfirst(lc))->node_id == bucket.node_id)
			node = lfirst(lc);
	}
	if (node != NULL)
		source = tide_verify_source(node, tide_catalog_sources());
	nest_level = tide_settings_push();
	if (source != NULL)
		return_rows((ReturnSetInfo *) fcinfo->resultinfo, node, source, &bucket);
	tide_settings_pop(nest_level);
	tide_bucket_reader_close(buckets);
	return (Datum) 0;
}
