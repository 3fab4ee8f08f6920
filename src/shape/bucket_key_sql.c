/*
 * bucket_key_sql.c
 *	  Bucket keys as SQL sees them, to look at and to test.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "catalog/shape_catalog.h"
#include "shape/bucket_key.h"
#include "util/spi.h"

PG_FUNCTION_INFO_V1(tide_sql_bucket_keys);
PG_FUNCTION_INFO_V1(tide_sql_bucket_key_text);

/* the keys a request for a shape is about */
Datum
tide_sql_bucket_keys(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	TideShape  *shape = tide_catalog_shape_by_name(name);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *lc;

	if (shape == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("shape \"%s\" does not exist", name)));
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	foreach(lc, tide_bucket_keys_resolve(shape, PG_GETARG_JSONB_P(1),
										 PG_GETARG_JSONB_P(2)))
	{
		Datum		values[] = {PointerGetDatum(lfirst(lc))};
		bool		nulls[] = {false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* the canonical text of a value, as it stands in a bucket key */
Datum
tide_sql_bucket_key_text(PG_FUNCTION_ARGS)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);
	int			nest_level;
	char	   *text;

	if (!tide_bucket_key_type_ok(type, PG_GET_COLLATION()))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("type %s cannot be part of a bucket key",
						format_type_be(type))));
	nest_level = tide_settings_push();
	text = tide_key_codec_text(tide_key_codec_create(CurrentMemoryContext, type),
							   PG_GETARG_DATUM(0));
	tide_settings_pop(nest_level);
	PG_RETURN_TEXT_P(cstring_to_text(text));
}
