/*
 * set.c
 *	  Sets of JSON values.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "crdt/object.h"
#include "crdt/set.h"
#include "crdt/vclock.h"

#define G_SET	"grow-only set"
#define OR_SET	"OR-set"
#define ELEMENT "OR-set element"

enum
{
	FIELD_CLOCK,
	FIELD_ELEMENTS,
	NFIELDS
};

static const char *const field_names[] = {
	[FIELD_CLOCK] = "clock",
	[FIELD_ELEMENTS] = "elements"
};

enum
{
	ELEMENT_VALUE,
	ELEMENT_DOTS,
	NELEMENT_FIELDS
};

static const char *const element_field_names[] = {
	[ELEMENT_VALUE] = "value",
	[ELEMENT_DOTS] = "dots"
};

typedef struct Element
{
	Jsonb	   *value;
	Jsonb	   *dots;			/* vector clock; NULL in a grow-only set */
} Element;

/* a set taken apart: elements sorted by value */
typedef struct Set
{
	Jsonb	   *clock;			/* NULL for a grow-only set */
	TideVclock	seen;			/* it, taken apart, as it was read */
	Element    *elements;
	int			n;
} Set;

static void read_g_set(Jsonb *state, Set *result);
static void read_or_set(Jsonb *state, Set *result);
static void read_element(const JsonbValue *value, const TideVclock *seen, Element *result);
static Jsonb *read_dots(Jsonb *dots, const TideVclock *seen);
static JsonbValue *read_array(Jsonb *array, int *n);
static void sort_elements(Set *set);
static int	compare_elements(const void *a, const void *b);
static void check_doubles(const Set *set);
static Jsonb *merge_dots(const Element *a, const Set *set_a, const Element *b, const Set *set_b);
static void push_live_dots(JsonbParseState **state, TideWalk *walk,
						   const TideVclock *seen_a, const TideVclock *seen_b);
static Jsonb *build_values(const Set *set);
static Jsonb *build_or_set(const Set *set);

/* ---- grow-only set ---- */

Jsonb *
tide_g_set_add(Jsonb *state, Jsonb *element)
{
	Set			set;

	read_g_set(state, &set);
	set.elements[set.n++].value = element;
	sort_elements(&set);
	return build_values(&set);
}

Jsonb *
tide_g_set_merge(Jsonb *a, Jsonb *b)
{
	Set			set;
	Set			other;

	read_g_set(a, &set);
	read_g_set(b, &other);
	set.elements = repalloc(set.elements, sizeof(Element) * (set.n + other.n + 1));
	memcpy(set.elements + set.n, other.elements, sizeof(Element) * other.n);
	set.n += other.n;
	sort_elements(&set);
	return build_values(&set);
}

/* unsorted; with room for one more element */
static void
read_g_set(Jsonb *state, Set *result)
{
	JsonbValue *values;

	if (!JB_ROOT_IS_ARRAY(state) || JB_ROOT_IS_SCALAR(state))
		tide_state_malformed(G_SET, "It must be a JSON array.");
	values = read_array(state, &result->n);
	result->clock = NULL;
	result->elements = palloc0(sizeof(Element) * (result->n + 1));
	for (int i = 0; i < result->n; i++)
		result->elements[i].value = tide_value_to_jsonb(&values[i]);
}

/* ---- observed-remove set ---- */

Jsonb *
tide_or_set_add(Jsonb *state, Jsonb *element, const char *node, int len)
{
	Set			set;
	Element		added = {element};
	Element    *at;

	read_or_set(state, &set);
	set.clock = tide_vclock_increment(set.clock, node, len);

	/* the new dot stands for those of the element that this state has seen */
	at = bsearch(&added, set.elements, set.n, sizeof(Element), compare_elements);
	if (at == NULL)
	{
		at = &set.elements[set.n++];
		at->value = element;
	}
	at->dots = tide_vclock_add(tide_empty_object(), node, len,
							   tide_vclock_count(&set.seen, node, len) + 1);
	sort_elements(&set);
	return build_or_set(&set);
}

Jsonb *
tide_or_set_remove(Jsonb *state, Jsonb *element)
{
	Set			set;
	Element		removed = {element};
	Element    *at;

	read_or_set(state, &set);
	at = bsearch(&removed, set.elements, set.n, sizeof(Element), compare_elements);
	if (at != NULL)
	{
		set.n--;
		memmove(at, at + 1, sizeof(Element) * (set.elements + set.n - at));
	}
	return build_or_set(&set);
}

