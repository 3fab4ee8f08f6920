/*
 * hlc_sql.c
 *	  SQL functions of hybrid logical clocks: unpack, check, call.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "crdt/hlc.h"

#define PG_GETARG_HLC(n)	((TideHlc *) PG_GETARG_POINTER(n))
#define NODE_TEXT_LEN		16

PG_FUNCTION_INFO_V1(tide_sql_make_hlc);
PG_FUNCTION_INFO_V1(tide_sql_hlc_now);
PG_FUNCTION_INFO_V1(tide_sql_hlc_observe);
PG_FUNCTION_INFO_V1(tide_sql_hlc_tick);
PG_FUNCTION_INFO_V1(tide_sql_hlc_receive);
PG_FUNCTION_INFO_V1(tide_sql_hlc_time);
PG_FUNCTION_INFO_V1(tide_sql_hlc_counter);
PG_FUNCTION_INFO_V1(tide_sql_hlc_node);
PG_FUNCTION_INFO_V1(tide_sql_hlc_client_node);

static Datum hlc_datum(TideHlc hlc);
static Datum node_datum(const TideHlc *hlc);

/* make_hlc(at, counter, node) */
Datum
tide_sql_make_hlc(PG_FUNCTION_ARGS)
{
	int32		counter = PG_GETARG_INT32(1);
	TideHlc		hlc = tide_hlc_at(PG_GETARG_TIMESTAMPTZ(0),
								  tide_hlc_node_of_uuid(PG_GETARG_UUID_P(2)));

	if (counter < 0 || counter > TIDE_HLC_MAX_COUNTER)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("counter of a hybrid logical clock must be from 0 to %d",
						TIDE_HLC_MAX_COUNTER)));
	hlc.time |= counter;
	return hlc_datum(hlc);
}

/* hlc_now(node): node NULL is the server's */
Datum
tide_sql_hlc_now(PG_FUNCTION_ARGS)
{
	TideHlc		hlc = tide_hlc_now();

	if (!PG_ARGISNULL(0))
		hlc.node = tide_hlc_node_of_uuid(PG_GETARG_UUID_P(0));
	return hlc_datum(hlc);
}

Datum
tide_sql_hlc_observe(PG_FUNCTION_ARGS)
{
	return hlc_datum(tide_hlc_observe(PG_GETARG_HLC(0)));
}

/* hlc_tick(local, at) */
Datum
tide_sql_hlc_tick(PG_FUNCTION_ARGS)
{
	return hlc_datum(tide_hlc_tick(PG_GETARG_HLC(0),
								   tide_hlc_ms_of_timestamp(PG_GETARG_TIMESTAMPTZ(1))));
}

/* hlc_receive(local, remote, at) */
Datum
tide_sql_hlc_receive(PG_FUNCTION_ARGS)
{
	TideHlc    *remote = PG_GETARG_HLC(1);
	uint64		now_ms = tide_hlc_ms_of_timestamp(PG_GETARG_TIMESTAMPTZ(2));

	tide_hlc_check_drift(remote, now_ms);
	return hlc_datum(tide_hlc_receive(PG_GETARG_HLC(0), remote, now_ms));
}

Datum
tide_sql_hlc_time(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(tide_hlc_timestamp(PG_GETARG_HLC(0)));
}

Datum
tide_sql_hlc_counter(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(tide_hlc_counter(PG_GETARG_HLC(0)));
}

Datum
tide_sql_hlc_node(PG_FUNCTION_ARGS)
{
	return node_datum(PG_GETARG_HLC(0));
}

/* hlc_client_node(client) */
Datum
tide_sql_hlc_client_node(PG_FUNCTION_ARGS)
{
	TideHlc		hlc = {0, tide_hlc_node_of_uuid(PG_GETARG_UUID_P(0))};

	return node_datum(&hlc);
}

static Datum
hlc_datum(TideHlc hlc)
{
	TideHlc    *result = palloc(sizeof(TideHlc));

	*result = hlc;
	PG_RETURN_POINTER(result);
}

/* the node as in a clock's text */
static Datum
node_datum(const TideHlc *hlc)
{
	char		text[TIDE_HLC_TEXT_LEN + 1];

	tide_hlc_format(hlc, text);
	PG_RETURN_TEXT_P(cstring_to_text(text + TIDE_HLC_TEXT_LEN - NODE_TEXT_LEN));
}
