/*
 * object.c
 *	  States as JSON objects.
 *
 * The keys of a jsonb object come in a fixed order (by length, then by bytes), so two
 * objects are compared and merged in one walk along both.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "crdt/object.h"
#include "util/errors.h"

static int	compare_keys(const JsonbValue *a, const JsonbValue *b);

void
tide_state_malformed(const char *kind, const char *detail,...)
{
	StringInfoData text;
	int			needed;

	initStringInfo(&text);
	do
	{
		va_list		args;

		va_start(args, detail);
		needed = appendStringInfoVA(&text, detail, args);
		va_end(args);
		if (needed > 0)
			enlargeStringInfo(&text, needed);
	} while (needed > 0);

	ereport(ERROR,
			(errcode(TIDE_ERRCODE_BAD_REQUEST),
			 errmsg("malformed %s", kind),
			 errdetail_internal("%s", text.data)));
}

void
tide_members_read(Jsonb *object, const char *kind, TideMembers *result)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(object))
		tide_state_malformed(kind, "It must be a JSON object.");

	result->n = 0;
	result->pairs = palloc(sizeof(JsonbPair) * Max(JB_ROOT_COUNT(object), 1));
	it = JsonbIteratorInit(&object->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			result->pairs[result->n].key = value;
		else if (token == WJB_VALUE)
			result->pairs[result->n++].value = value;
	}
}

static int
compare_keys(const JsonbValue *a, const JsonbValue *b)
{
	if (a->val.string.len != b->val.string.len)
		return a->val.string.len < b->val.string.len ? -1 : 1;
	return memcmp(a->val.string.val, b->val.string.val, a->val.string.len);
}

int
tide_members_index(const TideMembers *members, const char *key, int len)
{
	JsonbValue	wanted = {.type = jbvString};
	int			low = 0;
	int			high = members->n - 1;

	wanted.val.string.val = (char *) key;
	wanted.val.string.len = len;
	while (low <= high)
	{
		int			middle = low + (high - low) / 2;
		int			order = compare_keys(&wanted, &members->pairs[middle].key);

		if (order == 0)
			return middle;
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return -1;
}

bool
tide_walk_next(TideWalk *walk)
{
	JsonbPair  *a = walk->at_a < walk->a.n ? &walk->a.pairs[walk->at_a] : NULL;
	JsonbPair  *b = walk->at_b < walk->b.n ? &walk->b.pairs[walk->at_b] : NULL;
	int			order;

	if (a == NULL && b == NULL)
		return false;
	if (a == NULL)
		order = 1;
	else if (b == NULL)
		order = -1;
	else
		order = compare_keys(&a->key, &b->key);

	walk->key = order <= 0 ? &a->key : &b->key;
	walk->value_a = order <= 0 ? &a->value : NULL;
	walk->value_b = order >= 0 ? &b->value : NULL;
	if (order <= 0)
		walk->at_a++;
	if (order >= 0)
		walk->at_b++;
	return true;
}

void
tide_members_find(const TideMembers *members, const char *kind,
				  const char *const *names, int n, const JsonbValue **values)
{
	for (int i = 0; i < n; i++)
		values[i] = NULL;
	for (int m = 0; m < members->n; m++)
	{
		const JsonbValue *key = &members->pairs[m].key;
		int			i = 0;

		while (i < n && (strlen(names[i]) != key->val.string.len ||
						 memcmp(names[i], key->val.string.val, key->val.string.len) != 0))
			i++;
		if (i == n)
			tide_state_malformed(kind, "Unknown field \"%.*s\".",
								 key->val.string.len, key->val.string.val);
		values[i] = &members->pairs[m].value;
	}
}

void
tide_jsonb_to_value(Jsonb *jsonb, JsonbValue *result)
{
	if (JB_ROOT_IS_SCALAR(jsonb))
	{
		(void) JsonbExtractScalar(&jsonb->root, result);
		return;
	}
	result->type = jbvBinary;
	result->val.binary.data = &jsonb->root;
	result->val.binary.len = VARSIZE(jsonb) - VARHDRSZ;
}

Jsonb *
tide_value_to_jsonb(const JsonbValue *value)
{
	return JsonbValueToJsonb((JsonbValue *) value);
}

int
tide_jsonb_compare(Jsonb *a, Jsonb *b)
{
	return compareJsonbContainers(&a->root, &b->root);
}

void
tide_push_key(JsonbParseState **state, const char *key, int len)
{
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = (char *) key;
	value.val.string.len = len;
	pushJsonbValue(state, WJB_KEY, &value);
}

void
tide_push_member(JsonbParseState **state, const char *key, const JsonbValue *value)
{
	tide_push_key(state, key, strlen(key));
	pushJsonbValue(state, WJB_VALUE, (JsonbValue *) value);
}

void
tide_push_jsonb(JsonbParseState **state, const char *key, Jsonb *value)
{
	JsonbValue	pushed;

	tide_jsonb_to_value(value, &pushed);
	tide_push_member(state, key, &pushed);
}

Jsonb *
tide_empty_object(void)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

Jsonb *
tide_empty_array(void)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

bool
tide_is_empty(Jsonb *container)
{
	return JB_ROOT_COUNT(container) == 0;
}
