/*
 * shape_sql.c
 *	  SQL functions that create, replace and drop shapes.
 *
 * They compile as the caller and write as the extension's owner.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "catalog/shape_catalog.h"
#include "shape/compile.h"
#include "util/errors.h"

PG_FUNCTION_INFO_V1(tide_sql_create_shape);
PG_FUNCTION_INFO_V1(tide_sql_replace_shape);
PG_FUNCTION_INFO_V1(tide_sql_drop_shape);

/* argument 0, a shape's name */
static char *
name_arg(FunctionCallInfo fcinfo)
{
	return tide_shape_name(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0));
}

/* argument 1, a shape's definition */
static Jsonb *
definition_arg(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("shape definition must not be null")));
	return PG_GETARG_JSONB_P(1);
}

static void
create_shape(const char *name, Jsonb *definition)
{
	TideShape  *shape = tide_shape_compile(name, definition);

	(void) tide_catalog_insert_shape(shape, definition, namespace_search_path);
}

Datum
tide_sql_create_shape(PG_FUNCTION_ARGS)
{
	char	   *name = name_arg(fcinfo);

	create_shape(name, definition_arg(fcinfo));
	PG_RETURN_VOID();
}

Datum
tide_sql_replace_shape(PG_FUNCTION_ARGS)
{
	char	   *name = name_arg(fcinfo);
	Jsonb	   *definition = definition_arg(fcinfo);

	TideShape  *shape;

	tide_catalog_check_own_shape(name, GetUserId());
	shape = tide_shape_compile(name, definition);
	if (!tide_catalog_redefine_shape(shape, definition, namespace_search_path))
	{
		tide_catalog_drop_shape(name, GetUserId());
		(void) tide_catalog_insert_shape(shape, definition, namespace_search_path);
	}
	PG_RETURN_VOID();
}

Datum
tide_sql_drop_shape(PG_FUNCTION_ARGS)
{
	tide_catalog_drop_shape(name_arg(fcinfo), GetUserId());
	PG_RETURN_VOID();
}
