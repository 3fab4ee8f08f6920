/*
 * vclock.c
 *	  Vector clocks held as jsonb objects.
 *
 * The keys of a jsonb object come in a fixed order, so two clocks are compared and
 * merged in one walk along both.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "crdt/vclock.h"
#include "util/errors.h"

typedef struct Entry
{
	const char *node;			/* points into the jsonb */
	int			len;
	int64		count;
} Entry;

/* a clock taken apart, in the order of its keys */
typedef struct Entries
{
	Entry	   *entries;
	int			n;
} Entries;

/* a walk along two clocks: at each step one node and its count in both */
typedef struct Walk
{
	Entries		a;
	Entries		b;
	int			at_a;
	int			at_b;
	Entry	   *node;
	int64		count_a;
	int64		count_b;
} Walk;

static const char *const order_names[] = {
	[TIDE_VCLOCK_EQUAL] = "equal",
	[TIDE_VCLOCK_BEFORE] = "before",
	[TIDE_VCLOCK_AFTER] = "after",
	[TIDE_VCLOCK_CONCURRENT] = "concurrent"
};

static void read_clock(Jsonb *clock, Entries *result);
static int64 read_count(const JsonbValue *value);
static int	compare_nodes(const Entry *a, const Entry *b);
static bool walk_next(Walk *walk);
static void push_entry(JsonbParseState **state, const char *node, int len, int64 count);

const char *
tide_vclock_order_name(TideVclockOrder order)
{
	return order_names[order];
}

void
tide_vclock_check(Jsonb *clock)
{
	Entries		entries;

	read_clock(clock, &entries);
	if (entries.entries)
		pfree(entries.entries);
}

TideVclockOrder
tide_vclock_compare(Jsonb *a, Jsonb *b)
{
	Walk		walk = {0};
	bool		a_has_more = false;
	bool		b_has_more = false;

	read_clock(a, &walk.a);
	read_clock(b, &walk.b);
	while (walk_next(&walk))
	{
		a_has_more |= walk.count_a > walk.count_b;
		b_has_more |= walk.count_b > walk.count_a;
	}
	if (a_has_more)
		return b_has_more ? TIDE_VCLOCK_CONCURRENT : TIDE_VCLOCK_AFTER;
	return b_has_more ? TIDE_VCLOCK_BEFORE : TIDE_VCLOCK_EQUAL;
}

Jsonb *
tide_vclock_merge(Jsonb *a, Jsonb *b)
{
	Walk		walk = {0};
	JsonbParseState *state = NULL;

	read_clock(a, &walk.a);
	read_clock(b, &walk.b);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while (walk_next(&walk))
		push_entry(&state, walk.node->node, walk.node->len, Max(walk.count_a, walk.count_b));
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

Jsonb *
tide_vclock_increment(Jsonb *clock, const char *node, int len)
{
	Entries		entries;
	int64		count = 0;
	JsonbParseState *state = NULL;

	if (len == 0)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("node of a vector clock must not be empty")));

	read_clock(clock, &entries);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < entries.n; i++)
	{
		Entry	   *entry = &entries.entries[i];

		if (entry->len == len && memcmp(entry->node, node, len) == 0)
			count = entry->count;
		else
			push_entry(&state, entry->node, entry->len, entry->count);
	}
	if (count == PG_INT64_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("vector clock out of range")));
	push_entry(&state, node, len, count + 1);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

int64
tide_vclock_count(Jsonb *clock, const char *node, int len)
{
	Entries		entries;
	int64		count = 0;

	read_clock(clock, &entries);
	for (int i = 0; i < entries.n; i++)
		if (entries.entries[i].len == len && memcmp(entries.entries[i].node, node, len) == 0)
			count = entries.entries[i].count;
	return count;
}

/* Take a clock apart, checking it. Nodes still point into clock. */
static void
read_clock(Jsonb *clock, Entries *result)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(clock))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("vector clock must be a JSON object")));

	result->n = 0;
	result->entries = palloc(sizeof(Entry) * Max(JB_ROOT_COUNT(clock), 1));
	it = JsonbIteratorInit(&clock->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		Entry	   *entry = &result->entries[result->n];

		if (token == WJB_KEY)
		{
			if (value.val.string.len == 0)
				ereport(ERROR,
						(errcode(TIDE_ERRCODE_BAD_REQUEST),
						 errmsg("node of a vector clock must not be empty")));
			entry->node = value.val.string.val;
			entry->len = value.val.string.len;
		}
		else if (token == WJB_VALUE)
		{
			entry->count = read_count(&value);
			result->n++;
		}
	}
}

static int64
read_count(const JsonbValue *value)
{
	if (value->type == jbvNumeric)
	{
		Datum		number = NumericGetDatum(value->val.numeric);
		Datum		zero = DirectFunctionCall1(int4_numeric, Int32GetDatum(0));
		Datum		limit = DirectFunctionCall1(int8_numeric, Int64GetDatum(PG_INT64_MAX));
		Datum		whole = DirectFunctionCall2(numeric_trunc, number, Int32GetDatum(0));

		if (DatumGetBool(DirectFunctionCall2(numeric_ge, number, zero)) &&
			DatumGetBool(DirectFunctionCall2(numeric_le, number, limit)) &&
			DatumGetBool(DirectFunctionCall2(numeric_eq, number, whole)))
			return DatumGetInt64(DirectFunctionCall1(numeric_int8, number));
	}
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_BAD_REQUEST),
			 errmsg("count of a vector clock must be an integer from 0 to " INT64_FORMAT,
					PG_INT64_MAX)));
	return 0;					/* keep compiler quiet */
}

/* the order of keys in jsonb: by length, then by bytes */
static int
compare_nodes(const Entry *a, const Entry *b)
{
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return memcmp(a->node, b->node, a->len);
}

/* The next node of either clock; false if there is none. */
static bool
walk_next(Walk *walk)
{
	Entry	   *a = walk->at_a < walk->a.n ? &walk->a.entries[walk->at_a] : NULL;
	Entry	   *b = walk->at_b < walk->b.n ? &walk->b.entries[walk->at_b] : NULL;
	int			order;

	if (a == NULL && b == NULL)
		return false;
	if (a == NULL)
		order = 1;
	else if (b == NULL)
		order = -1;
	else
		order = compare_nodes(a, b);

	walk->node = order <= 0 ? a : b;
	walk->count_a = order <= 0 ? a->count : 0;
	walk->count_b = order >= 0 ? b->count : 0;
	if (order <= 0)
		walk->at_a++;
	if (order >= 0)
		walk->at_b++;
	return true;
}

/* one key of the object that state builds; none for a count of 0 */
static void
push_entry(JsonbParseState **state, const char *node, int len, int64 count)
{
	JsonbValue	key = {.type = jbvString};
	JsonbValue	value = {.type = jbvNumeric};

	if (count == 0)
		return;
	key.val.string.val = (char *) node;
	key.val.string.len = len;
	value.val.numeric = int64_to_numeric(count);
	pushJsonbValue(state, WJB_KEY, &key);
	pushJsonbValue(state, WJB_VALUE, &value);
}
