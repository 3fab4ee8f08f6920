/*
 * state_sql.c
 *	  SQL functions of vector clocks, registers, maps, counters and sets: unpack, call.
 *
 * A state that is NULL counts as the empty one where a state is made (update, merge); what is read
 * from a NULL state is NULL. Other arguments must not be NULL.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "crdt/counter.h"
#include "crdt/hlc.h"
#include "crdt/lww.h"
#include "crdt/object.h"
#include "crdt/set.h"
#include "crdt/vclock.h"

PG_FUNCTION_INFO_V1(tide_sql_vclock_compare);
PG_FUNCTION_INFO_V1(tide_sql_vclock_merge);
PG_FUNCTION_INFO_V1(tide_sql_vclock_increment);
PG_FUNCTION_INFO_V1(tide_sql_lww_register_set);
PG_FUNCTION_INFO_V1(tide_sql_lww_register_remove);
PG_FUNCTION_INFO_V1(tide_sql_lww_register_value);
PG_FUNCTION_INFO_V1(tide_sql_lww_register_clock);
PG_FUNCTION_INFO_V1(tide_sql_lww_register_merge);
PG_FUNCTION_INFO_V1(tide_sql_lww_map_set);
PG_FUNCTION_INFO_V1(tide_sql_lww_map_remove);
PG_FUNCTION_INFO_V1(tide_sql_lww_map_value);
PG_FUNCTION_INFO_V1(tide_sql_lww_map_clock);
PG_FUNCTION_INFO_V1(tide_sql_lww_map_prune);
PG_FUNCTION_INFO_V1(tide_sql_lww_map_merge);
PG_FUNCTION_INFO_V1(tide_sql_pn_counter_add);
PG_FUNCTION_INFO_V1(tide_sql_pn_counter_value);
PG_FUNCTION_INFO_V1(tide_sql_pn_counter_merge);
PG_FUNCTION_INFO_V1(tide_sql_g_set_add);
PG_FUNCTION_INFO_V1(tide_sql_g_set_value);
PG_FUNCTION_INFO_V1(tide_sql_g_set_merge);
PG_FUNCTION_INFO_V1(tide_sql_or_set_add);
PG_FUNCTION_INFO_V1(tide_sql_or_set_remove);
PG_FUNCTION_INFO_V1(tide_sql_or_set_value);
PG_FUNCTION_INFO_V1(tide_sql_or_set_merge);

static Jsonb *state_argument(FunctionCallInfo fcinfo, int n);
static Jsonb *array_argument(FunctionCallInfo fcinfo, int n);
static void check_argument(FunctionCallInfo fcinfo, int n, const char *name);
static TideHlc *hlc_argument(FunctionCallInfo fcinfo, int n);
static text * text_argument(FunctionCallInfo fcinfo, int n, const char *name);
static Jsonb *value_argument(FunctionCallInfo fcinfo, int n, const char *name);
static Datum clock_or_null(FunctionCallInfo fcinfo, bool found, const TideHlc *clock);

/* ---- vector clocks ---- */

Datum
tide_sql_vclock_compare(PG_FUNCTION_ARGS)
{
	TideVclockOrder order = tide_vclock_compare(PG_GETARG_JSONB_P(0), PG_GETARG_JSONB_P(1));

	PG_RETURN_TEXT_P(cstring_to_text(tide_vclock_order_name(order)));
}

Datum
tide_sql_vclock_merge(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(tide_vclock_merge(state_argument(fcinfo, 0), state_argument(fcinfo, 1)));
}

Datum
tide_sql_vclock_increment(PG_FUNCTION_ARGS)
{
	text	   *node = text_argument(fcinfo, 1, "node");

	PG_RETURN_JSONB_P(tide_vclock_increment(state_argument(fcinfo, 0), VARDATA_ANY(node),
											VARSIZE_ANY_EXHDR(node)));
}

/* ---- LWW register ---- */

Datum
tide_sql_lww_register_set(PG_FUNCTION_ARGS)
{
	Jsonb	   *value = value_argument(fcinfo, 1, "value");
	Jsonb	   *written = tide_lww_register(value, hlc_argument(fcinfo, 2));

	PG_RETURN_JSONB_P(tide_lww_register_merge(state_argument(fcinfo, 0), written));
}

Datum
tide_sql_lww_register_remove(PG_FUNCTION_ARGS)
{
	Jsonb	   *removed = tide_lww_register(NULL, hlc_argument(fcinfo, 1));

	PG_RETURN_JSONB_P(tide_lww_register_merge(state_argument(fcinfo, 0), removed));
}