Jsonb *
tide_or_set_merge(Jsonb *a, Jsonb *b)
{
	Set			set_a;
	Set			set_b;
	Set			result;
	int			at_a = 0;
	int			at_b = 0;

	read_or_set(a, &set_a);
	read_or_set(b, &set_b);
	result.clock = tide_vclock_merge(set_a.clock, set_b.clock);
	result.elements = palloc(sizeof(Element) * (set_a.n + set_b.n + 1));
	result.n = 0;
	while (at_a < set_a.n || at_b < set_b.n)
	{
		Element    *in_a = at_a < set_a.n ? &set_a.elements[at_a] : NULL;
		Element    *in_b = at_b < set_b.n ? &set_b.elements[at_b] : NULL;
		int			order = in_a && in_b ? compare_elements(in_a, in_b) : (in_a ? -1 : 1);
		Element    *merged = &result.elements[result.n];

		CHECK_FOR_INTERRUPTS();
		Assert(in_a != NULL || in_b != NULL);
		at_a += order <= 0;
		at_b += order >= 0;
		merged->value = order <= 0 ? in_a->value : in_b->value;
		merged->dots = merge_dots(order <= 0 ? in_a : NULL, &set_a,
								  order >= 0 ? in_b : NULL, &set_b);
		if (!tide_is_empty(merged->dots))
			result.n++;
	}
	return build_or_set(&result);
}

Jsonb *
tide_or_set_value(Jsonb *state)
{
	Set			set;

	read_or_set(state, &set);
	return build_values(&set);
}

/*
 * The dots of an element that are left when two sets are merged: of each side those that the
 * other has as well, or has not seen.
 */
static Jsonb *
merge_dots(const Element *a, const Set *set_a, const Element *b, const Set *set_b)
{
	TideWalk	walk = {0};
	JsonbParseState *state = NULL;

	/* mostly both have the same */
	if (a && b && VARSIZE(a->dots) == VARSIZE(b->dots) &&
		memcmp(a->dots, b->dots, VARSIZE(a->dots)) == 0)
		return a->dots;

	tide_members_read(a ? a->dots : tide_empty_object(), OR_SET, &walk.a);
	tide_members_read(b ? b->dots : tide_empty_object(), OR_SET, &walk.b);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while (tide_walk_next(&walk))
		push_live_dots(&state, &walk, &set_a->seen, &set_b->seen);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/*
 * One node's dots in both sides: the same one stays; of two different ones the later one may be
 * news to the other side, the earlier one cannot.
 */
static void
push_live_dots(JsonbParseState **state, TideWalk *walk,
			   const TideVclock *seen_a, const TideVclock *seen_b)
{
	const char *node = walk->key->val.string.val;
	int			len = walk->key->val.string.len;
	int64		dot_a = tide_vclock_read_count(walk->value_a);
	int64		dot_b = tide_vclock_read_count(walk->value_b);
	int64		live = 0;

	if (dot_a == dot_b)
		live = dot_a;
	else
	{
		if (dot_a > tide_vclock_count(seen_b, node, len))
			live = dot_a;
		if (dot_b > tide_vclock_count(seen_a, node, len))
			live = dot_b;
	}
	if (live > 0)
		tide_vclock_push_count(state, node, len, live);
}

/* Elements sorted, with room for one more; dots without zeros. */
static void
read_or_set(Jsonb *state, Set *result)
{
	TideMembers members;
	const JsonbValue *values[NFIELDS];
	JsonbValue *elements = NULL;

	tide_members_read(state, OR_SET, &members);
	tide_members_find(&members, OR_SET, field_names, NFIELDS, values);
	result->clock = values[FIELD_CLOCK] ? tide_value_to_jsonb(values[FIELD_CLOCK]) : tide_empty_object();
	result->clock = tide_vclock_merge(result->clock, tide_empty_object());
	tide_vclock_read(result->clock, &result->seen);
	result->n = 0;
	if (values[FIELD_ELEMENTS])
	{
		Jsonb	   *array = tide_value_to_jsonb(values[FIELD_ELEMENTS]);

		if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array))
			tide_state_malformed(OR_SET, "Field \"%s\" must be a JSON array.",
								 field_names[FIELD_ELEMENTS]);
		elements = read_array(array, &result->n);
	}
	result->elements = palloc0(sizeof(Element) * (result->n + 1));
	for (int i = 0; i < result->n; i++)
		read_element(&elements[i], &result->seen, &result->elements[i]);
	qsort(result->elements, result->n, sizeof(Element), compare_elements);
	check_doubles(result);
}

