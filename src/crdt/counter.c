/*
 * counter.c
 *	  PN counter.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"

#include "crdt/counter.h"
#include "crdt/object.h"
#include "crdt/vclock.h"

#define KIND	"PN counter"

enum
{
	FIELD_ADDED,
	FIELD_REMOVED,
	NFIELDS
};

static const char *const field_names[] = {
	[FIELD_ADDED] = "added",
	[FIELD_REMOVED] = "removed"
};

static void read_sums(Jsonb *state, Jsonb **sums);
static Jsonb *build_state(Jsonb **sums);

Jsonb *
tide_counter_add(Jsonb *state, const char *node, int len, int64 by)
{
	Jsonb	   *sums[NFIELDS];
	int			field = by < 0 ? FIELD_REMOVED : FIELD_ADDED;

	if (by == PG_INT64_MIN)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("count of a node is out of range")));
	read_sums(state, sums);
	sums[field] = tide_vclock_add(sums[field], node, len, by < 0 ? -by : by);
	return build_state(sums);
}

Jsonb *
tide_counter_merge(Jsonb *a, Jsonb *b)
{
	Jsonb	   *sums[NFIELDS];
	Jsonb	   *sums_b[NFIELDS];

	read_sums(a, sums);
	read_sums(b, sums_b);
	for (int i = 0; i < NFIELDS; i++)
		sums[i] = tide_vclock_merge(sums[i], sums_b[i]);
	return build_state(sums);
}

Numeric
tide_counter_value(Jsonb *state)
{
	Jsonb	   *sums[NFIELDS];
	Datum		totals[NFIELDS];

	read_sums(state, sums);
	for (int i = 0; i < NFIELDS; i++)
		totals[i] = NumericGetDatum(tide_vclock_total(sums[i]));
	return DatumGetNumeric(DirectFunctionCall2(numeric_sub, totals[FIELD_ADDED],
											   totals[FIELD_REMOVED]));
}

static void
read_sums(Jsonb *state, Jsonb **sums)
{
	TideMembers members;
	const JsonbValue *values[NFIELDS];

	tide_members_read(state, KIND, &members);
	tide_members_find(&members, KIND, field_names, NFIELDS, values);
	for (int i = 0; i < NFIELDS; i++)
	{
		sums[i] = values[i] ? tide_value_to_jsonb(values[i]) : tide_empty_object();
		if (!JB_ROOT_IS_OBJECT(sums[i]))
			tide_state_malformed(KIND, "Field \"%s\" must be a JSON object.", field_names[i]);
	}
}

static Jsonb *
build_state(Jsonb **sums)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < NFIELDS; i++)
	{
		/* without zeros, which the other field may have */
		sums[i] = tide_vclock_merge(sums[i], tide_empty_object());
		if (!tide_is_empty(sums[i]))
			tide_push_jsonb(&state, field_names[i], sums[i]);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}
