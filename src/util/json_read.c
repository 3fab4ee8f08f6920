/*
 * json_read.c
 *	  Scalars out of JSON that somebody else wrote.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "util/json_read.h"

static int
compare_to_int64(Datum number, int64 bound)
{
	Numeric		other = int64_to_numeric(bound);
	int			result = DatumGetInt32(DirectFunctionCall2(numeric_cmp, number,
														   NumericGetDatum(other)));

	pfree(other);
	return result;
}

bool
tide_jsonb_int64(const JsonbValue *value, int64 *result)
{
	Datum		number;

	if (value->type != jbvNumeric)
		return false;
	number = NumericGetDatum(value->val.numeric);
	if (DatumGetInt32(DirectFunctionCall1(numeric_scale, number)) != 0 ||
		compare_to_int64(number, PG_INT64_MIN) < 0 ||
		compare_to_int64(number, PG_INT64_MAX) > 0)
		return false;
	*result = DatumGetInt64(DirectFunctionCall1(numeric_int8, number));
	return true;
}