static void
read_element(const JsonbValue *value, const TideVclock *seen, Element *result)
{
	Jsonb	   *element = tide_value_to_jsonb(value);
	TideMembers members;
	const JsonbValue *values[NELEMENT_FIELDS];

	CHECK_FOR_INTERRUPTS();
	tide_members_read(element, ELEMENT, &members);
	tide_members_find(&members, ELEMENT, element_field_names, NELEMENT_FIELDS, values);
	for (int i = 0; i < NELEMENT_FIELDS; i++)
		if (values[i] == NULL)
			tide_state_malformed(ELEMENT, "Field \"%s\" is missing.", element_field_names[i]);
	result->value = tide_value_to_jsonb(values[ELEMENT_VALUE]);
	result->dots = read_dots(tide_value_to_jsonb(values[ELEMENT_DOTS]), seen);
}

/* Dots, checked, without zeros. */
static Jsonb *
read_dots(Jsonb *dots, const TideVclock *seen)
{
	TideVclock	read;
	int			zeros = 0;

	tide_vclock_read(dots, &read);
	for (int i = 0; i < read.members.n; i++)
	{
		JsonbValue *node = &read.members.pairs[i].key;

		if (read.counts[i] > tide_vclock_count(seen, node->val.string.val, node->val.string.len))
			tide_state_malformed(ELEMENT, "It has a dot that the set's clock has not seen.");
		zeros += read.counts[i] == 0;
	}
	if (zeros == read.members.n)
		tide_state_malformed(ELEMENT, "It must have a dot.");
	return zeros == 0 ? dots : tide_vclock_merge(dots, tide_empty_object());
}

static void
check_doubles(const Set *set)
{
	for (int i = 1; i < set->n; i++)
		if (compare_elements(&set->elements[i - 1], &set->elements[i]) == 0)
			tide_state_malformed(OR_SET, "An element is there twice.");
}

static Jsonb *
build_or_set(const Set *set)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (!tide_is_empty(set->clock))
		tide_push_jsonb(&state, field_names[FIELD_CLOCK], set->clock);
	if (set->n > 0)
	{
		tide_push_key(&state, field_names[FIELD_ELEMENTS], strlen(field_names[FIELD_ELEMENTS]));
		pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
		for (int i = 0; i < set->n; i++)
		{
			pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
			tide_push_jsonb(&state, element_field_names[ELEMENT_VALUE], set->elements[i].value);
			tide_push_jsonb(&state, element_field_names[ELEMENT_DOTS], set->elements[i].dots);
			pushJsonbValue(&state, WJB_END_OBJECT, NULL);
		}
		pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* ---- both ---- */

static JsonbValue *
read_array(Jsonb *array, int *n)
{
	JsonbValue *values = palloc(sizeof(JsonbValue) * Max(JB_ROOT_COUNT(array), 1));
	JsonbIterator *it = JsonbIteratorInit(&array->root);
	JsonbIteratorToken token;
	JsonbValue	value;

	*n = 0;
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
		if (token == WJB_ELEM)
			values[(*n)++] = value;
	return values;
}

static int
compare_elements(const void *a, const void *b)
{
	return tide_jsonb_compare(((const Element *) a)->value, ((const Element *) b)->value);
}

/* Sort; of equal elements one stays. */
static void
sort_elements(Set *set)
{
	int			kept = 0;

	qsort(set->elements, set->n, sizeof(Element), compare_elements);
	for (int i = 0; i < set->n; i++)
		if (i == 0 || compare_elements(&set->elements[kept - 1], &set->elements[i]) != 0)
			set->elements[kept++] = set->elements[i];
	set->n = kept;
}

static Jsonb *
build_values(const Set *set)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < set->n; i++)
	{
		JsonbValue	value;

		tide_jsonb_to_value(set->elements[i].value, &value);
		pushJsonbValue(&state, WJB_ELEM, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}
