/*
 * client_schema_sql.c
 *	  tide.client_schema(shapes text[], dialect text)
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "client/template.h"
#include "util/spi.h"

PG_FUNCTION_INFO_V1(tide_sql_client_schema);

static List *
shape_names(ArrayType *array)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	List	   *names = NIL;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("shape names must not be null")));
		names = lappend(names, TextDatumGetCString(elements[i]));
	}
	if (names == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a client schema needs at least one shape")));
	return names;
}

Datum
tide_sql_client_schema(PG_FUNCTION_ARGS)
{
	const TideDialect *dialect = tide_dialect_find(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	List	   *shapes = shape_names(PG_GETARG_ARRAYTYPE_P(0));
	List	   *tables = tide_client_model_create(shapes);
	StringInfoData script;
	int			nest_level = tide_settings_push();

	tide_dialect_check_names(dialect, tables);
	initStringInfo(&script);
	tide_template_expand(&script, dialect, shapes, tables);
	tide_settings_pop(nest_level);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(script.data, script.len));
}