Datum
tide_sql_lww_register_value(PG_FUNCTION_ARGS)
{
	Jsonb	   *value = tide_lww_register_value(PG_GETARG_JSONB_P(0));

	if (value == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(value);
}

Datum
tide_sql_lww_register_clock(PG_FUNCTION_ARGS)
{
	TideHlc		clock;
	bool		found = tide_lww_register_clock(PG_GETARG_JSONB_P(0), &clock);

	return clock_or_null(fcinfo, found, &clock);
}

Datum
tide_sql_lww_register_merge(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(tide_lww_register_merge(state_argument(fcinfo, 0),
											  state_argument(fcinfo, 1)));
}

/* ---- LWW map ---- */

Datum
tide_sql_lww_map_set(PG_FUNCTION_ARGS)
{
	text	   *key = text_argument(fcinfo, 1, "key");
	Jsonb	   *value = value_argument(fcinfo, 2, "value");

	PG_RETURN_JSONB_P(tide_lww_map_set(state_argument(fcinfo, 0), VARDATA_ANY(key),
									   VARSIZE_ANY_EXHDR(key), value,
									   hlc_argument(fcinfo, 3)));
}

Datum
tide_sql_lww_map_remove(PG_FUNCTION_ARGS)
{
	text	   *key = text_argument(fcinfo, 1, "key");

	PG_RETURN_JSONB_P(tide_lww_map_set(state_argument(fcinfo, 0), VARDATA_ANY(key),
									   VARSIZE_ANY_EXHDR(key), NULL,
									   hlc_argument(fcinfo, 2)));
}

Datum
tide_sql_lww_map_value(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(tide_lww_map_value(PG_GETARG_JSONB_P(0)));
}

Datum
tide_sql_lww_map_clock(PG_FUNCTION_ARGS)
{
	TideHlc		clock;
	bool		found = tide_lww_map_clock(PG_GETARG_JSONB_P(0), &clock);

	return clock_or_null(fcinfo, found, &clock);
}

Datum
tide_sql_lww_map_prune(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(tide_lww_map_prune(state_argument(fcinfo, 0), hlc_argument(fcinfo, 1)));
}

Datum
tide_sql_lww_map_merge(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(tide_lww_map_merge(state_argument(fcinfo, 0), state_argument(fcinfo, 1)));
}

/* ---- PN counter ---- */

Datum
tide_sql_pn_counter_add(PG_FUNCTION_ARGS)
{
	text	   *node = text_argument(fcinfo, 1, "node");

	check_argument(fcinfo, 2, "by");
	PG_RETURN_JSONB_P(tide_counter_add(state_argument(fcinfo, 0), VARDATA_ANY(node),
									   VARSIZE_ANY_EXHDR(node), PG_GETARG_INT64(2)));
}

Datum
tide_sql_pn_counter_value(PG_FUNCTION_ARGS)
{
	PG_RETURN_NUMERIC(tide_counter_value(PG_GETARG_JSONB_P(0)));
}

Datum
tide_sql_pn_counter_merge(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(tide_counter_merge(state_argument(fcinfo, 0), state_argument(fcinfo, 1)));
}

/* ---- sets ---- */

Datum
tide_sql_g_set_add(PG_FUNCTION_ARGS)
{
	Jsonb	   *element = value_argument(fcinfo, 1, "element");

	PG_RETURN_JSONB_P(tide_g_set_add(array_argument(fcinfo, 0), element));
}

Datum
tide_sql_g_set_value(PG_FUNCTION_ARGS)
{
	Jsonb	   *state = PG_GETARG_JSONB_P(0);

	PG_RETURN_JSONB_P(tide_g_set_merge(state, state));
}

Datum
tide_sql_g_set_merge(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(tide_g_set_merge(array_argument(fcinfo, 0), array_argument(fcinfo, 1)));
}

Datum
tide_sql_or_set_add(PG_FUNCTION_ARGS)
{
	Jsonb	   *element = value_argument(fcinfo, 1, "element");
	text	   *node = text_argument(fcinfo, 2, "node");

	PG_RETURN_JSONB_P(tide_or_set_add(state_argument(fcinfo, 0), element, VARDATA_ANY(node),
									  VARSIZE_ANY_EXHDR(node)));
}

Datum
tide_sql_or_set_remove(PG_FUNCTION_ARGS)
{
	Jsonb	   *element = value_argument(fcinfo, 1, "element");

	PG_RETURN_JSONB_P(tide_or_set_remove(state_argument(fcinfo, 0), element));
}

Datum
tide_sql_or_set_value(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(tide_or_set_value(PG_GETARG_JSONB_P(0)));
}

Datum
tide_sql_or_set_merge(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(tide_or_set_merge(state_argument(fcinfo, 0), state_argument(fcinfo, 1)));
}

/* ---- arguments ---- */

static Jsonb *
state_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? tide_empty_object() : PG_GETARG_JSONB_P(n);
}

static Jsonb *
array_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? tide_empty_array() : PG_GETARG_JSONB_P(n);
}

static void
check_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name)));
}

static TideHlc *
hlc_argument(FunctionCallInfo fcinfo, int n)
{
	check_argument(fcinfo, n, "clock");
	return (TideHlc *) PG_GETARG_POINTER(n);
}

static text *
text_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	check_argument(fcinfo, n, name);
	return PG_GETARG_TEXT_PP(n);
}

static Jsonb *
value_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	check_argument(fcinfo, n, name);
	return PG_GETARG_JSONB_P(n);
}

static Datum
clock_or_null(FunctionCallInfo fcinfo, bool found, const TideHlc *clock)
{
	TideHlc    *result;

	if (!found)
		PG_RETURN_NULL();
	result = palloc(sizeof(TideHlc));
	*result = *clock;
	PG_RETURN_POINTER(result);
}
