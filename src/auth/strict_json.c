/*
 * strict_json.c
 *	  JSON that somebody may have made to be read in two ways.
 *
 * PostgreSQL's parser runs over the text twice: first with actions that count and
 * refuse, then as jsonb_in(), which cannot fail any more. jsonb keeps one of members of the same
 * name, so there were such members iff it has fewer than were counted.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "utils/fmgrprotos.h"

#include "auth/strict_json.h"
#include "util/compat.h"

#define MAX_EXPONENT	1000

typedef struct Counter
{
	int			depth;
	int			max_depth;
	int			nmembers;
	TideJsonRefuse refuse;
} Counter;

static TIDE_JSON_ACTION_RESULT
count_begin(void *arg)
{
	Counter    *counter = arg;

	if (++counter->depth > counter->max_depth)
		counter->refuse("The JSON is nested too deep.");
	TIDE_JSON_ACTION_RETURN;
}

static TIDE_JSON_ACTION_RESULT
count_end(void *arg)
{
	((Counter *) arg)->depth--;
	TIDE_JSON_ACTION_RETURN;
}

static TIDE_JSON_ACTION_RESULT
count_member(void *arg, char *name, bool isnull)
{
	((Counter *) arg)->nmembers++;
	TIDE_JSON_ACTION_RETURN;
}

static TIDE_JSON_ACTION_RESULT
check_scalar(void *arg, char *text, JsonTokenType type)
{
	Counter    *counter = arg;
	const char *mark = type == JSON_TOKEN_NUMBER ? strpbrk(text, "eE") : NULL;
	long		exponent = mark ? strtol(mark + 1, NULL, 10) : 0;

	if (exponent > MAX_EXPONENT || exponent < -MAX_EXPONENT)
		counter->refuse("The JSON has a number out of range.");
	TIDE_JSON_ACTION_RETURN;
}

/* bytes in the server encoding, with a zero behind */
static char *
server_text(const uint8 *bytes, int len, TideJsonRefuse refuse)
{
	Size		size = (Size) len * MAX_CONVERSION_GROWTH + 1;
	char	   *text = palloc(size);
	Oid			conversion;

	if (memchr(bytes, 0, len) != NULL ||
		!pg_verify_mbstr(PG_UTF8, (const char *) bytes, len, true))
		refuse("The JSON is not in UTF-8.");
	if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
	{
		memcpy(text, bytes, len);
		text[len] = '\0';
		return text;
	}
	conversion = FindDefaultConversionProc(PG_UTF8, GetDatabaseEncoding());
	if (!OidIsValid(conversion) ||
		pg_do_encoding_conversion_buf(conversion, PG_UTF8, GetDatabaseEncoding(),
									  unconstify(uint8 *, bytes), len,
									  (unsigned char *) text, size, true) < len)
		refuse("The JSON has characters that the database cannot store.");
	return text;
}

static int
count_keys(Jsonb *json)
{
	JsonbIterator *it = JsonbIteratorInit(&json->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	int			n = 0;

	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
		n += token == WJB_KEY;
	return n;
}

Jsonb *
tide_strict_json_object(const uint8 *bytes, int len, int max_depth, TideJsonRefuse refuse)
{
	char	   *text = server_text(bytes, len, refuse);
	Counter		counter = {.max_depth = max_depth,.refuse = refuse};
	JsonSemAction actions = {
		.semstate = &counter,
		.object_start = count_begin,
		.object_end = count_end,
		.array_start = count_begin,
		.array_end = count_end,
		.object_field_start = count_member,
		.scalar = check_scalar
	};
	Jsonb	   *json;

	if (pg_parse_json(tide_json_lexer_compat(text, strlen(text)), &actions) != JSON_SUCCESS)
		refuse("The JSON is malformed.");
	json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	if (!JB_ROOT_IS_OBJECT(json))
		refuse("The JSON is not an object.");
	if (count_keys(json) != counter.nmembers)
		refuse("The JSON has two members of one name.");
	return json;
}

JsonbValue *
tide_json_member(Jsonb *object, const char *name)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&object->root, name, strlen(name), NULL);

	return value == NULL || value->type == jbvNull ? NULL : value;
}

char *
tide_json_string_value(const JsonbValue *value)
{
	if (value == NULL || value->type != jbvString)
		return NULL;
	return pnstrdup(value->val.string.val, value->val.string.len);
}
