/*
 * vclock.c
 *	  Vector clocks held as jsonb objects.
 */
#include "postgres.h"

#include "common/int.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "crdt/object.h"
#include "crdt/vclock.h"

#define KIND	"vector clock"

static const char *const order_names[] = {
	[TIDE_VCLOCK_EQUAL] = "equal",
	[TIDE_VCLOCK_BEFORE] = "before",
	[TIDE_VCLOCK_AFTER] = "after",
	[TIDE_VCLOCK_CONCURRENT] = "concurrent"
};

static bool next_node(TideWalk *walk, int64 *count_a, int64 *count_b);
static bool is_node(const JsonbValue *key, const char *node, int len);

const char *
tide_vclock_order_name(TideVclockOrder order)
{
	return order_names[order];
}

void
tide_vclock_check(Jsonb *clock)
{
	(void) tide_vclock_compare(clock, clock);
}

TideVclockOrder
tide_vclock_compare(Jsonb *a, Jsonb *b)
{
	TideWalk	walk = {0};
	int64		count_a;
	int64		count_b;
	bool		a_has_more = false;
	bool		b_has_more = false;

	tide_members_read(a, KIND, &walk.a);
	tide_members_read(b, KIND, &walk.b);
	while (next_node(&walk, &count_a, &count_b))
	{
		a_has_more |= count_a > count_b;
		b_has_more |= count_b > count_a;
	}
	if (a_has_more)
		return b_has_more ? TIDE_VCLOCK_CONCURRENT : TIDE_VCLOCK_AFTER;
	return b_has_more ? TIDE_VCLOCK_BEFORE : TIDE_VCLOCK_EQUAL;
}

Jsonb *
tide_vclock_merge(Jsonb *a, Jsonb *b)
{
	TideWalk	walk = {0};
	int64		count_a;
	int64		count_b;
	JsonbParseState *state = NULL;

	tide_members_read(a, KIND, &walk.a);
	tide_members_read(b, KIND, &walk.b);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while (next_node(&walk, &count_a, &count_b))
		tide_vclock_push_count(&state, walk.key->val.string.val, walk.key->val.string.len,
							   Max(count_a, count_b));
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

Jsonb *
tide_vclock_add(Jsonb *clock, const char *node, int len, int64 by)
{
	TideWalk	walk = {0};
	int64		count;
	int64		absent;
	int64		sum = by;
	JsonbParseState *state = NULL;

	Assert(by >= 0);
	if (len == 0)
		tide_state_malformed(KIND, "A node's name must not be empty.");
	tide_members_read(clock, KIND, &walk.a);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while (next_node(&walk, &count, &absent))
	{
		if (!is_node(walk.key, node, len))
			tide_vclock_push_count(&state, walk.key->val.string.val, walk.key->val.string.len, count);
		else if (pg_add_s64_overflow(count, by, &sum))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("count of a node is out of range")));
	}
	tide_vclock_push_count(&state, node, len, sum);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

Jsonb *
tide_vclock_increment(Jsonb *clock, const char *node, int len)
{
	return tide_vclock_add(clock, node, len, 1);
}

void
tide_vclock_read(Jsonb *clock, TideVclock *result)
{
	TideWalk	walk = {0};
	int64		count;
	int64		absent;
	int			n = 0;

	tide_members_read(clock, KIND, &walk.a);
	result->members = walk.a;
	result->counts = palloc(sizeof(int64) * Max(walk.a.n, 1));
	while (next_node(&walk, &count, &absent))
		result->counts[n++] = count;
}

int64
tide_vclock_count(const TideVclock *clock, const char *node, int len)
{
	int			i = tide_members_index(&clock->members, node, len);

	return i < 0 ? 0 : clock->counts[i];
}

Numeric
tide_vclock_total(Jsonb *clock)
{
	TideWalk	walk = {0};
	int64		count;
	int64		absent;
	Datum		total = NumericGetDatum(int64_to_numeric(0));

	tide_members_read(clock, KIND, &walk.a);
	while (next_node(&walk, &count, &absent))
		total = DirectFunctionCall2(numeric_add, total, NumericGetDatum(int64_to_numeric(count)));
	return DatumGetNumeric(total);
}

/* the next node of either clock, checked, and its count in both; false if there is none */
static bool
next_node(TideWalk *walk, int64 *count_a, int64 *count_b)
{
	if (!tide_walk_next(walk))
		return false;
	if (walk->key->val.string.len == 0)
		tide_state_malformed(KIND, "A node's name must not be empty.");
	*count_a = tide_vclock_read_count(walk->value_a);
	*count_b = tide_vclock_read_count(walk->value_b);
	return true;
}

int64
tide_vclock_read_count(const JsonbValue *value)
{
	if (value == NULL)
		return 0;
	if (value->type == jbvNumeric)
	{
		/* numeric_int8() would round, and throw an error of its own */
		Datum		number = NumericGetDatum(value->val.numeric);
		Datum		whole = DirectFunctionCall2(numeric_trunc, number, Int32GetDatum(0));
		Datum		zero = NumericGetDatum(int64_to_numeric(0));
		Datum		limit = NumericGetDatum(int64_to_numeric(PG_INT64_MAX));

		if (DatumGetBool(DirectFunctionCall2(numeric_ge, number, zero)) &&
			DatumGetBool(DirectFunctionCall2(numeric_le, number, limit)) &&
			DatumGetBool(DirectFunctionCall2(numeric_eq, number, whole)))
			return DatumGetInt64(DirectFunctionCall1(numeric_int8, number));
	}
	tide_state_malformed(KIND, "A count must be an integer from 0 to " INT64_FORMAT ".",
						 PG_INT64_MAX);
}

static bool
is_node(const JsonbValue *key, const char *node, int len)
{
	return key->val.string.len == len && memcmp(key->val.string.val, node, len) == 0;
}

void
tide_vclock_push_count(JsonbParseState **state, const char *node, int len, int64 count)
{
	JsonbValue	value = {.type = jbvNumeric};

	if (count == 0)
		return;
	value.val.numeric = int64_to_numeric(count);
	tide_push_key(state, node, len);
	pushJsonbValue(state, WJB_VALUE, &value);
}
