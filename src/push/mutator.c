/*
 * mutator.c
 *	  Named functions of the app that clients call by a push.
 *
 * A mutator is an ordinary function (args jsonb, claims jsonb) that runs as the
 * caller of tide.push, under his search_path, in the mutation's subtransaction: it adds
 * no rights, unless its author made it SECURITY DEFINER. That is why the claims it
 * gets are those of the request, which somebody has proved, and never the setting
 * request.jwt.claims, which any session can make up.
 *
 * It is called by SQL of its qualified name, with arguments of its exact types, so
 * EXECUTE is the executor's to check. Function and name are tied by OID: one that was
 * dropped and made anew is another one, for the administrator to name again.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "push/mutator.h"
#include "push/statement.h"
#include "util/spi.h"

static void check_function(Oid function);
static Oid	find_function(const char *name);
static char *call_text(Oid function, Oid *type);
static Jsonb *result_of_row(Oid type, MemoryContext context);
static Datum json_of(Datum value, Oid type);

void
tide_mutator_create(const char *name, Oid function)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {TEXTOID, OIDOID};
	Datum		values[] = {CStringGetTextDatum(name), ObjectIdGetDatum(function)};
	TideSpiFrame frame;

	if (name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name of a mutator must not be empty")));
	check_function(function);
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(&plan,
				 "INSERT INTO tide_internal.mutators (name, function, signature)"
				 " VALUES ($1, $2, $2::pg_catalog.regprocedure::text)"
				 " ON CONFLICT DO NOTHING",
				 lengthof(types), types, values, NULL, false, 0);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("mutator \"%s\" already exists", name),
				 errhint("Drop it first with tide.drop_mutator().")));
	tide_spi_end(&frame);
}

void
tide_mutator_drop(const char *name)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(name)};
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(&plan, "DELETE FROM tide_internal.mutators WHERE name = $1",
				 lengthof(types), types, values, NULL, false, 0);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("mutator \"%s\" does not exist", name)));
	tide_spi_end(&frame);
}

void
tide_mutator_call(const TideApply *apply, const TideMutation *mutation,
				  TideOutcome *outcome)
{
	static const char none[] = "{}";
	Oid			function = find_function(mutation->call);
	Datum		args = mutation->args ? JsonbPGetDatum(mutation->args)
	: DirectFunctionCall1(jsonb_in, CStringGetDatum(none));
	Oid			type;
	char	   *sql = call_text(function, &type);
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_CALLER);
	if (tide_statement_run(sql, args, JsonbPGetDatum(apply->claims)) != 1)
		elog(ERROR, "mutator \"%s\" did not return one row", mutation->call);
	if (type != VOIDOID)
		outcome->result = result_of_row(type, apply->context);
	if (apply->check_deferred)
		tide_check_deferred(apply);
	tide_spi_end(&frame);
}

/* a plain function (jsonb, jsonb) that returns one value */
static void
check_function(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	bool		fits;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u does not exist", function)));
	form = (Form_pg_proc) GETSTRUCT(tuple);
	fits = form->prokind == PROKIND_FUNCTION && !form->proretset &&
		form->pronargs == 2 &&
		form->proargtypes.values[0] == JSONBOID &&
		form->proargtypes.values[1] == JSONBOID &&
		(form->prorettype == VOIDOID ||
		 get_typtype(form->prorettype) != TYPTYPE_PSEUDO);
	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("function %s cannot be a mutator", format_procedure(function)),
				 errdetail("A mutator is a function (jsonb, jsonb) that returns one value of"
						   " a named type, or void.")));
	ReleaseSysCache(tuple);
}

/* the function of a mutator's name, which is still there */
static Oid
find_function(const char *name)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(name)};
	Oid			function = InvalidOid;
	bool		isnull;
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(&plan,
				 "SELECT m.function FROM tide_internal.mutators m"
				 " JOIN pg_catalog.pg_proc p ON p.oid = m.function WHERE m.name = $1",
				 lengthof(types), types, values, NULL, false, 1);
	if (SPI_processed > 0)
		function = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0],
												  SPI_tuptable->tupdesc, 1, &isnull));
	tide_spi_end(&frame);
	if (!OidIsValid(function))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("mutator \"%s\" does not exist", name)));
	return function;
}

/* SELECT app.create_issue($1, $2), and the type of its result */
static char *
call_text(Oid function, Oid *type)
{
	HeapTuple	tuple;
	Form_pg_proc form;
	char	   *sql;

	/* it may have been replaced by another kind since it was named */
	check_function(function);
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	form = (Form_pg_proc) GETSTRUCT(tuple);
	sql = psprintf("SELECT %s($1, $2)",
				   quote_qualified_identifier(get_namespace_name(form->pronamespace),
											  NameStr(form->proname)));
	*type = form->prorettype;
	ReleaseSysCache(tuple);
	return sql;
}

/* {"result": ...}, in context */
static Jsonb *
result_of_row(Oid type, MemoryContext context)
{
	JsonbParseState *state = NULL;
	JsonbValue	name = {.type = jbvString,.val.string = {6, "result"}};
	JsonbValue	value = {.type = jbvNull};
	Jsonb	   *result;
	bool		isnull;
	Datum		returned = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
										 1, &isnull);
	MemoryContext old;

	if (!isnull)
	{
		Jsonb	   *json = DatumGetJsonbP(type == JSONBOID ? returned : json_of(returned, type));

		if (JB_ROOT_IS_SCALAR(json))
			(void) JsonbExtractScalar(&json->root, &value);
		else
			JsonbToJsonbValue(json, &value);
	}
	old = MemoryContextSwitchTo(context);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&state, WJB_KEY, &name);
	pushJsonbValue(&state, WJB_VALUE, &value);
	result = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	MemoryContextSwitchTo(old);
	return result;
}

/* under fixed settings, as all text that leaves pg_tide */
static Datum
json_of(Datum value, Oid type)
{
	int			nest_level = tide_settings_push();
	Datum		result;
	bool		isnull;

	if (SPI_execute_with_args("SELECT pg_catalog.to_jsonb($1)", 1, &type, &value, NULL,
							  true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not convert the result of a mutator");
	result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	tide_settings_pop(nest_level);
	return result;
}
