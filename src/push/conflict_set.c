/*
 * conflict_set.c
 *	  Policy set: an array, or a jsonb array, as an observed-remove set.
 *
 * What a client did to the set is the difference of the value sent and the base. What it
 * added comes to what is there; what it removed goes, but for elements that other clients
 * have added after what it had seen: their adds it cannot have meant. Which adds there
 * were is in tide_internal.set_elements; of an element that is not there all has been seen.
 *
 * Elements are compared as JSON, of the column's type: to_jsonb() of both sides.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/rel.h"

#include "push/conflict.h"
#include "push/conflict_memory.h"
#include "util/errors.h"
#include "util/spi.h"

typedef struct Element
{
	pg_uuid_t	id;
	JsonbValue	value;
} Element;

static List *elements_of(const TideConflictColumn *column, TideConflictValue which);
static List *read_elements(Jsonb *array);
static HTAB *new_index(int n);
static List *without(const List *elements, const List *others);
static List *ids_of(const List *elements);
static List *survivors(const TideConflict *conflict, const TideConflictColumn *column,
					   const List *elements);
static bool is_as_sent(const TideConflictColumn *column, const List *result, const List *new);
static Jsonb *array_of(const List *elements);

void
tide_conflict_decide_set(TideConflict *conflict, TideConflictColumn *column)
{
	List	   *current = elements_of(column, TIDE_VALUE_CURRENT);
	List	   *base = elements_of(column, TIDE_VALUE_BASE);
	List	   *new = elements_of(column, TIDE_VALUE_NEW);
	List	   *added = without(new, base);
	List	   *removed = without(base, new);
	List	   *result;

	removed = without(removed, survivors(conflict, column, removed));
	result = list_concat(without(current, removed), without(added, current));
	column->added = ids_of(added);
	column->removed = ids_of(removed);
	column->fate = is_as_sent(column, result, new) ? TIDE_COLUMN_WRITTEN : TIDE_COLUMN_MERGED;
	column->computed = array_of(result);
}

List *
tide_conflict_set_ids(Jsonb *array)
{
	return ids_of(read_elements(array));
}

/* each once, in order; none of NULL */
static List *
elements_of(const TideConflictColumn *column, TideConflictValue which)
{
	Jsonb	   *array;

	if (column->nulls[which])
		return NIL;
	array = DatumGetJsonbP(column->values[which]);
	if (JB_ROOT_IS_SCALAR(array) || !JB_ROOT_IS_ARRAY(array))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("column \"%s\" has conflict policy \"%s\" and must hold an array",
						NameStr(column->att->attname), "set")));
	return read_elements(array);
}

static List *
read_elements(Jsonb *array)
{
	List	   *elements = NIL;
	HTAB	   *index = new_index(JB_ROOT_COUNT(array));
	JsonbIterator *it = JsonbIteratorInit(&array->root);
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		Element    *element;
		Datum		json;
		uint64		parts[2];
		bool		found;

		if (token != WJB_ELEM)
			continue;
		element = palloc(sizeof(Element));
		element->value = value;
		json = JsonbPGetDatum(JsonbValueToJsonb(&element->value));
		for (int i = 0; i < 2; i++)
			parts[i] = DatumGetUInt64(DirectFunctionCall2(jsonb_hash_extended, json,
														  Int64GetDatum(i + 1)));
		memcpy(element->id.data, parts, UUID_LEN);
		(void) hash_search(index, &element->id, HASH_ENTER, &found);
		if (!found)
			elements = lappend(elements, element);
	}
	hash_destroy(index);
	return elements;
}

/* of ids */
static HTAB *
new_index(int n)
{
	HASHCTL		ctl = {.keysize = sizeof(pg_uuid_t),.entrysize = sizeof(pg_uuid_t),
	.hcxt = CurrentMemoryContext};

	return hash_create("tide set elements", Max(n, 16), &ctl,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static List *
without(const List *elements, const List *others)
{
	List	   *result = NIL;
	HTAB	   *index = new_index(list_length(others));
	ListCell   *lc;

	foreach(lc, others)
		(void) hash_search(index, &((Element *) lfirst(lc))->id, HASH_ENTER, NULL);
	foreach(lc, elements)
	{
		if (hash_search(index, &((Element *) lfirst(lc))->id, HASH_FIND, NULL) == NULL)
			result = lappend(result, lfirst(lc));
	}
	hash_destroy(index);
	return result;
}

static List *
ids_of(const List *elements)
{
	List	   *ids = NIL;
	ListCell   *lc;

	foreach(lc, elements)
		ids = lappend(ids, &((Element *) lfirst(lc))->id);
	return ids;
}

/* of elements removed, those that others have added and the client had not seen yet */
static List *
survivors(const TideConflict *conflict, const TideConflictColumn *column,
		  const List *elements)
{
	XLogRecPtr	seen = conflict->attempt->mutation->seen;
	MemoryContext context = CurrentMemoryContext;
	List	   *result = NIL;
	List	   *ids;
	TideSpiFrame frame;
	ListCell   *lc;

	if (XLogRecPtrIsInvalid(seen) || elements == NIL)
		return NIL;
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	ids = tide_set_unseen(RelationGetRelid(conflict->target->rel), &conflict->key_id,
						  column->attnum, ids_of(elements), conflict->attempt->apply->client,
						  seen, context);
	tide_spi_end(&frame);
	foreach(lc, ids)
	{
		Element    *element = palloc0(sizeof(Element));

		element->id = *(pg_uuid_t *) lfirst(lc);
		result = lappend(result, element);
	}
	return result;
}

/* whether the set is the array sent: element for element, and none of them twice */
static bool
is_as_sent(const TideConflictColumn *column, const List *result, const List *new)
{
	if (column->nulls[TIDE_VALUE_NEW])
		return result == NIL;
	if (list_length(result) != list_length(new) ||
		list_length(new) != JB_ROOT_COUNT(DatumGetJsonbP(column->values[TIDE_VALUE_NEW])))
		return false;
	for (int i = 0; i < list_length(new); i++)
	{
		const Element *a = list_nth(result, i);
		const Element *b = list_nth(new, i);

		if (memcmp(&a->id, &b->id, UUID_LEN) != 0)
			return false;
	}
	return true;
}

static Jsonb *
array_of(const List *elements)
{
	JsonbParseState *state = NULL;
	ListCell   *lc;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(lc, elements)
		pushJsonbValue(&state, WJB_ELEM, &((Element *) lfirst(lc))->value);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}
