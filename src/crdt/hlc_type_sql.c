/*
 * hlc_type_sql.c
 *	  Type tide.hlc: input and output, comparison, hashing.
 *
 * 16 bytes by reference: a TideHlc as it is in memory. On the wire both numbers in
 * network order. Every value of 128 bits is a clock.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "libpq/pqformat.h"

#include "crdt/hlc.h"
#include "util/compat.h"

#define PG_GETARG_HLC(n)	((TideHlc *) PG_GETARG_POINTER(n))

PG_FUNCTION_INFO_V1(tide_sql_hlc_in);
PG_FUNCTION_INFO_V1(tide_sql_hlc_out);
PG_FUNCTION_INFO_V1(tide_sql_hlc_recv);
PG_FUNCTION_INFO_V1(tide_sql_hlc_send);
PG_FUNCTION_INFO_V1(tide_sql_hlc_lt);
PG_FUNCTION_INFO_V1(tide_sql_hlc_le);
PG_FUNCTION_INFO_V1(tide_sql_hlc_eq);
PG_FUNCTION_INFO_V1(tide_sql_hlc_ne);
PG_FUNCTION_INFO_V1(tide_sql_hlc_ge);
PG_FUNCTION_INFO_V1(tide_sql_hlc_gt);
PG_FUNCTION_INFO_V1(tide_sql_hlc_compare);
PG_FUNCTION_INFO_V1(tide_sql_hlc_hash);
PG_FUNCTION_INFO_V1(tide_sql_hlc_hash_extended);
PG_FUNCTION_INFO_V1(tide_sql_hlc_larger);
PG_FUNCTION_INFO_V1(tide_sql_hlc_smaller);

static int	compare_arguments(FunctionCallInfo fcinfo);

Datum
tide_sql_hlc_in(PG_FUNCTION_ARGS)
{
	const char *text = PG_GETARG_CSTRING(0);
	TideHlc    *result = palloc(sizeof(TideHlc));

	if (!tide_hlc_parse(text, strlen(text), result))
		tide_input_error_compat(fcinfo,
								(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
								 errmsg("invalid input syntax for type %s: \"%s\"", "tide.hlc", text),
								 errdetail("It must be 12, 4 and 16 lower-case hexadecimal digits parted by \"-\".")));
	PG_RETURN_POINTER(result);
}

Datum
tide_sql_hlc_out(PG_FUNCTION_ARGS)
{
	char	   *text = palloc(TIDE_HLC_TEXT_LEN + 1);

	tide_hlc_format(PG_GETARG_HLC(0), text);
	PG_RETURN_CSTRING(text);
}

Datum
tide_sql_hlc_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	TideHlc    *result = palloc(sizeof(TideHlc));

	result->time = (uint64) pq_getmsgint64(buf);
	result->node = (uint64) pq_getmsgint64(buf);
	PG_RETURN_POINTER(result);
}

Datum
tide_sql_hlc_send(PG_FUNCTION_ARGS)
{
	TideHlc    *hlc = PG_GETARG_HLC(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendint64(&buf, hlc->time);
	pq_sendint64(&buf, hlc->node);
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

static int
compare_arguments(FunctionCallInfo fcinfo)
{
	return tide_hlc_compare(PG_GETARG_HLC(0), PG_GETARG_HLC(1));
}

Datum
tide_sql_hlc_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) < 0);
}

Datum
tide_sql_hlc_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) <= 0);
}

Datum
tide_sql_hlc_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) == 0);
}

Datum
tide_sql_hlc_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) != 0);
}

Datum
tide_sql_hlc_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) >= 0);
}

Datum
tide_sql_hlc_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_arguments(fcinfo) > 0);
}

Datum
tide_sql_hlc_compare(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_arguments(fcinfo));
}

Datum
tide_sql_hlc_hash(PG_FUNCTION_ARGS)
{
	return hash_any((unsigned char *) PG_GETARG_HLC(0), sizeof(TideHlc));
}

Datum
tide_sql_hlc_hash_extended(PG_FUNCTION_ARGS)
{
	return hash_any_extended((unsigned char *) PG_GETARG_HLC(0), sizeof(TideHlc),
							 PG_GETARG_INT64(1));
}

Datum
tide_sql_hlc_larger(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(PG_GETARG_DATUM(compare_arguments(fcinfo) >= 0 ? 0 : 1));
}

Datum
tide_sql_hlc_smaller(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(PG_GETARG_DATUM(compare_arguments(fcinfo) <= 0 ? 0 : 1));
}
